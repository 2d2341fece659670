// SPDX-License-Identifier: Apache-2.0
// One column's accumulators: two halves of ACC_DEPTH words of 40 bits. The array reads and writes
// one half (the read one cycle before the addition), the drain reads the other. 40 bits hold every
// sum that the contract allows (CONTRACT.md, Accumulation), so nothing saturates here and the order
// of the additions does not matter. Two separate memories with one read and one write port each let
// array and drain work at the same time.
module npu_accumulator #(
  parameter int unsigned ACC_DEPTH = npu_pkg::ACC_DEPTH_DEFAULT,
  localparam int unsigned PW = $clog2(ACC_DEPTH)
) (
  input  logic               clk_i,
  input  logic signed [31:0] dot_i,
  input  logic               add_i,
  input  logic               first_i,   // with add_i: overwrite
  input  logic               half_i,    // with add_i
  input  logic [PW-1:0]      wr_pos_i,  // with add_i
  input  logic               rd0_i,     // read half 0, 1
  input  logic               rd1_i,
  input  logic [PW-1:0]      rd0_pos_i,
  input  logic [PW-1:0]      rd1_pos_i,
  output logic signed [39:0] rd0_o,     // one cycle later, kept until the next read
  output logic signed [39:0] rd1_o
);

  logic signed [39:0] mem0 [ACC_DEPTH];
  logic signed [39:0] mem1 [ACC_DEPTH];
  logic signed [39:0] sum;
  // The old sum was read a cycle ago and waits in rd0_o or rd1_o. A block's first k-tile starts
  // from zero instead, so the memories are never cleared.
  assign sum = (first_i ? 40'sd0 : half_i ? rd1_o : rd0_o) + 40'(dot_i);
  // An output keeps its value while the memory is not read: the drain picks one group after the
  // other out of it.
  always_ff @(posedge clk_i) begin
    if (rd0_i) rd0_o <= mem0[rd0_pos_i];
    if (add_i && !half_i) mem0[wr_pos_i] <= sum;
  end
  always_ff @(posedge clk_i) begin
    if (rd1_i) rd1_o <= mem1[rd1_pos_i];
    if (add_i && half_i) mem1[wr_pos_i] <= sum;
  end

endmodule
