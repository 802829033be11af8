// What another process says of itself may be anything, and goes to a terminal and into JSON.
#pragma once

#include <string>

namespace drover::control {

inline void MakePrintable(std::string& text) {
  for (char& c : text) {
    if (c == '\0' || c == '\n') c = ' ';
    if (c < ' ' || c > '~') c = '?';
  }
}

}  // namespace drover::control
