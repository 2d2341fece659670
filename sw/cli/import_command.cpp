// SPDX-License-Identifier: Apache-2.0
// `lastmile import`: a trained model of another tool as this project's files.
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/cli/commands.hpp"
#include "sw/cli/print.hpp"
#include "sw/golden/npz.hpp"
#include "sw/graph/reader.hpp"
#include "sw/import/model.hpp"
#include "sw/quantizer/file.hpp"

namespace lastmile {
namespace {

struct State {
  CommonOptions common;
  std::filesystem::path model, output;
};

}  // namespace

Subcommand import_command(CLI::App& app) {
  auto* sub = app.add_subcommand("import",
                                 "read a .tflite or .onnx model and write it as network (.toml), "
                                 "weights (.npz) and, for an int8 model, integers (.lmq)");
  auto s = std::make_shared<State>();
  add_common(*sub, s->common);
  sub->add_option("model", s->model, "the model")->required();
  sub->add_option("--output", s->output,
                  "name of the files without extension (default: nothing is written)");
  return {sub, [s] {
            namespace fs = std::filesystem;
            const bool writes = !s->output.empty();
            fs::path network_path = s->output, weights_path = s->output, integers_path = s->output;
            network_path += ".toml";
            weights_path += ".npz";
            integers_path += ".lmq";
            Files files_used;
            files_used.reads("model", s->model);
            if (writes)
              files_used.writes_all("--output", {network_path, weights_path, integers_path});
            files_used.claim();
            const ImportedModel m = load_model(s->model);
            nlohmann::json files = nlohmann::json::array();
            if (writes && !m.quantized && kind_of(integers_path) != FileKind::none)
              throw Error(ErrorKind::input,
                          fmt::format("{}: integers of another model, which this float model would "
                                      "lie beside; expected another --output",
                                      integers_path.string()));
            if (writes) {
              write_file_atomic(network_path, to_toml(m.network));
              save_weights(weights_path, m.network, m.params);
              files = {network_path.string(), weights_path.string()};
              if (m.quantized) {
                save_quantized(integers_path, *m.quantized);
                files.push_back(integers_path.string());
              }
            }
            if (s->common.json) {
              nlohmann::json j = {
                  {"network", m.network.name},
                  {"input", {m.network.input.h, m.network.input.w, m.network.input.c}},
                  {"classes", m.network.classes},
                  {"layers", m.network.layers.size()},
                  {"weights", weight_count(m.network)},
                  {"macs", macs(m.network)},
                  {"type", m.quantized ? "int8" : "float"},
                  {"notes", m.notes},
                  {"files", files}};
              print_json(j);
              return 0;
            }
            print_out("{}: input {} x {} x {}, {} classes, {} layers, {} weights, {}\n",
                      m.network.name, m.network.input.h, m.network.input.w, m.network.input.c,
                      m.network.classes, m.network.layers.size(), weight_count(m.network),
                      m.quantized ? "int8 with scales of its own" : "float");
            for (const std::string& note : m.notes) print_out("note: {}\n", note);
            for (const auto& file : files) print_out("wrote {}\n", file.get<std::string>());
            return 0;
          }};
}

}  // namespace lastmile
