// SPDX-License-Identifier: Apache-2.0
#include "tests/networks/case.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <sstream>

#include "sw/base/error.hpp"
#include "sw/base/rng.hpp"

namespace lastmile::networks {
namespace {

std::size_t at(int i) { return static_cast<std::size_t>(i); }

// Multiplications of an example that most networks may have, so that plain loops take milliseconds,
// and some.
constexpr std::int64_t kBudget = 80000, kLargeBudget = 1000000;
constexpr std::int64_t kMostNanoseconds = 200000000;  // of the simulation, about

class Generator {
 public:
  explicit Generator(std::uint64_t seed) : rng_(seed) {}

  Case make() {
    c_.seed = number(1, 1 << 30);
    budget_ = one_in(10) ? kLargeBudget : kBudget;
    c_.input_h = side(), c_.input_w = one_in(8) ? 1 : one_in(2) ? c_.input_h : side();
    c_.input_c = one_in(12) ? number(17, 70) : number(1, 6);
    c_.batch = one_in(8) ? number(9, 20) : number(1, 6);
    if (one_in(4)) c_.missing = number(0, c_.batch - 1);
    if (one_in(3)) c_.ignored = number(1, 4);
    c_.data = one_in(3) ? number(0, kDataKinds - 1) : number(0, 1);
    c_.w8 = one_in(2) ? 1 : 0;
    if (one_in(6)) c_.per_tensor = 1;
    if (one_in(4)) c_.headroom = number(1, 2);
    if (one_in(6)) c_.floor = number(1, 2);
    if (one_in(4)) c_.method = number(1, 2);
    if (one_in(4)) c_.equalize = 1;
    c_.regroup = one_in(2) ? 1 : 0;
    body();
    head();
    training();
    programs();
    bound();
    return c_;
  }

 private:
  int number(int low, int high) {
    return low + static_cast<int>(rng_.below(static_cast<std::uint64_t>(high - low + 1)));
  }
  bool one_in(int n) { return rng_.below(static_cast<std::uint64_t>(n)) == 0; }
  int side() { return one_in(20) ? number(17, 40) : one_in(6) ? number(1, 3) : number(4, 12); }
  template <std::size_t N>
  int one_of(const int (&values)[N]) {
    return values[rng_.below(N)];
  }

  Shape shape(int layer) const {
    return layer == kNetworkInput ? Shape{c_.input_h, c_.input_w, c_.input_c} : shapes_[at(layer)];
  }
  int last() const { return static_cast<int>(c_.layers.size()) - 1; }

  // Adds a layer if it is possible and cheap enough.
  bool add(LayerCase l) {
    Case longer = c_;
    longer.layers.push_back(std::move(l));
    Shape out;
    std::int64_t cost = 0;
    try {
      const Network n = network_of(longer);
      out = n.layers.back().out;
      for (const Layer& layer : n.layers) cost += macs(layer) + layer.out.elements();
    } catch (const Error&) {
      return false;
    }
    if (cost > budget_) return false;
    c_ = std::move(longer);
    shapes_.push_back(out);
    return true;
  }

  LayerCase layer(Op op, std::vector<int> inputs) {
    LayerCase l;
    l.op = op;
    l.inputs = std::move(inputs);
    if (traits(op).activation && !one_in(3)) l.activation = number(1, 2);
    if (!traits(op).weights) return l;
    l.seed = number(1, 1 << 20);
    l.bias = one_in(4) ? 0 : 1;
    if (one_in(3)) l.norm = l.bias = 1;
    if (one_in(2)) l.weights = number(0, kWeightKinds - 1);
    if (one_in(5)) l.other_width = 1;
    return l;
  }

  void axis(int in, int& kernel, int& stride, int& dilation, int& before, int& after,
            bool may_dilate) {
    kernel = one_in(10) ? number(1, 7) : one_of({1, 2, 3, 3, 5});
    stride = one_in(3) ? number(1, 4) : 1;
    if (may_dilate && one_in(4)) dilation = number(2, 3);
    const int reach = (kernel - 1) * dilation;
    if (one_in(2)) before = after = reach / 2;
    if (one_in(3)) before = number(0, reach), after = number(0, reach);
    while (in + before + after <= (kernel - 1) * dilation) --kernel;
    before = std::min(before, (kernel - 1) * dilation);
    after = std::min(after, (kernel - 1) * dilation);
  }
  void window(const Shape& in, LayerCase& l, bool may_dilate) {
    axis(in.h, l.kernel_h, l.stride_h, l.dilation_h, l.pad_top, l.pad_bottom, may_dilate);
    if (in.h == in.w && one_in(2)) {
      l.kernel_w = l.kernel_h, l.stride_w = l.stride_h, l.dilation_w = l.dilation_h;
      l.pad_left = l.pad_top, l.pad_right = l.pad_bottom;
      return;
    }
    axis(in.w, l.kernel_w, l.stride_w, l.dilation_w, l.pad_left, l.pad_right, may_dilate);
  }

