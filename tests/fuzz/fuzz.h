// What the fuzzers share: an input eaten from its front, and what must hold.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace drover::fuzz {

// Ends the program with a message: the input is kept as one that breaks a promise.
inline void Must(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken promise: %s\n", what);
  std::abort();
}

// What goes to a terminal, or into JSON, of a text that another process has a word in.
inline void MustBePrintable(std::string_view text, bool lines = false) {
  for (const char c : text)
    Must((c >= ' ' && c <= '~') || (lines && c == '\n'), "a text for people is printable");
}

// A folder in memory, or where TMPDIR says.
class Folder {
 public:
  Folder() {
    const char* where = std::getenv("TMPDIR");
    path_ = std::string(where != nullptr ? where : "/dev/shm") + "/drover-fuzz-XXXXXX";
    Must(mkdtemp(path_.data()) != nullptr, "a temporary folder");
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// One message with descriptors, without waiting. False: nobody hears it.
inline bool Send(int socket, std::string_view bytes, std::span<const int> descriptors) {
  iovec vector{const_cast<char*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) char room[CMSG_SPACE(8 * sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  if (!descriptors.empty()) {
    Must(CMSG_SPACE(descriptors.size_bytes()) <= sizeof room, "room for the descriptors");
    header.msg_control = room;
    header.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* control = CMSG_FIRSTHDR(&header);
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(control), descriptors.data(), descriptors.size_bytes());
  }
  return sendmsg(socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

class Input {
 public:
  Input(const uint8_t* data, size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}

  bool empty() const { return rest_.empty(); }
  uint8_t Byte() {
    if (rest_.empty()) return 0;
    const auto byte = static_cast<uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return byte;
  }
  std::string_view Bytes(size_t count) {
    const std::string_view bytes = rest_.substr(0, count);
    rest_.remove_prefix(bytes.size());
    return bytes;
  }
  std::string_view Rest() { return Bytes(rest_.size()); }
  // Everything before the next `end`, which is eaten too.
  std::string Until(char end) {
    const size_t at = rest_.find(end);
    const std::string text(rest_.substr(0, at));
    rest_.remove_prefix(at == std::string_view::npos ? rest_.size() : at + 1);
    return text;
  }

 private:
  std::string_view rest_;
};

}  // namespace drover::fuzz
