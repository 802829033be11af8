// Every kind of memory that a program can have, each made by the real thing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace drover::memory {

inline constexpr size_t kPage = 4096;
inline constexpr size_t kHugePage = 2u << 20;

inline constexpr char kFill = 0x5a;

// What the pages of a kind must read in the end.
enum class Content {
  kStamped,  // as Stamp has written them
  kZero,
  kFilled,         // each byte is kFill
  kStampedOrZero,  // the kernel may have freed them in between
  kUnlooked,       // somebody else's: `works` tells
};

struct Made {
  char* start = nullptr;
  size_t bytes = 0;
  Content content = Content::kStamped;
  std::string cannot = {};              // why this kind is not to be had here; empty: it was made
  void (*undo)(const Made&) = nullptr;  // before its content is looked at
  bool (*works)() = nullptr;            // does what uses it still work, where nobody can stamp it
};

inline Made Cannot(std::string why) {
  return {.content = Content::kUnlooked, .cannot = std::move(why)};
}

struct Kind {
  const char* name;
  const char* what;  // for the page of the table
  Made (*make)();
};

// Five families, a file each.
std::span<const Kind> PrivateKinds();
std::span<const Kind> ProtectedKinds();
std::span<const Kind> SharedKinds();
std::span<const Kind> HeldKinds();
std::span<const Kind> InFlightKinds();

// ---- for those who make them

char* Map(size_t bytes, int protection, int flags, int file = -1);
// Private anonymous memory on a huge page's border, without huge pages.
char* MapSmall(size_t bytes);
// Writes a word into each page that names its address.
void Stamp(char* start, size_t bytes);
// Stamped small pages, to be changed by who asked for them.
Made Stamped(size_t pages = 64);
// How many pages do not read as they must. Makes the memory readable first.
uint64_t CountWrong(const Made& made);
// On the stack of main(), which has set it; to be stamped.
struct OnMainStack {
  char* start = nullptr;
  size_t bytes = 0;
};
extern OnMainStack on_main_stack;
// A child that lives until this process ends.
int KeepChild();

}  // namespace drover::memory
