// SPDX-License-Identifier: Apache-2.0
// Sums, softmax, rectifiers, padding and changes of scale of TensorFlow Lite.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sw/import/tflite_importer.hpp"
#include "sw/quantizer/quantize.hpp"

namespace lastmile::from_tflite {

using importing::Refusal;

Value Importer::mean(const std::vector<std::int32_t>& in, int out, const Value& v) {
  if (in.size() < 2 || in[1] < 0) throw Refusal{"it has no axes"};
  std::vector<std::int32_t> axes = file_.constant<std::int32_t>(in[1], Type::int32);
  const int rank = static_cast<int>(v.dims.size()) + 1;
  for (std::int32_t& a : axes) a = a < 0 ? a + rank : a;
  std::sort(axes.begin(), axes.end());
  axes.erase(std::unique(axes.begin(), axes.end()), axes.end());
  std::vector<std::int32_t> plane;
  for (int a = 1; a < rank - 1; ++a) plane.push_back(a);
  if (axes != plane || plane.empty())
    throw Refusal{fmt::format("axis is [{}], expected all dimensions between batch and channels",
                              fmt::join(axes, ", "))};
  Layer l;
  l.op = Op::global_average_pool;
  l.inputs = {v.layer};
  l.in = plane_of(v);
  l.kernel_h = l.in.h, l.kernel_w = l.in.w;
  if (!integer_) return result_of(push(std::move(l), {}, {}, out));
  // The reference kernel sums x - zero point and requantizes once, 1 / count in the multiplier.
  const TensorQuant from = file_.int8_quant(in[0]), to = file_.int8_quant(out);
  const std::int64_t count = std::int64_t{l.in.h} * l.in.w;
  Requant r = reference_multiplier(static_cast<double>(from.scale) / static_cast<double>(to.scale),
                                   "scale ratio");
  int shift = 0;
  while ((count >> (shift + 1)) != 0) ++shift;
  shift = std::min({shift, 32, 31 + r.exponent});
  r.multiplier =
      static_cast<std::int32_t>((static_cast<std::int64_t>(r.multiplier) << shift) / count);
  r.exponent -= shift;
  return ones(std::move(l), to, r, 1.0F / static_cast<float>(count), out);
}

Value Importer::add(int i, const std::vector<std::int32_t>& in, int out, const Value& v) {
  const Options* o = file_.operation(i)->options(OptionsType::add);
  if (in.size() != 2 || in[1] < 0) throw Refusal{"it has not two inputs"};
  const Value& w = value(in[1]);
  if (!w.known) {
    if (file_.producer_of(in[1]) < 0 && in[1] != input_tensor_)
      throw Refusal{file_.tensor_text(in[1]) + " is a constant, expected two computed tensors"};
    return {};
  }
  if (w.padded()) throw Refusal{"it reads what a PAD put out: supported before convolutions only"};
  Layer l;
  l.op = Op::add;
  l.inputs = {v.layer, w.layer};
  l.in = plane_of(v);
  if (const Shape other = plane_of(w); other != l.in)
    throw Refusal{fmt::format("its inputs are {} x {} x {} and {} x {} x {}, expected the same",
                              l.in.h, l.in.w, l.in.c, other.h, other.w, other.c)};
  l.activation = activation(o == nullptr ? std::int8_t{0} : o->value<std::int8_t>(0));
  QuantizedLayer q;
  if (integer_) {
    q.out = file_.int8_quant(out);
    const TensorQuant a = file_.int8_quant(in[0]), b = file_.int8_quant(in[1]);
    const double twice_max = 2.0 * static_cast<double>(std::max(a.scale, b.scale));
    const Requant first = reference_multiplier(a.scale / twice_max, "first scale ratio");
    const Requant second = reference_multiplier(b.scale / twice_max, "second scale ratio");
    const Requant sum = reference_multiplier(
        twice_max / (0x1p20 * static_cast<double>(q.out.scale)), "output scale ratio");
    const auto clamp = reference_clamp(l.activation, q.out);
    q.add = {.zp1 = a.zero_point,
             .zp2 = b.zero_point,
             .zp_out = q.out.zero_point,
             .m1 = first.multiplier,
             .m2 = second.multiplier,
             .mo = sum.multiplier,
             .e1 = first.exponent,
             .e2 = second.exponent,
             .eo = sum.exponent,
             .left_shift = 20,
             .act_min = clamp[0],
             .act_max = clamp[1]};
  }
  return result_of(push(std::move(l), {}, std::move(q), out));
}

Value Importer::softmax(int i, int in, int out, const Value& v) {
  const Options* o = options(i, OptionsType::softmax);
  const float beta = o->value<float>(0);
  Layer l;
  l.op = Op::softmax;
  l.inputs = {v.layer};
  l.in = plane_of(v);
  if (l.in.h != 1 || l.in.w != 1)
    throw Refusal{"it runs at several positions, expected one row of classes"};
  QuantizedLayer q;
  if (!integer_ && beta != 1) throw Refusal{fmt::format("beta is {}, expected 1", beta)};
  if (integer_) {
    q.out = file_.int8_quant(out);
    if (q.out.scale != 1.0F / 256 || q.out.zero_point != -128)
      throw Refusal{
          fmt::format("its output has scale {} and zero point {}, expected 1/256 and "
                      "-128",
                      q.out.scale, q.out.zero_point)};
    const float scale = file_.int8_quant(in).scale;
    if (beta != 1) throw Refusal{fmt::format("beta is {}, expected 1", beta)};
    q.softmax = encode_softmax(scale, where(i));
  }
  return result_of(push(std::move(l), {}, std::move(q), out));
}

// A rectifier of its own moves into the layer before it where that changes no bit.
Value Importer::rectify(int in, int out, const Value& v, Activation kind) {
  if (v.layer != kNetworkInput) {
    Layer& before = model_.network.layers[static_cast<std::size_t>(v.layer)];
    const bool alone = file_.readers_of(in) == 1 && sole_view(v.layer);
    const bool takes = before.activation == Activation::none &&
                       before.op != Op::global_average_pool && before.op != Op::softmax;
    if (alone && takes && (!integer_ || file_.int8_quant(in) == file_.int8_quant(out))) {
      before.activation = kind;
      if (integer_) {
        QuantizedLayer& q = quantized_.layers[static_cast<std::size_t>(v.layer)];
        const auto clamp = reference_clamp(kind, q.out);
        q.act_min = q.add.act_min = clamp[0];
        q.act_max = q.add.act_max = clamp[1];
      }
      return v;
    }
  }
  Layer l;
  l.inputs = {v.layer};
  l.in = plane_of(v);
  l.activation = kind;
  if (integer_) return rescale(std::move(l), in, out);
  l.op = Op::max_pool2d;  // the maximum of one element
  return result_of(push(std::move(l), {}, {}, out));
}

Value Importer::rescale(Layer l, int in, int out) {
  const TensorQuant from = file_.int8_quant(in), to = file_.int8_quant(out);
  const Requant r = reference_multiplier(
      static_cast<double>(from.scale) / static_cast<double>(to.scale), "scale ratio");
  return ones(std::move(l), to, r, 1, out);
}

Value Importer::pad(const std::vector<std::int32_t>& in, int out, const Value& v) {
  if (in.size() < 2 || in[1] < 0) throw Refusal{"it has no paddings"};
  const std::vector<std::int32_t> p = file_.constant<std::int32_t>(in[1], Type::int32);
  const std::size_t rank = v.dims.size() + 1;
  if (p.size() != 2 * rank || rank != 4)
    throw Refusal{fmt::format("{} paddings of {} dimensions, expected 8 of 4", p.size(), rank)};
  for (std::size_t k = 0; k < p.size(); ++k) {
    if (p[k] < 0 || p[k] > kMaxDimension || ((k < 2 || k >= 6) && p[k] != 0))
      throw Refusal{fmt::format("paddings are [{}], expected rows and columns only, 0 to {}",
                                fmt::join(p, ", "), kMaxDimension)};
  }
  if (integer_ && file_.int8_quant(in[0]) != file_.int8_quant(out))
    throw Refusal{"input and output differ in scale or zero point, expected the same"};
  static_cast<void>(plane_of(v));
  Value result = v;
  result.padding = {p[2], p[3], p[4], p[5]};
  result.dims = file_.dims_without_batch(out);
  if (result.dims.size() != 3 || result.dims[0] != v.dims[0] + p[2] + p[3] ||
      result.dims[1] != v.dims[1] + p[4] + p[5] || result.dims[2] != v.dims[2]) {
    throw Refusal{"the shape of its output is not that of its input and paddings"};
  }
  // Its consumer works on the shape before the padding.
  result.dims = v.dims;
  values_[static_cast<std::size_t>(out)] = result;
  return {};
}

Value Importer::requantize(int in, int out, const Value& v) {
  const Type from = file_.tensor(in)->type(), to = file_.tensor(out)->type();
  if (from == Type::int8 && to == Type::int8) {
    if (file_.int8_quant(in) == file_.int8_quant(out)) return v;
    Layer l;
    l.inputs = {v.layer};
    l.in = plane_of(v);
    return rescale(std::move(l), in, out);
  }
  const bool first = v.layer == kNetworkInput, last = file_.readers_of(out) == 0;
  const auto same = [&](int wide, int narrow) {
    const TensorQuant a = file_.quant_of(wide, 0, 255), b = file_.quant_of(narrow);
    return a.scale == b.scale && a.zero_point - 128 == b.zero_point;
  };
  if (from == Type::float32 && to == Type::int8 && first) {
    set_input_quant(out);
    return v;
  }
  if (from == Type::uint8 && to == Type::int8 && first && same(in, out)) {
    set_input_quant(out);
    model_.notes.push_back("the input is UINT8 in the file: int8 = uint8 - 128");
    return v;
  }
  if (from == Type::int8 && to == Type::uint8 && last && same(out, in)) {
    model_.notes.push_back("the output is UINT8 in the file: int8 = uint8 - 128");
    return v;
  }
  throw Refusal{
      fmt::format("from {} to {}, expected INT8 to INT8, or the step from or to the "
                  "types of the network's input and output",
                  type_name(from), type_name(to))};
}

}  // namespace lastmile::from_tflite
