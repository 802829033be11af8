// Replays kept inputs: the files of the folders that are named. A promise that is broken ends the
// program; the name of the input stands last on stderr.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "fuzz/fuzz.h"

int main(int count, char** folders) {
  size_t replayed = 0;
  for (int i = 1; i < count; ++i) {
    std::vector<std::filesystem::path> files;
    std::error_code none;  // nothing was found yet, then
    for (const auto& entry : std::filesystem::directory_iterator(folders[i], none))
      files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    for (const auto& path : files) {
      std::fprintf(stderr, "%s\n", path.c_str());
      std::ifstream file(path, std::ios::binary);
      const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
      LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
      ++replayed;
    }
  }
  std::printf("%zu inputs replayed\n", replayed);
  return replayed > 0 ? 0 : 1;
}
