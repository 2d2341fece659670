// SPDX-License-Identifier: Apache-2.0
#include "sw/profile/workload.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "sw/app/source.hpp"
#include "sw/base/error.hpp"
#include "sw/base/rng.hpp"
#include "sw/golden/golden.hpp"
#include "sw/graph/assumed.hpp"
#include "sw/import/model.hpp"
#include "sw/quantizer/quantize.hpp"
#include "sw/quantizer/rewrite.hpp"
#include "sw/trainer/targets.hpp"

namespace lastmile::profile {
namespace {

constexpr int kCalibrationExamples = 16;

// Any legal numbers: scales 1, weights of one size.
QuantizedNetwork shapes_only(const Network& described, WeightType type) {
  QuantizedNetwork q;
  q.network = described;
  q.weight_type = type;
  q.input = {1, 0};
  for (Layer& l : q.network.layers) {
    if (l.batch_norm) l.bias = true;
    l.batch_norm = false;
    QuantizedLayer out;
    out.out = {1, 0};
    const auto clamp = activation_clamp(l.activation, out.out);
    out.act_min = clamp[0];
    out.act_max = clamp[1];
    if (has_weights(l)) {
      const MatrixShape shape = matrix_shape(l);
      const auto filters = static_cast<std::size_t>(l.filters);
      out.rows = shape.rows;
      out.columns = shape.columns;
      out.weights.assign(
          static_cast<std::size_t>(shape.rows) * static_cast<std::size_t>(shape.columns),
          static_cast<std::int16_t>(weight_limit(type) / 4));
      out.weight_scale.assign(filters, 1);
      if (l.bias) out.bias.assign(filters, 0);
      out.requant.assign(filters, {1 << 30, -20});
    }
    out.constants.assign(l.constants.size(), 1);
    encode_operator(l, out.out, out.out, out);
    q.layers.push_back(std::move(out));
  }
  const Layer& last = q.network.layers[static_cast<std::size_t>(q.network.logits_layer())];
  if (has_weights(last)) {
    q.logits.requant.assign(static_cast<std::size_t>(last.filters), {1 << 30, -10});
    q.logits.loss_multiplier = 1U << 15;
    q.logits.loss_shift = 10;
  }
  return q;
}

}  // namespace

const std::vector<Workload>& suite() {
  static const std::vector<Workload> all = {
      {"small-cnn", "small-cnn", {28, 28, 1}, 10, 64, false},
      {"resnet8", "resnet8", {32, 32, 3}, 10, 64, false},
      {"ds-cnn", "ds-cnn", {49, 40, 1}, 12, 64, false},
      {"resnet18-96", "resnet18", {96, 96, 3}, 1000, 16, true},
      {"resnet18-224", "resnet18", {224, 224, 3}, 1000, 16, true},
      {"mobilenet-96", "mobilenet", {96, 96, 3}, 1000, 16, true},
      {"mobilenet-224", "mobilenet", {224, 224, 3}, 1000, 16, true},
  };
  return all;
}

std::string report_name(const std::string& name) {
  std::string out = name;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto c = static_cast<unsigned char>(out[i]);
    const bool letter = c < 0x80 && std::isalnum(c) != 0;
    const bool mark = c == '_' || c == '-' || c == '.';
    if (!letter && (!mark || (i == 0 && c != '_'))) out[i] = '_';
  }
  return out;
}

Workload find_workload(const std::string& name) {
  const auto& all = suite();
  const auto at =
      std::find_if(all.begin(), all.end(), [&](const Workload& w) { return w.name == name; });
  if (at != all.end()) return *at;
  if (name.ends_with(".toml")) {
    const AssumedTask task = assumed_task(name);
    return {report_name(read_network(name, task.shape).name),
            name,
            task.shape.input,
            task.shape.classes,
            64,
            false,
            task.said};
  }
  if (is_model_file(name))  // whatever the tool that wrote it called its graph
    return {report_name(std::filesystem::path(name).stem().string()), name, {}, 0, 64, false};
  std::string known;
  for (const Workload& w : all) known += (known.empty() ? "" : ", ") + w.name;
  throw Error(ErrorKind::usage,
              fmt::format("network \"{}\", expected one of {}, or a .toml, .onnx or .tflite file",
                          name, known));
}

QuantizedNetwork make_network(const Workload& w, WeightType type, std::uint64_t seed, int threads) {
  const NetworkSource source = load_source(w.network, TaskShape{w.input, w.classes, false});
  const Network& network = source.network;
  if (source.integers && !network.reconstructs()) return *source.integers;
  const Network folded = fold_network(network), plain = depthwise_groups(folded);
  if (w.shapes_only) return shapes_only(weighted_head(plain), type);
  const FloatParams<float> given =
      source.params ? *source.params : init_params<float>(network, seed);
  const FloatParams<float> params =
      weighted_head(plain, depthwise_groups(folded, fold_params(network, given)));
  std::vector<float> x(static_cast<std::size_t>(network.input.elements()) * kCalibrationExamples);
  Rng rng(seed);
  for (float& v : x) v = static_cast<float>(rng.uniform());
  QuantizeOptions options;
  options.weight_type = type;
  const Network headed = weighted_head(plain);
  return quantize(headed, params, calibrate(Golden<float>(headed, threads), params, x), options);
}

const char* name_of(Variant variant) {
  switch (variant) {
    case Variant::full:
      return "full";
    case Variant::head:
      return "head";
    case Variant::sparse:
      return "sparse";
  }
  return "?";
}

Variant parse_variant(const std::string& name) {
  for (const Variant v : {Variant::full, Variant::head, Variant::sparse})
    if (name == name_of(v)) return v;
  throw Error(ErrorKind::usage,
              fmt::format("variant is \"{}\", expected full, head or sparse", name));
}

CompileOptions step_options(const QuantizedNetwork& network, Variant variant, int batch,
                            spec::Distribution distribution) {
  TrainingRule rule;
  rule.eps = 0.01;
  rule.step = 0.01;
  if (variant == Variant::head) {
    rule.layers.assign(network.network.layers.size(), false);
    rule.layers[static_cast<std::size_t>(network.network.logits_layer())] = true;
  }
  if (variant == Variant::sparse) rule.keep = 26;  // of 256
  CompileOptions o = inference_options(batch);
  o.training = training_plan(network, rule);
  o.distribution = distribution;
  // Layers below everything that trains are computed once per example, not once per pass.
  o.input_layer = frozen_prefix(network.network, o.training);
  return o;
}

CompileOptions inference_options(int batch) {
  CompileOptions o;
  o.batch = batch;
  o.memory_bytes = std::uint64_t{1} << 32;
  return o;
}

}  // namespace lastmile::profile
