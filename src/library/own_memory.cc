#include "library/own_memory.h"

#include <link.h>

#include <cstring>

namespace drover::library {
namespace {

uint64_t AddressOf(const void* pointer) {
  return reinterpret_cast<uint64_t>(pointer);
}

bool Holds(const dl_phdr_info& object, uint64_t address) {
  for (int i = 0; i < object.dlpi_phnum; ++i) {
    const auto& part = object.dlpi_phdr[i];
    if (part.p_type == PT_LOAD && address - (object.dlpi_addr + part.p_vaddr) < part.p_memsz)
      return true;
  }
  return false;
}

int AddIfOurs(dl_phdr_info* object, size_t, void* found) {
  const auto memory_copy = reinterpret_cast<const void*>(&std::memcpy);
  const auto own_code = reinterpret_cast<const void*>(&WritableImages);
  if (!Holds(*object, AddressOf(own_code)) && !Holds(*object, AddressOf(memory_copy))) return 0;
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const auto& part = object->dlpi_phdr[i];
    if (part.p_type != PT_LOAD || (part.p_flags & PF_W) == 0) continue;
    const uint64_t start = RoundDown(object->dlpi_addr + part.p_vaddr, kPageBytes);
    const uint64_t end = RoundUp(object->dlpi_addr + part.p_vaddr + part.p_memsz, kPageBytes);
    static_cast<std::vector<Range>*>(found)->push_back({start, end - start});
  }
  return 0;
}

}  // namespace

std::vector<Range> WritableImages() {
  std::vector<Range> found;
  dl_iterate_phdr(AddIfOurs, &found);
  return found;
}

}  // namespace drover::library
