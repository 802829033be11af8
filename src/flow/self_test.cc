#include "flow/self_test.h"

namespace drover::flow {
namespace {

using kernel::Advice;
using kernel::Errno;
using Step = SelfTestStep;

constexpr uint64_t kPages = 16;
constexpr uint64_t kBytes = kPages * kPageBytes;

uint64_t* Word(uint64_t page) {
  return reinterpret_cast<uint64_t*>(page);
}

class Test {
 public:
  // `room`: four slots of a huge page's size.
  Test(kernel::Kernel& kernel, Range room)
      : kernel_(kernel),
        live_(room.start),
        area_(live_ + kHugeBytes),
        pool_(area_ + kHugeBytes),
        huge_area_(pool_ + kHugeBytes) {}

  Step Run() {
    const Step step = SmallPages();
    if (!Unwatch() && step == Step::kNone) return Step::kUnregister;
    if (step != Step::kNone) return step;
    // DONTNEED of the whole slots, so that no page table is left to split a huge page.
    if (kernel_.Advise({live_, 4 * kHugeBytes}, Advice::kDontNeed) != Errno::kOk)
      return Step::kMemory;
    const Step huge = HugePage();
    if (!Unwatch() && huge == Step::kNone) return Step::kUnregister;
    return huge;
  }

 private:
  Step SmallPages() {
    if (kernel_.Advise({live_, 3 * kHugeBytes}, Advice::kNoHugePage) != Errno::kOk ||
        !Fill(live_, kPages, kOld) || !Fill(pool_, kPages, kNew))
      return Step::kMemory;
    if (!Watch(live_, area_)) return Step::kRegister;
    // Out, and in with other pages.
    if (!MoveAll(area_, live_, kBytes) || !Holds(area_, kPages, kOld)) return Step::kOut;
    if (!MoveAll(live_, pool_, kBytes) || !Holds(live_, kPages, kNew)) return Step::kIn;
    // Onto occupied pages: refused, and nothing is lost on either side.
    if (kernel_.Move(live_, area_, kBytes).error != Errno::kExists || !Holds(live_, kPages, kNew) ||
        !Holds(area_, kPages, kOld))
      return Step::kOccupied;
    if (kernel_.Move(area_ + kBytes, live_ + kBytes, kPageBytes).error != Errno::kNoEntry)
      return Step::kEmpty;
    // Out into what is free of the area, and back.
    if (!MoveAll(area_ + kBytes, live_, kBytes) || !MoveAll(live_, area_ + kBytes, kBytes) ||
        !Holds(live_, kPages, kNew))
      return Step::kUndo;
    return Step::kNone;
  }

  Step HugePage() {
    if (kernel_.Advise({live_, kHugeBytes}, Advice::kHugePage) != Errno::kOk) return Step::kNone;
    if (!Fill(live_, kPagesPerHuge, kOld)) return Step::kMemory;
    if (!IsHuge(live_)) return Step::kNone;
    if (!Watch(live_, huge_area_)) return Step::kRegister;
    if (!MoveAll(huge_area_, live_, kHugeBytes) || !IsHuge(huge_area_) ||
        !MoveAll(live_, huge_area_, kHugeBytes) || !IsHuge(live_) ||
        !Holds(live_, kPagesPerHuge, kOld))
      return Step::kHugeWhole;
    return Step::kNone;
  }

  bool Fill(uint64_t start, uint64_t pages, uint64_t content) {
    if (kernel_.Advise({start, pages * kPageBytes}, Advice::kPopulateWrite) != Errno::kOk)
      return false;
    for (uint64_t i = 0; i < pages; ++i) *Word(start + i * kPageBytes) = content + i;
    return true;
  }

  // As a batch does: the live range for missing pages, the area for write protection.
  bool Watch(uint64_t live, uint64_t area) {
    return kernel_.Register({live, kHugeBytes}, kernel::RegisterMode::kMissing) == Errno::kOk &&
           kernel_.Register({area, kHugeBytes}, kernel::RegisterMode::kWriteProtect) == Errno::kOk;
  }
  bool Unwatch() {
    bool all = true;
    for (uint64_t slot = live_; slot < live_ + 4 * kHugeBytes; slot += kHugeBytes)
      all = kernel_.Unregister({slot, kHugeBytes}) == Errno::kOk && all;
    return all;
  }

  // Full success, and the page tables agree: all of it there, nothing left here.
  bool MoveAll(uint64_t target, uint64_t source, uint64_t length) {
    if (kernel_.Move(target, source, length).error != Errno::kOk) return false;
    return CountPages(source, length) == 0 && CountPages(target, length) == length / kPageBytes;
  }

  uint64_t CountPages(uint64_t start, uint64_t length) {
    uint64_t count = 0;
    for (uint64_t at = start; at < start + length; at += kBytes) {
      kernel::PageEntry entries[kPages];
      if (kernel_.ReadEntries(at, entries) != Errno::kOk) return ~uint64_t{0};
      for (const auto& entry : entries) count += entry.holds_page();
    }
    return count;
  }

  // Looks only at pages that are there: a touch of a hole would wait for us.
  bool Holds(uint64_t start, uint64_t pages, uint64_t content) {
    if (CountPages(start, pages * kPageBytes) != pages) return false;
    for (uint64_t i = 0; i < pages; ++i)
      if (*Word(start + i * kPageBytes) != content + i) return false;
    return true;
  }

  bool IsHuge(uint64_t slot) {
    kernel::PageRegion region;
    uint64_t walk_end = 0;
    const auto found = kernel_.Scan({slot, kHugeBytes}, kernel::kPagePresent, 0, kernel::kPageHuge,
                                    {&region, 1}, &walk_end);
    return found.has_value() && *found == 1 && region.start == slot &&
           region.end == slot + kHugeBytes && (region.categories & kernel::kPageHuge) != 0;
  }

  static constexpr uint64_t kOld = 0x6f6c6400000000, kNew = 0x6e657700000000;
  kernel::Kernel& kernel_;
  const uint64_t live_, area_, pool_, huge_area_;
};

}  // namespace

SelfTestStep SelfTest(kernel::Kernel& kernel) {
  constexpr uint64_t kRoomBytes = 5 * kHugeBytes;
  const auto mapped = kernel.Map(kRoomBytes);
  if (!mapped.has_value()) return Step::kMemory;
  const Range room{*mapped, kRoomBytes};
  // A child has nothing to do with it, and no fork is told.
  Step step = Step::kMemory;
  if (kernel.Advise(room, Advice::kDontFork) == Errno::kOk) {
    (void)kernel.Unlock(room);  // an application's mlockall locks, and fills, what is mapped
    (void)kernel.Advise(room, Advice::kDontNeed);
    const uint64_t start = RoundUp(room.start, kHugeBytes);
    step = Test(kernel, {start, 4 * kHugeBytes}).Run();
  }
  kernel.Unmap(room);
  return step;
}

}  // namespace drover::flow
