#include "library/plugin_file.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <new>

#include "kernel/raw_syscall.h"
#include "migrators/copy_function.h"

namespace drover::library {
namespace {

// Addresses; what is not touched costs nothing.
constexpr uint64_t kEngineRoomBytes = 16 << 20;
constexpr uint64_t kKnownFlags = DROVER_MIGRATOR_FREESTANDING | DROVER_MIGRATOR_OWN_PROCESS |
                                 DROVER_MIGRATOR_PINNED | DROVER_MIGRATOR_CHANNELS;

// Where the line for the user goes.
struct Line {
  char* text;
  size_t bytes;
};

__attribute__((format(printf, 3, 4))) PluginTrouble Say(Line line, PluginTrouble trouble,
                                                        const char* format, ...) {
  va_list values;
  va_start(values, format);
  vsnprintf(line.text, line.bytes, format, values);
  va_end(values);
  return trouble;
}

void* Allocate(void* context, uint64_t length_bytes) {
  auto& opened = *static_cast<OpenPlugin*>(context);
  if (!opened.opening || length_bytes > opened.room.length) return nullptr;
  const uint64_t bytes = RoundUp(length_bytes, kPageBytes);
  if (bytes > opened.room.length - opened.room_used) return nullptr;
  void* const memory = reinterpret_cast<void*>(opened.room.start + opened.room_used);
  opened.room_used += bytes;
  return memory;
}

uint64_t MonotonicNs() {
  timespec now;
  kernel::RawSyscall(__NR_clock_gettime, CLOCK_MONOTONIC, kernel::AddressOf(&now));
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

// Whoever may write to the file may do in this process what they like.
PluginTrouble CheckFile(int file, const char* path, Line line) {
  struct stat info;
  if (fstat(file, &info) != 0 || !S_ISREG(info.st_mode))
    return Say(line, PluginTrouble::kNoFile, "%s is not a file", path);
  if (info.st_uid != 0 && info.st_uid != geteuid())
    return Say(line, PluginTrouble::kNotSafe,
               "%s belongs to user %u; a plugin must be root's or your own", path,
               static_cast<unsigned>(info.st_uid));
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return Say(line, PluginTrouble::kNotSafe,
               "%s may be written to by others; chmod go-w %s, once you know what is in it", path,
               path);
  return PluginTrouble::kNone;
}

// A path to this descriptor that was never used before: the dynamic linker takes an object that it
// has loaded by the same name for the same one. "/" and "./" are the digits of a number.
constexpr size_t kLinkBytes = 64;
void NameOnce(int file, char* link) {
  static std::atomic<uint32_t> count = 0;
  const uint32_t number = count.fetch_add(1);
  constexpr int kDigits = 16;
  int used = snprintf(link, kLinkBytes, "/proc/self/fd");
  for (int digit = 0; digit < kDigits; ++digit)
    used += snprintf(link + used, kLinkBytes - static_cast<size_t>(used), "%s",
                     (number >> digit & 1) != 0 ? "/." : "/");
  snprintf(link + used, kLinkBytes - static_cast<size_t>(used), "/%d", file);
}

PluginTrouble Load(const char* path, OpenPlugin* opened, Line line) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return Say(line, PluginTrouble::kNoFile, "%s cannot be read: %s", path, strerror(errno));
  PluginTrouble trouble = CheckFile(file, path, line);
  if (trouble == PluginTrouble::kNone) {
    char link[kLinkBytes];  // what was looked at, and not what has taken its name since
    NameOnce(file, link);
    opened->file = dlopen(link, RTLD_NOW | RTLD_LOCAL);
    if (opened->file == nullptr)
      trouble = Say(line, PluginTrouble::kNoPlugin, "%s is not a plugin: %s", path, dlerror());
  }
  close(file);
  return trouble;
}

bool IsPowerOfTwo(uint64_t number) {
  return (number & (number - 1)) == 0;
}

PluginTrouble CheckDescription(const drover_migrator& calls, const char* path, OpenPlugin* opened,
                               Line line) {
  if (calls.abi != DROVER_MIGRATOR_ABI)
    return Say(line, PluginTrouble::kOtherAbi,
               "%s is made for version %u of the migrator interface, this drover has %u; build it "
               "with this drover's drover/migrator.h",
               path, calls.abi, DROVER_MIGRATOR_ABI);
  const auto bad = [&](const char* what) {
    return Say(line, PluginTrouble::kBadPlugin, "%s describes itself wrongly: %s", path, what);
  };
  if (calls.size_bytes < sizeof(drover_migrator)) return bad("its description is too short");
  if (calls.name == nullptr || !migrators::MakePluginName(calls.name, &opened->name))
    return bad("its name is none (1 to 23 of a-z, 0-9 and -), or a built-in engine's");
  if (calls.description == nullptr) return bad("it has no description");
  if ((calls.flags & ~kKnownFlags) != 0) return bad("a flag that this drover does not know");
  if (!IsPowerOfTwo(calls.alignment_bytes)) return bad("its alignment is no power of two");
  if (calls.open == nullptr || calls.close == nullptr || calls.submit == nullptr ||
      calls.poll == nullptr)
    return bad("open, close, submit or poll is missing");
  return PluginTrouble::kNone;
}

PluginTrouble CheckHouse(const drover_migrator& calls, House house, Line line) {
  if (house == House::kOwnProcess) return PluginTrouble::kNone;
  if ((calls.flags & DROVER_MIGRATOR_OWN_PROCESS) != 0)
    return Say(line, PluginTrouble::kNotHere,
               "%s needs a process of its own; it works in drover bench and in programs that link "
               "the library",
               calls.name);
  if ((calls.flags & DROVER_MIGRATOR_FREESTANDING) == 0)
    return Say(line, PluginTrouble::kNotHere,
               "%s uses libc, which drover's threads in another program must not; it works in "
               "drover bench and in programs that link the library",
               calls.name);
  if ((calls.flags & DROVER_MIGRATOR_PINNED) != 0)
    return Say(line, PluginTrouble::kNotHere, "%s needs pinned memory, which live pages are not",
               calls.name);
  return PluginTrouble::kNone;
}

struct Search {
  uint64_t address;
  Range found;
};

int FindObject(dl_phdr_info* object, size_t, void* data) {
  auto& search = *static_cast<Search*>(data);
  uint64_t start = ~uint64_t{0}, end = 0;
  bool holds = false;
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const auto& part = object->dlpi_phdr[i];
    if (part.p_type != PT_LOAD) continue;
    const uint64_t first = object->dlpi_addr + part.p_vaddr, after = first + part.p_memsz;
    if (first < start) start = first;
    if (after > end) end = after;
    holds = holds || (search.address >= first && search.address < after);
  }
  if (!holds) return 0;
  start = RoundDown(start, kPageBytes);
  search.found = {start, RoundUp(end, kPageBytes) - start};
  return 1;
}

PluginTrouble MakeRoom(OpenPlugin* opened, Line line) {
  void* const room = mmap(nullptr, kEngineRoomBytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED)
    return Say(line, PluginTrouble::kNoMemory, "no memory for the plugin's engine");
  // A child has an engine of its own, and shared pages of drover's own would refuse to move.
  madvise(room, kEngineRoomBytes, MADV_DONTFORK);
  madvise(room, kEngineRoomBytes, MADV_NOHUGEPAGE);
  opened->room = {kernel::AddressOf(room), kEngineRoomBytes};
  opened->room_used = RoundUp(sizeof(migrators::Plugin), kPageBytes);
  return PluginTrouble::kNone;
}

PluginTrouble OpenEngine(const char* options, OpenPlugin* opened, Line line) {
  opened->host = {.abi = DROVER_MIGRATOR_ABI,
                  .size_bytes = sizeof(drover_host),
                  .context = opened,
                  .allocate = Allocate,
                  .copy = migrators::FastestCopyFunction(),
                  .now_ns = MonotonicNs};
  char why[160] = "it does not say why";
  opened->opening = true;
  const int error = opened->calls->open(&opened->host, options, &opened->engine, why, sizeof why);
  opened->opening = false;
  why[sizeof why - 1] = '\0';
  if (error != 0) {
    opened->engine = nullptr;
    return Say(line, PluginTrouble::kRefused, "%s cannot be used: %s", opened->calls->name, why);
  }
  opened->plugin = new (reinterpret_cast<void*>(opened->room.start))
      migrators::Plugin(*opened->calls, opened->engine);
  return PluginTrouble::kNone;
}

PluginTrouble LoadAndCheck(const char* path, OpenPlugin* opened, Line line) {
  const PluginTrouble trouble = Load(path, opened, line);
  if (trouble != PluginTrouble::kNone) return trouble;
  using Describe = const drover_migrator* (*)();
  const auto describe = reinterpret_cast<Describe>(dlsym(opened->file, DROVER_MIGRATOR_SYMBOL));
  opened->calls = describe != nullptr ? describe() : nullptr;
  if (opened->calls == nullptr)
    return Say(line, PluginTrouble::kNoPlugin, "%s is not a plugin: it has no %s", path,
               DROVER_MIGRATOR_SYMBOL);
  Search search{reinterpret_cast<uint64_t>(describe), {}};
  dl_iterate_phdr(FindObject, &search);
  opened->image = search.found;
  return CheckDescription(*opened->calls, path, opened, line);
}

PluginTrouble OpenAll(const char* path, const char* options, House house, OpenPlugin* opened,
                      Line line) {
  PluginTrouble trouble = LoadAndCheck(path, opened, line);
  if (trouble == PluginTrouble::kNone) trouble = CheckHouse(*opened->calls, house, line);
  if (trouble == PluginTrouble::kNone) trouble = MakeRoom(opened, line);
  if (trouble == PluginTrouble::kNone) trouble = OpenEngine(options, opened, line);
  return trouble;
}

}  // namespace

