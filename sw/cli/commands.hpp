// SPDX-License-Identifier: Apache-2.0
// The subcommands. Each binds its options to an App and returns what runs it.
#pragma once

#include <functional>
#include <vector>

#include "sw/cli/backend.hpp"
#include "sw/cli/options.hpp"

namespace lastmile {

struct Subcommand {
  CLI::App* app = nullptr;
  std::function<int()> run;
  bool resumes = false;  // with --resume it goes on where a signal ended it
};

[[nodiscard]] std::vector<Subcommand> all_commands(CLI::App& app, const Backends& backends);

// The data an `adapt` trains and tests on: the shifted sets, or one speaker's.
[[nodiscard]] SpeakerData adaptation_data(const Task& task, const RunOptions& options);

// commands.cpp
Subcommand run_command(CLI::App& app, const Backends& backends);
Subcommand pretrain_command(CLI::App& app);
Subcommand quantize_command(CLI::App& app, const Backends& backends);
Subcommand adapt_command(CLI::App& app, const Backends& backends);
Subcommand replay_command(CLI::App& app, const Backends& backends);

Subcommand eval_command(CLI::App& app, const Backends& backends);      // eval_command.cpp
Subcommand data_command(CLI::App& app);                                // data_command.cpp
Subcommand vectors_command(CLI::App& app, const Backends& backends);   // vectors_command.cpp
Subcommand cosim_command(CLI::App& app, const Backends& backends);     // cosim_command.cpp
Subcommand validate_command(CLI::App& app, const Backends& backends);  // validate_command.cpp
Subcommand info_command(CLI::App& app);                                // info_command.cpp
Subcommand profile_command(CLI::App& app, const Backends& backends);   // profile_command.cpp
Subcommand energy_command(CLI::App& app);                              // energy_command.cpp
Subcommand import_command(CLI::App& app);                              // import_command.cpp
Subcommand export_command(CLI::App& app);                              // export_command.cpp
Subcommand rescale_command(CLI::App& app, const Backends& backends);   // rescale_command.cpp
Subcommand infer_command(CLI::App& app, const Backends& backends);     // infer_command.cpp
Subcommand audit_command(CLI::App& app, const Backends& backends);     // audit_command.cpp

// shell_command.cpp: of all commands that `app` has by the time they run.
Subcommand completion_command(CLI::App& app);
Subcommand man_command(CLI::App& app);

}  // namespace lastmile
