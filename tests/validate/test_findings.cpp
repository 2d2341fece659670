// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "tests/validate/cases.hpp"

namespace lastmile {
namespace {

const Finding* find(const std::vector<Finding>& all, const std::string& layer,
                    const std::string& check) {
  for (const Finding& f : all)
    if (f.layer == layer && f.check == check) return &f;
  return nullptr;
}

std::string listing(const std::vector<Finding>& all) {
  std::string out;
  for (const Finding& f : all)
    out += std::string(name_of(f.level)) + " " + f.layer + ": " + f.check + ": " + f.text + "\n";
  return out;
}

// The finding is a failure, is the first of all, and its text has the parts.
void check_first(const std::vector<Finding>& all, const std::string& layer,
                 const std::string& check, std::initializer_list<std::string> parts) {
  INFO(listing(all));
  REQUIRE(!all.empty());
  const Finding* f = find(all, layer, check);
  REQUIRE(f != nullptr);
  CHECK(f->level == Level::failure);
  CHECK(all.front().check == check);
  CHECK(mentions(f->text, parts));
}

// Tables made anew from the scales, as a quantizer with a wrong scale would make them.
void rebuild_tables(ValidateCase& test) {
  QuantizedNetwork& q = test.quantized;
  for (std::size_t i = 0; i < q.layers.size(); ++i) {
    const Layer& l = q.network.layers[i];
    if (!has_weights(l)) {
      q.layers[i].out = q.quant_of(l.inputs[0]);
      continue;
    }
    const double in = q.quant_of(l.inputs[0]).scale;
    QuantizedLayer& layer = q.layers[i];
    for (std::size_t o = 0; o < layer.bias.size(); ++o)
      layer.bias[o] = static_cast<std::int32_t>(std::lround(
          test.params.layers[i].bias[o] / (in * static_cast<double>(layer.weight_scale[o]))));
    for (std::size_t o = 0; o < layer.requant.size(); ++o)
      layer.requant[o] = encode_requant(in * layer.weight_scale[o] / layer.out.scale, "test");
    if (static_cast<int>(i) == q.network.logits_layer())
      for (std::size_t o = 0; o < q.logits.requant.size(); ++o)
        q.logits.requant[o] = encode_requant(in * layer.weight_scale[o] / q.logits.scale, "test");
  }
}

}  // namespace

TEST_CASE("validate: a correct network has no failures, on every operator") {
  const std::uint64_t seed = test_seed();
  std::vector<Network> networks = operator_cases();
  networks.push_back(two_convolutions());
  for (const Network& network : networks) {
    if (network.layers.back().op == Op::softmax) continue;
    CAPTURE(network.name);
    const ValidateCase c = validate_case(network, seed);
    const LayerAnalysis a = analyse(c, c.quantized, true);
    for (const LayerReport& r : a.layers) {
      CAPTURE(r.name);
      CHECK(r.contract_differences == 0);
      CHECK(r.simulation_lsb <= 1);
      CHECK(r.float32_error < 1e-5);
      if (r.reduction != 0) {
        CHECK(r.accumulator_bits > 8);
        CHECK(r.accumulator_bits <= r.accumulator_worst_bits);
        CHECK(r.weight_gain == doctest::Approx(1).epsilon(1e-3));
      }
      // Errors add up: what a layer injects and what it inherits. A maximum injects nothing.
      CHECK(r.total.mean_error() ==
            doctest::Approx(r.injected.mean_error() + r.inherited.mean_error()).epsilon(1e-6));
      if (r.op == "max_pool2d") CHECK(r.injected.sqnr_db() == kPerfectSqnr);
      // int8 outputs, 16-bit weights: hardly more than 1 / sqrt 12.
      if (&r != &a.layers.back()) CHECK(r.injected.rmse_over_scale() < 0.32);
      CHECK(std::abs(r.only_loss - a.float_loss) < 0.05);
      CHECK(std::abs(r.without_loss - a.float_loss) < 0.2);
    }
    CHECK(a.device_sat_low == a.counted_sat_low);
    CHECK(a.device_sat_high == a.counted_sat_high);
    CHECK(a.simulated_loss == doctest::Approx(a.fixed_loss).epsilon(0.01));
    const auto all = judge(c.network, c.params, c.quantized, a, {});
    INFO(listing(all));
    CHECK(std::none_of(all.begin(), all.end(),
                       [](const Finding& f) { return f.level == Level::failure; }));
  }
}

TEST_CASE("validate: an autoencoder's layers are int8 to the last, its loss the squared error") {
  const Network network =
      parse_network("name = \"auto\"\ninput = [1, 1, 16]\nloss = \"reconstruction\"\n" +
                        layer_text("a", "fully_connected", "units = 8\nactivation = \"relu\"") +
                        layer_text("b", "fully_connected", "units = 16"),
                    "auto");
  const ValidateCase c = validate_case(network, test_seed());
  LayerAnalysis a = analyse(c, c.quantized, true);
  REQUIRE(a.layers.size() == 2);
  const Accuracy exact = evaluate_float(Golden<float>(c.network), c.params, c.data);
  CHECK(a.float_loss == doctest::Approx(exact.loss).epsilon(1e-5));
  CHECK(a.fixed_loss == doctest::Approx(exact.loss).epsilon(0.05));
  CHECK(a.simulated_loss == doctest::Approx(a.fixed_loss).epsilon(0.01));
  CHECK(a.device_sat_low == a.counted_sat_low);
  CHECK(a.device_sat_high == a.counted_sat_high);
  for (const LayerReport& r : a.layers) {
    CAPTURE(r.name);
    CHECK(r.contract_differences == 0);
    CHECK(r.simulation_lsb <= 1);
    CHECK(r.total.lsb() == c.quantized.layers[static_cast<std::size_t>(r.layer)].out.scale);
    CHECK(r.injected.rmse_over_scale() < 0.32);
  }
  const auto judged = [&] { return judge(c.network, c.params, c.quantized, a, {}); };
  INFO(listing(judged()));
  CHECK(std::ranges::none_of(judged(), [](const Finding& f) { return f.level == Level::failure; }));
  a.fixed_loss = 1.3 * a.float_loss;
  check_first(judged(), "", "squared error", {"expected at most"});
  // What rounding adds to a small error is no fault.
  const double step = c.quantized.layers.back().out.scale;
  a.float_loss = 0, a.fixed_loss = 0.9 * step * step / 3;
  CHECK(find(judged(), "", "squared error") == nullptr);
}

TEST_CASE("validate: a layer injects its own error and inherits that of those before it") {
  ValidateCase c = validate_case(two_convolutions(), test_seed());
  const LayerAnalysis clean = analyse(c, c.quantized);
  // Coarser weights in conv2 alone.
  for (auto& w : c.quantized.layers[2].weights) w = static_cast<std::int16_t>(w / 4096 * 4096);
  const LayerAnalysis coarse = analyse(c, c.quantized);
  CHECK(coarse.layers[0].injected.sqnr_db() == clean.layers[0].injected.sqnr_db());
  CHECK(coarse.layers[2].injected.sqnr_db() < clean.layers[2].injected.sqnr_db() - 10);
  CHECK(coarse.layers[3].injected.sqnr_db() == clean.layers[3].injected.sqnr_db());
  CHECK(coarse.layers[3].inherited.sqnr_db() < clean.layers[3].inherited.sqnr_db() - 10);
  CHECK(coarse.layers[2].weight_sqnr_db < clean.layers[2].weight_sqnr_db - 20);
}

TEST_CASE("validate: finds a weight scale that is off by 2") {
  ValidateCase c = validate_case(two_convolutions(), test_seed());
  for (float& s : c.quantized.layers[2].weight_scale) s *= 2;
  rebuild_tables(c);
  check_first(findings_of(c, c.quantized), "conv2", "weight scale", {"off by a factor of 2.0"});
}

TEST_CASE("validate: finds an output scale that is off by 2, either way") {
  ValidateCase c = validate_case(two_convolutions(), test_seed());
  c.quantized.layers[2].out.scale /= 2;
  rebuild_tables(c);
  check_first(findings_of(c, c.quantized), "conv2", "output scale", {"0.5", "cut off"});
  c.quantized.layers[2].out.scale *= 4;
  rebuild_tables(c);
  const auto all = findings_of(c, c.quantized);
  const Finding* f = find(all, "conv2", "output scale");
  REQUIRE(f != nullptr);
  CHECK(f->level == Level::warning);  // costs a bit, breaks nothing
  CHECK(mentions(f->text, {"2.0", "unused"}));
}

TEST_CASE("validate: finds multipliers that are off by 2") {
  ValidateCase c = validate_case(two_convolutions(), test_seed());
  for (Requant& r : c.quantized.layers[2].requant) ++r.exponent;
  check_first(findings_of(c, c.quantized), "conv2", "requantization scale",
              {"8 of 8 channels", "factor of 2.000"});
}

TEST_CASE(
    "validate: finds a zero point that is off by one, where it is written and where it is read") {
  const ValidateCase c = validate_case(two_convolutions(), test_seed());
  QuantizedNetwork executed = c.quantized;
  // The device adds 1 more in conv3 and takes 1 more off in the layer after it.
  ++executed.layers[3].out.zero_point;
  const auto all = findings_of(c, executed);
  check_first(all, "conv3", "output zero point", {"off by +1"});
  const Finding* reader = find(all, "fc", "input zero point");
  REQUIRE(reader != nullptr);
  CHECK(mentions(reader->text, {"off by +1"}));
  CHECK(find(all, "conv2", "output zero point") == nullptr);
  CHECK(find(all, "conv2", "input zero point") == nullptr);
}

TEST_CASE(
    "validate: finds a zero point that is off by one against the clamp of a ReLU and in an "
    "addition") {
  ValidateCase c = validate_case(two_convolutions(), test_seed());
  ++c.quantized.layers[2].out.zero_point;
  check_first(findings_of(c, c.quantized), "conv2", "clamp", {"clamped at code"});
  for (const Network& network : operator_cases()) {
    if (network.name != "residual") continue;
    ValidateCase r = validate_case(network, test_seed());
    --r.quantized.layers[1].add.zp1;
    check_first(findings_of(r, r.quantized), "s", "zero point", {"subtracts zero points"});
  }
}

TEST_CASE("validate: finds weights clipped at half range, by their codes and by their scale") {
  const ValidateCase clean = validate_case(two_convolutions(), test_seed());
  ValidateCase c = clean;
  auto& weights = c.quantized.layers[2].weights;
  std::int16_t largest = 0;
  for (const auto w : weights) largest = std::max<std::int16_t>(largest, w);
  const auto half = static_cast<std::int16_t>(largest / 2);
  for (auto& w : weights) w = std::clamp(w, static_cast<std::int16_t>(-half), half);
  check_first(findings_of(c, c.quantized), "conv2", "weights clipped", {"0.5", "of the weights"});

  c = clean;
  for (float& s : c.quantized.layers[2].weight_scale) s /= 2.5F;
  for (auto& w : c.quantized.layers[2].weights)
    w = static_cast<std::int16_t>(std::clamp<double>(2.5 * w, -32767, 32767));
  rebuild_tables(c);
  check_first(findings_of(c, c.quantized), "conv2", "weights clipped", {"of the weights"});
}

TEST_CASE("validate: finds logits of 8 bits") {
  ValidateCase c = validate_case(two_convolutions(), test_seed(), {}, 4, 0.02);  // small logits
  LogitQuant& l = c.quantized.logits;
  l.scale *= 256;
  l.act_min = -128;
  l.act_max = 127;
  l.loss_shift -= 8;
  rebuild_tables(c);
  check_first(findings_of(c, c.quantized), "fc", "logit width", {"effective bits", "loss"});
}

TEST_CASE("validate: finds a bias that was left in float") {
  ValidateCase c = validate_case(two_convolutions(), test_seed());
  for (std::size_t o = 0; o < 8; ++o)
    c.quantized.layers[2].bias[o] =
        static_cast<std::int32_t>(std::lround(c.params.layers[2].bias[o]));
  check_first(findings_of(c, c.quantized), "conv2", "bias not quantized", {"float values"});
  // Any other wrong bias is named too.
  c = validate_case(two_convolutions(), test_seed());
  for (auto& b : c.quantized.layers[2].bias) b *= 2;
  check_first(findings_of(c, c.quantized), "conv2", "bias", {"2.000 times"});
}

TEST_CASE("validate: finds the scales of two layers swapped") {
  ValidateCase c = validate_case(two_convolutions(), test_seed());
  std::swap(c.quantized.layers[0].weight_scale, c.quantized.layers[2].weight_scale);
  rebuild_tables(c);
  check_first(findings_of(c, c.quantized), "conv1", "scales swapped",
              {"weight scales of layers 'conv1' and 'conv2'"});
  c = validate_case(two_convolutions(), test_seed(), {}, 0, 0.02);
  TensorQuant &a = c.quantized.layers[0].out, &b = c.quantized.layers[2].out;
  INFO("output scales " << a.scale << " and " << b.scale);
  REQUIRE(a.scale / b.scale < 0.6F);
  std::swap(a.scale, b.scale);
  rebuild_tables(c);
  const auto all = findings_of(c, c.quantized);
  INFO(listing(all));
  const Finding* f = find(all, "conv1", "scales swapped");
  REQUIRE(f != nullptr);
  CHECK(mentions(f->text, {"output scales of layers 'conv1' and 'conv2'"}));
}

TEST_CASE("validate: the exit status says what failed, warnings count only if asked") {
  const auto of = [](Level level, const char* check) { return Finding{level, "l", check, ""}; };
  CHECK(failure_status({}, true) == 0);
  CHECK(failure_status({of(Level::warning, "cosine")}, false) == 0);
  CHECK(failure_status({of(Level::warning, "cosine")}, true) == 32 + 2);
  CHECK(failure_status({of(Level::failure, "weight scale")}, false) == 32 + 1);
  CHECK(failure_status({of(Level::failure, "saturation"), of(Level::failure, "sqnr")}, false) ==
        32 + 2 + 4);
  CHECK(failure_status({of(Level::failure, "contract"), of(Level::warning, "sqnr"),
                        of(Level::failure, "logit width")},
                       false) == 32 + 8 + 16);
}

TEST_CASE("validate: thresholds decide between silence, warning and failure") {
  const ValidateCase c = validate_case(two_convolutions(), test_seed());
  Thresholds strict;
  strict.sqnr_fail_db = 90;
  auto all = findings_of(c, c.quantized, strict);
  const Finding* f = find(all, "conv1", "sqnr");
  REQUIRE(f != nullptr);
  CHECK(f->level == Level::failure);
  strict.sqnr_fail_db = 10;
  strict.sqnr_warn_db = 90;
  strict.rmse_over_scale_warn = 0.01;
  strict.cosine_warn = 0.9999999;
  strict.headroom_warn_bits = 40;
  all = findings_of(c, c.quantized, strict);
  for (const char* check : {"sqnr", "rmse over scale", "cosine", "headroom"}) {
    CAPTURE(check);
    f = find(all, "conv1", check);
    REQUIRE(f != nullptr);
    CHECK(f->level == Level::warning);
  }
  CHECK(std::is_sorted(all.begin(), all.end(),
                       [](const Finding& a, const Finding& b) { return a.level > b.level; }));
}

TEST_CASE("validate: values outside of the input's range are a finding, by how many they are") {
  TensorFit fit{.name = "input", .low = 0, .high = 1, .seen_high = 3};
  const Thresholds t;
  CHECK(judge_input(fit, t).empty());
  fit.above = 0.005;
  CHECK(judge_input(fit, t).at(0).level == Level::warning);
  fit.below = 0.01;
  CHECK(judge_input(fit, t).at(0).level == Level::failure);
  CHECK(failure_status(judge_input(fit, t), false) == 36);
}

TEST_CASE("validate: a part that cannot be judged leaves the other verdicts as they are") {
  const std::vector<Finding> all = {{Level::failure, "", "accuracy", ""},
                                    {Level::failure, "", "not judged", "signal: why"}};
  CHECK(failure_status(all, false) == 32 + 2 + 64);
}

}  // namespace lastmile
