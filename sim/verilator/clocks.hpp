// SPDX-License-Identifier: Apache-2.0
// The clocks of npu_sim.sv, and those of parts that are idle most of the time (rtl/clock), which
// have an edge only in cycles in which they are on. Nothing happens at a falling edge, but an
// evaluation has its price: where this Verilator keeps what it last saw of a clock, the model is
// told that it was low.
#pragma once

// LASTMILE_GATED_CLOCKS(X): an X(path) for each clock of a part (sim.mk); other builds have none.
#if __has_include(<gated_clocks.hpp>)
#include <gated_clocks.hpp>
#else
#define LASTMILE_GATED_CLOCKS(X)
#endif

namespace lastmile::sim {

template <class Root>
concept KeepsClocks = requires(Root& root) {
  root.__Vtrigrprev__TOP__clk_i;
  root.__Vtrigrprev__TOP__in_clk_i;
};

// Before the first evaluation: between edges the clocks of parts are high.
template <class Root>
void start_clocks([[maybe_unused]] Root& root) {
#define LASTMILE_HIGH(path) root.path##__DOT__clk = 1;
  LASTMILE_GATED_CLOCKS(LASTMILE_HIGH)
#undef LASTMILE_HIGH
}

// The inputs arrive within the cycle: what depends on them follows, no state changes.
template <class Top>
void settle_inputs(Top& top) {
  if constexpr (KeepsClocks<decltype(*top.rootp)>) {
    top.rootp->__Vtrigrprev__TOP__in_clk_i = 0;
  } else {
    top.in_clk_i = 0;
    top.eval();
  }
  top.in_clk_i = 1;
  top.eval();
}

// A rising edge; the inputs of the next cycle arrive with it.
template <class Top>
void rise(Top& top) {
  auto& root = *top.rootp;
  if constexpr (KeepsClocks<decltype(root)>) {
    root.__Vtrigrprev__TOP__clk_i = 0;
    root.__Vtrigrprev__TOP__in_clk_i = 0;
    // A part without registers has no edge to be told of.
#define LASTMILE_EDGE(path)                                               \
  if constexpr (requires { root.__Vtrigrprev__TOP__##path##__DOT__clk; }) \
    root.__Vtrigrprev__TOP__##path##__DOT__clk = !root.path##__DOT__on;
    LASTMILE_GATED_CLOCKS(LASTMILE_EDGE)
#undef LASTMILE_EDGE
  } else {
    top.clk_i = top.in_clk_i = 0;
#define LASTMILE_LOW(path) root.path##__DOT__clk = 0;
    LASTMILE_GATED_CLOCKS(LASTMILE_LOW)
#undef LASTMILE_LOW
    top.eval();
#define LASTMILE_RISE(path) root.path##__DOT__clk = root.path##__DOT__on;
    LASTMILE_GATED_CLOCKS(LASTMILE_RISE)
#undef LASTMILE_RISE
  }
  top.clk_i = top.in_clk_i = 1;
  top.eval();
}

}  // namespace lastmile::sim
