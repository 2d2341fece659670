// SPDX-License-Identifier: Apache-2.0
// First-in first-out buffer, DEPTH a power of two. A word written in one cycle can be read in the
// next.
module npu_fifo #(
  parameter int unsigned WIDTH = 8,
  parameter int unsigned DEPTH = 4,
  parameter int unsigned COUNT_BITS = $clog2(DEPTH) + 1
) (
  input  logic                  clk_i,
  input  logic                  rst_ni,
  input  logic                  clear_i,
  input  logic                  in_valid_i,
  output logic                  in_ready_o,
  input  logic [WIDTH-1:0]      in_data_i,
  output logic                  out_valid_o,
  input  logic                  out_ready_i,
  output logic [WIDTH-1:0]      out_data_o,
  output logic [COUNT_BITS-1:0] count_o
);

  localparam int unsigned AW = (DEPTH == 1) ? 1 : $clog2(DEPTH);
  localparam logic [AW-1:0] ONE = AW'((DEPTH == 1) ? 0 : 1);  // pointers wrap by themselves

  logic [WIDTH-1:0] mem_q [DEPTH];
  logic [AW-1:0] head_q, tail_q;
  logic [COUNT_BITS-1:0] count_q;
  logic push, pop;

  assign in_ready_o = count_q != COUNT_BITS'(DEPTH);
  assign out_valid_o = count_q != '0;
  assign push = in_valid_i && in_ready_o;
  assign pop = out_valid_o && out_ready_i;
  assign out_data_o = mem_q[head_q];
  assign count_o = count_q;

  always_ff @(posedge clk_i) if (push) mem_q[tail_q] <= in_data_i;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      head_q <= '0;
      tail_q <= '0;
      count_q <= '0;
    end else if (clear_i) begin
      head_q <= '0;
      tail_q <= '0;
      count_q <= '0;
    end else if (push || pop) begin
      if (push) tail_q <= tail_q + ONE;
      if (pop) head_q <= head_q + ONE;
      count_q <= count_q + COUNT_BITS'(push) - COUNT_BITS'(pop);
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) count_q <= COUNT_BITS'(DEPTH));
`endif

endmodule
