// Looking at the copy engines and setting them, for whoever asks. Freestanding; mover thread.
#pragma once

#include "agent/shared.h"
#include "flow/engine.h"

namespace drover::agent {

// Registers what the settings name, and keeps its memory from being moved.
void InstallPlugins(flow::Engine& engine, const Settings& settings);

// Does what is asked, and lists all.
void Answer(flow::Engine& engine, const control::MigratorsRequest& request,
            control::MigratorList* list);

}  // namespace drover::agent
