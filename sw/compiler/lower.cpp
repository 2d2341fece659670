// SPDX-License-Identifier: Apache-2.0
#include "sw/compiler/lower.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <utility>

#include "sw/base/error.hpp"
#include "sw/base/label.hpp"
#include "sw/compiler/tiling.hpp"

namespace lastmile::lowering {

static_assert(kMaxClasses == spec::kSoftmaxClasses);  // data sets take what the device does
namespace {

using spec::Descriptor;
using spec::Opcode;

// Sums over a batch are large, so their steps may be small: 8 bits of mantissa are left.
constexpr double kLeastReadoutStep = 0x1p-24;

// Examples that are squared at once, at least: a command has its own cost.
constexpr int kLeastBlock = 8;

std::uint32_t u32(std::int64_t value) { return static_cast<std::uint32_t>(value); }

class Lowering {
 public:
  Lowering(const QuantizedNetwork& net, const spec::HardwareParams& hw, const CompileOptions& o)
      : net_(net), hw_(hw), o_(o) {}

  Lowered run() {
    check_options();
    check_quantized(net_, "compiler");
    choose_layers();
    choose_fusions();
    program_header();
    choose_places();
    Lowered out;
    to_ = &out.steps;
    emit_copies(o_.input_layer);
    for (const int layer : layers_) emit_all(layer);
    if (p_.squared_error) {
      emit_squares();
    } else if (p_.has_loss) {
      emit_loss();
    }
    if (o_.moments) emit_moments();
    emit_updates();
    if (o_.readout) emit_readout(out);
    out.program = std::move(p_);
    return out;
  }

 private:
  [[nodiscard]] const Layer& layer(int i) const {
    return net_.network.layers[static_cast<std::size_t>(i)];
  }
  [[nodiscard]] const QuantizedLayer& quantized(int i) const {
    return net_.layers[static_cast<std::size_t>(i)];
  }

  [[noreturn]] void fail(const std::string& text) const { lowering::fail(net_.network, text); }
  [[noreturn]] void fail(int i, const std::string& text) const {
    fail(fmt::format("layer '{}' ({}): {}", layer(i).name, name_of(layer(i).op), text));
  }
  void check(int i, const char* field, std::int64_t value, std::int64_t low,
             std::int64_t high) const {
    if (value < low || value > high)
      fail(i, fmt::format("{} is {}, expected {} to {}", field, value, low, high));
  }
  [[noreturn]] static void usage(const std::string& text) {
    throw Error(ErrorKind::usage, "compiler: " + text);
  }

  void check_options() const {
    const auto range = [](const char* name, std::int64_t value, std::int64_t low,
                          std::int64_t high) {
      if (value < low || value > high)
        usage(fmt::format("{} is {}, expected {} to {}", name, value, low, high));
    };
    if (const auto bad = spec::bad_parameter(hw_); !bad.empty())
      usage(fmt::format("hardware parameter {} has a value it cannot have", bad));
    range("batch", o_.batch, 1, 65535);
    range("slots", o_.slots, 1, 65535);
    const int count = static_cast<int>(net_.network.layers.size());
    range("input layer", o_.input_layer, kNetworkInput, count - 1);
    if (o_.output_layer) range("output layer", *o_.output_layer, 0, count - 1);
    if (o_.memory_bytes > (std::uint64_t{1} << 32))
      usage(fmt::format("memory is {} bytes, expected at most 2^32", o_.memory_bytes));
    if (!o_.training.empty() && hw_.training == 0)
      usage("hardware parameter TRAINING is 0, expected 1 for a program that trains");
    if (!o_.output_layer && hw_.training == 0 && !net_.network.reconstructs())
      usage("hardware parameter TRAINING is 0, expected 1 for a program with a loss");
    if (o_.example_losses && o_.output_layer) usage("per-example losses of a program without loss");
    if (o_.readout) check_readout();
    if (o_.moments && !o_.output_layer) usage("moments of a program without an output layer");
    for (std::size_t i = 0; i < o_.training.size(); ++i) {
      const TensorTraining& t = o_.training[i];
      const std::string name = tensor_name(net_.network, t.tensor);
      range(("keep of " + name).c_str(), t.keep, 0, spec::kKeepAll);
      for (std::size_t j = 0; j < i; ++j)
        if (o_.training[j].tensor == t.tensor)
          usage(name + " is listed twice to train, expected once");
    }
  }

