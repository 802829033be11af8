#include "library/control_block_layout.h"

#include <asm/unistd.h>
#include <dlfcn.h>
#include <pthread.h>

#include "kernel/raw_syscall.h"

namespace drover::library {

flow::ControlBlockLayout AskControlBlockLayout() {
  flow::ControlBlockLayout layout;
  uint64_t head = 0, head_bytes = 0;
  kernel::RawSyscall(__NR_get_robust_list, 0, kernel::AddressOf(&head),
                     kernel::AddressOf(&head_bytes));
  const uint64_t self = static_cast<uint64_t>(pthread_self());  // the control block's address
  // glibc keeps the size for debuggers (nptl_db); a constant would be wrong with the next version.
  const auto* block_bytes =
      static_cast<const uint32_t*>(dlsym(RTLD_DEFAULT, "_thread_db_sizeof_pthread"));
  if (head == 0 || block_bytes == nullptr || head < self || head >= self + *block_bytes)
    return layout;
  layout.known = true;
  layout.head_offset = head - self;
  layout.block_bytes = *block_bytes;
  const auto* rseq_offset = static_cast<const ptrdiff_t*>(dlsym(RTLD_DEFAULT, "__rseq_offset"));
  const auto* rseq_bytes = static_cast<const unsigned*>(dlsym(RTLD_DEFAULT, "__rseq_size"));
  if (rseq_offset != nullptr && rseq_bytes != nullptr) {
    layout.rseq_offset = *rseq_offset;
    // __rseq_size is what is registered; the area that the kernel may write is at least 32 bytes.
    layout.rseq_bytes = *rseq_bytes == 0 ? 0 : *rseq_bytes < 32 ? 32 : *rseq_bytes;
  }
  return layout;
}

}  // namespace drover::library
