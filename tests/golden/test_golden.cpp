// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "sw/base/error.hpp"
#include "sw/base/rng.hpp"
#include "sw/golden/golden.hpp"
#include "sw/graph/reader.hpp"
#include "tests/golden/cases.hpp"

using namespace lastmile;

namespace {

// The plainest possible statement of every operator, one output element at a time.
double element(const Layer& l, const LayerParams<double>& p, const std::vector<const double*>& in,
               int y, int x, int o) {
  const auto at = [&](const double* t, int iy, int ix, int c) {
    return t[(iy * l.in.w + ix) * l.in.c + c];
  };
  if (l.op == Op::add) return at(in[0], y, x, o) + at(in[1], y, x, o);
  if (l.op == Op::concat) {
    std::int64_t from = o;
    for (std::size_t k = 0; k < in.size(); ++k) {
      if (from < l.parts[k].elements) return l.parts[k].gain * in[k][from];
      from -= l.parts[k].elements;
    }
    return l.constants[static_cast<std::size_t>(from)];
  }
  if (l.op == Op::softmax) {
    double sum = 0;
    for (int c = 0; c < l.in.c; ++c) sum += std::exp(at(in[0], y, x, c) - at(in[0], y, x, o));
    return 1 / sum;
  }
  const auto bias = [&] { return p.bias.empty() ? 0.0 : p.bias[static_cast<std::size_t>(o)]; };
  if (l.op == Op::fully_connected) {
    double sum = bias();
    for (std::int64_t i = 0; i < l.in.elements(); ++i) {
      sum += in[0][i] * p.weights[static_cast<std::size_t>(o * l.in.elements() + i)];
    }
    return sum;
  }
  double sum = has_weights(l) ? bias() : 0, best = -1e300;
  int count = 0;
  const int cg = l.in.c / l.groups;
  for (int ky = 0; ky < l.kernel_h; ++ky) {
    for (int kx = 0; kx < l.kernel_w; ++kx) {
      const int iy = y * l.stride_h - l.pad_top + ky * l.dilation_h;
      const int ix = x * l.stride_w - l.pad_left + kx * l.dilation_w;
      if (iy < 0 || iy >= l.in.h || ix < 0 || ix >= l.in.w) continue;
      ++count;
      if (l.op == Op::conv2d) {
        const int g = o / (l.filters / l.groups);
        for (int c = 0; c < cg; ++c) {
          sum += at(in[0], iy, ix, g * cg + c) *
                 p.weights[static_cast<std::size_t>(((o * l.kernel_h + ky) * l.kernel_w + kx) * cg +
                                                    c)];
        }
      } else if (l.op == Op::depthwise_conv2d) {
        sum += at(in[0], iy, ix, o / l.multiplier) *
               p.weights[static_cast<std::size_t>((ky * l.kernel_w + kx) * l.filters + o)];
      } else {
        best = std::max(best, at(in[0], iy, ix, o));
        sum += at(in[0], iy, ix, o);
      }
    }
  }
  if (l.op == Op::max_pool2d) return best;
  return has_weights(l) ? sum : sum / count;
}

double activated(Activation a, double v) {
  if (a == Activation::none) return v;
  return std::min(std::max(v, 0.0), a == Activation::relu6 ? 6.0 : 1e300);
}

}  // namespace

TEST_CASE("golden: every operator equals its definition, in float64") {
  const std::uint64_t seed = test_seed();
  for (const Network& net : operator_cases()) {
    CAPTURE(net.name);
    const auto params = random_params<double>(net, seed);
    const Golden<double> golden(net, 2);
    const auto x = random_values<double>(net, 11, seed);
    const auto traces = golden.trace(params, x);
    const auto folded = fold_params(net, params);
    for (std::size_t i = 0; i < net.layers.size(); ++i) {
      const Layer& l = net.layers[i];
      CAPTURE(l.name);
      double worst = 0;
      for (std::int64_t n = 0; n < 11; ++n) {
        std::vector<const double*> in;
        for (const int from : l.inputs) {
          in.push_back((from == kNetworkInput
                            ? x.data()
                            : traces[static_cast<std::size_t>(from)].post.data()) +
                       n * input_elements(l, in.size()));
        }
        std::size_t at = static_cast<std::size_t>(n * l.out.elements());
        for (int y = 0; y < l.out.h; ++y) {
          for (int xx = 0; xx < l.out.w; ++xx) {
            for (int o = 0; o < l.out.c; ++o, ++at) {
              const double expected = element(l, folded.layers[i], in, y, xx, o);
              if (l.op != Op::softmax)
                worst = std::max(worst, std::abs(traces[i].pre[at] - expected));
              worst =
                  std::max(worst, std::abs(traces[i].post[at] - activated(l.activation, expected)));
            }
          }
        }
      }
      CHECK(worst < 1e-12);
    }
  }
}

TEST_CASE("golden: forward equals the trace's logits, and one thread equals several, to the bit") {
  for (const Network& net : operator_cases()) {
    CAPTURE(net.name);
    const auto params = random_params<float>(net, 5);
    const auto x = random_values<float>(net, 37, 6);
    const Golden<float> one(net, 1), three(net, 3);
    std::vector<float> a(37 * static_cast<std::size_t>(net.classes)), b(a.size());
    one.forward(params, x, a);
    three.forward(params, x, b);
    CHECK(a == b);
    const auto traces = three.trace(params, x);
    CHECK(traces[static_cast<std::size_t>(net.logits_layer())].post == a);
  }
}