  void check_readout() const {
    if (o_.output_layer) usage("readouts of a program without loss");
    if (net_.network.reconstructs())
      fail(
          "its loss is reconstruction, which readouts cannot learn, expected forward gradients, or "
          "a network whose loss is cross-entropy");
    if (!(o_.readout->step_lsb > 0))
      usage(fmt::format("step of the readouts is {} LSBs, expected more than 0",
                        o_.readout->step_lsb));
    if (o_.readout->kept < 0)
      usage(fmt::format("kept records is {}, expected 0 or more", o_.readout->kept));
    const int head = net_.network.logits_layer();
    const Layer& l = layer(head);
    const int record = l.inputs[0];
    if (l.op != Op::fully_connected || record < 0 || layer(record).op != Op::concat)
      fail(head, "the head of a network without readouts, expected fully_connected on a concat");
    if (record <= o_.input_layer)
      usage(
          fmt::format("input layer {} is not before the record, layer {}", o_.input_layer, record));
    if (l.in.c % spec::kAlign != 0)
      fail(head, fmt::format("a record has {} elements, expected a multiple of {}", l.in.c,
                             spec::kAlign));
    check(head, "examples of a batch, the products that a sum over them has,", o_.batch, 1,
          spec::kMaxK);
    for (const TensorTraining& t : o_.training)
      if (t.tensor == weight_tensor(head))
        usage(tensor_name(net_.network, t.tensor) +
              " is to train by perturbation, expected another tensor: readouts train it");
  }

  [[nodiscard]] bool writes_anywhere(int i) const {
    const OpTraits is = traits(layer(i).op);
    return is.weights || is.window;
  }

  // Inputs of a concat that their producers can write where they belong.
  void choose_places() {
    for (const int c : layers_) {
      if (layer(c).op != Op::concat) continue;
      std::uint32_t offset = 0;
      for (std::size_t k = 0; k < layer(c).parts.size(); ++k) {
        const int in = layer(c).inputs[k];
        if (o_.fuse_adds && in != o_.input_layer && writes_anywhere(in) && consumers(in) == 1)
          placed_[in] = {c, offset};
        offset += u32(layer(c).parts[k].elements);
      }
    }
  }

  void choose_layers() {
    const int output = o_.output_layer.value_or(net_.network.logits_layer());
    if (output <= o_.input_layer)
      usage(fmt::format("output layer {} is not after input layer {}", output, o_.input_layer));
    std::set<int> needed{output};
    std::vector<int> open{output};
    while (!open.empty()) {
      const int i = open.back();
      open.pop_back();
      for (const int in : layer(i).inputs) {
        if (in == o_.input_layer) continue;
        if (in < o_.input_layer || in == kNetworkInput) {
          fail(i, fmt::format("it reads '{}', which is not computed after '{}', expected a layer "
                              "that every path passes",
                              in == kNetworkInput ? "input" : layer(in).name,
                              layer(o_.input_layer).name));
        }
        if (needed.insert(in).second) open.push_back(in);
      }
    }
    layers_.assign(needed.begin(), needed.end());
    p_.output_layer = output;
    p_.has_loss = !o_.output_layer.has_value();
    if (!p_.has_loss) return;
    if (net_.network.reconstructs()) {
      if (!net_.difference)
        fail(output,
             "the quantized network does not say how large a difference of output and input is, "
             "expected one that was calibrated (`lastmile quantize`, or the model itself as "
             "--network, with data)");
      p_.squared_error = SquaredError{.scale = net_.difference->scale};
      return;
    }
    if (!has_weights(layer(output)))
      fail(output,
           "the logits' layer, expected conv2d, depthwise_conv2d or fully_connected (int16 "
           "outputs)");
    if (net_.logits.requant.empty()) fail(output, "the quantized network has no int16 logits");
  }

  [[nodiscard]] int consumers(int i) const {
    int count = 0;
    for (const int l : layers_)
      for (const int in : layer(l).inputs) count += in == i ? 1 : 0;
    return count;
  }

  // An add moves into the weighted layer that computes the later of its addends, if nobody else
  // reads that addend and the other one is there by then.
  void choose_fusions() {
    if (!o_.fuse_adds) return;
    for (const int a : layers_) {
      if (layer(a).op != Op::add) continue;
      const int first = layer(a).inputs[0], second = layer(a).inputs[1];
      const int producer = std::max(first, second), other = std::min(first, second);
      if (producer == o_.input_layer || other == o_.input_layer) continue;
      if (!has_weights(layer(producer)) || consumers(producer) != 1) continue;
      const numeric::AddParams& p = quantized(a).add;
      if ((producer == first ? p.zp1 : p.zp2) != quantized(producer).out.zero_point) continue;
      fused_into_[producer] = a;
      fused_.insert(a);
    }
  }

