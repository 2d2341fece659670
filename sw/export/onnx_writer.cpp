// SPDX-License-Identifier: Apache-2.0
#include "sw/export/onnx_writer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "sw/base/error.hpp"
#include "sw/import/onnx_importer.hpp"
#include "sw/quantizer/quantize.hpp"

namespace lastmile {
namespace to_onnx {

using onnx::TensorProto;

namespace {

// What runs every node that is written here; int16 weights came with the second.
constexpr int kOpset = 13, kWideOpset = 21;
constexpr int kIr = 7, kWideIr = 10;
constexpr const char* kBatch = "N";

// Where each element of a layer's weights goes: the project's order to ONNX's (channels first).
// `from`: the shape of what a dense layer reads.
template <class T>
std::vector<T> channels_first(const Layer& l, const Shape& from, const std::vector<T>& w) {
  std::vector<T> out(w.size());
  const auto n = [](int v) { return static_cast<std::size_t>(v); };
  std::size_t k = 0;
  if (l.op == Op::conv2d) {
    const std::size_t each = n(l.in.c / l.groups), window = n(l.kernel_h) * n(l.kernel_w);
    for (std::size_t o = 0; o < n(l.filters); ++o)
      for (std::size_t s = 0; s < window; ++s)
        for (std::size_t c = 0; c < each; ++c) out[(o * each + c) * window + s] = w[k++];
  } else if (l.op == Op::depthwise_conv2d) {
    const std::size_t window = n(l.kernel_h) * n(l.kernel_w);
    for (std::size_t s = 0; s < window; ++s)
      for (std::size_t o = 0; o < n(l.filters); ++o) out[o * window + s] = w[k++];
  } else {
    const std::size_t plane = n(from.h) * n(from.w), row = plane * n(from.c);
    for (std::size_t o = 0; o < n(l.filters); ++o)
      for (std::size_t s = 0; s < plane; ++s)
        for (std::size_t c = 0; c < n(from.c); ++c) out[o * row + c * plane + s] = w[k++];
  }
  return out;
}

std::vector<std::int64_t> weight_dims(const Layer& l, std::size_t count) {
  const std::int64_t filters = l.filters;
  if (l.op == Op::fully_connected) return {filters, static_cast<std::int64_t>(count) / filters};
  return {filters, l.op == Op::conv2d ? l.in.c / l.groups : 1, l.kernel_h, l.kernel_w};
}

// The columns of a dense layer's weights that are not of a record's constants.
template <class T>
std::vector<T> without_constants(const Layer& record, const Layer& l, const std::vector<T>& w) {
  std::vector<T> out;
  const auto all = static_cast<std::size_t>(record.out.c),
             kept = static_cast<std::size_t>(record.in.c);
  for (std::size_t o = 0; o < static_cast<std::size_t>(l.filters); ++o)
    out.insert(out.end(), w.begin() + static_cast<std::ptrdiff_t>(o * all),
               w.begin() + static_cast<std::ptrdiff_t>(o * all + kept));
  return out;
}

}  // namespace

Writer::Writer(const Network& network, const QuantizedNetwork* quantized,
               const OnnxOptions& options)
    : network_(network),
      q_(quantized),
      options_(options),
      problems_(network.name),
      tensors_(network.layers.size() + 1) {}

// A record's gains and constants go into the dense layer that reads it.
void Writer::check_concat(int i) {
  const Layer& l = layer(i);
  const bool plain =
      l.constants.empty() &&
      (q_ != nullptr || std::all_of(l.parts.begin(), l.parts.end(),
                                    [](const ConcatPart& p) { return p.gain == 1; }));
  bool dense = i != static_cast<int>(network_.layers.size()) - 1;
  for (const Layer& reader : network_.layers)
    for (const int from : reader.inputs)
      dense = dense && (from != i || reader.op == Op::fully_connected);
  if (!plain && !dense)
    problems_.add(
        fmt::format("layer '{}' (concat): it has gains or constants and is not read by "
                    "fully_connected layers alone, expected one of these",
                    l.name));
}

// Scales are all that ONNX knows: whatever the integers compute must follow from them.
void Writer::check_quantized_layer(int i) {
  const Layer& l = layer(i);
  const QuantizedLayer& q = q_->layers[static_cast<std::size_t>(i)];
  const auto clamp = activation_clamp(l.activation, q.out);
  const bool sum = l.op == Op::add, clamps = traits(l.op).activation;
  const std::int32_t least = sum ? q.add.act_min : q.act_min,
                     most = sum ? q.add.act_max : q.act_max;
  // TensorFlow Lite rounds the 6 of its RELU6 in float: one step is no other clamp.
  if (clamps && (std::abs(least - clamp[0]) > 1 || std::abs(most - clamp[1]) > 1))
    problems_.add(
        fmt::format("layer '{}' ({}): it is clamped to {} to {}, expected {} to {}, which "
                    "its activation gives",
                    l.name, lastmile::name_of(l.op), least, most, clamp[0], clamp[1]));
  if (!has_weights(l)) return;
  constexpr double kClose = 1e-5, kSmall = 0x1p-38;
  for (std::size_t c = 0; c < q.requant.size(); ++c) {
    const double found = std::ldexp(q.requant[c].multiplier, q.requant[c].exponent - 31);
    const double expected = static_cast<double>(q_->quant_of(l.inputs[0]).scale) *
                            static_cast<double>(q.weight_scale[c]) /
                            static_cast<double>(q.out.scale);
    if (std::abs(found - expected) <= kClose * expected + kSmall) continue;
    problems_.add(
        fmt::format("layer '{}' ({}): factor {} is {}, expected {}, which its scales give", l.name,
                    lastmile::name_of(l.op), c, found, expected));
    return;
  }
}

void Writer::check() {
  for (int i = 0; i < static_cast<int>(network_.layers.size()); ++i) {
    if (layer(i).op == Op::concat) check_concat(i);
    if (q_ != nullptr) check_quantized_layer(i);
  }
  problems_.raise();
}

std::string Writer::node(const std::string& op, const std::vector<std::string>& inputs,
                         const std::string& output) {
  auto* n = model_.mutable_graph()->add_node();
  n->set_op_type(op);
  n->set_name(output);
  for (const std::string& i : inputs) n->add_input(i);
  n->add_output(output);
  return output;
}

void Writer::set(const char* name, std::int64_t value) {
  auto& graph = *model_.mutable_graph();
  auto* a = graph.mutable_node(graph.node_size() - 1)->add_attribute();
  a->set_name(name);
  a->set_type(onnx::AttributeProto::INT);
  a->set_i(value);
}
void Writer::set(const char* name, const Ints& values) {
  auto& graph = *model_.mutable_graph();
  auto* a = graph.mutable_node(graph.node_size() - 1)->add_attribute();
  a->set_name(name);
  a->set_type(onnx::AttributeProto::INTS);
  for (const std::int64_t v : values) a->add_ints(v);
}

TensorProto* Writer::constant(const std::string& name, const Ints& dims, int type) {
  auto* t = model_.mutable_graph()->add_initializer();
  t->set_name(name);
  t->set_data_type(type);
  for (const std::int64_t d : dims) t->add_dims(d);
  return t;
}

std::string Writer::reals(const std::string& name, const Ints& dims,
                          const std::vector<float>& values) {
  constant(name, dims, TensorProto::FLOAT)
      ->set_raw_data(values.data(), values.size() * sizeof(float));
  return name;
}

std::string Writer::scalar(const std::string& name, float value) {
  return reals(name, {}, {value});
}

std::string Writer::codes(const std::string& name, const Ints& dims, int type,
                          const std::vector<std::int32_t>& values) {
  std::string raw;
  const std::size_t bytes = type == TensorProto::INT8 ? 1 : type == TensorProto::INT16 ? 2 : 4;
  raw.reserve(values.size() * bytes);
  for (const std::int32_t v : values)
    for (std::size_t b = 0; b < bytes; ++b)
      raw += static_cast<char>(static_cast<std::uint32_t>(v) >> (8 * b) & 255U);
  constant(name, dims, type)->set_raw_data(std::move(raw));
  return name;
}

std::string Writer::dequantized(const std::string& name, const std::string& constant, int type,
                                const std::vector<float>& scales, int axis) {
  const bool alike =
      std::all_of(scales.begin(), scales.end(), [&](float s) { return s == scales.front(); });
  const std::size_t count = alike ? 1 : scales.size();
  const Ints dims = alike ? Ints{} : Ints{static_cast<std::int64_t>(count)};
  std::vector<std::string> inputs{
      constant, reals(name + "/scale", dims,
                      {scales.begin(), scales.begin() + static_cast<std::ptrdiff_t>(count)})};
  if (type != TensorProto::INT32)  // there it has to be left out or zero
    inputs.push_back(codes(name + "/zero_point", dims, type, std::vector<std::int32_t>(count, 0)));
  node("DequantizeLinear", inputs, name + "/real");
  if (!alike) set("axis", std::int64_t{axis});
  return name + "/real";
}

Writer::Tensor Writer::quantized(int i, const std::string& name, const std::string& real,
                                 bool flat) {
  const TensorQuant& quant = q_->quant_of(i);
  const std::string scale = scalar(name + "/scale", quant.scale);
  const std::string zero = codes(name + "/zero_point", {}, TensorProto::INT8, {quant.zero_point});
  Tensor t;
  t.flat = flat;
  t.codes = node("QuantizeLinear", {real, scale, zero}, name + "/quantized");
  t.name = node("DequantizeLinear", {t.codes, scale, zero}, name + "/dequantized");
  return t;
}

std::string Writer::plane(int i, std::size_t k) {
  const int from = layer(i).inputs[k];
  const Tensor& t = tensor(from);
  if (!t.flat) return t.name;
  const Shape& s = network_.shape_of(from);
  const std::string name = fmt::format("{}/plane{}", layer(i).name, k);
  auto* shape = constant(name + "/shape", {4}, TensorProto::INT64);
  for (const std::int64_t d : {-1, s.c, s.h, s.w}) shape->add_int64_data(d);
  return node("Reshape", {t.name, name + "/shape"}, name);
}

std::string Writer::flat(int i, std::size_t k) {
  const Tensor& t = tensor(layer(i).inputs[k]);
  if (t.flat) return t.name;
  const std::string name = fmt::format("{}/flat{}", layer(i).name, k);
  node("Flatten", {t.name}, name);
  set("axis", std::int64_t{1});
  return name;
}

void Writer::input() {
  auto* v = model_.mutable_graph()->add_input();
  v->set_name("input");
  auto* type = v->mutable_type()->mutable_tensor_type();
  type->set_elem_type(TensorProto::FLOAT);
  const Shape& s = network_.input;
  const bool flat = s.h == 1 && s.w == 1;
  type->mutable_shape()->add_dim()->set_dim_param(kBatch);
  for (const int d : flat ? std::vector<int>{s.c} : std::vector<int>{s.c, s.h, s.w})
    type->mutable_shape()->add_dim()->set_dim_value(d);
  tensor(kNetworkInput) = {"input", "", flat};
  if (q_ != nullptr) tensor(kNetworkInput) = quantized(kNetworkInput, "input", "input", flat);
}

// The last layer's result, as a row where it is one.
void Writer::output() {
  const int last = static_cast<int>(network_.layers.size()) - 1;
  Tensor& t = tensor(last);
  const Shape& s = layer(last).out;
  if (!t.flat && s.h == 1 && s.w == 1) {
    node("Flatten", {t.name}, t.name + "/flat");
    set("axis", std::int64_t{1});
    t.flat = true;
  }
  auto& graph = *model_.mutable_graph();
  const std::string name = find_layer(network_, "output") == -2 ? "output" : "/output";
  graph.mutable_node(graph.node_size() - 1)->set_output(0, name);
  auto* v = graph.add_output();
  v->set_name(name);
  auto* type = v->mutable_type()->mutable_tensor_type();
  type->set_elem_type(TensorProto::FLOAT);
  type->mutable_shape()->add_dim()->set_dim_param(kBatch);
  for (const int d : t.flat ? std::vector<int>{s.c} : std::vector<int>{s.c, s.h, s.w})
    type->mutable_shape()->add_dim()->set_dim_value(d);
}

Operands Writer::operands(int i, const LayerParams<float>& p) {
  const Layer& l = layer(i);
  const int from = l.inputs[0];
  const Shape shape = network_.shape_of(from);
  const bool record = from != kNetworkInput && layer(from).op == Op::concat;
  const bool row = record || tensor(from).flat;
  const Shape read =
      row ? Shape{1, 1, record ? layer(from).in.c : static_cast<int>(shape.elements())} : shape;
  const std::string weights = l.name + "/weights", bias = l.name + "/bias";
  Operands o;
  if (q_ == nullptr) {
    std::vector<float> w = p.weights, b = p.bias;
    if (record) {
      const Layer& r = layer(from);
      b.resize(static_cast<std::size_t>(l.filters), 0);
      for (std::size_t u = 0, k = 0; u < b.size(); ++u) {
        for (const ConcatPart& part : r.parts)
          for (std::int64_t e = 0; e < part.elements; ++e, ++k)
            w[k] = static_cast<float>(static_cast<double>(w[k]) * part.gain);
        double sum = static_cast<double>(b[u]);
        for (const double c : r.constants) sum += c * static_cast<double>(w[k++]);
        b[u] = static_cast<float>(sum);
      }
      w = without_constants(r, l, w);
      if (!l.bias && r.constants.empty()) b.clear();
    }
    o.weights = reals(weights, weight_dims(l, w.size()), channels_first(l, read, w));
    if (!b.empty()) o.bias = reals(bias, {l.filters}, b);
    return o;
  }
  const QuantizedLayer& q = q_->layers[static_cast<std::size_t>(i)];
  std::vector<std::int32_t> w(q.weights.begin(), q.weights.end()), b = q.bias;
  if (record) {
    const Layer& r = layer(from);
    const QuantizedLayer& rq = q_->layers[static_cast<std::size_t>(from)];
    b.resize(static_cast<std::size_t>(l.filters), 0);
    for (std::size_t u = 0; u < b.size(); ++u) {
      std::int64_t sum = b[u];
      for (std::size_t c = 0; c < rq.constants.size(); ++c)
        sum += std::int64_t{rq.constants[c] - rq.out.zero_point} *
               w[u * static_cast<std::size_t>(r.out.c) + static_cast<std::size_t>(r.in.c) + c];
      if (std::abs(sum) > std::int64_t{numeric::kBiasMax})
        throw Error(
            ErrorKind::input,
            fmt::format("{}: layer '{}': bias {} with the constants of '{}' is {}, expected "
                        "int32",
                        network_.name, l.name, u, r.name, sum));
      b[u] = static_cast<std::int32_t>(sum);
    }
    w = without_constants(r, l, w);
    if (!l.bias && rq.constants.empty()) b.clear();
  }
  const bool wide = q_->weight_type_of(static_cast<std::size_t>(i)) == WeightType::w16;
  const int type = wide ? TensorProto::INT16 : TensorProto::INT8;
  o.weights = dequantized(
      weights, codes(weights, weight_dims(l, w.size()), type, channels_first(l, read, w)), type,
      q.weight_scale, 0);
  if (!b.empty()) {
    std::vector<float> steps;
    for (const float s : q.weight_scale) steps.push_back(q_->quant_of(from).scale * s);
    o.bias = dequantized(bias, codes(bias, {l.filters}, TensorProto::INT32, b), TensorProto::INT32,
                         steps, 0);
  }
  return o;
}

void Writer::window(const Layer& l, bool dilates) {
  set("kernel_shape", Ints{l.kernel_h, l.kernel_w});
  set("strides", Ints{l.stride_h, l.stride_w});
  set("pads", Ints{l.pad_top, l.pad_left, l.pad_bottom, l.pad_right});
  if (dilates) set("dilations", Ints{l.dilation_h, l.dilation_w});
}

// Inputs as they lie in memory here, channels last; integers as they are.
Writer::Tensor Writer::concat(int i) {
  const Layer& l = layer(i);
  std::vector<std::string> rows;
  for (std::size_t k = 0; k < l.inputs.size(); ++k) {
    const Tensor& t = tensor(l.inputs[k]);
    const std::string name = fmt::format("{}/part{}", l.name, k);
    std::string x = q_ == nullptr ? t.name : t.codes;
    if (!t.flat) {
      const Shape& s = network_.shape_of(l.inputs[k]);
      if (s.c > 1 && s.h * s.w > 1) {
        x = node("Transpose", {x}, fmt::format("{}/last", name));
        set("perm", Ints{0, 2, 3, 1});
      }
      x = node("Flatten", {x}, name);
      set("axis", std::int64_t{1});
    }
    rows.push_back(x);
  }
  node("Concat", rows, l.name);
  set("axis", std::int64_t{1});
  if (q_ == nullptr) return {l.name, "", true};
  const TensorQuant& quant = q_->quant_of(i);
  return {node("DequantizeLinear",
               {l.name, scalar(l.name + "/scale", quant.scale),
                codes(l.name + "/zero_point", {}, TensorProto::INT8, {quant.zero_point})},
               l.name + "/dequantized"),
          l.name, true};
}

std::string Writer::activated(int i, const std::string& before) {
  const Layer& l = layer(i);
  if (l.activation == Activation::relu) return node("Relu", {before}, l.name + "/relu");
  if (l.activation == Activation::relu6)
    return node("Clip", {before, scalar(l.name + "/least", 0), scalar(l.name + "/most", 6)},
                l.name + "/relu6");
  return before;
}

void Writer::convert(int i, const LayerParams<float>& p) {
  const Layer& l = layer(i);
  bool is_flat = false;
  std::string y;
  switch (l.op) {
    case Op::conv2d:
    case Op::depthwise_conv2d: {
      const std::string x = plane(i, 0);
      const Operands o = operands(i, p);
      y = node("Conv",
               o.bias.empty() ? std::vector{x, o.weights} : std::vector{x, o.weights, o.bias},
               l.name);
      window(l, true);
      set("group", std::int64_t{l.op == Op::conv2d ? l.groups : l.in.c});
      break;
    }
    case Op::fully_connected: {
      const std::string x = flat(i, 0);
      const Operands o = operands(i, p);
      y = node("Gemm",
               o.bias.empty() ? std::vector{x, o.weights} : std::vector{x, o.weights, o.bias},
               l.name);
      set("transB", std::int64_t{1});
      is_flat = true;
      break;
    }
    case Op::max_pool2d:
      y = node("MaxPool", {plane(i, 0)}, l.name);
      window(l, false);
      break;
    case Op::average_pool2d:
      y = node("AveragePool", {plane(i, 0)}, l.name);
      window(l, false);
      break;
    case Op::global_average_pool:
      y = node("GlobalAveragePool", {plane(i, 0)}, l.name);
      break;
    case Op::add: {
      is_flat = tensor(l.inputs[0]).flat && tensor(l.inputs[1]).flat;
      const std::string a = is_flat ? flat(i, 0) : plane(i, 0);
      y = node("Add", {a, is_flat ? flat(i, 1) : plane(i, 1)}, l.name);
      break;
    }
    case Op::concat:
      tensor(i) = concat(i);
      return;
    case Op::softmax:
      y = node("Softmax", {flat(i, 0)}, l.name);
      set("axis", std::int64_t{1});
      is_flat = true;
      break;
  }
  y = activated(i, y);
  const bool last = i == static_cast<int>(network_.layers.size()) - 1;
  if (q_ == nullptr || (last && !options_.int8_result))
    tensor(i) = {y, "", is_flat};
  else
    tensor(i) = quantized(i, l.name, y, is_flat);
}

std::vector<std::uint8_t> Writer::run(const FloatParams<float>& params) {
  check();
  const bool wide = q_ != nullptr && q_->widest_weights() == WeightType::w16;
  model_.set_ir_version(wide ? kWideIr : kIr);
  auto* opset = model_.add_opset_import();
  opset->set_domain("");
  opset->set_version(wide ? kWideOpset : kOpset);
  model_.set_producer_name("lastmile");
  model_.mutable_graph()->set_name(network_.name.empty() ? "network" : network_.name);
  const auto says = [&](const std::string& key, const std::string& value) {
    auto* m = model_.add_metadata_props();
    m->set_key(key);
    m->set_value(value);
  };
  for (const auto& [key, value] : options_.metadata) says(key, value);
  says(from_onnx::kLossKey, lastmile::name_of(network_.loss));
  if (q_ != nullptr) {
    if (!options_.int8_result) {
      const TensorQuant& result = q_->layers.back().out;
      says(from_onnx::kResultScaleKey, fmt::format("{}", result.scale));
      says(from_onnx::kResultZeroKey, fmt::format("{}", result.zero_point));
    }
    if (!q_->logits.requant.empty())
      says(from_onnx::kLogitScaleKey, fmt::format("{}", q_->logits.scale));
    if (!q_->preprocessing.empty()) says(from_onnx::kPreprocessingKey, q_->preprocessing);
  }
  input();
  for (std::size_t i = 0; i < network_.layers.size(); ++i)
    convert(static_cast<int>(i), params.layers[i]);
  output();
  std::string bytes;
  if (!model_.SerializeToString(&bytes))
    throw Error(ErrorKind::input,
                fmt::format("{}: its ONNX model is larger than 2 GiB", network_.name));
  return {bytes.begin(), bytes.end()};
}

}  // namespace to_onnx

std::vector<std::uint8_t> encode_onnx(const Network& network, const FloatParams<float>& params,
                                      const OnnxOptions& options) {
  const Network folded = fold_network(network);
  return to_onnx::Writer(folded, nullptr, options).run(fold_params(network, params));
}

std::vector<std::uint8_t> encode_onnx_qdq(const QuantizedNetwork& network,
                                          const OnnxOptions& options) {
  FloatParams<float> none;
  none.layers.resize(network.layers.size());
  return to_onnx::Writer(network.network, &network, options).run(none);
}

}  // namespace lastmile
