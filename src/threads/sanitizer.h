// Is this built for the thread sanitizer? g++ and clang say so in two ways.
#pragma once

#if defined(__SANITIZE_THREAD__)
#define DROVER_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define DROVER_THREAD_SANITIZER 1
#endif
#endif
#ifndef DROVER_THREAD_SANITIZER
#define DROVER_THREAD_SANITIZER 0
#endif
