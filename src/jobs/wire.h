// How a job and those who ask after it talk: one request, a word, and one answer, a JSON document,
// over a stream socket in the abstract namespace. So there is no file to clean up, and a job that
// is killed leaves nothing behind. Its name begins with kNamePrefix and the job's number, and ends
// with what nobody can foretell, so that nobody can take it beforehand. The other side's user and
// process are the kernel's word (SO_PEERCRED).
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <chrono>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "jobs/status.h"

namespace drover::jobs {

inline constexpr char kNamePrefix[] = "drover-job-";
inline constexpr size_t kRequestBytesMax = 64, kStatusBytesMax = 64 << 10,
                        kReportBytesMax = 64 << 20;

// The requests. Each is answered by a status, kReport by a report.
inline constexpr char kStatus[] = "status", kPause[] = "pause", kResume[] = "resume",
                      kCancel[] = "cancel", kReport[] = "report";

struct Address {
  sockaddr_un name{};
  socklen_t length = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&name); }
};
// `name` without the 0 that stands before it.
Address AddressOf(const std::string& name);
// A name for a job that nobody has yet.
std::string NewName(int job);

using Deadline = std::chrono::steady_clock::time_point;
// Reads until the other side has ended, or `bytes_max`; nullopt: not by then, or the socket fails.
std::optional<std::string> ReadAll(int socket, size_t bytes_max, Deadline deadline);
// False: it could not be written by then.
[[nodiscard]] bool WriteAll(int socket, const std::string& text, Deadline deadline);

nlohmann::json ToJson(const Status& status);
std::optional<Status> StatusFrom(const nlohmann::json& json);

}  // namespace drover::jobs
