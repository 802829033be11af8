#include "temporary_folder.h"

#include <fmt/format.h>
#include <stdlib.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "failure.h"

namespace drover::demo {
namespace {

// The name of a socket must fit into its address.
constexpr size_t kPathBytesMax = sizeof(sockaddr_un::sun_path) - 16;

std::string Pattern() {
  std::error_code error;
  const std::string in_folder = std::filesystem::temp_directory_path(error) / "drover-demo-XXXXXX";
  return error || in_folder.size() > kPathBytesMax ? "/tmp/drover-demo-XXXXXX" : in_folder;
}

}  // namespace

TemporaryFolder::TemporaryFolder() {
  std::string name = Pattern();
  if (mkdtemp(name.data()) == nullptr)
    throw Failure(fmt::format("{}: {}", name, std::strerror(errno)));
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

}  // namespace drover::demo
