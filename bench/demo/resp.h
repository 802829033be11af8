// A connection that speaks Redis' protocol (RESP2) over a Unix socket, with pipelining.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "waiting.h"

namespace drover::demo {

class Connection {
 public:
  explicit Connection(const std::string& socket_path);  // throws when nobody listens
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Puts a command into the pipeline.
  void Append(std::initializer_list<std::string_view> words);
  size_t appended_bytes() const { return out_.size(); }
  // Sends the pipeline and reads an answer to each command in it.
  void Flush();
  // One command, one answer: the text of a simple or bulk string, a number as text. An error is
  // thrown, here and in Flush.
  std::string Ask(std::initializer_list<std::string_view> words);

 private:
  void SendAll();
  void ReadMore();
  std::string ReadLine();
  std::string ReadReply();
  [[noreturn]] void ThrowLost(const char* what) const;

  int socket_ = -1;
  std::string out_, in_;
  size_t in_begin_ = 0;   // what lies before it in in_ has been read
  uint64_t pending_ = 0;  // answers to come
};

}  // namespace drover::demo
