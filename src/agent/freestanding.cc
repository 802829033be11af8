// What the compiler may call although nobody wrote it: the agent's core has no libc. Hidden, so
// that the program's own are never replaced. Plain loops; -fno-tree-loop-distribute-patterns keeps
// the compiler from turning them into calls of themselves.
#include <cstddef>

#define HIDDEN extern "C" __attribute__((visibility("hidden")))

HIDDEN void* memcpy(void* to, const void* from, size_t bytes) {
  auto* t = static_cast<char*>(to);
  const auto* f = static_cast<const char*>(from);
  for (size_t i = 0; i < bytes; ++i) t[i] = f[i];
  return to;
}

HIDDEN void* memmove(void* to, const void* from, size_t bytes) {
  auto* t = static_cast<char*>(to);
  const auto* f = static_cast<const char*>(from);
  if (t < f)
    for (size_t i = 0; i < bytes; ++i) t[i] = f[i];
  else
    for (size_t i = bytes; i > 0; --i) t[i - 1] = f[i - 1];
  return to;
}

HIDDEN void* memset(void* to, int value, size_t bytes) {
  auto* t = static_cast<char*>(to);
  for (size_t i = 0; i < bytes; ++i) t[i] = static_cast<char>(value);
  return to;
}

HIDDEN int memcmp(const void* a, const void* b, size_t bytes) {
  const auto* x = static_cast<const unsigned char*>(a);
  const auto* y = static_cast<const unsigned char*>(b);
  for (size_t i = 0; i < bytes; ++i)
    if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
  return 0;
}

HIDDEN const void* memchr(const void* where, int value, size_t bytes) {
  const auto* w = static_cast<const unsigned char*>(where);
  for (size_t i = 0; i < bytes; ++i)
    if (w[i] == static_cast<unsigned char>(value)) return w + i;
  return nullptr;
}

HIDDEN size_t strlen(const char* text) {
  size_t length = 0;
  while (text[length] != '\0') ++length;
  return length;
}

// A call of a pure virtual function cannot happen: interfaces are used through whole objects only.
HIDDEN void __cxa_pure_virtual() {
  for (;;) {
  }
}
