// Starting and ending the agent.
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/prctl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <new>
#include <string_view>

#include "agent/agent.h"
#include "agent/system_calls.h"
#include "flow/rules.h"
#include "flow/text.h"
#include "kernel/raw_syscall.h"
#include "library/control_block_layout.h"
#include "library/fast_clock.h"
#include "threads/futex.h"
#include "threads/raw_threads.h"

extern "C" __attribute__((visibility("hidden"))) char __ehdr_start, _end;

namespace drover::agent {
namespace {

using control::Marker;
using kernel::RawSyscall;

// One for the process; a child gets its own contents (zeros) at the same address.
Shared* shared_state = nullptr;
// What NoteCall was told. In the library's own memory, which a child inherits and no job moves.
threads::Word seen_calls = 0;
// Set when the program has put itself into a sandbox: its children are in it, too.
threads::Word ended_for_good = 0;
__thread uint32_t gate_depth __attribute__((tls_model("initial-exec"))) = 0;

void* MapPages(size_t bytes) {
  void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return mapped == MAP_FAILED ? nullptr : mapped;
}

// Field 22 of /proc/self/stat, behind the last ')' of a name that may hold anything.
uint64_t StartTimeTicks() {
  char text[1024];
  const int file = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  const ssize_t got = read(file, text, sizeof text);
  close(file);
  std::string_view rest(text, got > 0 ? static_cast<size_t>(got) : 0);
  while (!rest.empty() && rest.back() != ')') rest.remove_suffix(1);
  std::string_view fields(rest.data() + rest.size(),
                          static_cast<size_t>(got > 0 ? got : 0) - rest.size());
  uint64_t value = 0;
  std::string_view word;
  if (!flow::EatUntil(&fields, ' ', &word)) return 0;
  for (int field = 3; field < 22; ++field)
    if (!flow::EatUntil(&fields, ' ', &word)) return 0;
  return flow::EatNumber(&fields, &value) ? value : 0;
}

// The mapping by which the agent is found. Named, or, where the kernel cannot name mappings
// (CONFIG_ANON_VMA_NAME), a memfd of that name.
Marker* MakeMarker() {
  Marker* marker = static_cast<Marker*>(MapPages(kPageBytes));
  if (marker == nullptr) return nullptr;
  if (prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, marker, kPageBytes, "drover") != 0) {
    const int file = static_cast<int>(syscall(SYS_memfd_create, "drover", 1u /* CLOEXEC */));
    if (file >= 0) {
      const bool sized = ftruncate(file, kPageBytes) == 0;
      void* mapped =
          sized ? mmap(marker, kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file, 0)
                : MAP_FAILED;
      close(file);
      // Without a name nobody finds the agent; it then serves nobody, and does no harm.
      if (mapped == MAP_FAILED) return marker;
    }
  }
  madvise(marker, kPageBytes, MADV_DONTFORK);
  memcpy(marker->magic, Marker::kMagicText, sizeof marker->magic);
  marker->major = control::kMajor;
  marker->minor = control::kMinor;
  marker->start_time_ticks = StartTimeTicks();
  memcpy(marker->build, control::kBuild, sizeof marker->build);
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  marker->nonce = static_cast<uint64_t>(now.tv_nsec) * 2654435761u ^
                  static_cast<uint64_t>(getpid()) << 40 ^ static_cast<uint64_t>(now.tv_sec) << 20;
  return marker;
}

void AddFolder(Settings& settings, const char* prefix, const char* rest) {
  if (prefix == nullptr || prefix[0] != '/') return;
  char* folder = settings.folders[settings.folder_count];
  const std::string_view front(prefix), back(rest);
  size_t used = 0;
  if (front.size() + back.size() + 1 > sizeof settings.folders[0]) return;
  for (const char c : front) folder[used++] = c;
  for (const char c : back) folder[used++] = c;
  folder[used] = '\0';
  ++settings.folder_count;
}

void ListFolders(Settings& settings) {
  AddFolder(settings, secure_getenv("DROVER_DIR"), "");
  AddFolder(settings, "/run/drover", "");
  AddFolder(settings, secure_getenv("XDG_RUNTIME_DIR"), "/drover");
  char user[32] = "/tmp/drover-";
  size_t used = strlen(user);
  char digits[12];
  size_t count = 0;
  for (uid_t left = geteuid(); count == 0 || left > 0; left /= 10)
    digits[count++] = static_cast<char>('0' + left % 10);
  while (count > 0) user[used++] = digits[--count];
  AddFolder(settings, user, "");
}

// What `drover run` has named in DROVER_MIGRATORS: lines of a path and of options, in turn. In the
// library's own memory, which children inherit.
struct NamedPlugin {
  library::OpenPlugin opened;
  char options[256] = {};
};
constinit NamedPlugin named_plugins[migrators::kPluginsMax];
uint32_t named_count = 0;

// One that cannot be opened is not there; the command line has looked at it before.
void LoadPlugins() {
  const char* named = secure_getenv("DROVER_MIGRATORS");
  std::string_view rest(named != nullptr ? named : "");
  char path[512], why[256];
  const auto take = [&rest](char* room, size_t bytes) {
    std::string_view line;
    if (!flow::EatUntil(&rest, '\n', &line) || line.size() >= bytes) return false;
    memcpy(room, line.data(), line.size());
    room[line.size()] = '\0';
    return true;
  };
  while (named_count < migrators::kPluginsMax && take(path, sizeof path)) {
    NamedPlugin& plugin = named_plugins[named_count];
    if (!take(plugin.options, sizeof plugin.options)) return;
    if (library::Open(path, plugin.options, library::House::kForeignProcess, &plugin.opened, why,
                      sizeof why) == library::PluginTrouble::kNone)
      ++named_count;
  }
}

void OfferPlugins(Settings& settings, bool is_child) {
  for (uint32_t i = 0; i < named_count; ++i) {
    NamedPlugin& plugin = named_plugins[i];
    library::OpenPlugin* const opened = &settings.plugins[settings.plugin_count];
    if (!is_child)
      *opened = plugin.opened;
    else if (library::OpenAgain(plugin.opened, plugin.options, opened) !=
             library::PluginTrouble::kNone)
      continue;
    settings.marker->plugins[settings.plugin_count++] = opened->name;
  }
}

// A control thread for this process. Where none is to be had, the program simply has no agent.
void StartAgent(uint64_t nap_ns) {
  if (ended_for_good.load() != 0) return;
  if (shared_state == nullptr) {
    void* room = MapPages(RoundUp(sizeof(Shared), kPageBytes));
    if (room == nullptr) return;
    if (madvise(room, RoundUp(sizeof(Shared), kPageBytes), MADV_WIPEONFORK) != 0) return;
    shared_state = static_cast<Shared*>(room);
  }
  Shared& shared = *new (shared_state) Shared();
  Settings& settings = shared.settings;
  settings.control_blocks = library::AskControlBlockLayout();
  settings.clock = library::FindFastClock();
  const auto image = reinterpret_cast<uint64_t>(&__ehdr_start);
  settings.image = {image, RoundUp(reinterpret_cast<uint64_t>(&_end) - image, kPageBytes)};
  settings.marker = MakeMarker();
  void* stack = settings.marker == nullptr ? nullptr : MapPages(kControlStackBytes);
  if (stack == nullptr) return;
  madvise(stack, kControlStackBytes, MADV_DONTFORK);
  settings.stack = {reinterpret_cast<uint64_t>(stack), kControlStackBytes};
  settings.seen_calls = &seen_calls;
  settings.owner = getpid();
  // Here, because until it has a table of its own the engine must not put anything into the
  // program's.
  settings.has_filter = HasFilter();
  settings.marker->seen_calls = seen_calls.load();
  OfferPlugins(settings, nap_ns > 0);
  ListFolders(settings);
  settings.nap_ns = nap_ns;
  shared.serving.store(1);
  if (threads::RawThreads::StartOn(settings.stack, ControlThread, &shared, &shared.control_alive) !=
      kernel::Errno::kOk) {
    shared.serving.store(0);
    munmap(stack, kControlStackBytes);
    return;
  }
  shared.control_id.store(shared.control_alive.load());
}

// A child of vfork shares this memory, and is another process: what it does to itself is none of
// the engine's business.
bool IsOwner(const Shared& shared) {
  return RawSyscall(__NR_getpid) == shared.settings.owner;
}

void WakeControl(Shared& shared) {
  shared.woken.fetch_add(1, std::memory_order_release);
  threads::FutexWakeAll(shared.woken);  // in its nap
  RawSyscall(__NR_tgkill, static_cast<uint64_t>(getpid()), shared.control_id.load(), kWakeSignal);
}

void InChild() {
  constexpr uint64_t kNapNs = 30'000'000;
  gate_depth = 0;
  StartAgent(kNapNs);
}

// Takes the library out of LD_PRELOAD, so that programs started by this one run without an agent.
void LeaveEnvironment() {
  const char* preload = getenv("LD_PRELOAD");
  const char* own = getenv("DROVER_AGENT");
  if (preload == nullptr || own == nullptr) return;
  char kept[4096];
  size_t used = 0;
  std::string_view rest(preload), item;
  while (!rest.empty()) {
    if (!flow::EatUntil(&rest, ':', &item)) item = rest, rest = {};
    if (item == own || used + item.size() + 2 > sizeof kept) continue;
    if (used > 0) kept[used++] = ':';
    memcpy(kept + used, item.data(), item.size());
    used += item.size();
  }
  kept[used] = '\0';
  if (used > 0)
    setenv("LD_PRELOAD", kept, 1);
  else
    unsetenv("LD_PRELOAD");
}

#ifdef DROVER_MUTANTS
void TakeOutRules() {
  if (const char* bits = getenv("DROVER_RULES_OUT"); bits != nullptr)
    flow::rules_taken_out = strtoull(bits, nullptr, 0);
}
#endif

__attribute__((constructor)) void Load() {
#ifdef DROVER_MUTANTS
  TakeOutRules();
#endif
  ResolveHooked();
  const char* children = getenv("DROVER_CHILDREN");
  if (children != nullptr && strcmp(children, "no") == 0) LeaveEnvironment();
  if (!flow::RuleHolds(flow::Rule::kRawThreads)) {
    pthread_t idle;
    pthread_create(&idle, nullptr, [](void*) -> void* { return pause(), nullptr; }, nullptr);
  }
  LoadPlugins();
  StartAgent(0);
  pthread_atfork(nullptr, nullptr, InChild);
}

// Removes the socket's path, also when the control thread is just about to bind it.
__attribute__((destructor)) void Unload() {
  Shared* shared = Serving();
  if (shared == nullptr) return;
  auto state = static_cast<uint32_t>(PathState::kNone);
  if (shared->path_state.compare_exchange_strong(state, static_cast<uint32_t>(PathState::kExiting)))
    return;
  while ((state = shared->path_state.load()) == static_cast<uint32_t>(PathState::kBinding) &&
         shared->control_alive.load() != 0)
    threads::FutexWait(shared->path_state, state, 1'000'000);
  if (shared->settings.marker->socket_path[0] != '\0') unlink(shared->settings.marker->socket_path);
}

}  // namespace

