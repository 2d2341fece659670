// SPDX-License-Identifier: Apache-2.0
// `lastmile infer`: inputs through a quantized network on any backend.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/rng.hpp"
#include "sw/base/stop.hpp"
#include "sw/cli/commands.hpp"
#include "sw/cli/print.hpp"
#include "sw/compiler/compile.hpp"
#include "sw/driver/session.hpp"
#include "sw/golden/npz.hpp"

namespace lastmile {
namespace {

struct State {
  CommonOptions common;
  std::filesystem::path network, input, output;
  int random = 0;
  int batch = 8;
};

// Whole examples of the network's input.
std::vector<std::int8_t> load_inputs(const State& s, const QuantizedNetwork& q) {
  const Shape& shape = q.network.input;
  const auto each = static_cast<std::size_t>(shape.elements());
  if (s.input.empty() == (s.random == 0))
    throw Error(ErrorKind::usage, "expected either --input or --random");
  std::vector<std::int8_t> x;
  if (s.random > 0) {
    Rng rng(s.common.seed);
    x.resize(each * static_cast<std::size_t>(s.random));
    for (std::int8_t& v : x) v = static_cast<std::int8_t>(rng.below(256));
    return x;
  }
  const NpyArray a = parse_npy(read_file(s.input), s.input.string());
  // Without channels where there is one; an example alone; or each example in a row.
  std::vector<std::int64_t> one;
  for (const int side : {shape.h, shape.w, shape.c}) one.push_back(side);
  std::vector<std::vector<std::int64_t>> examples = {one, {static_cast<std::int64_t>(each)}};
  if (shape.c == 1) examples.push_back({shape.h, shape.w});
  const auto fits = [&](const std::vector<std::int64_t>& example) {
    return a.shape == example || (a.shape.size() == example.size() + 1 &&
                                  std::equal(example.begin(), example.end(), a.shape.begin() + 1));
  };
  if (a.values.empty() || std::none_of(examples.begin(), examples.end(), fits))
    throw Error(
        ErrorKind::input,
        fmt::format("{}: the array's shape is {}, expected examples of {} x {} x {}",
                    s.input.string(), fmt::join(a.shape, " x "), shape.h, shape.w, shape.c));
  const auto infinite =
      std::find_if(a.values.begin(), a.values.end(), [](float v) { return !std::isfinite(v); });
  if (infinite != a.values.end())
    throw Error(ErrorKind::input,
                fmt::format("{}: value {} is {}, expected a finite number", s.input.string(),
                            infinite - a.values.begin(), *infinite));
  x.resize(a.values.size());
  quantize_activations(a.values, q.input, x);
  return x;
}

}  // namespace

Subcommand infer_command(CLI::App& app, const Backends& backends) {
  auto* sub = app.add_subcommand(
      "infer", "inputs through a quantized network: its outputs, and their hash to compare with");
  auto s = std::make_shared<State>();
  add_common(*sub, s->common);
  sub->add_option("--network", s->network, ".lmq, or an int8 .tflite or .onnx model")->required();
  sub->add_option("--input", s->input,
                  ".npy array of real numbers: examples, rows, columns, channels");
  sub->add_option("--random", s->random, "so many examples of random bytes instead")
      ->check(CLI::Range(1, 1 << 20));
  sub->add_option("--batch", s->batch, "examples per pass; never changes a result")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  sub->add_option("--output", s->output, ".npy array to write: examples x outputs, real numbers");
  return {
      sub, [s, backends] {
        Files files;
        files.reads("--network", s->network);
        files.reads("--input", s->input);
        files.writes("--output", s->output);
        files.writes(kWaveformOption, waveform_of(s->common));
        files.claim();
        const QuantizedNetwork q = load_integers(s->network);
        const std::vector<std::int8_t> x = load_inputs(*s, q);
        const auto each = static_cast<std::size_t>(q.network.input.elements());
        const auto classes = static_cast<std::size_t>(q.network.classes);
        const std::size_t examples = x.size() / each;
        CompileOptions o;
        o.batch =
            static_cast<int>(std::min<std::size_t>(static_cast<std::size_t>(s->batch), examples));
        o.output_layer = static_cast<int>(q.network.layers.size()) - 1;
        o.memory_bytes = std::uint64_t{1} << 30;
        Session session = open_session(compile(q, parse_hardware(s->common.hardware), o),
                                       find_backend(s->common, backends), s->common.thread_count());
        std::vector<std::int8_t> y;
        const auto batch = static_cast<std::size_t>(o.batch);
        for (std::size_t at = 0; at < examples; at += batch) {
          stop_if_asked();
          const std::size_t n = std::min(batch, examples - at);
          session->load_batch(std::span(x).subspan(at * each, n * each), {});
          session->forward();
          const std::vector<std::int8_t> part = session->output();
          y.insert(y.end(), part.begin(), part.begin() + static_cast<std::ptrdiff_t>(n * classes));
        }
        if (!s->output.empty()) {
          NpyArray a{{static_cast<std::int64_t>(examples), static_cast<std::int64_t>(classes)},
                     std::vector<float>(y.size())};
          dequantize_activations(y, q.layers.back().out, a.values);
          write_file_atomic(s->output, encode_npy(a));
        }
        const std::string hash = fmt::format("{:016x}", xxh64(bytes_of(std::span(y))));
        if (s->common.json) {
          print_json({{"examples", examples}, {"classes", classes}, {"outputs_hash", hash}});
        } else {
          print_out("{} examples, {} outputs each; hash of the int8 outputs {}\n", examples,
                    classes, hash);
        }
        return 0;
      }};
}

}  // namespace lastmile
