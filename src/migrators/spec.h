// Which copy engines a job wants, in data and in the words of the command line:
//
//   ENGINE[,ENGINE...]        several share each batch, in equal parts
//   serial                    one folio after another on the mover's thread
//   threads:N[:always]        the mover and N-1 helpers, N from 1 to 16; always: also where they
//                             are found to make it slower
//   channels:N                a DMA engine in software, with N channels, 1 to 8
//   null                      copies nothing; for benchmarks of all else
//   fault:KIND[:over=ENGINE]  for tests: another engine, spoilt
//   NAME                      a plugin (drover/migrator.h) that is registered under this name
//
// Freestanding.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace drover::migrators {

// Behind the built-in ones a place for each plugin (registry.h).
enum class Kind : uint8_t { kSerial, kThreads, kChannels, kNull, kFault, kFirstPlugin };
inline constexpr uint32_t kPluginsMax = 4;
inline constexpr uint32_t kBuiltInCount = static_cast<uint32_t>(Kind::kFirstPlugin);
inline constexpr uint32_t kKindCount = kBuiltInCount + kPluginsMax;
constexpr Kind PluginKind(uint32_t place) {
  return static_cast<Kind>(kBuiltInCount + place);
}
constexpr uint32_t PlaceOf(Kind plugin) {
  return static_cast<uint32_t>(plugin) - kBuiltInCount;
}
constexpr bool IsPlugin(Kind kind) {
  return kind >= Kind::kFirstPlugin;
}
std::string_view NameOf(Kind kind);  // of a built-in one

// A plugin's name as it travels: up to 23 of a-z, 0-9 and '-', beginning with a letter; then zeros.
struct PluginName {
  char text[24] = {};

  bool operator==(const PluginName&) const = default;
  std::string_view view() const {
    size_t length = 0;
    while (length < sizeof text && text[length] != '\0') ++length;
    return {text, length};
  }
};
// False: it cannot be one, or is a built-in engine's.
[[nodiscard]] bool MakePluginName(std::string_view words, PluginName* name);

// What `fault` does to the engine that it stands over. The first three are honest failures, which
// cost time; the next three are lies, which only --verify finds out; the last two are late.
enum class Fault : uint8_t {
  kFail,     // one folio is not copied, and not marked
  kFailAll,  // none is
  kRefuse,   // the batch is not taken
  kLie,      // one folio is marked and not copied
  kShort,    // one folio is marked, and its second half is not copied
  kFlip,     // one bit of one folio is wrong
  kLate,     // the answer comes late, and the memory is written to until then
  kHang,     // it does not come before the job ends
  kCount
};
inline constexpr uint32_t kFaultCount = static_cast<uint32_t>(Fault::kCount);
std::string_view NameOf(Fault fault);
constexpr bool Lies(Fault fault) {
  return fault == Fault::kLie || fault == Fault::kShort || fault == Fault::kFlip;
}

inline constexpr uint32_t kThreadsMax = 16;  // the mover included
inline constexpr uint32_t kChannelsMax = 8;

struct Spec {
  Kind kind = Kind::kSerial;
  uint32_t count = 1;   // threads, or channels
  bool always = false;  // threads, though they should not pay
  // Of `fault`: what it does, over which engine (`count` is that one's).
  Fault fault = Fault::kFail;
  Kind over = Kind::kSerial;

  bool operator==(const Spec&) const = default;
};

inline constexpr uint32_t kEnginesPerJobMax = 4;

enum class SpecError : uint8_t {
  kNone,
  kUnknown,  // no such engine
  kCount,    // a number of threads or channels that is not possible
  kOption,   // an option that this engine has not
  kTwice,    // an engine is named twice
  kTooMany,  // more engines than kEnginesPerJobMax, or more helpers than kThreadsMax - 1
};

// Reads one engine's words, without a comma. `plugins`: by place.
[[nodiscard]] SpecError ParseSpec(std::string_view words, std::span<const PluginName> plugins,
                                  Spec* spec);
// Are all fields within their bounds? For what comes from elsewhere.
[[nodiscard]] bool IsValid(const Spec& spec);
// The one that does the copying: of `fault` the one that it stands over.
constexpr Kind CopierOf(const Spec& spec) {
  return spec.kind == Kind::kFault ? spec.over : spec.kind;
}
// Does a number belong to its name?
constexpr bool HasCount(Kind kind) {
  return kind == Kind::kThreads || kind == Kind::kChannels;
}
// The threads that an engine, or all of a job's, want beside the mover.
[[nodiscard]] uint32_t HelpersOf(const Spec& spec);
[[nodiscard]] uint32_t HelpersOf(std::span<const Spec> specs);
// Can these work together in one job?
[[nodiscard]] SpecError CheckTogether(std::span<const Spec> specs);
// Are copies of it only to be trusted after a comparison?
constexpr bool MayLie(const Spec& spec) {
  return spec.kind == Kind::kNull || (spec.kind == Kind::kFault && Lies(spec.fault));
}

}  // namespace drover::migrators
