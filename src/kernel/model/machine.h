// What the kernel's face (ModelKernel) and the application's face (Application) of the model share:
// memory, the userfaultfd's queues, and the clockwork that makes waits and discards happen in the
// kernel's order. All functions but Enter expect `mutex` to be held.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "kernel/kernel.h"
#include "kernel/model/address_space.h"

namespace drover::kernel::model {

// The calls of the seam, as hooks see them.
enum class Call {
  kRegister,
  kUnregister,
  kMove,
  kCopyPage,
  kZeroPage,
  kWake,
  kReadMessage,
  kWaitForMessage,
  kScan,
  kReadEntries,
  kNextMapping,
  kQueryNodes,
  kMovePages,
  kPreferNode,
  kMap,
  kUnmap,
  kAdvise,
  kFaultIn,
  kCollapse,
  kProtect,
  kUnlock,
  kListThreads,
  kRobustListOf,
  kReadFile,
  kVisitDescriptors,
  kLookAtSocket,
  kListMarked,
  kReadMemory,
  kFill,
};
inline constexpr int kCallKinds = static_cast<int>(Call::kFill) + 1;

// Something that an application's thread does and may have to wait for.
enum class ActionState { kWaiting, kDone, kKilled };  // kKilled: SIGSEGV

enum class Access { kDone, kWaits, kKilled };

// A thread that waits in a hole.
struct Fault {
  uint64_t action;
  uint64_t address;
  int32_t thread;
  bool write;
  bool read = false;  // its message has been read
};

// A change of mappings of which the engine is to hear.
struct Event {
  uint64_t action;
  Message message;
};

// A discard whose event has been read: it takes effect some calls later.
struct PendingDiscard {
  uint64_t action;
  Range range;
  uint64_t calls_left;
};

// A process forked off this one.
struct Child {
  std::map<uint64_t, std::vector<std::byte>> content;  // by page
  std::vector<Range> mappings;
  std::vector<std::shared_ptr<Folio>> folios;  // that it shares with its parent
  int userfault = -1;                          // its descriptor, once the event is read
  bool closed = true;                          // its holes read as zeros
};

// A write through /proc/PID/mem, ptrace or a driver that holds a plain reference (FOLL_GET).
struct ForeignWrite {
  std::shared_ptr<Folio> folio;
  uint32_t index;
  uint64_t offset;
  std::byte value;
  bool waits_for_lock;  // ends when somebody takes the mmap lock for writing
};

struct Machine {
  explicit Machine(const Options& options) : space(options) {}

  // Every call of the kernel starts here: hook, lock, and what is due by now.
  std::unique_lock<std::mutex> Enter(Call call);

  // ---- touching
  Access Touch(uint64_t address, bool write);
  // A fresh page, or a whole huge one; false: no memory.
  bool Fill(const Vma& vma, uint64_t address, bool write);
  bool CopyOnWrite(const Vma& vma, uint64_t address);

  // ---- userfaultfd
  bool HasFeature(uint64_t feature) const { return (space.options().features & feature) != 0; }
  // An event of which the engine has not heard, or only just: MOVE, COPY and ZEROPAGE say EAGAIN.
  bool StillChanging();
  uint64_t UnreadMessages() const;
  uint64_t NewAction();
  void Finish(uint64_t action, ActionState state);
  void QueueEvent(uint64_t action, const Message& message);
  void QueueFault(const Fault& fault);
  // Threads that wait in the range look again, as woken threads do.
  void WakeRange(Range range);
  Result<Message> NextMessage();
  void FinishDiscard(const PendingDiscard& discard);
  void Land(const ForeignWrite& write);
  void FinishForeignWrites(bool only_waiting_for_lock);

  // Something that the real kernel would answer with a hang, a kill or a corrupted page table.
  void Complain(const std::string& what) { complaints.push_back(what); }

  std::mutex mutex;
  std::condition_variable changed;  // a message, an interrupt, or an action that has ended
  AddressSpace space;

  std::deque<Fault> faults;
  std::deque<Event> events;
  std::vector<PendingDiscard> discards;
  std::map<uint64_t, ActionState> actions;
  std::map<uint64_t, Child> children;  // by action
  std::map<uint64_t, std::shared_ptr<Folio>> pins;
  std::vector<ForeignWrite> foreign_writes;
  uint64_t foreign_writes_lost = 0;
  uint64_t entries_unprotected = 0;
  bool interrupted = false;
  int next_descriptor = 1000;

  std::map<int32_t, uint64_t> threads;  // id to robust list head
  std::map<std::string, std::string> files;
  std::vector<std::pair<std::string, SocketKind>> descriptors;
  int32_t local_node = 0;
  bool huge_pages_left = true;

  // ---- switches
  uint64_t discard_delay_calls = 0;
  uint64_t linger_moves = 0;  // how many MOVEs still say EAGAIN once an event is read
  uint64_t lingering = 0;
  uint64_t deny_after_moves = 0;  // 0: deny none; 1: the next one
  uint64_t denied_told_bytes = 0;
  std::function<void(Call, uint64_t nth)> hook;
  uint64_t calls[kCallKinds] = {};
  uint64_t calls_total = 0;

  std::vector<std::string> complaints;
};

}  // namespace drover::kernel::model
