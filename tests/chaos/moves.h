// The one who moves the storm's memory without pause, in ever other ways.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

#include "chaos/random.h"
#include "control/client.h"
#include "library/helper_cpus.h"

namespace drover::chaos {

struct MovesTally {
  uint64_t jobs = 0, cancelled = 0, paused = 0, cut_off = 0, disturbed = 0, pages_moved = 0,
           windows = 0;
  uint64_t moves_denied = 0, ladder_steps = 0, children_filled = 0, rounds = 0, unshared = 0;
  uint64_t filled_ahead = 0, precopied = 0, changed = 0, gathered = 0;  // pages
  uint64_t not_by_own_path = 0;                                         // jobs that stood back
  // Of copy engines: parts of batches that failed, that came late, and wrong copies that --verify
  // has mended.
  uint64_t copies_failed = 0, copies_late = 0, copies_mended = 0;
  uint64_t by_plugin = 0;  // pages that one has copied
  uint64_t ledgers_wrong = 0;
  std::string failed;  // the first job that failed though the storm lives
};

class Moves {
 public:
  // Moves process `pid`, a storm of so many threads, until Stop, or until it has ended.
  Moves(int pid, uint64_t seed, uint64_t threads, std::string drover);
  ~Moves() { Stop(); }
  Moves(const Moves&) = delete;
  Moves& operator=(const Moves&) = delete;
  const MovesTally& Stop();

 private:
  void Run();
  // By the agent's protocol, to the job's end. False: the process has ended.
  bool RunJob();
  void DrawPlugin(const control::Marker& marker, control::Client& client, flow::Job* job);
  // By the command line, which is interrupted or killed in the middle.
  void RunAndEnd();
  // What else another process may do to it.
  void Disturb();
  void LetDebug();

  int pid_;
  Random random_;
  uint64_t threads_;
  std::string drover_;
  uint32_t node_count_;
  library::HelperCpus helper_cpus_;
  int failures_ = 0;  // one after another
  MovesTally tally_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace drover::chaos
