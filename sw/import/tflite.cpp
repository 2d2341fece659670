// SPDX-License-Identifier: Apache-2.0
#include "sw/import/tflite_importer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "sw/base/error.hpp"
#include "sw/quantizer/quantize.hpp"

namespace lastmile {
namespace from_tflite {

using importing::Refusal;
using importing::shown;

namespace {

constexpr const char* kSupported =
    "ADD, AVERAGE_POOL_2D, CONV_2D, DEPTHWISE_CONV_2D, DEQUANTIZE, EXPAND_DIMS, FULLY_CONNECTED, "
    "MAX_POOL_2D, MEAN, PAD, QUANTIZE, RELU, RELU6, RESHAPE, SOFTMAX, SQUEEZE";

}  // namespace

ImportedModel Importer::run() {
  start();
  for (const int op : file_.order()) convert_one(op);
  finish();
  return std::move(model_);
}

void Importer::start() {
  model_.network.name = importing::network_name(file_.name());
  values_.resize(file_.graph().tensors()->size());
  if (file_.graph().inputs() == nullptr || file_.graph().inputs()->size() != 1)
    throw Error(
        ErrorKind::input,
        fmt::format("{}: it has {} inputs, expected one", file_.name(),
                    file_.graph().inputs() == nullptr ? 0 : file_.graph().inputs()->size()));
  const int input = file_.graph().inputs()->Get(0);
  if (file_.producer_of(input) >= 0) file_.malformed("an operator writes the input");
  Value v;
  v.known = true;
  try {
    v.dims = file_.dims_without_batch(input);
  } catch (const Refusal& r) {
    throw Error(ErrorKind::input, fmt::format("{}: {}", file_.name(), r.text));
  }
  values_[static_cast<std::size_t>(input)] = v;
  input_tensor_ = input;
  // An integer model's convolutions read int8 activations; a float one's never do.
  for (const int i : file_.order()) {
    const std::vector<std::int32_t> in = file_.inputs_of(i);
    if (!in.empty() && in[0] >= 0 && file_.tensor(in[0])->type() == Type::int8 &&
        file_.code_of(i) != Operator::dequantize && file_.code_of(i) != Operator::quantize) {
      integer_ = true;
    }
  }
  if (integer_ && file_.tensor(input)->type() == Type::int8) set_input_quant(input);
}

void Importer::set_input_quant(int t) {
  try {
    const TensorQuant quant = file_.int8_quant(t);
    if (input_quantized_ && quant != quantized_.input)
      throw Refusal{"it is quantized in two ways, expected one scale and zero point"};
    quantized_.input = quant;
    input_quantized_ = true;
  } catch (const Refusal& r) {
    problems_.add("the input: " + r.text);
  }
}

// A reshape of the network's input before anything has read it says what the input really is: the
// elements stay in their order.
void Importer::fix_input(const Shape& shape) {
  if (!input_fixed_) {
    model_.network.input = shape;
    input_fixed_ = true;
  }
  if (model_.network.input != shape)
    throw Refusal{
        fmt::format("it sees the input as {} x {} x {}, another operator as {} x {} x "
                    "{}: expected one shape",
                    shape.h, shape.w, shape.c, model_.network.input.h, model_.network.input.w,
                    model_.network.input.c)};
}

// Rows, columns and channels of a value for an operator that works on a plane.
Shape Importer::plane_of(const Value& v) {
  const std::size_t n = v.dims.size();
  Shape s{1, 1, 1};
  for (std::size_t i = 0; i < n; ++i)
    if (v.dims[i] > kMaxDimension)
      throw Refusal{
          fmt::format("a dimension is {}, expected at most {}", v.dims[i], kMaxDimension)};
  if (n > 3) throw Refusal{fmt::format("{} dimensions, expected at most 4 with the batch", n + 1)};
  s.c = v.dims[n - 1];
  if (n > 1) s.w = v.dims[n - 2];
  if (n > 2) s.h = v.dims[n - 3];
  if (v.layer == kNetworkInput) fix_input(s);
  const Shape& out = model_.network.shape_of(v.layer);
  if (out != s)
    throw Refusal{
        fmt::format("it reads {} x {} x {}, which a reshape made of {} x {} x {}: "
                    "supported before fully connected layers and at the input only",
                    s.h, s.w, s.c, out.h, out.w, out.c)};
  return s;
}

std::string Importer::where(int i) const {
  const auto* out = file_.operation(i)->outputs();
  return fmt::format(
      "operator {}, {}{}", i, operator_name(file_.code_of(i)),
      out == nullptr || out->size() == 0 ? "" : " of " + file_.tensor_text(out->Get(0)));
}

void Importer::convert_one(int i) {
  const Operator op = file_.code_of(i);
  const auto* outputs = file_.operation(i)->outputs();
  try {
    if (outputs->size() != 1)
      throw Refusal{fmt::format("{} outputs, expected one", outputs->size())};
    const std::vector<std::int32_t> in = file_.inputs_of(i);
    if (in.empty() || in[0] < 0) throw Refusal{"it has no input"};
    if (!is_supported(op)) {
      const tflite::Text* custom = file_.model().codes()->Get(file_.operation(i)->code())->custom();
      problems_.remark(fmt::format("supported are {}", kSupported));
      throw Refusal{fmt::format(
          "the operator is not supported{}",
          custom == nullptr ? "" : fmt::format(" (\"{}\")", shown(custom->string_view())))};
    }
    // Constants behind a DEQUANTIZE are taken where they are used.
    if (op == Operator::dequantize && file_.producer_of(in[0]) < 0 && in[0] != input_tensor_)
      return;
    const Value& v = value(in[0]);
    if (!v.known) {
      if (file_.producer_of(in[0]) < 0 && in[0] != input_tensor_)
        throw Refusal{file_.tensor_text(in[0]) + " is a constant, expected a computed tensor"};
      return;  // what it depends on has been complained about
    }
    Value result = convert(i, op, in, outputs->Get(0), v);
    if (!result.known) return;
    result.dims = file_.dims_without_batch(outputs->Get(0));
    if (result.elements() != elements_of(result))
      throw Refusal{fmt::format("its output has {} elements, expected {}", result.elements(),
                                elements_of(result))};
    values_[static_cast<std::size_t>(outputs->Get(0))] = result;
  } catch (const Refusal& r) {
    problems_.add(where(i) + ": " + r.text);
  } catch (const Error& e) {  // what the network description cannot hold
    problems_.add(where(i), e);
  }
}

std::int64_t Importer::elements_of(const Value& v) const {
  if (v.layer == kNetworkInput) return values_[static_cast<std::size_t>(input_tensor_)].elements();
  return model_.network.shape_of(v.layer).elements();
}

bool Importer::is_supported(Operator op) {
  switch (op) {
    case Operator::add:
    case Operator::average_pool_2d:
    case Operator::conv_2d:
    case Operator::depthwise_conv_2d:
    case Operator::dequantize:
    case Operator::fully_connected:
    case Operator::max_pool_2d:
    case Operator::relu:
    case Operator::relu6:
    case Operator::reshape:
    case Operator::softmax:
    case Operator::pad:
    case Operator::mean:
    case Operator::squeeze:
    case Operator::expand_dims:
    case Operator::quantize:
      return true;
  }
  return false;
}

const Value& Importer::value(int t) const { return values_[static_cast<std::size_t>(t)]; }

Value Importer::convert(int i, Operator op, const std::vector<std::int32_t>& in, int out,
                        const Value& v) {
  if (v.padded() && op != Operator::conv_2d && op != Operator::depthwise_conv_2d)
    throw Refusal{"it reads what a PAD put out: supported before convolutions only"};
  switch (op) {
    case Operator::conv_2d:
    case Operator::depthwise_conv_2d:
      return convolution(i, op, in, out, v);
    case Operator::fully_connected:
      return dense(i, in, out, v);
    case Operator::average_pool_2d:
    case Operator::max_pool_2d:
      return pool(i, op, in[0], out, v);
    case Operator::mean:
      return mean(in, out, v);
    case Operator::add:
      return add(i, in, out, v);
    case Operator::softmax:
      return softmax(i, in[0], out, v);
    case Operator::relu:
    case Operator::relu6:
      return rectify(in[0], out, v, op == Operator::relu ? Activation::relu : Activation::relu6);
    case Operator::pad:
      return pad(in, out, v);
    case Operator::quantize:
      return requantize(in[0], out, v);
    case Operator::dequantize:
      if (integer_ && file_.tensor(in[0])->type() == Type::int8 && file_.readers_of(out) != 0)
        throw Refusal{"only the output of an integer model can be DEQUANTIZEd"};
      return v;
    case Operator::reshape:
    case Operator::squeeze:
    case Operator::expand_dims:
      if (integer_ && file_.tensor(in[0])->type() == Type::int8 &&
          file_.int8_quant(in[0]) != file_.int8_quant(out)) {
        throw Refusal{"input and output differ in scale or zero point, expected the same"};
      }
      return v;
  }
  return {};
}

// Adds a layer that is complete but for name, bias and output shape.
int Importer::push(Layer l, LayerParams<float> params, QuantizedLayer q, int out) {
  if (model_.network.layers.size() >= static_cast<std::size_t>(kMaxLayers))
    throw Refusal{fmt::format("more than {} layers", kMaxLayers)};
  const tflite::Text* text = file_.tensor(out)->name();
  // Converters join the names of what they fused with ';'.
  std::string_view name = text == nullptr ? std::string_view{} : text->string_view();
  name = name.substr(0, name.find(';'));
  l.name = names_.take(name, fmt::format("{}_{}", name_of(l.op), model_.network.layers.size()));
  l.out = output_shape(l, file_.name());
  model_.network.layers.push_back(std::move(l));
  model_.params.layers.push_back(std::move(params));
  quantized_.layers.push_back(std::move(q));
  return static_cast<int>(model_.network.layers.size()) - 1;
}

Value Importer::result_of(int layer) {
  Value v;
  v.known = true;
  v.layer = layer;
  return v;
}

// No other tensor than one is the output of this layer: reshapes make more.
bool Importer::sole_view(int layer) const {
  return std::count_if(values_.begin(), values_.end(),
                       [&](const Value& v) { return v.known && v.layer == layer; }) == 1;
}

void Importer::finish() {
  problems_.raise();
  Network& n = model_.network;
  const Value& out = value(file_.graph().outputs()->Get(0));
  if (!out.known || n.layers.empty() || out.padded() ||
      out.layer != static_cast<int>(n.layers.size()) - 1) {
    throw Error(ErrorKind::input,
                fmt::format("{}: the output is not what its last operator computes", file_.name()));
  }
  importing::settle_loss(n, "");
  check_network(n, file_.name());
  if (hybrid_)
    model_.notes.push_back(
        "int8 weights of a float model became float: TensorFlow Lite "
        "quantizes its activations on the fly, this project once and for all");
  if (!integer_) {
    check_params(n, model_.params, file_.name());
    return;
  }
  quantized_.network = n;
  quantized_.weight_type = WeightType::w8;
  importing::set_logits(quantized_, model_.notes);
  check_quantized(quantized_, file_.name());
  model_.params = dequantize(quantized_);
  model_.quantized = std::move(quantized_);
}

}  // namespace from_tflite

ImportedModel parse_tflite(std::span<const std::uint8_t> bytes, const std::string& file) {
  // The format aligns its fields to the file's beginning: read it where that is aligned.
  std::vector<std::uint64_t> aligned((bytes.size() + 7) / 8);
  if (!bytes.empty()) std::memcpy(aligned.data(), bytes.data(), bytes.size());
  from_tflite::File opened({reinterpret_cast<const std::uint8_t*>(aligned.data()), bytes.size()},
                           file);
  return from_tflite::Importer(opened).run();
}

}  // namespace lastmile
