// Work for a copy engine's helper when it has nothing to copy. Freestanding.
#pragma once

#include "migrators/bell.h"

namespace drover::migrators {

// What a helper of a copy engine does between two batches.
class Errands {
 public:
  enum class Found : uint8_t { kOne, kNothing, kNothingNow };

  // A small part of it, for a copy that begins meanwhile waits. kNothingNow: it is not to be waited
  // for on a CPU. On one helper.
  virtual Found DoOne() = 0;

  // Whom to wake where there is something again; nullptr: nobody.
  void UseBell(Bell* bell) { bell_ = bell; }

 protected:
  ~Errands() = default;
  void Ring() {
    if (bell_ != nullptr) bell_->Ring();
  }

 private:
  Bell* bell_ = nullptr;
};

}  // namespace drover::migrators
