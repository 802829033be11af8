#include "library/plugin_names.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <vector>

#include "library/engines.h"
#include "library/plugin_file.h"
#include "migrators/spec.h"

namespace drover::library {
namespace {

std::vector<std::string> PluginFolders() {
  std::vector<std::string> folders;
  const char* named = std::getenv("DROVER_MIGRATOR_PATH");
  std::istringstream list(named != nullptr ? named : "");
  for (std::string folder; std::getline(list, folder, ':');)
    if (!folder.empty()) folders.push_back(folder);
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  folders.push_back(self / "migrators");
  folders.push_back((self / "../lib/drover/migrators").lexically_normal());
  return folders;
}

}  // namespace

bool MeansPlugin(const std::string& words) {
  migrators::PluginName name;
  const std::string front = words.substr(0, words.find(':'));
  return words.find('/') != std::string::npos || migrators::MakePluginName(front, &name);
}

std::expected<PluginWords, Error> FindPlugin(const std::string& words) {
  std::error_code error;
  const size_t slash = words.rfind('/', words.find(".so:"));
  const size_t colon = words.find(':', slash == std::string::npos ? 0 : slash);
  const std::string front = words.substr(0, colon);
  PluginWords found{front, colon == std::string::npos ? "" : words.substr(colon + 1)};
  const auto missing = [](std::string message) {
    return std::unexpected(Error{Error::Kind::kUnavailable, std::move(message)});
  };
  if (slash != std::string::npos) {
    if (!std::filesystem::exists(front, error))
      return missing(fmt::format("there is no plugin {}", front));
    found.path = std::filesystem::canonical(front, error);
    return found;
  }
  const auto folders = PluginFolders();
  for (const std::string& folder : folders) {
    found.path = fmt::format("{}/{}.so", folder, front);
    if (std::filesystem::exists(found.path, error)) return found;
  }
  return missing(fmt::format(
      "there is no copy engine '{}': not built in, and no {}.so in {}; name the plugin by its path",
      front, front, fmt::join(folders, ", ")));
}

std::vector<FoundPlugin> ListPlugins() {
  std::vector<FoundPlugin> list;
  for (const std::string& folder : PluginFolders()) {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
      if (entry.path().extension() != ".so") continue;
      FoundPlugin found{.name = entry.path().stem(),
                        .path = entry.path(),
                        .description = {},
                        .trouble = {},
                        .capabilities = {}};
      OpenPlugin opened;
      char why[512] = "";
      if (Look(found.path.c_str(), &opened, why, sizeof why) == PluginTrouble::kNone) {
        found.name = opened.name.view();
        found.description = opened.calls->description;
        found.capabilities = NamesOfCapabilities(opened.calls->flags);
      }
      found.trouble = why;
      Close(&opened);
      list.push_back(std::move(found));
    }
  }
  std::sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return list;
}

}  // namespace drover::library
