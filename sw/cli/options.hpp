// SPDX-License-Identifier: Apache-2.0
// Command-line options that several subcommands share, bound to the structures of sw/app.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "sw/app/run.hpp"
#include "sw/cli/files.hpp"

namespace lastmile {

struct CommonOptions {
  std::uint64_t seed = 1;
  int threads = 0;  // 0: all of the machine
  bool json = false;
  bool quiet = false;
  std::string backend = "cmodel";
  std::string backend_options;
  std::string hardware;  // "rows=8,cols=16,..."

  [[nodiscard]] Say say() const;  // to stderr, nothing when quiet
  [[nodiscard]] ProgressOptions progress() const;
  [[nodiscard]] int thread_count() const;
};

void add_common(CLI::App& app, CommonOptions& o);
void add_task(CLI::App& app, RunOptions& o);
void add_pretrain(CLI::App& app, RunOptions& o);
void add_quantize(CLI::App& app, RunOptions& o);
void add_saturation(CLI::App& app, RunOptions& o);
void add_adapt(CLI::App& app, RunOptions& o);
void add_readout(CLI::App& app, RunOptions& o);
// What commands that adapt take for options that were not given when the data are audio: a
// speaker's few dozen examples want the head trained with a small batch, and few steps.
void audio_defaults(const CLI::App& app, RunOptions& o);
// --resume and --overwrite: what becomes of `what`, if it is there.
void add_existing(CLI::App& app, bool& resume, bool& overwrite, const std::string& what);
// --hold-out: of forward gradients.
void add_hold_out(CLI::App& app, RunOptions& o);
// --audit-every: a journal that an outsider can audit.
void add_audit(CLI::App& app, RunOptions& o);
void add_salvage(CLI::App& app, bool& salvage);
// Every option of the command that is a number takes decimal digits alone (sw/base/number.hpp), and
// one that is a text is not empty.
void strict_values(CLI::App& app);
// What was given on the command line and decides results: name of the option to its values.
[[nodiscard]] nlohmann::json given_options(const CLI::App& app);
// Asked before anything is read: weights come with the option (whose value is `given`), or with a
// model that --network names. Error(usage) without either.
void require_weights(const std::filesystem::path& given, const char* option,
                     const std::string& network);
// The files that a task and its network are read from.
void reads_task(Files& files, const RunOptions& o);
// After parsing: seeds, threads and hardware into every part.
void settle(RunOptions& o, const CommonOptions& common);

// "name=value,..." over the names of HardwareParams; Error(usage) names what is unknown or not
// allowed.
[[nodiscard]] spec::HardwareParams parse_hardware(const std::string& text);

}  // namespace lastmile
