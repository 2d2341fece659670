// SPDX-License-Identifier: Apache-2.0
// The loops of the contract (CONTRACT.md, Tiles) as the engines walk them: tiles, blocks of
// channels, k-tiles, and runs of output.
#pragma once

#include <vector>

#include "cmodel/timing/context.hpp"

namespace lastmile::timing {

struct Run {
  U first = 0;
  U count = 0;
};

struct Tile {
  Run images, rows, columns;
  [[nodiscard]] U positions() const { return images.count * rows.count * columns.count; }
};

// One k-tile of a channel block: rows of weights and how they lie in bus words.
struct KTile {
  U block = 0;
  U chunk = 0;
  U rows = 0;          // memory rows read
  U words = 0;         // bus words of each
  U columns = 0;       // output channels
  bool first = false;  // of its block
  bool last = false;
  bool load = false;    // first on a loaded part of the input
  bool unload = false;  // last on it
};

[[nodiscard]] std::vector<Tile> tiles_of(const spec::Descriptor& d);
[[nodiscard]] std::vector<Run> blocks_of(const Context& c);
[[nodiscard]] std::vector<KTile> k_tiles_of(const Context& c, const std::vector<Run>& blocks);

// How the write combiner (rtl/drain/npu_store.sv) meets a block's runs of output.
struct OutputRuns {
  U pieces = 0;  // cycles it takes for all positions: a segment is cut at bus words
  U words = 0;
  U runs = 0;  // of words that follow each other
};
// segment: bytes that the drain or the pool hands over at a time.
[[nodiscard]] OutputRuns output_runs(const Context& c, const Run& block, U channels, U positions,
                                     U segment);

}  // namespace lastmile::timing
