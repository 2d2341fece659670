// SPDX-License-Identifier: Apache-2.0
// Backpropagation as commands of this array, and the memory it needs.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "sw/base/error.hpp"
#include "sw/compiler/planner.hpp"
#include "sw/profile/compare.hpp"

namespace lastmile::profile {
namespace {

using spec::Descriptor;
using spec::Opcode;

std::uint32_t u32(std::int64_t v) { return static_cast<std::uint32_t>(v); }

// Layers of the program after `input`, which of them train, who reads whom.
struct Shape {
  const Network& net;
  int input = kNetworkInput;
  std::vector<bool> inside, trains;

  Shape(const QuantizedNetwork& q, Variant variant, int input_layer)
      : net(q.network), input(input_layer) {
    const int last = net.logits_layer();
    inside.assign(net.layers.size(), false);
    trains.assign(net.layers.size(), false);
    for (int i = input + 1; i <= last; ++i) {
      inside[index(i)] = true;
      trains[index(i)] =
          has_weights(net.layers[index(i)]) && (variant != Variant::head || i == last);
    }
  }
  static std::size_t index(int i) { return static_cast<std::size_t>(i); }
  [[nodiscard]] const Layer& layer(int i) const { return net.layers[index(i)]; }
  // Whether an error must reach the output of layer i: it trains, or something below it does.
  [[nodiscard]] bool needs_error(int i) const {
    if (i == input || i == kNetworkInput) return false;
    if (trains[index(i)]) return true;
    return std::any_of(layer(i).inputs.begin(), layer(i).inputs.end(),
                       [&](int in) { return needs_error(in); });
  }
  [[nodiscard]] int readers(int i) const {
    int n = 0;
    for (std::size_t l = 0; l < net.layers.size(); ++l)
      if (inside[l])
        n += static_cast<int>(
            std::count(net.layers[l].inputs.begin(), net.layers[l].inputs.end(), i));
    return n;
  }
  [[nodiscard]] bool masked(int i) const {
    return i != input && i != kNetworkInput && layer(i).activation != Activation::none;
  }
};

class Backward {
 public:
  Backward(const QuantizedNetwork& q, Variant variant, int batch, const spec::HardwareParams& hw,
           const BackpropOptions& o, int input)
      : shape_(q, variant, input),
        hw_(hw),
        o_(o),
        batch_(u32(batch)),
        q_(q),
        keep_(variant == Variant::sparse ? 26.0 / spec::kKeepAll : 1) {}

  std::vector<PlannedCommand> run() {
    const int last = shape_.net.logits_layer();
    Descriptor d;
    d.opcode = u32(static_cast<int>(Opcode::softmax_));
    d.n = batch_;
    d.in_c = u32(shape_.layer(last).out.elements());
    put("first error", last, d);
    for (int i = last; i > shape_.input; --i) {
      if (!shape_.inside[Shape::index(i)] || !shape_.needs_error(i)) continue;
      sum_errors(i, last);
      const Layer& l = shape_.layer(i);
      if (!has_weights(l)) {
        if (l.op != Op::add && shape_.needs_error(l.inputs[0])) spread(i);
        continue;
      }
      if (shape_.needs_error(l.inputs[0])) input_error(i);
      if (shape_.trains[Shape::index(i)]) {
        weight_gradient(i);
        optimize(i);
      }
    }
    return std::move(out_);
  }

 private:
  [[nodiscard]] std::uint64_t weight_bytes(int i) const {
    return q_.weight_type_of(Shape::index(i)) == WeightType::w8 ? 1 : 2;
  }
  void put(const std::string& what, int layer, const Descriptor& d, bool partial = false) {
    out_.push_back({"backward", fmt::format("{} {}", what, shape_.layer(layer).name),
                    shape_.layer(layer).name, d, partial});
  }

