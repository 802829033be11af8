// One self-contained HTML page of benchmarks.
#pragma once

#include <string>
#include <vector>

#include "report/table.h"

namespace drover::report {

struct Section {
  std::string heading;
  std::string command;  // how to repeat it
  Table table = {};
  std::string svg = {};    // of its figure; empty: there is none
  std::string error = {};  // why there is no table; empty: there is one
};

// `machine`: names and what they are here.
std::string PageOf(const std::string& title,
                   const std::vector<std::pair<std::string, std::string>>& machine,
                   const std::vector<Section>& sections);

}  // namespace drover::report
