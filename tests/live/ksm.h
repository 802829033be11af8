// KSM, the kernel's merging of equal pages, switched on for a while.
#pragma once

#include <fstream>
#include <string>

namespace drover::live {

// While it lives KSM runs, and looks at many pages at once; then all is as it was. Needs root.
class KsmRuns {
 public:
  KsmRuns() {
    for (Setting& setting : settings_) {
      std::ifstream(PathOf(setting)) >> setting.before;
      std::ofstream(PathOf(setting)) << setting.meanwhile;
    }
  }
  ~KsmRuns() {  // also where a check fails
    for (const Setting& setting : settings_) std::ofstream(PathOf(setting)) << setting.before;
  }
  KsmRuns(const KsmRuns&) = delete;
  KsmRuns& operator=(const KsmRuns&) = delete;

 private:
  struct Setting {
    const char* name;
    const char* meanwhile;
    std::string before = {};
  };
  static std::string PathOf(const Setting& setting) {
    return std::string("/sys/kernel/mm/ksm/") + setting.name;
  }

  Setting settings_[2] = {{"pages_to_scan", "10000"}, {"run", "1"}};
};

}  // namespace drover::live
