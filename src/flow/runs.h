// Tables with an entry for each page, most of which are the same: looked at, and filled, eight
// bytes at a time. (A page's share of a batch's bookkeeping is to be a nanosecond or two, and the
// compiler does not do this for loops that end early.) Freestanding.
#pragma once

#include <cstdint>

namespace drover::flow {

namespace detail {

template <class T>
inline constexpr uint64_t kInWord = sizeof(uint64_t) / sizeof(T);

template <class T>
uint64_t WordOf(T value) {
  uint64_t word = 0;
  for (uint64_t i = 0; i < kInWord<T>; ++i)
    __builtin_memcpy(reinterpret_cast<char*>(&word) + i * sizeof(T), &value, sizeof(T));
  return word;
}

}  // namespace detail

// The first of the entries [first, end) that is not `value`; `end`: all are.
template <class T>
uint64_t RunEnd(const T* table, uint64_t first, uint64_t end, T value) {
  const uint64_t same = detail::WordOf(value);
  for (; first + detail::kInWord<T> <= end; first += detail::kInWord<T>) {
    uint64_t word;
    __builtin_memcpy(&word, table + first, sizeof word);
    if (word != same) break;
  }
  while (first < end && table[first] == value) ++first;
  return first;
}

// The first of the entries [first, end) that is `value`; `end`: none is.
template <class T>
uint64_t FindNext(const T* table, uint64_t first, uint64_t end, T value) {
  // Long runs of something else are passed as runs.
  while (first < end && table[first] != value) first = RunEnd(table, first, end, table[first]);
  return first;
}

template <class T>
void SetRun(T* table, uint64_t first, uint64_t end, T value) {
  const uint64_t same = detail::WordOf(value);
  for (; first + detail::kInWord<T> <= end; first += detail::kInWord<T>)
    __builtin_memcpy(table + first, &same, sizeof same);
  for (; first < end; ++first) table[first] = value;
}

}  // namespace drover::flow