Shared* Serving() {
  return shared_state != nullptr && shared_state->serving.load(std::memory_order_acquire) != 0
             ? shared_state
             : nullptr;
}

Passage::Passage() : shared_(Serving()) {
  if (shared_ != nullptr) shared_->gate.Enter(&gate_depth);
}

Passage::~Passage() {
  if (shared_ != nullptr) shared_->gate.Leave(&gate_depth);
}

void EnterGate() {
  if (Shared* shared = Serving(); shared != nullptr) shared->gate.Enter(&gate_depth);
}

void LeaveGate() {
  if (Shared* shared = Serving(); shared != nullptr) shared->gate.Leave(&gate_depth);
}

void ForgetGate() {
  gate_depth = 0;
}

void NoteCall(uint32_t set) {
  seen_calls.fetch_or(set, std::memory_order_release);
  Shared* shared = Serving();
  if (shared != nullptr)
    __atomic_fetch_or(&shared->settings.marker->seen_calls, set, __ATOMIC_RELAXED);
}

bool ForkIsGated() {
  const Shared* shared = Serving();
  return shared != nullptr && shared->fork_gated.load(std::memory_order_acquire) != 0;
}

void EndAgent() {
  // Also where no agent serves: the children of a sandbox get none either. (A child that shares
  // this memory with its parent is another process; one that was forked without one has owner 0.)
  if (shared_state != nullptr && shared_state->settings.owner != 0 && !IsOwner(*shared_state))
    return;
  ended_for_good.store(1);
  Shared* shared = Serving();
  if (shared == nullptr) return;
  if (shared->settings.marker->socket_path[0] != '\0') unlink(shared->settings.marker->socket_path);
  shared->quit.store(1, std::memory_order_release);
  for (uint32_t id; (id = shared->control_alive.load(std::memory_order_acquire)) != 0;) {
    WakeControl(*shared);
    threads::FutexWait(shared->control_alive, id, 1'000'000);
  }
  // The word is cleared a moment before the thread has left the group.
  while (RawSyscall(__NR_tgkill, static_cast<uint64_t>(getpid()), shared->control_id.load(), 0) ==
         0)
    RawSyscall(__NR_sched_yield);
}