TEST_CASE("golden: float32 follows float64") {
  for (const Network& net : operator_cases()) {
    CAPTURE(net.name);
    const auto params = random_params<float>(net, 7);
    const auto x = random_values<float>(net, 9, 8);
    const std::vector<double> xd(x.begin(), x.end());
    std::vector<float> f(9 * static_cast<std::size_t>(net.classes));
    std::vector<double> d(f.size());
    Golden<float>(net).forward(params, x, f);
    Golden<double>(net).forward(convert_params<double>(params), xd, d);
    double worst = 0, size = 0;
    for (std::size_t i = 0; i < f.size(); ++i) {
      worst = std::max(worst, std::abs(static_cast<double>(f[i]) - d[i]));
      size = std::max(size, std::abs(d[i]));
    }
    CHECK(worst <= 1e-5 * size);
  }
}

TEST_CASE("golden: folding batch norm leaves the function unchanged") {
  const Network net = norm_case();
  const auto params = random_params<double>(net, 3);
  const Network plain = fold_network(net);
  for (const Layer& layer : plain.layers) CHECK_FALSE(layer.batch_norm);
  const auto folded = fold_params(net, params);
  check_params(plain, folded, "folded");
  // Batch norm by its definition, on the sums of a convolution (OHWI) and of a depthwise one (HWO).
  const auto x = random_values<double>(net, 4, 9);
  const auto traces = Golden<double>(net).trace(params, x);
  for (std::size_t layer = 0; layer < 2; ++layer) {
    const LayerParams<double>& p = params.layers[layer];
    Network bare = plain;
    bare.layers[layer].bias = false;
    auto bare_params = folded;
    bare_params.layers[layer].weights = p.weights;
    bare_params.layers[layer].bias.clear();
    const std::span<const double> input = layer == 0 ? std::span<const double>(x) : traces[0].post;
    const auto sums =
        Golden<double>(bare).run_layer(static_cast<int>(layer), bare_params, {input}).pre;
    for (std::size_t i = 0; i < sums.size(); ++i) {
      const std::size_t c = i % p.gamma.size();
      const double expected =
          p.gamma[c] * (sums[i] - p.mean[c]) / std::sqrt(p.variance[c] + kBatchNormEpsilon) +
          p.beta[c];
      CHECK(traces[layer].pre[i] == doctest::Approx(expected).epsilon(1e-12));
    }
  }
}

TEST_CASE("golden: loss is the cross-entropy, also where exp alone would overflow") {
  const std::vector<double> logits = {0, 0, 0, 1000, 0, -1000};
  const std::vector<Label> labels = {1, 2};
  std::vector<double> each(2), gradient(6);
  const BatchLoss loss = cross_entropy<double>(logits, labels, each, gradient);
  CHECK(each[0] == doctest::Approx(std::log(3.0)).epsilon(1e-14));
  CHECK(each[1] == doctest::Approx(2000.0).epsilon(1e-14));
  CHECK(loss.mean == doctest::Approx((std::log(3.0) + 2000) / 2).epsilon(1e-14));
  CHECK(loss.correct == 0);
  CHECK(gradient[0] == doctest::Approx(1.0 / 6));
  CHECK(gradient[1] == doctest::Approx(-1.0 / 3));
  CHECK(gradient[3] == doctest::Approx(0.5));
  const std::vector<Label> outside = {1, 3};
  CHECK_THROWS_WITH_AS(cross_entropy<double>(logits, outside),
                       doctest::Contains("example 1 is 3, expected 0 to 2"), Error);
}

TEST_CASE("golden: perturbing a tensor view changes the loss, and restoring it restores the bits") {
  const Network net = fold_network(norm_case());
  auto params = fold_params(norm_case(), random_params<float>(norm_case(), 3));
  const Golden<float> golden(net);
  const auto x = random_values<float>(net, 16, 4);
  const std::vector<Label> labels(16, 1);
  const double before = golden.loss(params, x, labels).mean;
  const auto refs = tensor_refs(params, trainable_layers(net, {"head"}));
  REQUIRE(refs.size() == 2);
  CHECK(net.layers[static_cast<std::size_t>(refs[0].layer)].op == Op::fully_connected);
  CHECK(refs[0].kind == TensorKind::weights);
  CHECK(refs[1].kind == TensorKind::bias);
  const auto saved = params;
  for (float& w : refs[0].values) w += 0.01F;
  for (float& w : refs[1].values) w -= 0.01F;
  CHECK(golden.loss(params, x, labels).mean != before);
  std::copy(saved.layers[static_cast<std::size_t>(refs[0].layer)].weights.begin(),
            saved.layers[static_cast<std::size_t>(refs[0].layer)].weights.end(),
            refs[0].values.begin());
  for (std::size_t i = 0; i < refs[1].values.size(); ++i) {
    refs[1].values[i] = saved.layers[static_cast<std::size_t>(refs[1].layer)].bias[i];
  }
  CHECK(golden.loss(params, x, labels).mean == before);
  CHECK_THROWS_WITH_AS((void)trainable_layers(net, {"pool"}),
                       doctest::Contains("expected one of: all, head, conv"), Error);
}

TEST_CASE("golden: wrong sizes and values that are not finite are refused by name") {
  const Network net = norm_case();
  auto params = random_params<float>(net, 3);
  check_params(net, params, "p");
  params.layers[0].weights[7] = std::nanf("");
  CHECK_THROWS_WITH_AS(check_params(net, params, "p"),
                       doctest::Contains("p: layer 'conv': weights[7] is nan"), Error);
  params.layers[0].weights[7] = 0;
  params.layers[0].variance[1] = -1;
  CHECK_THROWS_WITH_AS(check_params(net, params, "p"), doctest::Contains("variance[1] is -1"),
                       Error);
  const Golden<float> golden(net);
  std::vector<float> x(static_cast<std::size_t>(net.input.elements()) + 1), y(3);
  CHECK_THROWS_WITH_AS(golden.forward(params, x, y), doctest::Contains("input batch has"), Error);
}
