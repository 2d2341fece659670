// SPDX-License-Identifier: Apache-2.0
// Entry point of the `lastmile` program: the one place of sw that knows a backend.
#include "cmodel/device/model_device.hpp"
#include "sw/cli/cli.hpp"

int main(int argc, char** argv) { return lastmile::run_cli(argc, argv, lastmile::ModelOpener()); }
