// What a client says to an agent. The agent's control thread is the real one, on its real socket,
// with a descriptor table of its own as in a program; only the flow behind it is another: it moves
// nothing, and looks whether the job that has come to it is one that the real one could trust.
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <thread>
#include <vector>

#include "agent/shared.h"
#include "flow/flow.h"
#include "fuzz/fuzz.h"

namespace drover::fuzz {
namespace {

using control::Marker;
using control::Type;

constexpr int kPatienceMs = 20'000;  // on a busy machine
constexpr size_t kMessagesMax = 16;
constexpr long kDescriptorsMax = 15;  // of an agent without a caller: a dozen

// A promise that was broken on the control thread, whose stderr is /dev/null.
std::atomic<const char*> broken = nullptr;

bool IsFlag(const bool& flag) {
  unsigned char byte;
  std::memcpy(&byte, &flag, 1);
  return byte <= 1;
}

bool AreWholePages(const Range* ranges, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i)
    if (ranges[i].length == 0 || ranges[i].start % kPageBytes != 0 ||
        ranges[i].length % kPageBytes != 0 || ranges[i].start + ranges[i].length < ranges[i].start)
      return false;
  return true;
}

// What the flow takes for granted of a job.
const char* WhatIsWrong(const flow::Job& job) {
  for (const bool* flag : {&job.placement.same, &job.plan_only, &job.verify, &job.unshare,
                           &job.shared, &job.own_path, &job.kernel_path, &job.expendable})
    if (!IsFlag(*flag)) return "a flag is 0 or 1";
  if (static_cast<uint8_t>(job.mode) > 2 || job.reason >= flow::Reason::kCount)
    return "an enumeration has one of its values";
  if (job.range_count > flow::kRangesMax || job.left_out_count > flow::kLeftOutMax ||
      job.helper_count >= migrators::kThreadsMax || job.placement.spread_count > flow::kNodesMax ||
      job.placement.node_count > flow::kNodesMax || job.engine_count < 1 ||
      job.engine_count > migrators::kEnginesPerJobMax)
    return "a count lies within its array";
  for (const migrators::Spec& spec : job.Engines())
    if (!IsValid(spec)) return "copy engines are such as there are";
  if (job.TrustsALiar()) return "nobody trusts a copy engine that lies";
  if (!AreWholePages(job.ranges, job.range_count)) return "ranges are whole pages";
  if (!AreWholePages(job.left_out, job.left_out_count)) return "left-out ranges are whole pages";
  if (job.batch_bytes == 0 || job.batch_bytes > flow::kBatchBytesMax ||
      job.batch_bytes % kPageBytes != 0)
    return "a batch is whole pages";
  for (const int16_t target : job.placement.target_of)
    if (target < -2 || target >= static_cast<int16_t>(flow::kNodesMax)) return "targets are nodes";
  for (uint32_t i = 0; i < job.placement.spread_count; ++i)
    if (job.placement.spread[i] < 0 ||
        job.placement.spread[i] >= static_cast<int16_t>(flow::kNodesMax))
      return "targets are nodes";
  return nullptr;
}

int OpenDoor(const char* path, int* error) {
  const int door = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  *error = connect(door, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
  return door;
}

// One agent, until somebody takes it out of work.
class Agent {
 public:
  explicit Agent(const std::string& folder) {
    shared_.settings.marker = &marker_;
    shared_.settings.folder_count = 1;
    std::strncpy(shared_.settings.folders[0], folder.c_str(),
                 sizeof shared_.settings.folders[0] - 1);
    thread_ = std::thread([this] {
      id_ = static_cast<int>(syscall(SYS_gettid));
      agent::ControlThread(&shared_);
    });
    for (int i = 0; i < kPatienceMs && State() == Marker::State::kStarting; ++i) usleep(1000);
    Must(State() == Marker::State::kServing, "the agent serves");
  }
  ~Agent() {
    shared_.quit.store(1);
    int ignored = 0;  // whoever comes wakes it
    const int door = OpenDoor(marker_.socket_path, &ignored);
    thread_.join();
    close(door);
  }
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  Marker::State State() const {
    return static_cast<Marker::State>(__atomic_load_n(&marker_.state, __ATOMIC_ACQUIRE));
  }
  const char* path() const { return marker_.socket_path; }
  long OpenDescriptors() const {
    const std::string folder = "/proc/self/task/" + std::to_string(id_) + "/fd";
    std::error_code gone;
    long count = 0;
    for (std::filesystem::directory_iterator at(folder, gone), end; !gone && at != end; ++at)
      ++count;
    return count;
  }

 private:
  agent::Shared shared_;
  alignas(kPageBytes) Marker marker_;
  std::atomic<int> id_ = 0;
  std::thread thread_;
};

// Reads one message and looks at its head. 0: the agent has hung up; -1: nothing has come.
ssize_t Hear(int socket, int timeout_ms) {
  pollfd wait{socket, POLLIN, 0};
  int ready;  // (libFuzzer's timer interrupts)
  do ready = poll(&wait, 1, timeout_ms);
  while (ready < 0 && errno == EINTR);
  if (ready <= 0) return -1;
  alignas(8) char message[sizeof(control::Result) + 256];
  iovec vector{message, sizeof message};
  alignas(cmsghdr) char room[CMSG_SPACE(8 * sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  header.msg_control = room;
  header.msg_controllen = sizeof room;
  const ssize_t got = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
  if (got <= 0) return 0;
  if (const cmsghdr* control = CMSG_FIRSTHDR(&header); control != nullptr) {
    const size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int descriptor;
      std::memcpy(&descriptor, CMSG_DATA(control) + i * sizeof descriptor, sizeof descriptor);
      close(descriptor);
    }
  }
  control::Header head;
  Must(got >= static_cast<ssize_t>(sizeof head), "an answer has a head");
  std::memcpy(&head, message, sizeof head);
  Must(head.magic == control::kMagic && head.length_bytes == static_cast<uint32_t>(got),
       "an answer's head is right");
  return got;
}

// What may come along with a message.
int ADescriptor(uint8_t which) {
  switch (which % 4) {
    case 0:
      return memfd_create("fuzz", MFD_CLOEXEC);
    case 1:
      return open("/dev/null", O_RDWR | O_CLOEXEC);
    case 2:
      return open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    default:
      return open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  }
}

void Say(int socket, std::string_view bytes, uint8_t descriptors, uint8_t kinds) {
  std::vector<int> sent;
  for (int i = 0; i < descriptors % 8; ++i)
    if (const int one = ADescriptor(static_cast<uint8_t>(kinds >> i)); one >= 0)
      sent.push_back(one);
  (void)Send(socket, bytes, sent);  // an agent that has hung up hears nothing
  for (const int one : sent) close(one);
}

// One message: how it is made, its descriptors, and its bytes.
void SayNext(int socket, Input& input) {
  const uint8_t how = input.Byte(), descriptors = input.Byte();
  const uint8_t kinds = descriptors > 0 ? input.Byte() : 0;
  if (how % 4 == 0) {  // anything
    const size_t length = input.Byte() * 16u;
    Say(socket, input.Bytes(length), descriptors, kinds);
    return;
  }
  std::string message(sizeof(control::Header), '\0');
  control::Header header;
  header.type = static_cast<Type>(input.Byte() % 14);
  header.length_bytes = sizeof(control::Move);
  std::memcpy(message.data(), &header, sizeof header);
  if (how % 4 == 1) {  // a job, of which a few bytes are others
    flow::Job job;
    auto* bytes = reinterpret_cast<unsigned char*>(&job);
    for (int changes = input.Byte() % 16; changes > 0; --changes) {
      const size_t at = (static_cast<size_t>(input.Byte()) << 8 | input.Byte()) % sizeof job;
      bytes[at] = input.Byte();
    }
    message.append(reinterpret_cast<const char*>(&job), sizeof job);
  } else if (how % 4 == 2) {  // something about a copy engine
    header.type = Type::kMigrators;
    std::memcpy(message.data(), &header, sizeof header);
    message.append(input.Bytes(sizeof(control::MigratorsRequest) - sizeof header));
    message.resize(sizeof(control::MigratorsRequest));
  } else {
    const size_t length = input.Byte() * 8u;
    message.append(input.Bytes(length));
  }
  Say(socket, message, descriptors, kinds);
}

struct World {
  // A caller that the agent has greeted. What was said before may have ended the agent: the next
  // one, then.
  int Greeted() {
    for (int tries = 0; tries < 3; ++tries) {
      int error = 0;
      const int socket = OpenDoor(agent->path(), &error);
      if (error == 0 && Hear(socket, kPatienceMs) > 0) return socket;
      close(socket);
      agent.reset();
      agent = std::make_unique<Agent>(folder.path());
    }
    Must(false, "the agent greets its caller");
    return -1;
  }
  Folder folder;
  std::unique_ptr<Agent> agent = std::make_unique<Agent>(folder.path());
};

}  // namespace
}  // namespace drover::fuzz

// The flow in the place of the real one.
namespace drover::flow {

Engine* MakeEngine(const Parts&, Range) {
  alignas(Engine) static char room[sizeof(Engine)];
  auto* const engine = reinterpret_cast<Engine*>(room);  // of which the registry alone is used
  new (&engine->registry) migrators::Registry;
  return engine;
}

void AddOwn(Engine&, Range) {}

void RunJob(Engine&, const Job& job, Observer& observer, JobResult* result) {
  if (const char* wrong = fuzz::WhatIsWrong(job); wrong != nullptr) fuzz::broken.store(wrong);
  for (uint64_t i = 0; i < 300; ++i) {
    observer.PagesDone(i * 3 * kPageBytes, 1 + i % 2, static_cast<int32_t>(i % 2), Outcome::kMoved,
                       Why::kNone);
    if (i % 100 == 0 && observer.GoOn(*result) == Next::kStop) {
      result->ended_by = Trouble::kCancelled;
      return;
    }
  }
}

}  // namespace drover::flow

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace drover::fuzz;
  static World world;
  Input input(data, size);
  const int caller = world.Greeted();
  int other = -1;
  for (size_t i = 0; i < kMessagesMax && !input.empty(); ++i) {
    const uint8_t what = input.Byte();
    int error = 0;
    if (what % 16 == 0) (void)Hear(caller, 0);
    if (what % 16 == 1 && other < 0) other = OpenDoor(world.agent->path(), &error);
    SayNext(what % 16 == 2 && other >= 0 ? other : caller, input);
  }
  // It answers until it has heard that nobody is there any more, and then hangs up.
  shutdown(caller, SHUT_WR);
  ssize_t got;
  while ((got = Hear(caller, kPatienceMs)) > 0) {
  }
  Must(got == 0, "the agent hangs up in time");
  close(caller);
  if (other >= 0) close(other);
  if (const char* what = broken.load(); what != nullptr) Must(false, what);
  Must(world.agent->OpenDescriptors() <= kDescriptorsMax, "the agent closes what it is sent");
  return 0;
}
