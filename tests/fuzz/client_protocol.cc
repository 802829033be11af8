// What an agent answers to the command line: a broken or hostile one. The client is the real one;
// across its socket, in this process, stands what says the input. Whatever comes, each call ends
// with a result or an error, nothing is left open, and what people are told of it is text.
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <thread>
#include <vector>

#include "cli/records.h"
#include "control/client.h"
#include "fuzz/fuzz.h"
#include "library/result.h"
#include "report/move_report.h"
#include "report/plan_report.h"
#include "report/words.h"

namespace drover::fuzz {
namespace {

constexpr size_t kMessagesMax = 24;

struct Message {
  std::string bytes;
  int descriptors = 0;
};

// The agent's side: says what it was given to whoever comes, hears to the end, and hangs up.
class Speaker {
 public:
  Speaker() {
    door_ = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path_.c_str());
    Must(bind(door_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
             listen(door_, 4) == 0,
         "a socket");
    thread_ = std::thread([this] {
      for (int caller; (caller = accept4(door_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
        if (!end_) Serve(caller);
        close(caller);
        calls_.fetch_add(1);
        if (end_) break;
      }
    });
    WaitTillIdle();  // (a sanitizer opens files of its own when a thread begins)
  }
  ~Speaker() {
    end_ = true;
    const int last = Call();
    thread_.join();
    close(last);
    close(door_);
  }
  void Give(std::vector<Message> messages) { messages_ = std::move(messages); }
  const std::string& path() const { return path_; }
  // Until all who have called are gone, also those whose call had not been taken yet: they are
  // heard in turn.
  void WaitTillIdle() const {
    const int mine = Call();
    HearAll(mine);
    const uint64_t before = calls_.load();  // all but this one
    close(mine);
    while (calls_.load() == before) usleep(20);
  }

 private:
  int Call() const {
    const int caller = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path_.c_str());
    Must(connect(caller, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0, "a call");
    return caller;
  }
  static void HearAll(int caller) {
    char heard[64];
    while (recv(caller, heard, sizeof heard, 0) > 0) {
    }
  }
  void Serve(int caller) const {
    for (const Message& message : messages_) {
      const std::vector<int> doors(static_cast<size_t>(message.descriptors), door_);
      if (!Send(caller, message.bytes, doors)) break;
    }
    shutdown(caller, SHUT_WR);
    HearAll(caller);
  }

  Folder folder_;
  const std::string path_ = folder_.path() + "/door";
  int door_ = -1;
  std::vector<Message> messages_;  // changed only while nobody calls
  std::atomic<uint64_t> calls_ = 0;
  std::atomic<bool> end_ = false;
  std::thread thread_;
};

template <class Body>
std::string Whole(control::Type type, Input& input) {
  Body body;
  body.header.type = type;
  body.header.length_bytes = sizeof body;
  const std::string_view bytes = input.Bytes(input.Byte() * 16u);
  const size_t room = sizeof body - sizeof body.header;
  std::memcpy(reinterpret_cast<char*>(&body) + sizeof body.header, bytes.data(),
              std::min(bytes.size(), room));
  return {reinterpret_cast<const char*>(&body), sizeof body};
}

Message NextMessage(Input& input) {
  const uint8_t how = input.Byte();
  Message message;
  message.descriptors = (how >> 6) & 3;
  switch (how % 8) {
    case 0:
      message.bytes = Whole<control::Hello>(control::Type::kHello, input);
      break;
    case 1:
      message.bytes = Whole<control::Result>(control::Type::kResult, input);
      break;
    case 2:
      message.bytes = Whole<control::Progress>(control::Type::kProgress, input);
      break;
    case 3:
      message.bytes = Whole<control::Handshake>(control::Type::kHandshake, input);
      break;
    case 4:
      message.bytes = Whole<control::Refused>(control::Type::kRefused, input);
      break;
    default:
      message.bytes = input.Bytes(input.Byte() * 16u);
      break;
  }
  if (how % 16 >= 8) message.bytes.resize(message.bytes.size() / 2);
  return message;
}

void ShowError(const Error& error) {
  Must(!error.message.empty(), "an error has words");
  MustBePrintable(error.message);
}

// All that `drover move` says of a result.
void Show(const flow::JobResult& result, bool verify) {
  flow::Job job;
  job.verify = verify;
  const MoveResult shown = library::ResultOf(result, job);
  const report::Seen seen{0.5, result.pages_moved};
  MustBePrintable(report::MoveToTable(shown, seen), true);
  MustBePrintable(report::MoveToJson(shown, seen).dump());
  const report::Plan plan{.result = shown,
                          .seconds = 1,
                          .window_us = 1,
                          .unknown = {},
                          .idle_cpus = 1,
                          .needs = {{0, result.pages_moved, result.pages_gone}},
                          .pool_bytes = 1};
  MustBePrintable(report::PlanToTable(plan), true);
  MustBePrintable(report::PlanToJson(plan).dump());
  MustBePrintable(report::WordsOf(result.ended_by, result.ended_detail));
}

void Talk(control::Client& client, uint8_t what) {
  const control::Hello& hello = client.hello();
  MustBePrintable(report::WordsOf(static_cast<flow::Trouble>(hello.trouble), hello.trouble_detail));
  if ((what & 1) != 0) client.GrantRights();
  if ((what & 2) != 0) {
    if (const auto off = client.Off(); !off.has_value()) ShowError(off.error());
    return;
  }
  control::Steering steering;
  steering.cancel = (what & 4) != 0;
  steering.paused = (what & 16) != 0;
  const auto result = client.Move(flow::Job(), -1, steering, [](const control::Progress&) {});
  if (result.has_value())
    Show(*result, (what & 8) != 0);
  else
    ShowError(result.error());
}

long OpenDescriptors() {
  long count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
    ++count;
  return count;
}

// The records of a job, which the agent writes into a file of ours.
void ReadRecords(Input& input) {
  const uint64_t pages = input.Byte() * 64u;
  const std::string_view bytes = input.Rest();
  const int file = memfd_create("fuzz", MFD_CLOEXEC);
  Must(write(file, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()), "memfd");
  const auto check = [&] {
    uint64_t seen = 0;
    cli::Records(file, getpid(), pages).ForEach([&](const control::PageRecord& record) {
      Must(record.pages <= cli::Records::kPiecePages, "records come in pieces");
      seen += record.pages;
    });
    Must(seen <= pages, "there are no more records than pages");
  };
  check();
  cli::KeepMoved(file, pages);
  check();
  flow::Placement placement;
  (void)cli::CountMovedBack(getpid(), placement, cli::Records(file, getpid(), pages));
  close(file);
}

// The marker by which an agent is found stands in its own memory.
void ConnectByMarker(const control::ProcessInfo& process, Input& input) {
  const int file = memfd_create("drover", MFD_CLOEXEC);
  control::Marker marker;
  const std::string_view bytes = input.Bytes(sizeof marker);
  std::memcpy(&marker, bytes.data(), bytes.size());
  std::memcpy(marker.magic, control::Marker::kMagicText, sizeof marker.magic);
  marker.start_time_ticks = process.start_time_ticks;
  Must(ftruncate(file, kPageBytes) == 0 && pwrite(file, &marker, sizeof marker, 0) == sizeof marker,
       "memfd");
  void* mapped = mmap(nullptr, kPageBytes, PROT_READ, MAP_SHARED, file, 0);
  close(file);
  const auto found = control::FindMarker(process);
  Must(found.has_value() && found->has_value(), "the marker is found");
  MustBePrintable((*found)->build);
  MustBePrintable(
      report::WordsOf(static_cast<flow::Trouble>((*found)->trouble), (*found)->trouble_detail));
  const auto client = control::Client::Connect({process, **found});
  Must(!client.has_value(), "nobody speaks there");
  ShowError(client.error());
  munmap(mapped, kPageBytes);
}

}  // namespace
}  // namespace drover::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace drover;
  using namespace drover::fuzz;
  static Speaker speaker;
  static const control::ProcessInfo process = *control::ReadProcess(getpid());
  Input input(data, size);
  const uint8_t what = input.Byte();
  if (what % 16 == 15) {
    ReadRecords(input);
    return 0;
  }
  if (what % 16 == 14) {
    ConnectByMarker(process, input);
    return 0;
  }
  const long before = OpenDescriptors();
  std::vector<Message> messages;
  // Most talks begin well, or no other would be had.
  if ((what & 16) == 0) messages.push_back({Whole<control::Hello>(control::Type::kHello, input)});
  while (!input.empty() && messages.size() < kMessagesMax) messages.push_back(NextMessage(input));
  speaker.Give(std::move(messages));
  control::AgentInfo agent{process, {}};
  agent.marker.major = control::kMajor;
  std::strcpy(agent.marker.socket_path, speaker.path().c_str());
  agent.process.start_time_ticks += 1;  // "has ended": else a client that lost it waits for a while
  {
    auto client = control::Client::Connect(agent);
    if (client.has_value())
      Talk(*client, what);
    else
      ShowError(client.error());
  }
  speaker.WaitTillIdle();  // (a client that is told to come back calls several times)
  Must(OpenDescriptors() == before, "a talk leaves nothing open");
  return 0;
}
