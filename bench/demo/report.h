// What the demo found out, its verdict, and both ways to print it.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "benchmark.h"
#include "rounds.h"

namespace drover::demo {

struct Outcome {
  // The setting.
  std::string redis_version;
  uint64_t keys = 0;
  uint64_t seed = 0;
  // What was seen.
  std::vector<Round> rounds;
  Throughput before, during, after;
  double hit_share = 0;  // of the GETs
  uint64_t churn_cycles = 0;
  std::string digest_before, digest_after;
  uint64_t client_errors = 0;
  std::string first_error;
  bool never_restarted = false;

  bool digest_equal() const { return digest_before == digest_after; }
  uint64_t SumOf(const std::string& kind) const;
  double RelocatedVerified() const;  // the smallest of the rounds
  // Why the demo failed, in one line; empty: it passed.
  std::string ReasonOfFailure() const;
};

nlohmann::json ToJson(const Outcome& outcome);
std::string ToTable(const Outcome& outcome);
std::string VerdictLine(const Outcome& outcome);

}  // namespace drover::demo
