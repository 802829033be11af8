// Waiting that ends when the user interrupts the demo, or when it takes too long.
#pragma once

#include <chrono>
#include <initializer_list>

namespace drover::demo {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

inline double SecondsSince(Clock::time_point begin) {
  return Seconds(Clock::now() - begin).count();
}

// From now on SIGINT, SIGTERM and SIGHUP make every wait below throw.
void InstallInterruptHandlers();
bool Interrupted();
void ThrowIfInterrupted();

struct Awaited {
  int file;
  short events;           // as poll(2)
  short* seen = nullptr;  // what happened; null: not asked
};

// Until one of the files is ready; false: the deadline passed. Throws when interrupted.
bool WaitFor(std::initializer_list<Awaited> awaited, Clock::time_point deadline);
void Sleep(Seconds duration);

}  // namespace drover::demo
