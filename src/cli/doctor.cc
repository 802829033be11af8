// drover doctor: what this machine and user can do, and the way out where they cannot.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "cli/command.h"
#include "cli/doctor_process.h"
#include "cli/sizes.h"
#include "flow/own_path.h"
#include "kernel/linux_kernel.h"
#include "library/profile.h"
#include "topology/nodes.h"

namespace drover::cli {
namespace {

using kernel::Errno;
using kernel::LinuxKernel;

struct Check {
  std::string name;
  bool good;
  std::string seen;
  std::string fix;  // the way out where it is not good
};

std::string FirstLine(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

Check KernelCheck(LinuxKernel& kernel) {
  const flow::KernelVersion version = flow::ReadVersion(kernel);
  const flow::KernelRow& row = flow::RowOf(version);
  const char* trust = row.trust == flow::Trust::kTested     ? "own path, tested"
                      : row.trust == flow::Trust::kSelfTest ? "own path after a self-test"
                                                            : "kernel path only";
  return {"kernel", row.trust != flow::Trust::kRefused,
          fmt::format("{}.{}.{}: {} ({})", version.major, version.minor, version.patch, trust,
                      row.origin),
          "use Linux 6.12.43 or newer of 6.12, or 6.18"};
}

Check UserfaultCheck() {
  const auto made = LinuxKernel::OpenUserfault();
  const char* fix = "run the program as root or with CAP_SYS_PTRACE, or move it as root";
  if (!made.has_value())
    return {"userfaultfd", false, "no right to handle kernel-mode faults", fix};
  const Errno full = LinuxKernel::ShakeHands(*made, kernel::kFeaturesWanted);
  close(*made);
  if (full == Errno::kOk) return {"userfaultfd", true, "all features, fork events included", ""};
  if (full == Errno::kPerm) return {"userfaultfd", false, "no right to fork events", fix};
  return {"userfaultfd", false, "this kernel has no UFFDIO_MOVE",
          "use Linux 6.12.43 or newer, not 6.13 to 6.15"};
}

Check PagemapCheck() {
  LinuxKernel kernel;
  kernel::PageEntry entry;
  const int witness = 1;
  const bool opened = kernel.OpenFiles() == Errno::kOk;
  const uint64_t page = RoundDown(reinterpret_cast<uint64_t>(&witness), kPageBytes);
  const bool read = opened && kernel.ReadEntries(page, {&entry, 1}) == Errno::kOk;
  kernel.Close();
  const bool frames = read && entry.frame() != 0;
  return {"page frames", frames,
          frames ? "visible: a move can be checked from outside" : "hidden from this user",
          "run `drover move` as root to have relocated_verified"};
}

Check NodesCheck() {
  std::string seen;
  const auto nodes = topology::ReadNodes("/");
  for (const auto& node : nodes.with_memory)
    seen += fmt::format("{}node {}: {} free of {}", seen.empty() ? "" : "; ", node.id,
                        HumanBytes(node.free_bytes), HumanBytes(node.total_bytes));
  return {"memory nodes", true, seen, ""};
}

Check BalancingCheck() {
  const std::string on = FirstLine("/proc/sys/kernel/numa_balancing");
  const bool good = on.empty() || on == "0";
  return {"numa_balancing", good, good ? "off: nothing moves pages back" : "on",
          "sysctl kernel.numa_balancing=0"};
}

Check HugePagesCheck() {
  const std::string mode = FirstLine("/sys/kernel/mm/transparent_hugepage/enabled");
  return {"huge pages", true, mode.empty() ? "no transparent huge pages" : mode, ""};
}

Check AgentCheck() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  const bool here = std::filesystem::exists(self / "libdrover-agent.so", error) ||
                    std::filesystem::exists(self / "../lib/drover/libdrover-agent.so", error);
  return {"agent library", here, here ? "found" : "libdrover-agent.so is not beside drover",
          "./dev build, or install both"};
}

Check CopyCheck() {
  const library::Known known = library::LoadProfile();
  const std::string what = fmt::format("--migrator auto is {}", library::WordsOfAuto(known));
  if (known.profile.has_value())
    return {"copy engines", true,
            fmt::format("{}; measured {} ({})", what, known.profile->measured, known.path), ""};
  return {"copy engines", known.notice.empty(),
          known.notice.empty() ? what + "; not measured (drover tune)" : known.notice,
          "drover tune"};
}

int Doctor(bool json) {
  LinuxKernel kernel;
  const std::vector<Check> checks = {KernelCheck(kernel), UserfaultCheck(), PagemapCheck(),
                                     NodesCheck(),        BalancingCheck(), HugePagesCheck(),
                                     AgentCheck(),        CopyCheck()};
  const bool own_path = checks[0].good && checks[1].good;
  const char* verdict = own_path
                            ? "programs started by `drover run` as this user take the own path"
                            : "programs of this user take the kernel path, unless root moves them";
  if (json) {
    auto document = JsonHead("doctor");
    document["own_path"] = own_path;
    document["checks"] = nlohmann::json::array();
    for (const Check& check : checks)
      document["checks"].push_back({{"name", check.name},
                                    {"good", check.good},
                                    {"seen", check.seen},
                                    {"fix", check.good ? "" : check.fix}});
    PrintJson(document);
  } else {
    for (const Check& check : checks) {
      fmt::print("{:<4} {:<15} {}\n", check.good ? "ok" : "--", check.name, check.seen);
      if (!check.good) fmt::print("{:20} fix: {}\n", "", check.fix);
    }
    fmt::print("\n{}\n", verdict);
  }
  return kExitDone;
}

}  // namespace

void AddDoctor(CLI::App& app, Chosen& chosen) {
  auto* doctor = app.add_subcommand(
      "doctor", "what this machine and user can do; with PID: which path it takes, and why");
  auto json = std::make_shared<bool>(false);
  auto pid = std::make_shared<int>(0);
  doctor->add_option("PID", *pid, "a process")->check(CLI::PositiveNumber);
  doctor->add_flag("--json", *json, "one JSON document on stdout");
  doctor->callback([=, &chosen] {
    chosen.run = [=] { return *pid > 0 ? DoctorProcess(*pid, *json) : Doctor(*json); };
  });
}

}  // namespace drover::cli