  // A convolution of `in` whose output has that shape again, by its padding.
  LayerCase same_shape(int in, const Shape& like) {
    LayerCase l = layer(Op::conv2d, {in});
    l.filters = like.c;
    l.kernel_h = std::min(like.h, one_of({1, 3, 3})), l.kernel_w = std::min(like.w, 3);
    if (l.kernel_h == 2) l.kernel_h = 1;
    if (l.kernel_w == 2) l.kernel_w = 1;
    l.pad_top = l.pad_bottom = l.kernel_h / 2;
    l.pad_left = l.pad_right = l.kernel_w / 2;
    return l;
  }

  void body() {
    const int wanted = one_in(3) ? number(3, 8) : number(0, 4);
    for (int i = 0; i < wanted; ++i) one_more();
  }

  void one_more() {
    const int in = last();
    const Shape s = shape(in);
    const bool image = s.h * s.w > 1;
    switch (number(0, image ? 13 : 16)) {
      case 0:
      case 1:
      case 2:
      case 3: {
        LayerCase l = layer(Op::conv2d, {in});
        window(s, l, true);
        l.filters = one_in(8) ? number(17, 40) : number(1, 9);
        if (one_in(3)) {
          l.groups = std::gcd(s.c, number(1, 12));
          l.filters = l.groups * number(1, 3);
        }
        add(std::move(l));
        return;
      }
      case 4:
      case 5: {
        LayerCase l = layer(Op::depthwise_conv2d, {in});
        window(s, l, true);
        if (one_in(3)) l.multiplier = number(2, 3);
        add(std::move(l));
        return;
      }
      case 6:
      case 7: {
        LayerCase l = layer(one_in(2) ? Op::max_pool2d : Op::average_pool2d, {in});
        window(s, l, one_in(4));
        if (one_in(2)) l.stride_h = l.kernel_h, l.stride_w = l.kernel_w;
        add(std::move(l));
        return;
      }
      case 8:
      case 9:
        residual(in, s);
        return;
      case 10: {  // behind another layer of the same shape, whatever it is
        std::vector<int> like;
        for (int i = kNetworkInput; i < in; ++i)
          if (shape(i) == s) like.push_back(i);
        if (like.empty()) return;
        const int other = like[rng_.below(like.size())];
        add(layer(Op::add, one_in(2) ? std::vector<int>{in, other} : std::vector<int>{other, in}));
        return;
      }
      case 11:
        concat(in, s);
        return;
      case 12:
        if (one_in(4)) add(layer(Op::global_average_pool, {in}));
        return;
      case 13:
        if (one_in(3)) add(layer(Op::add, {in, in}));
        return;
      default: {
        LayerCase l = layer(Op::fully_connected, {in});
        l.filters = one_in(8) ? number(65, 200) : number(1, 20);
        add(std::move(l));
        return;
      }
    }
  }

  void residual(int in, const Shape& s) {
    const Case before = c_;
    const std::vector<Shape> shapes = shapes_;
    bool fits = add(same_shape(in, s));
    int side_branch = in;
    if (fits && one_in(2)) fits = add(same_shape(last(), s));
    const int main_branch = last();
    if (fits && one_in(3)) {  // a projection
      fits = add(same_shape(in, s));
      side_branch = last();
    }
    if (fits)
      fits = add(layer(Op::add, one_in(2) ? std::vector<int>{main_branch, side_branch}
                                          : std::vector<int>{side_branch, main_branch}));
    if (!fits) c_ = before, shapes_ = shapes;
  }

