// What the command line and an agent say to each other: fixed structs, little-endian, over a
// SOCK_SEQPACKET socket, one message a packet, at most kMessageBytesMax.
//
//   agent                                  command line
//     | <------------- connect ----------------- |   peer credentials: the owner or root
//     | -------------- Hello ------------------> |   version, rights, trouble
//     | <------------- Grant (descriptors) ----- |   root only, where the agent lacks rights
//     | -------------- Handshake (userfaultfd) > |   root makes the UFFDIO_API call, which needs
//     | <------------- HandshakeDone ----------- |   CAP_SYS_PTRACE for fork events
//     | <------------- Move (memfd) ------------ |
//     | -------------- Progress ... -----------> |   dropped when the socket is full
//     | <------------- Cancel ------------------ |   any time; a lost connection counts as one
//     | <------------- Pause, Resume ----------- |   of a job under way
//     | -------------- Result -----------------> |
//     | <------------- Off --------------------- |   takes the agent out of work for good
//     | <------------- Migrators --------------- |   any time: look at or set a copy engine
//     | -------------- MigratorList -----------> |
//     | -------------- Refused ----------------> |   busy, or another version
//
// While one caller has a job under way another one is heard for Migrators alone (Hello::busy).
//
// A caller that has no job under way and says nothing for two seconds gives way to who comes next.
//
// Freestanding.
#pragma once

#include <cstdint>

#include "flow/job.h"

namespace drover::control {

inline constexpr uint32_t kMagic = 0x52565244;  // "DRVR"
// Another major is refused: it changes whenever a Job, a JobResult or one of their enumerations
// does.
inline constexpr uint16_t kMajor = 16;
inline constexpr uint16_t kMinor = 0;  // unknown fields of a newer one are ignored
inline constexpr uint32_t kMessageBytesMax = 64 << 10;
inline constexpr char kBuild[32] = "0.1.0";

enum class Type : uint32_t {
  kHello = 1,
  kGrant,
  kHandshake,
  kHandshakeDone,
  kMove,
  kProgress,
  kCancel,
  kResult,
  kOff,
  kRefused,
  kMigrators,
  kMigratorList,
  kPause,
  kResume,
};

struct Header {
  uint32_t magic = kMagic;
  uint16_t major = kMajor;
  uint16_t minor = kMinor;
  Type type = Type::kHello;
  uint32_t length_bytes = 0;  // of the whole message
  uint64_t job = 0;
};

struct Hello {
  Header header;
  char build[32] = {};
  int32_t pid = 0;             // as the process itself sees it
  uint32_t has_userfault = 0;  // with kernel-mode faults
  uint32_t trouble = 0;        // flow::Trouble: why the own path is not to be had, rights aside
  uint32_t trouble_detail = 0;
  uint32_t fork_events = 0;  // else forks wait for the batch boundary
  // Another caller is here: with a job (kJob), or only for a moment.
  enum class Busy : uint32_t { kNo, kJob, kMoment };
  Busy busy = Busy::kNo;
  int32_t holder_pid = 0;  // whose
};

// Descriptors: /dev/userfaultfd, /proc/PID/pagemap.
struct Grant {
  Header header;
};

// Descriptor: the userfaultfd to shake hands with.
struct Handshake {
  Header header;
  uint64_t features = 0;
};

struct HandshakeDone {
  Header header;
  int32_t error = 0;
};

// Descriptor: a memfd for the records of what became of each page.
struct Move {
  Header header;
  flow::Job job;
};

struct Progress {
  Header header;
  uint64_t pages_done = 0;
  uint64_t pages_estimated = 0;
  uint64_t stands = 0;  // it is paused, and has come to a batch boundary
};

struct Result {
  Header header;
  flow::JobResult result;
};

struct Plain {  // Cancel, Off, Pause, Resume
  Header header;
};

struct Refused {
  Header header;
  uint32_t busy = 0;       // 1: with a job; 2: for a moment; else: version
  int32_t holder_pid = 0;  // of the command line that has the running job
};

// What is to be done to one copy engine. Then all of them are listed.
struct MigratorsRequest {
  Header header;
  enum class Action : uint32_t { kList, kRegister, kUnregister, kSet };
  Action action = Action::kList;
  migrators::PluginName name;  // also of a built-in one, without its number; not for kList
  uint32_t has_reasons = 0, has_smallest = 0;  // of kSet
  uint32_t reasons = 0;                        // bit n: batches of flow::Reason n
  uint32_t reserved = 0;
  uint64_t smallest_bytes = 0;  // of a batch
};

struct MigratorState {
  migrators::PluginName name;
  uint32_t plugin = 0;      // else built in
  uint32_t registered = 0;  // gets batches
  uint32_t idle = 0;        // has none, and touches no memory of one
  uint32_t channels = 0;    // of a plugin, as it reports
  uint32_t hardware = 0;
  uint32_t reasons = 0;
  uint64_t smallest_bytes = 0;
  uint64_t flags = 0;  // of a plugin: DROVER_MIGRATOR_...
  migrators::EngineTally tally;
};

struct MigratorList {
  Header header;
  enum class Problem : uint32_t { kNone, kNoSuch, kNoMemory };
  Problem problem = Problem::kNone;
  uint32_t count = 0;
  MigratorState list[migrators::kKindCount];
};
static_assert(sizeof(MigratorList) < kMessageBytesMax);

// One record of the memfd: a run of pages of one fate, in the order in which it was booked.
struct PageRecord {
  uint64_t address = 0;
  uint32_t pages = 0;
  uint8_t outcome = 0;  // flow::Outcome
  uint8_t why = 0;      // flow::Why
  int16_t target = -1;  // the node that they were to come to; negative: each to its own
};
static_assert(sizeof(PageRecord) == 16);

static_assert(sizeof(Move) < kMessageBytesMax && sizeof(Result) < kMessageBytesMax);

// A mapping of this content, named [anon:drover] (or the memfd "drover" where the kernel cannot
// name mappings), is how an agent is found.
struct Marker {
  static constexpr char kMagicText[8] = {'D', 'R', 'O', 'V', 'E', 'R', '0', '1'};
  enum class State : uint32_t { kStarting, kServing, kPassive, kOff };

  char magic[8] = {};
  uint16_t major = 0;
  uint16_t minor = 0;
  uint32_t state = 0;             // State
  uint64_t start_time_ticks = 0;  // field 22 of /proc/PID/stat: a copy in another process differs
  uint64_t nonce = 0;
  uint32_t trouble = 0;  // why it is passive: flow::Trouble
  uint32_t trouble_detail = 0;
  char build[32] = {};
  char socket_path[108] = {};  // in the process's own mount namespace
  uint32_t seen_calls = 0;     // flow::StandBackSet of what the program was seen to call for
  uint32_t reserved = 0;
  migrators::PluginName plugins[migrators::kPluginsMax];  // that the agent has, by place
};

}  // namespace drover::control
