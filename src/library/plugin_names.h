// From the words of a command line to a plugin's file.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "drover/engine.h"

namespace drover::library {

struct PluginWords {
  std::string path, options;
};

// Do these words (of one engine) mean a plugin: a path, or a name that no built-in engine has?
bool MeansPlugin(const std::string& words);

// "FOLDER/FILE.so[:OPTIONS]" or "NAME[:OPTIONS]". NAME.so is looked for in the folders of
// $DROVER_MIGRATOR_PATH, beside this program (migrators/), and where `cmake --install` puts it
// (../lib/drover/migrators/).
[[nodiscard]] std::expected<PluginWords, Error> FindPlugin(const std::string& words);

// A plugin that was found in those folders.
struct FoundPlugin {
  std::string name, path, description, trouble;  // `trouble`: why it cannot be used
  std::vector<std::string> capabilities;
};
std::vector<FoundPlugin> ListPlugins();

}  // namespace drover::library