  void sum_errors(int i, int last) {
    const int readers = i == last ? 1 : shape_.readers(i);
    for (int k = 1; k < readers; ++k) {
      Descriptor d = bytes_add(std::uint64_t{batch_} *
                               static_cast<std::uint64_t>(shape_.layer(i).out.elements()));
      put("sum errors of", i, d);
    }
  }

  // A pool's error over its input: read (which element was the largest) and written.
  void spread(int i) {
    const Layer& l = shape_.layer(i);
    Descriptor d;
    d.opcode = u32(static_cast<int>(Opcode::pool_));
    d.n = batch_;
    d.in_h = d.out_h = u32(l.in.h);
    d.in_w = d.out_w = u32(l.in.w);
    d.in_c = d.out_c = u32(l.in.c);
    d.kernel_h = d.kernel_w = d.stride_h = d.stride_w = 1;
    d.groups = 1;
    d.cin_group = d.in_c;
    finish_descriptor(d, hw_);
    put("error through", i, d);
  }

  // One command per pair of residues modulo the stride: outputs that the same taps reach.
  void input_error(int i) {
    const Layer& l = shape_.layer(i);
    const bool fc = l.op == Op::fully_connected;
    for (int py = 0; py < (fc ? 1 : l.stride_h); ++py) {
      for (int px = 0; px < (fc ? 1 : l.stride_w); ++px) {
        Descriptor d;
        d.n = batch_;
        d.stride_h = d.stride_w = 1;
        d.groups = 1;
        if (fc) {
          d.opcode = u32(static_cast<int>(Opcode::conv2d_));
          d.in_h = d.in_w = d.out_h = d.out_w = d.kernel_h = d.kernel_w = 1;
          d.in_c = u32(l.out.c);
          d.out_c = u32(l.in.elements());
          d.cin_group = d.in_c;
          d.cout_group = d.out_c;
        } else {
          const int taps_h = meeting_taps(l.kernel_h, l.stride_h, l.pad_top, py);
          const int taps_w = meeting_taps(l.kernel_w, l.stride_w, l.pad_left, px);
          const int rows = (l.in.h - py + l.stride_h - 1) / l.stride_h;
          const int columns = (l.in.w - px + l.stride_w - 1) / l.stride_w;
          if (taps_h == 0 || taps_w == 0 || rows <= 0 || columns <= 0) continue;
          const bool depthwise = l.op == Op::depthwise_conv2d && l.multiplier == 1;
          d.opcode = u32(static_cast<int>(depthwise ? Opcode::depthwise_ : Opcode::conv2d_));
          d.in_h = u32(l.out.h), d.in_w = u32(l.out.w), d.in_c = u32(l.out.c);
          d.out_h = u32(rows), d.out_w = u32(columns), d.out_c = u32(l.in.c);
          d.kernel_h = u32(taps_h), d.kernel_w = u32(taps_w);
          if (l.stride_h == 1) d.dilation_h = u32(l.dilation_h);
          if (l.stride_w == 1) d.dilation_w = u32(l.dilation_w);
          d.pad_top = u32(taps_h / 2), d.pad_left = u32(taps_w / 2);
          const int groups = depthwise ? 1 : l.op == Op::depthwise_conv2d ? l.in.c : l.groups;
          d.groups = u32(groups);
          d.cin_group = d.in_c / d.groups;
          d.cout_group = depthwise ? 1 : d.out_c / d.groups;
        }
        if (weight_bytes(i) == 1) d.flags |= spec::kFlagW8;
        if (shape_.masked(l.inputs[0])) d.flags |= spec::kFlagResAdd;
        finish_descriptor(d, hw_);
        put("input error of", i, d);
      }
    }
  }
  static int meeting_taps(int kernel, int stride, int pad, int residue) {
    int n = 0;
    for (int k = 0; k < kernel; ++k) n += (residue + pad - k % stride + stride) % stride == 0;
    return n;
  }

