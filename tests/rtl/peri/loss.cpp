// SPDX-License-Identifier: Apache-2.0
// npu_loss against loss.hpp: unaligned labels, extreme logits, labels of no class, examples' losses
// and errors, random stalls; memory contents, sums, events, and the rate without stalls.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "cmodel/numeric/loss.hpp"
#include "cmodel/numeric/random.hpp"
#include "tests/rtl/peri/elementwise.hpp"

namespace num = lastmile::numeric;
namespace spec = lastmile::spec;
using bench::Memory;
using bench::Random;

namespace {

// The errors of an example's outputs: softmax less one at the label, 7 fraction bits, rounded with
// the row's random bits.
std::vector<int> errors_of(const std::vector<std::int16_t>& logits, std::uint32_t label,
                           const spec::Descriptor& d, std::uint64_t seed, std::uint32_t row) {
  const std::int32_t top = *std::max_element(logits.begin(), logits.end());
  const auto distance = [&](std::int16_t l) {
    return num::logit_distance(static_cast<std::uint32_t>(top - l), d.m1, -d.e1);
  };
  std::uint64_t sum = 0;
  for (const std::int16_t l : logits) sum += num::exp2_neg(distance(l));
  std::vector<int> errors;
  for (std::uint32_t c = 0; c < logits.size(); ++c) {
    const std::uint64_t past = std::uint64_t{distance(logits[c])} + num::log2_sum(sum);
    const std::int64_t error =
        std::int64_t{
            num::exp2_neg(static_cast<std::uint32_t>(std::min<std::uint64_t>(past, 0x7fffffff)))} -
        (c == label ? 1 << 24 : 0);
    const std::int64_t r =
        2 * std::int64_t{num::hash_element(seed, num::Domain::round_, d.w_tensor, row, c)} + 1;
    const auto q = static_cast<int>(std::min<std::int64_t>((std::abs(error) + r) >> 17, 127));
    errors.push_back(error < 0 ? -q : q);
  }
  return errors;
}

std::uint32_t label_bytes(const spec::Descriptor& d) { return d.in_c > 255 ? 2 : 1; }
std::uint64_t label_at(const spec::Descriptor& d, std::uint32_t row) {
  return d.in2_addr + row * label_bytes(d);
}
std::uint64_t logit_at(const spec::Descriptor& d, std::uint32_t row, std::uint32_t c) {
  return d.in_addr + 2 * (row * d.in_c + c);
}

// Alignment, scale of the logits, and what the command writes: nothing, losses or errors.
void set_random_loss(spec::Descriptor& d, Random& rnd) {
  d.in_addr &= ~1u, d.out_addr &= ~3u, d.in2_addr &= label_bytes(d) == 2 ? ~1u : ~0u;
  d.m1 = bench::draw(rnd, 0, 65535);
  d.e1 = -static_cast<std::int32_t>(rnd.chance(70) ? rnd.below(10) : rnd.below(32));
  if (rnd.chance(60)) d.flags |= rnd.chance(50) ? spec::kFlagLosses : spec::kFlagErrors;
  if (d.has(spec::kFlagErrors)) d.out_addr += bench::draw(rnd, 0, 63);
  d.w_tensor = bench::draw(rnd, 0, 65535);
}

// Mostly a class; else "no label" or any number.
void put_random_label(const spec::Descriptor& d, std::uint32_t row, Memory& memory, Random& rnd) {
  const std::uint32_t label = rnd.chance(80)   ? bench::draw(rnd, 0, d.in_c - 1)
                              : rnd.chance(50) ? 0xffff
                                               : bench::draw(rnd, 0, 400);
  memory.put(label_at(d, row), static_cast<int>(label_bytes(d)), label);
}

// Any (what memory holds already), nearly equal, of a usual size, or at the limits.
void put_random_logits(const spec::Descriptor& d, std::uint32_t row, Memory& memory, Random& rnd) {
  const int kind = static_cast<int>(rnd.below(4));
  for (std::uint32_t c = 0; kind != 0 && c < d.in_c; ++c) {
    const auto v = static_cast<std::uint32_t>(kind == 1        ? rnd.between(-3, 3)
                                              : kind == 2      ? rnd.between(-2000, 2000)
                                              : rnd.chance(50) ? -32768
                                                               : 32767);
    memory.put(logit_at(d, row, c), 2, v);
  }
}

struct ExpectedLoss : bench::Expected {
  std::int64_t sum = 0, correct = 0, examples = 0, random_words = 0;
};

void add_example(ExpectedLoss& e, const spec::Descriptor& d, std::uint32_t row, std::uint64_t seed,
                 Memory& memory) {
  const auto label =
      static_cast<std::uint32_t>(memory.get(label_at(d, row), static_cast<int>(label_bytes(d))));
  std::vector<std::int16_t> logits(d.in_c);
  for (std::uint32_t c = 0; c < d.in_c; ++c)
    logits[c] = static_cast<std::int16_t>(memory.get(logit_at(d, row, c), 2));
  const bool counts = label < d.in_c && label != (label_bytes(d) == 1 ? 0xffu : 0xffffu);
  num::ExampleLoss loss;
  if (counts) {
    loss = num::cross_entropy(logits, label, d.m1, -d.e1);
    e.sum += loss.loss, e.correct += loss.correct, ++e.examples;
  }
  const int passes = d.has(spec::kFlagErrors) ? 3 : 2;
  e.events.words_read += passes * bench::words_of(logit_at(d, row, 0), 2 * d.in_c) + 1;
  if (d.has(spec::kFlagErrors)) {
    const std::uint64_t out = d.out_addr + row * d.in_c;
    const std::vector<int> errors = errors_of(logits, label, d, seed, row);
    for (std::uint32_t c = 0; c < d.in_c; ++c)
      e.output[out + c] = static_cast<std::uint8_t>(counts ? errors[c] : 0);
    e.events.words_written += bench::words_of(out, d.in_c);
    e.random_words += (d.in_c + 3) / 4;
  }
  if (d.has(spec::kFlagLosses)) {
    ++e.events.words_written;
    e.output.put(d.out_addr + 4 * row, 4, loss.loss);
  }
}

void one_command(bench::Bench& b, Random& rnd, int round) {
  Vtop& t = *b.top;
  Memory memory, written;
  spec::Descriptor d = bench::random_tensors(rnd, memory);
  set_random_loss(d, rnd);
  const std::uint64_t seed = rnd.bits();
  for (std::uint32_t row = 0; row < d.n; ++row) {
    put_random_label(d, row, memory, rnd);
    put_random_logits(d, row, memory, rnd);
  }
  ExpectedLoss expected;
  expected.events.elements = static_cast<std::int64_t>(std::uint64_t{d.n} * d.in_c);
  for (std::uint32_t row = 0; row < d.n; ++row) add_example(expected, d, row, seed, memory);

  t.seed_i = seed;
  bench::start_command(b, d);
  const bench::Stalls stalls = bench::random_stalls(rnd);
  auto port = bench::read_port(t);
  bench::Events rtl;
  std::int64_t random_words = 0;
  const auto count = [&] {
    rtl.elements += t.cnt_elements_o;
    random_words += t.cnt_random_o;
  };
  const bench::Finished f =
      bench::serve(b, rnd, stalls, memory, written, bench::kMostCycles, count, port);
  rtl.words_read = port.words;
  rtl.words_written = f.words_written;

  bench::check_output(round, d.out_addr, written, expected.output, b.cycle);
  bench::check_events(rtl, expected.events, b.cycle);
  bench::equal("loss", static_cast<std::int64_t>(t.loss_sum_o), expected.sum, b.cycle);
  bench::equal("correct", t.loss_correct_o, expected.correct, b.cycle);
  bench::equal("examples", t.loss_examples_o, expected.examples, b.cycle);
  bench::equal("random words", random_words, expected.random_words, b.cycle);
  if (d.has(spec::kFlagErrors) && stalls.none())
    bench::equal("one per cycle and pass",
                 f.cycles < static_cast<std::uint64_t>(3 * rtl.elements + 24 * d.n + 20), 1,
                 b.cycle);
}

}  // namespace

int main() {
  bench::Bench b;
  Random rnd;
  bench::reset_engine(b);
  for (int round = 0; round < bench::kRounds; ++round) one_command(b, rnd, round);
  return bench::done("loss");
}
