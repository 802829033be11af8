#include "library/engines.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <vector>

#include "drover/migrator.h"
#include "library/profile.h"

namespace drover::library {
namespace {

using migrators::Kind;
using migrators::Spec;
using migrators::SpecError;

constexpr std::array<const char*, flow::kReasonCount> kReasons = {
    "syscall",        "compaction",      "numa_misplaced", "demotion",
    "memory_hotplug", "mempolicy_mbind", "contig_range",   "longterm_pin"};

std::unexpected<Error> Usage(std::string message) {
  return std::unexpected(Error{Error::Kind::kUsage, std::move(message)});
}

std::string ListOf(Plugins plugins) {
  std::string list;
  for (const migrators::PluginName& plugin : plugins)
    if (!plugin.view().empty())
      list += (list.empty() ? "the plugins " : ", ") + std::string(plugin.view());
  return list.empty() ? "no plugin is loaded" : list;
}

std::string WhatIsWrong(const std::string& words, Plugins plugins, SpecError error) {
  switch (error) {
    case SpecError::kCount:
      return fmt::format(
          "'{}' needs a number behind the colon: threads:1 to threads:{}, channels:1 to "
          "channels:{}",
          words, migrators::kThreadsMax, migrators::kChannelsMax);
    case SpecError::kOption:
      return fmt::format(
          "'{}' has an option that this copy engine does not know; threads:N takes :always, fault "
          "takes "
          "fail, fail-all, refuse, lie, short, flip, late or hang, and :over=serial, "
          ":over=threads:N or :over=channels:N behind that",
          words);
    case SpecError::kTwice:
      return fmt::format("'{}' names an engine twice (one that fault stands over counts)", words);
    case SpecError::kTooMany:
      return fmt::format(
          "'{}' is too much for one move: at most {} engines, and {} threads and "
          "channels together",
          words, migrators::kEnginesPerJobMax, migrators::kThreadsMax - 1);
    default:
      return fmt::format(
          "'{}' is no copy engine here; there are serial, threads:N[:always], channels:N, null and "
          "fault:KIND, and {}",
          words, ListOf(plugins));
  }
}

}  // namespace

std::expected<void, Error> ParseEngines(const std::string& words, Plugins plugins, flow::Job* job) {
  const Known known = LoadProfile();
  UseCopyWays(known, job);
  if (words == "auto") {
    UseAuto(known, job);
    return {};
  }
  std::vector<Spec> specs;
  for (size_t at = 0; at <= words.size();) {
    const size_t comma = std::min(words.find(',', at), words.size());
    const std::string one = words.substr(at, comma - at);
    Spec spec;
    if (const SpecError error = ParseSpec(one, plugins, &spec); error != SpecError::kNone)
      return Usage(WhatIsWrong(one, plugins, error));
    specs.push_back(spec);
    at = comma + 1;
  }
  if (const SpecError error = CheckTogether(specs); error != SpecError::kNone)
    return Usage(WhatIsWrong(words, plugins, error));
  job->engine_count = static_cast<uint32_t>(specs.size());
  for (migrators::Terms& terms : job->terms) terms = {};
  std::copy(specs.begin(), specs.end(), job->engines);
  for (size_t i = 0; i < plugins.size() && i < migrators::kPluginsMax; ++i)
    job->plugins[i] = plugins[i];
  return {};
}

std::string WordsOf(const Spec& spec, Plugins plugins) {
  if (migrators::IsPlugin(spec.kind)) {
    const size_t place = migrators::PlaceOf(spec.kind);
    return place < plugins.size() ? std::string(plugins[place].view()) : "plugin";
  }
  const auto plain = [&](Kind kind) {
    return HasCount(kind) ? fmt::format("{}:{}", NameOf(kind), spec.count)
                          : std::string(NameOf(kind));
  };
  if (spec.kind != Kind::kFault) return plain(spec.kind) + (spec.always ? ":always" : "");
  const std::string words = fmt::format("{}:{}", NameOf(spec.kind), NameOf(spec.fault));
  return spec.over == Kind::kSerial ? words : words + ":over=" + plain(spec.over);
}

std::expected<void, Error> CheckEngines(const flow::Job& job) {
  if (!job.TrustsALiar()) return {};
  return Usage(
      "null, and the lies of fault, leave pages uncopied and say that they are copied: that "
      "goes only with --verify, which finds and mends it");
}

std::expected<void, Error> ParseReason(const std::string& name, flow::Job* job) {
  const auto found = std::find(kReasons.begin(), kReasons.end(), name);
  if (found == kReasons.end())
    return Usage(fmt::format("'{}' is no reason; there are {}", name, ReasonNames()));
  job->reason = static_cast<flow::Reason>(found - kReasons.begin());
  return {};
}

std::expected<uint32_t, Error> ReasonBits(const std::vector<std::string>& names) {
  uint32_t bits = 0;
  for (const std::string& name : names) {
    flow::Job job;
    if (const auto parsed = ParseReason(name, &job); !parsed.has_value())
      return std::unexpected(parsed.error());
    bits |= 1u << static_cast<uint32_t>(job.reason);
  }
  return names.empty() ? ~0u : bits;
}

std::vector<std::string> NamesOfReasons(uint32_t bits) {
  std::vector<std::string> names;
  constexpr uint32_t kAll = (1u << flow::kReasonCount) - 1;
  for (uint32_t i = 0; i < flow::kReasonCount && (bits & kAll) != kAll; ++i)
    if ((bits >> i & 1) != 0) names.emplace_back(kReasons[i]);
  return names;
}

std::vector<std::string> NamesOfCapabilities(uint64_t flags) {
  std::vector<std::string> names;
  const auto add = [&](uint64_t flag, const char* name) {
    if ((flags & flag) != 0) names.emplace_back(name);
  };
  add(DROVER_MIGRATOR_FREESTANDING, "freestanding");
  add(DROVER_MIGRATOR_OWN_PROCESS, "own-process");
  add(DROVER_MIGRATOR_PINNED, "pinned-memory");
  add(DROVER_MIGRATOR_CHANNELS, "channels");
  return names;
}

Error::Kind KindOf(PluginTrouble trouble) {
  switch (trouble) {
    case PluginTrouble::kNotSafe:
      return Error::Kind::kNotPermitted;
    case PluginTrouble::kNoMemory:
      return Error::Kind::kFailed;
    default:
      return Error::Kind::kUnavailable;
  }
}

std::string ReasonNames() {
  return fmt::format("{}", fmt::join(kReasons, ", "));
}

}  // namespace drover::library
