// drover bench: figures, with their floors.
#include "cli/bench.h"

namespace drover::cli {

void AddBench(CLI::App& app, Chosen& chosen) {
  auto* bench = app.add_subcommand("bench", "measure this machine");
  bench->require_subcommand(1);
  AddBenchMigrate(*bench, chosen);
  AddBenchPublished(*bench, chosen);
  AddBenchScale(*bench, chosen);
  AddBenchKernel(*bench, chosen);
  AddBenchCopy(*bench, chosen);
  AddBenchStall(*bench, chosen);
  AddBenchApp(*bench, chosen);
  AddBenchCarry(*bench, chosen);
  AddBenchAll(*bench, chosen);
}

}  // namespace drover::cli
