// SPDX-License-Identifier: Apache-2.0
// First-in first-out buffer for bus words and for tokens between engines. Both sides are
// registered: no path from push to pop or from pop to push, so what is pushed in one cycle can be
// popped in the next, and a full buffer takes nothing in the cycle of a pop. clear_i empties it.
// The word at pop_data_o stays until it is popped.
module npu_fifo #(
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
  logic [PW-1:0] head_q, tail_q;  // next to be popped, next to be written
  logic [PW:0] count_q;
  logic push, pop;

  // Both handshakes depend on registers alone. That costs a place in the cycle of a pop from a full
  // buffer, and in exchange chains of buffers never form long combinational paths.
  assign push_ready_o = (count_q != (PW + 1)'(DEPTH));
  assign pop_valid_o = (count_q != '0);
  assign pop_data_o = mem_q[head_q];
  assign push = push_valid_i && push_ready_o;
  assign pop = pop_valid_o && pop_ready_i;

  // Memory without reset: what it holds counts only between head and tail.
  always_ff @(posedge clk_i) if (push) mem_q[tail_q] <= push_data_i;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      tail_q <= '0;
      head_q <= '0;
      count_q <= '0;
    end else if (clear_i) begin
      tail_q <= '0;
      head_q <= '0;
      count_q <= '0;
    end else if (push || pop) begin
      if (push) tail_q <= tail_q + ONE;
      if (pop) head_q <= head_q + ONE;
      count_q <= count_q + (PW + 1)'(push) - (PW + 1)'(pop);
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) count_q <= (PW + 1)'(DEPTH));
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                   pop_valid_o && !pop_ready_i |=> pop_valid_o && $stable(pop_data_o));
`endif

endmodule
