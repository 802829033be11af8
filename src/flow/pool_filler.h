// Targets that are made as they are copied to (UFFDIO_COPY into the pool): nobody zeroes them, and
// nobody touches them by their addresses. For that the batch's pool is registered while the batch
// is open; the policy of its mapping says on which node the pages come to be.
//
// Where a first touch is dear the source is not touched either: the kernel reads it into a buffer
// (migrators/copy_by_kernel.h). Freestanding.
#pragma once

#include "kernel/kernel.h"
#include "migrators/migrator.h"

namespace drover::flow {

class PoolFiller final : public migrators::Filler {
 public:
  PoolFiller(kernel::Kernel& kernel, bool reads_by_kernel)
      : kernel_(kernel), reads_by_kernel_(reads_by_kernel) {}

  [[nodiscard]] bool Fill(uint64_t target, uint64_t source, uint64_t length_bytes) override;

 private:
  bool FillStep(uint64_t target, uint64_t source, uint64_t length_bytes);

  kernel::Kernel& kernel_;
  const bool reads_by_kernel_;
};

}  // namespace drover::flow
