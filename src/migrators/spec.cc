#include "migrators/spec.h"

#include <iterator>

namespace drover::migrators {
namespace {

constexpr std::string_view kKinds[] = {"serial", "threads", "channels", "null", "fault"};
static_assert(std::size(kKinds) == kBuiltInCount);
constexpr std::string_view kFaults[] = {"fail",  "fail-all", "refuse", "lie",
                                        "short", "flip",     "late",   "hang"};
static_assert(std::size(kFaults) == kFaultCount);

// What stands before the next ':', which is taken away with it.
std::string_view EatWord(std::string_view* words) {
  size_t length = 0;  // (string_view's find would need a memchr)
  while (length < words->size() && (*words)[length] != ':') ++length;
  const std::string_view word = words->substr(0, length);
  words->remove_prefix(length < words->size() ? length + 1 : length);
  return word;
}

// Decimal, without sign or leading zeros; 0: it is none.
uint32_t NumberOf(std::string_view word) {
  constexpr size_t kDigitsMax = 4;
  if (word.empty() || word.size() > kDigitsMax || word.front() == '0') return 0;
  uint32_t number = 0;
  for (const char digit : word) {
    if (digit < '0' || digit > '9') return 0;
    number = number * 10 + static_cast<uint32_t>(digit - '0');
  }
  return number;
}

bool FindKind(std::string_view name, Kind* kind) {
  for (uint32_t i = 0; i < kBuiltInCount; ++i)
    if (kKinds[i] == name) {
      *kind = static_cast<Kind>(i);
      return true;
    }
  return false;
}

uint32_t CountMax(Kind kind) {
  return kind == Kind::kThreads ? kThreadsMax : kind == Kind::kChannels ? kChannelsMax : 1;
}

// NAME[:N], and behind threads:N an `always` where somebody wants to know; all of it.
SpecError ParsePlain(std::string_view words, Kind* kind, uint32_t* count, bool* always = nullptr) {
  if (!FindKind(EatWord(&words), kind)) return SpecError::kUnknown;
  *count = 1;
  if (!HasCount(*kind)) return words.empty() ? SpecError::kNone : SpecError::kOption;
  *count = NumberOf(EatWord(&words));
  if (*count < 1 || *count > CountMax(*kind)) return SpecError::kCount;
  if (words.empty()) return SpecError::kNone;
  if (always == nullptr || *kind != Kind::kThreads || words != "always") return SpecError::kOption;
  *always = true;
  return SpecError::kNone;
}

// What follows "fault:".
SpecError ParseFault(std::string_view words, Spec* spec) {
  const std::string_view name = EatWord(&words);
  bool found = false;
  for (uint32_t i = 0; i < kFaultCount; ++i)
    if (kFaults[i] == name) {
      spec->fault = static_cast<Fault>(i);
      found = true;
    }
  if (!found) return SpecError::kOption;
  spec->over = Kind::kSerial;
  spec->count = 1;
  constexpr std::string_view kOver = "over=";
  if (words.empty()) return SpecError::kNone;
  if (!words.starts_with(kOver)) return SpecError::kOption;
  words.remove_prefix(kOver.size());
  const SpecError error = ParsePlain(words, &spec->over, &spec->count);
  if (error != SpecError::kNone) return error;
  return HasCount(spec->over) || spec->over == Kind::kSerial ? SpecError::kNone
                                                             : SpecError::kOption;
}

}  // namespace

std::string_view NameOf(Kind kind) {
  return kKinds[static_cast<uint32_t>(kind)];
}

std::string_view NameOf(Fault fault) {
  return kFaults[static_cast<uint32_t>(fault)];
}

bool MakePluginName(std::string_view words, PluginName* name) {
  Kind kind;
  const auto is_letter = [](char c) { return c >= 'a' && c <= 'z'; };
  if (words.empty() || words.size() >= sizeof name->text || !is_letter(words[0])) return false;
  if (FindKind(words, &kind) || words == "auto") return false;
  *name = PluginName();
  for (size_t i = 0; i < words.size(); ++i) {
    const char c = words[i];
    if (!is_letter(c) && !(c >= '0' && c <= '9') && c != '-') return false;
    name->text[i] = c;
  }
  return true;
}

SpecError ParseSpec(std::string_view words, std::span<const PluginName> plugins, Spec* spec) {
  *spec = Spec();
  for (uint32_t i = 0; i < plugins.size() && i < kPluginsMax; ++i)
    if (!words.empty() && plugins[i].view() == words) {
      spec->kind = PluginKind(i);
      return SpecError::kNone;
    }
  std::string_view rest = words;
  if (EatWord(&rest) != NameOf(Kind::kFault))
    return ParsePlain(words, &spec->kind, &spec->count, &spec->always);
  spec->kind = Kind::kFault;
  return ParseFault(rest, spec);
}

bool IsValid(const Spec& spec) {
  if (static_cast<uint32_t>(spec.kind) >= kKindCount ||
      static_cast<uint32_t>(spec.over) >= kBuiltInCount || spec.fault >= Fault::kCount)
    return false;
  const Kind counted = CopierOf(spec);
  if (spec.kind == Kind::kFault && !HasCount(counted) && counted != Kind::kSerial) return false;
  return spec.count >= 1 && spec.count <= CountMax(counted);
}

uint32_t HelpersOf(const Spec& spec) {
  const Kind counted = CopierOf(spec);
  if (counted == Kind::kThreads) return spec.count - 1;
  return counted == Kind::kChannels ? spec.count : 0;
}

uint32_t HelpersOf(std::span<const Spec> specs) {
  uint32_t helpers = 0;
  for (const Spec& spec : specs) helpers += HelpersOf(spec);
  return helpers;
}

SpecError CheckTogether(std::span<const Spec> specs) {
  if (specs.empty() || specs.size() > kEnginesPerJobMax) return SpecError::kTooMany;
  bool used[kKindCount] = {};
  for (const Spec& spec : specs) {
    bool& mine = used[static_cast<uint32_t>(spec.kind)];
    if (mine) return SpecError::kTwice;
    mine = true;
  }
  for (const Spec& spec : specs)
    if (spec.kind == Kind::kFault && HelpersOf(spec) > 0 && used[static_cast<uint32_t>(spec.over)])
      return SpecError::kTwice;
  return HelpersOf(specs) < kThreadsMax ? SpecError::kNone : SpecError::kTooMany;
}

}  // namespace drover::migrators
