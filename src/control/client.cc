#include "control/client.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include "control/peer.h"
#include "control/printable.h"
#include "kernel/linux_kernel.h"

namespace drover::control {
namespace {

constexpr int kAnswerMs = 5000;  // an idle agent answers at once
constexpr int kSteeringLookMs = 20;
// A job comes to a batch boundary within milliseconds, and a stopped process not at all.
constexpr std::chrono::seconds kEndPatience{30};
// Somebody else is there who will soon be gone.
constexpr int kMomentTries = 100;
constexpr useconds_t kMomentUs = 20'000;
constexpr const char* kSilent = "it does not answer (is the process stopped?)";

template <class Message>
Message Make(Type type) {
  Message message;
  message.header.type = type;
  message.header.length_bytes = sizeof message;
  return message;
}

}  // namespace

Client::Client(Client&& other) noexcept
    : agent_(std::move(other.agent_)), socket_(other.socket_), hello_(other.hello_) {
  other.socket_ = -1;
}

Client::~Client() {
  if (socket_ >= 0) close(socket_);
}

Error Client::Lost() const {
  // A process that is being killed closes its sockets a while before it is gone.
  constexpr int kLooks = 200;
  constexpr useconds_t kNapUs = 5'000;
  for (int look = 0; look < kLooks; ++look) {
    if (LookAgain(agent_.process) != Still::kSame) return NotTheSame(agent_.process);
    usleep(kNapUs);
  }
  return {Error::Kind::kFailed,
          fmt::format("the agent of process {} has ended the talk (drover off, or the program has "
                      "put itself into a sandbox); try again, the kernel path needs no agent",
                      agent_.process.pid)};
}

Error Client::Silent() const {
  return {Error::Kind::kFailed, fmt::format("the agent of process {} does not answer (is the "
                                            "process stopped?); try again",
                                            agent_.process.pid)};
}

std::expected<Client, Error> Client::Connect(const AgentInfo& agent, As as) {
  for (int tries = 0;; ++tries) {
    bool for_a_moment = false;
    auto client = TryToConnect(agent, as, &for_a_moment);
    if (client.has_value() || !for_a_moment || tries == kMomentTries) return client;
    usleep(kMomentUs);
  }
}

std::expected<Client, Error> Client::TryToConnect(const AgentInfo& agent, As as,
                                                  bool* for_a_moment) {
  const int pid = agent.process.pid;
  if (agent.marker.major != kMajor)
    return std::unexpected(
        Error{Error::Kind::kUnavailable,
              fmt::format("the agent of process {} speaks version {}, this drover speaks {}; use "
                          "the drover that started it, or restart the program",
                          pid, agent.marker.major, kMajor)});
  Client client(agent);
  client.socket_ = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  // Before the full door of a stopped process connect would wait as long as that is stopped.
  const timeval patience{kAnswerMs / 1000, 0};
  setsockopt(client.socket_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  // Through the process's own root, so that containers and private /tmp folders work.
  const std::string path = fmt::format("/proc/{}/root{}", pid, agent.marker.socket_path);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const auto fail = [&](const std::string& why) {
    if (LookAgain(agent.process) != Still::kSame) return std::unexpected(NotTheSame(agent.process));
    return std::unexpected(Error{
        errno == EACCES || errno == EPERM ? Error::Kind::kNotPermitted : Error::Kind::kUnavailable,
        fmt::format("the agent of process {} cannot be reached: {}", pid, why)});
  };
  if (path.size() >= sizeof address.sun_path) return fail("its socket's path is too long");
  std::strcpy(address.sun_path, path.c_str());
  if (connect(client.socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    if (errno == EAGAIN) return fail(kSilent);
    std::string shown = path;  // the path is the process's own word
    MakePrintable(shown);
    return fail(fmt::format("{} ({}); restart the program, or use the kernel path", shown,
                            std::strerror(errno)));
  }
  if (const auto peer = PeerOf(client.socket_); !peer.has_value() || peer->pid != pid) {
    errno = 0;
    return fail("somebody else listens at its socket");
  }
  alignas(8) char message[sizeof(Hello) + 256];
  const ssize_t got = client.Receive(message, sizeof message, nullptr, kAnswerMs);
  Header header;
  if (got >= static_cast<ssize_t>(sizeof header)) std::memcpy(&header, message, sizeof header);
  const auto busy = [&](int holder) {
    return std::unexpected(
        Error{Error::Kind::kUnavailable,
              fmt::format("process {} is busy with a move that drover process {} has started; wait "
                          "for it or interrupt it",
                          pid, holder)});
  };
  if (got >= static_cast<ssize_t>(sizeof(Refused)) && header.type == Type::kRefused) {
    Refused refused;
    std::memcpy(&refused, message, sizeof refused);
    *for_a_moment = refused.busy == 2 || as == As::kVisitor;
    return busy(refused.holder_pid);
  }
  if (got < static_cast<ssize_t>(sizeof(Hello)) || header.type != Type::kHello) {
    errno = 0;
    return fail(got < 0 ? kSilent : "it is ending");
  }
  std::memcpy(&client.hello_, message, sizeof client.hello_);
  if (client.hello_.busy != Hello::Busy::kNo && as == As::kCaller) {
    *for_a_moment = client.hello_.busy == Hello::Busy::kMoment;
    return busy(client.hello_.holder_pid);
  }
  return client;
}

bool Client::Send(const void* message, size_t bytes, const std::vector<int>& descriptors) {
  iovec vector{const_cast<void*>(message), bytes};
  alignas(cmsghdr) char room[CMSG_SPACE(2 * sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  if (!descriptors.empty()) {
    header.msg_control = room;
    header.msg_controllen = CMSG_SPACE(descriptors.size() * sizeof(int));
    cmsghdr* control = CMSG_FIRSTHDR(&header);
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
    std::memcpy(CMSG_DATA(control), descriptors.data(), descriptors.size() * sizeof(int));
  }
  return sendmsg(socket_, &header, MSG_NOSIGNAL) == static_cast<ssize_t>(bytes);
}

ssize_t Client::Receive(void* message, size_t room, int* descriptor, int timeout_ms) {
  pollfd wait{socket_, POLLIN, 0};
  const int ready = poll(&wait, 1, timeout_ms);
  if (ready <= 0) return -1;
  iovec vector{message, room};
  alignas(cmsghdr) char control_room[CMSG_SPACE(sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  header.msg_control = control_room;
  header.msg_controllen = CMSG_LEN(sizeof(int));  // with CMSG_SPACE a second one would come in
  const ssize_t got = recvmsg(socket_, &header, MSG_CMSG_CLOEXEC);
  // (Also with an empty message.)
  cmsghdr* control = got >= 0 ? CMSG_FIRSTHDR(&header) : nullptr;
  if (control != nullptr && control->cmsg_type == SCM_RIGHTS) {
    int received = -1;
    std::memcpy(&received, CMSG_DATA(control), sizeof received);
    if (descriptor != nullptr && got > 0)
      *descriptor = received;
    else
      close(received);
  }
  return got < 0 ? 0 : got;  // a reset connection is a gone agent
}

void Client::GrantRights() {
  const int pid = agent_.process.pid;
  // What the process sends back is made to work only if it is what was asked for.
  const auto is_userfault = [](int descriptor) {
    char target[64] = {};
    const std::string link = fmt::format("/proc/self/fd/{}", descriptor);
    return readlink(link.c_str(), target, sizeof target - 1) > 0 &&
           std::string_view(target) == "anon_inode:[userfaultfd]";
  };
  const int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
  const int pagemap = open(fmt::format("/proc/{}/pagemap", pid).c_str(), O_RDONLY | O_CLOEXEC);
  if (device >= 0 && pagemap >= 0) {
    const auto grant = Make<Grant>(Type::kGrant);
    Handshake handshake;
    int userfault = -1;
    if (Send(&grant, sizeof grant, {device, pagemap}) &&
        Receive(&handshake, sizeof handshake, &userfault, kAnswerMs) ==
            static_cast<ssize_t>(sizeof handshake) &&
        is_userfault(userfault) && handshake.features == kernel::kFeaturesWanted) {
      auto done = Make<HandshakeDone>(Type::kHandshakeDone);
      done.error =
          static_cast<int32_t>(kernel::LinuxKernel::ShakeHands(userfault, handshake.features));
      if (Send(&done, sizeof done, {}) && done.error == 0)
        hello_.has_userfault = hello_.fork_events = 1;
    }
    if (userfault >= 0) close(userfault);
  }
  for (const int descriptor : {device, pagemap})
    if (descriptor >= 0) close(descriptor);
}

std::expected<flow::JobResult, Error> Client::Move(
    const flow::Job& job, int records, Steering& steering,
    const std::function<void(const control::Progress&)>& progress) {
  auto move = Make<control::Move>(Type::kMove);
  move.header.job = 1;
  move.job = job;
  if (!Send(&move, sizeof move, records >= 0 ? std::vector<int>{records} : std::vector<int>{}))
    return std::unexpected(Lost());
  using Clock = std::chrono::steady_clock;
  auto goes_since = Clock::now();
  auto cancelled_at = goes_since;
  bool cancelled = false, paused = false;
  const auto tell = [&](Type what) {
    const auto message = Make<Plain>(what);
    return Send(&message, sizeof message, {});
  };
  alignas(8) char message[sizeof(control::Result) + 256];
  for (;;) {
    const bool overdue =
        job.time_ns > 0 && !paused &&
        Clock::now() - goes_since > std::chrono::nanoseconds(job.time_ns) + kEndPatience;
    if ((steering.cancel.load() || overdue) && !cancelled) {
      cancelled = tell(Type::kCancel);
      cancelled_at = Clock::now();
    }
    if (cancelled && Clock::now() - cancelled_at > kEndPatience) return std::unexpected(Silent());
    if (const bool pause = steering.paused.load();
        pause != paused && tell(pause ? Type::kPause : Type::kResume)) {
      paused = pause;
      steering.stands.store(false);
      goes_since = Clock::now();
    }
    const ssize_t got = Receive(message, sizeof message, nullptr, kSteeringLookMs);
    if (got < 0) continue;
    Header header;
    if (got < static_cast<ssize_t>(sizeof header)) return std::unexpected(Lost());
    std::memcpy(&header, message, sizeof header);
    if (header.type == Type::kProgress && got >= static_cast<ssize_t>(sizeof(control::Progress))) {
      control::Progress now;
      std::memcpy(&now, message, sizeof now);
      steering.stands.store(paused && now.stands != 0);
      progress(now);
    }
    if (header.type == Type::kResult && got >= static_cast<ssize_t>(sizeof(control::Result))) {
      steering.stands.store(false);
      flow::JobResult result;
      std::memcpy(&result, message + offsetof(control::Result, result), sizeof result);
      return result;
    }
  }
}

std::expected<MigratorList, Error> Client::Migrators(const MigratorsRequest& request) {
  auto asked = request;
  asked.header = Make<MigratorsRequest>(Type::kMigrators).header;
  if (!Send(&asked, sizeof asked, {})) return std::unexpected(Lost());
  alignas(8) char message[sizeof(MigratorList) + 256];
  const ssize_t got = Receive(message, sizeof message, nullptr, kAnswerMs);
  if (got < 0) return std::unexpected(Silent());
  MigratorList list;
  if (got < static_cast<ssize_t>(sizeof list)) return std::unexpected(Lost());
  std::memcpy(&list, message, sizeof list);
  if (list.header.type != Type::kMigratorList || list.count > migrators::kKindCount)
    return std::unexpected(Lost());
  for (MigratorState& state : list.list) {  // the process's own word
    state.name.text[sizeof state.name.text - 1] = '\0';
    for (char& c : state.name.text)
      if (c != '\0' && (c < ' ' || c > '~')) c = '?';
  }
  return list;
}

std::expected<void, Error> Client::Off() {
  const auto off = Make<Plain>(Type::kOff);
  if (!Send(&off, sizeof off, {})) return std::unexpected(Lost());
  char message[sizeof(Plain) + 64];
  // In all, or an agent that goes on talking would be heard for ever.
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(kAnswerMs);
  for (;;) {
    const ssize_t got = Receive(message, sizeof message, nullptr, kAnswerMs);
    if (got == 0) return {};
    if (got < 0 || std::chrono::steady_clock::now() > until) return std::unexpected(Silent());
  }
}

}  // namespace drover::control
