// SPDX-License-Identifier: Apache-2.0
// Layers with weights, pools and softmax of ONNX.
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "sw/base/error.hpp"
#include "sw/import/onnx_importer.hpp"

namespace lastmile::from_onnx {

using importing::Refusal;
using importing::shown;

// Which axis each dimension behind the channels is, for operators that work on channels first. A
// dimension of 1 may be any that is left.
std::vector<Axis> Importer::channels_first(const Value& v) const {
  const Shape& s = shape_of(v);
  std::vector<Axis> order;
  std::set<Axis> left{Axis::h, Axis::w};
  const auto refuse = [&](std::size_t i) {
    throw Refusal{
        fmt::format("dimension {} of its input is not what it was (a reshape or a "
                    "transposition before it), expected batch, channels, rows, columns",
                    i + 1)};
  };
  for (std::size_t i = 0; i < v.axes.size(); ++i) {
    if (v.axes[i].size() > 1) refuse(i);
    if (v.axes[i].size() == 1) left.erase(v.axes[i][0]);
  }
  for (std::size_t i = 0; i < v.axes.size(); ++i) {
    if (i == 0) {
      if (v.axes[0] != (s.c > 1 ? Axes{Axis::c} : Axes{})) refuse(0);
      order.push_back(Axis::c);
    } else if (v.axes[i].size() == 1) {
      if (v.axes[i][0] == Axis::c) refuse(i);
      order.push_back(v.axes[i][0]);
    } else {
      if (left.empty()) refuse(i);
      order.push_back(*left.begin());
      left.erase(left.begin());
    }
  }
  return order;
}

// Kernel, strides, dilations and padding of a window; the axes of its dimensions are order[1..].
void Importer::window(const onnx::NodeProto& n, const Value& v, const std::vector<Axis>& order,
                      const std::vector<int>& kernel, Layer& l) {
  const std::size_t rank = order.size() - 1;
  const std::vector<int> stride = sizes(n, "strides", rank, 1, 1);
  const std::vector<int> dilation = sizes(n, "dilations", rank, 1, 1);
  std::vector<int> pads = sizes(n, "pads", 2 * rank, 0, 0);
  const std::string automatic = text(n, "auto_pad", "NOTSET");
  const bool ceil = integer(n, "ceil_mode", 0) != 0;
  for (std::size_t i = 0; i < rank; ++i) {
    const bool rows = order[i + 1] == Axis::h;
    const std::int64_t in = size_of(l.in, order[i + 1]);
    const std::int64_t reach = std::int64_t{kernel[i] - 1} * dilation[i] + 1;
    std::int64_t before = pads[i], after = pads[rank + i];
    if (automatic == "VALID") {
      before = after = 0;
    } else if (automatic == "SAME_UPPER" || automatic == "SAME_LOWER") {
      const std::int64_t out = (in + stride[i] - 1) / stride[i];
      const std::int64_t total = std::max<std::int64_t>((out - 1) * stride[i] + reach - in, 0);
      before = after = total / 2;
      (automatic == "SAME_UPPER" ? after : before) += total % 2;
    } else if (automatic != "NOTSET") {
      throw Refusal{
          fmt::format("auto_pad is \"{}\", expected NOTSET, SAME_UPPER, SAME_LOWER or "
                      "VALID",
                      shown(automatic))};
    } else if (ceil) {
      // One more output where a window starts inside the input or the padding before it.
      const std::int64_t room = in + before + after - reach;
      if (room >= 0 && room % stride[i] != 0) {
        const std::int64_t last = (room / stride[i] + 1) * stride[i];
        if (last < in + before) {
          if (integer(n, "count_include_pad", 0) != 0)
            throw Refusal{"ceil_mode is 1 and count_include_pad is 1, expected one of them 0"};
          after += last + reach - (in + before + after);
        }
      }
    }
    before += v.padding[rows ? 0 : 2];
    after += v.padding[rows ? 1 : 3];
    if (before > kMaxDimension || after > kMaxDimension)
      throw Refusal{
          fmt::format("pads are {} and {}, expected at most {}", before, after, kMaxDimension)};
    (rows ? l.kernel_h : l.kernel_w) = kernel[i];
    (rows ? l.stride_h : l.stride_w) = stride[i];
    (rows ? l.dilation_h : l.dilation_w) = dilation[i];
    (rows ? l.pad_top : l.pad_left) = static_cast<int>(before);
    (rows ? l.pad_bottom : l.pad_right) = static_cast<int>(after);
  }
}

Value Importer::conv(const onnx::NodeProto& n) {
  const Value v = activation(n);
  if (!has_input(n, 1)) throw Refusal{"it has no weights"};
  const std::vector<Axis> order = channels_first(v);
  const std::size_t rank = order.size() - 1;
  if (rank < 1) throw Refusal{"its input has 2 dimensions, expected 3 or 4"};
  const Constant& c = constant(n, 1);
  const std::vector<float>& w = reals(n, 1);
  if (c.dims.size() != rank + 2)
    throw Refusal{
        fmt::format("the weights have {} dimensions, expected {}", c.dims.size(), rank + 2)};
  for (const std::int64_t d : c.dims)
    if (d < 1 || d > kMaxDimension)
      throw Refusal{fmt::format("the weights are {}, expected dimensions of 1 to {}",
                                fmt::join(c.dims, " x "), kMaxDimension)};
  const std::int64_t group = integer(n, "group", 1);
  Layer l;
  l.inputs = {v.layer};
  l.in = shape_of(v);
  l.filters = static_cast<int>(c.dims[0]);
  if (group < 1 || group > l.in.c || c.dims[1] * group != l.in.c)
    throw Refusal{
        fmt::format("group is {} and the weights read {} channels, expected {} input "
                    "channels in all",
                    group, c.dims[1], l.in.c)};
  std::vector<int> kernel;
  for (std::size_t i = 0; i < rank; ++i) kernel.push_back(static_cast<int>(c.dims[i + 2]));
  if (sizes(n, "kernel_shape", rank, 0, 1) != kernel && attribute(n, "kernel_shape") != nullptr)
    throw Refusal{"kernel_shape is not that of the weights"};
  const bool depthwise = group == l.in.c && group > 1 && l.filters % l.in.c == 0;
  l.op = depthwise ? Op::depthwise_conv2d : Op::conv2d;
  if (depthwise)
    l.multiplier = l.filters / l.in.c;
  else
    l.groups = static_cast<int>(group);
  window(n, v, order, kernel, l);
  l.bias = has_input(n, 2);
  static_cast<void>(output_shape(l, file_.name()));
  file_.budget().take(weight_count(l));
  // Output channel, input channel, then the file's spatial dimensions.
  LayerParams<float> p;
  p.weights.resize(w.size());
  const auto each = static_cast<std::size_t>(c.dims[1]);
  const auto filters = static_cast<std::size_t>(l.filters);
  const auto kh = static_cast<std::size_t>(l.kernel_h), kw = static_cast<std::size_t>(l.kernel_w);
  const bool swapped = rank == 2 && order[1] == Axis::w;
  for (std::size_t o = 0, k = 0; o < filters; ++o) {
    for (std::size_t i = 0; i < each; ++i) {
      for (std::size_t s = 0; s < kh * kw; ++s, ++k) {
        const std::size_t y = swapped ? s % kh : s / kw, x = swapped ? s / kh : s % kw;
        const std::size_t to =
            depthwise ? (y * kw + x) * filters + o : ((o * kh + y) * kw + x) * each + i;
        p.weights[to] = w[k];
      }
    }
  }
  if (l.bias) p.bias = bias_of(n, 2, l.filters);
  const bool bias = l.bias;
  Value out = push(n, std::move(l), std::move(p), order);
  keep_scales(out, c, 0);
  if (bias) keep_bias(out, constant(n, 2));
  return out;
}

std::vector<float> Importer::bias_of(const onnx::NodeProto& n, int input, int filters) {
  std::vector<float> b = reals(n, input);
  if (b.size() != static_cast<std::size_t>(filters))
    throw Refusal{fmt::format("the bias has {} values, expected {}", b.size(), filters)};
  return b;
}

// Where element i of a flat view is in the layer's output (NHWC).
std::vector<std::size_t> Importer::places(const Value& v) const {
  const Shape& s = shape_of(v);
  Axes all;
  for (const Axes& a : v.axes) all.insert(all.end(), a.begin(), a.end());
  std::vector<std::size_t> out{0};
  for (const Axis a : all) {
    const std::size_t step = a == Axis::c ? 1
                             : a == Axis::w
                                 ? static_cast<std::size_t>(s.c)
                                 : static_cast<std::size_t>(s.c) * static_cast<std::size_t>(s.w);
    std::vector<std::size_t> wider;
    for (const std::size_t at : out)
      for (int i = 0; i < size_of(s, a); ++i)
        wider.push_back(at + step * static_cast<std::size_t>(i));
    out = std::move(wider);
  }
  return out;
}

// Weights in x out (or out x in, `transposed`) on the last dimension of v.
Value Importer::dense(const onnx::NodeProto& n, const Value& v, const Constant& c, bool transposed,
                      float factor, const std::vector<float>& bias) {
  if (c.is_integer || c.dims.size() != 2)
    throw Refusal{fmt::format("the weights are {}, expected a matrix of floating point",
                              fmt::join(c.dims, " x "))};
  const std::int64_t in = c.dims[transposed ? 1 : 0], units = c.dims[transposed ? 0 : 1];
  if (units < 1 || units > kMaxDimension || in != v.dims.back())
    throw Refusal{fmt::format("the weights read {} and give {}, expected {} and 1 to {}", in, units,
                              v.dims.back(), kMaxDimension)};
  Layer l;
  l.inputs = {v.layer};
  l.in = shape_of(v);
  l.filters = static_cast<int>(units);
  l.bias = !bias.empty();
  std::vector<Axis> order{Axis::c};
  std::vector<std::size_t> place;
  if (v.dims.size() == 1) {
    l.op = Op::fully_connected;
    place = places(v);
  } else {  // the same at every position
    if (v.axes.back() != (l.in.c > 1 ? Axes{Axis::c} : Axes{}) || v.dims.back() != l.in.c)
      throw Refusal{"it works on a dimension that is not the channels', expected channels last"};
    l.op = Op::conv2d;
    order.clear();
    std::set<Axis> left{Axis::h, Axis::w};
    for (std::size_t i = 0; i + 1 < v.axes.size(); ++i) {
      if (v.axes[i].size() > 1) throw Refusal{"its input was reshaped in a way it cannot follow"};
      if (v.axes[i].size() == 1) left.erase(v.axes[i][0]);
    }
    for (std::size_t i = 0; i + 1 < v.axes.size(); ++i) {
      if (v.axes[i].empty() && left.empty()) throw Refusal{"more than 4 dimensions"};
      const Axis a = v.axes[i].empty() ? *left.begin() : v.axes[i][0];
      left.erase(a);
      order.push_back(a);
    }
    order.push_back(Axis::c);
    for (std::size_t i = 0; i < static_cast<std::size_t>(in); ++i) place.push_back(i);
  }
  static_cast<void>(output_shape(l, file_.name()));
  file_.budget().take(weight_count(l));
  LayerParams<float> p;
  p.weights.resize(c.reals.size());
  const auto columns = static_cast<std::size_t>(in), rows = static_cast<std::size_t>(units);
  for (std::size_t o = 0; o < rows; ++o)
    for (std::size_t i = 0; i < columns; ++i)
      p.weights[o * columns + place[i]] =
          factor * c.reals[transposed ? o * columns + i : i * rows + o];
  p.bias = bias;
  Value out = push(n, std::move(l), std::move(p), order);
  keep_scales(out, c, transposed ? 0 : 1);
  return out;
}

Value Importer::gemm(const onnx::NodeProto& n) {
  const Value v = activation(n);
  if (integer(n, "transA", 0) != 0) throw Refusal{"transA is 1, expected 0"};
  if (!has_input(n, 1)) throw Refusal{"it has no weights"};
  if (v.dims.size() != 1)
    throw Refusal{fmt::format("its input has {} dimensions, expected 2", v.dims.size() + 1)};
  const Constant c = constant(n, 1);
  const bool transposed = integer(n, "transB", 0) != 0;
  std::vector<float> bias;
  if (has_input(n, 2)) {
    bias = reals(n, 2);
    const float beta = real(n, "beta", 1);
    for (float& b : bias) b *= beta;
    const auto units = static_cast<std::size_t>(
        c.dims.size() == 2 ? std::clamp<std::int64_t>(c.dims[transposed ? 0 : 1], 0, kMaxDimension)
                           : 0);
    if (bias.size() == 1) bias.assign(units, bias[0]);
    if (bias.size() != units)
      throw Refusal{fmt::format("C has {} values, expected {}", bias.size(), units)};
  }
  const Value out = dense(n, v, c, transposed, real(n, "alpha", 1), bias);
  if (has_input(n, 2)) keep_bias(out, constant(n, 2));
  return out;
}

Value Importer::matmul(const onnx::NodeProto& n) {
  if (!has_input(n, 1)) throw Refusal{"it has one input, expected two"};
  const Value v = activation(n);
  return dense(n, v, Constant(constant(n, 1)), false, 1, {});
}

Value Importer::pool(const onnx::NodeProto& n) {
  const Value v = activation(n);
  const bool largest = n.op_type() == "MaxPool";
  const std::vector<Axis> order = channels_first(v);
  const std::size_t rank = order.size() - 1;
  if (rank < 1) throw Refusal{"its input has 2 dimensions, expected 3 or 4"};
  if (integer(n, "storage_order", 0) != 0) throw Refusal{"storage_order is 1, expected 0"};
  if (attribute(n, "kernel_shape") == nullptr) throw Refusal{"kernel_shape is missing"};
  for (const int d : sizes(n, "dilations", rank, 1, 1))
    if (d != 1) throw Refusal{fmt::format("dilations has {}, expected 1", d)};
  Layer l;
  l.op = largest ? Op::max_pool2d : Op::average_pool2d;
  l.inputs = {v.layer};
  l.in = shape_of(v);
  window(n, v, order, sizes(n, "kernel_shape", rank, 1, 1), l);
  const bool padded = l.pad_top + l.pad_bottom + l.pad_left + l.pad_right != 0;
  LayerParams<float> p;
  if (!largest && padded && integer(n, "count_include_pad", 0) != 0) {
    // Zeros count: a depthwise convolution whose weights are all 1 / window.
    l.op = Op::depthwise_conv2d;
    l.filters = l.in.c;
    static_cast<void>(output_shape(l, file_.name()));
    file_.budget().take(weight_count(l));
    p.weights.assign(static_cast<std::size_t>(weight_count(l)),
                     static_cast<float>(1.0 / static_cast<double>(reduction(l))));
  }
  const std::vector<float> weights = p.weights;
  const Value out = push(n, std::move(l), std::move(p), order);
  if (!weights.empty())
    weight_scales_[out.layer].assign(static_cast<std::size_t>(shape_of(out).c), weights[0]);
  return out;
}

Value Importer::whole_plane(const onnx::NodeProto& n, const Value& v, bool largest,
                            const std::vector<Axis>& order) {
  Layer l;
  l.op = largest ? Op::max_pool2d : Op::global_average_pool;
  l.inputs = {v.layer};
  l.in = shape_of(v);
  l.kernel_h = l.in.h, l.kernel_w = l.in.w;
  return push(n, std::move(l), {}, order);
}

Value Importer::global_pool(const onnx::NodeProto& n) {
  const Value v = activation(n);
  return whole_plane(n, v, n.op_type() == "GlobalMaxPool", channels_first(v));
}

Value Importer::reduce_mean(const onnx::NodeProto& n) {
  const Value v = activation(n);
  const auto axes = integers_of(n, 1, "axes");
  if (!axes) throw Refusal{"axes are missing: it takes the mean of everything"};
  const auto rank = static_cast<std::int64_t>(v.dims.size()) + 1;
  std::set<Axis> reduced;
  std::vector<bool> gone(v.dims.size(), false);
  for (std::int64_t a : *axes) {
    if (a < 0) a += rank;
    if (a < 1 || a >= rank)
      throw Refusal{
          fmt::format("axes are [{}], expected 1 to {}", fmt::join(*axes, ", "), rank - 1)};
    const auto i = static_cast<std::size_t>(a - 1);
    gone[i] = true;
    reduced.insert(v.axes[i].begin(), v.axes[i].end());
  }
  const Shape& s = shape_of(v);
  if (reduced.contains(Axis::c) || reduced.contains(Axis::h) != (s.h > 1) ||
      reduced.contains(Axis::w) != (s.w > 1)) {
    throw Refusal{fmt::format("axes are [{}], expected all rows and columns, and not the channels",
                              fmt::join(*axes, ", "))};
  }
  const bool keep = integer(n, "keepdims", 1) != 0;
  Value result = whole_plane(n, v, false, {Axis::c});
  const Value flat = result;
  result.dims.clear();
  result.axes.clear();
  for (std::size_t i = 0; i < v.dims.size(); ++i) {
    if (gone[i] && !keep) continue;
    result.dims.push_back(gone[i] ? 1 : v.dims[i]);
    result.axes.push_back(gone[i] ? Axes{} : v.axes[i]);
  }
  return result;
}

Value Importer::softmax(const onnx::NodeProto& n) {
  const Value v = activation(n);
  const std::int64_t axis = integer(n, "axis", file_.opset() < 13 ? 1 : -1);
  if (v.dims.size() != 1 || (axis != 1 && axis != -1))
    throw Refusal{
        fmt::format("it has {} dimensions and axis {}, expected 2 and 1", v.dims.size() + 1, axis)};
  if (!file_.leads_to_output(n.output(0)))
    throw Refusal{"it is not the last node, expected it there only"};
  if (n.op_type() == "LogSoftmax") {
    model_.notes.push_back(
        "the closing LogSoftmax is dropped: the network's outputs are the "
        "logits before it, which the loss is taken from anyway");
    return v;
  }
  Layer l;
  l.op = Op::softmax;
  l.inputs = {v.layer};
  l.in = shape_of(v);
  if (l.in.h != 1 || l.in.w != 1)
    throw Refusal{"it runs on a flattened plane, expected one row of classes"};
  return push(n, std::move(l), {}, {Axis::c});
}

}  // namespace lastmile::from_onnx
