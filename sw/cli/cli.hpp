// SPDX-License-Identifier: Apache-2.0
// The `lastmile` program: subcommands over sw/app. Exit codes: 0 done; 1 unexpected failure; 2
// wrong usage; 3 bad input; 4 device; 5 journal; 6 mismatch or missed threshold. Results go to
// stdout (with --json: one JSON document and nothing else), everything else to stderr.
#pragma once

#include "sw/trainer/targets.hpp"

namespace lastmile {

// `model` opens the built-in backend "cmodel"; others are shared objects liblastmile_<name>.so
// beside the program.
int run_cli(int argc, char** argv, const DeviceOpener& model);

}  // namespace lastmile
