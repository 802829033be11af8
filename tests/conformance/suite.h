// The fixture of every conformance test, with the words that the tests are written in.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "conformance/world.h"

namespace drover::conformance {

using kernel::Advice;
using kernel::Errno;
using kernel::Message;
using kernel::MoveAnswer;
using kernel::PageEntry;
using kernel::PageRegion;
using kernel::RegisterMode;

struct NamedWorld {
  const char* name;
  std::unique_ptr<World> (*make)();
};

inline void PrintTo(const NamedWorld& world, std::ostream* out) {
  *out << world.name;
}

class Conformance : public testing::TestWithParam<NamedWorld> {
 protected:
  Conformance() : world_(GetParam().make()), kernel_(world_->kernel()) {}
  ~Conformance() override { world_->End(); }  // before activities, which wait for their threads

  // ---- memory
  // Fresh, with `pages` written pages; each begins with the word First(address).
  uint64_t MapFilled(uint64_t pages, Rights rights = {});
  // Fresh, empty and registered.
  uint64_t MapTarget(uint64_t pages, Rights rights = {});
  // One slot of 2 MiB that holds a huge page, filled as by MapFilled. 0: none came.
  uint64_t MapHuge();
  uint64_t MapHugeTarget();
  void Fill(uint64_t address, uint64_t pages);
  void FillHuge(uint64_t address);  // advises, and touches

  // ---- asking
  PageEntry Entry(uint64_t address);
  bool Present(uint64_t address) { return Entry(address).present(); }
  uint64_t CountPresent(uint64_t address, uint64_t pages);
  bool IsHuge(uint64_t address);
  bool IsZero(uint64_t address);

  // ---- acting
  // MOVE of pages; while a change is being finished, again.
  MoveAnswer MovePages(uint64_t target, uint64_t source, uint64_t pages);
  void ExpectMoves(uint64_t target, uint64_t source, uint64_t pages);
  void ExpectRefused(Errno error, uint64_t target, uint64_t source, uint64_t pages);
  // Every page is there, with the word that Fill gave it at `filled_at`.
  void ExpectFilled(uint64_t address, uint64_t pages, uint64_t filled_at);
  // Waits until something can be read, then reads it.
  Message Next();
  // A child that maps whatever is mapped now. Nothing may be registered.
  std::unique_ptr<Child> Fork();
  // Keeps the activity until the world has ended.
  Activity& Keep(std::unique_ptr<Activity> activity);

  static uint64_t First(uint64_t address) { return address * 0x9e3779b97f4a7c15 | 1; }

  std::unique_ptr<World> world_;
  kernel::Kernel& kernel_;
  std::vector<std::unique_ptr<Activity>> kept_;
};

inline std::string Missing(Ability ability) {
  switch (ability) {
    case Ability::kGuards:
      return "guard pages (MADV_GUARD_INSTALL)";
    case Ability::kGuardBit:
      return "guard pages in pagemap";
    case Ability::kHugePages:
      return "transparent huge pages";
    case Ability::kZeroPages:
      return "zero pages";
    case Ability::kPageTableReclaim:
      return "page tables freed by MADV_DONTNEED";
    case Ability::kPins:
      return "pins by io_uring";
    case Ability::kRefusesParts:
      return "MOVE of a part of a pinned huge page that ends (it tries for ever)";
    case Ability::kDiskFiles:
      return "files on a disk";
    case Ability::kTwoNodes:
      return "two memory nodes";
  }
  return "";
}

#define DROVER_NEEDS(ability)                                                               \
  if (!world_->Has(ability)) {                                                              \
    GTEST_SKIP() << "untested on this kernel: " << ::drover::conformance::Missing(ability); \
  }

// Runs the tests of a suite in both worlds.
#define DROVER_IN_BOTH_WORLDS(suite)                                                           \
  INSTANTIATE_TEST_SUITE_P(                                                                    \
      , suite,                                                                                 \
      testing::Values(NamedWorld{"Real", MakeRealWorld}, NamedWorld{"Model", MakeModelWorld}), \
      [](const testing::TestParamInfo<NamedWorld>& world) {                                    \
        return std::string(world.param.name);                                                  \
      })

}  // namespace drover::conformance
