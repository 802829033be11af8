#include "load.h"

#include <fmt/format.h>

#include <string>

#include "values.h"

namespace drover::demo {
namespace {

constexpr size_t kPipelineBytes = 1u << 20;

}  // namespace

void LoadDatabase(Connection& redis, uint64_t keys, uint64_t seed) {
  RandomBytes random(seed);
  std::string value(kValueBytes, '\0');
  for (uint64_t key = 0; key < keys; ++key) {
    random.Fill(&value);
    // As redis-benchmark puts in place of __rand_int__: 12 digits, from 0 on.
    redis.Append({"SET", fmt::format("key:{:012}", key), value});
    if (redis.appended_bytes() >= kPipelineBytes) redis.Flush();
  }
  redis.Flush();
}

}  // namespace drover::demo
