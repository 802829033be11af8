// The model: userfaultfd.
#include <algorithm>
#include <cstring>

#include "kernel/model/model_kernel.h"
#include "kernel/model/move.h"

namespace drover::kernel {

using model::BytesAt;
using model::Page;
using model::Vma;

namespace {

// validate_range of fs/userfaultfd.c
bool Valid(Range range) {
  return range.start % kPageBytes == 0 && range.length % kPageBytes == 0 && range.length > 0;
}

}  // namespace

Errno ModelKernel::Register(Range range, RegisterMode mode) {
  const auto lock = machine_.Enter(Call::kRegister);
  if (!Valid(range)) return Errno::kInvalid;
  bool any = false, foreign = false, unfit = false;
  machine_.space.ForEachVma(range, [&](Vma& vma) {
    any = true;
    foreign |= vma.attributes.foreign_userfault;
    unfit |= vma.attributes.special || vma.attributes.on_disk;
  });
  if (!any || unfit) return Errno::kInvalid;
  if (foreign) return Errno::kBusy;
  const auto bits = static_cast<uint64_t>(mode);
  machine_.space.ForEachVma(range, [&](Vma& vma) {
    if ((vma.attributes.registered & bits) != bits) vma.attributes.registered = bits;
  });
  return Errno::kOk;
}

Errno ModelKernel::Unregister(Range range) {
  const auto lock = machine_.Enter(Call::kUnregister);
  if (!Valid(range)) return Errno::kInvalid;
  bool any = false;
  machine_.space.ForEachVma(range, [&](Vma& vma) {
    any = true;
    if ((vma.attributes.registered & static_cast<uint64_t>(RegisterMode::kWriteProtect)) != 0)
      machine_.space.ForEachPage(vma.range, [&](uint64_t, const Page& page) {
        machine_.entries_unprotected += page.present() ? 1 : 0;
      });
    vma.attributes.registered = 0;
  });
  if (!any) return Errno::kInvalid;
  machine_.WakeRange(range);
  return Errno::kOk;
}

MoveAnswer ModelKernel::Move(uint64_t target, uint64_t source, uint64_t length) {
  const auto lock = machine_.Enter(Call::kMove);
  if (machine_.StillChanging()) return {Errno::kAgain, 0};
  if (!Valid({target, length}) || !Valid({source, length})) return {Errno::kInvalid, 0};
  const MoveAnswer answer = model::MovePages(machine_, target, source, length);
  if (answer.bytes == 0) return answer;
  if (machine_.deny_after_moves > 0 && --machine_.deny_after_moves == 0) {
    const uint64_t told = machine_.denied_told_bytes;
    if (told > 0) machine_.WakeRange({target, told});
    return told > 0 ? MoveAnswer{Errno::kAgain, told} : MoveAnswer{Errno::kExists, 0};
  }
  machine_.WakeRange({target, answer.bytes});
  return answer;
}

MoveAnswer ModelKernel::Fill(uint64_t target, uint64_t source, uint64_t length) {
  const auto lock = machine_.Enter(Call::kFill);
  for (uint64_t done = 0; done < length; done += kPageBytes)
    if (const Errno error = CopyOwnPage(target + done, source + done); error != Errno::kOk)
      return done > 0 ? MoveAnswer{Errno::kAgain, done} : MoveAnswer{error, 0};
  return {Errno::kOk, length};
}

Errno ModelKernel::CopyPage(int userfault, uint64_t target, uint64_t source) {
  const auto lock = machine_.Enter(Call::kCopyPage);
  if (userfault != kOwnUserfault) return CopyToChild(userfault, target, source);
  return CopyOwnPage(target, source);
}

Errno ModelKernel::CopyOwnPage(uint64_t target, uint64_t source) {
  if (machine_.StillChanging()) return Errno::kAgain;
  if (!Valid({target, kPageBytes})) return Errno::kInvalid;
  const Vma* vma = machine_.space.Find(target);
  if (vma == nullptr || vma->attributes.registered == 0) return Errno::kNoEntry;
  const Page* there = machine_.space.Find4K(target);
  if (there != nullptr && there->kind != Page::Kind::kGuard) return Errno::kExists;
  if (machine_.space.Find(source) == nullptr) return Errno::kFault;
  const int32_t preferred = vma->attributes.preferred_node;
  const auto folio = machine_.space.Allocate(preferred >= 0 ? preferred : machine_.local_node, 1);
  if (folio == nullptr) return Errno::kNoMemory;
  const auto kind = vma->attributes.shared ? Page::Kind::kFile : Page::Kind::kAnonymous;
  machine_.space.Put(target, {kind, false, kind == Page::Kind::kAnonymous, 0, folio});
  std::memcpy(BytesAt(target), BytesAt(source), kPageBytes);
  machine_.WakeRange({target, kPageBytes});
  return Errno::kOk;
}

Errno ModelKernel::CopyToChild(int userfault, uint64_t target, uint64_t source) {
  for (auto& [action, child] : machine_.children) {
    if (child.userfault != userfault) continue;
    const auto& ranges = child.mappings;
    if (std::none_of(ranges.begin(), ranges.end(),
                     [&](Range range) { return range.Contains(target); }))
      return Errno::kNoEntry;
    auto& page = child.content[target];
    if (!page.empty()) return Errno::kExists;
    page.assign(BytesAt(source), BytesAt(source) + kPageBytes);
    machine_.changed.notify_all();
    return Errno::kOk;
  }
  return Errno::kBadDescriptor;
}

Errno ModelKernel::ZeroPage(uint64_t target) {
  const auto lock = machine_.Enter(Call::kZeroPage);
  if (machine_.StillChanging()) return Errno::kAgain;
  if (!Valid({target, kPageBytes})) return Errno::kInvalid;
  const Vma* vma = machine_.space.Find(target);
  if (vma == nullptr || vma->attributes.registered == 0) return Errno::kNoEntry;
  if (machine_.space.Find4K(target) != nullptr) return Errno::kExists;
  if (!vma->attributes.shared) {
    machine_.space.Put(target, {Page::Kind::kZero, false, false, 0, nullptr});
  } else if (!machine_.Fill(*vma, target, false)) {
    return Errno::kNoMemory;
  }
  machine_.WakeRange({target, kPageBytes});
  return Errno::kOk;
}

Errno ModelKernel::Wake(Range range) {
  const auto lock = machine_.Enter(Call::kWake);
  if (!Valid(range)) return Errno::kInvalid;
  machine_.WakeRange(range);
  return Errno::kOk;
}

Result<Message> ModelKernel::ReadMessage() {
  const auto lock = machine_.Enter(Call::kReadMessage);
  return machine_.NextMessage();
}

void ModelKernel::WaitForMessage() {
  auto lock = machine_.Enter(Call::kWaitForMessage);
  machine_.changed.wait(lock,
                        [&] { return machine_.interrupted || machine_.UnreadMessages() > 0; });
  machine_.interrupted = false;
}

void ModelKernel::InterruptWait() {
  const std::lock_guard lock(machine_.mutex);
  machine_.interrupted = true;
  machine_.changed.notify_all();
}

Result<Message> ModelKernel::ReadChildMessage(int) {
  return std::unexpected(Errno::kAgain);
}

void ModelKernel::CloseChild(int userfault, Range) {
  const std::lock_guard lock(machine_.mutex);
  for (auto& [action, child] : machine_.children)
    if (child.userfault == userfault) child.closed = true;
  machine_.changed.notify_all();
}

}  // namespace drover::kernel
