#include "app.h"

#include <fmt/format.h>
#include <signal.h>

#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "app_moves.h"
#include "app_redis.h"
#include "demo/child.h"
#include "demo/failure.h"
#include "demo/temporary_folder.h"

namespace drover::bench {
namespace {

// All rounds of one row.
struct AppAccount {
  AppRow row;
  std::vector<double> per_s, share, p50_us, p99_us, p999_us, gb_moved;
};

AppSeen MeasureLoop(const AppOptions& options, const AppSide& side, AppMoved* moved) {
  const demo::TemporaryFolder folder;
  const auto ready = folder.path() / "ready";
  demo::Child loop({options.drover, "run", "--", options.drover, "bench", "app-loop", "--total",
                    std::to_string(options.total_bytes), "--seconds",
                    fmt::format("{}", options.seconds), "--ready", ready});
  while (!std::filesystem::exists(ready) && loop.Running()) demo::Sleep(demo::Seconds(0.005));
  AppMoves moves(side, options.drover, loop.pid(), options.seconds);
  const auto ended = loop.ReadToEnd(LimitOf(options));
  moves.Stop();
  *moved = {moves.gb_moved(), moves.how(), moves.error()};
  const auto seen = nlohmann::json::parse(ended.output, nullptr, false);
  if (ended.exit_code != 0 || seen.is_discarded())
    throw demo::Failure(fmt::format("the loop ended with {}: {}", ended.exit_code, ended.errors));
  if (seen.at("wrong_words") != 0)
    throw demo::Failure(
        fmt::format("the loop has read {} wrong words", seen["wrong_words"].dump()));
  return {seen.at("per_s"), seen.at("p50_us"), seen.at("p99_us"), seen.at("p999_us")};
}

bool IsRedis(const std::string& program) {
  return program.starts_with("redis");
}

std::vector<AppSide> SidesOf(const AppOptions& options) {
  std::vector<AppSide> sides;
  for (const std::string& side : options.sides) {
    if (side != "drover") sides.push_back({side, "", options.passes});
    for (const std::string& max_stall : options.max_stalls)
      if (side == "drover") sides.push_back({side, max_stall, options.passes});
  }
  return sides;
}

AppRow Finish(const AppAccount& account) {
  AppRow row = account.row;
  row.rounds = static_cast<int>(account.per_s.size());
  row.per_s = SpreadOf(account.per_s);
  if (!account.share.empty()) row.share = SpreadOf(account.share), row.has_share = true;
  row.p50_us = SpreadOf(account.p50_us);
  row.p99_us = SpreadOf(account.p99_us);
  row.p999_us = SpreadOf(account.p999_us);
  row.gb_moved = SpreadOf(account.gb_moved);
  return row;
}

// One program, all sides.
class AppRounds {
 public:
  AppRounds(const AppOptions& options, std::string program)
      : options_(options), program_(std::move(program)) {
    for (const AppSide& side : SidesOf(options)) {
      sides_.push_back(side);
      AppAccount account;
      account.row.program = program_, account.row.side = side.name;
      account.row.max_stall = side.max_stall, account.row.total_bytes = options.total_bytes;
      accounts_.push_back(account);
    }
  }

  void Round() {
    std::vector<double> per_s(sides_.size());
    double alone = 0;
    for (size_t i = 0; i < sides_.size(); ++i) {
      AppMoved moved;
      const AppSeen seen = IsRedis(program_)
                               ? MeasureRedis(options_, program_ == "redis-set", sides_[i], &moved)
                               : MeasureLoop(options_, sides_[i], &moved);
      if (!moved.error.empty()) throw demo::Failure(moved.error);
      AppAccount& account = accounts_[i];
      if (sides_[i].name != "none" && moved.gb == 0) {
        idle_[i] = sides_[i].name + ": nothing was moved, so there is no figure";
        continue;
      }
      if (sides_[i].name == "none") alone = seen.per_s;
      account.row.how = moved.how;
      account.per_s.push_back(seen.per_s);
      per_s[i] = seen.per_s;
      account.p50_us.push_back(seen.p50_us);
      account.p99_us.push_back(seen.p99_us);
      account.p999_us.push_back(seen.p999_us);
      account.gb_moved.push_back(moved.gb);
    }
    for (size_t i = 0; i < sides_.size(); ++i)
      if (alone > 0 && per_s[i] > 0) accounts_[i].share.push_back(per_s[i] / alone);
  }

  void AddTo(AppReport* report) const {
    for (size_t i = 0; i < accounts_.size(); ++i)
      if (!accounts_[i].per_s.empty())
        report->rows.push_back(Finish(accounts_[i]));
      else
        report->skipped.push_back({program_ + ", " + sides_[i].name, idle_.at(i)});
  }

 private:
  const AppOptions& options_;
  const std::string program_;
  std::vector<AppSide> sides_;
  std::vector<AppAccount> accounts_;
  std::map<size_t, std::string> idle_;
};

// Its own handlers for SIGINT and the like, as long as it measures.
class Interruptible {
 public:
  Interruptible() {
    for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], nullptr, &before_[i]);
    demo::InstallInterruptHandlers();
  }
  ~Interruptible() {
    for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &before_[i], nullptr);
  }
  Interruptible(const Interruptible&) = delete;
  Interruptible& operator=(const Interruptible&) = delete;

 private:
  static constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
  struct sigaction before_[std::size(kSignals)];
};

Error ErrorOf(const demo::Failure& failure) {
  // What was begun has been taken down; the rest is what the signal does by itself.
  if (failure.exit_code() == demo::kExitInterrupted) raise(SIGINT);
  const auto kind = failure.exit_code() == demo::kExitUnavailable    ? Error::Kind::kUnavailable
                    : failure.exit_code() == demo::kExitNotPermitted ? Error::Kind::kNotPermitted
                                                                     : Error::Kind::kFailed;
  return {kind, failure.what()};
}

}  // namespace

std::expected<AppReport, Error> RunApp(const AppOptions& options,
                                       const std::function<void(const std::string&)>& progress) {
  AppReport report;
  std::vector<std::unique_ptr<AppRounds>> programs;
  for (const std::string& program : options.programs) {
    if (const std::string lacks = IsRedis(program) ? LacksForRedis() : ""; !lacks.empty())
      report.skipped.push_back({program, lacks});
    else
      programs.push_back(std::make_unique<AppRounds>(options, program));
  }
  try {
    const Interruptible interruptible;
    for (int round = 0; round < options.rounds; ++round) {
      progress(fmt::format("round {} of {}", round + 1, options.rounds));
      for (const auto& program : programs) program->Round();
    }
  } catch (const demo::Failure& failure) {
    return std::unexpected(ErrorOf(failure));
  }
  for (const auto& program : programs) program->AddTo(&report);
  return report;
}

}  // namespace drover::bench