  void program_header() {
    p_.network = net_.network.name;
    p_.hardware = hw_;
    p_.distribution = o_.distribution;
    p_.batch = o_.batch;
    p_.slots = o_.slots;
    p_.input_layer = o_.input_layer;
    p_.input = net_.network.shape_of(o_.input_layer);
    p_.input_quant = net_.quant_of(o_.input_layer);
    p_.output = layer(p_.output_layer).out;
    p_.example_losses = o_.example_losses;
    if (!p_.has_loss) return;
    if (p_.squared_error) {
      p_.example_losses = true;
      p_.label_bytes = static_cast<int>(p_.output.elements());
      p_.squared_error->pitch =
          u32(static_cast<std::int64_t>(align_up(static_cast<std::uint64_t>(p_.label_bytes))));
      p_.squared_error->block = u32(std::min(o_.batch, std::max(hw_.cols, kLeastBlock)));
      return;
    }
    p_.classes = static_cast<int>(p_.output.elements());
    p_.label_bytes = p_.classes > spec::kLabel8Classes ? 2 : 1;
    p_.logit_scale = net_.logits.scale;
  }

  // The tensor a layer reads, as its command sees it.
  [[nodiscard]] int tensor_of(int in) const {
    return in == o_.input_layer || (records_in_ && in == record()) ? kBatch : in;
  }
  [[nodiscard]] int record() const { return layer(net_.network.logits_layer()).inputs[0]; }

  Step& push(Opcode op, int owner, std::string name, int in, int in2, int out) {
    Step s;
    s.command.descriptor.opcode = u32(static_cast<std::int64_t>(op));
    s.command.descriptor.tag = u32(std::max(owner, 0));
    s.command.descriptor.n = u32(o_.batch);
    s.command.layer = owner;
    s.command.name = std::move(name);
    s.in = in;
    s.in2 = in2;
    s.out = out;
    if (in == kBatch) s.command.descriptor.flags |= spec::kFlagInBatch;
    if (records_out_ && out == record()) s.out = kRecords;
    if ((out == p_.output_layer && !p_.has_loss && !o_.moments) || s.out == kRecords ||
        s.out == kMoments)
      s.command.descriptor.flags |= spec::kFlagOutBatch;
    to_->push_back(std::move(s));
    return to_->back();
  }

  // A layer, and the copies of its output that concats want.
  void emit_all(int i) {
    emit(i);
    if (fused_.contains(i)) return;  // came with its convolution
    const auto fused = fused_into_.find(i);
    emit_copies(fused == fused_into_.end() ? i : fused->second);
  }

  void emit(int i) {
    const Layer& l = layer(i);
    if (fused_.contains(i)) return;
    switch (l.op) {
      case Op::add:
        return emit_add(i);
      case Op::softmax:
        return emit_softmax(i);
      case Op::concat:
        return emit_concat(i);
      case Op::conv2d:
      case Op::depthwise_conv2d:
      case Op::fully_connected:
      case Op::max_pool2d:
      case Op::average_pool2d:
      case Op::global_average_pool:
        return emit_tiled(i);
    }
  }

  // A convolution or a pool, with the addition that is fused into it.
  void emit_tiled(int i) {
    const Layer& l = layer(i);
    const bool weighted = has_weights(l);
    const auto fused = fused_into_.find(i);
    const bool compared = p_.squared_error && i == p_.output_layer;
    const int result = compared ? kDifference : fused == fused_into_.end() ? i : fused->second;
    int in2 = kNone;  // a target: relative to LABEL_ADDR
    if (result != i && !compared) {
      const std::vector<int>& addends = layer(result).inputs;
      in2 = tensor_of(addends[0] == i ? addends[1] : addends[0]);
    }
    const Opcode op = !weighted                      ? Opcode::pool_
                      : l.op == Op::depthwise_conv2d ? Opcode::depthwise_
                                                     : Opcode::conv2d_;
    const std::string name = result == i ? l.name
                             : compared  ? l.name + "-target"
                                         : l.name + "+" + layer(result).name;
    const auto place = placed_.find(result);
    const bool placed = place != placed_.end();
    Step& step =
        push(op, i, name, tensor_of(l.inputs[0]), in2, placed ? place->second.concat : result);
    Descriptor& d = step.command.descriptor;
    if (placed) {
      step.out_offset = place->second.offset;
      d.out_pitch = u32(layer(place->second.concat).out.c);
    }
    window_fields(i, d);
    if (weighted) {
      weighted_fields(i, d);
      if (compared) {
        d.flags |= spec::kFlagIn2Label;
        add_fields(net_.difference->add, false, d);
      } else if (result != i) {
        add_fields(quantized(result).add, layer(result).inputs[0] != i, d);
      }
    } else {
      if (l.op == Op::max_pool2d) d.flags |= spec::kFlagMax;
      d.act_min = quantized(i).act_min;
      d.act_max = quantized(i).act_max;
      check(i, "window elements", reduction(l), 1, spec::kMaxPoolTaps);
    }
    tile(i, d);
  }

