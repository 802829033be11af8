// What the program's threads (interposed calls) and the engine's threads share. It stands in a
// mapping that a child sees as zeros: to every call there the agent is then simply absent.
#pragma once

#include "control/protocol.h"
#include "flow/control_blocks.h"
#include "flow/gate.h"
#include "kernel/linux_kernel.h"
#include "library/plugin_file.h"
#include "threads/threads.h"

namespace drover::agent {

inline constexpr uint64_t kControlStackBytes = 256 << 10;
inline constexpr uint32_t kGroupsMax = 65536;  // NGROUPS_MAX

// The identity that the program has now, for the engine to take on.
struct Identity {
  uint32_t real_user, effective_user, saved_user;
  uint32_t real_group, effective_group, saved_group;
  uint32_t group_count;
  const uint32_t* groups;    // in the calling thread's memory
  uint32_t capabilities[6];  // effective, permitted, inheritable; low words first, as capget(2)
};

// The life of the socket's path, so that a program that ends early leaves none behind.
enum class PathState : uint32_t { kNone, kBinding, kBound, kExiting };

// Chosen by the constructor, read by the control thread.
struct Settings {
  flow::ControlBlockLayout control_blocks;
  kernel::LinuxKernel::Clock clock = nullptr;
  Range image;                          // the agent's library: code, data, and the .bss behind them
  Range stack;                          // of the control thread
  bool has_filter = false;              // a seccomp filter was there when the agent started
  int32_t owner = 0;                    // the process; a child that shares its memory is not it
  threads::Word* seen_calls = nullptr;  // flow::StandBackSet, by the hooks
  control::Marker* marker = nullptr;
  // A child waits so long before it opens anything: most of them run another program at once, and
  // would leave a socket behind.
  uint64_t nap_ns = 0;
  // Copy engines that `drover run` has named, open.
  uint32_t plugin_count = 0;
  library::OpenPlugin plugins[migrators::kPluginsMax];
  uint32_t folder_count = 0;
  char folders[4][96] = {};  // where the socket may stand, best first
};

struct Shared {
  threads::Word serving = 0;  // an agent lives in this very process
  flow::Gate gate;
  threads::Word control_alive = 0;  // thread id of the control thread; 0: it has ended
  threads::Word control_id = 0;     // the same, never cleared
  threads::Word quit = 0;           // the agent is to end
  threads::Word woken = 0;  // counts the times that the program has woken the control thread
  // One identity at a time, guarded by mail_lock.
  threads::Word mail_lock = 0;
  threads::Word mail_sent = 0;  // counts requests
  threads::Word mail_done = 0;  // follows
  Identity identity = {};
  threads::Word path_state = 0;         // PathState
  threads::Word fork_gated = 0;         // the engine has no fork events
  threads::Word dont_fork_changed = 0;  // the program has changed what its children inherit
  flow::YoungThreads young;
  Settings settings;
};

// The signal by which a program's thread wakes the control thread: one that glibc keeps for itself,
// always sent to one thread, so the program can neither see nor send it.
inline constexpr uint64_t kWakeSignal = 33;

// Body of the control thread. Freestanding; `shared` is a Shared.
void ControlThread(void* shared);

}  // namespace drover::agent
