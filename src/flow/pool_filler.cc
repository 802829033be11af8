#include "flow/pool_filler.h"

#include <optional>

#include "migrators/copy_by_kernel.h"
#include "migrators/copy_function.h"

namespace drover::flow {

using kernel::Errno;

bool PoolFiller::Fill(uint64_t target, uint64_t source, uint64_t length_bytes) {
  constexpr uint64_t kMost = migrators::kCopyByKernelStepBytes;
  std::optional<migrators::CopyBuffer> buffer;
  if (reads_by_kernel_) buffer.emplace();
  for (uint64_t at = 0; at < length_bytes; at += kMost) {
    const uint64_t step = length_bytes - at < kMost ? length_bytes - at : kMost;
    const bool is_read = buffer.has_value() && buffer->Read(source + at, step);
    if (!FillStep(target + at, is_read ? buffer->start() : source + at, step)) return false;
  }
  return true;
}

bool PoolFiller::FillStep(uint64_t target, uint64_t source, uint64_t length_bytes) {
  for (uint64_t done = 0; done < length_bytes;) {
    const auto answer = kernel_.Fill(target + done, source + done, length_bytes - done);
    done += answer.bytes;
    if (answer.error == Errno::kOk) return true;
    if (answer.bytes > 0) continue;  // why it has stopped the next call says
    // It is there already: an application's mlockall has filled it, or this is the second time.
    if (answer.error != Errno::kExists) return false;
    migrators::CopyByRepMovsb(target + done, source + done, kPageBytes);
    done += kPageBytes;
  }
  return true;
}

}  // namespace drover::flow
