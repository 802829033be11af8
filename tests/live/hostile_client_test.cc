// Whoever reaches an agent's socket, and says what no client says: the program computes on, and the
// next proper client is served.
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <random>
#include <thread>

#include "control/agents.h"
#include "live/command.h"

namespace drover::live {
namespace {

using Clock = std::chrono::steady_clock;
using control::Type;

constexpr int kPatienceMs = 5000;
constexpr auto kProperClientWaitsAtMost = std::chrono::seconds(10);

// A talk with an agent, without any manners.
class Talk {
 public:
  explicit Talk(const std::string& path)
      : socket_(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    if (connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
      error_ = errno;
  }
  ~Talk() { close(socket_); }
  Talk(Talk&& other) noexcept : socket_(other.socket_), error_(other.error_) { other.socket_ = -1; }
  Talk(const Talk&) = delete;
  Talk& operator=(const Talk&) = delete;

  int error() const { return error_; }
  bool Say(const std::string& message) {
    return send(socket_, message.data(), message.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(message.size());
  }
  // The next message; empty: the agent has hung up, or nothing has come in time.
  std::string Hear() {
    pollfd wait{socket_, POLLIN, 0};
    std::string message(sizeof(control::Result) + 64, '\0');
    if (poll(&wait, 1, kPatienceMs) <= 0) return {};
    const ssize_t got = recv(socket_, message.data(), message.size(), 0);
    message.resize(got > 0 ? static_cast<size_t>(got) : 0);
    return message;
  }
  bool HearsHangUp() {
    pollfd wait{socket_, POLLIN, 0};
    while (poll(&wait, 1, kPatienceMs) > 0) {
      char byte;
      const ssize_t got = recv(socket_, &byte, 1, 0);
      if (got == 0 || (got < 0 && errno == ECONNRESET)) return true;
    }
    return false;
  }
  void KeepMuchUnread() {
    const int bytes = 4 << 20;
    setsockopt(socket_, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
  }

 private:
  int socket_;
  int error_ = 0;
};

std::string MessageOf(Type type, std::string body) {
  control::Header header;
  header.type = type;
  header.length_bytes = static_cast<uint32_t>(sizeof header + body.size());
  return std::string(reinterpret_cast<const char*>(&header), sizeof header) + body;
}

std::string BytesOf(const flow::Job& job) {
  return {reinterpret_cast<const char*>(&job), sizeof job};
}

Type TypeOf(const std::string& message) {
  control::Header header;
  if (message.size() < sizeof header) return {};
  std::memcpy(&header, message.data(), sizeof header);
  return header.type;
}

class HostileClient : public testing::Test {
 protected:
  HostileClient() : HostileClient(UnderDrover()) {}
  explicit HostileClient(const std::vector<std::string>& before)
      : subject_(before, {"--mib", "16", "--threads", "2"}) {
    const auto process = control::ReadProcess(subject_.pid());
    if (!process.has_value()) return;
    const auto marker = control::FindServingMarker(*process);
    if (marker.has_value() && marker->has_value()) path_ = (*marker)->socket_path;
  }
  void SetUp() override { ASSERT_NE(path_, ""); }
  // Nothing has come of it: a proper client is served, soon, and every word of memory is right.
  void TearDown() override {
    const auto begin = Clock::now();
    Outcome outcome = Move();
    while (outcome.exit_code == 4 && Clock::now() - begin < kProperClientWaitsAtMost)
      outcome = Move();
    EXPECT_TRUE(outcome.exit_code == 0 || outcome.exit_code == 3) << outcome.err;
    const auto json = outcome.json();
    ASSERT_FALSE(json.is_discarded()) << outcome.out << outcome.err;
    EXPECT_EQ(json["own_path_refused"], "");
    EXPECT_GT(json["pages_moved"].get<uint64_t>(), 4000u);
    EXPECT_TRUE(subject_.EndsRight());
  }
  Outcome Move(std::vector<std::string> more = {}) const {
    std::vector<std::string> words = {Built("drover"), "move", std::to_string(subject_.pid()),
                                      "--to",          "same", "--json"};
    words.insert(words.end(), more.begin(), more.end());
    return RunCommand(words);
  }
  // A talk that the agent has begun.
  Talk Greeted() const {
    Talk talk(path_);
    EXPECT_EQ(talk.error(), 0) << std::strerror(talk.error());
    EXPECT_EQ(TypeOf(talk.Hear()), Type::kHello);
    return talk;
  }

  Subject subject_;
  std::string path_;
};

TEST_F(HostileClient, SaysGarbage) {
  std::mt19937 random(1);
  for (int round = 0; round < 100; ++round) {
    Talk talk = Greeted();
    std::string garbage(1 + random() % 4096, '\0');
    for (char& c : garbage) c = static_cast<char>(random());
    EXPECT_TRUE(talk.Say(garbage));
    EXPECT_TRUE(talk.HearsHangUp());
  }
}

TEST_F(HostileClient, SaysJobsThatAreNone) {
  std::mt19937 random(2);
  Talk talk = Greeted();
  for (int round = 0; round < 100; ++round) {
    std::string job(sizeof(flow::Job), '\0');
    for (char& c : job) c = static_cast<char>(random());
    ASSERT_TRUE(talk.Say(MessageOf(Type::kMove, job)));
    const std::string answer = talk.Hear();
    ASSERT_EQ(answer.size(), sizeof(control::Result));
    flow::JobResult result;
    std::memcpy(&result, answer.data() + offsetof(control::Result, result), sizeof result);
    EXPECT_EQ(result.ended_by, flow::Trouble::kBadJob);
    EXPECT_EQ(result.pages_requested, 0u);
  }
}

TEST_F(HostileClient, SaysWhatIsTooLong) {
  Talk talk = Greeted();
  talk.KeepMuchUnread();
  ASSERT_TRUE(talk.Say(MessageOf(Type::kMove, std::string(1 << 20, '\xff'))));
  EXPECT_EQ(TypeOf(talk.Hear()), Type::kResult);
  EXPECT_TRUE(talk.Say(std::string(1 << 20, 'x')));
  EXPECT_TRUE(talk.HearsHangUp());
}

TEST_F(HostileClient, SaysHalfAHead) {
  Talk talk = Greeted();
  EXPECT_TRUE(talk.Say(MessageOf(Type::kMove, "").substr(0, 12)));
  EXPECT_TRUE(talk.HearsHangUp());
}

TEST_F(HostileClient, AsksAndNeverReads) {
  Talk talk = Greeted();
  flow::Job job;
  job.plan_only = job.placement.same = true;
  for (int round = 0; round < 200; ++round) (void)talk.Say(MessageOf(Type::kMove, BytesOf(job)));
}

TEST_F(HostileClient, ComesInCrowds) {
  std::vector<Talk> crowd;
  for (int i = 0; i < 500; ++i) crowd.emplace_back(path_);
  for (int i = 0; i < 500; ++i) Talk(path_).Say("x");
}

TEST_F(HostileClient, ComesInCrowdsWhileAMoveIsUnderWay) {
  Outcome outcome;
  std::thread proper([&] { outcome = Move({"--batch", "1"}); });
  for (int i = 0; i < 300; ++i) {
    Talk(path_).Say("x");
    usleep(1'000);
  }
  proper.join();
  EXPECT_TRUE(outcome.exit_code == 0 || outcome.exit_code == 3 || outcome.exit_code == 4)
      << outcome.err;
}

// Who comes and says nothing gives way to who comes next; both tests end with a proper client.
TEST_F(HostileClient, ComesAndSaysNothing) {
  static std::vector<Talk> silent;  // longer than the test
  silent.push_back(Greeted());
}

// While another caller is there a visitor may ask for the copy engines, once, and for nothing else.
TEST_F(HostileClient, IsAVisitorWhileTheFirstMayStillSpeak) {
  const Talk first = Greeted();
  const std::string list =
      MessageOf(Type::kMigrators,
                std::string(sizeof(control::MigratorsRequest) - sizeof(control::Header), '\0'));
  for (const std::string& asked :
       {list, MessageOf(Type::kMove, BytesOf(flow::Job())), MessageOf(Type::kOff, ""),
        list.substr(0, list.size() - 1), list + "x", std::string(200, 'x'), std::string()}) {
    usleep(150'000);  // the visitor before has had its time
    Talk second(path_);
    const std::string greeting = second.Hear();
    ASSERT_EQ(TypeOf(greeting), Type::kHello);
    control::Hello hello;
    std::memcpy(&hello, greeting.data(), sizeof hello);
    EXPECT_EQ(hello.busy, control::Hello::Busy::kMoment);
    EXPECT_EQ(hello.holder_pid, getpid());
    if (asked.empty()) continue;  // one that says nothing, and goes
    EXPECT_TRUE(second.Say(asked));
    if (asked == list) {
      EXPECT_EQ(TypeOf(second.Hear()), Type::kMigratorList);
    }
    EXPECT_TRUE(second.HearsHangUp());
  }
}

TEST_F(HostileClient, IsOneVisitorTooMany) {
  const Talk first = Greeted();
  Talk second(path_), third(path_);
  EXPECT_EQ(TypeOf(second.Hear()), Type::kHello);
  EXPECT_EQ(TypeOf(third.Hear()), Type::kRefused);
  EXPECT_TRUE(third.HearsHangUp());
}

// Numbers of engines that do not exist, and names that are none, change nothing.
TEST_F(HostileClient, SetsWhatIsNotThere) {
  for (int i = 0; i < 64; ++i) {
    control::MigratorsRequest request;
    request.action = static_cast<control::MigratorsRequest::Action>(i);
    std::memset(request.name.text, i % 2 == 0 ? 'x' : 0xff, sizeof request.name.text);
    std::string body(reinterpret_cast<const char*>(&request), sizeof request);
    Talk talk = Greeted();
    EXPECT_TRUE(talk.Say(MessageOf(Type::kMigrators, body.substr(sizeof(control::Header)))));
    EXPECT_EQ(TypeOf(talk.Hear()), Type::kMigratorList);
  }
}

// A program that is stopped takes nobody in: whoever waits before its full door goes away in time.
TEST_F(HostileClient, StandsBeforeTheDoorOfAStoppedProgram) {
  kill(subject_.pid(), SIGSTOP);
  std::vector<Talk> crowd;
  for (int i = 0; i < 20; ++i) crowd.emplace_back(path_);
  const Outcome outcome = Move();
  EXPECT_EQ(outcome.exit_code, 4) << outcome.err;
  EXPECT_NE(outcome.err.find("is the process stopped?"), std::string::npos) << outcome.err;
  crowd.clear();
  kill(subject_.pid(), SIGCONT);
}

// What `as_nobody` returns to its parent, in a child of another user.
template <class Body>
int AsNobody(const Body& as_nobody) {
  const int child = fork();
  if (child == 0) {
    if (setgid(65534) != 0 || setuid(65534) != 0) std::_Exit(100);
    std::_Exit(as_nobody());
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 101;
}

TEST_F(HostileClient, IsAnotherUser) {
  EXPECT_EQ(AsNobody([&] { return Talk(path_).error(); }), EACCES);
}

// Where somebody has opened folder and socket to all.
class HostileUser : public HostileClient {
 protected:
  HostileUser() : HostileClient(InAFolderForAll()) {}
  void TearDown() override {
    HostileClient::TearDown();
    std::filesystem::remove_all(std::filesystem::path(path_).parent_path());
  }
  static std::vector<std::string> InAFolderForAll() {
    char folder[] = "/tmp/drover-open-XXXXXX";
    EXPECT_NE(mkdtemp(folder), nullptr);
    EXPECT_EQ(chmod(folder, 0755), 0);
    std::vector<std::string> words = {"env", std::string("DROVER_DIR=") + folder};
    for (const auto& word : UnderDrover()) words.push_back(word);
    return words;
  }
};

TEST_F(HostileUser, IsNotHeardEither) {
  ASSERT_EQ(chmod(path_.c_str(), 0666), 0);
  for (int round = 0; round < 20; ++round)
    EXPECT_EQ(AsNobody([&] {
                Talk talk(path_);
                if (talk.error() != 0) return talk.error();
                talk.Say(MessageOf(Type::kOff, ""));
                return talk.Hear().empty() ? 0 : 102;
              }),
              0);
}

}  // namespace
}  // namespace drover::live
