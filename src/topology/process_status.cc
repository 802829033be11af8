#include "topology/process_status.h"

#include <fstream>
#include <sstream>

namespace drover::topology {

std::string StatusWord(const std::string& process, const std::string& key) {
  std::ifstream status(process + "/status");
  for (std::string line; std::getline(status, line);) {
    std::istringstream words(line);
    std::string name, word;
    if (words >> name >> word && name == key) return word;
  }
  return {};
}

}  // namespace drover::topology
