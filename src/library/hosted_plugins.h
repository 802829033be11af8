// The copy engines of a hosted engine: loading plugins, setting and unloading them, also while a
// job runs.
#pragma once

#include <expected>
#include <mutex>
#include <string>
#include <vector>

#include "drover/engine.h"
#include "flow/engine.h"
#include "library/boundary.h"
#include "library/plugin_file.h"

namespace drover::library {

// It stands where nothing is moved. Any thread.
class HostedPlugins {
 public:
  // Behind the last job. Waits a while for what still has a batch. False: something has one still;
  // then the engine's memory must stay.
  [[nodiscard]] bool CloseAll();
  void Use(flow::Engine* engine, Boundary* boundary) { engine_ = engine, boundary_ = boundary; }

  [[nodiscard]] std::expected<std::string, Error> Load(const std::string& path,
                                                       const std::string& options);
  [[nodiscard]] std::expected<void, Error> Unload(const std::string& name, double timeout_s);
  [[nodiscard]] std::expected<void, Error> Set(const std::string& name,
                                               const MigratorSettings& settings);
  std::vector<MigratorState> List();

 private:
  std::expected<migrators::Kind, Error> Find(const std::string& name);
  bool Drain(migrators::Kind kind, double timeout_s);
  void Drop(migrators::Kind kind);

  flow::Engine* engine_ = nullptr;
  Boundary* boundary_ = nullptr;
  std::mutex mutex_;  // one at a time loads or unloads
  OpenPlugin opened_[migrators::kPluginsMax];
};

}  // namespace drover::library
