// Who comes while another caller is here may look at the copy engines and set them, between two
// batches of the other one's job. For all else there is one caller at a time.
#include <asm/unistd.h>

#include "agent/control_thread.h"
#include "agent/messages.h"
#include "agent/registrar.h"
#include "agent/socket.h"

namespace drover::agent {
namespace {

using control::Type;
using kernel::Arg;
using kernel::Errno;
using kernel::RawSyscall;

// A visitor that says nothing for so long gives way to the next one.
constexpr uint64_t kVisitorSilenceNs = 100'000'000;

}  // namespace

void Control::WelcomeVisitor(int64_t visitor) {
  if (visitor < 0) return;
  const uint64_t now_ns = kernel_.NowNs();
  if (visitor_ >= 0 && now_ns - visited_ns_ < kVisitorSilenceNs) {
    auto refused = Make<control::Refused>(Type::kRefused);
    refused.busy = running_ ? 1 : 2;
    refused.holder_pid = caller_pid_;
    SendMessage(static_cast<int>(visitor), &refused, sizeof refused, -1);
    RawSyscall(__NR_close, Arg(static_cast<int>(visitor)));
    return;
  }
  DropVisitor();
  visitor_ = static_cast<int>(visitor);
  visited_ns_ = now_ns;
  using Busy = control::Hello::Busy;
  SayHello(visitor_, running_ ? Busy::kJob : Busy::kMoment);
}

void Control::DropVisitor() {
  if (visitor_ >= 0) RawSyscall(__NR_close, Arg(visitor_));
  visitor_ = -1;
}

// One request, and it goes.
void Control::HearVisitor() {
  int descriptors[2];
  char message[sizeof(control::MigratorsRequest)];
  const int64_t got = ReceiveMessage(visitor_, message, sizeof message, descriptors, false);
  CloseAll(descriptors);
  if (got == -static_cast<int64_t>(Errno::kAgain)) return;
  control::Header header;
  if (got == static_cast<int64_t>(sizeof message)) {
    __builtin_memcpy(&header, message, sizeof header);
    if (header.magic == control::kMagic && header.major == control::kMajor &&
        header.type == Type::kMigrators)
      AnswerMigrators(visitor_, message);
  }
  DropVisitor();
}

void Control::AnswerMigrators(int to, const char* message) {
  control::MigratorsRequest request;
  __builtin_memcpy(&request, message, sizeof request);
  auto list = Make<control::MigratorList>(Type::kMigratorList);
  if (MakeEngine())
    Answer(*engine_, request, &list);
  else
    list.problem = control::MigratorList::Problem::kNoMemory;
  SendMessage(to, &list, sizeof list, -1);
}

}  // namespace drover::agent
