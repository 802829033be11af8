#include "conformance/suite.h"

namespace drover::conformance {

void Conformance::Fill(uint64_t address, uint64_t pages) {
  for (uint64_t at = address; at < address + pages * kPageBytes; at += kPageBytes)
    world_->WriteWord(at, First(at));
}

void Conformance::FillHuge(uint64_t address) {
  EXPECT_EQ(kernel_.Advise({address, kHugeBytes}, Advice::kHugePage), Errno::kOk);
  Fill(address, kPagesPerHuge);
}

uint64_t Conformance::MapFilled(uint64_t pages, Rights rights) {
  const uint64_t address = world_->Map(pages * kPageBytes, {true, true, rights.execute});
  EXPECT_EQ(kernel_.Advise({address, pages * kPageBytes}, Advice::kNoHugePage), Errno::kOk);
  Fill(address, pages);
  if (!rights.write || !rights.read) world_->Protect({address, pages * kPageBytes}, rights);
  return address;
}

uint64_t Conformance::MapTarget(uint64_t pages, Rights rights) {
  const uint64_t address = world_->Map(pages * kPageBytes, rights);
  EXPECT_EQ(kernel_.Register({address, pages * kPageBytes}, RegisterMode::kMissing), Errno::kOk);
  return address;
}

uint64_t Conformance::MapHuge() {
  const uint64_t address = world_->Map(kHugeBytes);
  FillHuge(address);
  EXPECT_TRUE(IsHuge(address)) << "no free 2 MiB page on this machine?";
  return address;
}

uint64_t Conformance::MapHugeTarget() {
  const uint64_t address = MapTarget(kPagesPerHuge);
  EXPECT_EQ(kernel_.Advise({address, kHugeBytes}, Advice::kHugePage), Errno::kOk);
  return address;
}

PageEntry Conformance::Entry(uint64_t address) {
  PageEntry entry;
  EXPECT_EQ(kernel_.ReadEntries(RoundDown(address, kPageBytes), {&entry, 1}), Errno::kOk);
  return entry;
}

uint64_t Conformance::CountPresent(uint64_t address, uint64_t pages) {
  std::vector<PageEntry> entries(pages);
  EXPECT_EQ(kernel_.ReadEntries(address, entries), Errno::kOk);
  uint64_t count = 0;
  for (const PageEntry entry : entries) count += entry.present();
  return count;
}

bool Conformance::IsHuge(uint64_t address) {
  PageRegion region;
  uint64_t walk_end;
  const auto found =
      kernel_.Scan({RoundDown(address, kPageBytes), kPageBytes},
                   kernel::kPageHuge | kernel::kPagePresent, 0, 0, {&region, 1}, &walk_end);
  return found.has_value() && *found == 1;
}

bool Conformance::IsZero(uint64_t address) {
  PageRegion region;
  uint64_t walk_end;
  const auto found = kernel_.Scan({RoundDown(address, kPageBytes), kPageBytes}, kernel::kPageZero,
                                  0, 0, {&region, 1}, &walk_end);
  return found.has_value() && *found == 1;
}

MoveAnswer Conformance::MovePages(uint64_t target, uint64_t source, uint64_t pages) {
  for (;;) {
    const MoveAnswer answer = kernel_.Move(target, source, pages * kPageBytes);
    if (answer.error != Errno::kAgain || answer.bytes > 0) return answer;
  }
}

void Conformance::ExpectMoves(uint64_t target, uint64_t source, uint64_t pages) {
  const MoveAnswer answer = MovePages(target, source, pages);
  EXPECT_EQ(answer.error, Errno::kOk);
  EXPECT_EQ(answer.bytes, pages * kPageBytes);
  EXPECT_EQ(CountPresent(target, pages), pages);
  EXPECT_EQ(CountPresent(source, pages), 0u);
}

void Conformance::ExpectRefused(Errno error, uint64_t target, uint64_t source, uint64_t pages) {
  const MoveAnswer answer = kernel_.Move(target, source, pages * kPageBytes);
  EXPECT_EQ(answer.error, error);
  EXPECT_EQ(answer.bytes, 0u);
}

void Conformance::ExpectFilled(uint64_t address, uint64_t pages, uint64_t filled_at) {
  uint64_t wrong = 0;
  for (uint64_t i = 0; i < pages; ++i) {
    const uint64_t at = address + i * kPageBytes;
    // A touch of a hole would wait for this very thread.
    const bool right = Present(at) && world_->ReadWord(at) == First(filled_at + i * kPageBytes);
    wrong += !right;
  }
  EXPECT_EQ(wrong, 0u);
}

Message Conformance::Next() {
  for (;;) {
    kernel_.WaitForMessage();
    const auto message = kernel_.ReadMessage();
    if (message.has_value()) return *message;
  }
}

std::unique_ptr<Child> Conformance::Fork() {
  world_->StartFork()->Wait();
  return world_->TakeChild();
}

Activity& Conformance::Keep(std::unique_ptr<Activity> activity) {
  kept_.push_back(std::move(activity));
  return *kept_.back();
}

}  // namespace drover::conformance
