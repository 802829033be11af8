// Job::exchange: the pages of two sides change places where both nodes are full. Batches of the two
// sides take turns, and the originals that one has left are the targets of the next (reuse.h): so
// but for the first batch nothing is taken from a node that was not given back to it before. What
// one side has more than the other goes on alone, and takes free memory as any move.
//
// Mover thread. Freestanding.
#pragma once

#include "flow/collect.h"

namespace drover::flow {

class Exchanger {
 public:
  explicit Exchanger(Engine& engine)
      : engine_(engine), sides_{Collector(engine, 0), Collector(engine, 1)} {}

  // Once, before the first Next.
  uint64_t Estimate() { return sides_[0].Estimate() + sides_[1].Estimate(); }
  // The next piece, of the other side than the one before; false: no more.
  [[nodiscard]] bool Next(Piece* piece);
  kernel::Errno error() const {
    return sides_[0].error() != kernel::Errno::kOk ? sides_[0].error() : sides_[1].error();
  }

 private:
  uint64_t RoomFor(int side);

  Engine& engine_;
  Collector sides_[2];
  int turn_ = kNobodys;
  static constexpr int kNobodys = -1;
};

}  // namespace drover::flow
