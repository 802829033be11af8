// drover run: starts a program with the agent in it.
#include <elf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "cli/command.h"
#include "library/engines.h"
#include "library/plugin_names.h"

namespace drover::cli {
namespace {

// Beside this program (a build folder) or where `cmake --install` puts it.
std::expected<std::string, Error> FindAgentLibrary() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  for (const auto& candidate : {self.parent_path() / "libdrover-agent.so",
                                self.parent_path() / "../lib/drover/libdrover-agent.so"})
    if (std::filesystem::exists(candidate, error))
      return std::filesystem::canonical(candidate, error).string();
  return std::unexpected(
      Unavailable("libdrover-agent.so is not beside drover; run `./dev build`, or install both"));
}

std::expected<std::string, Error> FindProgram(const std::string& name) {
  std::vector<std::string> candidates;
  if (name.find('/') != std::string::npos) {
    candidates = {name};
  } else {
    const char* path = std::getenv("PATH");
    std::istringstream folders(path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin");
    for (std::string folder; std::getline(folders, folder, ':');)
      candidates.push_back((folder.empty() ? "." : folder) + "/" + name);
  }
  for (const std::string& candidate : candidates) {
    struct stat info;
    if (stat(candidate.c_str(), &info) == 0 && S_ISREG(info.st_mode) &&
        access(candidate.c_str(), X_OK) == 0)
      return candidate;
  }
  return std::unexpected(Unavailable(fmt::format("there is no program '{}' to start", name)));
}

// Can the loader put the agent into this program?
std::expected<void, Error> CheckLoadable(const std::string& path, int depth = 0) {
  const auto only_kernel_path = [&](const char* why) {
    return std::unexpected(Unavailable(fmt::format(
        "{} is {}, so no agent can be in it; start it without `drover run`: `drover move` then "
        "takes the kernel path",
        path, why)));
  };
  struct stat info;
  if (stat(path.c_str(), &info) != 0)
    return std::unexpected(Unavailable(fmt::format("{}: {}", path, std::strerror(errno))));
  const bool changes_user = (info.st_mode & S_ISUID) != 0 && info.st_uid != geteuid();
  const bool changes_group = (info.st_mode & S_ISGID) != 0 && info.st_gid != getegid();
  if (changes_user || changes_group) return only_kernel_path("set-uid or set-gid");
  if (getxattr(path.c_str(), "security.capability", nullptr, 0) > 0 && geteuid() != 0)
    return only_kernel_path("a program with file capabilities");
  std::ifstream file(path, std::ios::binary);
  char head[256] = {};
  file.read(head, sizeof head - 1);
  if (head[0] == '#' && head[1] == '!' && depth < 4) {
    std::istringstream words(std::string(head + 2, std::strcspn(head + 2, "\n")));
    std::string interpreter;
    words >> interpreter;
    return CheckLoadable(interpreter, depth + 1);
  }
  Elf64_Ehdr elf;
  std::memcpy(&elf, head, sizeof elf);
  if (std::memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0) return {};  // exec will say
  if (elf.e_ident[EI_CLASS] != ELFCLASS64 || elf.e_machine != EM_X86_64)
    return only_kernel_path("not an x86-64 program");
  file.clear();
  file.seekg(static_cast<std::streamoff>(elf.e_phoff));
  for (int i = 0; i < elf.e_phnum; ++i) {
    Elf64_Phdr part;
    if (!file.read(reinterpret_cast<char*>(&part), sizeof part)) break;
    if (part.p_type == PT_INTERP) return {};
  }
  return only_kernel_path("statically linked");
}

// Each plugin as two lines, its file and its options, once it has been seen to work in a program
// that is not drover's own.
std::expected<std::string, Error> PluginLines(const std::vector<std::string>& migrators) {
  std::string lines;
  if (migrators.size() > migrators::kPluginsMax)
    return std::unexpected(
        Error{Error::Kind::kUsage, fmt::format("{} plugins are too many; up to {}",
                                               migrators.size(), migrators::kPluginsMax)});
  for (const std::string& words : migrators) {
    const auto found = library::FindPlugin(words);
    if (!found.has_value()) return std::unexpected(found.error());
    std::error_code error;
    const std::string path = std::filesystem::canonical(found->path, error);
    library::OpenPlugin opened;
    char why[512];
    const library::PluginTrouble trouble =
        library::Open(path.c_str(), found->options.c_str(), library::House::kForeignProcess,
                      &opened, why, sizeof why);
    if (trouble != library::PluginTrouble::kNone)
      return std::unexpected(Error{library::KindOf(trouble), why});
    library::Close(&opened);
    lines += path + "\n" + found->options + "\n";
  }
  return lines;
}

int Run(const std::vector<std::string>& command, const std::string& children,
        const std::vector<std::string>& migrators) {
  const auto agent = FindAgentLibrary();
  if (!agent.has_value()) return Fail(agent.error());
  const auto program = FindProgram(command[0]);
  if (!program.has_value()) return Fail(program.error());
  if (const auto loadable = CheckLoadable(*program); !loadable.has_value())
    return Fail(loadable.error());
  const auto plugins = PluginLines(migrators);
  if (!plugins.has_value()) return Fail(plugins.error());
  if (plugins->empty())
    unsetenv("DROVER_MIGRATORS");
  else
    setenv("DROVER_MIGRATORS", plugins->c_str(), 1);
  const char* preload = std::getenv("LD_PRELOAD");
  const std::string all =
      preload != nullptr && preload[0] != '\0' ? *agent + ":" + preload : *agent;
  setenv("LD_PRELOAD", all.c_str(), 1);
  setenv("DROVER_AGENT", agent->c_str(), 1);
  if (children == "no")
    setenv("DROVER_CHILDREN", "no", 1);
  else
    unsetenv("DROVER_CHILDREN");
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  execv(program->c_str(), arguments.data());
  return Fail(
      Unavailable(fmt::format("{} could not be started: {}", *program, std::strerror(errno))));
}

}  // namespace

void AddRun(CLI::App& app, Chosen& chosen) {
  auto* run = app.add_subcommand("run", "start a program with the agent in it, idle until asked");
  auto command = std::make_shared<std::vector<std::string>>();
  auto children = std::make_shared<std::string>("yes");
  run->add_option("--children", *children, "programs that it starts get an agent, too: yes or no")
      ->check(CLI::IsMember({"yes", "no"}))
      ->capture_default_str();
  auto migrators = std::make_shared<std::vector<std::string>>();
  run->add_option(
         "--migrator", *migrators,
         "a plugin to load, NAME[:OPTIONS] or FILE.so[:OPTIONS]; for each once, up to four")
      ->allow_extra_args(false);
  run->add_option("CMD", *command, "the program and its arguments, after --")->required();
  run->positionals_at_end();
  run->prefix_command(false);
  run->footer(
      "Example: drover run -- redis-server --port 7000\n"
      "drover replaces itself by the program: signals, terminal and exit code are its own.");
  run->callback(
      [=, &chosen] { chosen.run = [=] { return Run(*command, *children, *migrators); }; });
}

}  // namespace drover::cli
