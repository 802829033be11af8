// Copies of whole pages by Google Highway, once for each width of vectors. Compiled several times
// over, by foreach_target.h; nothing of Highway's library is used, its headers alone.
#include "migrators/copy_loops.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "migrators/copy_loops.cc"
#include <hwy/foreach_target.h>
// (behind it)
#include <hwy/cache_control.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace drover::migrators {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Two cache lines a step and more: with one, the fill buffers are not kept busy.
template <bool kStream>
HWY_INLINE void Copy(uint64_t target, uint64_t source, uint64_t length_bytes) {
  const hn::ScalableTag<uint64_t> tag;
  const auto* const from = reinterpret_cast<const uint64_t*>(source);
  auto* const to = reinterpret_cast<uint64_t*>(target);
  const uint64_t lanes = hn::Lanes(tag);
  const auto put = [&](auto vector, uint64_t at) HWY_ATTR {
    if constexpr (kStream)
      hn::Stream(vector, tag, to + at);
    else
      hn::Store(vector, tag, to + at);
  };
  for (uint64_t i = 0; i < length_bytes / sizeof(uint64_t); i += 4 * lanes) {
    const auto a = hn::Load(tag, from + i), b = hn::Load(tag, from + i + lanes);
    const auto c = hn::Load(tag, from + i + 2 * lanes), d = hn::Load(tag, from + i + 3 * lanes);
    put(a, i);
    put(b, i + lanes);
    put(c, i + 2 * lanes);
    put(d, i + 3 * lanes);
  }
  if constexpr (kStream) hwy::FlushStream();
}

void CopyStream(uint64_t target, uint64_t source, uint64_t length_bytes) {
  Copy<true>(target, source, length_bytes);
}

void CopyPlain(uint64_t target, uint64_t source, uint64_t length_bytes) {
  Copy<false>(target, source, length_bytes);
}

}  // namespace HWY_NAMESPACE
}  // namespace drover::migrators
HWY_AFTER_NAMESPACE();
