#include "library/hosted_plugins.h"

#include <fmt/format.h>

#include <chrono>
#include <cstring>
#include <thread>

#include "flow/flow.h"
#include "flow/table.h"
#include "library/engines.h"

namespace drover::library {
namespace {

using migrators::Kind;

constexpr double kLastPatienceS = 2;

// A copy engine's number: built-in ones and the plugins that are there.
std::vector<Kind> AllOf(const migrators::Registry& registry) {
  std::vector<Kind> all;
  for (uint32_t i = 0; i < migrators::kKindCount; ++i)
    if (const Kind kind = static_cast<Kind>(i); registry.Has(kind)) all.push_back(kind);
  return all;
}

MigratorState StateOf(const migrators::Registry& registry, Kind kind) {
  MigratorState state;
  state.name = registry.NameAt(kind);
  if (const migrators::Plugin* plugin = registry.PluginAt(kind); plugin != nullptr) {
    const drover_migrator_report report = plugin->Report();
    state.plugin = true;
    state.channels = report.channels;
    state.hardware = report.hardware != 0;
    state.capabilities = NamesOfCapabilities(plugin->flags());
  }
  state.registered = registry.IsRegistered(kind);
  state.idle = registry.IsIdle(kind);
  const migrators::Terms terms = registry.TermsOf(kind);
  state.reasons = NamesOfReasons(terms.reasons);
  state.smallest_batch_bytes = terms.smallest_bytes;
  const migrators::EngineTally tally = registry.TallyOf(kind);
  state.total = {state.name,   tally.pages, tally.batches,    tally.refused,
                 tally.failed, tally.late,  tally.fallen_back};
  return state;
}

}  // namespace

std::expected<std::string, Error> HostedPlugins::Load(const std::string& path,
                                                      const std::string& options) {
  const std::lock_guard lock(mutex_);
  OpenPlugin* free = nullptr;
  for (OpenPlugin& opened : opened_)
    if (opened.file == nullptr) free = &opened;
  if (free == nullptr)
    return std::unexpected(Error{Error::Kind::kUnavailable,
                                 fmt::format("{} plugins are loaded, more are not possible; "
                                             "unload one of them first",
                                             migrators::kPluginsMax)});
  char why[512];
  const PluginTrouble trouble =
      Open(path.c_str(), options.c_str(), House::kOwnProcess, free, why, sizeof why);
  if (trouble != PluginTrouble::kNone) return std::unexpected(Error{KindOf(trouble), why});
  std::string name(free->name.view());
  Kind kind;
  boundary_->Do([&] {
    kind = engine_->registry.Install(free->name, *free->plugin);
    if (kind == migrators::PluginKind(migrators::kPluginsMax)) return;
    flow::AddOwn(*engine_, free->image);
    flow::AddOwn(*engine_, free->room);
  });
  if (kind != migrators::PluginKind(migrators::kPluginsMax)) return name;
  Close(free);
  return std::unexpected(
      Error{Error::Kind::kUnavailable,
            fmt::format("a plugin of the name {} is loaded already; unload that first", name)});
}

std::expected<Kind, Error> HostedPlugins::Find(const std::string& name) {
  std::string names;
  Kind found;
  boundary_->Do([&] {
    found = engine_->registry.Find(name);
    for (const Kind kind : AllOf(engine_->registry))
      names += (names.empty() ? "" : ", ") + std::string(engine_->registry.NameAt(kind));
  });
  if (found != migrators::PluginKind(migrators::kPluginsMax)) return found;
  return std::unexpected(
      Error{Error::Kind::kUnavailable,
            fmt::format("there is no copy engine '{}' here; there are {}", name, names)});
}

// The mover settles what is late with every batch; between two jobs this thread does.
bool HostedPlugins::Drain(Kind kind, double timeout_s) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(timeout_s);
  for (;;) {
    boundary_->Do([&] { (void)flow::EnginesHoldAddresses(*engine_); });
    if (engine_->registry.IsIdle(kind)) return true;
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void HostedPlugins::Drop(Kind kind) {
  OpenPlugin* gone = nullptr;
  boundary_->Do([&] {
    for (OpenPlugin& opened : opened_)
      if (opened.plugin != nullptr && opened.plugin == engine_->registry.PluginAt(kind))
        gone = &opened;
    engine_->registry.Remove(kind);
    flow::RemoveOwn(*engine_, gone->image);
    flow::RemoveOwn(*engine_, gone->room);
  });
  Close(gone);
}

std::expected<void, Error> HostedPlugins::Unload(const std::string& name, double timeout_s) {
  const std::lock_guard lock(mutex_);
  const auto kind = Find(name);
  if (!kind.has_value()) return std::unexpected(kind.error());
  if (!migrators::IsPlugin(*kind))
    return std::unexpected(
        Error{Error::Kind::kUsage, fmt::format("{} is built in and cannot be unloaded; it can be "
                                               "unregistered, and then gets no batches",
                                               name)});
  engine_->registry.Unregister(*kind);
  if (!Drain(*kind, timeout_s))
    return std::unexpected(
        Error{Error::Kind::kFailed, fmt::format("{} has not let go of its last batch; it gets no "
                                                "more of them, try again later",
                                                name)});
  Drop(*kind);
  return {};
}

std::expected<void, Error> HostedPlugins::Set(const std::string& name,
                                              const MigratorSettings& settings) {
  const std::lock_guard lock(mutex_);
  const auto kind = Find(name);
  if (!kind.has_value()) return std::unexpected(kind.error());
  migrators::Registry& registry = engine_->registry;
  migrators::Terms terms = registry.TermsOf(*kind);
  if (settings.reasons.has_value()) {
    const auto bits = ReasonBits(*settings.reasons);
    if (!bits.has_value()) return std::unexpected(bits.error());
    terms.reasons = *bits;
  }
  if (settings.smallest_batch_bytes.has_value())
    terms.smallest_bytes = *settings.smallest_batch_bytes;
  registry.Set(*kind, terms);
  if (settings.registered.has_value())
    *settings.registered ? registry.Register(*kind) : registry.Unregister(*kind);
  return {};
}

std::vector<MigratorState> HostedPlugins::List() {
  std::vector<MigratorState> list;
  boundary_->Do([&] {
    for (const Kind kind : AllOf(engine_->registry))
      list.push_back(StateOf(engine_->registry, kind));
  });
  return list;
}

bool HostedPlugins::CloseAll() {
  if (engine_ == nullptr) return true;
  const std::lock_guard lock(mutex_);
  bool all = true;
  for (const Kind kind : AllOf(engine_->registry)) {
    if (!migrators::IsPlugin(kind)) continue;
    engine_->registry.Unregister(kind);
    if (Drain(kind, kLastPatienceS))
      Drop(kind);
    else
      all = false;
  }
  return all;
}

}  // namespace drover::library
