// SPDX-License-Identifier: Apache-2.0
// A few tokens between two processes, in order. Both sides are registered: no path from push to pop
// or from pop to push.
module npu_queue #(
  parameter int unsigned WIDTH = 8,
  parameter int unsigned DEPTH = 4  // power of two
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             clear_i,
  input  logic             push_valid_i,
  output logic             push_ready_o,
  input  logic [WIDTH-1:0] push_data_i,
  output logic             pop_valid_o,
  input  logic             pop_ready_i,
  output logic [WIDTH-1:0] pop_data_o
);

  localparam int unsigned PW = (DEPTH < 2) ? 1 : $clog2(DEPTH);
  localparam logic [PW-1:0] ONE = PW'((DEPTH < 2) ? 0 : 1);  // pointers wrap by themselves

  logic [WIDTH-1:0] mem_q [DEPTH];
  logic [PW-1:0] wr_q, rd_q;
  logic [PW:0] level_q;
  logic push, pop;

  assign push_ready_o = (level_q != (PW + 1)'(DEPTH));
  assign pop_valid_o = (level_q != '0);
  assign pop_data_o = mem_q[rd_q];
  assign push = push_valid_i && push_ready_o;
  assign pop = pop_valid_o && pop_ready_i;

  always_ff @(posedge clk_i) if (push) mem_q[wr_q] <= push_data_i;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      wr_q <= '0;
      rd_q <= '0;
      level_q <= '0;
    end else if (clear_i) begin
      wr_q <= '0;
      rd_q <= '0;
      level_q <= '0;
    end else if (push || pop) begin
      if (push) wr_q <= wr_q + ONE;
      if (pop) rd_q <= rd_q + ONE;
      level_q <= level_q + (PW + 1)'(push) - (PW + 1)'(pop);
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) level_q <= (PW + 1)'(DEPTH));
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                   pop_valid_o && !pop_ready_i |=> pop_valid_o && $stable(pop_data_o));
`endif

endmodule
