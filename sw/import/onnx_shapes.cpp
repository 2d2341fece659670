// SPDX-License-Identifier: Apache-2.0
// Constants of ONNX graphs, and what exporters compute the shape of a Reshape with.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sw/base/error.hpp"
#include "sw/import/onnx_importer.hpp"

namespace lastmile::from_onnx {

using importing::Refusal;

Value Importer::small_integers(Value v) {
  if (!v.constant.is_integer || v.constant.integers.size() > 64)
    throw Refusal{"a constant, expected a computed tensor or a shape"};
  return v;
}

Value Importer::shape_value(std::vector<std::int64_t> integers) {
  Value v;
  v.kind = Value::Kind::constant;
  v.constant.is_integer = true;
  v.constant.dims = {static_cast<std::int64_t>(integers.size())};
  v.constant.integers = std::move(integers);
  return v;
}

Value Importer::constant_node(const onnx::NodeProto& n) {
  const auto* tensor = attribute(n, "value");
  Value v;
  v.kind = Value::Kind::constant;
  if (tensor != nullptr) {
    v.constant = file_.tensor(tensor->t());
    file_.budget().take(count_of(v.constant));
  } else if (attribute(n, "value_int") != nullptr) {
    return shape_value({integer(n, "value_int", 0)});
  } else if (const auto list = integers(n, "value_ints")) {
    return shape_value(*list);
  } else if (attribute(n, "value_float") != nullptr) {
    v.constant.reals = {real(n, "value_float", 0)};
  } else {
    throw Refusal{"it has no value that is supported (value, value_int, value_ints, value_float)"};
  }
  return v;
}

Value Importer::shape(const onnx::NodeProto& n) {
  const Value v = activation(n);
  std::vector<std::int64_t> dims{kBatch};
  for (const int d : v.dims) dims.push_back(d);
  if (attribute(n, "start") != nullptr || attribute(n, "end") != nullptr)
    throw Refusal{"start or end is given, expected neither"};
  return shape_value(std::move(dims));
}

Value Importer::gather(const onnx::NodeProto& n) {
  if (!has_input(n, 1)) throw Refusal{"it has no indices"};
  const Value from = shape_operand(n, 0);
  const Value at = shape_operand(n, 1);
  std::vector<std::int64_t> out;
  const auto size = static_cast<std::int64_t>(from.constant.integers.size());
  for (std::int64_t i : at.constant.integers) {
    if (i < 0 && i != kBatch) i += size;
    if (i < 0 || i >= size) throw Refusal{fmt::format("an index is {} of {}", i, size)};
    out.push_back(from.constant.integers[static_cast<std::size_t>(i)]);
  }
  return shape_value(std::move(out));
}

Value Importer::shape_operand(const onnx::NodeProto& n, int input) {
  const Value& v = value(n.input(input));
  if (v.kind != Value::Kind::constant)
    throw Refusal{
        fmt::format("input {} is computed, expected a shape (it is supported where it "
                    "computes the shape of a Reshape)",
                    input)};
  return small_integers(v);
}

Value Importer::slice(const onnx::NodeProto& n) {
  const Value from = shape_operand(n, 0);
  const auto starts = integers_of(n, 1, "starts"), ends = integers_of(n, 2, "ends");
  if (!starts || !ends || starts->size() != 1 || ends->size() != 1 || has_input(n, 4))
    throw Refusal{"expected one start and one end, and no steps"};
  const auto size = static_cast<std::int64_t>(from.constant.integers.size());
  const auto clamp = [&](std::int64_t i) {
    return std::clamp<std::int64_t>(i < 0 && i >= -size ? i + size : i, 0, size);
  };
  const std::int64_t a = clamp((*starts)[0]), b = std::max(a, clamp((*ends)[0]));
  return shape_value({from.constant.integers.begin() + a, from.constant.integers.begin() + b});
}

// Rows of numbers laid side by side become a layer.
Value Importer::side_by_side(const onnx::NodeProto& n) {
  const std::int64_t axis = integer(n, "axis", 1);
  Layer l;
  l.op = Op::concat;
  l.in = {1, 1, 0};
  for (int i = 0; i < n.input_size(); ++i) {
    const Value v = activation(n, i);
    if (v.dims.size() != 1 || (axis != 1 && axis != -1))
      throw Refusal{fmt::format("input {} has {} dimensions and axis is {}, expected 2 and 1", i,
                                v.dims.size() + 1, axis)};
    if (shape_of(v).elements() > kMaxDimension)
      throw Refusal{fmt::format("input {} has {} elements, expected at most {}", i,
                                shape_of(v).elements(), kMaxDimension)};
    const std::vector<std::size_t> place = places(v);
    if (!std::is_sorted(place.begin(), place.end()))
      throw Refusal{
          fmt::format("input {} is a flattened plane with its channels first, expected a Transpose "
                      "to channels last before it is flattened",
                      i)};
    l.inputs.push_back(v.layer);
    l.parts.push_back({shape_of(v).elements(), 1});
    l.in.c = static_cast<int>(
        std::min<std::int64_t>(l.in.c + shape_of(v).elements(), kMaxDimension + 1));
  }
  for (const int i : l.inputs) input_used_ = input_used_ || i == kNetworkInput;
  return push(n, std::move(l), {}, {Axis::c});
}

Value Importer::concat(const onnx::NodeProto& n) {
  for (int i = 0; i < n.input_size(); ++i)
    if (has_input(n, i) && value(n.input(i)).kind == Value::Kind::activation)
      return side_by_side(n);
  std::vector<std::int64_t> all;
  for (int i = 0; i < n.input_size(); ++i) {
    const Value part = shape_operand(n, i);
    all.insert(all.end(), part.constant.integers.begin(), part.constant.integers.end());
    if (all.size() > 64) throw Refusal{"a shape of more than 64 numbers"};
  }
  return shape_value(std::move(all));
}

}  // namespace lastmile::from_onnx
