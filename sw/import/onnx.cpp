// SPDX-License-Identifier: Apache-2.0
#include "sw/import/onnx_importer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sw/base/error.hpp"

namespace lastmile {
namespace from_onnx {

using importing::Refusal;
using importing::shown;

namespace {

constexpr const char* kSupported =
    "Add, AveragePool, BatchNormalization, Cast, Clip, Concat of rows, Constant, Conv, "
    "DequantizeLinear, Div, Dropout, Flatten, Gemm, GlobalAveragePool, GlobalMaxPool, Identity, "
    "LogSoftmax, MatMul, MaxPool, Mul, Pad, QLinearConv, QLinearMatMul, QuantizeLinear, "
    "ReduceMean, Relu, Reshape, Softmax, Squeeze, Sub, Transpose, Unsqueeze, and Shape, Gather, "
    "Slice, Concat where they compute the shape of a Reshape; of the domain com.microsoft QGemm, "
    "QLinearAdd, QLinearAveragePool, QLinearGlobalAveragePool, QLinearSoftmax";
// Domains whose operators are known; the second is onnxruntime's.
constexpr const char* kOnnxDomain = "ai.onnx";
constexpr const char* kRuntimeDomain = "com.microsoft";

}  // namespace

ImportedModel Importer::run() {
  start();
  for (const int i : file_.order()) convert_one(i);
  finish();
  return std::move(model_);
}

// The value of a name; a Value of kind unknown where an earlier node was refused.
Value& Importer::value(const std::string& name) {
  const auto known = values_.find(name);
  if (known != values_.end()) return known->second;
  if (const onnx::TensorProto* initializer = file_.initializer(name)) {
    Value v;
    v.kind = Value::Kind::constant;
    v.constant = file_.tensor(*initializer);
    file_.budget().take(count_of(v.constant));
    return values_.emplace(name, std::move(v)).first->second;
  }
  if (!file_.computes(name))
    throw Refusal{fmt::format("it reads \"{}\", which nothing computes", shown(name))};
  return unknown_;
}

// A constant input of integers, or the attribute that held them in older opsets.
std::optional<std::vector<std::int64_t>> Importer::integers_of(const onnx::NodeProto& n, int input,
                                                               const char* name) {
  if (has_input(n, input)) return constant(n, input).integers;
  return integers(n, name);
}

const Constant& Importer::constant(const onnx::NodeProto& n, int input) {
  const Value& v = value(n.input(input));
  if (v.kind != Value::Kind::constant)
    throw Refusal{fmt::format("input {} (\"{}\") is computed, expected a constant", input,
                              shown(n.input(input)))};
  return v.constant;
}

const std::vector<float>& Importer::reals(const onnx::NodeProto& n, int input) {
  const Constant& c = constant(n, input);
  if (c.is_integer)
    throw Refusal{fmt::format("input {} (\"{}\") is of integers, expected floating point", input,
                              shown(n.input(input)))};
  return c.reals;
}

void Importer::start() {
  model_.network.name = importing::network_name(file_.name());
  const onnx::ValueInfoProto* input = nullptr;
  int count = 0;
  for (const auto& v : file_.graph().input()) {
    if (file_.initializer(v.name()) != nullptr) continue;
    input = &v;
    ++count;
  }
  if (count != 1) file_.refuse(fmt::format("it has {} inputs, expected one", count));
  if (file_.computes(input->name())) file_.malformed("a node writes the input");
  const auto& type = input->type().tensor_type();
  integer_input_ =
      type.elem_type() == onnx::TensorProto::INT8 || type.elem_type() == onnx::TensorProto::UINT8;
  if (!integer_input_ && type.elem_type() != onnx::TensorProto::FLOAT &&
      type.elem_type() != onnx::TensorProto::FLOAT16 &&
      type.elem_type() != onnx::TensorProto::DOUBLE)
    file_.refuse(fmt::format("the input has data type {}, expected floating point, INT8 or UINT8",
                             type.elem_type()));
  const int rank = type.shape().dim_size();
  if (rank < 2 || rank > 4)
    file_.refuse(fmt::format("the input has {} dimensions, expected 2 to 4 with the batch", rank));
  Value v;
  v.kind = Value::Kind::activation;
  batch_ = type.shape().dim(0).has_dim_value() ? type.shape().dim(0).dim_value() : 0;
  for (int i = 1; i < rank; ++i) {
    const auto& d = type.shape().dim(i);
    if (!d.has_dim_value() || d.dim_value() < 1 || d.dim_value() > kMaxDimension)
      file_.refuse(fmt::format(
          "dimension {} of the input is {}, expected a number of 1 to {} "
          "(only the batch may be symbolic)",
          i, d.has_dim_value() ? std::to_string(d.dim_value()) : "\"" + shown(d.dim_param()) + "\"",
          kMaxDimension));
    v.dims.push_back(static_cast<int>(d.dim_value()));
  }
  v.shared = file_.readers(input->name()) > 1;
  input_ = input->name();
  declare_input(v, v.dims, false);
  values_[input_] = v;
}

// Says what the input's dimensions are: channels first (or last), then rows and columns.
void Importer::declare_input(Value& v, const std::vector<int>& dims, bool channels_last) {
  v.dims = dims;
  std::vector<Axis> names;
  if (dims.size() == 1) names = {Axis::c};
  if (dims.size() == 2) names = {Axis::c, Axis::w};
  if (dims.size() == 3) names = {Axis::c, Axis::h, Axis::w};
  if (channels_last) std::rotate(names.begin(), names.begin() + 1, names.end());
  Shape s{1, 1, 1};
  for (std::size_t i = 0; i < dims.size(); ++i)
    (names[i] == Axis::h ? s.h : names[i] == Axis::w ? s.w : s.c) = dims[i];
  model_.network.input = s;
  set_axes(v, s, names);
}

void Importer::set_axes(Value& v, const Shape& s, const std::vector<Axis>& names) {
  v.axes.clear();
  for (const Axis a : names) v.axes.push_back(size_of(s, a) > 1 ? Axes{a} : Axes{});
}

// The input may still be seen anew by the node that alone reads it first.
bool Importer::input_is_open(const Value& v) const {
  return v.layer == kNetworkInput && !input_used_ && !v.shared;
}

const Shape& Importer::shape_of(const Value& v) const { return model_.network.shape_of(v.layer); }

std::string Importer::where(int i) const {
  const auto& n = file_.node(i);
  return fmt::format("node {}{}, {}", i,
                     n.name().empty() ? "" : fmt::format(" \"{}\"", shown(n.name())),
                     shown(n.op_type()));
}

void Importer::convert_one(int i) {
  const onnx::NodeProto& n = file_.node(i);
  try {
    if (!n.domain().empty() && n.domain() != kOnnxDomain && n.domain() != kRuntimeDomain)
      throw Refusal{fmt::format("its domain is \"{}\", expected {} or {}", shown(n.domain()),
                                kOnnxDomain, kRuntimeDomain)};
    const auto convert = converters().find(n.op_type());
    if (convert == converters().end()) {
      problems_.remark(fmt::format("supported are {}", kSupported));
      throw Refusal{"the operator is not supported"};
    }
    if (n.output_size() == 0) throw Refusal{"it has no output"};
    for (int k = 1; k < n.output_size(); ++k) {
      if (!n.output(k).empty() && file_.readers(n.output(k)) > 0)
        throw Refusal{fmt::format("output {} is used, expected the first one only", k)};
    }
    bool all_known = true;
    for (int k = 0; k < n.input_size(); ++k)
      if (has_input(n, k)) all_known &= value(n.input(k)).kind != Value::Kind::unknown;
    if (!all_known) return;  // what it depends on has been complained about
    if (convert->first != "Constant" && !has_input(n, 0)) throw Refusal{"it has no input"};
    Value result = (this->*(convert->second))(n);
    if (result.kind == Value::Kind::activation && file_.readers(n.output(0)) > 1)
      result.shared = true;
    values_[n.output(0)] = std::move(result);
  } catch (const Refusal& r) {
    problems_.add(where(i) + ": " + r.text);
  } catch (const Error& e) {
    problems_.add(where(i), e);
  }
}

const std::map<std::string, Importer::Convert, std::less<>>& Importer::converters() {
  static const std::map<std::string, Convert, std::less<>> all = {
      {"Add", &Importer::add},
      {"AveragePool", &Importer::pool},
      {"BatchNormalization", &Importer::batch_norm},
      {"Cast", &Importer::cast},
      {"Clip", &Importer::clip},
      {"Concat", &Importer::concat},
      {"Constant", &Importer::constant_node},
      {"Conv", &Importer::conv},
      {"DequantizeLinear", &Importer::dequantize_linear},
      {"ConvInteger", &Importer::dynamic},
      {"Div", &Importer::arithmetic},
      {"Dropout", &Importer::identity},
      {"DynamicQuantizeLinear", &Importer::dynamic},
      {"DynamicQuantizeMatMul", &Importer::dynamic},
      {"Flatten", &Importer::flatten},
      {"Gather", &Importer::gather},
      {"Gemm", &Importer::gemm},
      {"GlobalAveragePool", &Importer::global_pool},
      {"GlobalMaxPool", &Importer::global_pool},
      {"Identity", &Importer::identity},
      {"LogSoftmax", &Importer::softmax},
      {"MatMul", &Importer::matmul},
      {"MatMulInteger", &Importer::dynamic},
      {"MatMulIntegerToFloat", &Importer::dynamic},
      {"MaxPool", &Importer::pool},
      {"Mul", &Importer::arithmetic},
      {"Pad", &Importer::pad},
      {"QGemm", &Importer::qgemm},
      {"QLinearAdd", &Importer::qlinear_add},
      {"QLinearAveragePool", &Importer::qlinear_unary},
      {"QLinearConv", &Importer::qlinear_conv},
      {"QLinearGlobalAveragePool", &Importer::qlinear_unary},
      {"QLinearMatMul", &Importer::qlinear_matmul},
      {"QLinearSoftmax", &Importer::qlinear_unary},
      {"QuantizeLinear", &Importer::quantize_linear},
      {"ReduceMean", &Importer::reduce_mean},
      {"Relu", &Importer::relu},
      {"Reshape", &Importer::reshape},
      {"Shape", &Importer::shape},
      {"Slice", &Importer::slice},
      {"Softmax", &Importer::softmax},
      {"Squeeze", &Importer::squeeze},
      {"Sub", &Importer::arithmetic},
      {"Transpose", &Importer::transpose},
      {"Unsqueeze", &Importer::unsqueeze},
  };
  return all;
}

// The first input as an activation.
Value Importer::activation(const onnx::NodeProto& n, int input) {
  Value v = value(n.input(input));
  if (v.kind != Value::Kind::activation)
    throw Refusal{fmt::format("input {} (\"{}\") is a constant, expected a computed tensor", input,
                              shown(n.input(input)))};
  const std::string& op = n.op_type();
  if (v.padded() && op != "Conv" && op != "QuantizeLinear" && op != "DequantizeLinear")
    throw Refusal{"it reads what a Pad put out: supported before Conv only"};
  return v;
}

// Adds a layer that is complete but for name and output shape; `order` names the axes of the
// result's dimensions.
Value Importer::push(const onnx::NodeProto& n, Layer l, LayerParams<float> params,
                     const std::vector<Axis>& order) {
  if (model_.network.layers.size() >= static_cast<std::size_t>(kMaxLayers))
    throw Refusal{fmt::format("more than {} layers", kMaxLayers)};
  l.name = names_.take(n.name().empty() ? n.output(0) : n.name(), n.op_type());
  l.out = output_shape(l, file_.name());
  if (l.inputs[0] == kNetworkInput || (l.inputs.size() > 1 && l.inputs[1] == kNetworkInput))
    input_used_ = true;
  Value v;
  v.kind = Value::Kind::activation;
  v.layer = static_cast<int>(model_.network.layers.size());
  for (const Axis a : order) v.dims.push_back(size_of(l.out, a));
  set_axes(v, l.out, order);
  model_.network.layers.push_back(std::move(l));
  model_.params.layers.push_back(std::move(params));
  return v;
}

std::int64_t Importer::count_of(const Constant& c) {
  return static_cast<std::int64_t>(c.reals.size() + c.integers.size());
}

void Importer::finish() {
  problems_.raise();
  Network& n = model_.network;
  const Value& out = values_[file_.output()];
  if (out.kind != Value::Kind::activation || n.layers.empty() || out.padded() ||
      out.layer != static_cast<int>(n.layers.size()) - 1) {
    file_.refuse("its output is not what its last operator computes");
  }
  importing::settle_loss(n, file_.metadata(kLossKey));
  check_network(n, file_.name());
  check_params(n, model_.params, file_.name());
  if (!quants_.empty())
    make_integers();
  else if (integer_input_)
    file_.refuse("its input is integers, and nothing says their scale");
  model_.channels_first = file_.metadata(kLossKey).empty();
}

}  // namespace from_onnx

ImportedModel parse_onnx(std::span<const std::uint8_t> bytes, const std::string& file,
                         const std::filesystem::path& folder) {
  from_onnx::File opened(bytes, file, folder);
  return from_onnx::Importer(opened).run();
}

}  // namespace lastmile