void ShareIdentity() {
  Shared* shared = Serving();
  if (shared == nullptr || !IsOwner(*shared)) return;
  uint32_t* groups = nullptr;
  long count = RawSyscall(__NR_getgroups, 0, 0);
  const size_t room = RoundUp(static_cast<uint64_t>(count > 0 ? count : 0) * 4 + 1, kPageBytes);
  groups = static_cast<uint32_t*>(MapPages(room));
  if (groups == nullptr) {  // cannot say who it is: then nobody is to have more rights
    EndAgent();
    return;
  }
  count = RawSyscall(__NR_getgroups, static_cast<uint64_t>(count > 0 ? count : 0),
                     kernel::AddressOf(groups));
  while (shared->mail_lock.exchange(1, std::memory_order_acquire) != 0)
    threads::FutexWait(shared->mail_lock, 1, 1'000'000);
  Identity& who = shared->identity;
  RawSyscall(__NR_getresuid, kernel::AddressOf(&who.real_user),
             kernel::AddressOf(&who.effective_user), kernel::AddressOf(&who.saved_user));
  RawSyscall(__NR_getresgid, kernel::AddressOf(&who.real_group),
             kernel::AddressOf(&who.effective_group), kernel::AddressOf(&who.saved_group));
  who.group_count = static_cast<uint32_t>(count > 0 ? count : 0);
  who.groups = groups;
  struct {
    uint32_t version = 0x20080522;
    int32_t pid = 0;
  } header;
  RawSyscall(__NR_capget, kernel::AddressOf(&header), kernel::AddressOf(&who.capabilities[0]));
  const uint32_t number = shared->mail_sent.load() + 1;
  shared->mail_sent.store(number, std::memory_order_release);
  WakeControl(*shared);
  for (uint32_t done; (done = shared->mail_done.load(std::memory_order_acquire)) != number &&
                      shared->control_alive.load(std::memory_order_acquire) != 0;)
    threads::FutexWait(shared->mail_done, done, 10'000'000);
  shared->mail_lock.store(0, std::memory_order_release);
  threads::FutexWakeAll(shared->mail_lock);
  munmap(groups, room);
}

}  // namespace drover::agent
