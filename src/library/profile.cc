#include "library/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <span>
#include <thread>

#include "library/engines.h"
#include "topology/nodes.h"

namespace drover::library {
namespace {

constexpr const char* kForAll = "/etc/drover/profile.json";
constexpr uint32_t kThreadsUnmeasured = 2;
constexpr uint64_t kSmallestUnmeasured = 256 << 10;

// Moves that somebody waits for.
constexpr uint32_t Bit(flow::Reason reason) {
  return 1u << static_cast<uint32_t>(reason);
}
constexpr uint32_t kAwaited = Bit(flow::Reason::kSyscall) | Bit(flow::Reason::kMemoryHotplug) |
                              Bit(flow::Reason::kMempolicyMbind) | Bit(flow::Reason::kContigRange) |
                              Bit(flow::Reason::kLongtermPin);

std::string CpuModel() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name")) return line.substr(line.find(": ") + 2);
  return "unknown CPU";
}

migrators::CopyWay WayNamed(const std::string& name) {
  for (uint32_t i = 0; i < migrators::kCopyWayCount; ++i)
    if (const auto way = static_cast<migrators::CopyWay>(i); NameOf(way) == name) return way;
  return migrators::CopyWay::kCount;
}

// Throws nlohmann's exceptions where a field is missing or of another type.
Profile::Pair PairFromJson(const nlohmann::json& json) {
  Profile::Pair pair;
  pair.source = json.at("source").get<int>();
  pair.target = json.at("target").get<int>();
  pair.copy_ways.small = WayNamed(json.at("copy_function_small").get<std::string>());
  pair.copy_ways.large = WayNamed(json.at("copy_function_large").get<std::string>());
  pair.copy_ways.large_from_bytes = json.at("copy_function_large_from_bytes").get<uint64_t>();
  const auto automatic = json.at("auto").get<std::string>();
  for (const auto& engine : json.at("engines")) {
    const auto words = engine.at("migrator").get<std::string>();
    Profile::Engine& known = pair.engines.emplace_back();
    known.smallest_bytes = engine.at("smallest_batch_bytes").get<uint64_t>();
    if (migrators::ParseSpec(words, {}, &known.spec) != migrators::SpecError::kNone)
      known.spec.kind = migrators::Kind::kNull;  // which is not to be used, and so is found below
    if (words == automatic) pair.chosen = static_cast<int>(pair.engines.size()) - 1;
  }
  return pair;
}

// Would `auto` ask for something that this machine, or this drover, has not?
bool IsUsable(const Profile::Pair& pair) {
  for (const migrators::CopyWay way : {pair.copy_ways.small, pair.copy_ways.large})
    if (way == migrators::CopyWay::kCount || !IsSupported(way)) return false;
  for (const Profile::Engine& engine : pair.engines)
    if (engine.spec.kind != migrators::Kind::kThreads &&
        engine.spec.kind != migrators::Kind::kChannels)
      return false;
  return true;
}

Profile FromJson(const nlohmann::json& json) {
  Profile profile;
  profile.machine = json.at("machine").get<std::string>();
  profile.measured = json.at("measured").get<std::string>();
  for (const auto& pair : json.at("pairs")) profile.pairs.push_back(PairFromJson(pair));
  return profile;
}

Known Read(const std::string& path) {
  Known known{.profile = {}, .path = path, .notice = {}};
  std::ifstream file(path);
  if (!file) return known;
  const auto json = nlohmann::json::parse(file, nullptr, false);
  const auto ignored = [&](const std::string& why) {
    known.notice = fmt::format("the profile {} is ignored: {}; run `drover tune`", path, why);
    return known;
  };
  if (json.is_discarded() || !json.is_object()) return ignored("it cannot be read");
  const auto version = json.value("profile_version", nlohmann::json());
  if (version != Profile::kVersion)
    return ignored(fmt::format("it is of version {}, this drover reads {}", version.dump(),
                               Profile::kVersion));
  try {
    Profile profile = FromJson(json);
    if (profile.machine != MachineNow())
      return ignored(fmt::format("it was measured on another machine ({}; this one is {})",
                                 profile.machine, MachineNow()));
    if (!std::all_of(profile.pairs.begin(), profile.pairs.end(), IsUsable))
      return ignored("it names what this machine has not");
    known.profile = std::move(profile);
  } catch (const nlohmann::json::exception& wrong) {
    return ignored(wrong.what());
  }
  return known;
}

nlohmann::json PairToJson(const Profile::Pair& pair) {
  nlohmann::json ways = nlohmann::json::array(), engines = nlohmann::json::array(),
                 batches = nlohmann::json::array();
  for (const Profile::CopyWay& way : pair.measured_ways)
    ways.push_back({{"name", NameOf(way.way)}, {"gb_per_s", way.gb_per_s}});
  for (const Profile::Engine& engine : pair.engines)
    engines.push_back(
        {{"migrator", WordsOf(engine.spec)}, {"smallest_batch_bytes", engine.smallest_bytes}});
  for (const Profile::Batch& batch : pair.batches) {
    nlohmann::json row = {{"bytes", batch.bytes},
                          {"small_gb_per_s", batch.small},
                          {"large_gb_per_s", batch.large},
                          {"serial_gb_per_s", batch.serial}};
    for (size_t i = 0; i < batch.engines.size(); ++i)
      row["engines_gb_per_s"].push_back(batch.engines[i]);
    batches.push_back(std::move(row));
  }
  const Profile::Engine* const chosen = pair.Chosen();
  return {{"source", pair.source},
          {"target", pair.target},
          {"copy_function_small", NameOf(pair.copy_ways.small)},
          {"copy_function_large", NameOf(pair.copy_ways.large)},
          {"copy_function_large_from_bytes", pair.copy_ways.large_from_bytes},
          {"copy_functions", ways},
          {"engines", engines},
          {"auto", chosen == nullptr ? "serial" : WordsOf(chosen->spec)},
          {"batches", batches}};
}

// Does a job with this placement copy from the one node to the other?
bool Goes(const flow::Placement& placement, int source, int target) {
  if (placement.same) return source == target;
  if (source < 0 || source >= static_cast<int>(flow::kNodesMax) || source == target) return false;
  const int to = placement.target_of[source];
  if (to != flow::Placement::kSpread) return to == target;
  const std::span spread(placement.spread, placement.spread_count);
  return std::find(spread.begin(), spread.end(), target) != spread.end();
}

// What `auto` waits for before it calls helpers.
uint64_t CautionOf(const Profile::Pair& pair) {
  const Profile::Engine* const chosen = pair.Chosen();
  return chosen == nullptr ? ~uint64_t{0} : chosen->smallest_bytes;
}

std::string WordsFrom(const migrators::Spec& spec, uint64_t smallest_bytes) {
  return fmt::format("{} for batches from {} KiB on, serial below", WordsOf(spec),
                     smallest_bytes >> 10);
}

}  // namespace

