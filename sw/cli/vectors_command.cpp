// SPDX-License-Identifier: Apache-2.0
// `lastmile vectors`: golden vectors on a backend.
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "sw/base/error.hpp"
#include "sw/base/stop.hpp"
#include "sw/cli/commands.hpp"
#include "sw/cli/print.hpp"
#include "sw/vectors/emit.hpp"
#include "sw/vectors/vectors.hpp"

namespace lastmile {

Subcommand vectors_command(CLI::App& app, const Backends& backends) {
  struct State {
    CommonOptions common;
    std::vector<std::filesystem::path> files;
    std::filesystem::path emit;
  };
  auto* sub = app.add_subcommand("vectors",
                                 "run golden vectors (JSON, one operator or a network each) on a "
                                 "backend and compare every bit");
  auto s = std::make_shared<State>();
  add_common(*sub, s->common);
  sub->add_option("files", s->files, "JSON files");
  sub->add_option(
      "--emit", s->emit,
      "write scalar vectors of the numeric contract (for RTL benches) to this folder instead");
  return {
      sub, [s, backends] {
        Files files;
        for (const auto& file : s->files) files.reads("file", file);
        if (!s->emit.empty()) {
          files.writes_into("--emit", s->emit);
          files.writes(kWaveformOption, waveform_of(s->common));
          files.claim();
          nlohmann::json written = nlohmann::json::array();
          for (const std::string& name : emit_vectors(s->emit)) {
            written.push_back((s->emit / name).string());
            if (!s->common.json) print_out("{}\n", written.back().get<std::string>());
          }
          if (s->common.json) print_json({{"files", written}});
          return 0;
        }
        if (s->files.empty())
          throw Error(ErrorKind::usage, "no files: expected JSON vectors, or --emit FOLDER");
        const DeviceOpener open = find_backend(s->common, backends);
        DeviceOptions options;
        options.hardware = parse_hardware(s->common.hardware);
        options.threads = s->common.thread_count();
        int passed = 0, failed = 0, skipped = 0;
        ErrorKind worst = ErrorKind::mismatch;
        nlohmann::json results = nlohmann::json::array();
        for (const auto& file : s->files) {
          stop_if_asked();
          const std::unique_ptr<Device> device = open(options);
          VectorResult r;
          bool unsupported = false;
          ErrorKind kind = ErrorKind::mismatch;
          try {
            r = run_vector_file(*device, file);
          } catch (const Unsupported& e) {
            // Neither right nor wrong: this hardware does not run it.
            r.name = file.stem().string();
            r.difference = e.what();
            unsupported = true;
          } catch (const Error& e) {
            // A file that cannot be run is a failure of that file, not of those after it.
            r.name = file.stem().string();
            r.difference = e.what();
            kind = e.kind();
          }
          // A difference counts more than what could not be compared; of that, the first.
          if (!r.passed && !unsupported && (failed == 0 || kind == ErrorKind::mismatch))
            worst = kind;
          ++(r.passed ? passed : unsupported ? skipped : failed);
          if (!s->common.json)
            print_out("{} {}{}\n",
                      r.passed      ? "ok  "
                      : unsupported ? "skipped:"
                                    : "FAIL",
                      file.string(), r.passed ? "" : ": " + r.difference);
          results.push_back({{"file", file.string()},
                             {"name", r.name},
                             {"op", r.op},
                             {"passed", r.passed},
                             {"skipped", unsupported},
                             {"compared", r.compared},
                             {"difference", r.difference}});
        }
        if (s->common.json) {
          print_json(
              {{"passed", passed}, {"failed", failed}, {"skipped", skipped}, {"results", results}});
        } else {
          print_out("{} passed, {} failed{}\n", passed, failed,
                    skipped == 0 ? "" : fmt::format(", {} skipped", skipped));
        }
        if (failed != 0) return static_cast<int>(worst);
        return static_cast<int>(skipped == 0 ? ErrorKind{} : ErrorKind::unsupported);
      }};
}

}  // namespace lastmile
