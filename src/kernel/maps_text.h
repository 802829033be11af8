// /proc/PID/maps as text: for kernels without PROCMAP_QUERY (before 6.11), and for recorded files.
// Freestanding.
#pragma once

#include <span>
#include <string_view>

#include "kernel/types.h"

namespace drover::kernel {

// One line of the file, without its newline; false: not such a line.
[[nodiscard]] bool ParseMapsLine(std::string_view line, Mapping* mapping);

// Sets what a mapping's name says ([stack], [vdso] and so on).
void NameMapping(std::string_view name, Mapping* mapping);

// The mapping at or above `address`, from an open maps file; kNoEntry: none. Reads the file from
// its start each time.
[[nodiscard]] Result<Mapping> NextMappingInText(int maps, uint64_t address);

// Kernel::ListMarked from a smaps file that was just opened.
[[nodiscard]] Result<uint64_t> ListMarkedInText(int smaps, Marked how, std::span<Range> ranges);

}  // namespace drover::kernel
