#include "cli/precopy.h"

namespace drover::cli {

void AddPrecopyFlag(CLI::App& command, PrecopyWord& precopy) {
  command
      .add_flag("--precopy{always}", precopy.word,
                "copy pages ahead, while the program goes on, and compare them while they are "
                "absent: shorter waits, more CPU time, no copy engines. auto: huge pages that "
                "cannot keep --max-stall otherwise")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->option_text("[=auto|always|never]");
}

}  // namespace drover::cli
