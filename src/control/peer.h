// Who is on the other side of a Unix socket, by the kernel's word.
#pragma once

#include <sys/socket.h>

#include <optional>

namespace drover::control {

// As it was when the other side connected, or began to listen. nullopt: it cannot be told.
inline std::optional<ucred> PeerOf(int socket) {
  ucred peer{};
  socklen_t length = sizeof peer;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return std::nullopt;
  return peer;
}

}  // namespace drover::control
