// What `drover tune` has measured of this machine, and what `auto` makes of it.
#pragma once

#include <expected>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "drover/engine.h"
#include "flow/job.h"
#include "migrators/copy_function.h"
#include "migrators/spec.h"

namespace drover::library {

struct Profile {
  static constexpr int kVersion = 2;

  struct CopyWay {
    migrators::CopyWay way = migrators::CopyWay::kCount;
    double gb_per_s = 0;  // over one contiguous buffer
  };
  // A copy engine beside the mover alone.
  struct Engine {
    migrators::Spec spec;
    uint64_t smallest_bytes = 0;  // of a batch for which it pays, and for all larger; 0: for none
  };
  // One size of batch, in GB/s.
  struct Batch {
    uint64_t bytes = 0;
    double small = 0, large = 0;  // one thread, by either copy function
    double serial = 0;
    std::vector<double> engines;  // in the order of Pair::engines
  };
  // From one node to another, or within one.
  struct Pair {
    int source = 0, target = 0;
    migrators::CopyWays copy_ways;
    std::vector<CopyWay> measured_ways;
    std::vector<Engine> engines;
    int chosen = -1;  // which of them `auto` takes; negative: none pays
    std::vector<Batch> batches;

    const Engine* Chosen() const { return chosen < 0 ? nullptr : &engines[chosen]; }
  };

  std::string machine;   // MachineNow() where it was measured
  std::string measured;  // UTC
  std::vector<Pair> pairs;
};

nlohmann::json ProfileToJson(const Profile& profile);

// By what a profile knows its machine: CPU model, CPUs, nodes.
std::string MachineNow();

// $DROVER_PROFILE, else drover/profile.json in $XDG_CONFIG_HOME or ~/.config.
std::string ProfilePath();

[[nodiscard]] std::expected<void, Error> SaveProfile(const Profile& profile,
                                                     const std::string& path);

// What there is to be used. `notice`: why a file that is there is not used; empty: nothing to say.
struct Known {
  std::optional<Profile> profile;
  std::string path, notice;
};
// From ProfilePath, else from /etc/drover/profile.json.
Known LoadProfile();

// What was measured between the nodes of this job. Where it has several pairs, the most cautious:
// helpers from the largest size on. Nothing of it measured: nullptr.
const Profile::Pair* PairFor(const Known& known, const flow::Placement& placement);

// The measured copy functions, where there are some. The job's placement is set.
void UseCopyWays(const Known& known, flow::Job* job);

// `auto`: the best copy engine for batches from the measured size on, in moves that somebody waits
// for; the mover alone for all else (demotion, compaction and the like are nobody's hurry). Without
// a profile: two threads, from 256 KiB on. The job's placement is set.
void UseAuto(const Known& known, flow::Job* job);
std::string WordsOfAuto(const Known& known);
// What one pair comes to, such as "threads:2 for batches from 128 KiB on, serial below".
std::string WordsOf(const Profile::Pair& pair);
// "plain-256, from 1024 KiB on stream-256".
std::string WordsOf(const migrators::CopyWays& ways);

}  // namespace drover::library
