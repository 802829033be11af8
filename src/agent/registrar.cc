#include "agent/registrar.h"

#include "flow/flow.h"

namespace drover::agent {
namespace {

using control::MigratorList;
using control::MigratorsRequest;
using migrators::Kind;

bool Do(migrators::Registry& registry, const MigratorsRequest& request) {
  using Action = MigratorsRequest::Action;
  if (request.action == Action::kList) return true;
  const Kind kind = registry.Find(request.name.view());
  if (kind == migrators::PluginKind(migrators::kPluginsMax)) return false;
  if (request.action == Action::kRegister) registry.Register(kind);
  if (request.action == Action::kUnregister) registry.Unregister(kind);
  if (request.action == Action::kSet) {
    migrators::Terms terms = registry.TermsOf(kind);
    if (request.has_reasons != 0) terms.reasons = request.reasons;
    if (request.has_smallest != 0) terms.smallest_bytes = request.smallest_bytes;
    registry.Set(kind, terms);
  }
  return true;
}

control::MigratorState StateOf(const migrators::Registry& registry, Kind kind) {
  control::MigratorState state;
  const migrators::Plugin* plugin = registry.PluginAt(kind);
  state.plugin = plugin != nullptr;
  if (plugin != nullptr) {
    const drover_migrator_report report = plugin->Report();
    state.channels = report.channels;
    state.hardware = report.hardware;
    state.flags = plugin->flags();
  }
  const std::string_view name = registry.NameAt(kind);
  for (size_t i = 0; i < name.size(); ++i) state.name.text[i] = name[i];
  state.registered = registry.IsRegistered(kind);
  state.idle = registry.IsIdle(kind);
  const migrators::Terms terms = registry.TermsOf(kind);
  state.reasons = terms.reasons;
  state.smallest_bytes = terms.smallest_bytes;
  state.tally = registry.TallyOf(kind);
  return state;
}

}  // namespace

void InstallPlugins(flow::Engine& engine, const Settings& settings) {
  for (uint32_t i = 0; i < settings.plugin_count; ++i) {
    const library::OpenPlugin& opened = settings.plugins[i];
    flow::AddOwn(engine, opened.image);
    flow::AddOwn(engine, opened.room);
    (void)engine.registry.Install(opened.name, *opened.plugin);
  }
}

void Answer(flow::Engine& engine, const MigratorsRequest& request, MigratorList* list) {
  const migrators::Registry& registry = engine.registry;
  list->problem =
      Do(engine.registry, request) ? MigratorList::Problem::kNone : MigratorList::Problem::kNoSuch;
  for (uint32_t i = 0; i < migrators::kKindCount; ++i) {
    const Kind kind = static_cast<Kind>(i);
    if (registry.Has(kind)) list->list[list->count++] = StateOf(registry, kind);
  }
}

}  // namespace drover::agent