  void window_fields(int i, Descriptor& d) const {
    const Layer& l = layer(i);
    if (l.op == Op::fully_connected) {
      d.in_h = d.in_w = d.out_h = d.out_w = 1;
      d.kernel_h = d.kernel_w = d.stride_h = d.stride_w = d.dilation_h = d.dilation_w = 1;
      d.in_c = u32(l.in.elements());
    } else {
      d.in_h = u32(l.in.h), d.in_w = u32(l.in.w), d.in_c = u32(l.in.c);
      d.out_h = u32(l.out.h), d.out_w = u32(l.out.w);
      d.kernel_h = u32(l.kernel_h), d.kernel_w = u32(l.kernel_w);
      // What cannot be seen is 1: a stride with one output, a dilation with one tap.
      d.stride_h = l.out.h == 1 ? 1 : u32(l.stride_h),
      d.stride_w = l.out.w == 1 ? 1 : u32(l.stride_w);
      d.dilation_h = l.kernel_h == 1 ? 1 : u32(l.dilation_h),
      d.dilation_w = l.kernel_w == 1 ? 1 : u32(l.dilation_w);
      d.pad_top = u32(l.pad_top), d.pad_left = u32(l.pad_left);
    }
    check(i, "stride height", d.stride_h, 1, 255);
    check(i, "stride width", d.stride_w, 1, 255);
    check(i, "dilation height", d.dilation_h, 1, 255);
    check(i, "dilation width", d.dilation_w, 1, 255);
    check(i, "padding top", d.pad_top, 0, 32767);
    check(i, "padding left", d.pad_left, 0, 32767);
    check(i, "input channels", d.in_c, 1, 65536);
    d.out_c = u32(l.out.c);
    d.groups = u32(l.op == Op::conv2d ? l.groups : 1);
    d.cin_group = d.in_c / d.groups;
    d.cout_group = u32(l.op == Op::depthwise_conv2d ? l.multiplier : l.out.c / l.groups);
  }

  void weighted_fields(int i, Descriptor& d) {
    const Layer& l = layer(i);
    const QuantizedLayer& q = quantized(i);
    const bool logits = p_.has_loss && !p_.squared_error && i == p_.output_layer;
    check(i, "K, the number of products summed per output,", reduction(l), 1, spec::kMaxK);
    const int bits = bits_of(net_.weight_type_of(static_cast<std::size_t>(i)));
    if (bits == 8) d.flags |= spec::kFlagW8;
    if (logits) d.flags |= spec::kFlagOut16;
    if (l.bias) d.flags |= spec::kFlagHasBias;
    d.in_zp = net_.quant_of(l.inputs[0]).zero_point;
    d.out_zp = logits ? 0 : q.out.zero_point;
    d.act_min = logits ? net_.logits.act_min : q.act_min;
    d.act_max = logits ? net_.logits.act_max : q.act_max;
    d.w_tensor = weight_tensor(i);
    d.b_tensor = bias_tensor(i);
    d.w_keep = d.b_keep = spec::kKeepAll;

    const TensorPlace& w = add_tensor(i, false, bits, q.rows, q.columns);
    d.w_pitch = w.pitch;
    if (w.trainable) {
      d.flags |= spec::kFlagWTrain;
      d.w_eps = w.eps.mantissa;
      d.w_eps_shift = w.eps.shift;
      d.w_keep = u32(w.keep);
    }
    if (!l.bias) return;
    const TensorPlace& b = add_tensor(i, true, 32, 1, l.filters);
    if (b.trainable) {
      d.flags |= spec::kFlagBTrain;
      d.b_eps = b.eps.mantissa;
      d.b_eps_shift = b.eps.shift;
      d.b_keep = u32(b.keep);
    }
  }

