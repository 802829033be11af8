// A process that says of itself what no agent says, and no program: drover comes to an end, and
// writes text.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "control/agents.h"
#include "live/command.h"

namespace drover::live {
namespace {

// A child that does so until the end of the test; it is ready when it has written a byte.
class Child {
 public:
  template <class Body>
  explicit Child(const Body& body) {
    int ready[2];
    if (pipe2(ready, O_CLOEXEC) != 0) return;
    pid_ = fork();
    if (pid_ == 0) {
      body(ready[1]);
      std::_Exit(1);
    }
    close(ready[1]);
    char byte;
    EXPECT_EQ(read(ready[0], &byte, 1), 1);
    close(ready[0]);
  }
  ~Child() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  std::string pid() const { return std::to_string(pid_); }

 private:
  int pid_ = 0;
};

// Greets whoever comes, and then talks without end.
void TalkForEver(const std::string& path, int ready) {
  const int door = socket(AF_UNIX, SOCK_SEQPACKET, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, path.c_str());
  if (bind(door, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      listen(door, 1) != 0)
    return;
  control::Marker marker;
  std::memcpy(marker.magic, control::Marker::kMagicText, sizeof marker.magic);
  marker.major = control::kMajor;
  marker.state = static_cast<uint32_t>(control::Marker::State::kServing);
  marker.start_time_ticks = control::ReadProcess(getpid())->start_time_ticks;
  std::strcpy(marker.socket_path, path.c_str());
  const int file = memfd_create("drover", 0);
  if (ftruncate(file, 4096) != 0 || write(file, &marker, sizeof marker) < 0) return;
  mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, file, 0);
  if (write(ready, "x", 1) != 1) return;
  const int caller = accept(door, nullptr, nullptr);
  const control::Hello hello;
  control::Plain word;
  word.header.type = control::Type::kProgress;
  send(caller, &hello, sizeof hello, MSG_NOSIGNAL);
  while (send(caller, &word, sizeof word, MSG_NOSIGNAL) > 0) {
  }
  pause();
}

TEST(HostileProcess, AnAgentThatTalksForEverIsNotHeardForEver) {
  char folder[] = "/tmp/drover-talk-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  {
    const Child child([&](int ready) { TalkForEver(std::string(folder) + "/door", ready); });
    ExpectRefused(RunCommand({Built("drover"), "off", child.pid()}), 1, "does not answer");
  }
  std::filesystem::remove_all(folder);
}

TEST(HostileProcess, NamesOfMappingsThatAreNoText) {
  char folder[] = "/tmp/drover-name-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  {
    const Child child([&](int ready) {
      const int file = open((std::string(folder) + "/\xff\x1b[2J").c_str(), O_RDWR | O_CREAT, 0600);
      if (ftruncate(file, 4096) != 0) return;
      auto* byte = static_cast<char*>(mmap(nullptr, 4096, PROT_WRITE, MAP_SHARED, file, 0));
      *byte = 1;
      if (write(ready, "x", 1) == 1) pause();
    });
    const Outcome json =
        RunCommand({Built("drover"), "pages", child.pid(), "--by-mapping", "--json"});
    EXPECT_EQ(json.exit_code, 0) << json.err;
    EXPECT_NE(json.out.find("/??[2J"), std::string::npos) << json.out;
    const Outcome table = RunCommand({Built("drover"), "pages", child.pid(), "--by-mapping"});
    EXPECT_EQ(table.exit_code, 0) << table.err;
    EXPECT_EQ(table.out.find('\x1b'), std::string::npos);
  }
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace drover::live
