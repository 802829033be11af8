// drover doctor PID: which path a process would take, and why.
#pragma once

namespace drover::cli {

int DoctorProcess(int pid, bool json);

}  // namespace drover::cli
