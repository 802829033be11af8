#include <sys/utsname.h>

#include <thread>

#include "load.h"
#include "report.h"
#include "topology/nodes.h"

namespace drover::demo {
namespace {

nlohmann::json ContextOf(const Outcome& outcome) {
  utsname name{};
  uname(&name);
  return {{"command", "demo"},
          {"kernel", name.release},
          {"machine", name.machine},
          {"cpus", std::thread::hardware_concurrency()},
          {"nodes_with_memory", topology::ReadNodes("/").MemoryList()},
          {"redis", outcome.redis_version},
          {"keys", outcome.keys},
          {"value_bytes", kValueBytes},
          {"seed", outcome.seed}};
}

nlohmann::json PhaseToJson(const Throughput& phase) {
  return {{"ops_per_s", phase.ops_per_s()},
          {"p99_ms", phase.p99_ms},
          {"requests", phase.requests},
          {"seconds", phase.seconds}};
}

// drover's report, with the demo's own look in place of drover's.
nlohmann::json RoundToJson(const Round& round) {
  nlohmann::json json = round.report;
  json.erase("schema_version");
  json.erase("context");
  json["to"] = round.to;
  json["relocated_verified"] = round.relocated_verified;
  return json;
}

}  // namespace

nlohmann::json ToJson(const Outcome& outcome) {
  nlohmann::json json = {{"schema_version", 1},
                         {"context", ContextOf(outcome)},
                         {"passed", outcome.ReasonOfFailure().empty()},
                         {"verdict", VerdictLine(outcome)},
                         {"digest_equal", outcome.digest_equal()},
                         {"client_errors", outcome.client_errors},
                         {"never_restarted", outcome.never_restarted},
                         {"hit_share", outcome.hit_share},
                         {"churn_cycles", outcome.churn_cycles},
                         {"moves", outcome.rounds.size()},
                         {"relocated_verified", outcome.RelocatedVerified()},
                         {"redis",
                          {{"before", PhaseToJson(outcome.before)},
                           {"during", PhaseToJson(outcome.during)},
                           {"after", PhaseToJson(outcome.after)}}},
                         {"rounds", nlohmann::json::array()}};
  for (const char* kind : {"requested", "moved", "already_there", "gone", "not_moved"})
    json[std::string("pages_") + kind] = outcome.SumOf(kind);
  for (const Round& round : outcome.rounds) json["rounds"].push_back(RoundToJson(round));
  return json;
}

}  // namespace drover::demo
