// SPDX-License-Identifier: Apache-2.0
#include "sw/cli/cli.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "sw/base/error.hpp"
#include "sw/cli/commands.hpp"

namespace lastmile {

int run_cli(int argc, char** argv, const DeviceOpener& model) {
  CLI::App app{"Lastmile: on-device adaptation with fixed-point forward gradients on an open NPU"};
  app.require_subcommand(1);
  app.set_help_all_flag("--help-all", "help of all commands");
  app.footer(
      "Exit codes: 0 done, 1 unexpected failure, 2 usage, 3 bad input, 4 device, 5 journal, 6 "
      "mismatch.");
  std::vector<Subcommand> commands = all_commands(app, model);
  try {
    app.parse(argc, argv);
    for (const Subcommand& c : commands)
      if (c.app->parsed()) {
        const int code = c.run();
        if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
          throw std::runtime_error("the output cannot be written to stdout");
        return code;
      }
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : static_cast<int>(ErrorKind::usage);
  } catch (const Error& e) {
    fmt::print(stderr, "lastmile: {}\n", e.what());
    return static_cast<int>(e.kind());
  } catch (const std::exception& e) {
    fmt::print(stderr, "lastmile: unexpected failure: {}\n", e.what());
    return 1;
  }
  return 1;
}

}  // namespace lastmile
