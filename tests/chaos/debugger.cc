#include "chaos/debugger.h"

#include <sys/ptrace.h>
#include <sys/wait.h>

namespace drover::chaos {

void StopSeized(pid_t thread) {
  ptrace(PTRACE_INTERRUPT, thread, nullptr, nullptr);
  int status = 0;
  while (waitpid(thread, &status, __WALL) == thread && WIFSTOPPED(status) && status >> 16 == 0)
    ptrace(PTRACE_CONT, thread, nullptr, WSTOPSIG(status));
}

}  // namespace drover::chaos
