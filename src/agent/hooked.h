// What the interposed functions share.
#pragma once

#include <dlfcn.h>
#include <errno.h>

#define DROVER_EXPORT extern "C" __attribute__((visibility("default")))

namespace drover::agent {

// One of libc's own functions. Resolved by the constructor, or by a call that comes before it; the
// order of both does not matter, since they find the same.
template <class Function>
class Hooked {
 public:
  explicit constexpr Hooked(const char* name) : name_(name) {}
  // nullptr: this libc has none of that name.
  Function* get() {
    if (function_ == nullptr) function_ = reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name_));
    return function_;
  }

 private:
  Function* function_ = nullptr;
  const char* name_;
};

// The result of a raw call in libc's form.
inline long InErrno(long result) {
  if (result < 0 && result > -4096) {
    errno = static_cast<int>(-result);
    return -1;
  }
  return result;
}

}  // namespace drover::agent
