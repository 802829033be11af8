// How a job and those who ask after it talk: one request, a word, and one answer, a JSON document,
// over a stream socket in the abstract namespace. So there is no file to clean up, and a job that
// is killed leaves nothing behind. The other side's user and process are the kernel's word
// (SO_PEERCRED).
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "jobs/status.h"

namespace drover::jobs {

inline constexpr char kNamePrefix[] = "drover-job-";
inline constexpr size_t kRequestBytesMax = 64, kAnswerBytesMax = 64 << 20;

// The requests. Each is answered by a status, kReport by a report.
inline constexpr char kStatus[] = "status", kPause[] = "pause", kResume[] = "resume",
                      kCancel[] = "cancel", kReport[] = "report";

struct Address {
  sockaddr_un name{};
  socklen_t length = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&name); }
};
Address AddressOf(int job);

// Reads until the other side ends, or `bytes_max`.
std::string ReadAll(int socket, size_t bytes_max);
bool WriteAll(int socket, const std::string& text);

nlohmann::json ToJson(const Status& status);
std::optional<Status> StatusFrom(const nlohmann::json& json);

}  // namespace drover::jobs
