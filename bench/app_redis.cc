#include "app_redis.h"

#include <fmt/format.h>

#include <regex>

#include "demo/child.h"
#include "demo/failure.h"
#include "demo/load.h"
#include "demo/redis_server.h"
#include "demo/temporary_folder.h"

namespace drover::bench {
namespace {

constexpr uint64_t kWarmUpRequests = 20'000;
constexpr uint64_t kDataSeed = 1;

// What redis-benchmark prints: "99.000% <= 0.431 milliseconds (cumulative count 9901)", a line for
// each step of its histogram, and "throughput summary: 39630.12 requests per second".
AppSeen ParseClients(const std::string& text) {
  static const std::regex kStep(R"(([0-9.]+)% <= ([0-9.]+) milliseconds \(cumul)");
  static const std::regex kRate(R"(throughput summary: ([0-9.]+))");
  std::smatch rate;
  if (!std::regex_search(text, rate, kRate))
    throw demo::Failure("redis-benchmark printed no throughput: " + text);
  AppSeen seen{.per_s = std::stod(rate[1])};
  double last_us = 0;
  for (std::sregex_iterator step(text.begin(), text.end(), kStep), end; step != end; ++step) {
    const double share = std::stod((*step)[1]);
    last_us = std::stod((*step)[2]) * 1e3;
    if (share >= 50 && seen.p50_us == 0) seen.p50_us = last_us;
    if (share >= 99 && seen.p99_us == 0) seen.p99_us = last_us;
    if (share >= 99.9 && seen.p999_us == 0) seen.p999_us = last_us;
  }
  if (seen.p999_us == 0) seen.p999_us = last_us;
  return seen;
}

AppSeen RunClients(const AppOptions& options, const std::string& socket, bool sets, uint64_t keys,
                   uint64_t requests) {
  std::vector<std::string> words = {demo::FindInPath("redis-benchmark"),
                                    "-s",
                                    socket,
                                    "-n",
                                    std::to_string(requests),
                                    "-r",
                                    std::to_string(keys),
                                    "-c",
                                    "20",
                                    "--precision",
                                    "3",
                                    sets ? "SET" : "GET",
                                    "key:__rand_int__"};
  if (sets) words.push_back(std::string(demo::kValueBytes, 'x'));
  demo::Child clients(words);
  const auto ended = clients.ReadToEnd(LimitOf(options));
  if (ended.exit_code != 0 || !ended.errors.empty())
    throw demo::Failure(
        fmt::format("redis-benchmark ended with {}: {}", ended.exit_code, ended.errors));
  return ParseClients(ended.output);
}

}  // namespace

std::string LacksForRedis() {
  for (const char* const name : {"redis-server", "redis-benchmark"})
    if (demo::FindInPath(name).empty())
      return fmt::format("{} is not in PATH; `apt-get install redis-server redis-tools`", name);
  return "";
}

AppSeen MeasureRedis(const AppOptions& options, bool sets, const AppSide& side, AppMoved* moved) {
  const demo::TemporaryFolder folder;
  demo::RedisServer redis(options.drover, demo::FindInPath("redis-server"), folder.path());
  const uint64_t keys = demo::KeysFor(options.total_bytes);
  demo::LoadDatabase(redis.connection(), keys, kDataSeed);
  const std::string digest = redis.Digest();
  const AppSeen before = RunClients(options, redis.socket_path(), sets, keys, kWarmUpRequests);
  const auto requests = static_cast<uint64_t>(before.per_s * options.seconds) + 1;
  AppMoves moves(side, options.drover, redis.pid(), options.seconds);
  const AppSeen seen = RunClients(options, redis.socket_path(), sets, keys, requests);
  moves.Stop();
  *moved = {moves.gb_moved(), moves.how(), moves.error()};
  if (!sets && redis.Digest() != digest)
    throw demo::Failure("the digest of Redis's data has changed");
  return seen;
}

}  // namespace drover::bench
