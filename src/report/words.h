// What the engine's causes are called, for people: why, whether another try may help, and what to
// do.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "flow/job.h"
#include "flow/self_test.h"

namespace drover::report {

struct Words {
  const char* why;
  bool temporary;
  const char* hint;
};

Words WordsOf(flow::Why why);
// Why the own path was not taken, with the way out; empty for Trouble::kNone.
std::string WordsOf(flow::Trouble trouble, uint32_t detail);
struct StandBackWords {
  const char* seen;
  const char* lift;  // what would lift it
};
StandBackWords WordsOf(flow::StandBackFrom from);
const char* WordsOf(flow::SelfTestStep step);
const char* WordsOf(flow::CopyThrough way);
std::vector<std::string> CopyThroughNames();
// The way of that name; kAuto also for what is none.
flow::CopyThrough CopyThroughOf(const std::string& words);
// The name of an x86-64 system call that the engine makes, or its number.
std::string SystemCallName(uint32_t number);

}  // namespace drover::report
