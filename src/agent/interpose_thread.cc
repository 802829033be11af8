// Making threads. A thread that is made between the look for control blocks and the end of the
// window would be missed, and its join might hang.
#include <pthread.h>
#include <stdlib.h>
#include <threads.h>

#include <new>

#include "agent/agent.h"
#include "agent/hooked.h"
#include "threads/futex.h"

namespace drover::agent {
namespace {

Hooked<int(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*)> real_pthread_create{
    "pthread_create"};
Hooked<int(thrd_t*, thrd_start_t, void*)> real_thrd_create{"thrd_create"};

// The caller's variable for the thread's name is told by maker or thread, whichever comes first: as
// in libc it holds the name before the new thread runs and when the call returns. Afterwards it may
// be gone, because the new thread, or the caller, has freed what it stands in.
class Birth {
 public:
  // On the heap, as libc's own record of the thread. nullptr: no memory.
  static Birth* Make(pthread_t* told, void* (*run)(void*), int (*run_c11)(void*), void* with) {
    void* room = malloc(sizeof(Birth));
    return room == nullptr ? nullptr : new (room) Birth{told, run, run_c11, with};
  }
  void Tell(pthread_t name) {
    uint32_t seen = kNobody;
    if (state_.compare_exchange_strong(seen, kTelling)) {
      *told_ = name;
      state_.store(kTold);
      threads::FutexWakeAll(state_);
    }
    while (state_.load() == kTelling) threads::FutexWait(state_, kTelling, 0);
  }
  // By each of the two; the second one frees.
  void Leave() {
    if (users_.fetch_sub(1) == 1) free(this);
  }
  void Free() { free(this); }

  static void* Run(void* birth) {
    const Birth start = static_cast<Birth*>(birth)->Begin();
    return start.run_(start.with_);
  }
  static int RunC11(void* birth) {
    const Birth start = static_cast<Birth*>(birth)->Begin();
    return start.run_c11_(start.with_);
  }

 private:
  static constexpr uint32_t kNobody = 0, kTelling = 1, kTold = 2;
  Birth(pthread_t* told, void* (*run)(void*), int (*run_c11)(void*), void* with)
      : told_(told), run_(run), run_c11_(run_c11), with_(with) {}
  Birth(const Birth& other) : Birth(other.told_, other.run_, other.run_c11_, other.with_) {}

  Birth Begin() {
    Tell(pthread_self());
    const Birth copy(*this);
    Leave();
    return copy;
  }

  pthread_t* told_;
  void* (*run_)(void*);
  int (*run_c11_)(void*);
  void* with_;
  threads::Word state_ = kNobody;
  threads::Word users_ = 2;
};

// Without memory for a Birth: the name is told as soon as the thread is known to the engine.
template <class Create>
int CreatePlainly(const Passage& passage, pthread_t* told, const Create& create) {
  if (passage.shared() == nullptr) return create(told);
  pthread_t name;
  const int result = create(&name);
  if (result != 0) return result;
  passage.shared()->young.Add(static_cast<uint64_t>(name));
  *told = name;
  return 0;
}

// A thread's name is the address of its control block.
void Born(Birth* birth, const Passage& passage, pthread_t name) {
  passage.shared()->young.Add(static_cast<uint64_t>(name));
  birth->Tell(name);
  birth->Leave();
}

}  // namespace

void ResolveThread() {
  real_pthread_create.get();
  real_thrd_create.get();
}

}  // namespace drover::agent

using namespace drover::agent;

DROVER_EXPORT int pthread_create(pthread_t* thread, const pthread_attr_t* how, void* (*run)(void*),
                                 void* with) noexcept {
  Birth* birth = Serving() == nullptr ? nullptr : Birth::Make(thread, run, nullptr, with);
  const Passage passage;
  if (birth == nullptr || passage.shared() == nullptr) {
    if (birth != nullptr) birth->Free();
    return CreatePlainly(passage, thread, [&](pthread_t* name) {
      return real_pthread_create.get()(name, how, run, with);
    });
  }
  pthread_t name;
  const int result = real_pthread_create.get()(&name, how, Birth::Run, birth);
  if (result == 0)
    Born(birth, passage, name);
  else
    birth->Free();
  return result;
}

// C11's threads are made inside libc, past the hook above; a thrd_t is a pthread_t.
DROVER_EXPORT int thrd_create(thrd_t* thread, thrd_start_t run, void* with) {
  Birth* birth = Serving() == nullptr ? nullptr : Birth::Make(thread, nullptr, run, with);
  const Passage passage;
  if (birth == nullptr || passage.shared() == nullptr) {
    if (birth != nullptr) birth->Free();
    return CreatePlainly(passage, thread,
                         [&](thrd_t* name) { return real_thrd_create.get()(name, run, with); });
  }
  thrd_t name;
  const int result = real_thrd_create.get()(&name, Birth::RunC11, birth);
  if (result == thrd_success)
    Born(birth, passage, name);
  else
    birth->Free();
  return result;
}
