// SPDX-License-Identifier: Apache-2.0
#include "cmodel/timing/tiles.hpp"

#include <algorithm>

#include "cmodel/command/validate.hpp"

namespace lastmile::timing {

using spec::Descriptor;
using spec::Opcode;

std::vector<Tile> tiles_of(const Descriptor& d) {
  std::vector<Tile> tiles;
  for (U n = 0; n < d.n; n += d.tile_n) {
    for (U h = 0; h < d.out_h; h += d.tile_h) {
      for (U w = 0; w < d.out_w; w += d.tile_w) {
        tiles.push_back({{n, std::min<U>(d.tile_n, d.n - n)},
                         {h, std::min<U>(d.tile_h, d.out_h - h)},
                         {w, std::min<U>(d.tile_w, d.out_w - w)}});
      }
    }
  }
  return tiles;
}

std::vector<Run> blocks_of(const Context& c) {
  const Descriptor& d = c.d;
  const bool conv = c.op == Opcode::conv2d_;
  const U lanes = conv ? c.cols : std::min(c.rows, c.cols);
  const U groups = conv ? d.groups : 1;
  const U per_group = conv ? d.cout_group : c.op == Opcode::depthwise_ ? d.out_c : d.in_c;
  std::vector<Run> blocks;
  const U part = conv ? per_group : npu::output_chunk(d);  // no block crosses a chunk
  for (U g = 0; g < groups; ++g) {
    for (U first = 0; first < per_group; first += part) {
      const U end = std::min(first + part, per_group);
      for (U o = first; o < end; o += lanes)
        blocks.push_back({g * per_group + o, std::min(lanes, end - o)});
    }
  }
  return blocks;
}

std::vector<KTile> k_tiles_of(const Context& c, const std::vector<Run>& blocks) {
  const Descriptor& d = c.d;
  const U bytes = d.has(spec::kFlagW8) ? 1 : 2;
  const U taps = U{d.kernel_h} * d.kernel_w;
  const bool chunked = d.tile_c < d.in_c;
  std::vector<KTile> all;
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    const std::size_t begin = all.size();
    if (c.op == Opcode::depthwise_) {
      const U part = npu::output_chunk(d), chunk = blocks[b].first / part;
      for (U t = 0; t < taps; ++t) {
        all.push_back({b, chunk, 1, c.words(blocks[b].first * bytes, blocks[b].count * bytes),
                       blocks[b].count});
      }
      all[begin].load = chunked && blocks[b].first % part == 0;
      all.back().unload = chunked && (b + 1 == blocks.size() || blocks[b + 1].first % part == 0);
    } else {
      const bool transposed = d.has(spec::kFlagWTransposed);
      const auto cut = [&](U first, U count, U chunk) {
        for (U at = 0; at < count; at += c.rows) {
          const U run = std::min(c.rows, count - at);
          if (transposed) {  // a memory row per element of K
            all.push_back({b, chunk, run, c.words(blocks[b].first * bytes, blocks[b].count * bytes),
                           blocks[b].count});
          } else {
            all.push_back({b, chunk, blocks[b].count, c.words((first + at) * bytes, run * bytes),
                           blocks[b].count});
          }
          all.back().load = chunked && at == 0;
          all.back().unload = chunked && at + c.rows >= count;
        }
      };
      if (chunked) {
        for (U k = 0, chunk = 0; k < d.in_c; k += d.tile_c, ++chunk)
          cut(k, std::min<U>(d.tile_c, d.in_c - k), chunk);
      } else if (d.has(spec::kFlagPacked)) {
        cut(0, taps * d.in_c, 0);
      } else {
        for (U t = 0; t < taps; ++t) cut(t * d.cin_group, d.cin_group, 0);
      }
    }
    all[begin].first = true;
    all.back().last = true;
  }
  if (!chunked) {
    all.front().load = true;
    all.back().unload = true;
  }
  return all;
}

OutputRuns output_runs(const Context& c, const Run& block, U channels, U positions, U segment) {
  const U element = npu::output_bytes(c.d);
  const U bytes = block.count * element;
  OutputRuns out;
  // a position's place in a bus word repeats
  const U period = std::min(positions, c.bus);
  for (U p = 0; p < period; ++p) {
    const U at = c.d.out_addr + (p * channels + block.first) * element;
    const U times = (positions - p + period - 1) / period;
    out.words += times * c.words(at, bytes);
    for (U s = 0; s < bytes; s += segment)
      out.pieces += times * c.words(at + s, std::min(segment, bytes - s));
    // runs whose words follow each other become one burst
    if ((at + bytes - 1) / c.bus + 1 != (at + channels * element) / c.bus) out.runs += times;
  }
  return out;
}

}  // namespace lastmile::timing
