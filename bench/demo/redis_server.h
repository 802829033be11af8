// A Redis of the demo's own, with drover's agent in it: own folder, own socket, no TCP port,
// nothing saved.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "child.h"
#include "resp.h"

namespace drover::demo {

class RedisServer {
 public:
  // Returns when it answers.
  RedisServer(const std::string& drover, const std::string& redis_server,
              const std::filesystem::path& folder);

  pid_t pid() const { return child_.pid(); }
  const std::string& socket_path() const { return socket_path_; }
  Connection& connection() { return *connection_; }

  // The lines of INFO's section.
  std::map<std::string, std::string> Info(const std::string& section);
  // Of all databases.
  std::string Digest() { return connection_->Ask({"DEBUG", "DIGEST"}); }
  uint64_t CountErrorReplies();
  // Still the process that was started at the beginning?
  bool NeverRestarted();
  bool Running() { return child_.Running(); }
  // The end of what it wrote, for a report of its death.
  std::string LastWords() const;

 private:
  void WaitUntilItAnswers();

  std::string output_path_, socket_path_;
  Child child_;
  std::unique_ptr<Connection> connection_;
  std::string run_id_;
};

}  // namespace drover::demo
