// SPDX-License-Identifier: Apache-2.0
// `lastmile export`: a network as other tools read it.
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "sw/app/source.hpp"
#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/cli/commands.hpp"
#include "sw/cli/print.hpp"
#include "sw/data/preprocessing.hpp"
#include "sw/export/export.hpp"
#include "sw/golden/checkpoint.hpp"
#include "sw/golden/npz.hpp"
#include "sw/graph/reader.hpp"
#include "sw/import/model.hpp"
#include "sw/quantizer/file.hpp"

namespace lastmile {
namespace {

struct State {
  CommonOptions common;
  std::filesystem::path input, output, like;
  std::string network, form, result;
};

// What is exported.
struct Given {
  Network network;
  FloatParams<float> params;
  std::optional<QuantizedNetwork> integers;
  std::string preprocessing;
};

Given load(const State& s) {
  const std::string file = s.input.string();
  Given g;
  if (is_weights_file(s.input)) {
    if (s.network.empty())
      throw Error(ErrorKind::usage,
                  fmt::format("--network is missing: {} holds weights alone", file));
    TaskShape shape{{}, 0, false};
    if (s.input.extension() == ".lmc")
      g.preprocessing = describe_checkpoint(read_file(s.input), file).preprocessing;
    if (!g.preprocessing.empty()) {
      const Preprocessing p = parse_preprocessing(g.preprocessing, file);
      shape.input = p.input;
      shape.classes = static_cast<int>(p.class_names.size());
    }
    NetworkSource source = load_source(s.network, shape);
    g.network = std::move(source.network);
    g.params = load_weights(s.input, g.network);
    return g;
  }
  if (!s.network.empty())
    throw Error(ErrorKind::usage,
                fmt::format("--network is given, but {} holds a whole network", file));
  if (is_model_file(s.input)) {
    ImportedModel m = load_model(s.input);
    g.network = std::move(m.network);
    g.params = std::move(m.params);
    g.integers = std::move(m.quantized);
  } else {
    g.integers = load_quantized(s.input);
    g.network = g.integers->network;
    g.params = dequantize(*g.integers);
  }
  if (g.integers) g.preprocessing = g.integers->preprocessing;
  return g;
}

const QuantizedNetwork& integers_of(const Given& g, const State& s, const std::string& what) {
  if (!g.integers)
    throw Error(ErrorKind::usage,
                fmt::format("{}: {} is floating point, expected a .lmq file or an int8 model", what,
                            s.input.string()));
  return *g.integers;
}

std::vector<std::uint8_t> onnx_of(const Given& g, const State& s) {
  OnnxOptions o;
  o.int8_result = s.result == "int8";
  if (!g.preprocessing.empty()) {
    const Preprocessing p = parse_preprocessing(g.preprocessing, s.input.string());
    o.metadata.emplace_back("class_names", nlohmann::json(p.class_names).dump());
    o.metadata.emplace_back("preprocessing", g.preprocessing);
  }
  const std::string form = !s.form.empty() ? s.form : g.integers ? "qdq" : "float";
  if (form == "qdq") return encode_onnx_qdq(integers_of(g, s, "--form qdq"), o);
  if (o.int8_result) throw Error(ErrorKind::usage, "--result int8: expected --form qdq with it");
  return encode_onnx(g.network, g.params, o);
}

void require_plain(const State& s, const std::string& kind, bool onnx, bool like) {
  if (!onnx && (!s.form.empty() || !s.result.empty()))
    throw Error(ErrorKind::usage, fmt::format("--form and --result are of .onnx, but the output is "
                                              "{}",
                                              kind));
  if (!like && !s.like.empty())
    throw Error(ErrorKind::usage, fmt::format("--like is of .tflite, but the output is {}", kind));
}

void write(const Given& g, const State& s) {
  const std::string kind = s.output.extension().string();
  if (kind == ".onnx") {
    write_file_atomic(s.output, onnx_of(g, s));
  } else if (kind == ".npz") {
    save_weights(s.output, g.network, g.params);
  } else if (kind == ".toml") {
    write_file_atomic(s.output, to_toml(g.network));
  } else {
    write_file_atomic(s.output, replace_tflite_weights(read_file(s.like), s.like.string(),
                                                       integers_of(g, s, "a .tflite file")));
  }
}

}  // namespace

Subcommand export_command(CLI::App& app) {
  auto* sub = app.add_subcommand(
      "export", "write a network for other tools: .onnx, .npz (weights), .toml, or .tflite");
  auto s = std::make_shared<State>();
  add_common(*sub, s->common);
  sub->add_option(
         "input", s->input,
         "the network: .lmq, a .tflite or .onnx model, or weights (.lmc, .npz) of --network")
      ->required();
  sub->add_option("--network", s->network, "what the weights belong to: a .toml file or a name");
  sub->add_option("--output", s->output,
                  "file to write; its extension says what: .onnx, .npz, "
                  ".toml or .tflite")
      ->required();
  sub->add_option("--form", s->form,
                  "of .onnx: float, or qdq, int8 between QuantizeLinear and DequantizeLinear "
                  "(default: qdq where there are integers)")
      ->check(CLI::IsMember({"float", "qdq"}));
  sub->add_option("--result", s->result,
                  "of --form qdq: logits, real numbers as the loss sees them (default), or int8")
      ->check(CLI::IsMember({"logits", "int8"}));
  sub->add_option("--like", s->like, "of .tflite: the file that the network came from");
  return {sub, [s] {
            const std::string kind = s->output.extension().string();
            if (kind != ".onnx" && kind != ".npz" && kind != ".toml" && kind != ".tflite")
              throw Error(ErrorKind::usage,
                          fmt::format("--output is {}, expected a name that ends in .onnx, .npz, "
                                      ".toml or .tflite",
                                      s->output.string()));
            require_plain(*s, kind, kind == ".onnx", kind == ".tflite");
            if (kind == ".tflite" && s->like.empty())
              throw Error(ErrorKind::usage,
                          "--like is missing: the .tflite file that the network came from, whose "
                          "weights are replaced");
            Files files;
            files.reads("input", s->input);
            std::error_code none;
            if (std::filesystem::exists(s->network, none)) files.reads("--network", s->network);
            files.reads("--like", s->like);
            files.writes("--output", s->output);
            files.claim();
            const Given g = load(*s);
            write(g, *s);
            if (s->common.json) {
              print_json({{"network", g.network.name},
                          {"file", s->output.string()},
                          {"layers", g.network.layers.size()},
                          {"weights", weight_count(g.network)}});
              return 0;
            }
            print_out("{}: {} layers, {} weights\nwrote {}\n", g.network.name,
                      g.network.layers.size(), weight_count(g.network), s->output.string());
            return 0;
          }};
}

}  // namespace lastmile
