#include "flow/exchange.h"

namespace drover::flow {

// How long a piece of this side may be: as what the other one has left, and what is free there.
uint64_t Exchanger::RoomFor(int side) {
  const Node to{engine_.job->exchange.to[side]};
  const Reused& reused = engine_.reused;
  const uint64_t left = reused.node == to && !reused.huge ? reused.pages.length : 0;
  if (left >= engine_.job->batch_bytes) return left;
  const uint64_t room = left + engine_.headroom.Room(engine_.kernel, to);
  return room < kPageBytes ? kPageBytes : RoundDown(room, kPageBytes);
}

bool Exchanger::Next(Piece* piece) {
  // The first batch takes what is free: of the node that has more of it.
  if (turn_ == kNobodys) turn_ = RoomFor(0) >= RoomFor(1) ? 0 : 1;
  for (const int side : {turn_, 1 - turn_}) {
    if (!sides_[side].Next(piece, RoomFor(side))) {
      if (error() != kernel::Errno::kOk) return false;
      continue;
    }
    turn_ = 1 - side;
    return true;
  }
  return false;
}

}  // namespace drover::flow