  // Its place; made on the first call.
  const TensorPlace& add_tensor(int i, bool bias, int bits, int rows, int columns) {
    TensorPlace t;
    t.tensor = bias ? bias_tensor(i) : weight_tensor(i);
    if (const TensorPlace* known = p_.find_tensor(t.tensor)) return *known;
    t.layer = i;
    t.bias = bias;
    t.bits = bits;
    t.rows = rows;
    t.columns = columns;
    t.pitch = u32(static_cast<std::int64_t>(
        align_up(static_cast<std::uint64_t>(columns) * static_cast<std::uint64_t>(bits / 8))));
    const auto chosen = std::find_if(o_.training.begin(), o_.training.end(),
                                     [&](const TensorTraining& c) { return c.tensor == t.tensor; });
    if (chosen != o_.training.end()) {
      const std::string name = tensor_name(net_.network, t.tensor);
      const bool gaussian = o_.distribution == spec::Distribution::gaussian_;
      const double z_unit = gaussian ? 3.5 / spec::kZStepDen : 1;
      t.trainable = true;
      t.keep = chosen->keep;
      if (!(chosen->eps_lsb > 0))
        usage(fmt::format("perturbation of {} is {} LSBs, expected more than 0", name,
                          chosen->eps_lsb));
      if (!(chosen->step_lsb > 0))
        usage(fmt::format("step of {} is {} LSBs, expected more than 0", name, chosen->step_lsb));
      t.eps = encode_scaled(chosen->eps_lsb * z_unit, bias ? 24 : 16,
                            fmt::format("compiler: perturbation of {} in LSBs", name));
      t.step =
          encode_step(chosen->step_lsb * z_unit, fmt::format("compiler: step of {} in LSBs", name));
      const double largest = std::floor(t.eps.value() * (gaussian ? spec::kZStepDen : 1) + 0.5);
      if (largest < 1) {
        p_.notes.push_back(
            fmt::format("the perturbation of {} is {:.3g} LSB: it rounds to nothing for every z",
                        name, chosen->eps_lsb));
      }
    }
    p_.tensors.push_back(t);
    return p_.tensors.back();
  }

  // `swapped`: the addend that comes first in the descriptor is the layer's second input.
  static void add_fields(const numeric::AddParams& p, bool swapped, Descriptor& d) {
    const bool fused = d.opcode != u32(static_cast<std::int64_t>(Opcode::add_));
    if (fused) d.flags |= spec::kFlagResAdd;
    if (!fused) d.in_zp = swapped ? p.zp2 : p.zp1;
    d.in2_zp = swapped ? p.zp1 : p.zp2;
    d.add_zp = p.zp_out;
    d.m1 = u32(swapped ? p.m2 : p.m1), d.e1 = swapped ? p.e2 : p.e1;
    d.m2 = u32(swapped ? p.m1 : p.m2), d.e2 = swapped ? p.e1 : p.e2;
    d.mo = u32(p.mo), d.eo = p.eo;
    d.add_shift = u32(p.left_shift);
    d.add_act_min = p.act_min;
    d.add_act_max = p.act_max;
  }

  void emit_add(int i) {
    const Layer& l = layer(i);
    int first = tensor_of(l.inputs[0]), second = tensor_of(l.inputs[1]);
    const bool swapped = second == kBatch && first != kBatch;
    if (swapped) std::swap(first, second);
    if (second == kBatch) {
      if (!copied_) emit_copy();
      second = kBatchCopy;
    }
    Step& step = push(Opcode::add_, i, l.name, first, second, i);
    Descriptor& d = step.command.descriptor;
    add_fields(quantized(i).add, swapped, d);
    const std::int64_t elements = l.out.elements();
    d.in_c = u32(elements);
    if (elements > 65536) {  // the same elements as more, shorter entries
      check(i, "elements of a row", std::int64_t{l.out.w} * l.out.c, 1, 65536);
      check(i, "batch * rows", std::int64_t{o_.batch} * l.out.h, 1, 65535);
      d.n = u32(std::int64_t{o_.batch} * l.out.h);
      d.in_c = u32(std::int64_t{l.out.w} * l.out.c);
    }
  }

