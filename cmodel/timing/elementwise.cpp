// SPDX-License-Identifier: Apache-2.0
// Engines that stream whole tensors (rtl/elementwise, rtl/update). Each takes so many cycles per
// word, row or example; the memory may be slower.
#include <algorithm>
#include <vector>

#include "cmodel/command/validate.hpp"
#include "cmodel/timing/context.hpp"

namespace lastmile::timing {
namespace {

using spec::Counter;
using spec::Engine;
using spec::Opcode;

// An engine that was busy in cycles [1, end] and says so in end + 1.
U finish(Context& c, Engine e, U end, U busy) {
  c.t.engine(e) = {1, end + 1, busy};
  c.t.counters[Counter::element_cycles_] = end;
  return end + 1;
}

// Four elements per cycle; both addends come in bursts of 16 words through clients of their own.
U add_time(Context& c) {
  constexpr U kLanes = 4, kPipeline = 9;
  const U total = U{c.d.n} * c.d.in_c;
  const U each = c.bus / kLanes;
  const U words = std::max(c.words(c.d.in_addr, total), c.words(c.d.in2_addr, total));
  Client first(c.reads, c.latency, 64), second(c.reads, c.latency, 32);
  const U begin = 2;
  U at = begin, asked1 = 0, asked2 = 0;
  const auto burst = [&](U done) { return std::min(Client::kBurst, words - done); };
  for (U done = 0; done < words; done += burst(done)) {
    // each as far ahead as its buffer allows, the second addend before the first
    for (bool more = true; more;) {
      more = false;
      const auto issue = [&](Client& client, U& asked) {
        if (asked == words || !client.fits(burst(asked))) return;
        client.issue(begin, burst(asked));
        asked += burst(asked);
        more = true;
      };
      issue(second, asked2);
      issue(first, asked1);
    }
    const U begins = std::max(first.begins(), second.begins());
    const U ready = std::max(first.ready(), second.ready());
    const U from = std::max(at, begins);
    at = std::max(from + burst(done) * each, ready + each);
    first.pop(at, (at - from) / burst(done));
    second.pop(at, (at - from) / burst(done));
  }
  const U out = at + 1 + kPipeline;
  const U end = c.writer.write(begin + c.latency + kPipeline, out, c.words(c.d.out_addr, total), 1);
  return finish(c, Engine::add_, end + 2, divide_up(total, kLanes));
}

// A value per cycle for the largest of a row; then, twice, an exponential per value: ten steps and
// one for each bit set of the exponent's seven factors, four for the largest itself, two for a
// value too small. Without the data: every value but one takes the steps of an ordinary one.
U softmax_time(Context& c) {
  constexpr U kTwice = 23, kLargest = 4, kReciprocal = 8;
  const U n = c.d.n, classes = c.d.in_c;
  const U row = classes + (classes - 1) * kTwice + 2 * kLargest + kReciprocal + classes;
  c.reads.take(Client::kOverhead + c.latency, c.words(c.d.in_addr, classes));
  c.fetch_next();
  const U end = 1 + Client::kOverhead + c.latency + n * row + 3;
  c.writer.write(2 + c.latency, end - 2, c.words(c.d.out_addr, n * classes), 1);
  return finish(c, Engine::softmax_, end, n * row);
}

// Per example: its label, a logit per cycle for the largest, once more for the distances, eight
// steps for the logarithm and the sum, one to store; with ERRORS a third time for the errors and
// the way of the last one. Requests run ahead.
U loss_time(Context& c) {
  constexpr U kLogarithm = 4 + 1 + 2, kError = 6;
  const U n = c.d.n, classes = c.d.in_c;
  const bool losses = c.d.has(spec::kFlagLosses), errors = c.d.has(spec::kFlagErrors);
  const U label = npu::label_bytes(c.d), row = 2 * classes;
  Client client(c.reads, c.latency, 64);
  // requests of an example: label, row, row, with ERRORS the row again
  const U each = errors ? 4 : 3, all = each * n;
  U asked = 0, left = 0, ask = 1, at = 1, first = 0;
  const auto words = [&](U request) {
    const U i = request / each;
    return request % each == 0 ? c.words(c.d.in2_addr + i * label, label)
                               : c.words(c.d.in_addr + i * row, row);
  };
  for (U request = 0; request < all; ++request) {
    for (U todo = words(request); todo != 0;) {
      while (asked < all) {
        if (left == 0) left = words(asked);
        const U burst = std::min(left, Client::kBurst);
        if (!client.fits(burst)) break;
        ask = client.issue(ask, burst);
        if (ask == 2) c.fetch_next();
        left -= burst;
        if (left == 0) ++asked;
      }
      const U burst = client.words(), logits = c.bus / 2;
      const U take = request % each == 0 ? 1 : std::min(classes, burst * logits);
      at = std::max(at + take, client.ready() + std::min(take, logits));
      client.pop(at - 1, take / burst);
      todo -= burst;
    }
    if (request % each == 2) at += kLogarithm + (losses ? 1 : 0);
    if (request % each == 3) at += kError;
    if (first == 0 && request + 1 == each) first = at;
  }
  if (losses) c.writer.write(at / n, at - 1, n, n);
  if (errors) {
    U written = 0;
    for (U i = 0; i < n; ++i) written += c.words(c.d.out_addr + i * classes, classes);
    at = std::max(at, c.writer.write(first, at - 1, written, 1) + 1);
  }
  const U busy = row + kLogarithm + 1 + (errors ? classes + kError : 0);
  return finish(c, Engine::loss_, at - 1, n * busy);
}

// UPDATE with GRADIENT: requests alternate, at most eight words of the tensor and their gradient.
U gradient_time(Context& c, U passes, U pipeline) {
  constexpr U kChunk = 8;
  const spec::Descriptor& d = c.d;
  const U bytes = npu::weight_bytes(d), rows = d.out_c;
  const U words = c.words(0, U{d.in_c} * bytes), gradients = c.words(0, U{d.in_c} * 4);
  const U per_word = 4 / bytes;
  // the requests, cut into bursts: words of the tensor wait, groups of its gradient are worked on
  struct Burst {
    U words = 0, cycles = 0;
  };
  std::vector<Burst> bursts;
  U busy = 0;
  for (U row = 0; row < rows; ++row) {
    for (U at = 0; at < words; at += kChunk) {
      const U tensor = std::min(kChunk, words - at);
      bursts.push_back({tensor, tensor - (passes > 1 ? 1 : 0)});
      U left = std::min(gradients - at * per_word, kChunk * per_word);
      U work = left * passes;
      busy += work;
      while (left != 0) {
        const U burst = std::min(left, Client::kBurst);
        left -= burst;
        const U cycles = left == 0 ? work : burst * passes;
        bursts.push_back({burst, cycles});
        work -= cycles;
      }
    }
  }
  Client client(c.reads, c.latency, 64);
  std::size_t asked = 0;
  U ask = 1, at = 1, first = 0;
  for (const Burst& b : bursts) {
    while (asked < bursts.size() && client.fits(bursts[asked].words)) {
      ask = client.issue(ask, bursts[asked].words);
      if (asked == 0) c.fetch_next();
      ++asked;
    }
    const U from = std::max(at, client.begins());
    at = std::max(from + b.cycles, client.ready() + 1);
    if (first == 0) first = at;
    client.pop(at, (at - from) / b.words);
  }
  const bool joined = words * c.bus == d.w_pitch;
  const U out =
      c.writer.write(first + pipeline, at - 1 + pipeline, rows * words, joined ? 1 : rows);
  return finish(c, Engine::update_, out + 1, busy);
}

// Half a bus word of int8, a bus word otherwise, is one group; a group takes a cycle per pair, and
// a second one for the mask. A row is one request; with GRADIENT eight words are one, and then
// those of their gradient, which are the groups.
U update_time(Context& c) {
  constexpr U kPipeline = 13;  // from reading a group to its result
  const spec::Descriptor& d = c.d;
  const U bytes = npu::weight_bytes(d);
  const U groups = bytes == 1 ? 2 : 1;
  const bool given = d.has(spec::kFlagGradient);
  const U pairs = given ? 1 : c.mode.pairs;
  const U passes = d.w_keep < spec::kKeepAll && pairs == 1 ? 2 : pairs;
  const U words = c.words(0, U{d.in_c} * bytes);
  const U each = groups * passes, rows = d.out_c;
  if (given) return gradient_time(c, passes, kPipeline);
  Client client(c.reads, c.latency, 64);
  struct {
    U row = 0, word = 0;
  } asked;
  U ask = 1, at = 1, first = 0;
  for (U row = 0; row < rows; ++row) {
    for (U word = 0; word < words; word += std::min(Client::kBurst, words - word)) {
      while (asked.row < rows) {
        const U burst = std::min(Client::kBurst, words - asked.word);
        if (!client.fits(burst)) break;
        ask = client.issue(ask, burst);
        if (asked.row + asked.word == 0) c.fetch_next();
        asked.word += burst;
        if (asked.word == words) asked = {asked.row + 1, 0};
      }
      const U burst = client.words();
      const U from = std::max(at, client.begins());
      at = std::max(from + burst * each, client.ready() + each);
      if (first == 0) first = at - burst * each;
      client.pop(at, (at - from) / burst);
    }
  }
  const U last = at - 1;
  const bool joined = words * c.bus == d.w_pitch;
  const U out =
      c.writer.write(first + kPipeline, last + kPipeline, rows * words, joined ? 1 : rows);
  return finish(c, Engine::update_, out + 1, rows * words * each);
}

}  // namespace

U element_time(Context& c) {
  switch (c.op) {
    case Opcode::add_:
      c.fetch_next();
      return add_time(c);
    // engines that ask in cycle 1, as the fetch does: their first burst goes out before
    case Opcode::softmax_:
      return softmax_time(c);
    case Opcode::loss_:
      return loss_time(c);
    case Opcode::update_:
      return update_time(c);
    case Opcode::end_:
    case Opcode::conv2d_:
    case Opcode::depthwise_:
    case Opcode::pool_:
      break;
  }
  return 0;
}

}  // namespace lastmile::timing
