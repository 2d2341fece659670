// SPDX-License-Identifier: Apache-2.0
#include "sw/graph/network.hpp"

#include <fmt/format.h>

#include <cmath>
#include <set>

#include "sw/base/error.hpp"

namespace lastmile {
namespace {

[[noreturn]] void fail(const std::string& origin, const Layer& layer, const std::string& text) {
  throw Error(ErrorKind::input,
              fmt::format("{}: layer '{}' ({}): {}", origin, layer.name, name_of(layer.op), text));
}

void check_range(const std::string& origin, const Layer& layer, const char* field,
                 std::int64_t value, std::int64_t low, std::int64_t high) {
  if (value < low || value > high) {
    fail(origin, layer, fmt::format("{} is {}, expected {} to {}", field, value, low, high));
  }
}

int window_output(const std::string& origin, const Layer& layer, const char* axis, int in,
                  int kernel, int stride, int dilation, int before, int after) {
  const std::int64_t reach = std::int64_t{kernel - 1} * dilation + 1;
  const std::int64_t padded = std::int64_t{in} + before + after;
  if (reach > padded) {
    fail(origin, layer,
         fmt::format(
             "kernel {} of {} with dilation {} spans {}, expected at most the padded input, {}",
             axis, kernel, dilation, reach, padded));
  }
  return static_cast<int>((padded - reach) / stride + 1);
}

// A window that lies wholly in padding would have no element to pool: with each pad smaller than
// the reach of the kernel none can, because the first window ends and the last one starts inside
// the input.
void check_pad(const std::string& origin, const Layer& layer, const char* field, int pad,
               int kernel, int dilation) {
  check_range(origin, layer, field, pad, 0,
              std::min<std::int64_t>(std::int64_t{kernel - 1} * dilation, kMaxDimension));
}

// Taps that are apart may all fall into padding although the window does not: such a pool would
// have nothing to pool.
void check_taps(const std::string& origin, const Layer& layer, const char* axis, int in, int out,
                int kernel, int stride, int dilation, int before) {
  if (dilation == 1) return;
  for (int o = 0; o < out; ++o) {
    const std::int64_t first = std::int64_t{o} * stride - before;
    // The first tap inside, if one is: taps are at first, first + dilation, ...
    const std::int64_t skip = first >= 0 ? 0 : (-first + dilation - 1) / dilation;
    if (skip >= kernel || first + skip * dilation >= in)
      fail(origin, layer,
           fmt::format("{} {} of the output has no element inside the input: kernel {}, dilation "
                       "{}, padding {}, expected less padding or dilation",
                       axis, o, kernel, dilation, before));
  }
}

void check_name(const std::string& origin, const Layer& layer, std::size_t index,
                std::set<std::string>& names) {
  const auto fail_name = [&](const std::string& text) {
    throw Error(ErrorKind::input, fmt::format("{}: layer {}: {}", origin, index, text));
  };
  if (layer.name.empty() || layer.name.size() > 64 ||
      layer.name.find_first_not_of(
          "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") !=
          std::string::npos) {
    fail_name(
        fmt::format("name is '{}', expected 1 to 64 letters, digits, '_', '-' or '.'", layer.name));
  }
  if (layer.name == "input")
    fail_name("name is 'input', which is reserved for the network's input");
  if (!names.insert(layer.name).second) {
    fail_name(fmt::format("name '{}' is already taken, expected a name of its own", layer.name));
  }
}

void check_input(const std::string& origin, const Network& network, std::size_t index,
                 std::size_t k, std::vector<bool>& used) {
  const Layer& l = network.layers[index];
  const int input = l.inputs[k];
  if (input < kNetworkInput || input >= static_cast<int>(index))
    fail(origin, l, fmt::format("input {} is not an earlier layer", input));
  if (input >= 0) used[static_cast<std::size_t>(input)] = true;
  const Shape& s = network.shape_of(input);
  if (l.op == Op::concat) {
    if (s.elements() != l.parts[k].elements)
      fail(origin, l,
           fmt::format("input {} has {} elements, expected {}", k, s.elements(),
                       l.parts[k].elements));
  } else if (s != l.in) {
    fail(origin, l,
         fmt::format("an input has shape {}x{}x{}, expected {}x{}x{}", s.h, s.w, s.c, l.in.h,
                     l.in.w, l.in.c));
  }
}

// What only a concat has, and its sum of parts in the dimensions of its input.
void check_concat(const std::string& origin, const Layer& l) {
  if (l.op != Op::concat) {
    if (!l.parts.empty() || !l.constants.empty())
      fail(origin, l, "it has gains or constants, expected none for this op");
    return;
  }
  check_range(origin, l, "number of inputs", static_cast<std::int64_t>(l.parts.size()), 1,
              kMaxLayers);
  std::int64_t sum = 0;
  for (const ConcatPart& p : l.parts) {
    if (!(std::isfinite(p.gain) && p.gain > 0))
      fail(origin, l, fmt::format("gain is {}, expected a number above 0", p.gain));
    check_range(origin, l, "elements of an input", p.elements, 1, kMaxDimension);
    sum += p.elements;
  }
  for (const double c : l.constants)
    if (!std::isfinite(c)) fail(origin, l, fmt::format("constant is {}, expected a number", c));
  if (l.in.h != 1 || l.in.w != 1 || l.in.c != sum)
    fail(origin, l,
         fmt::format("input shape is {}x{}x{}, expected 1x1x{}, the sum of the inputs", l.in.h,
                     l.in.w, l.in.c, sum));
}

void check_layer(const std::string& origin, const Network& network, std::size_t index,
                 std::vector<bool>& used) {
  const Layer& l = network.layers[index];
  const std::size_t arity = traits(l.op).inputs == 0 ? l.parts.size() : traits(l.op).inputs;
  if (l.inputs.size() != arity) {
    fail(origin, l, fmt::format("{} inputs, expected {}", l.inputs.size(), arity));
  }
  for (std::size_t k = 0; k < l.inputs.size(); ++k) check_input(origin, network, index, k, used);

  const Shape out = output_shape(l, origin);
  if (l.out != out) {
    fail(origin, l,
         fmt::format("output shape is {}x{}x{}, expected {}x{}x{}", l.out.h, l.out.w, l.out.c,
                     out.h, out.w, out.c));
  }
  if (traits(l.op).closing && index + 1 != network.layers.size()) {
    fail(origin, l,
         fmt::format("it is layer {} of {}, expected the last one", index + 1,
                     network.layers.size()));
  }
  if (traits(l.op).closing && l.inputs[0] == kNetworkInput) {
    fail(origin, l, "its input is the network's input, expected a layer");
  }
}

}  // namespace

Shape output_shape(const Layer& l, const std::string& origin) {
  const bool conv = l.op == Op::conv2d || l.op == Op::depthwise_conv2d;
  if (l.batch_norm && !has_weights(l))
    fail(origin, l, "batch_norm is true, expected false for this op");
  if (l.bias && !has_weights(l)) fail(origin, l, "bias is true, expected false for this op");
  if (l.batch_norm && !l.bias) fail(origin, l, "bias is false, expected true with batch_norm");
  if (l.activation != Activation::none && !traits(l.op).activation) {
    fail(origin, l,
         fmt::format("activation is {}, expected none for this op", name_of(l.activation)));
  }
  check_concat(origin, l);
  if (l.op != Op::conv2d && l.groups != 1)
    fail(origin, l, fmt::format("groups is {}, expected 1", l.groups));
  if (l.op != Op::depthwise_conv2d && l.multiplier != 1) {
    fail(origin, l, fmt::format("multiplier is {}, expected 1", l.multiplier));
  }

  for (const auto& [field, value] : {std::pair{"kernel height", l.kernel_h},
                                     {"kernel width", l.kernel_w},
                                     {"stride height", l.stride_h},
                                     {"stride width", l.stride_w},
                                     {"dilation height", l.dilation_h},
                                     {"dilation width", l.dilation_w}}) {
    check_range(origin, l, field, value, 1, traits(l.op).window ? kMaxDimension : 1);
  }
  if ((!traits(l.op).window || traits(l.op).whole) && (l.dilation_h != 1 || l.dilation_w != 1)) {
    fail(origin, l,
         fmt::format("dilation is [{}, {}], expected [1, 1]", l.dilation_h, l.dilation_w));
  }
  check_pad(origin, l, "padding top", l.pad_top, l.kernel_h, l.dilation_h);
  check_pad(origin, l, "padding bottom", l.pad_bottom, l.kernel_h, l.dilation_h);
  check_pad(origin, l, "padding left", l.pad_left, l.kernel_w, l.dilation_w);
  check_pad(origin, l, "padding right", l.pad_right, l.kernel_w, l.dilation_w);
  if (traits(l.op).whole && (l.kernel_h != l.in.h || l.kernel_w != l.in.w ||
                             l.pad_top + l.pad_bottom + l.pad_left + l.pad_right != 0)) {
    fail(origin, l, "kernel and padding do not cover exactly the input plane");
  }
  if (has_weights(l)) {
    check_range(origin, l, l.op == Op::fully_connected ? "units" : "filters", l.filters, 1,
                kMaxDimension);
  } else if (l.filters != 0) {
    fail(origin, l, fmt::format("filters is {}, expected 0 for this op", l.filters));
  }

  Shape out = l.in;
  if (traits(l.op).window) {
    out.h = window_output(origin, l, "height", l.in.h, l.kernel_h, l.stride_h, l.dilation_h,
                          l.pad_top, l.pad_bottom);
    out.w = window_output(origin, l, "width", l.in.w, l.kernel_w, l.stride_w, l.dilation_w,
                          l.pad_left, l.pad_right);
    if (!conv) {
      check_taps(origin, l, "row", l.in.h, out.h, l.kernel_h, l.stride_h, l.dilation_h, l.pad_top);
      check_taps(origin, l, "column", l.in.w, out.w, l.kernel_w, l.stride_w, l.dilation_w,
                 l.pad_left);
    }
  }
  if (l.op == Op::conv2d) {
    check_range(origin, l, "groups", l.groups, 1, kMaxDimension);
    if (l.in.c % l.groups != 0) {
      fail(origin, l,
           fmt::format("groups is {}, expected a divisor of the {} input channels", l.groups,
                       l.in.c));
    }
    if (l.filters % l.groups != 0) {
      fail(origin, l,
           fmt::format("filters is {}, expected a multiple of the {} groups", l.filters, l.groups));
    }
    out.c = l.filters;
  } else if (l.op == Op::depthwise_conv2d) {
    check_range(origin, l, "multiplier", l.multiplier, 1, kMaxDimension);
    const std::int64_t channels = std::int64_t{l.in.c} * l.multiplier;
    check_range(origin, l, "input channels * multiplier", channels, 1, kMaxDimension);
    if (l.filters != channels) {
      fail(origin, l,
           fmt::format("filters is {}, expected input channels * multiplier, {}", l.filters,
                       channels));
    }
    out.c = l.filters;
  } else if (l.op == Op::fully_connected) {
    out = {1, 1, l.filters};
  } else if (l.op == Op::concat) {
    check_range(origin, l, "elements of the output",
                l.in.c + static_cast<std::int64_t>(l.constants.size()), 1, kMaxDimension);
    out.c = l.in.c + static_cast<int>(l.constants.size());
  }
  check_range(origin, l, "K, the number of products summed per output,", reduction(l), 0,
              kMaxReduction);
  check_range(origin, l, "output height", out.h, 1, kMaxDimension);
  check_range(origin, l, "output width", out.w, 1, kMaxDimension);
  check_range(origin, l, "elements of the output", out.elements(), 1, kMaxElements);
  check_range(origin, l, "number of weights", weight_count(l), 0, kMaxElements);
  return out;
}

std::int64_t reduction(const Layer& layer) {
  const OpTraits is = traits(layer.op);
  if (is.window)
    return std::int64_t{layer.kernel_h} * layer.kernel_w *
           (layer.op == Op::conv2d ? layer.in.c / layer.groups : 1);
  return is.weights ? layer.in.elements() : 0;
}

std::int64_t weight_count(const Layer& layer) {
  return has_weights(layer) ? layer.filters * reduction(layer) : 0;
}

std::int64_t macs(const Layer& layer) {
  return has_weights(layer) ? layer.out.elements() * reduction(layer) : 0;
}

std::int64_t weight_count(const Network& network) {
  std::int64_t sum = 0;
  for (const Layer& layer : network.layers) sum += weight_count(layer);
  return sum;
}

std::int64_t macs(const Network& network) {
  std::int64_t sum = 0;
  for (const Layer& layer : network.layers) sum += macs(layer);
  return sum;
}

const char* name_of(Loss loss) {
  return loss == Loss::reconstruction ? "reconstruction" : "cross-entropy";
}

const char* name_of(Activation activation) {
  switch (activation) {
    case Activation::none:
      return "none";
    case Activation::relu:
      return "relu";
    case Activation::relu6:
      return "relu6";
  }
  return "?";
}

int find_layer(const Network& network, const std::string& name) {
  if (name == "input") return kNetworkInput;
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    if (network.layers[i].name == name) return static_cast<int>(i);
  }
  return -2;
}

