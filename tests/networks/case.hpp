// SPDX-License-Identifier: Apache-2.0
// One random case: a network with its weights, data, training and hardware, as a struct of small
// integers. The default of every field is the simplest value, a text has only what differs from it,
// and shrinking moves fields towards it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "cmodel/spec/npu_spec.hpp"
#include "sw/graph/network.hpp"

namespace lastmile::networks {

enum Weights {  // kinds of float weights
  kNormal,
  kOneScaled,   // one channel by 1e-3 to 1e4
  kHalfScaled,  // every other channel
  kDead,        // channels that never fire, with large weights
  kOutliers,    // a few weights by 1000
  kZero,
  kConstantBias,
  kTiny,
  kEqual,
  kWeightKinds
};
enum Data { kSigned, kBytes, kSparse, kConstant, kExtremes, kZeros, kFarOff, kDataKinds };

struct LayerCase {
  Op op = Op::conv2d;
  std::vector<int> inputs;
  int filters = 0;  // conv2d, fully_connected
  int kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1;
  int pad_top = 0, pad_bottom = 0, pad_left = 0, pad_right = 0;
  int groups = 1, multiplier = 1, activation = 0, bias = 0, norm = 0, constants = 0;
  int weights = kNormal, seed = 0;
  int other_width = 0;  // weights of the width that the network's are not
  friend bool operator==(const LayerCase&, const LayerCase&) = default;
};

struct Case {
  int input_h = 1, input_w = 1, input_c = 1;
  int batch = 1, missing = 0;  // examples of the batch that are not given
  int ignored = 0;             // every so many-th label
  int w8 = 0, per_tensor = 0, headroom = 0, floor = 0, method = 0, equalize = 0, regroup = 0;
  int data = kSigned, seed = 0;
  // Training: none, head, random half of the tensors, all.
  int train = 0, keep = 256, gaussian = 0, pairs = 1, steps = 1, scaled = 0, weak = 0;
  int readout = 0;  // none, features alone, automatic taps
  int kept = 0, both = 0;
  // Parts of the network: output of layer output - 1; from the output of layer from - 1 on; channel
  // sums of layer moments - 1. 0: no such program.
  int output = 0, from = 0, moments = 0;
  int unfused = 0, reuse = 1, slots = 1, threads = 1;
  int kernels = 0;  // of the model, from the newest instruction set of this CPU down
  spec::HardwareParams hardware[2];
  std::vector<LayerCase> layers;
  friend bool operator==(const Case&, const Case&) = default;
};

// use(name, value, least) of every integer.
template <class L, class Use>
void each_field(L& l, const Use& use) requires requires {
  l.inputs;
}
{
  use("filters", l.filters, 1);
  use("kernel_h", l.kernel_h, 1), use("kernel_w", l.kernel_w, 1);
  use("stride_h", l.stride_h, 1), use("stride_w", l.stride_w, 1);
  use("dilation_h", l.dilation_h, 1), use("dilation_w", l.dilation_w, 1);
  use("pad_top", l.pad_top, 0), use("pad_bottom", l.pad_bottom, 0);
  use("pad_left", l.pad_left, 0), use("pad_right", l.pad_right, 0);
  use("groups", l.groups, 1), use("multiplier", l.multiplier, 1);
  use("activation", l.activation, 0), use("bias", l.bias, 0), use("norm", l.norm, 0);
  use("constants", l.constants, 0), use("weights", l.weights, 0), use("seed", l.seed, 0);
  use("other_width", l.other_width, 0);
}
template <class C, class Use>
void each_field(C& c, const Use& use) requires requires {
  c.layers;
}
{
  use("input_h", c.input_h, 1), use("input_w", c.input_w, 1), use("input_c", c.input_c, 1);
  use("batch", c.batch, 1), use("missing", c.missing, 0), use("ignored", c.ignored, 0);
  use("w8", c.w8, 0), use("per_tensor", c.per_tensor, 0), use("headroom", c.headroom, 0);
  use("floor", c.floor, 0), use("method", c.method, 0), use("equalize", c.equalize, 0);
  use("regroup", c.regroup, 0), use("data", c.data, 0), use("seed", c.seed, 0);
  use("train", c.train, 0), use("keep", c.keep, 256), use("gaussian", c.gaussian, 0);
  use("pairs", c.pairs, 1), use("steps", c.steps, 1), use("scaled", c.scaled, 0);
  use("weak", c.weak, 0), use("readout", c.readout, 0), use("kept", c.kept, 0);
  use("both", c.both, 0), use("output", c.output, 0), use("from", c.from, 0);
  use("moments", c.moments, 0), use("unfused", c.unfused, 0), use("reuse", c.reuse, 1);
  use("slots", c.slots, 1), use("threads", c.threads, 1), use("kernels", c.kernels, 0);
  const spec::HardwareParams plain;
  for (int k = 0; k < 2; ++k) {
    auto& h = c.hardware[k];
    const std::string p = k == 0 ? "a_" : "b_";
    use(p + "rows", h.rows, plain.rows), use(p + "cols", h.cols, plain.cols);
    use(p + "bus_bytes", h.bus_bytes, plain.bus_bytes);
    use(p + "act_bytes", h.act_bytes, plain.act_bytes);
    use(p + "acc_depth", h.acc_depth, plain.acc_depth);
    use(p + "rq_lanes", h.rq_lanes, plain.rq_lanes);
  }
}

[[nodiscard]] Case random_case(std::uint64_t seed);
// One line; the same case comes back. Error(input) saying which word is not understood.
[[nodiscard]] std::string to_text(const Case& c);
[[nodiscard]] Case parse_case(const std::string& text);

// The network, shapes and all. Error(input) where it is none.
[[nodiscard]] Network network_of(const Case& c);

// The smallest case that still fails that a greedy search finds: without layers, with fields at
// their simplest or halfway there. `fails` is asked at most `tries` times.
[[nodiscard]] Case shrink(Case c, const std::function<bool(const Case&)>& fails, int tries);

}  // namespace lastmile::networks
