// Programs that a run of chaos starts. All end with their starter, whatever becomes of that.
#pragma once

#include <string>
#include <vector>

#include "chaos/tally.h"

namespace drover::chaos {

// The path of a program that was built beside this one.
std::string Built(const std::string& name);

// A folder of this run, gone with it.
class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string File(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A running storm, with the agent in it.
class Storm {
 public:
  // Its tally and its core file lie in `folder`, under `name`. `group`: the file by which it comes
  // into a control group; empty: it stays where it is.
  Storm(const Folder& folder, const std::string& name, const std::vector<std::string>& options,
        const std::string& group = {});
  ~Storm();
  Storm(const Storm&) = delete;
  Storm& operator=(const Storm&) = delete;

  int pid() const { return pid_; }
  Tally& tally() { return *tally_; }
  bool IsReady() const { return tally_->ready != 0; }
  bool HasEnded();
  // Its exit code, or 128 + signal; 124: it did not end in a minute.
  int Await();
  void Signal(int signal) const;
  // Of the folder that it runs in.
  const std::string& work() const { return work_; }

 private:
  Tally* tally_;
  std::string work_;
  int pid_ = -1, code_ = -1;
  bool ended_ = false;
};

// Processes that want every CPU.
class BusyCpus {
 public:
  explicit BusyCpus(bool wanted);
  ~BusyCpus();
  BusyCpus(const BusyCpus&) = delete;
  BusyCpus& operator=(const BusyCpus&) = delete;

 private:
  std::vector<int> children_;
};

}  // namespace drover::chaos
