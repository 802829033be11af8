// Somewhere to swap to, for a while.
#pragma once

#include <fcntl.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <string>

namespace drover::live {

// While it lives there is a swap area of 64 MiB in compressed memory (zram), made for it and taken
// away by a child, also where this process is killed. Needs root, and a kernel with zram.
class SwapRuns {
 public:
  SwapRuns() {
    int alive[2], ready[2];
    if (pipe2(alive, O_CLOEXEC) != 0 || pipe2(ready, O_CLOEXEC) != 0) return;
    keeper_ = fork();
    if (keeper_ == 0) {
      close(alive[1]);
      Keep(alive[0], ready[1]);
      _exit(0);
    }
    close(alive[0]);
    close(ready[1]);
    alive_ = alive[1];
    char byte;
    (void)!read(ready[0], &byte, 1);  // or its end
    close(ready[0]);
  }
  ~SwapRuns() {
    close(alive_);
    if (keeper_ > 0) waitpid(keeper_, nullptr, 0);
  }
  SwapRuns(const SwapRuns&) = delete;
  SwapRuns& operator=(const SwapRuns&) = delete;

 private:
  static constexpr uint32_t kBytes = 64 << 20, kPage = 4096;

  static void Keep(int alive, int ready) {
    setsid();  // a Ctrl-C is not for it
    int number = -1;
    std::ifstream("/sys/class/zram-control/hot_add") >> number;
    if (number < 0) return;
    const std::string name = "zram" + std::to_string(number), device = "/dev/" + name;
    std::ofstream("/sys/block/" + name + "/disksize") << kBytes;
    bool on = Format(device);
    on = on && swapon(device.c_str(), 0) == 0;
    if (on) (void)!write(ready, "y", 1);
    close(ready);
    char byte;
    (void)!read(alive, &byte, 1);  // until the other end is closed, by whatever
    if (on) swapoff(device.c_str());
    std::ofstream("/sys/block/" + name + "/reset") << 1;
    std::ofstream("/sys/class/zram-control/hot_remove") << number;
  }

  // The header of a swap area, as in Linux's include/linux/swap.h.
  static bool Format(const std::string& device) {
    char page[kPage] = {};
    const uint32_t header[] = {1, kBytes / kPage - 1, 0};  // version, last page, bad pages
    std::memcpy(page + 1024, header, sizeof header);
    std::memcpy(page + kPage - 10, "SWAPSPACE2", 10);
    const int file = open(device.c_str(), O_WRONLY | O_CLOEXEC);
    const bool written = pwrite(file, page, kPage, 0) == static_cast<ssize_t>(kPage);
    close(file);
    return written;
  }

  int keeper_ = -1, alive_ = -1;
};

}  // namespace drover::live
