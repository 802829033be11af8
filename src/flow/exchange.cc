#include "flow/exchange.h"

namespace drover::flow {

// How long a piece of this side may be: as what the other one has left, and what is free there. It
// may not all be wanted.
uint64_t Exchanger::RoomFor(int side) {
  const Job& job = *engine_.job;
  if (job.plan_only) return kBatchBytesMax;
  const Node to{job.exchange.to[side]};
  const Reused& reused = engine_.reused;
  const uint64_t left = reused.pages.empty() || reused.node != to ? 0 : reused.present;
  const uint64_t known = (left + reused.given_back[side]) * kPageBytes;
  if (known >= job.batch_bytes) return job.batch_bytes;
  const uint64_t room = RoundDown(known + engine_.headroom.Room(engine_.kernel, to), kPageBytes);
  // (The kernel's calls have a price of their own, and find out by themselves what is free.)
  const bool own_path = job.own_path && engine_.result->own_path_trouble == Trouble::kNone;
  const uint64_t least = own_path ? kPageBytes : kKernelPartLeast * kPageBytes;
  return room < least ? least : room;
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