  // A convolution's gradient is one matrix product: rows (ky, kx, c) of input patches, columns of
  // errors, summed over images and positions. The patches are made on chip: what is read of the
  // input is read without repetition. Depthwise: image by image, the error as the kernel.
  void weight_gradient(int i) {
    const Layer& l = shape_.layer(i);
    if (l.op == Op::depthwise_conv2d && l.multiplier == 1) return depthwise_gradient(i);
    const bool fc = l.op == Op::fully_connected;
    const int groups = l.op == Op::depthwise_conv2d ? l.in.c : fc ? 1 : l.groups;
    const std::int64_t taps = fc ? 1 : std::int64_t{l.kernel_h} * l.kernel_w;
    const std::int64_t rows = taps * (fc ? l.in.elements() : l.in.c / groups);
    const std::int64_t sum = fc ? batch_ : std::int64_t{batch_} * l.out.h * l.out.w;
    for (int g = 0; g < groups; ++g) {
      for (std::int64_t k = 0; k < sum; k += kMaxReduction) {
        Descriptor d;
        d.opcode = u32(static_cast<int>(Opcode::conv2d_));
        d.flags = spec::kFlagW8 | spec::kFlagOut16;
        d.n = u32(rows);
        d.in_h = d.in_w = d.out_h = d.out_w = 1;
        d.kernel_h = d.kernel_w = d.stride_h = d.stride_w = 1;
        d.in_c = d.cin_group = u32(std::min(kMaxReduction, sum - k));
        d.out_c = d.cout_group = u32(l.out.c / groups);
        d.groups = 1;
        finish_descriptor(d, hw_);
        deep_tiles(d);
        put("gradient of", i, d, k + kMaxReduction < sum);
        out_.back().repeated_input = static_cast<int>(taps);
      }
    }
  }

  // As many rows as the accumulators hold, the sum in chunks: every error fetched serves all rows.
  void deep_tiles(Descriptor& d) const {
    const auto rows = std::min(d.n, u32(hw_.acc_depth));
    const auto lanes = u32(hw_.rows);
    const auto chunk = std::max(u32(hw_.act_bytes) / rows / lanes, std::uint32_t{1}) * lanes;
    d.tile_n = rows;
    d.tile_c = std::min(chunk, d.in_c);
    d.row_pitch = d.tile_c;
    d.flags &= ~std::uint32_t{spec::kFlagPacked};
  }

  // Cut into rows of the error (and columns, if one row is too much) until a tile fits.
  void depthwise_gradient(int i) {
    const Layer& l = shape_.layer(i);
    for (int rows = l.out.h, columns = l.out.w;;) {
      std::vector<Descriptor> parts;
      if (cut(l, rows, columns, parts)) {
        for (std::uint32_t image = 0; image < batch_; ++image)
          for (std::size_t k = 0; k < parts.size(); ++k)
            put("gradient of", i, parts[k], k + 1 < parts.size() || image + 1 < batch_);
        return;
      }
      if (rows > 1) {
        rows = (rows + 1) / 2;
      } else if (columns > 1) {
        columns = (columns + 1) / 2;
      } else {
        throw Error(
            ErrorKind::input,
            fmt::format("layer {}: its weight gradient does not fit the scratchpad", l.name));
      }
    }
  }
  bool cut(const Layer& l, int rows, int columns, std::vector<Descriptor>& parts) {
    for (int y = 0; y < l.out.h; y += rows) {
      for (int x = 0; x < l.out.w; x += columns) {
        const int kh = std::min(rows, l.out.h - y), kw = std::min(columns, l.out.w - x);
        Descriptor d;
        d.opcode = u32(static_cast<int>(Opcode::depthwise_));
        d.flags = spec::kFlagW8 | spec::kFlagOut16;
        d.n = d.groups = d.cin_group = d.cout_group = 1;
        // The part of the input that these rows and columns of the error meet.
        d.in_h = u32((kh - 1) * l.stride_h + (l.kernel_h - 1) * l.dilation_h + 1);
        d.in_w = u32((kw - 1) * l.stride_w + (l.kernel_w - 1) * l.dilation_w + 1);
        d.in_c = d.out_c = u32(l.in.c);
        d.out_h = u32(l.kernel_h), d.out_w = u32(l.kernel_w);
        d.kernel_h = u32(kh), d.kernel_w = u32(kw);
        d.dilation_h = u32(kh == 1 ? 1 : l.stride_h);
        d.dilation_w = u32(kw == 1 ? 1 : l.stride_w);
        d.stride_h = u32(l.kernel_h == 1 ? 1 : l.dilation_h);
        d.stride_w = u32(l.kernel_w == 1 ? 1 : l.dilation_w);
        try {
          finish_descriptor(d, hw_);
        } catch (const Error&) {
          return false;
        }
        parts.push_back(d);
      }
    }
    return true;
  }

