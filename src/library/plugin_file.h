// Opening a plugin's file (drover/migrator.h), and an engine of it.
//
// Uses libc and nothing else, so that the agent's constructor can do it, too. On an ordinary
// thread.
#pragma once

#include "drover/migrator.h"
#include "kernel/types.h"
#include "migrators/plugin.h"
#include "migrators/spec.h"

namespace drover::library {

// Where the engine is to work.
enum class House { kOwnProcess, kForeignProcess };

// An engine that is open, with all that it needs. Not to be copied while it is open: the host's
// calls know it by its address.
struct OpenPlugin {
  migrators::PluginName name;
  const drover_migrator* calls = nullptr;
  migrators::Plugin* plugin = nullptr;
  // The object's mapped segments, and the memory that the engine was given. Never to be moved.
  Range image, room;

  // What is behind that.
  void* file = nullptr;
  drover_engine* engine = nullptr;
  uint64_t room_used = 0;
  bool opening = false;
  drover_host host = {};
};

enum class PluginTrouble {
  kNone,
  kNoFile,     // no such file, or it may not be read
  kNotSafe,    // others may write to it
  kNoPlugin,   // not a shared object, or without the function
  kOtherAbi,   // made for another version of the interface
  kBadPlugin,  // it describes itself wrongly
  kNotHere,    // it cannot work in such a process
  kRefused,    // it would not open an engine
  kNoMemory,
};

// Loads the file and checks it, without an engine. Close then unloads it.
[[nodiscard]] PluginTrouble Look(const char* path, OpenPlugin* opened, char* why, size_t why_bytes);
// Opens the file, checks it, and opens an engine. `why`: a line for the user, with the way out.
[[nodiscard]] PluginTrouble Open(const char* path, const char* options, House house,
                                 OpenPlugin* opened, char* why, size_t why_bytes);
// In a child of fork, whose copy of the parent's engine is of no use: another engine of the same
// plugin. Loads nothing (the dynamic linker's lock may be held for ever in a child).
[[nodiscard]] PluginTrouble OpenAgain(const OpenPlugin& parent, const char* options,
                                      OpenPlugin* opened);
// The registry has it no longer.
void Close(OpenPlugin* opened);

}  // namespace drover::library
