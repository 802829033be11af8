// Copy engines in the user's words.
#pragma once

#include <expected>
#include <string>

#include "drover/engine.h"
#include "flow/job.h"
#include "library/plugin_file.h"

namespace drover::library {

// The plugins that are registered where the job is to run, by place.
using Plugins = std::span<const migrators::PluginName>;

// Reads "ENGINE[,ENGINE...]" (migrators/spec.h) into the job, or "auto": what this machine's
// profile says (profile.h). A measured copy function is taken over, too.
[[nodiscard]] std::expected<void, Error> ParseEngines(const std::string& words, Plugins plugins,
                                                      flow::Job* job);
// "threads:2": what ParseEngines would read so.
std::string WordsOf(const migrators::Spec& spec, Plugins plugins = {});
// May this job have the engines that it wants? They may tell what is not so.
[[nodiscard]] std::expected<void, Error> CheckEngines(const flow::Job& job);
// Reads the name of a reason, as the kernel spells it.
[[nodiscard]] std::expected<void, Error> ParseReason(const std::string& name, flow::Job* job);
// What kind of error that is.
Error::Kind KindOf(PluginTrouble trouble);
// All of them, separated by commas.
std::string ReasonNames();
// Reasons by name, as bits; none: all.
[[nodiscard]] std::expected<uint32_t, Error> ReasonBits(const std::vector<std::string>& names);
std::vector<std::string> NamesOfReasons(uint32_t bits);        // empty: all
std::vector<std::string> NamesOfCapabilities(uint64_t flags);  // DROVER_MIGRATOR_...

}  // namespace drover::library
