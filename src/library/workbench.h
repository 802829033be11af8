// Copy engines by themselves, without a migration: for tests and benchmarks of them.
#pragma once

#include <expected>
#include <memory>
#include <optional>
#include <string>

#include "drover/engine.h"
#include "kernel/linux_kernel.h"
#include "library/plugin_file.h"
#include "migrators/copy_function.h"
#include "migrators/engine_set.h"
#include "threads/posix_threads.h"

namespace drover::library {

// One engine, with its threads, on memory of this process. From one thread.
class Workbench {
 public:
  // As for a move from the one node to the other; negative: pages stay on their nodes.
  struct Terms {
    int source_node = -1, target_node = -1;
    std::optional<migrators::CopyWays> copy_ways = {};  // none: what the profile says
  };
  // `words` as --migrator takes them, for one engine (or auto), or a plugin's (plugin_names.h). Its
  // threads are put on CPUs that are idle now.
  [[nodiscard]] static std::expected<std::unique_ptr<Workbench>, Error> Make(
      const std::string& words, const Terms& terms);
  [[nodiscard]] static std::expected<std::unique_ptr<Workbench>, Error> Make(
      const std::string& words) {
    return Make(words, Terms{});
  }
  ~Workbench();
  Workbench(const Workbench&) = delete;
  Workbench& operator=(const Workbench&) = delete;

  migrators::Migrator& engine() {
    if (by_size_.has_value()) return *by_size_;
    return plugin_.plugin != nullptr ? *plugin_.plugin : *(*engines_)[0];
  }
  const migrators::CopyFunctions& copy() const { return copy_; }
  bool hardware() const {
    return plugin_.plugin != nullptr && plugin_.plugin->Report().hardware != 0;
  }
  const migrators::Spec& spec() const { return spec_; }
  unsigned threads() const { return threads_running_; }  // the caller's among them
  uint64_t out_of_order() const { return engines_->out_of_order(); }

 private:
  Workbench() = default;

  static std::expected<std::unique_ptr<Workbench>, Error> MakePlugin(const std::string& words);

  // `auto`: small batches are not the engine's.
  class BySize final : public migrators::Migrator {
   public:
    BySize(migrators::Migrator& large, const migrators::CopyFunctions& copy,
           uint64_t smallest_bytes)
        : large_(large), small_(copy), smallest_bytes_(smallest_bytes) {}
    migrators::Answer Submit(std::span<migrators::Folio> folios) override {
      if (used_ != nullptr) return migrators::Answer::kBusy;
      migrators::Migrator* const chosen =
          migrators::BytesOf(folios) >= smallest_bytes_ ? &large_ : &small_;
      const migrators::Answer answer = chosen->Submit(folios);
      if (answer == migrators::Answer::kTaken) used_ = chosen;
      return answer;
    }
    bool Poll(uint64_t deadline_ns) override {
      if (used_ != nullptr && !used_->Poll(deadline_ns)) return false;
      used_ = nullptr;
      return true;
    }
    bool HoldsAddresses() override { return large_.HoldsAddresses(); }

   private:
    migrators::Migrator& large_;
    migrators::Serial small_;
    migrators::Migrator* used_ = nullptr;
    uint64_t smallest_bytes_;
  };

  migrators::Spec spec_;
  migrators::CopyFunctions copy_ = migrators::FastestCopyFunction();
  std::optional<BySize> by_size_;
  OpenPlugin plugin_;
  kernel::LinuxKernel kernel_;
  Range stacks_;
  std::optional<threads::PosixThreads> threads_;
  std::unique_ptr<migrators::EngineSet> engines_;
  int16_t cpus_[migrators::kThreadsMax] = {};  // of the helpers
  unsigned threads_running_ = 1;
};

}  // namespace drover::library