void check_network(const Network& network, const std::string& origin) {
  const auto fail_net = [&](const std::string& text) {
    throw Error(ErrorKind::input, fmt::format("{}: {}", origin, text));
  };
  const Shape& in = network.input;
  for (const int d : {in.h, in.w, in.c}) {
    if (d < 1 || d > kMaxDimension || in.elements() > kMaxElements) {
      fail_net(
          fmt::format("input is {}x{}x{}, expected dimensions of 1 to {} and at most {} elements",
                      in.h, in.w, in.c, kMaxDimension, kMaxElements));
    }
  }
  if (network.classes < 2 || network.classes > kMaxDimension) {
    fail_net(fmt::format("classes is {}, expected 2 to {}", network.classes, kMaxDimension));
  }
  if (network.layers.empty() || network.layers.size() > static_cast<std::size_t>(kMaxLayers)) {
    fail_net(fmt::format("{} layers, expected 1 to {}", network.layers.size(), kMaxLayers));
  }
  std::set<std::string> names;
  std::vector<bool> used(network.layers.size(), false);
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    check_name(origin, network.layers[i], i, names);
    check_layer(origin, network, i, used);
  }
  for (std::size_t i = 0; i + 1 < network.layers.size(); ++i) {
    if (!used[i])
      fail(origin, network.layers[i], "no layer reads its output, and it is not the last one");
  }
  const Layer& last = network.layers.back();
  if (network.reconstructs()) {
    if (!has_weights(last))
      fail(origin, last,
           "it is the last layer of a network whose loss is reconstruction, expected conv2d, "
           "depthwise_conv2d or fully_connected");
    if (last.out.elements() != in.elements())
      fail(origin, last,
           fmt::format("the last layer's output is {}x{}x{}, expected the {} elements of the "
                       "input, which the loss \"reconstruction\" compares it with",
                       last.out.h, last.out.w, last.out.c, in.elements()));
    if (network.classes != in.elements())
      fail_net(
          fmt::format("classes is {}, expected {}, the elements of the input, with the loss "
                      "\"reconstruction\"",
                      network.classes, in.elements()));
    return;
  }
  if (last.out != Shape{1, 1, network.classes}) {
    fail(origin, last,
         fmt::format("the last layer's output is {}x{}x{}, expected 1x1x{}, the number of classes",
                     last.out.h, last.out.w, last.out.c, network.classes));
  }
}

}  // namespace lastmile