  // Copies of tensor `from` into its places in concats, as soon as it is there: it may die then.
  void emit_copies(int from) {
    if (placed_.contains(from)) return;
    for (const int c : layers_) {
      if (layer(c).op != Op::concat) continue;
      std::uint32_t offset = 0;
      for (std::size_t k = 0; k < layer(c).parts.size(); ++k) {
        if (layer(c).inputs[k] == from) {
          const std::string name = from == kNetworkInput ? "input" : layer(from).name;
          emit_part(c, fmt::format("{} into {}", name, layer(c).name), tensor_of(from),
                    net_.network.shape_of(from), offset);
        }
        offset += u32(layer(c).parts[k].elements);
      }
    }
  }

  void emit_part(int c, std::string name, int in, const Shape& shape, std::uint32_t offset) {
    Step& step = push(Opcode::pool_, c, std::move(name), in, kNone, c);
    step.out_offset = offset;
    step.command.descriptor.out_pitch = u32(layer(c).out.c);
    copy_fields(shape, step.command.descriptor);
    tile(c, step.command.descriptor);
  }

  // Its inputs are in their places by now.
  void emit_concat(int i) {
    const Layer& l = layer(i);
    if (!l.constants.empty())
      emit_part(i, l.name + " constants", constants_of(i),
                {1, 1, static_cast<int>(l.constants.size())}, u32(l.in.c));
  }

  void emit_copy() {
    copied_ = true;
    Step& step = push(Opcode::pool_, kNetworkInput, "copy of the batch", kBatch, kNone, kBatchCopy);
    copy_fields(p_.input, step.command.descriptor);
    tile(kNone, step.command.descriptor);
  }

  // A maximum over one element.
  static void copy_fields(const Shape& s, Descriptor& d) {
    d.flags |= spec::kFlagMax;
    d.in_h = d.out_h = u32(s.h), d.in_w = d.out_w = u32(s.w), d.in_c = d.out_c = u32(s.c);
    d.kernel_h = d.kernel_w = d.stride_h = d.stride_w = d.dilation_h = d.dilation_w = 1;
    d.groups = 1, d.cin_group = d.in_c, d.cout_group = 1;
    d.act_min = -128, d.act_max = 127;
  }

  void emit_softmax(int i) {
    const Layer& l = layer(i);
    Step& step = push(Opcode::softmax_, i, l.name, tensor_of(l.inputs[0]), kNone, i);
    Descriptor& d = step.command.descriptor;
    const SoftmaxQuant& q = quantized(i).softmax;
    check(i, "batch * positions", std::int64_t{o_.batch} * l.in.h * l.in.w, 1, 65535);
    d.n = u32(std::int64_t{o_.batch} * l.in.h * l.in.w);
    d.in_c = u32(l.in.c);
    d.in_zp = net_.quant_of(l.inputs[0]).zero_point;
    d.m1 = u32(q.multiplier);
    d.e1 = q.left_shift;
    d.diff_min = q.diff_min;
  }

  void emit_loss() {
    Step& step = push(Opcode::loss_, kNetworkInput, "loss", p_.output_layer, kNone, kNone);
    Descriptor& d = step.command.descriptor;
    d.flags |= spec::kFlagIn2Label;
    if (o_.example_losses) d.flags |= spec::kFlagLosses;
    d.in_c = u32(p_.classes);
    d.m1 = net_.logits.loss_multiplier;
    d.e1 = -net_.logits.loss_shift;
  }

  // A fully connected layer whose inputs are the differences of a block of examples and whose
  // weights are the same bytes: sums of squares are its diagonal. Blocks as wide as the array cost
  // it a cycle per k-tile and example; one filter per example would wait for its weights instead.
  // Rows of weights begin at multiples of 64 bytes, so rows of another length are copied into
  // longer ones, whose rest the image has set to 0.
  void emit_squares() {
    const SquaredError& e = *p_.squared_error;
    const auto elements = u32(p_.output.elements());
    int rows = kDifference;
    if (e.pitch != elements) {
      rows = kPadded;
      Step& copy =
          push(Opcode::pool_, kNetworkInput, "rows of differences", kDifference, kNone, kPadded);
      copy_fields({1, 1, static_cast<int>(elements)}, copy.command.descriptor);
      copy.command.descriptor.out_pitch = e.pitch;
      tile(p_.output_layer, copy.command.descriptor);
    }
    for (int first = 0; first < o_.batch; first += static_cast<int>(e.block)) {
      const auto count = std::min(e.block, u32(o_.batch - first));
      Step& step = push(Opcode::conv2d_, kNetworkInput, fmt::format("squares from {}", first), rows,
                        kNone, kSquares);
      step.weights = rows;
      step.in_offset = step.weights_offset = u32(first) * e.pitch;
      step.out_offset = u32(first) * e.block * 4;
      Descriptor& d = step.command.descriptor;
      d.flags |= spec::kFlagW8 | spec::kFlagOut32;
      d.n = count;
      d.in_h = d.in_w = d.out_h = d.out_w = d.kernel_h = d.kernel_w = 1;
      d.stride_h = d.stride_w = d.dilation_h = d.dilation_w = 1;
      d.groups = 1;
      d.in_c = d.cin_group = d.w_pitch = e.pitch;
      d.out_c = d.cout_group = count;
      d.w_keep = d.b_keep = spec::kKeepAll;
      tile(p_.output_layer, d);
    }
  }

