// Memory of files, shared memory, and memory that belongs to the kernel or to devices.
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "memory/kinds.h"

namespace drover::memory {
namespace {

constexpr size_t kBytes = 64 * kPage;

// A file of kBytes in `folder`, which nobody finds by name.
int File(const char* folder) {
  const int file = open(folder, O_TMPFILE | O_RDWR, 0600);
  for (size_t at = 0; at < kBytes; at += kPage) {
    char page[kPage];
    std::memset(page, kFill, kPage);
    if (pwrite(file, page, kPage, static_cast<off_t>(at)) != static_cast<ssize_t>(kPage)) return -1;
  }
  return file;
}

Made OfFile(int file, int protection, int flags, bool write) {
  if (file < 0) return Cannot("no file to be had");
  Made made{Map(kBytes, protection, flags, file), kBytes, Content::kFilled};
  if (made.start == nullptr) return Cannot("the file cannot be mapped");
  for (size_t at = 0; at < kBytes; at += kPage) (void)*static_cast<volatile char*>(made.start + at);
  if (!write) return made;
  Stamp(made.start, kBytes);
  made.content = Content::kStamped;
  return made;
}

Made FileClean() {
  return OfFile(File("/tmp"), PROT_READ | PROT_WRITE, MAP_PRIVATE, false);
}
Made FileWritten() {
  return OfFile(File("/tmp"), PROT_READ | PROT_WRITE, MAP_PRIVATE, true);
}
Made FileShared() {
  return OfFile(File("/tmp"), PROT_READ | PROT_WRITE, MAP_SHARED, true);
}
Made TmpfsShared() {
  return OfFile(File("/dev/shm"), PROT_READ | PROT_WRITE, MAP_SHARED, true);
}
Made MemfdShared() {
  const int file = memfd_create("kind", MFD_CLOEXEC);
  if (ftruncate(file, kBytes) != 0) return Cannot("no memfd to be had");
  return OfFile(file, PROT_READ | PROT_WRITE, MAP_SHARED, true);
}

Made SharedAnonymous() {
  Made made{Map(kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS), kBytes};
  Stamp(made.start, kBytes);
  return made;
}
// Two mappings of one file, in one process.
Made MappedTwice() {
  const int file = File("/dev/shm");
  Made made = OfFile(file, PROT_READ | PROT_WRITE, MAP_SHARED, true);
  const Made again = OfFile(file, PROT_READ | PROT_WRITE, MAP_SHARED, false);
  return again.cannot.empty() ? made : again;
}
// Both have touched each page.
Made TwoProcesses() {
  Made made = SharedAnonymous();
  int touched[2];
  if (pipe(touched) != 0) return Cannot("no pipe to be had");
  if (fork() == 0) {
    for (size_t at = 0; at < kBytes; at += kPage)
      (void)*static_cast<volatile char*>(made.start + at);
    (void)!write(touched[1], "", 1);
    close(touched[1]);
    close(touched[0]);
    const int parent = getppid();
    while (getppid() == parent) usleep(50'000);
    _exit(0);
  }
  char byte;
  (void)!read(touched[0], &byte, 1);
  return made;
}

Made Hugetlb() {
  char* start =
      Map(2 * kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB);
  if (start == nullptr) return Cannot("no hugetlb pages are set aside (vm.nr_hugepages)");
  Stamp(start, 2 * kHugePage);
  return {start, 2 * kHugePage};
}

Made Secret() {
  constexpr long kMemfdSecret = 447;
  const int file = static_cast<int>(syscall(kMemfdSecret, 0));
  if (file < 0 || ftruncate(file, kBytes) != 0)
    return Cannot("memfd_secret is switched off (secretmem.enable)");
  Made made{Map(kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file), kBytes};
  if (made.start == nullptr) return Cannot("memfd_secret cannot be mapped");
  Stamp(made.start, kBytes);
  return made;
}

// One that does nothing goes in, and comes out as done.
struct Ring {
  int file = -1;
  io_uring_params params = {};
  char* start = nullptr;
  io_uring_sqe* entries = nullptr;
} ring;
bool TakesAnEntry() {
  const auto word = [](uint32_t offset) {
    return reinterpret_cast<uint32_t*>(ring.start + offset);
  };
  ring.entries[0] = {};
  ring.entries[0].opcode = IORING_OP_NOP;
  *word(ring.params.sq_off.array) = 0;
  __atomic_store_n(word(ring.params.sq_off.tail), 1, __ATOMIC_RELEASE);
  return syscall(SYS_io_uring_enter, ring.file, 1, 1, IORING_ENTER_GETEVENTS, nullptr, 0) == 1 &&
         __atomic_load_n(word(ring.params.sq_off.head), __ATOMIC_ACQUIRE) == 1;
}
Made Rings() {
  ring.file = static_cast<int>(syscall(SYS_io_uring_setup, 64, &ring.params));
  if (ring.file < 0) return Cannot("io_uring is switched off");
  const size_t bytes =
      (ring.params.sq_off.array + ring.params.sq_entries * sizeof(uint32_t) + kPage - 1) / kPage *
      kPage;
  constexpr int kHow = MAP_SHARED | MAP_POPULATE;
  ring.start = Map(bytes, PROT_READ | PROT_WRITE, kHow, ring.file);
  void* entries = mmap(nullptr, ring.params.sq_entries * sizeof(io_uring_sqe),
                       PROT_READ | PROT_WRITE, kHow, ring.file, IORING_OFF_SQES);
  if (ring.start == nullptr || entries == MAP_FAILED) return Cannot("the rings cannot be mapped");
  ring.entries = static_cast<io_uring_sqe*>(entries);
  return {
      .start = ring.start, .bytes = bytes, .content = Content::kUnlooked, .works = TakesAnEntry};
}

// Registered for missing pages with a descriptor of its own.
Made OwnUserfault() {
  Made made = Stamped();
  const int file = static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC));
  uffdio_api api = {};
  api.api = UFFD_API;
  if (file < 0 || ioctl(file, UFFDIO_API, &api) != 0) return Cannot("no userfaultfd to be had");
  uffdio_register range = {};
  range.range = {reinterpret_cast<uintptr_t>(made.start), made.bytes};
  range.mode = UFFDIO_REGISTER_MODE_MISSING;
  if (ioctl(file, UFFDIO_REGISTER, &range) != 0) return Cannot("the range cannot be registered");
  return made;
}

constexpr Kind kSharedKinds[] = {
    {"file-clean", "private mapping of a file, only read", FileClean},
    {"file-written", "private mapping of a file, written", FileWritten},
    {"file-shared", "shared mapping of a file", FileShared},
    {"tmpfs", "shared mapping of a file on tmpfs", TmpfsShared},
    {"memfd", "memfd", MemfdShared},
    {"shared-anonymous", "MAP_SHARED, anonymous", SharedAnonymous},
    {"mapped-twice", "MAP_SHARED, mapped twice by the same process", MappedTwice},
    {"two-processes", "MAP_SHARED, used by two processes", TwoProcesses},
    {"hugetlb", "hugetlb, 2 MiB", Hugetlb},
    {"secret", "memfd_secret", Secret},
    {"io-uring-rings", "rings of an io_uring", Rings},
    {"own-userfaultfd", "registered with a userfaultfd of the program's own", OwnUserfault},
};

}  // namespace

std::span<const Kind> SharedKinds() {
  return kSharedKinds;
}

}  // namespace drover::memory
