#include "library/workbench.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "library/engines.h"
#include "library/helper_cpus.h"
#include "library/plugin_names.h"
#include "migrators/copy_function.h"

namespace drover::library {
namespace {

constexpr uint64_t kPatienceNs = 2'000'000'000;

void Place(int source, int target, flow::Placement* placement) {
  placement->same = source < 0 || target < 0 || source == target;
  if (placement->same) return;
  std::fill(std::begin(placement->target_of), std::end(placement->target_of),
            flow::Placement::kNotAsked);
  placement->node_count = static_cast<uint32_t>(std::max(source, target)) + 1;
  placement->target_of[source] = static_cast<int16_t>(target);
}

}  // namespace

std::expected<std::unique_ptr<Workbench>, Error> Workbench::MakePlugin(const std::string& words) {
  const auto found = FindPlugin(words);
  if (!found.has_value()) return std::unexpected(found.error());
  std::unique_ptr<Workbench> bench(new Workbench);
  char why[512];
  const PluginTrouble trouble = Open(found->path.c_str(), found->options.c_str(),
                                     House::kOwnProcess, &bench->plugin_, why, sizeof why);
  if (trouble != PluginTrouble::kNone) return std::unexpected(Error{KindOf(trouble), why});
  bench->spec_.kind = migrators::Kind::kFirstPlugin;
  bench->threads_running_ = bench->plugin_.plugin->Report().channels;
  return bench;
}

std::expected<std::unique_ptr<Workbench>, Error> Workbench::Make(const std::string& words,
                                                                 const Terms& terms) {
  if (MeansPlugin(words)) return MakePlugin(words);
  flow::Job job;
  Place(terms.source_node, terms.target_node, &job.placement);
  if (const auto parsed = ParseEngines(words, {}, &job); !parsed.has_value())
    return std::unexpected(parsed.error());
  if (job.engine_count != 1)
    return std::unexpected(
        Error{Error::Kind::kUsage, fmt::format("'{}' is more than one copy engine", words)});
  HelperCpus().Place(&job, getpid());
  constexpr uint64_t kStacks =
      threads::PosixThreads::kThreadsMax * threads::PosixThreads::kStackBytes;
  std::unique_ptr<Workbench> bench(new Workbench);
  const auto stacks = bench->kernel_.Map(kStacks);
  if (!stacks.has_value())
    return std::unexpected(Error{Error::Kind::kFailed, "no memory for the engine's stacks"});
  bench->stacks_ = {*stacks, kStacks};
  bench->threads_.emplace(bench->stacks_);
  bench->spec_ = job.engines[0];
  bench->copy_ = FunctionsOf(terms.copy_ways.value_or(job.copy_ways), bench->copy_);
  bench->engines_ =
      std::make_unique<migrators::EngineSet>(bench->copy_, bench->kernel_, *bench->threads_);
  std::copy(job.helper_cpus, job.helper_cpus + job.helper_count, bench->cpus_);
  const std::span cpus(bench->cpus_, job.helper_count);
  bench->threads_running_ = 1 + bench->engines_->Start(job.Engines(), cpus);
  bench->kernel_.KeepOff(cpus);
  if (job.terms[0].smallest_bytes > 0)
    bench->by_size_.emplace(*(*bench->engines_)[0], bench->copy_, job.terms[0].smallest_bytes);
  return bench;
}

Workbench::~Workbench() {
  if (engines_ != nullptr) {
    kernel_.KeepOff({});
    engines_->Stop();
    threads_->JoinAll();
    engines_->LetGo();
  }
  // Left as it is where it still has a batch: it is a plugin that fails its tests.
  if (plugin_.plugin != nullptr && plugin_.plugin->Poll(kernel_.NowNs() + kPatienceNs) &&
      !plugin_.plugin->HoldsAddresses())
    Close(&plugin_);
  if (!stacks_.empty()) kernel_.Unmap(stacks_);
}

}  // namespace drover::library
