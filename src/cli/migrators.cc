// drover migrators: which copy engines there are, and whether they do what they have to.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/command.h"
#include "cli/migrators_of.h"
#include "library/engines.h"
#include "library/migrator_suite.h"
#include "library/plugin_names.h"
#include "library/workbench.h"

namespace drover::cli {
namespace {

struct About {
  const char* words;
  const char* what;
  const char* note;  // empty: for every move
};

constexpr About kAbout[] = {
    {"serial", "one folio after another on the mover's thread, as the kernel does", ""},
    {"threads:N",
     "the mover and N-1 helpers, N up to 16; helpers on idle CPUs only, where they pay", ""},
    {"channels:N", "a DMA engine in software, N channels up to 8, after Intel's DSA", ""},
    {"null", "copies nothing", "only with --verify"},
    {"fault:KIND",
     "spoils another engine's work: fail, fail-all, refuse, late, hang; lie, short, flip",
     "for tests; the last three only with --verify"},
};

int List(bool json) {
  if (!json) {
    for (const About& about : kAbout)
      fmt::print("{:<12} {}{}\n", about.words, about.what,
                 *about.note != '\0' ? fmt::format(" ({})", about.note) : "");
    for (const auto& found : library::ListPlugins())
      fmt::print("{:<12} {}\n", found.name,
                 found.trouble.empty() ? fmt::format("{} (plugin{}{})", found.description,
                                                     found.capabilities.empty() ? "" : ": ",
                                                     fmt::join(found.capabilities, ", "))
                                       : fmt::format("cannot be used: {}", found.trouble));
    return kExitDone;
  }
  auto document = JsonHead("migrators");
  document["migrators"] = nlohmann::json::array();
  for (const About& about : kAbout)
    document["migrators"].push_back({{"migrator", about.words},
                                     {"what", about.what},
                                     {"note", about.note},
                                     {"plugin", false},
                                     {"capabilities", {"freestanding"}},
                                     {"hardware", false}});
  for (const auto& found : library::ListPlugins())
    document["migrators"].push_back({{"migrator", found.name},
                                     {"what", found.description},
                                     {"note", found.trouble},
                                     {"plugin", true},
                                     {"file", found.path},
                                     {"capabilities", found.capabilities}});
  PrintJson(document);
  return kExitDone;
}

int Test(const std::string& words, bool json) {
  const auto bench = library::Workbench::Make(words);
  if (!bench.has_value()) return Fail(bench.error());
  const auto verdicts =
      library::TestMigrator((*bench)->engine(), {.copies = !migrators::MayLie((*bench)->spec())});
  bool passed = true;
  nlohmann::json list = nlohmann::json::array();
  for (const library::Verdict& verdict : verdicts) {
    passed = passed && verdict.passed;
    list.push_back({{"test", verdict.name}, {"passed", verdict.passed}, {"note", verdict.note}});
    if (!json)
      fmt::print("{:<7} {:<40} {}\n", verdict.passed ? "passed" : "FAILED", verdict.name,
                 verdict.note);
  }
  if (json) {
    auto document = JsonHead("migrators test");
    document["migrator"] = words;
    document["threads"] = (*bench)->threads();
    document["passed"] = passed;
    document["tests"] = list;
    PrintJson(document);
  }
  return passed ? kExitDone : kExitFailed;
}

}  // namespace

void AddMigrators(CLI::App& app, Chosen& chosen) {
  auto* migrators = app.add_subcommand("migrators", "the copy engines, for --migrator of move");
  auto json = std::make_shared<bool>(false);
  auto pid = std::make_shared<int>(0);
  migrators->add_option("--pid", *pid, "those of the agent in this process, with their counts")
      ->check(CLI::PositiveNumber);
  migrators->add_flag("--json", *json, "one JSON document on stdout");
  migrators->callback([=, &chosen] {
    if (!chosen.run)
      chosen.run = [=] { return *pid > 0 ? ListMigratorsOf(*pid, *json) : List(*json); };
  });
  auto* test = migrators->add_subcommand(
      "test", "whether one does what every copy engine has to, on memory of drover's own");
  auto words = std::make_shared<std::string>();
  test->add_option("ENGINE", *words, "as for --migrator, such as threads:2")->required();
  test->add_flag("--json", *json, "one JSON document on stdout");
  test->callback([=, &chosen] { chosen.run = [=] { return Test(*words, *json); }; });
  AddMigratorsOf(*migrators, chosen);
}

}  // namespace drover::cli