  void optimize(int i) {
    const Layer& l = shape_.layer(i);
    const auto weights = static_cast<double>(weight_count(l)) * keep_;
    const auto bytes = static_cast<std::uint64_t>(std::llround(weights)) * weight_bytes(i) +
                       (l.bias ? 4 * static_cast<std::uint64_t>(l.filters) : 0);
    for (int k = 0; k < (o_.momentum ? 2 : 1); ++k) {
      PlannedCommand c{"optimizer",
                       fmt::format("{} {}", k == 1 ? "velocity of" : "step of", l.name), l.name,
                       bytes_add(bytes), false};
      optimizer_.push_back(c);
    }
  }

 public:
  std::vector<PlannedCommand> optimizer_;

 private:
  Shape shape_;
  const spec::HardwareParams& hw_;
  const BackpropOptions& o_;
  std::uint32_t batch_;
  const QuantizedNetwork& q_;
  double keep_;
  std::vector<PlannedCommand> out_;
};

// Lifetimes of a step: forward commands 0 .. F-1, then one time per layer, last first.
class Lifetimes {
 public:
  Lifetimes(const QuantizedNetwork& q, Variant variant, int batch, int input, const Widths& w)
      : shape_(q, variant, input), batch_(static_cast<std::uint64_t>(batch)), w_(w) {}

  // Every activation that the backward pass reads stays until then.
  std::uint64_t stored() { return peak(0); }
  // Only the output of every k-th layer stays; the layers between are computed again before their
  // errors. The best k, or none.
  std::uint64_t recomputed() {
    std::uint64_t best = stored();
    for (int k = 2; k <= shape_.net.logits_layer() - shape_.input; ++k)
      best = std::min(best, peak(k));
    return best;
  }

 private:
  [[nodiscard]] std::uint64_t elements(int i) const {
    return batch_ * static_cast<std::uint64_t>(shape_.layer(i).out.elements());
  }
  [[nodiscard]] bool reads(int r, int i) const {
    if (!shape_.inside[Shape::index(r)]) return false;
    const auto& in = shape_.layer(r).inputs;
    return std::find(in.begin(), in.end(), i) != in.end();
  }
  // Times: even numbers are commands, odd ones lie between.
  [[nodiscard]] int forward(int i) const { return 2 * i; }
  [[nodiscard]] int backward(int i) const { return 2 * (2 * shape_.net.logits_layer() + 1 - i); }

