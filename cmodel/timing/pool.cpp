// SPDX-License-Identifier: Apache-2.0
// Pooling (rtl/pool/npu_pool.sv): a tap of a block of channels per cycle; a finished window is
// divided (average: eight steps) and handed to the write combiner, four of them at most under way.
#include <algorithm>

#include "cmodel/timing/load.hpp"

namespace lastmile::timing {

using spec::Counter;

U pool_time(Context& c) {
  constexpr U kWindow = 6;    // from the last tap's read to the window's maximum
  constexpr U kDivision = 8;  // more for an average
  const std::vector<Run> blocks = blocks_of(c);
  const bool average = !c.d.has(spec::kFlagMax);
  const U taps = U{c.d.kernel_h} * c.d.kernel_w;
  const U segment = static_cast<U>(c.hw.rq_lanes) * 2;
  Load load(c);
  U next = 0, end = 0;
  const std::vector<Tile> tiles = tiles_of(c.d);
  const U chunks = divide_up(c.d.in_c, c.d.tile_c);
  for (U part = 0; part < tiles.size() * chunks; ++part) {  // a chunk is a tile of its own
    const Tile& tile = tiles[part / chunks];
    const U chunk = part % chunks;
    const U positions = tile.positions();
    load.start(tile, chunk);
    const U full = load.finish();
    TileTime times;
    times.load = load.last();
    const U start = std::max({full, load.announced() + 1, next}) + 1;
    U at = start;
    for (const Run& block : blocks) {
      if (block.first / c.d.tile_c != chunk) continue;
      const OutputRuns out = output_runs(c, block, c.d.in_c, positions, segment);
      const U pieces = divide_up(out.pieces, positions);
      // a window leaves when the one before is through division and combiner
      const U period = std::max(taps, average ? kDivision + pieces : pieces);
      const U first = at + taps + kWindow + (average ? kDivision : 0);
      const U last = first + (positions - 1) * period + pieces - 1;
      end = std::max(last, c.writer.write(first, last, out.words, out.runs));
      times.array.add(at, end + 1, positions * taps);
      c.t.engine(spec::Engine::store_).add(first, end + 1, out.pieces);
      at = end + 1;
    }
    load.released(end);
    c.t.engine(spec::Engine::pool_).add(start, at, times.array.busy);
    c.t.counters[Counter::element_cycles_] += at - start;
    c.t.tiles.push_back(times);
    next = at;
  }
  return end + 2;  // the combiner's last word
}

}  // namespace lastmile::timing
