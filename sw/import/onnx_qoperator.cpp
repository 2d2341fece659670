// SPDX-License-Identifier: Apache-2.0
// Operators on integers (QLinearConv and its kin) are read as what they stand for:
// DequantizeLinear, the operator in floating point, QuantizeLinear. From there on there is one path
// for both forms of quantized models, onnx_quantized.cpp.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "sw/import/onnx_importer.hpp"

namespace lastmile::from_onnx {

using importing::Refusal;

namespace {

// A name that no file's text has.
std::string fresh_name(const onnx::NodeProto& n, int input) {
  return fmt::format("\n{}\n{}", n.output(0), input);
}

void require_inputs(const onnx::NodeProto& n, int count) {
  for (int i = 0; i < count; ++i)
    if (!has_input(n, i))
      throw Refusal{fmt::format("input {} is missing, expected at least {} inputs", i, count)};
}

// The operator in floating point, with the attributes that both share.
onnx::NodeProto in_floating_point(const onnx::NodeProto& n, const char* op) {
  onnx::NodeProto real;
  real.set_op_type(op);
  real.set_name(n.name());
  *real.mutable_attribute() = n.attribute();
  real.add_output(n.output(0));
  return real;
}

}  // namespace

// Input i, whose scale and zero point are the next two, as a DequantizeLinear gives it. `axis`: of
// the scales of weights.
std::string Importer::dequantized_input(const onnx::NodeProto& n, int i, int axis) {
  onnx::NodeProto d;
  d.set_op_type("DequantizeLinear");
  for (int k = 0; k < 3; ++k) d.add_input(has_input(n, i + k) ? n.input(i + k) : "");
  auto* a = d.add_attribute();
  a->set_name("axis");
  a->set_i(axis);
  std::string name = fresh_name(n, i);
  values_[name] = dequantize_linear(d);
  return name;
}

// A bias of integers: its steps are those of the input times those of the weights.
std::string Importer::dequantized_bias(const onnx::NodeProto& n, int i, float from,
                                       const std::string& weights) {
  const Constant& codes = constant(n, i);
  const std::vector<float>& scales = constant_of(weights).scales;
  if (codes.type != onnx::TensorProto::INT32)
    throw Refusal{fmt::format("the bias has data type {}, expected INT32", codes.type)};
  const std::size_t count = codes.integers.size();
  if (scales.size() != 1 && count != scales.size())
    throw Refusal{fmt::format("the bias has {} values, expected {}", count, scales.size())};
  file_.budget().take(count_of(codes));
  Value v;
  v.kind = Value::Kind::constant;
  v.constant.dims = codes.dims;
  v.constant.codes = codes.integers;
  for (std::size_t k = 0; k < count; ++k)
    v.constant.reals.push_back(
        static_cast<float>(static_cast<double>(codes.integers[k]) * static_cast<double>(from) *
                           static_cast<double>(scales[scales.size() == 1 ? 0 : k])));
  std::string name = fresh_name(n, i);
  values_[name] = std::move(v);
  return name;
}

// What the operator in floating point gives, in the steps that inputs `scale` and the next say;
// where they are left out it stays a real number.
Value Importer::quantized_result(const onnx::NodeProto& n, const onnx::NodeProto& real, int scale) {
  Value result = (this->*converters().at(real.op_type()))(real);
  if (!has_input(n, scale)) return result;
  onnx::NodeProto q;
  q.set_op_type("QuantizeLinear");
  q.set_name(n.name());
  q.add_input(n.output(0));
  q.add_input(n.input(scale));
  q.add_input(has_input(n, scale + 1) ? n.input(scale + 1) : "");
  q.add_output(n.output(0));
  values_[n.output(0)] = std::move(result);
  return quantize_linear(q);
}

float Importer::input_step(const onnx::NodeProto& n) {
  const std::vector<float>& scale = reals(n, 1);
  if (scale.size() != 1)
    throw Refusal{fmt::format("{} scales, expected one for a computed tensor", scale.size())};
  return scale[0];
}

const Constant& Importer::constant_of(const std::string& name) {
  const Value& v = value(name);
  if (v.kind != Value::Kind::constant)
    throw Refusal{"its weights are computed, expected a constant"};
  return v.constant;
}

Value Importer::qlinear_conv(const onnx::NodeProto& n) {
  require_inputs(n, 8);
  if (integer(n, "channels_last", 0) != 0) throw Refusal{"channels_last is 1, expected 0"};
  onnx::NodeProto real = in_floating_point(n, "Conv");
  real.add_input(dequantized_input(n, 0));
  const std::string weights = dequantized_input(n, 3, 0);
  real.add_input(weights);
  if (has_input(n, 8)) real.add_input(dequantized_bias(n, 8, input_step(n), weights));
  return quantized_result(n, real, 6);
}

Value Importer::qlinear_matmul(const onnx::NodeProto& n) {
  require_inputs(n, 8);
  onnx::NodeProto real = in_floating_point(n, "MatMul");
  real.add_input(dequantized_input(n, 0));
  real.add_input(dequantized_input(n, 3, 1));
  return quantized_result(n, real, 6);
}

Value Importer::qgemm(const onnx::NodeProto& n) {
  require_inputs(n, 6);
  if (real(n, "alpha", 1) != 1)
    throw Refusal{fmt::format("alpha is {}, expected 1", from_onnx::real(n, "alpha", 1))};
  onnx::NodeProto gemm = in_floating_point(n, "Gemm");
  gemm.add_input(dequantized_input(n, 0));
  const std::string weights = dequantized_input(n, 3, integer(n, "transB", 0) != 0 ? 0 : 1);
  gemm.add_input(weights);
  if (has_input(n, 6)) gemm.add_input(dequantized_bias(n, 6, input_step(n), weights));
  return quantized_result(n, gemm, 7);
}

Value Importer::qlinear_add(const onnx::NodeProto& n) {
  require_inputs(n, 8);
  onnx::NodeProto real = in_floating_point(n, "Add");
  real.add_input(dequantized_input(n, 0));
  real.add_input(dequantized_input(n, 3));
  return quantized_result(n, real, 6);
}

// QLinearAveragePool, QLinearGlobalAveragePool and QLinearSoftmax: one input, five in all.
Value Importer::qlinear_unary(const onnx::NodeProto& n) {
  require_inputs(n, 5);
  if (integer(n, "channels_last", 0) != 0) throw Refusal{"channels_last is 1, expected 0"};
  onnx::NodeProto real =
      in_floating_point(n, n.op_type().c_str() + std::string_view("QLinear").size());
  real.add_input(dequantized_input(n, 0));
  return quantized_result(n, real, 3);
}

// Scales that the graph computes from each input: there is nothing to keep.
Value Importer::dynamic(const onnx::NodeProto&) {
  throw Refusal{
      "the model is quantized dynamically (scales are computed from every input), expected scales "
      "in the file: QLinearConv, QLinearMatMul, QGemm, or QuantizeLinear and DequantizeLinear"};
}

}  // namespace lastmile::from_onnx