  std::uint64_t peak(int k) const {
    const int last = shape_.net.logits_layer(), first = shape_.input + 1;
    std::vector<BufferLife> b;
    for (int i = first; i <= last; ++i) {
      if (!shape_.inside[Shape::index(i)]) continue;
      const Layer& l = shape_.layer(i);
      const int passed = forward_use(i), use = last_use(i);
      const std::uint64_t bytes = elements(i) * w_.activation;
      if (k == 0 || (i - first + 1) % k == 0 || use <= passed) {
        b.push_back({bytes, forward(i), use});
      } else {
        const int segment_end = std::min(last, first + ((i - first) / k + 1) * k - 1);
        b.push_back({bytes, forward(i), passed});
        b.push_back({bytes, backward(segment_end) - 1, use});
      }
      if (shape_.needs_error(i)) {
        int born = backward(i);  // when its last reader's error goes through
        for (int r = i + 1; r <= last; ++r)
          if (reads(r, i)) born = std::min(born, backward(r));
        b.push_back({elements(i) * w_.error, born, backward(i)});
      }
      if (shape_.trains[Shape::index(i)])
        b.push_back(
            {static_cast<std::uint64_t>(weight_count(l) + (l.bias ? l.filters : 0)) * w_.gradient,
             backward(i), backward(i)});
    }
    return plan_arena(b, 1).live_peak;
  }
  [[nodiscard]] int forward_use(int i) const {
    int use = forward(i);
    for (int r = i + 1; r <= shape_.net.logits_layer(); ++r)
      if (reads(r, i)) use = std::max(use, forward(r));
    return use;
  }
  [[nodiscard]] int last_use(int i) const {
    const int last = shape_.net.logits_layer();
    int use = i == last ? backward(last) : forward_use(i);
    for (int r = i + 1; r <= last; ++r) {
      if (!reads(r, i)) continue;
      const Layer& l = shape_.layer(r);
      const bool product = shape_.trains[Shape::index(r)];
      const bool largest = l.op == Op::max_pool2d && shape_.needs_error(i);
      const bool mask = shape_.masked(i) && shape_.needs_error(i);
      if (product || largest || mask) use = std::max(use, backward(r));
    }
    return use;
  }

  Shape shape_;
  std::uint64_t batch_;
  Widths w_;
};

}  // namespace

std::vector<PlannedCommand> backprop_commands(const QuantizedNetwork& q, Variant variant, int batch,
                                              const spec::HardwareParams& hw,
                                              const BackpropOptions& o, Program& program) {
  CompileOptions options = inference_options(batch);
  options.input_layer = step_options(q, variant, batch, spec::Distribution::sign_).input_layer;
  options.reuse_memory = o.recompute;
  program = compile(q, hw, options);
  std::vector<PlannedCommand> commands;
  append_forward(commands, program, q.network, "forward");
  if (o.recompute) append_forward(commands, program, q.network, "forward again");
  Backward backward(q, variant, batch, hw, o, options.input_layer);
  for (PlannedCommand& c : backward.run()) commands.push_back(std::move(c));
  for (PlannedCommand& c : backward.optimizer_) commands.push_back(std::move(c));
  return commands;
}

Scratch backprop_scratch(const QuantizedNetwork& q, Variant variant, int batch,
                         const BackpropOptions& o, const Widths& w) {
  const CompileOptions options = step_options(q, variant, batch, spec::Distribution::sign_);
  Lifetimes lifetimes(q, variant, batch, options.input_layer, w);
  Scratch s;
  s.activations = o.recompute ? lifetimes.recomputed() : lifetimes.stored();
  if (o.momentum) {
    std::uint64_t trained = 0;
    for (const TensorTraining& t : options.training) {
      const QuantizedLayer& l = q.layers[t.tensor / 2];
      const double share = t.keep / double{spec::kKeepAll};
      trained += static_cast<std::uint64_t>(std::llround(
          static_cast<double>(t.tensor % 2 == 0 ? l.weights.size() : l.bias.size()) * share));
    }
    s.copies = trained * w.gradient;
  }
  return s;
}

Alternative backprop(const QuantizedNetwork& q, Variant variant, const CounterFile& like,
                     const BackpropOptions& o, const DeviceOpener& count_only) {
  Alternative a;
  a.name = fmt::format("backpropagation{}{}", o.momentum ? ", momentum" : "",
                       o.recompute ? ", activations computed again" : "");
  Program program;
  const auto commands = backprop_commands(q, variant, like.batch, like.hardware, o, program);
  CounterFile base = like;
  base.host = base.batch_traffic = {};
  base.steps = 1;
  base.variant = a.name;
  a.file = run_planned(commands, program, base, count_only);
  a.scratch = backprop_scratch(q, variant, like.batch, o, {});
  return a;
}

}  // namespace lastmile::profile
