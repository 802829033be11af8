// What a program may use that the own path stands back from; the real thing of each.
#pragma once

#include <string>

namespace drover::live {

// False: this machine does not have it. What is made lives as long as the process.
bool StartUsing(const std::string& what);

}  // namespace drover::live
