// SPDX-License-Identifier: Apache-2.0
#include "cmodel/timing/drain.hpp"

#include <algorithm>

namespace lastmile::timing {

U Params::block(const Run& block, bool tile_start, U token) {
  const spec::Descriptor& d = c_.d;
  if (tile_start) next_ = std::max(next_, token) + 1;
  const U begin = std::max(next_, free_[buffer_]);
  const bool bias = d.has(spec::kFlagHasBias);
  U request = begin + 1, at = begin + 1, busy = 0;
  // a block's words fit the response buffer unless the array is very wide: then in two parts
  const auto part = [&](U address, U elements) {
    U left = c_.words(address, elements * 4);
    const U per_word = c_.bus / 4;
    U stored = 0;
    while (left != 0) {
      const U words = std::min(left, Client::kBurst);
      client_.issue(request, words);
      const U ready = client_.ready();
      left -= words;
      const U now = left == 0 ? elements - stored : std::min(elements - stored, words * per_word);
      // elements are stored one per cycle
      at = std::max(at + now, ready + std::min(now, per_word));
      stored += now;
      busy += now;
      client_.pop(at - 1, 1);
    }
    ++request;
  };
  if (bias) part(d.bias_addr + block.first * 4, block.count);
  if (!d.has(spec::kFlagOut32)) part(d.rq_addr + block.first * 8, block.count * 2);
  c_.t.engine(spec::Engine::param_).add(begin, at, busy);
  next_ = at + 1;
  buffer_ ^= 1;
  return at + 1;
}

Drain::Block Drain::block(const Run& run, U positions, U complete) {
  const spec::Descriptor& d = c_.d;
  const U lanes = static_cast<U>(c_.hw.rq_lanes);
  const U groups = divide_up(run.count, lanes);
  const bool add = d.has(spec::kFlagResAdd);
  const OutputRuns out = output_runs(c_, run, d.out_c, positions, lanes * 2);
  Block b{};
  b.start = std::max(complete, next_);
  const U issue = b.start + 2;
  const U depth = kPipeline + (add ? kAddition : 0);
  const U work = positions * groups;
  // one group per cycle, unless the combiner needs several words for it
  U last = issue + std::max(work, out.pieces) - 1;
  if (add) {
    // a run of the second addend per position, at most 32 words and bursts of it under way
    const OutputRuns in = output_runs(c_, run, d.out_c, positions, lanes * 2);
    const U each = divide_up(in.words, positions);
    const U round = c_.latency + Client::kOverhead + each;
    const U window = std::max<U>(1, 32 / each);
    const U first = issue + Client::kOverhead + 1 + c_.latency;
    const U data = c_.reads.take(first, in.words) + 2;
    const U needed = issue + kPipeline;
    U delay = first + each + 1 > needed ? first + each + 1 - needed : 0;
    delay += std::max(last, issue + positions * round / window) - last;
    last = std::max(last + delay, data > kPipeline ? data - kPipeline : 0);
  }
  const U handed = last + depth;
  b.end = std::max(handed, c_.writer.write(issue + depth, handed, out.words, out.runs));
  b.freed = last + 1 + (b.end - handed);  // the last group is selected, not only read
  next_ = b.end + 1;
  cycles_ += work + depth;
  c_.t.engine(spec::Engine::drain_).add(b.start, b.end + 1, work + depth);
  c_.t.engine(spec::Engine::store_).add(issue + depth, b.end + 1, out.pieces);
  return b;
}

}  // namespace lastmile::timing
