// SPDX-License-Identifier: Apache-2.0
#include "sw/cli/cli.hpp"

#include <fmt/format.h>

#include <exception>
#include <filesystem>
#include <memory>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "sw/base/error_list.hpp"
#include "sw/base/stop.hpp"
#include "sw/base/streams.hpp"
#include "sw/base/text.hpp"
#include "sw/cli/commands.hpp"
#include "sw/cli/help.hpp"
#include "sw/cli/version.hpp"

namespace lastmile {
namespace {

// The same command line, for a shell; where the command can, it goes on.
std::string again(std::span<char* const> argv, bool resumes) {
  std::string line;
  bool asked = false;
  for (const std::string_view word : argv) {
    const bool with_value = word.starts_with("--overwrite=") || word.starts_with("--resume=");
    if (resumes && (word == "--overwrite" || with_value)) continue;
    asked = asked || word == "--resume";
    line += (line.empty() ? "" : " ") + shell_word(word);
  }
  return resumes && !asked ? line + " --resume" : line;
}

int stopped(const Stopped& e, const Subcommand& command, std::span<char* const> argv) {
  const std::string_view where = e.what();
  print_error(fmt::format("lastmile: signal {}{}{}; {}: {}\n", e.signal(), where.empty() ? "" : " ",
                          where, command.resumes ? "to go on" : "to start again",
                          again(argv, command.resumes)));
  return 128 + e.signal();
}

// What goes wrong, as an exit code and a line.
int failed(const char* what, int code, const char* prefix = "") {
  print_error(fmt::format("lastmile: {}{}\n", prefix, printable(what)));
  return code;
}

int run(CLI::App& app, const std::vector<Subcommand>& commands, std::span<char* const> argv) {
  const Subcommand* command = nullptr;
  try {
    if (argv.size() > 1)
      if (const std::string wrong = unknown_command(app, argv[1]); !wrong.empty())
        throw Error(ErrorKind::usage, wrong);
    app.parse(static_cast<int>(argv.size()), argv.data());
    for (const Subcommand& c : commands)
      if (c.app->parsed()) command = &c;
    return command == nullptr ? 1 : command->run();
  } catch (const CLI::ParseError& e) {
    std::ostringstream out, err;
    const int code = app.exit(e, out, err);
    print_result(out.str());
    print_error(printable(err.str(), 2 * kMessageLimit, true));
    return code == 0 ? 0 : static_cast<int>(ErrorKind::usage);
  } catch (const ErrorList& e) {
    print_error(fmt::format("lastmile: {}\n", printable(e.what(), 20 * kMessageLimit, true)));
    return static_cast<int>(e.kind());
  } catch (const Error& e) {
    return failed(e.what(), static_cast<int>(e.kind()));
  } catch (const Stopped& e) {
    return stopped(e, *command, argv);
  } catch (const std::filesystem::filesystem_error& e) {
    return failed(e.what(), static_cast<int>(ErrorKind::input));
  } catch (const std::exception& e) {
    return failed(e.what(), 1, "unexpected failure: ");
  }
}

}  // namespace

int run_cli(int argc, char** argv, const DeviceOpener& model) {
  secure_standard_streams();
  keep_stdout_for_results();
  CLI::App app{"Lastmile: on-device adaptation with fixed-point forward gradients on an open NPU"};
  app.name("lastmile");
  app.formatter(std::make_shared<HelpFormatter>());
  app.set_version_flag("--version", version_text, "version, commit, contract, backends");
  app.require_subcommand(1);
  app.set_help_all_flag("--help-all", "help of all commands");
  app.footer(
      "Exit codes: 0 done, 1 unexpected failure, 2 usage, 3 bad input or output, 4 device, 5 "
      "journal or folder of a run (damaged, in use, of another run), 6 mismatch, 7 not supported "
      "by "
      "this hardware, 8 training diverged, 128 + n signal n.");
  const Backends backends(model);
  const std::vector<Subcommand> commands = all_commands(app, backends);
  const StopSignals signals;
  const int code = run(app, commands, std::span(argv, static_cast<std::size_t>(argc)));
  // Half a waveform would mislead, and is removed; that of a run which failed is kept to look at.
  if (const Waveform& w = *backends.waveform; code == 0 && !w.wrong.empty()) {
    std::error_code none;
    std::filesystem::remove(w.file, none);
    return failed(w.wrong.c_str(), static_cast<int>(ErrorKind::usage));
  }
  // What failed counts more than that it could not be told.
  if (results_lost() && code == 0) return failed("the output cannot be written to stdout", 1);
  return code;
}

}  // namespace lastmile
