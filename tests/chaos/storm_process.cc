#include "chaos/storm_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>

namespace drover::chaos {
namespace {

[[noreturn]] void Become(std::vector<std::string> words, const std::string& work,
                         const std::string& group) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  setpgid(0, 0);  // a Ctrl-C is for the starter alone
  if (chdir(work.c_str()) != 0) _exit(126);
  if (!group.empty()) {
    const int file = open(group.c_str(), O_WRONLY | O_CLOEXEC);
    if (file < 0 || write(file, "0", 1) != 1) _exit(126);
    close(file);
  }
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  execv(arguments[0], arguments.data());
  _exit(127);
}

}  // namespace

std::string Built(const std::string& name) {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / name;
}

Folder::Folder() {
  char path[] = "/tmp/drover-chaos-run-XXXXXX";
  if (mkdtemp(path) != nullptr) path_ = path;
}
Folder::~Folder() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

Storm::Storm(const Folder& folder, const std::string& name, const std::vector<std::string>& options,
             const std::string& group)
    : tally_(MapTally(folder.File(name))), work_(folder.File(name + ".work")) {
  // With a plugin of which every third folio is left to the CPU.
  const std::string plugin = Built("test-plugins/sample/sample.so");
  std::vector<std::string> words = {Built("drover"), "run"};
  if (std::filesystem::exists(plugin))
    words.insert(words.end(), {"--migrator", plugin + ":leave=3"});
  words.insert(words.end(), {"--", Built("drover_storm"), "--tally", folder.File(name)});
  words.insert(words.end(), options.begin(), options.end());
  std::filesystem::create_directory(work_);
  pid_ = fork();
  if (pid_ == 0) Become(words, work_, group);
  for (int i = 0; i < 3000 && tally_->ready == 0 && !HasEnded(); ++i) usleep(10'000);
}
Storm::~Storm() {
  if (!ended_) Signal(SIGKILL), Await();
}
bool Storm::HasEnded() {
  int status = 0;
  if (!ended_ && waitpid(pid_, &status, WNOHANG) == pid_) {
    ended_ = true;
    code_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
  return ended_;
}
int Storm::Await() {
  for (int i = 0; i < 6000 && !HasEnded(); ++i) usleep(10'000);
  return ended_ ? code_ : 124;
}
void Storm::Signal(int signal) const {
  kill(pid_, signal);
}

BusyCpus::BusyCpus(bool wanted) {
  for (long i = 0; wanted && i < sysconf(_SC_NPROCESSORS_ONLN); ++i) {
    const int child = fork();
    if (child == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      for (std::atomic<uint64_t> turns = 0;;) turns.fetch_add(1, std::memory_order_relaxed);
    }
    children_.push_back(child);
  }
}
BusyCpus::~BusyCpus() {
  for (const int child : children_) kill(child, SIGKILL), waitpid(child, nullptr, 0);
}

}  // namespace drover::chaos
