// Eating one piece after another from the front of a text of /proc or /sys. Freestanding.
#pragma once

#include <cstdint>
#include <string_view>

namespace drover::flow {

inline void EatSpaces(std::string_view* text) {
  while (!text->empty() && (text->front() == ' ' || text->front() == '\t')) text->remove_prefix(1);
}

// A decimal number, spaces before it allowed; false: there is none.
inline bool EatNumber(std::string_view* text, uint64_t* value) {
  EatSpaces(text);
  size_t used = 0;
  *value = 0;
  while (used < text->size() && (*text)[used] >= '0' && (*text)[used] <= '9')
    *value = *value * 10 + static_cast<uint64_t>((*text)[used++] - '0');
  text->remove_prefix(used);
  return used > 0;
}

// `word` at the front, spaces before it allowed, followed by a space or the end; eaten only then.
inline bool EatWord(std::string_view* text, std::string_view word) {
  std::string_view rest = *text;
  EatSpaces(&rest);
  if (!rest.starts_with(word)) return false;
  rest.remove_prefix(word.size());
  if (!rest.empty() && rest.front() != ' ' && rest.front() != '\t') return false;
  *text = rest;
  return true;
}

// Everything before the next `end`, which is eaten too; false: there is none.
inline bool EatUntil(std::string_view* text, char end, std::string_view* before) {
  for (size_t i = 0; i < text->size(); ++i)
    if ((*text)[i] == end) {
      *before = text->substr(0, i);
      text->remove_prefix(i + 1);
      return true;
    }
  return false;
}

// The next line, without its end; false: no text is left.
inline bool EatLine(std::string_view* text, std::string_view* line) {
  if (text->empty()) return false;
  if (!EatUntil(text, '\n', line)) *line = *text, *text = {};
  return true;
}

// Is `item` one of the items between commas?
inline bool HasItem(std::string_view list, std::string_view item) {
  std::string_view one;
  while (EatUntil(&list, ',', &one))
    if (one == item) return true;
  return list == item;
}

inline size_t LastSlash(std::string_view text) {
  size_t i = text.size();
  while (i > 0 && text[i - 1] != '/') --i;
  return i > 0 ? i - 1 : 0;
}

// A path put together from pieces; what does not fit is cut, and then no file has that name.
class Path {
 public:
  Path& Add(std::string_view more) {
    for (const char c : more)
      if (used_ + 1 < sizeof text_) text_[used_++] = c;
    text_[used_] = '\0';
    return *this;
  }
  Path& AddNumber(uint64_t value, uint64_t base) {
    char digits[24];
    size_t used = sizeof digits;
    do digits[--used] = "0123456789abcdef"[value % base];
    while ((value /= base) != 0);
    return Add({digits + used, sizeof digits - used});
  }
  const char* c_str() const { return text_; }

 private:
  char text_[512] = {};
  size_t used_ = 0;
};

}  // namespace drover::flow
