#include "chaos/core_file.h"

#include <elf.h>

#include <filesystem>
#include <fstream>
#include <vector>

#include "chaos/random.h"
#include "chaos/slice.h"
#include "chaos/thread.h"

namespace drover::chaos {
namespace {

std::string CoreIn(const std::string& folder) {
  std::error_code none;
  for (const auto& each : std::filesystem::directory_iterator(folder, none))
    if (each.path().filename().string().starts_with("core")) return each.path();
  return {};
}

void Judge(const char* page, uint64_t seed, CorePages* pages) {
  const auto* words = reinterpret_cast<const uint64_t*>(page);
  bool data = true, zero = true;
  for (uint64_t i = 0; i < kPage / 8; ++i) {
    data = data && words[i] == Slice::WordOf(seed, i);
    zero = zero && words[i] == 0;
  }
  ++(data ? pages->right : zero ? pages->lacking : pages->wrong);
}

}  // namespace

std::optional<CorePages> ReadCore(const std::string& folder, uint64_t seed) {
  const std::string path = CoreIn(folder);
  std::ifstream core(path, std::ios::binary);
  Elf64_Ehdr header = {};
  if (path.empty() || !core.read(reinterpret_cast<char*>(&header), sizeof header).good())
    return std::nullopt;
  CorePages pages;
  std::vector<uint64_t> seeds(kSlicePages);
  Random random(seed);
  for (uint64_t& each : seeds) each = StormThread::FirstSeed(random);
  std::vector<char> page(kPage);
  for (uint16_t i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr part = {};
    core.seekg(static_cast<std::streamoff>(header.e_phoff + i * sizeof part));
    core.read(reinterpret_cast<char*>(&part), sizeof part);
    if (part.p_type != PT_LOAD || part.p_vaddr < SliceStart(0) ||
        part.p_vaddr >= SliceStart(0) + kSlicePages * kPage)
      continue;
    for (uint64_t at = 0; at < part.p_filesz; at += kPage) {
      core.seekg(static_cast<std::streamoff>(part.p_offset + at));
      core.read(page.data(), kPage);
      const uint64_t number = (part.p_vaddr + at - SliceStart(0)) / kPage;
      if (core.good() && number < kSlicePages) Judge(page.data(), seeds[number], &pages);
    }
  }
  return pages;
}

}  // namespace drover::chaos
