#include "carry.h"

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <sstream>

#include "measure.h"

namespace drover::bench {
namespace {

struct Kind {
  const char* what;
  const char* unit;
};
constexpr Kind kKinds[] = {{"shared_ptr copy", "ns"},
                           {"malloc + free of 64 bytes", "ns"},
                           {"getc", "ns"},
                           {"fork + exec of /bin/true", "us"},
                           {"start to end of this program", "us"}};
constexpr size_t kInside = 4;  // the last one is measured from outside

double NowNs() {
  return std::chrono::duration<double, std::nano>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

template <class Step>
double NsEach(int count, Step step) {
  const double begin = NowNs();
  for (int i = 0; i < count; ++i) step();
  return (NowNs() - begin) / count;
}

int SpawnTrue() {
  const pid_t child = fork();
  if (child == 0) {
    execl("/bin/true", "true", nullptr);
    std::_Exit(127);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return status;
}

struct Sample {
  double value[kInside + 1] = {};
};

std::expected<Sample, Error> RunInner(const std::vector<std::string>& words) {
  int out[2];
  if (pipe(out) != 0) return std::unexpected(Error{Error::Kind::kFailed, "no pipe to be had"});
  const double begin = NowNs();
  const pid_t child = fork();
  if (child == 0) {
    dup2(out[1], 1);
    close(out[0]);
    close(out[1]);
    std::vector<char*> arguments;
    for (const auto& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    execv(arguments[0], arguments.data());
    std::_Exit(127);
  }
  close(out[1]);
  std::string text;
  char buffer[512];
  for (ssize_t got; (got = read(out[0], buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<size_t>(got));
  close(out[0]);
  int status = -1;
  waitpid(child, &status, 0);
  Sample sample;
  std::istringstream numbers(text);
  double inside_us = 0;
  for (size_t i = 0; i < kInside; ++i) numbers >> sample.value[i];
  numbers >> inside_us;
  if (!numbers || status != 0)
    return std::unexpected(Error{Error::Kind::kFailed, "the measured program failed"});
  sample.value[kInside] = (NowNs() - begin) / 1000 - inside_us;
  return sample;
}

}  // namespace

std::string MeasureInside() {
  const double begin = NowNs();
  const auto shared = std::make_shared<int>(1);
  const double copy = NsEach(3'000'000, [&] {
    // The copy is what is measured. NOLINTNEXTLINE(performance-unnecessary-copy-initialization)
    const std::shared_ptr<int> other = shared;
    asm volatile("" : : "r"(other.get()) : "memory");
  });
  const double allocate = NsEach(3'000'000, [] {
    void* block = std::malloc(64);
    asm volatile("" : : "r"(block) : "memory");
    std::free(block);
  });
  std::FILE* zeros = std::fopen("/dev/zero", "r");
  const double character = zeros == nullptr ? -1 : NsEach(3'000'000, [&] {
    const int c = std::getc(zeros);
    asm volatile("" : : "r"(c));
  });
  if (zeros != nullptr) std::fclose(zeros);
  int failures = 0;
  const double spawn = NsEach(200, [&] { failures += SpawnTrue() != 0; });
  if (failures > 0) return "";
  return fmt::format("{} {} {} {} {}\n", copy, allocate, character, spawn / 1000,
                     (NowNs() - begin) / 1000);
}

std::expected<std::vector<CarryRow>, Error> RunCarry(const std::string& program,
                                                     const std::vector<std::string>& inner,
                                                     int rounds) {
  std::vector<std::string> plain = {program}, carrying = {program, "run", "--", program};
  plain.insert(plain.end(), inner.begin(), inner.end());
  carrying.insert(carrying.end(), inner.begin(), inner.end());
  std::vector<double> without[kInside + 1], with[kInside + 1], ratio[kInside + 1],
      added[kInside + 1];
  for (int round = 0; round < rounds; ++round) {
    const auto a = RunInner(plain), b = RunInner(carrying);
    if (!a.has_value()) return std::unexpected(a.error());
    if (!b.has_value()) return std::unexpected(b.error());
    for (size_t i = 0; i <= kInside; ++i) {
      without[i].push_back(a->value[i]);
      with[i].push_back(b->value[i]);
      ratio[i].push_back(b->value[i] / a->value[i]);
      added[i].push_back(b->value[i] - a->value[i]);
    }
  }
  std::vector<CarryRow> rows;
  for (size_t i = 0; i <= kInside; ++i)
    rows.push_back({kKinds[i].what, kKinds[i].unit, Median(without[i]), Median(with[i]),
                    Median(ratio[i]), *std::min_element(ratio[i].begin(), ratio[i].end()),
                    *std::max_element(ratio[i].begin(), ratio[i].end()), Median(added[i])});
  return rows;
}

}  // namespace drover::bench