  // Inputs of a concat must share a scale: a layer, and pools of it.
  void concat(int in, const Shape& s) {
    const Case before = c_;
    const std::vector<Shape> shapes = shapes_;
    LayerCase l = layer(Op::concat, {});
    const int parts = number(1, 3);
    for (int k = 0; k < parts; ++k) {
      if (one_in(3) && std::find(l.inputs.begin(), l.inputs.end(), in) == l.inputs.end()) {
        l.inputs.push_back(in);
        continue;
      }
      LayerCase pool = layer(one_in(2) ? Op::max_pool2d : Op::average_pool2d, {in});
      window(s, pool, false);
      if (add(std::move(pool))) l.inputs.push_back(last());
    }
    if (one_in(2)) std::reverse(l.inputs.begin(), l.inputs.end());
    if (one_in(2)) l.constants = number(1, 40);
    if (l.inputs.empty() || !add(std::move(l))) c_ = before, shapes_ = shapes;
  }

  void head() {
    const int classes = one_in(25) ? number(256, 300) : number(2, 12);
    const int in = last();
    const Shape s = shape(in);
    bool done = false;
    const int kind = number(0, 9);
    if (kind == 0) {  // the whole plane
      LayerCase l = layer(Op::conv2d, {in});
      l.kernel_h = s.h, l.kernel_w = s.w, l.filters = classes;
      done = add(std::move(l));
    } else if (kind == 1 && s.c > 1 && s.c <= 300) {
      done = add(layer(Op::global_average_pool, {in}));
    } else if (kind == 2 && s.c * 2 < 300) {
      LayerCase l = layer(Op::depthwise_conv2d, {in});
      l.kernel_h = s.h, l.kernel_w = s.w, l.multiplier = 2;
      done = add(std::move(l));
    } else if (kind == 3 && add(layer(Op::global_average_pool, {in}))) {
      LayerCase l = layer(Op::conv2d, {last()});
      l.filters = classes;
      done = add(std::move(l));
    }
    if (!done) {
      LayerCase l = layer(Op::fully_connected, {last()});
      const std::int64_t most = kBudget / shape(last()).elements();
      l.filters = static_cast<int>(std::clamp<std::int64_t>(most, 2, classes));
      if (!one_in(5)) l.activation = 0;
      budget_ = INT64_MAX;  // a network needs its end
      if (!add(l)) {        // too long a sum
        add(layer(Op::global_average_pool, {last()}));
        l.inputs = {last()};
        add(std::move(l));
      }
    }
    if (one_in(3)) add(layer(Op::softmax, {last()}));
  }

  void training() {
    c_.train = one_in(4) ? 0 : number(1, 3);
    if (one_in(3)) c_.keep = one_in(4) ? number(0, 2) : number(1, 255);
    c_.gaussian = one_in(2) ? 1 : 0;
    c_.pairs = one_in(2) ? number(1, 8) : 1;
    c_.steps = number(1, 3);
    c_.scaled = one_in(2) ? 1 : 0;
    c_.weak = one_in(4) ? 1 : 0;
    if (one_in(2)) c_.readout = number(1, 2);
    if (one_in(2)) c_.kept = number(1, 10);
    if (one_in(3)) c_.both = 1;
  }

  spec::HardwareParams hardware() {
    spec::HardwareParams h;
    h.rows = one_of({4, 8, 16, 32}), h.cols = one_of({4, 8, 16, 32});
    h.bus_bytes = one_of({8, 16, 32, 64});
    h.act_bytes = one_of({4096, 4096, 8192, 16384, 65536, 262144});
    h.acc_depth = one_of({64, 64, 128, 256, 512, 2048});
    h.rq_lanes = one_of({1, 2, 4, 8, 16, 32});
    return h;
  }

  void programs() {
    const int layers = static_cast<int>(c_.layers.size());
    if (one_in(2)) c_.output = number(1, layers);
    if (one_in(2)) c_.from = number(1, layers);
    if (one_in(2)) c_.moments = number(1, layers);
    c_.unfused = one_in(3) ? 1 : 0;
    c_.reuse = one_in(2) ? 1 : 0;
    c_.slots = one_in(4) ? 2 : 1;
    c_.threads = number(1, 3);
    if (one_in(2)) c_.kernels = number(1, 4);
    if (!one_in(4)) c_.hardware[0] = hardware();
    c_.hardware[1] = hardware();
  }

