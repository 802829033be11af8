// How a running move stands, as other shells see it.
#pragma once

#include <cstdint>
#include <string>

namespace drover::jobs {

struct Status {
  int job = 0;  // the process that carries it out
  unsigned user = 0;
  // "running", "pausing", "paused" (it stands at a batch boundary), "stopping", "ended"; "silent":
  // it does not answer, and nothing else is known of it
  std::string state;
  bool detached = false;
  int processes = 0, processes_done = 0;  // known so far
  int pid = 0;                            // in hand; 0: none
  std::string name;
  uint64_t pages_done = 0, pages_estimated = 0;  // of that one
  uint64_t pages_moved = 0;                      // of those before it
  double seconds = 0;
  int exit_code = -1;  // of one that has ended
};

// What an ended job that nobody watched has said.
struct Report {
  std::string out, err;
  int exit_code = 0;
};

}  // namespace drover::jobs
