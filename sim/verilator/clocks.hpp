// SPDX-License-Identifier: Apache-2.0
// The two clocks of npu_sim.sv. Nothing happens at a falling edge, but an evaluation has its price:
// where this Verilator keeps what it last saw of a clock, the model is told that it was low.
#pragma once

namespace lastmile::sim {

template <class Root>
concept KeepsClocks = requires(Root& root) {
  root.__Vtrigrprev__TOP__clk_i;
  root.__Vtrigrprev__TOP__in_clk_i;
};

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
  if constexpr (KeepsClocks<decltype(*top.rootp)>) {
    top.rootp->__Vtrigrprev__TOP__clk_i = 0;
    top.rootp->__Vtrigrprev__TOP__in_clk_i = 0;
  } else {
    top.clk_i = top.in_clk_i = 0;
    top.eval();
  }
  top.clk_i = top.in_clk_i = 1;
  top.eval();
}

}  // namespace lastmile::sim
