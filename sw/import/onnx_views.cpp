// SPDX-License-Identifier: Apache-2.0
// Operators of ONNX that move nothing: they change how a tensor is seen.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sw/base/error.hpp"
#include "sw/import/onnx_importer.hpp"

namespace lastmile::from_onnx {

using importing::Refusal;
using importing::shown;

Value Importer::identity(const onnx::NodeProto& n) {
  const Value& v = value(n.input(0));
  file_.budget().take(count_of(v.constant));
  return v;
}

Value Importer::cast(const onnx::NodeProto& n) {
  const std::int64_t to = integer(n, "to", 0);
  const Value& v = value(n.input(0));
  const bool real = to == onnx::TensorProto::FLOAT || to == onnx::TensorProto::FLOAT16 ||
                    to == onnx::TensorProto::DOUBLE;
  const bool whole = to == onnx::TensorProto::INT64 || to == onnx::TensorProto::INT32;
  const bool integers = v.kind == Value::Kind::constant && v.constant.is_integer;
  if (integers ? !whole : !real)
    throw Refusal{
        fmt::format("it casts to data type {}, expected floating point to floating "
                    "point, or a shape's integers",
                    to)};
  file_.budget().take(count_of(v.constant));
  return v;
}

Value Importer::flatten(const onnx::NodeProto& n) {
  Value v = activation(n);
  const std::int64_t axis = integer(n, "axis", 1);
  if (axis != 1 && axis != -static_cast<std::int64_t>(v.dims.size()))
    throw Refusal{fmt::format("axis is {}, expected 1", axis)};
  std::int64_t elements = 1;
  Axes all;
  for (std::size_t i = 0; i < v.dims.size(); ++i) {
    elements *= v.dims[i];
    all.insert(all.end(), v.axes[i].begin(), v.axes[i].end());
  }
  v.dims = {static_cast<int>(elements)};
  v.axes = {all};
  return v;
}

// The same elements under other dimensions, where each of those is made of whole axes.
Value Importer::regroup(Value v, const std::vector<std::int64_t>& target) {
  std::int64_t elements = 1;
  for (const int d : v.dims) elements *= d;
  std::vector<int> dims;
  std::int64_t known = 1, free = -1;
  for (std::size_t i = 0; i < target.size(); ++i) {
    std::int64_t d = target[i];
    if (d == 0 && i < v.dims.size()) d = v.dims[i];
    if (d == -1 && free < 0) {
      free = static_cast<std::int64_t>(i);
      d = 1;
    }
    if (d < 1 || (known *= d) > kMaxElements)
      throw Refusal{fmt::format("it reshapes {} to {}, expected the same elements per example",
                                fmt::join(v.dims, " x "), fmt::join(target, " x "))};
    dims.push_back(static_cast<int>(d));
  }
  if (free >= 0 && elements % known == 0) {
    dims[static_cast<std::size_t>(free)] = static_cast<int>(elements / known);
    known = elements;
  }
  if (known != elements)
    throw Refusal{fmt::format("it reshapes {} to {}, expected the same elements per example",
                              fmt::join(v.dims, " x "), fmt::join(target, " x "))};
  Axes all;
  for (const Axes& a : v.axes) all.insert(all.end(), a.begin(), a.end());
  std::vector<Axes> axes;
  std::size_t next = 0;
  bool fits = true;
  for (const int d : dims) {
    Axes group;
    std::int64_t size = 1;
    while (size < d && next < all.size()) {
      size *= size_of(shape_of(v), all[next]);
      group.push_back(all[next++]);
    }
    fits &= size == d;
    axes.push_back(group);
  }
  if (fits) {
    // The input as rows and columns without channels is best seen anew.
    const bool better = input_is_open(v) && dims.size() == 3 && v.dims.size() < 3;
    if (!better) {
      v.dims = dims;
      v.axes = axes;
      return v;
    }
  }
  if (!input_is_open(v) || dims.size() > 3)
    throw Refusal{
        fmt::format("it splits or joins dimensions ({} to {}): supported where whole "
                    "dimensions are joined, and at the network's input",
                    fmt::join(v.dims, " x "), fmt::join(dims, " x "))};
  model_.notes.push_back(fmt::format("the input is {} in the file, and taken as {}",
                                     fmt::join(v.dims, " x "), fmt::join(dims, " x ")));
  declare_input(v, dims, false);
  return v;
}

Value Importer::reshape(const onnx::NodeProto& n) {
  const Value v = activation(n);
  const auto shape = integers_of(n, 1, "shape");
  if (!shape || shape->empty()) throw Refusal{"it has no shape"};
  if (integer(n, "allowzero", 0) != 0) throw Refusal{"allowzero is 1, expected 0"};
  std::vector<std::int64_t> target(shape->begin() + 1, shape->end());
  if (target.empty()) throw Refusal{"its shape has one dimension, expected at least 2"};
  const std::int64_t first = (*shape)[0];
  if (first != kBatch && first != -1 && first != 0 && first != 1 && first != batch_)
    throw Refusal{fmt::format("its shape begins with {}, expected the batch", first)};
  if (std::find(target.begin(), target.end(), kBatch) != target.end())
    throw Refusal{"the batch is not the first dimension of its shape"};
  return regroup(v, target);
}

Value Importer::squeeze(const onnx::NodeProto& n) {
  Value v = value(n.input(0));
  const auto axes = integers_of(n, 1, "axes");
  if (v.kind == Value::Kind::constant) return small_integers(v);
  v = activation(n);
  std::vector<int> dims;
  std::vector<Axes> kept;
  const auto rank = static_cast<std::int64_t>(v.dims.size()) + 1;
  for (std::size_t i = 0; i < v.dims.size(); ++i) {
    const auto a = static_cast<std::int64_t>(i) + 1;
    const bool named = axes && std::any_of(axes->begin(), axes->end(),
                                           [&](std::int64_t x) { return x == a || x + rank == a; });
    if (named && v.dims[i] != 1)
      throw Refusal{fmt::format("axes has {}, a dimension of {}, expected 1", a, v.dims[i])};
    if (named || (!axes && v.dims[i] == 1)) continue;
    dims.push_back(v.dims[i]);
    kept.push_back(v.axes[i]);
  }
  if (dims.empty()) throw Refusal{"nothing but the batch is left"};
  v.dims = dims;
  v.axes = kept;
  return v;
}

Value Importer::unsqueeze(const onnx::NodeProto& n) {
  Value v = value(n.input(0));
  if (v.kind == Value::Kind::constant) return small_integers(v);
  v = activation(n);
  const auto axes = integers_of(n, 1, "axes");
  if (!axes || axes->empty()) throw Refusal{"it has no axes"};
  const std::int64_t rank = static_cast<std::int64_t>(v.dims.size() + axes->size()) + 1;
  if (rank > 4) throw Refusal{fmt::format("it makes {} dimensions, expected at most 4", rank)};
  std::vector<std::int64_t> target;
  std::size_t next = 0;
  for (std::int64_t a = 0; a < rank; ++a) {
    const bool fresh = std::any_of(axes->begin(), axes->end(),
                                   [&](std::int64_t x) { return x == a || x + rank == a; });
    if (a == 0 && fresh) throw Refusal{"axes has 0, expected the batch to stay first"};
    if (a == 0) continue;
    if (!fresh && next == v.dims.size())
      throw Refusal{fmt::format("axes are [{}], expected distinct ones of 1 to {}",
                                fmt::join(*axes, ", "), rank - 1)};
    target.push_back(fresh ? 1 : v.dims[next++]);
  }
  return regroup(v, target);
}

Value Importer::transpose(const onnx::NodeProto& n) {
  Value v = activation(n);
  const auto given = integers(n, "perm");
  std::vector<std::int64_t> perm;
  if (given) perm = *given;
  std::vector<std::int64_t> sorted = perm;
  std::sort(sorted.begin(), sorted.end());
  bool fine = perm.size() == v.dims.size() + 1 && perm[0] == 0;
  for (std::size_t i = 0; fine && i < sorted.size(); ++i)
    fine = sorted[i] == static_cast<std::int64_t>(i);
  if (!fine)
    throw Refusal{fmt::format("perm is [{}], expected each of 0 to {} once, 0 first",
                              fmt::join(perm, ", "), v.dims.size())};
  // The input with its channels last, brought to where ONNX wants them.
  const bool to_front = perm.size() > 2 && perm[1] == static_cast<std::int64_t>(v.dims.size());
  if (input_is_open(v) && to_front && std::is_sorted(perm.begin() + 2, perm.end()))
    declare_input(v, v.dims, true);
  const Value before = v;
  for (std::size_t i = 1; i < perm.size(); ++i) {
    v.dims[i - 1] = before.dims[static_cast<std::size_t>(perm[i] - 1)];
    v.axes[i - 1] = before.axes[static_cast<std::size_t>(perm[i] - 1)];
  }
  return v;
}

Value Importer::pad(const onnx::NodeProto& n) {
  Value v = activation(n);
  const std::string mode = text(n, "mode", "constant");
  if (mode != "constant")
    throw Refusal{fmt::format("mode is \"{}\", expected constant", shown(mode))};
  const auto pads = integers_of(n, 1, "pads");
  if (!pads) throw Refusal{"pads are missing"};
  float fill = real(n, "value", 0);
  if (has_input(n, 2)) {
    const std::vector<float>& c = reals(n, 2);
    fill = c.empty() ? 0 : c[0];
  }
  if (fill != 0) throw Refusal{fmt::format("value is {}, expected 0", fill)};
  const std::size_t rank = v.dims.size() + 1;
  std::vector<std::int64_t> axes;
  if (has_input(n, 3)) {
    axes = constant(n, 3).integers;
    for (std::int64_t& a : axes) a += a < 0 ? static_cast<std::int64_t>(rank) : 0;
  } else {
    for (std::size_t a = 0; a < rank; ++a) axes.push_back(static_cast<std::int64_t>(a));
  }
  if (pads->size() != 2 * axes.size())
    throw Refusal{
        fmt::format("{} pads for {} dimensions, expected two each", pads->size(), axes.size())};
  const std::vector<Axis> order = channels_first(v);
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const std::int64_t before = (*pads)[i], after = (*pads)[axes.size() + i];
    if (before == 0 && after == 0) continue;
    if (axes[i] < 2 || axes[i] >= static_cast<std::int64_t>(rank) || before < 0 || after < 0 ||
        before > kMaxDimension || after > kMaxDimension)
      throw Refusal{fmt::format("pads are [{}], expected rows and columns only, 0 to {}",
                                fmt::join(*pads, ", "), kMaxDimension)};
    const bool rows = order[static_cast<std::size_t>(axes[i] - 1)] == Axis::h;
    v.padding[rows ? 0 : 2] += static_cast<int>(before);
    v.padding[rows ? 1 : 3] += static_cast<int>(after);
  }
  return v;
}

}  // namespace lastmile::from_onnx
