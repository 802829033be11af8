#include "cli/migrators_of.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/sizes.h"
#include "control/client.h"
#include "library/engines.h"

namespace drover::cli {
namespace {

using control::MigratorsRequest;
using control::MigratorState;
using Action = MigratorsRequest::Action;

struct SetOptions {
  std::string name;
  int pid = 0;
  std::vector<std::string> reasons;
  std::string smallest;
  bool json = false;
};

// Asks the agent as a visitor: also in the middle of another one's move.
std::expected<control::MigratorList, Error> Ask(int pid, const MigratorsRequest& request) {
  const auto process = control::CheckTarget(pid);
  if (!process.has_value()) return std::unexpected(process.error());
  const auto marker = control::FindServingMarker(*process);
  if (!marker.has_value()) return std::unexpected(marker.error());
  if (!marker->has_value() ||
      static_cast<control::Marker::State>((*marker)->state) != control::Marker::State::kServing)
    return std::unexpected(
        Error{Error::Kind::kUnavailable,
              fmt::format("process {} ({}) has no agent that serves, so no copy engines; start it "
                          "by `drover run`",
                          pid, process->name)});
  auto client = control::Client::Connect({*process, **marker}, control::Client::As::kVisitor);
  if (!client.has_value()) return std::unexpected(client.error());
  auto list = client->Migrators(request);
  if (!list.has_value()) return list;
  using Problem = control::MigratorList::Problem;
  if (list->problem == Problem::kNone) return list;
  std::string names;
  for (uint32_t i = 0; i < list->count; ++i)
    names += (i == 0 ? "" : ", ") + std::string(list->list[i].name.view());
  return std::unexpected(
      list->problem == Problem::kNoSuch
          ? Error{Error::Kind::kUnavailable,
                  fmt::format("process {} has no copy engine '{}'; it has {}", pid,
                              request.name.view(), names)}
          : Error{Error::Kind::kFailed,
                  fmt::format("process {} has no memory for the engine's areas", pid)});
}

const char* StateOf(const MigratorState& state) {
  if (state.registered != 0) return "registered";
  return state.idle != 0 ? "unregistered" : "has a batch yet";
}

nlohmann::json ToJson(const MigratorState& state) {
  return {{"migrator", state.name.view()},
          {"plugin", state.plugin != 0},
          {"registered", state.registered != 0},
          {"idle", state.idle != 0},
          {"hardware", state.hardware != 0},
          {"channels", state.channels},
          {"capabilities", state.plugin != 0 ? library::NamesOfCapabilities(state.flags)
                                             : std::vector<std::string>{"freestanding"}},
          {"reasons", library::NamesOfReasons(state.reasons)},
          {"smallest_batch_bytes", state.smallest_bytes},
          {"batches", state.tally.batches},
          {"refused", state.tally.refused},
          {"failed", state.tally.failed},
          {"late", state.tally.late},
          {"pages", state.tally.pages},
          {"fallen_back", state.tally.fallen_back}};
}

void Show(int pid, const control::MigratorList& list, bool json) {
  if (json) {
    auto document = JsonHead("migrators");
    document["pid"] = pid;
    document["migrators"] = nlohmann::json::array();
    for (uint32_t i = 0; i < list.count; ++i) document["migrators"].push_back(ToJson(list.list[i]));
    PrintJson(document);
    return;
  }
  fmt::print("{:<12} {:<15} {:<10} {:>9} {:>8} {:>7} {:>6} {:>12} {:>12}  {}\n", "migrator",
             "state", "smallest", "batches", "refused", "failed", "late", "pages", "fallen back",
             "reasons");
  for (uint32_t i = 0; i < list.count; ++i) {
    const MigratorState& state = list.list[i];
    const auto reasons = library::NamesOfReasons(state.reasons);
    fmt::print("{:<12} {:<15} {:<10} {:>9} {:>8} {:>7} {:>6} {:>12} {:>12}  {}\n",
               state.name.view(), StateOf(state),
               state.smallest_bytes == 0 ? "any" : HumanBytes(state.smallest_bytes),
               state.tally.batches, state.tally.refused, state.tally.failed, state.tally.late,
               state.tally.pages, state.tally.fallen_back,
               reasons.empty() ? "all" : fmt::format("{}", fmt::join(reasons, ",")));
  }
}

int Do(const SetOptions& options, Action action) {
  MigratorsRequest request;
  request.action = action;
  const bool is_name = options.name.size() < sizeof request.name.text;
  for (size_t i = 0; is_name && i < options.name.size(); ++i)
    request.name.text[i] = options.name[i];
  if (!is_name)
    return Fail({Error::Kind::kUsage, fmt::format("'{}' is no copy engine's name", options.name)});
  if (!options.reasons.empty()) {
    const bool all = options.reasons.size() == 1 && options.reasons[0] == "all";
    const auto bits = library::ReasonBits(all ? std::vector<std::string>() : options.reasons);
    if (!bits.has_value()) return Fail(bits.error());
    request.has_reasons = 1;
    request.reasons = *bits;
  }
  if (!options.smallest.empty()) {
    const auto size = ParseSize(options.smallest);
    if (!size.has_value()) return Fail(size.error());
    request.has_smallest = 1;
    request.smallest_bytes = *size;
  }
  if (action == Action::kSet && request.has_reasons + request.has_smallest == 0)
    return Fail({Error::Kind::kUsage, "nothing to set; name --reason or --smallest"});
  const auto list = Ask(options.pid, request);
  if (!list.has_value()) return Fail(list.error());
  Show(options.pid, *list, options.json);
  return kExitDone;
}

int RefuseLoad(const SetOptions& options) {
  return Fail(
      {Error::Kind::kUnavailable,
       fmt::format("{} cannot be loaded into process {}: a library's start-up code must not run in "
                   "a program that has begun. Name it when the program is started: drover run "
                   "--migrator {} -- ...",
                   options.name, options.pid, options.name)});
}

int RefuseUnload(const SetOptions& options) {
  return Fail({Error::Kind::kUnavailable,
               fmt::format("{} stays loaded as long as process {} lives; `drover migrators "
                           "unregister {} --pid {}` takes it out of work",
                           options.name, options.pid, options.name, options.pid)});
}

}  // namespace

int ListMigratorsOf(int pid, bool json) {
  const auto list = Ask(pid, {});
  if (!list.has_value()) return Fail(list.error());
  Show(pid, *list, json);
  return kExitDone;
}

void AddMigratorsOf(CLI::App& migrators, Chosen& chosen) {
  const auto add = [&](const char* name, const char* what, const char* item,
                       const std::function<int(const SetOptions&)>& run) {
    auto* command = migrators.add_subcommand(name, what);
    auto options = std::make_shared<SetOptions>();
    command->add_option(item, options->name, "as in the list")->required();
    command->add_option("--pid", options->pid, "the process")
        ->required()
        ->check(CLI::PositiveNumber);
    command->add_flag("--json", options->json, "one JSON document on stdout");
    command->callback([=, &chosen] { chosen.run = [=] { return run(*options); }; });
    return std::pair(command, options);
  };
  add("register", "it gets batches again", "NAME",
      [](const SetOptions& options) { return Do(options, Action::kRegister); });
  add("unregister", "it gets no batches any more; one that it has is waited for", "NAME",
      [](const SetOptions& options) { return Do(options, Action::kUnregister); });
  const auto [set, options] =
      add("set", "for which moves and from which size on it gets batches", "NAME",
          [](const SetOptions& chosen_options) { return Do(chosen_options, Action::kSet); });
  set->add_option("--reason", options->reasons,
                  "labels of the moves (move --reason), separated by commas, or all")
      ->delimiter(',');
  set->add_option("--smallest", options->smallest, "batch size, such as 64k; 0: any");
  add("load", "a plugin's file (not possible in a program that has begun: says how)", "FILE",
      RefuseLoad);
  add("unload", "a plugin (not possible in a running program: says how)", "NAME", RefuseUnload);
}

}  // namespace drover::cli
