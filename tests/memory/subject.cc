// A program with some kinds of memory: drover_kinds NAME... | --list
//
// It says "range START BYTES" or "cannot WHY" of each on stdout. On SIGUSR1 it lets the transfers
// under way come to their end; on SIGTERM it looks at its pages, and says "right" or "wrong N".
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <string_view>
#include <vector>

#include "memory/kinds.h"

using namespace drover::memory;

namespace {

template <class Visit>
void ForEachKind(const Visit& visit) {
  for (const auto& family :
       {PrivateKinds(), ProtectedKinds(), SharedKinds(), HeldKinds(), InFlightKinds()})
    for (const Kind& kind : family) visit(kind);
}

Made MakeByName(std::string_view name) {
  Made made = Cannot("there is no such kind");
  ForEachKind([&](const Kind& kind) {
    if (name == kind.name) made = kind.make();
  });
  return made;
}

void EndTransfers(std::vector<Made>& all) {
  for (Made& made : all) {
    if (made.undo != nullptr) made.undo(made);
    made.undo = nullptr;
  }
}

}  // namespace

int main(int argc, char** argv) {
  char on_stack[16 * kPage] = {};
  on_main_stack = {on_stack, sizeof on_stack};
  sigset_t awaited;
  sigemptyset(&awaited);
  sigaddset(&awaited, SIGTERM);
  sigaddset(&awaited, SIGUSR1);
  sigprocmask(SIG_BLOCK, &awaited, nullptr);
  std::vector<Made> all;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--list") {
      ForEachKind([](const Kind& kind) { std::printf("%s\t%s\n", kind.name, kind.what); });
      return 0;
    }
    all.push_back(MakeByName(name));
    const Made& made = all.back();
    if (made.cannot.empty())
      std::printf("range %lx %zu\n", reinterpret_cast<unsigned long>(made.start), made.bytes);
    else
      std::printf("cannot %s\n", made.cannot.c_str());
    std::fflush(stdout);
  }
  if (all.empty()) return 2;
  for (int signal = 0; sigwait(&awaited, &signal) == 0 && signal == SIGUSR1;) EndTransfers(all);
  unsigned long wrong = 0;
  for (const Made& made : all) wrong += CountWrong(made);
  if (wrong == 0)
    std::printf("right\n");
  else
    std::printf("wrong %lu\n", wrong);
  return wrong == 0 ? 0 : 1;
}
