// SPDX-License-Identifier: Apache-2.0
// An input of a part that has a clock of its own (npu_clock). Here it is a wire: out_o is in_i. A
// simulation that defines NPU_CLOCK_GATED keeps what the part last saw while it is off, and lets it
// see the present at an event of its own (npu_wake), so that nothing of an idle part is evaluated
// because its surroundings move. What the part puts out meanwhile is what it put out in its last
// cycle, in which nothing was asked of it any more.
module npu_hold #(
  parameter int unsigned WIDTH = 1
) (
  input  logic             rst_ni,
  input  logic             on_i,
  input  logic             wake_i,
  input  logic [WIDTH-1:0] in_i,
  output logic [WIDTH-1:0] out_o,
  output logic             differs_o
);

`ifdef NPU_CLOCK_GATED
  always_comb begin
    differs_o = 1'b0;
    if (on_i) differs_o = in_i != out_o;
  end
  // Zeros ask nothing: after a reset, and before the first one.
  initial out_o = '0;
  always_ff @(posedge wake_i or negedge wake_i or negedge rst_ni) begin
    if (!rst_ni) out_o <= '0;
    else out_o <= in_i;
  end
`else
  assign out_o = in_i;
  assign differs_o = 1'b0;
  logic unused;
  assign unused = ^{rst_ni, on_i, wake_i};
`endif

endmodule
