// A program to be moved: checked memory under threads, in the shapes that servers have.
//
//   drover_subject --mib 16 --report FILE [--daemon] [--close] [--user UID] [--threads N] [--idle]
//                  [--allow-huge] [--churn] [--single] [--uses WHAT] [--uses-later WHAT]
//                  [--uses-for-a-moment WHAT] [--forks ROUNDS]
//
// It writes "ready PID" into FILE; on SIGTERM it looks at every word once more and writes "right"
// or "wrong N" there. With --single it has no threads, and libc must still know that.
// What it uses (uses.h) it uses before it is ready, or later, on SIGUSR2.
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/single_threaded.h>
#include <threads.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

#include "live/checked_memory.h"
#include "live/forks.h"
#include "live/uses.h"

namespace {

struct Options {
  size_t mib = 16;
  uint64_t forks = 0;
  std::string report, uses, uses_later, uses_for_a_moment;
  bool daemon = false, close = false, idle = false, churn = false, single = false,
       allow_huge = false;
  long user = -1;
  uint32_t threads = 2;
};

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto value = [&] { return i + 1 < argc ? argv[++i] : ""; };
    if (word == "--mib") options.mib = std::strtoul(value(), nullptr, 10);
    if (word == "--report") options.report = value();
    if (word == "--daemon") options.daemon = true;
    if (word == "--close") options.close = true;
    if (word == "--idle") options.idle = true;
    if (word == "--allow-huge") options.allow_huge = true;
    if (word == "--churn") options.churn = true;
    if (word == "--forks") options.forks = std::strtoul(value(), nullptr, 10);
    if (word == "--uses") options.uses = value();
    if (word == "--uses-later") options.uses_later = value();
    if (word == "--uses-for-a-moment") options.uses_for_a_moment = value();
    if (word == "--single") options.idle = options.single = true;
    if (word == "--user") options.user = std::strtol(value(), nullptr, 10);
    if (word == "--threads") options.threads = static_cast<uint32_t>(std::atoi(value()));
  }
  return options;
}

// The report is opened before rights are dropped and descriptors closed, at a high number.
int OpenReport(const std::string& path) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  const int high = fcntl(file, F_DUPFD, 200);
  close(file);
  return high;
}

void Say(int report, const std::string& line) {
  if (write(report, line.data(), line.size()) < 0) std::_Exit(9);
}

std::atomic<bool> churning = true;
std::atomic<uint64_t> joined = 0, hung = 0;

// A thread whose name stands in memory of its own, which it gives back at once: nobody may read the
// name from there afterwards.
struct Homeless {
  static constexpr size_t kBytes = 4096;
  pthread_t name;
  std::atomic<uint64_t>* ended;

  static Homeless* Make(std::atomic<uint64_t>* ended) {
    void* home = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return new (home) Homeless{0, ended};
  }
  static void Live(void* self) {
    auto* home = static_cast<Homeless*>(self);
    auto* ended = home->ended;
    if (home->name != pthread_self()) ++hung;
    munmap(self, kBytes);
    ++*ended;
  }
};

