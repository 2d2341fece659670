// SPDX-License-Identifier: Apache-2.0
// From accumulators to memory. Parameters (rtl/drain/npu_params.sv) of a block wait in one of two
// buffers; the drain (npu_drain.sv, npu_residual.sv, npu_store.sv) takes blocks one after another.
#pragma once

#include <array>

#include "cmodel/timing/tiles.hpp"

namespace lastmile::timing {

class Params {
 public:
  explicit Params(Context& c) : c_(c), client_(c.reads, c.latency, 32) {}
  // When the next block's are ready; at most two blocks before what was freed. token: the block's
  // tile is known to this engine.
  U block(const Run& block, bool tile_start, U token);
  // The drain is through with the oldest block in that cycle.
  void freed(U cycle) { free_[drained_++ % 2] = cycle + 1; }

 private:
  Context& c_;
  Client client_;
  std::array<U, 2> free_{};
  std::size_t buffer_ = 0, drained_ = 0;
  U next_ = 0;
};

class Drain {
 public:
  explicit Drain(Context& c) : c_(c) {}
  struct Block {
    U start, freed, end;  // first cycle; accumulators used; last output handed over
  };
  // positions * groups of RQ_LANES channels. complete: accumulators and parameters are there.
  Block block(const Run& block, U positions, U complete);
  [[nodiscard]] U cycles() const { return cycles_; }

 private:
  static constexpr U kPipeline = 7;  // from reading accumulators to the output
  static constexpr U kAddition = 9;  // more with RES_ADD
  Context& c_;
  U next_ = 0;
  U cycles_ = 0;
};

}  // namespace lastmile::timing
