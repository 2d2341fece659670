// Engines that stream whole tensors (rtl/elementwise, rtl/update). Each takes so many cycles per
// word, row or example; the memory may be slower.
#include <algorithm>

#include "cmodel/npu/validate.hpp"
#include "cmodel/timing/context.hpp"

namespace lastmile::timing {
namespace {

using spec::Counter;
using spec::Engine;

// Bursts that a request for `words` words becomes, and cycles from one to the next if each word is
// used for `each` cycles and `depth` words are under way at most.
U burst_period(const Context& c, U burst, U each, U depth) {
  const U window = std::clamp<U>(depth / burst, 1, Client::kBursts);
  const U round = c.latency + Client::kOverhead + 1 + burst * each;
  return std::max({burst * each, c.reads.cycles(burst), divide_up(round, window)});
}

// An engine that was busy in cycles [1, end] and says so in end + 1.
U finish(Context& c, Engine e, U end, U busy) {
  c.t.engine(e) = {1, end + 1, busy};
  c.t.counters[Counter::element_cycles_] = end;
  return end + 1;
}

}  // namespace

// Four elements per cycle; both addends come in bursts of 16 words, of the second at most 32 words
// are under way.
U add_time(Context& c) {
  constexpr U kLanes = 4, kPipeline = 9;
  const U total = U{c.d.n} * c.d.in_c;
  const U issues = divide_up(total, kLanes);
  const U words1 = c.words(c.d.in_addr, total), words2 = c.words(c.d.in2_addr, total);
  const U burst = std::min(Client::kBurst, words2);
  const U each = c.bus / kLanes;
  const U first = 2 + Client::kOverhead + c.latency + 1;
  const U period = std::max(burst_period(c, burst, each, 32), 2 * c.reads.cycles(burst));
  const U stream = (words2 - burst) / burst * period;
  c.reads.take(first, words1 + words2);
  // the first burst of each addend comes before the first of the other's second
  const U ahead = c.reads.cycles(std::min(words1, Client::kBurst));
  const U issue = first + ahead;
  const U last = std::max(
      issue + issues, issue + stream + (total - (words2 - burst) / burst * burst * c.bus) / kLanes);
  const U out = last + kPipeline;
  const U end =
      c.writer.write(issue + kPipeline, out, c.words(c.d.out_addr, total), Client::kBurst);
  return finish(c, Engine::add_, end + 2, issues);
}

// A value per cycle for the largest of a row; then, twice, an exponential per value: ten steps and
// one for each bit set of the exponent's seven factors, four for the largest itself, two for a
// value too small. Without the data: every value but one takes the steps of an ordinary one.
U softmax_time(Context& c) {
  constexpr U kUsual = 12, kLargest = 4, kReciprocal = 8;
  const U n = c.d.n, classes = c.d.in_c;
  const U row = classes + 2 * ((classes - 1) * kUsual + kLargest) + kReciprocal + classes;
  const U end = 2 + Client::kOverhead + c.latency + n * row + 3;
  c.writer.write(2 + c.latency, end - 2, c.words(c.d.out_addr, n * classes), Client::kBurst);
  return finish(c, Engine::softmax_, end, n * row);
}

// Per example: its label, a logit per cycle for the largest, once more for the distances, eight
// steps for the logarithm and the sum, one to store. Requests run ahead.
U loss_time(Context& c) {
  constexpr U kSteps = 1 + 4 + 1 + 2;
  const U n = c.d.n, classes = c.d.in_c;
  const bool losses = c.d.has(spec::kFlagLosses);
  const U example = 2 * classes + kSteps + (losses ? 1 : 0);
  const U words = c.words(c.d.in_addr, 2 * classes);
  const U bursts = 1 + 2 * divide_up(words, Client::kBurst);
  const U memory = std::max(c.reads.cycles(1 + 2 * words),
                            divide_up((c.latency + Client::kOverhead + example) * bursts,
                                      std::min<U>(Client::kBursts, 64 * bursts / (1 + 2 * words))));
  const U end = 1 + Client::kOverhead + c.latency + n * std::max(example, memory);
  if (losses) c.writer.write(1 + c.latency + example, end, n, 1);
  return finish(c, Engine::loss_, end, n * example);
}

// Half a bus word of int8, a bus word otherwise, is one group; a group takes a cycle per pair, and
// a second one for the mask. A row is one request.
U update_time(Context& c) {
  constexpr U kPipeline = 13;  // from reading a group to its result
  const spec::Descriptor& d = c.d;
  const U bytes = npu::weight_bytes(d);
  const U groups = bytes == 1 ? 2 : 1;
  const U passes = d.w_keep < 256 && c.mode.pairs == 1 ? 2 : c.mode.pairs;
  const U words = c.words(0, U{d.in_c} * bytes);
  const U bursts = divide_up(words, Client::kBurst);
  const U burst = divide_up(words, bursts);
  const U each = groups * passes;
  const U rows = d.out_c;
  const U row = std::max(words * each, bursts * burst_period(c, burst, each, 64));
  const U first = 1 + Client::kOverhead + c.latency;
  const U last = first + (rows - 1) * row + words * each - 1;
  const U joined = words * c.bus == d.w_pitch ? rows * words : words;
  const U out = c.writer.write(first + kPipeline, last + kPipeline, rows * words,
                               std::min(joined, Client::kBurst));
  return finish(c, Engine::update_, out + 1, rows * words * each);
}

}  // namespace lastmile::timing