PluginTrouble Look(const char* path, OpenPlugin* opened, char* why, size_t why_bytes) {
  *opened = OpenPlugin();
  return LoadAndCheck(path, opened, {why, why_bytes});
}

PluginTrouble Open(const char* path, const char* options, House house, OpenPlugin* opened,
                   char* why, size_t why_bytes) {
  *opened = OpenPlugin();
  const PluginTrouble trouble = OpenAll(path, options, house, opened, {why, why_bytes});
  if (trouble != PluginTrouble::kNone) Close(opened);
  return trouble;
}

PluginTrouble OpenAgain(const OpenPlugin& parent, const char* options, OpenPlugin* opened) {
  char why[64];
  const Line line{why, sizeof why};
  *opened = OpenPlugin();
  opened->name = parent.name;
  opened->calls = parent.calls;
  opened->image = parent.image;
  PluginTrouble trouble = MakeRoom(opened, line);
  if (trouble == PluginTrouble::kNone) trouble = OpenEngine(options, opened, line);
  if (trouble != PluginTrouble::kNone) Close(opened);
  return trouble;
}

void Close(OpenPlugin* opened) {
  if (opened->engine != nullptr) opened->calls->close(opened->engine);
  if (!opened->room.empty())
    munmap(reinterpret_cast<void*>(opened->room.start), opened->room.length);
  if (opened->file != nullptr) dlclose(opened->file);
  *opened = OpenPlugin();
}

}  // namespace drover::library