  // The three queues of readouts: the layers up to the record with it at OUT_ADDR; the head and the
  // loss on records at BATCH_ADDR; the same and a step.
  void emit_readout(Lowered& out) {
    const int head = net_.network.logits_layer();
    const Layer& l = layer(head);
    const auto k = static_cast<std::int64_t>(l.in.c);
    ReadoutQueues queues;
    queues.layer = record();
    queues.pitch = u32(k);
    queues.kept = o_.readout->kept;
    p_.readout = std::move(queues);

    to_ = &out.extract;
    records_out_ = true;
    copied_ = false;
    emit_copies(o_.input_layer);
    for (const int i : layers_)
      if (i != head) emit_all(i);
    records_out_ = false;

    records_in_ = true;
    to_ = &out.score;
    emit(head);
    emit_loss();

    to_ = &out.learn;
    emit(head);
    emit_loss();
    Step& loss = to_->back();
    loss.out = kErrors;
    Descriptor& e = loss.command.descriptor;
    e.flags = (e.flags & ~std::uint32_t{spec::kFlagLosses}) | spec::kFlagErrors;
    e.w_tensor = bias_tensor(head);  // another stream than the update's
    records_in_ = false;

    emit_gradient(head, k);
    const TensorPlace& w = *p_.find_tensor(weight_tensor(head));
    const ScaledStep scaled = encode_step(
        o_.readout->step_lsb, "compiler: step of the readouts in LSBs", kLeastReadoutStep);
    Step& update = push(Opcode::update_, head, "learn " + tensor_name(net_.network, w.tensor),
                        kGradient, kNone, kNone);
    Descriptor& u = update.command.descriptor;
    u.n = 0;
    u.flags |= spec::kFlagGradient | (w.bits == 8 ? spec::kFlagW8 : 0U);
    u.in_c = u32(w.columns);
    u.out_c = u32(w.rows);
    u.w_pitch = w.pitch;
    u.w_tensor = w.tensor;
    u.w_keep = spec::kKeepAll;
    u.step = scaled.mantissa;
    u.step_shift = scaled.shift;
  }

  // Sum over the batch of error * (record - zero point): the errors are one image of batch rows,
  // and the records are the weights.
  void emit_gradient(int head, std::int64_t k) {
    Step& step =
        push(Opcode::conv2d_, head, "gradient of " + layer(head).name, kErrors, kNone, kGradient);
    Descriptor& d = step.command.descriptor;
    d.flags |= spec::kFlagWTransposed | spec::kFlagW8 | spec::kFlagOut32 | spec::kFlagWBatch;
    d.n = 1;
    d.in_h = d.kernel_h = u32(o_.batch);
    d.in_w = d.out_w = u32(p_.classes);
    d.in_c = d.out_h = d.kernel_w = 1;
    d.stride_h = d.stride_w = d.dilation_h = d.dilation_w = 1;
    d.groups = d.cin_group = 1;
    d.out_c = d.cout_group = d.w_pitch = u32(k);
    d.w_zp = net_.quant_of(record()).zero_point;
    d.w_keep = d.b_keep = spec::kKeepAll;
    tile(head, d);
  }

