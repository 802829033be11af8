// A program with one kind of memory: drover_kinds NAME | --list
//
// It says "range START BYTES" or "cannot WHY" on stdout; on SIGTERM it looks at its pages, and says
// "right" or "wrong N".
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "memory/kinds.h"

using namespace drover::memory;

int main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "";
  sigset_t end;
  sigemptyset(&end);
  sigaddset(&end, SIGTERM);
  sigprocmask(SIG_BLOCK, &end, nullptr);
  for (const auto& family :
       {PrivateKinds(), ProtectedKinds(), SharedKinds(), HeldKinds(), InFlightKinds()}) {
    for (const Kind& kind : family) {
      if (name == "--list") std::printf("%s\t%s\n", kind.name, kind.what);
      if (name != kind.name) continue;
      const Made made = kind.make();
      if (!made.cannot.empty()) {
        std::printf("cannot %s\n", made.cannot.c_str());
        return 0;
      }
      std::printf("range %lx %zu\n", reinterpret_cast<unsigned long>(made.start), made.bytes);
      std::fflush(stdout);
      int signal = 0;
      sigwait(&end, &signal);
      const auto wrong = CountWrong(made);
      if (wrong == 0)
        std::printf("right\n");
      else
        std::printf("wrong %lu\n", static_cast<unsigned long>(wrong));
      return wrong == 0 ? 0 : 1;
    }
  }
  return name == "--list" ? 0 : 2;
}
