// SPDX-License-Identifier: Apache-2.0
// Engines that stream whole tensors (rtl/elementwise, rtl/update). Each takes so many cycles per
// word, row or example; the memory may be slower.
#include <algorithm>

#include "cmodel/command/validate.hpp"
#include "cmodel/timing/context.hpp"

namespace lastmile::timing {
namespace {

using spec::Counter;
using spec::Engine;

// An engine that was busy in cycles [1, end] and says so in end + 1.
U finish(Context& c, Engine e, U end, U busy) {
  c.t.engine(e) = {1, end + 1, busy};
  c.t.counters[Counter::element_cycles_] = end;
  return end + 1;
}

}  // namespace

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
// steps for the logarithm and the sum, one to store. Requests run ahead.
U loss_time(Context& c) {
  constexpr U kLogarithm = 4 + 1 + 2;
  const U n = c.d.n, classes = c.d.in_c;
  const bool losses = c.d.has(spec::kFlagLosses);
  const U label = npu::label_bytes(c.d), row = 2 * classes;
  Client client(c.reads, c.latency, 64);
  // requests of an example: label, row, row
  U asked = 0, left = 0, ask = 1, at = 1;
  const auto words = [&](U request) {
    const U i = request / 3;
    return request % 3 == 0 ? c.words(c.d.in2_addr + i * label, label)
                            : c.words(c.d.in_addr + i * row, row);
  };
  for (U request = 0; request < 3 * n; ++request) {
    for (U todo = words(request); todo != 0;) {
      while (asked < 3 * n) {
        if (left == 0) left = words(asked);
        const U burst = std::min(left, Client::kBurst);
        if (!client.fits(burst)) break;
        ask = client.issue(ask, burst);
        if (ask == 2) c.fetch_next();
        left -= burst;
        if (left == 0) ++asked;
      }
      const U burst = client.words(), logits = c.bus / 2;
      const U take = request % 3 == 0 ? 1 : std::min(classes, burst * logits);
      at = std::max(at + take, client.ready() + std::min(take, logits));
      client.pop(at - 1, take / burst);
      todo -= burst;
    }
    if (request % 3 == 2) at += kLogarithm + (losses ? 1 : 0);
  }
  if (losses) c.writer.write(at / n, at - 1, n, n);
  return finish(c, Engine::loss_, at - 1, n * (row + kLogarithm + 1));
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
  const U each = groups * passes, rows = d.out_c;
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

}  // namespace lastmile::timing
