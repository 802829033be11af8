#include "cli/program.h"

int main(int argc, char** argv) {
  return drover::cli::RunProgram(argc, argv);
}
