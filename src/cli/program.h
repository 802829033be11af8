// drover as a program: reads its command line, and runs what it asks for.
#pragma once

namespace drover::cli {

// Returns drover's exit code.
int RunProgram(int argc, char** argv);

}  // namespace drover::cli
