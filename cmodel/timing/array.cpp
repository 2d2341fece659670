// SPDX-License-Identifier: Apache-2.0
// The array (rtl/array/npu_array.sv) takes one k-tile at a time and multiplies it with a position
// per cycle. It takes the next one in the cycle of the last position if its weights wait in the
// shadow registers, its input is loaded and the accumulators of its block are free; else it stands
// still, and the first of these that is missing says why.
#include <algorithm>
#include <utility>

#include "cmodel/timing/drain.hpp"
#include "cmodel/timing/load.hpp"
#include "cmodel/timing/weight.hpp"

namespace lastmile::timing {

using spec::Counter;
using spec::Opcode;

U matrix_time(Context& c) {
  constexpr U kToBlock = 6;    // from the last position to complete accumulators
  constexpr U kToRelease = 2;  // from the last position to the half of the scratchpad given back
  const std::vector<Run> blocks = blocks_of(c);
  const std::vector<KTile> k_tiles = k_tiles_of(c, blocks);
  const std::vector<Tile> tiles = tiles_of(c.d);
  Load load(c);
  Weight weight(c, k_tiles, tiles.size(), load);
  Params params(c);
  Drain drain(c);
  npu::Counters& n = c.t.counters;

  U end = 0;                        // cycle of the last position
  U taken = 0;                      // in which the k-tile before was taken
  U full = 0;                       // the input is there
  std::array<U, 2> accumulators{};  // free from this cycle on
  U out = 0;
  std::size_t k = 0, block = 0;
  // Regions in the order of the k-tiles that begin on them; the next one is loaded meanwhile.
  std::size_t load_tile = 0, load_k = 0;
  std::vector<U> announced;
  const auto start_load = [&] {
    while (load_tile < tiles.size() && !k_tiles[load_k].load)
      if (++load_k == k_tiles.size()) load_k = 0, ++load_tile;
    if (load_tile == tiles.size()) return;
    load.start(tiles[load_tile], k_tiles[load_k].chunk);
    if (announced.size() == load_tile) {
      announced.push_back(load.announced());
      weight.announce(load.announced());
    }
    if (++load_k == k_tiles.size()) load_k = 0, ++load_tile;
  };
  // Parameters are asked for as soon as a buffer is free, two blocks ahead.
  std::vector<U> parameters;
  const auto prepare = [&](std::size_t last) {
    while (parameters.size() <= last && parameters.size() / blocks.size() < announced.size()) {
      const std::size_t b = parameters.size() % blocks.size();
      parameters.push_back(
          params.block(blocks[b], b == 0, announced[parameters.size() / blocks.size()]));
    }
  };
  start_load();
  for (const Tile& tile : tiles) {
    const U positions = tile.positions();
    TileTime times;
    for (std::size_t i = 0; i < k_tiles.size(); ++i, ++k) {
      const KTile& kt = k_tiles[i];
      if (k == 0) load.advance(announced[0] + 3);
      if (kt.first) prepare(block + 1);
      const U weights = weight.ready(k, taken);
      if (kt.load) {
        full = load.finish();
        if (times.load.end == 0) times.load = load.last();
        times.load.end = load.last().end;
        start_load();
      }
      const U acc = kt.first ? accumulators[block % 2] : 0;
      const U previous = end;
      taken = std::max({end, weights, kt.load ? full : 0, acc});
      // cycles without work, by what is missing
      U idle = taken - previous;
      if (kt.load && full > previous + 1) {
        const U part = std::min(idle, full - previous - 1);
        n[Counter::stall_load_] += part;
        idle -= part;
      }
      if (kt.first) {
        const U from = std::max({weights, previous + 1, kt.load ? full : 0});
        const U part = std::min(idle, acc > from ? acc - from : 0);
        n[Counter::stall_drain_] += part;
        idle -= part;
      }
      n[Counter::stall_weight_] += idle;
      n[Counter::array_cycles_] += positions;
      end = taken + positions;
      times.array.add(taken + 1, end + 1, positions);
      c.t.engine(spec::Engine::array_).add(taken + 1, end + 1, positions);
      if (kt.unload) load.released(end + kToRelease);
      if (kt.last) {
        const Drain::Block b =
            drain.block(blocks[kt.block], positions, std::max(end + kToBlock, parameters[block]));
        accumulators[block++ % 2] = b.freed + 2;
        out = b.end;
        params.freed(b.end);
        prepare(block + 1);
        times.drain.add(b.start, b.end + 1, positions);
      }
      // a chunk of DEPTHWISE is a tile of its own
      if (i + 1 == k_tiles.size() || (kt.unload && c.op == Opcode::depthwise_))
        c.t.tiles.push_back(std::exchange(times, {}));
    }
  }
  n[Counter::drain_cycles_] = drain.cycles();
  return out + 2;  // the combiner's last word
}

}  // namespace lastmile::timing
