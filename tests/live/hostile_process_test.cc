// A process that says of itself what no agent says, and no program: drover comes to an end, and
// writes text.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "control/agents.h"
#include "live/command.h"
#include "live/sleeper.h"

namespace drover::live {
namespace {

// A door, and a marker that leads to it.
int OpenDoor(const std::string& path) {
  const int door = socket(AF_UNIX, SOCK_SEQPACKET, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, path.c_str());
  if (bind(door, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      listen(door, 1) != 0)
    std::_Exit(1);
  control::Marker marker;
  std::memcpy(marker.magic, control::Marker::kMagicText, sizeof marker.magic);
  marker.major = control::kMajor;
  marker.state = static_cast<uint32_t>(control::Marker::State::kServing);
  marker.start_time_ticks = control::ReadProcess(getpid())->start_time_ticks;
  std::strcpy(marker.socket_path, path.c_str());
  const int file = memfd_create("drover", 0);
  if (ftruncate(file, 4096) != 0 || write(file, &marker, sizeof marker) < 0) std::_Exit(1);
  mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, file, 0);
  return door;
}

// Greets whoever comes, and then talks without end.
void TalkForEver(int door) {
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
    int door = -1;
    const Sleeper child([&] { door = OpenDoor(std::string(folder) + "/door"); },
                        [&] { TalkForEver(door); });
    EXPECT_TRUE(child.ready());
    ExpectRefused(RunCommand({Built("drover"), "off", child.pid()}), 1, "does not answer");
  }
  std::filesystem::remove_all(folder);
}

TEST(HostileProcess, NamesOfMappingsThatAreNoText) {
  char folder[] = "/tmp/drover-name-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  {
    const Sleeper child([&] {
      const int file = open((std::string(folder) + "/\xff\x1b[2J").c_str(), O_RDWR | O_CREAT, 0600);
      if (ftruncate(file, 4096) != 0) std::_Exit(1);
      auto* byte = static_cast<char*>(mmap(nullptr, 4096, PROT_WRITE, MAP_SHARED, file, 0));
      *byte = 1;
    });
    EXPECT_TRUE(child.ready());
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