  // Depthwise convolutions with one output per column: their taps are the rows of a chunk, their
  // weights ones, or these rows themselves.
  void emit_moments() {
    const int i = p_.output_layer;
    const Shape& out = layer(i).out;
    MomentSums m;
    m.channels = out.c;
    m.columns = u32(std::lcm(std::int64_t{out.c}, std::int64_t{spec::kAlign}));
    const std::int64_t bytes = out.elements() * o_.batch;
    if (bytes % m.columns != 0)
      fail(i, fmt::format("a batch of {} has {} values, expected a multiple of {} to sum them by "
                          "channel",
                          o_.batch, bytes, m.columns));
    const std::int64_t all = bytes / m.columns;
    const auto command = [&](std::int64_t rows) {
      Descriptor d;
      d.opcode = u32(static_cast<std::int64_t>(Opcode::depthwise_));
      d.n = 1;
      d.flags = spec::kFlagW8 | spec::kFlagOut32;
      d.in_h = d.kernel_h = u32(rows);
      d.in_w = d.kernel_w = d.out_h = d.out_w = 1;
      d.stride_h = d.stride_w = d.dilation_h = d.dilation_w = 1;
      d.groups = d.cout_group = 1;
      d.in_c = d.out_c = d.cin_group = d.w_pitch = m.columns;
      d.w_keep = d.b_keep = spec::kKeepAll;
      choose_tiles(d, hw_);
      return d;
    };
    // As many rows as the scratchpad holds.
    for (std::int64_t rows = std::min<std::int64_t>(all, spec::kMaxK / 2);; rows /= 2) {
      try {
        static_cast<void>(command(rows));
        m.rows = u32(rows);
        break;
      } catch (const Error& e) {
        if (rows == 1) fail(i, e.what());
      }
    }
    m.chunks = u32((all + m.rows - 1) / m.rows);
    for (std::uint32_t c = 0; c < m.chunks; ++c) {
      const std::uint32_t first = c * m.rows;
      const Descriptor d = command(std::min<std::int64_t>(m.rows, all - first));
      for (const int weights : {kOnes, i}) {
        Step& step = push(
            Opcode::depthwise_, i,
            fmt::format("{} of {}, part {}", weights == i ? "squares" : "sums", layer(i).name, c),
            i, kNone, kMoments);
        const std::uint32_t tag = step.command.descriptor.tag;
        const std::uint32_t flags = step.command.descriptor.flags;
        step.command.descriptor = d;
        step.command.descriptor.tag = tag;
        step.command.descriptor.flags |= flags;
        step.weights = weights;
        step.in_offset = first * m.columns;
        step.weights_offset = weights == i ? step.in_offset : 0;
        step.out_offset = (2 * c + (weights == i ? 1 : 0)) * m.columns * 4;
      }
    }
    p_.moments = m;
  }

  void tile(int i, Descriptor& d) const {
    try {
      choose_tiles(d, hw_);
    } catch (const Error& e) {
      if (i == kNone) fail(fmt::format("copy of the batch: {}", e.what()));
      fail(i, e.what());
    }
  }

  void emit_updates() {
    for (const TensorTraining& t : o_.training) {
      if (p_.find_tensor(t.tensor) == nullptr)
        fail(fmt::format("{} is to train, expected a tensor of the compiled layers",
                         tensor_name(net_.network, t.tensor)));
    }
    for (const TensorPlace& t : p_.tensors) {
      if (!t.trainable) continue;
      Command c;
      c.layer = t.layer;
      c.name = "update " + tensor_name(net_.network, t.tensor);
      Descriptor& d = c.descriptor;
      d.opcode = u32(static_cast<std::int64_t>(Opcode::update_));
      d.tag = u32(t.layer);
      if (t.bits != 16) d.flags = t.bits == 8 ? spec::kFlagW8 : spec::kFlagW32;
      d.in_c = u32(t.columns);
      d.out_c = u32(t.rows);
      d.w_pitch = t.pitch;
      d.w_tensor = t.tensor;
      d.w_keep = u32(t.keep);
      d.step = t.step.mantissa;
      d.step_shift = t.step.shift;
      p_.update.push_back(std::move(c));
    }
  }

  const QuantizedNetwork& net_;
  const spec::HardwareParams& hw_;
  const CompileOptions& o_;
  Program p_;
  std::vector<int> layers_;        // needed, in order
  std::map<int, int> fused_into_;  // weighted layer -> the add that it performs
  std::set<int> fused_;            // adds performed by another command
  struct Place {
    int concat = 0;
    std::uint32_t offset = 0;
  };
  std::map<int, Place> placed_;  // tensors that are written into their place in a concat
  bool copied_ = false;
  bool records_out_ = false, records_in_ = false;  // the record is at OUT_ADDR, at BATCH_ADDR
  std::vector<Step>* to_ = nullptr;
};

}  // namespace

void fail(const Network& network, const std::string& text) {
  throw Error(ErrorKind::input, fmt::format("compiler: network '{}': {}", network.name, text));
}

Lowered lower(const QuantizedNetwork& network, const spec::HardwareParams& hardware,
              const CompileOptions& options) {
  return Lowering(network, hardware, options).run();
}

}  // namespace lastmile::lowering
