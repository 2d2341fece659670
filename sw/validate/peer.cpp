// SPDX-License-Identifier: Apache-2.0
#include "sw/validate/peer.hpp"

#include <nlohmann/json.hpp>
#include <vector>

#include "sw/app/pipeline.hpp"
#include "sw/base/io.hpp"
#include "sw/base/json_text.hpp"
#include "sw/base/rng.hpp"
#include "sw/golden/backprop.hpp"
#include "sw/graph/reader.hpp"

namespace lastmile {
namespace {

using nlohmann::json;

// Arrays one after another, with an index.
class Arrays {
 public:
  template <class T>
  void add(const std::string& name, const std::vector<T>& values) {
    if (values.empty()) return;
    index_[name] = {data_.size(), values.size()};
    data_.insert(data_.end(), values.begin(), values.end());
  }
  [[nodiscard]] const json& index() const { return index_; }
  [[nodiscard]] const std::vector<double>& data() const { return data_; }

 private:
  json index_ = json::object();
  std::vector<double> data_;
};

json layer_json(const Layer& l) {
  return {{"name", l.name},
          {"op", name_of(l.op)},
          {"inputs", l.inputs},
          {"filters", l.filters},
          {"kernel", {l.kernel_h, l.kernel_w}},
          {"stride", {l.stride_h, l.stride_w}},
          {"dilation", {l.dilation_h, l.dilation_w}},
          {"pad", {l.pad_top, l.pad_bottom, l.pad_left, l.pad_right}},
          {"groups", l.groups},
          {"multiplier", l.multiplier},
          {"activation", name_of(l.activation)},
          {"batch_norm", l.batch_norm},
          {"in", {l.in.h, l.in.w, l.in.c}},
          {"out", {l.out.h, l.out.w, l.out.c}}};
}

}  // namespace

void write_peer_case(const std::string& name, const std::filesystem::path& folder,
                     std::uint64_t seed, int threads) {
  constexpr int kExamples = 12;
  const Network network = load_source(name, TaskShape{{20, 20, 1}, 10}).network;
  FloatParams<float> params = init_params<float>(network, seed);
  Rng rng(seed, 2);
  for (LayerParams<float>& p : params.layers) {
    for (auto* tensor : {&p.bias, &p.beta, &p.mean})
      for (float& v : *tensor) v = static_cast<float>(0.3 * rng.normal());
    for (float& v : p.gamma) v = static_cast<float>(rng.uniform(0.5, 1.5));
    for (float& v : p.variance) v = static_cast<float>(rng.uniform(0.2, 2.0));
  }
  const auto params64 = convert_params<double>(params);
  std::vector<float> x(static_cast<std::size_t>(network.input.elements() * kExamples));
  for (float& v : x) v = static_cast<float>(rng.normal());
  const std::vector<double> x64(x.begin(), x.end());
  std::vector<Label> y;
  for (int i = 0; i < kExamples; ++i)
    y.push_back(static_cast<Label>(rng.below(static_cast<std::uint64_t>(network.classes))));

  Arrays arrays;
  arrays.add("x", x);
  arrays.add("y", y);
  const auto trace = Golden<float>(network, threads).trace(params, x);
  const auto trace64 = Golden<double>(network, threads).trace(params64, x64);
  FloatParams<double> gradients;
  const BatchLoss loss =
      Backprop<double>(network, threads).gradients(params64, x64, y, {}, gradients);
  json layers = json::array();
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    const std::string& layer = network.layers[i].name;
    layers.push_back(layer_json(network.layers[i]));
    const LayerParams<double>&p = params64.layers[i], &g = gradients.layers[i];
    arrays.add(layer + "/weights", p.weights);
    arrays.add(layer + "/bias", p.bias);
    arrays.add(layer + "/gamma", p.gamma);
    arrays.add(layer + "/beta", p.beta);
    arrays.add(layer + "/mean", p.mean);
    arrays.add(layer + "/variance", p.variance);
    arrays.add(layer + "/out32", trace[i].post);
    arrays.add(layer + "/out64", trace64[i].post);
    arrays.add(layer + "/gradient/weights", g.weights);
    arrays.add(layer + "/gradient/bias", g.bias);
    arrays.add(layer + "/gradient/gamma", g.gamma);
    arrays.add(layer + "/gradient/beta", g.beta);
  }
  make_folder(folder);
  const json out = {{"network", network.name},
                    {"input", {network.input.h, network.input.w, network.input.c}},
                    {"examples", kExamples},
                    {"classes", network.classes},
                    {"batch_norm_epsilon", kBatchNormEpsilon},
                    {"loss", loss.mean},
                    {"layers", layers},
                    {"arrays", arrays.index()}};
  write_file_atomic(folder / "peer.bin", bytes_of(std::span(arrays.data())), false);
  write_file_atomic(folder / "peer.json", json_text(out, 1) + "\n", false);
}

}  // namespace lastmile
