// drover jobs, pause, resume, cancel: moves that run, seen from another shell.
#include <fmt/format.h>

#include "cli/command.h"
#include "jobs/ask.h"
#include "jobs/wire.h"
#include "report/progress.h"

namespace drover::cli {
namespace {

// "12 of 40 processes, 45 % of 4711 (redis-server)".
std::string Standing(const jobs::Status& status) {
  std::string text;
  if (status.processes != 1)
    text = fmt::format("{} of {} processes", status.processes_done, status.processes);
  if (status.pid != 0) {
    text += fmt::format("{}{:.0f} % of {} ({})", text.empty() ? "" : ", ",
                        100 * report::ShareDone(status.pages_done, status.pages_estimated),
                        status.pid, status.name);
  }
  if (status.state == "ended")
    text += fmt::format("{}exit code {}; `drover jobs {}` shows its report",
                        text.empty() ? "" : ", ", status.exit_code, status.job);
  return text;
}

void ShowLine(const jobs::Status& status) {
  fmt::print("{:>8} {:<9} {:>9.1f} s  {}\n", status.job, status.state, status.seconds,
             Standing(status));
}

int ShowList(bool json) {
  auto document = JsonHead("jobs");
  document["jobs"] = nlohmann::json::array();
  if (!json) fmt::print("{:>8} {:<9} {:>11}  {}\n", "JOB", "STATE", "TIME", "WHERE IT STANDS");
  for (const jobs::Status& status : jobs::List()) {
    document["jobs"].push_back(jobs::ToJson(status));
    if (!json) ShowLine(status);
  }
  if (json) PrintJson(document);
  return kExitDone;
}

int ShowStatus(const char* command, const jobs::Status& status, bool json) {
  if (json) {
    auto document = JsonHead(command);
    document.update(jobs::ToJson(status));
    PrintJson(document);
  } else {
    ShowLine(status);
  }
  return kExitDone;
}

// How it stands; of an ended one the report, with its exit code.
int ShowJob(int job, bool json) {
  const auto status = jobs::Ask(job, jobs::kStatus);
  if (!status.has_value()) return Fail(status.error());
  if (status->state != "ended") return ShowStatus("jobs", *status, json);
  const auto report = jobs::FetchReport(job);
  if (!report.has_value()) return Fail(report.error());
  if (json) {
    auto document = JsonHead("jobs");
    document.update(jobs::ToJson(*status));
    const auto inner = nlohmann::json::parse(report->out, nullptr, false);
    document["report"] = inner.is_discarded() ? nlohmann::json(report->out) : inner;
    document["messages"] = report->err;
    PrintJson(document);
  } else {
    fmt::print("{}", report->out);
    fmt::print(stderr, "{}", report->err);
  }
  return report->exit_code;
}

int Steer(const char* command, int job, bool json) {
  const bool cancel = command == std::string(jobs::kCancel);
  const auto status = cancel ? jobs::Stop(job) : jobs::Ask(job, command);
  if (!status.has_value()) return Fail(status.error());
  if (status->state == "ended" && !cancel)
    return Fail({Error::Kind::kTargetGone,
                 fmt::format("job {} has ended; `drover jobs {}` shows its report", job, job)});
  const int shown = ShowStatus(command, *status, json);
  // Whoever goes on by this exit code relies on what it says.
  if (status->state == "pausing" || status->state == "stopping")
    return Fail(
        {Error::Kind::kFailed,
         fmt::format("job {} has not come to a batch boundary yet; it is {}", job, status->state)});
  return shown;
}

void AddSteering(CLI::App& app, Chosen& chosen, const char* command, const char* what) {
  auto* added = app.add_subcommand(command, what);
  auto job = std::make_shared<int>(0);
  auto json = std::make_shared<bool>(false);
  added->add_option("JOB", *job, "its number, of `drover jobs`")
      ->required()
      ->check(CLI::PositiveNumber);
  added->add_flag("--json", *json, "one JSON document on stdout");
  added->callback([=, &chosen] { chosen.run = [=] { return Steer(command, *job, *json); }; });
}

}  // namespace

void AddJobs(CLI::App& app, Chosen& chosen) {
  auto* list = app.add_subcommand("jobs", "list moves that run, and detached ones that have ended");
  auto job = std::make_shared<int>(0);
  auto json = std::make_shared<bool>(false);
  list->add_option(
          "JOB", *job,
          "this one alone; one that has ended shows its report, with its exit code, and is "
          "gone then")
      ->check(CLI::PositiveNumber);
  list->add_flag("--json", *json, "one JSON document on stdout");
  list->callback([=, &chosen] {
    chosen.run = [=] { return *job == 0 ? ShowList(*json) : ShowJob(*job, *json); };
  });
  AddSteering(app, chosen, jobs::kPause,
              "let a move stand at a batch boundary, where nothing of the program is absent");
  AddSteering(app, chosen, jobs::kResume, "let it go on");
  AddSteering(app, chosen, jobs::kCancel, "end a move at a batch boundary; what has moved stays");
}

}  // namespace drover::cli
