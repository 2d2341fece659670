// SPDX-License-Identifier: Apache-2.0
// The event at which the inputs of a part (npu_hold) take over the present: an edge of wake_o, and
// another one for as long as any of them differs. Without NPU_CLOCK_GATED inputs never differ.
module npu_wake (
  input  logic rst_ni,
  input  logic differs_i,
  output logic wake_o
);

`ifdef NPU_CLOCK_GATED
  logic wake_q;
  initial wake_q = 1'b0;
  assign wake_o = differs_i ^ wake_q;
  always_ff @(posedge wake_o or negedge wake_o or negedge rst_ni) begin
    if (!rst_ni) wake_q <= 1'b0;
    else wake_q <= wake_o;
  end
`else
  assign wake_o = differs_i;
  logic unused;
  assign unused = rst_ni;
`endif

endmodule
