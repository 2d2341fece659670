// SPDX-License-Identifier: Apache-2.0
// Tensors of a TensorFlow Lite file: names, shapes, constants, scales.
#include <fmt/format.h>

#include <cmath>
#include <map>

#include "sw/base/float16.hpp"
#include "sw/graph/network.hpp"
#include "sw/import/tflite_file.hpp"

namespace lastmile::from_tflite {

using importing::Refusal;
using importing::shown;

namespace {

std::size_t bytes_of_type(Type type) {
  switch (type) {
    case Type::float32:
    case Type::int32:
      return 4;
    case Type::float16:
    case Type::int16:
      return 2;
    case Type::int64:
      return 8;
    default:
      return 1;
  }
}

}  // namespace

// Names of the format's operators for messages; a few of those that are not supported too.
std::string operator_name(Operator op) {
  static const std::map<std::int32_t, const char*> names = {
      {0, "ADD"},
      {1, "AVERAGE_POOL_2D"},
      {2, "CONCATENATION"},
      {3, "CONV_2D"},
      {4, "DEPTHWISE_CONV_2D"},
      {6, "DEQUANTIZE"},
      {9, "FULLY_CONNECTED"},
      {11, "L2_NORMALIZATION"},
      {14, "LOGISTIC"},
      {16, "LSTM"},
      {17, "MAX_POOL_2D"},
      {18, "MUL"},
      {19, "RELU"},
      {20, "RELU_N1_TO_1"},
      {21, "RELU6"},
      {22, "RESHAPE"},
      {23, "RESIZE_BILINEAR"},
      {25, "SOFTMAX"},
      {27, "SVDF"},
      {28, "TANH"},
      {32, "CUSTOM"},
      {34, "PAD"},
      {36, "GATHER"},
      {39, "TRANSPOSE"},
      {40, "MEAN"},
      {41, "SUB"},
      {42, "DIV"},
      {43, "SQUEEZE"},
      {44, "UNIDIRECTIONAL_SEQUENCE_LSTM"},
      {45, "STRIDED_SLICE"},
      {49, "SPLIT"},
      {50, "LOG_SOFTMAX"},
      {53, "CAST"},
      {54, "PRELU"},
      {56, "ARG_MAX"},
      {60, "PADV2"},
      {67, "TRANSPOSE_CONV"},
      {70, "EXPAND_DIMS"},
      {74, "SUM"},
      {77, "SHAPE"},
      {83, "PACK"},
      {98, "LEAKY_RELU"},
      {99, "SQUARED_DIFFERENCE"},
      {114, "QUANTIZE"},
      {117, "HARD_SWISH"},
      {142, "VAR_HANDLE"},
  };
  const auto it = names.find(static_cast<std::int32_t>(op));
  return it != names.end() ? it->second : fmt::format("operator {}", static_cast<std::int32_t>(op));
}

const char* type_name(Type type) {
  switch (type) {
    case Type::float32:
      return "FLOAT32";
    case Type::float16:
      return "FLOAT16";
    case Type::int32:
      return "INT32";
    case Type::uint8:
      return "UINT8";
    case Type::int64:
      return "INT64";
    case Type::boolean:
      return "BOOL";
    case Type::int16:
      return "INT16";
    case Type::int8:
      return "INT8";
  }
  return "another type";
}

std::string File::tensor_text(int t) const {
  const tflite::Text* name = tensor(t)->name();
  return fmt::format("tensor {} \"{}\"", t, name == nullptr ? "" : shown(name->string_view()));
}

std::vector<int> File::dims_of(int t) const {
  std::vector<int> dims;
  std::int64_t elements = 1;
  if (tensor(t)->shape() != nullptr) {
    for (const std::int32_t d : *tensor(t)->shape()) {
      if (d < 1 || (elements *= d) > kMaxElements)
        throw Refusal{
            fmt::format("{}: dimension {} is {}, expected 1 or more and at most {} "
                        "elements in all",
                        tensor_text(t), dims.size(), d, kMaxElements)};
      dims.push_back(d);
      if (dims.size() > 8) throw Refusal{tensor_text(t) + " has more than 8 dimensions"};
    }
  }
  return dims;
}

std::vector<int> File::dims_without_batch(int t) const {
  std::vector<int> dims = dims_of(t);
  if (dims.size() < 2)
    throw Refusal{fmt::format("{} has {} dimensions, expected the batch and at least one more",
                              tensor_text(t), dims.size())};
  dims.erase(dims.begin());
  return dims;
}

// The bytes of a constant tensor, which must fill its shape exactly.
std::span<const std::uint8_t> File::constant_bytes(int t) const {
  const tflite::Buffer* buffer = file_model_->buffers()->Get(tensor(t)->buffer());
  std::span<const std::uint8_t> data;
  if (buffer->offset() > 1) {
    if (buffer->offset() > bytes_.size() || buffer->size() > bytes_.size() - buffer->offset())
      throw Refusal{fmt::format("{}: its data are bytes {} to {} of a file of {}", tensor_text(t),
                                buffer->offset(), buffer->offset() + buffer->size(),
                                bytes_.size())};
    data = bytes_.subspan(buffer->offset(), buffer->size());
  } else if (buffer->data() != nullptr) {
    data = {buffer->data()->data(), buffer->data()->size()};
  }
  if (data.empty() || producer_of(t) >= 0)
    throw Refusal{tensor_text(t) + " is computed, expected a constant"};
  if (tensor(t)->sparse()) throw Refusal{tensor_text(t) + " is sparse, expected a dense tensor"};
  std::int64_t elements = 1;
  for (const int d : dims_of(t)) elements *= d;
  const auto expected = static_cast<std::size_t>(elements) * bytes_of_type(tensor(t)->type());
  if (data.size() != expected)
    throw Refusal{fmt::format("{} has {} bytes of data, expected {} for its shape", tensor_text(t),
                              data.size(), expected)};
  return data;
}

// A constant as numbers: float32, float16, or integers with scales (models of dynamic range), all
// of them perhaps behind a DEQUANTIZE.
std::vector<float> File::constant_floats(int t) const {
  const int from = producer_of(t);
  if (from >= 0 && code_of(from) == Operator::dequantize && inputs_of(from).size() == 1 &&
      inputs_of(from)[0] >= 0) {
    t = inputs_of(from)[0];
  }
  switch (tensor(t)->type()) {
    case Type::float32:
      return constant<float>(t, Type::float32);
    case Type::float16: {
      std::vector<float> out;
      for (const std::uint16_t h : constant<std::uint16_t>(t, Type::float16))
        out.push_back(float_of_half(h));
      return out;
    }
    case Type::int8:
      return dequantized(t);
    default:
      throw Refusal{fmt::format("{} is {}, expected FLOAT32, FLOAT16 or INT8", tensor_text(t),
                                type_name(tensor(t)->type()))};
  }
}

std::vector<float> File::dequantized(int t) const {
  const auto data = constant<std::int8_t>(t, Type::int8);
  const std::vector<float> scale = weight_scales(t);
  const std::vector<int> dims = dims_of(t);
  const int axis = tensor(t)->quantization()->dimension();
  std::size_t inner = 1, count = 1;
  if (scale.size() > 1) {
    if (axis < 0 || axis >= static_cast<int>(dims.size()) ||
        dims[static_cast<std::size_t>(axis)] != static_cast<int>(scale.size())) {
      throw Refusal{fmt::format("{}: {} scales along dimension {}, which has another size",
                                tensor_text(t), scale.size(), axis)};
    }
    count = scale.size();
    for (std::size_t d = static_cast<std::size_t>(axis) + 1; d < dims.size(); ++d)
      inner *= static_cast<std::size_t>(dims[d]);
  }
  std::vector<float> out(data.size());
  for (std::size_t i = 0; i < data.size(); ++i)
    out[i] = static_cast<float>(data[i]) * scale[i / inner % count];
  return out;
}

// Scales of weights: positive, and no zero points.
std::vector<float> File::weight_scales(int t) const {
  const tflite::Quantization* q = tensor(t)->quantization();
  if (q == nullptr || q->scale() == nullptr || q->scale()->size() == 0)
    throw Refusal{tensor_text(t) + " has no scale"};
  std::vector<float> scale(q->scale()->begin(), q->scale()->end());
  for (const float s : scale)
    if (!(s > 0) || !std::isfinite(s))
      throw Refusal{
          fmt::format("{}: a scale is {}, expected a positive number", tensor_text(t), s)};
  if (q->zero_point() != nullptr) {
    for (const std::int64_t z : *q->zero_point())
      if (z != 0)
        throw Refusal{
            fmt::format("{}: a zero point of weights is {}, expected 0", tensor_text(t), z)};
  }
  return scale;
}

// Scale and zero point of an activation; `from` and `to`: what the type allows.
TensorQuant File::quant_of(int t, std::int64_t from, std::int64_t to) const {
  const tflite::Quantization* q = tensor(t)->quantization();
  if (q == nullptr || q->scale() == nullptr || q->scale()->size() != 1)
    throw Refusal{tensor_text(t) + " has not exactly one scale, as an activation must"};
  const float scale = q->scale()->Get(0);
  const std::int64_t zero =
      q->zero_point() != nullptr && q->zero_point()->size() > 0 ? q->zero_point()->Get(0) : 0;
  if (!(scale > 0) || !std::isfinite(scale) || zero < from || zero > to)
    throw Refusal{
        fmt::format("{}: scale is {} and zero point {}, expected a positive number and "
                    "{} to {}",
                    tensor_text(t), scale, zero, from, to)};
  return {scale, static_cast<std::int32_t>(zero)};
}

// Of an activation where it must be int8.
TensorQuant File::int8_quant(int t) const {
  if (tensor(t)->type() != Type::int8)
    throw Refusal{fmt::format("{} is {}, expected INT8 in an integer model", tensor_text(t),
                              type_name(tensor(t)->type()))};
  return quant_of(t);
}

}  // namespace lastmile::from_tflite
