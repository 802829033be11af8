// What the fuzzers share: an input eaten from its front, and what must hold.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
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