// The new thread runs before its maker goes on: on the same CPU, and with real-time priority.
void ChurnHomeless() {
  std::atomic<uint64_t> ended = 0;
  cpu_set_t here, everywhere;
  sched_getaffinity(0, sizeof everywhere, &everywhere);
  CPU_ZERO(&here);
  CPU_SET(static_cast<unsigned>(sched_getcpu()), &here);
  sched_setaffinity(0, sizeof here, &here);
  pthread_attr_t detached;
  pthread_attr_init(&detached);
  pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
  pthread_attr_setinheritsched(&detached, PTHREAD_EXPLICIT_SCHED);
  pthread_attr_setschedpolicy(&detached, SCHED_FIFO);
  const sched_param lowest{1};
  pthread_attr_setschedparam(&detached, &lowest);
  auto* home = Homeless::Make(&ended);
  const auto live = [](void* self) -> void* { return Homeless::Live(self), nullptr; };
  if (pthread_create(&home->name, &detached, live, home) != 0) ++hung;
  home = Homeless::Make(&ended);
  const auto live_c11 = [](void* self) {
    return Homeless::Live(self), thrd_detach(thrd_current());
  };
  if (thrd_create(&home->name, live_c11, home) != thrd_success) ++hung;
  sched_setaffinity(0, sizeof everywhere, &everywhere);
  for (int i = 0; i < 10'000 && ended < 2; ++i) usleep(1'000);
  if (ended < 2) ++hung;
  while (ended < 2) usleep(1'000);  // they still use `ended`
}

// Makes and joins threads, and moves a mapping about, without pause.
void Churn() {
  constexpr size_t kBytes = 1 << 20;
  auto* words = static_cast<char*>(
      mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  std::memset(words, 7, kBytes);
  while (churning && hung == 0) {
    pthread_t threads[8];
    for (auto& thread : threads)
      pthread_create(&thread, nullptr, [](void* with) { return with; }, nullptr);
    for (const auto thread : threads) {
      timespec patience;
      clock_gettime(CLOCK_REALTIME, &patience);
      patience.tv_sec += 10;
      pthread_timedjoin_np(thread, nullptr, &patience) == 0 ? ++joined : ++hung;
    }
    ChurnHomeless();
    void* elsewhere = mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void* moved = mremap(words, kBytes, kBytes, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere);
    if (moved == MAP_FAILED) ++hung;
    if (moved != MAP_FAILED) words = static_cast<char*>(moved);
    for (size_t i = 0; i < kBytes; i += 4096) hung += words[i] != 7;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = Parse(argc, argv);
  const int report = OpenReport(options.report);
  if (options.daemon) {
    if (fork() != 0) return 0;
    setsid();
    if (fork() != 0) return 0;
    for (int standard = 0; standard < 3; ++standard) {
      const int null = open("/dev/null", O_RDWR);
      dup2(null, standard);
      close(null);
    }
  }
  if (options.close) {  // as daemons do: everything that they do not know
    close_range(3, static_cast<unsigned>(report) - 1, 0);
    close_range(static_cast<unsigned>(report) + 1, ~0u, 0);
  }
  if (options.user >= 0) {
    const auto user = static_cast<uid_t>(options.user);
    if (setgroups(0, nullptr) != 0 || setgid(user) != 0 || setuid(user) != 0) return 8;
  }
  sigset_t end;
  sigemptyset(&end);
  sigaddset(&end, SIGTERM);
  sigset_t blocked = end;
  sigaddset(&blocked, SIGUSR1);
  sigaddset(&end, SIGUSR2);
  sigaddset(&blocked, SIGUSR2);
  sigprocmask(SIG_BLOCK, &blocked, nullptr);
  drover::live::CheckedMemory memory(options.mib << 20, false);
  if (options.allow_huge) memory.AllowHuge();
  if (!options.idle) memory.StartThreads(options.threads);
  std::thread churn;
  if (options.churn) churn = std::thread(Churn);
  if (!options.uses.empty() && !drover::live::StartUsing(options.uses)) return 7;
  if (!options.uses_for_a_moment.empty()) {
    if (!drover::live::StartUsing(options.uses_for_a_moment)) return 7;
    close_range(3, static_cast<unsigned>(report) - 1, 0);
  }
  Say(report, "ready " + std::to_string(getpid()) + "\n");
  uint64_t wrong_forks = 0;
  if (options.forks > 0) {
    const auto tally = drover::live::ForkEveryWay(options.forks);
    Say(report, "forked " + std::to_string(tally.children) + " " + std::to_string(tally.wrong) +
                    " " + std::to_string(tally.without_mapping) + "\n");
    wrong_forks = tally.wrong;
  }
  int signal = 0;
  while (sigwait(&end, &signal) == 0 && signal == SIGUSR2)
    if (!drover::live::StartUsing(options.uses_later)) Say(report, "wrong: no such thing\n");
  uint64_t wrong = memory.StopThreadsAndCountWrongWords();
  churning = false;
  if (churn.joinable()) churn.join();
  wrong += hung + wrong_forks;
  if (options.single && !__libc_single_threaded) ++wrong;
  Say(report, wrong == 0 ? "right\n" : "wrong " + std::to_string(wrong) + "\n");
  return wrong == 0 ? 0 : 1;
}
