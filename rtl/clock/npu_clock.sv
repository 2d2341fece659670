// SPDX-License-Identifier: Apache-2.0
// The clock of a part that is idle most of the time. run_i is high in every cycle in which a
// register of the part may change; the cycle behind it is clocked, too, so that what a part says
// last needs no thought. A part does the same with all edges as with these alone. Here the clock
// goes through; where power counts, a clock gate of the library may take this module's place. A
// simulation that defines NPU_CLOCK_GATED brings the edges itself (sim/verilator/clocks.hpp), and
// evaluates nothing of an idle part.
module npu_clock (
  input  logic clk_i,
  input  logic rst_ni,
  input  logic run_i,
  output logic on_o,
  output logic clk_o
);

`ifdef NPU_CLOCK_GATED
  // In reset there are edges, but nothing to be seen.
  logic clk, on, after_q, up_q;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      after_q <= 1'b1;
      up_q <= 1'b0;
    end else begin
      after_q <= run_i;
      up_q <= 1'b1;
    end
  end
  assign on = run_i || after_q;
  assign on_o = on && up_q;
  assign clk_o = clk;
`else
  assign on_o = 1'b1;
  assign clk_o = clk_i;
  logic unused;
  assign unused = rst_ni ^ run_i;
`endif

endmodule