  // No case may take longer than hundreds of others: fewer passes, fewer examples.
  void bound() {
    const Network n = network_of(c_);
    const auto nanoseconds = [&] {
      return (2 + 2 * c_.pairs * c_.steps) * (2 * c_.batch * macs(n) + 60 * weight_count(n));
    };
    while (nanoseconds() > kMostNanoseconds && c_.pairs * c_.steps * c_.batch > 1) {
      int& less = c_.pairs > 1 ? c_.pairs : c_.steps > 1 ? c_.steps : c_.batch;
      less /= 2;
    }
    c_.missing = std::min(c_.missing, c_.batch - 1);
    // Equalization reads all weights for each channel, in each sweep.
    for (const Layer& l : n.layers)
      if (std::int64_t{l.in.c} * weight_count(l) > kMostNanoseconds / 40) c_.equalize = 0;
  }

  Rng rng_;
  std::int64_t budget_ = 0;
  Case c_;
  std::vector<Shape> shapes_;
};

// Removes layer i: its readers read its first input.
Case without(const Case& c, int i) {
  Case out = c;
  const int instead = c.layers[at(i)].inputs[0];
  out.layers.erase(out.layers.begin() + i);
  for (LayerCase& l : out.layers)
    for (int& in : l.inputs) in = in == i ? instead : in > i ? in - 1 : in;
  for (int* part : {&out.output, &out.from, &out.moments})
    if (*part - 1 >= i) --*part;
  return out;
}

// Removes layers that nobody reads.
Case pruned(Case c) {
  for (int i = static_cast<int>(c.layers.size()) - 2; i >= 0; --i) {
    bool read = false;
    for (const LayerCase& l : c.layers)
      read = read || std::find(l.inputs.begin(), l.inputs.end(), i) != l.inputs.end();
    if (!read) c = without(c, i);
  }
  return c;
}

// Simpler cases, the simplest of a kind first.
std::vector<Case> simpler(const Case& c) {
  std::vector<Case> out;
  const int layers = static_cast<int>(c.layers.size());
  for (int i = layers - 1; i >= 0 && layers > 1; --i) out.push_back(pruned(without(c, i)));
  const auto fields = [&](auto&& pick, const auto& plain) {
    std::vector<int> simplest;
    each_field(plain,
               [&](const std::string&, const int& value, int) { simplest.push_back(value); });
    for (std::size_t k = 0; k < simplest.size(); ++k) {
      for (const int way : {0, 1, 2}) {  // all the way, half of it, one
        Case next = c;
        std::size_t index = 0;
        each_field(pick(next), [&](const std::string& name, int& value, int least) {
          if (index++ != k) return;
          const int goal = name == "filters" ? least : simplest[k];
          const bool hardware = name.size() > 2 && name[1] == '_';
          if (way == 0) value = goal;
          if (hardware || name == "seed") return;
          if (way == 1) value = goal + (value - goal) / 2;
          if (way == 2 && value != goal) value += value > goal ? -1 : 1;
        });
        if (!(next == c) && (out.empty() || !(next == out.back()))) out.push_back(std::move(next));
      }
    }
  };
  fields([](Case& k) -> Case& { return k; }, Case{});
  for (int i = 0; i < layers; ++i) {
    fields([i](Case& k) -> LayerCase& { return k.layers[at(i)]; }, LayerCase{});
    Case next = c;
    LayerCase& l = next.layers[at(i)];
    if (l.inputs.size() > 1 && l.op == Op::concat) {
      l.inputs.pop_back();
      out.push_back(pruned(next));
    }
  }
  return out;
}

}  // namespace

Case random_case(std::uint64_t seed) { return Generator(seed).make(); }

std::string to_text(const Case& c) {
  std::string text;
  const auto fields = [&](const auto& from, const auto& plain) {
    std::vector<int> simplest;
    each_field(plain,
               [&](const std::string&, const int& value, int) { simplest.push_back(value); });
    std::size_t k = 0;
    each_field(from, [&](const std::string& name, const int& value, int) {
      if (value != simplest[k++]) text += fmt::format(" {}={}", name, value);
    });
  };
  fields(c, Case{});
  for (const LayerCase& l : c.layers) {
    text += fmt::format(" / {} in=", name_of(l.op));
    for (std::size_t k = 0; k < l.inputs.size(); ++k)
      text += fmt::format("{}{}", k == 0 ? "" : ",", l.inputs[k]);
    fields(l, LayerCase{});
  }
  return text.substr(text.starts_with(' ') ? 1 : 0);
}

Case parse_case(const std::string& text) {
  Case c;
  std::istringstream words(text);
  const auto fail = [](const std::string& word) {
    throw Error(ErrorKind::input, fmt::format("case: '{}' is not understood, expected what a "
                                              "failure printed",
                                              word));
  };
  bool op_next = false;
  for (std::string word; words >> word;) {
    if (word == "/") {
      c.layers.emplace_back();
      op_next = true;
      continue;
    }
    if (op_next) {
      op_next = false;
      bool found = false;
      each_op([&](Op op) {
        if (word == name_of(op)) c.layers.back().op = op, found = true;
      });
      if (!found) fail(word);
      continue;
    }
    const std::size_t equal = word.find('=');
    if (equal == std::string::npos) fail(word);
    const std::string name = word.substr(0, equal), value = word.substr(equal + 1);
    std::vector<int> numbers;
    std::istringstream list(value);
    for (std::string one; std::getline(list, one, ',');) {
      char* end = nullptr;
      const long v = std::strtol(one.c_str(), &end, 10);
      if (one.empty() || *end != 0 || v < -1 || v > INT32_MAX) fail(word);
      numbers.push_back(static_cast<int>(v));
    }
    if (numbers.empty()) fail(word);
    bool found = name == "in" && !c.layers.empty();
    if (found) c.layers.back().inputs = numbers;
    const auto take = [&](const std::string& field, int& to, int) {
      if (field == name) to = numbers[0], found = true;
    };
    if (c.layers.empty())
      each_field(c, take);
    else
      each_field(c.layers.back(), take);
    if (!found) fail(word);
  }
  for (const LayerCase& l : c.layers)
    if (l.inputs.empty()) fail(name_of(l.op));
  if (c.layers.empty()) fail(text);
  return c;
}

Network network_of(const Case& c) {
  Network n;
  n.name = "case";
  n.input = {c.input_h, c.input_w, c.input_c};
  for (std::size_t i = 0; i < c.layers.size(); ++i) {
    const LayerCase& from = c.layers[i];
    for (const int in : from.inputs)
      if (in >= static_cast<int>(i))
        throw Error(ErrorKind::input, fmt::format("case: layer {} reads {}, expected an earlier "
                                                  "layer",
                                                  i, in));
    Layer l;
    l.name = fmt::format("l{}", i);
    l.op = from.op;
    l.inputs = from.inputs;
    l.in = n.shape_of(l.inputs[0]);
    const OpTraits is = traits(l.op);
    l.kernel_h = is.whole ? l.in.h : from.kernel_h, l.kernel_w = is.whole ? l.in.w : from.kernel_w;
    l.stride_h = from.stride_h, l.stride_w = from.stride_w;
    l.dilation_h = from.dilation_h, l.dilation_w = from.dilation_w;
    l.pad_top = from.pad_top, l.pad_bottom = from.pad_bottom;
    l.pad_left = from.pad_left, l.pad_right = from.pad_right;
    l.groups = from.groups, l.multiplier = from.multiplier;
    l.activation = static_cast<Activation>(from.activation);
    l.bias = from.bias != 0 || from.norm != 0;
    l.batch_norm = from.norm != 0;
    l.filters = l.op == Op::depthwise_conv2d ? l.in.c * from.multiplier : from.filters;
    if (l.op == Op::concat) {
      std::int64_t sum = 0;
      for (const int in : l.inputs) {
        l.parts.push_back({n.shape_of(in).elements(), 1});
        sum += l.parts.back().elements;
      }
      l.in = {1, 1, static_cast<int>(sum)};
      Rng rng(static_cast<std::uint64_t>(from.seed), 7);
      for (int k = 0; k < from.constants; ++k) l.constants.push_back(rng.uniform(-1, 1));
    }
    l.out = output_shape(l, "case");
    n.layers.push_back(std::move(l));
  }
  n.classes = n.layers.back().out.c;
  return n;
}

Case shrink(Case c, const std::function<bool(const Case&)>& fails, int tries) {
  for (bool smaller = true; smaller && tries > 0;) {
    smaller = false;
    std::vector<Case> all = simpler(c);
    // After a success on from the same place: what did not help before rarely does now.
    for (std::size_t next = 0; next < all.size() && tries > 0; --tries) {
      if (!fails(all[next])) {
        ++next;
        continue;
      }
      c = all[next];
      all = simpler(c);
      smaller = true;
    }
  }
  return c;
}

}  // namespace lastmile::networks
