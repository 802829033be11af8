// The command line: words, one a line, go to the real grammar. Nothing runs. What parses words on
// their own (sizes, ranges, nodes) gets each of them as well.
#include <vector>

#include "cli/grammar.h"
#include "cli/sizes.h"
#include "fuzz/fuzz.h"
#include "library/engines.h"
#include "library/result.h"

namespace drover::fuzz {
namespace {

constexpr size_t kWordsMax = 64;

// Two nodes with memory, one without, and one that is not there.
topology::Nodes SomeNodes() {
  topology::Nodes nodes;
  nodes.all = {0, 1, 3};
  nodes.with_memory = {{0, 8ull << 30, 1ull << 30}, {3, 8ull << 30, 0}};
  return nodes;
}

void ParseAll(const std::vector<std::string>& words) {
  std::vector<const char*> arguments = {"drover"};
  for (const std::string& word : words) arguments.push_back(word.c_str());
  CLI::App app;
  cli::Chosen chosen;
  cli::AddGrammar(app, chosen);
  try {
    app.parse(static_cast<int>(arguments.size()), arguments.data());
  } catch (const CLI::Success&) {
    Must(!app.help().empty(), "help has words");
    return;
  } catch (const CLI::ParseError& error) {
    Must(error.what()[0] != '\0', "an error has words");
    Must(std::strchr(error.what(), '\n') == nullptr, "an error is one line");
    return;
  }
  Must(static_cast<bool>(chosen.run), "what was parsed can be run");
}

template <class Parsed>
bool Good(const Parsed& parsed) {
  if (!parsed.has_value()) Must(!parsed.error().message.empty(), "an error has words");
  return parsed.has_value();
}

void ParseOne(const std::string& word) {
  const topology::Nodes nodes = SomeNodes();
  if (const auto size = cli::ParseSize(word); Good(size)) {
    Must(word[0] >= '0' && word[0] <= '9', "a size begins with a digit");
    Must(!cli::HumanBytes(*size).empty(), "a size has words");
    (void)Good(library::CheckBatch(*size));
    flow::Job job;
    (void)Good(library::SetRetryFor(static_cast<double>(*size), &job));
  }
  flow::Job job;
  if (const auto ranges = cli::ParseRanges(word); Good(ranges) && !ranges->empty()) {
    job.range_count = static_cast<uint32_t>(ranges->size());
    std::copy(ranges->begin(), ranges->end(), job.ranges);
  }
  (void)Good(library::ParseEngines(word, {}, &job));
  (void)Good(library::ParseReason(word, &job));
  job.verify = !Good(library::CheckEngines(job));
  Must(flow::IsValid(job), "a job made of words is valid");
  for (const bool need_memory : {false, true})
    if (const auto ids = cli::ParseNodes(word, nodes, need_memory); Good(ids))
      for (const int id : *ids) Must(nodes.Exists(id), "a node that was named is there");
}

void ParsePair(const std::string& to, const std::string& from) {
  flow::Job job;
  const auto placement = cli::PlacementOf(to, from, SomeNodes());
  if (!Good(placement)) return;
  job.placement = *placement;
  Must(flow::IsValid(job), "a placement made of words is valid");
}

}  // namespace
}  // namespace drover::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace drover::fuzz;
  Input input(data, size);
  std::vector<std::string> words;
  while (!input.empty() && words.size() < kWordsMax) {
    words.push_back(input.Until('\n'));
    words.back().resize(std::strlen(words.back().c_str()));  // a word ends at its first zero
  }
  ParseAll(words);
  for (size_t i = 0; i < words.size(); ++i) {
    ParseOne(words[i]);
    ParsePair(words[i], i + 1 < words.size() ? words[i + 1] : "");
  }
  return 0;
}
