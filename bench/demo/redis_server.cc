#include "redis_server.h"

#include <fmt/format.h>

#include <cstdlib>
#include <deque>
#include <fstream>
#include <sstream>

#include "failure.h"

namespace drover::demo {
namespace {

constexpr Seconds kStartLimit{20};
constexpr size_t kLastLines = 12;

}  // namespace

RedisServer::RedisServer(const std::string& drover, const std::string& redis_server,
                         const std::filesystem::path& folder)
    : output_path_(folder / "redis.log"),
      socket_path_(folder / "redis.sock"),
      child_({drover,
              "run",
              "--",
              redis_server,
              "--port",
              "0",
              "--unixsocket",
              socket_path_,
              "--unixsocketperm",
              "700",
              "--save",
              "",
              "--appendonly",
              "no",
              "--daemonize",
              "no",
              "--enable-debug-command",
              "local",
              "--dir",
              folder},
             output_path_) {
  WaitUntilItAnswers();
  run_id_ = Info("server")["run_id"];
}

void RedisServer::WaitUntilItAnswers() {
  std::string last_error;
  for (const auto begin = Clock::now(); SecondsSince(begin) < kStartLimit.count();) {
    if (!child_.Running()) throw Failure("redis-server did not start: " + LastWords());
    try {
      connection_ = std::make_unique<Connection>(socket_path_);
      connection_->Ask({"PING"});
      return;
    } catch (const Failure& failure) {
      if (failure.exit_code() == kExitInterrupted) throw;
      last_error = failure.what();
    }
    Sleep(Seconds(0.02));
  }
  throw Failure("redis-server does not answer: " + last_error);
}

std::map<std::string, std::string> RedisServer::Info(const std::string& section) {
  std::map<std::string, std::string> values;
  std::istringstream lines(connection_->Ask({"INFO", section}));
  for (std::string line; std::getline(lines, line);) {
    if (line.ends_with('\r')) line.pop_back();
    if (const size_t colon = line.find(':'); colon != std::string::npos)
      values[line.substr(0, colon)] = line.substr(colon + 1);
  }
  return values;
}

uint64_t RedisServer::CountErrorReplies() {
  const auto stats = Info("stats");
  const auto found = stats.find("total_error_replies");
  if (found == stats.end()) throw Failure("this Redis does not count its error replies");
  return std::strtoull(found->second.c_str(), nullptr, 10);
}

bool RedisServer::NeverRestarted() {
  auto server = Info("server");
  return child_.Running() && server["run_id"] == run_id_ &&
         server["process_id"] == std::to_string(child_.pid());
}

std::string RedisServer::LastWords() const {
  std::ifstream file(output_path_);
  std::deque<std::string> last;
  for (std::string line; std::getline(file, line);) {
    last.push_back(line);
    if (last.size() > kLastLines) last.pop_front();
  }
  std::string text;
  for (const std::string& line : last) text += line + "\n";
  return text;
}

}  // namespace drover::demo