nlohmann::json ProfileToJson(const Profile& profile) {
  nlohmann::json pairs = nlohmann::json::array();
  for (const Profile::Pair& pair : profile.pairs) pairs.push_back(PairToJson(pair));
  return {{"profile_version", Profile::kVersion},
          {"machine", profile.machine},
          {"measured", profile.measured},
          {"pairs", pairs}};
}

std::string MachineNow() {
  const auto nodes = topology::ReadNodes("/");
  return fmt::format("{}, {} CPUs, {} nodes with memory", CpuModel(),
                     std::thread::hardware_concurrency(), nodes.with_memory.size());
}

std::string ProfilePath() {
  if (const char* path = std::getenv("DROVER_PROFILE"); path != nullptr) return path;
  const char* config = std::getenv("XDG_CONFIG_HOME");
  const char* home = std::getenv("HOME");
  const std::string folder = config != nullptr ? config
                             : home != nullptr ? std::string(home) + "/.config"
                                               : "/etc";
  return folder + "/drover/profile.json";
}

std::expected<void, Error> SaveProfile(const Profile& profile, const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  const std::string next = path + ".new";  // whoever reads meanwhile sees the old one, whole
  {
    std::ofstream file(next);
    file << ProfileToJson(profile).dump(2) << "\n";
    file.flush();
    if (!file)
      return std::unexpected(
          Error{Error::Kind::kFailed,
                fmt::format("{} cannot be written; name another place by --file or DROVER_PROFILE",
                            path)});
  }
  std::filesystem::rename(next, path, error);
  if (!error) return {};
  return std::unexpected(Error{Error::Kind::kFailed, fmt::format("{}: {}", path, error.message())});
}

Known LoadProfile() {
  Known known = Read(ProfilePath());
  if (known.profile.has_value() || !known.notice.empty()) return known;
  Known for_all = Read(kForAll);
  return for_all.profile.has_value() || !for_all.notice.empty() ? for_all : known;
}

const Profile::Pair* PairFor(const Known& known, const flow::Placement& placement) {
  const Profile::Pair* found = nullptr;
  if (!known.profile.has_value()) return found;
  for (const Profile::Pair& pair : known.profile->pairs)
    if (Goes(placement, pair.source, pair.target) &&
        (found == nullptr || CautionOf(pair) > CautionOf(*found)))
      found = &pair;
  return found;
}

void UseCopyWays(const Known& known, flow::Job* job) {
  if (const Profile::Pair* pair = PairFor(known, job->placement)) job->copy_ways = pair->copy_ways;
}

void UseAuto(const Known& known, flow::Job* job) {
  job->engine_count = 1;
  job->engines[0] = {};
  job->terms[0] = {};
  const Profile::Pair* const pair = PairFor(known, job->placement);
  if (pair == nullptr) {
    job->engines[0] = {.kind = migrators::Kind::kThreads, .count = kThreadsUnmeasured};
    job->terms[0] = {.reasons = kAwaited, .smallest_bytes = kSmallestUnmeasured};
  } else if (const Profile::Engine* const chosen = pair->Chosen()) {
    job->engines[0] = chosen->spec;
    job->terms[0] = {.reasons = kAwaited, .smallest_bytes = chosen->smallest_bytes};
  }
}

std::string WordsOf(const Profile::Pair& pair) {
  const Profile::Engine* const chosen = pair.Chosen();
  return chosen == nullptr ? "serial: helpers do not pay"
                           : WordsFrom(chosen->spec, chosen->smallest_bytes);
}

std::string WordsOf(const migrators::CopyWays& ways) {
  if (ways.small == ways.large || ways.large_from_bytes == 0)
    return std::string(NameOf(ways.large));
  if (ways.large_from_bytes == ~uint64_t{0}) return std::string(NameOf(ways.small));
  return fmt::format("{}, from {} KiB on {}", NameOf(ways.small), ways.large_from_bytes >> 10,
                     NameOf(ways.large));
}

std::string WordsOfAuto(const Known& known) {
  if (!known.profile.has_value() || known.profile->pairs.empty())
    return WordsFrom({.kind = migrators::Kind::kThreads, .count = kThreadsUnmeasured},
                     kSmallestUnmeasured);
  const auto& pairs = known.profile->pairs;
  if (pairs.size() == 1) return WordsOf(pairs[0]);
  std::string words;
  for (const Profile::Pair& pair : pairs)
    words += fmt::format("{}{} to {}: {}", words.empty() ? "" : "; ", pair.source, pair.target,
                         WordsOf(pair));
  return words;
}

}  // namespace drover::library
