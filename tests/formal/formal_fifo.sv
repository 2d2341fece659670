// SPDX-License-Identifier: Apache-2.0
// npu_fifo as a box: nothing is assumed but a reset at the beginning, so what is proved holds for any use. A word is
// chosen freely when it is pushed (watch_i); from then on the number of words before it is counted down, and it must
// come out when none is left before it. As the choice is free, that is order and no loss for every word.
module formal_fifo #(
  parameter int unsigned WIDTH = 8,
  parameter int unsigned DEPTH = 4
) (
  input logic             clk_i,
  input logic             rst_ni,
  input logic             clear_i,
  input logic             push_valid_i,
  input logic [WIDTH-1:0] push_data_i,
  input logic             pop_ready_i,
  input logic             watch_i
);
  localparam int unsigned CB = $clog2(DEPTH) + 1;

  logic push_ready, pop_valid;
  logic [WIDTH-1:0] pop_data;
  npu_fifo #(.WIDTH(WIDTH), .DEPTH(DEPTH)) dut (
    .clk_i, .rst_ni, .clear_i, .push_valid_i, .push_ready_o(push_ready), .push_data_i,
    .pop_valid_o(pop_valid), .pop_ready_i, .pop_data_o(pop_data)
  );
  (* hierconn *) wire [CB-1:0] \dut.count_q ;

  logic push, pop, begun_q = 1'b0;
  assign push = push_valid_i && push_ready;
  assign pop = pop_valid && pop_ready_i;

  logic [CB-1:0] held_q;      // words inside
  logic watched_q;            // a word was chosen and is still inside
  logic [CB-1:0] before_q;    // words in front of it
  logic [WIDTH-1:0] word_q;   // its value
  always_ff @(posedge clk_i) begin
    begun_q <= 1'b1;
    if (!rst_ni || clear_i) begin
      held_q <= '0;
      watched_q <= 1'b0;
    end else begin
      held_q <= held_q + CB'(push) - CB'(pop);
      if (push && watch_i && !watched_q) begin
        watched_q <= 1'b1;
        before_q <= held_q - CB'(pop);
        word_q <= push_data_i;
      end else if (watched_q && pop) begin
        if (before_q == '0) watched_q <= 1'b0;
        before_q <= before_q - 1'b1;
      end
    end
  end

  // The cycle before, for what must stay.
  logic waits_q;
  logic [WIDTH-1:0] last_q;
  always_ff @(posedge clk_i) begin
    waits_q <= rst_ni && !clear_i && pop_valid && !pop_ready_i;
    last_q <= pop_data;
  end

  always_comb begin
    if (!begun_q) assume (!rst_ni);
    if (begun_q && rst_ni) begin
      occupancy: assert (\dut.count_q == held_q && held_q <= CB'(DEPTH));
      full: assert (push_ready == (held_q != CB'(DEPTH)));
      empty: assert (pop_valid == (held_q != '0));
      watched_inside: assert (!watched_q || before_q < held_q);
      order: assert (!(watched_q && before_q == '0) || (pop_valid && pop_data == word_q));
      stable: assert (!waits_q || (pop_valid && pop_data == last_q));
    end
    if (begun_q && rst_ni) begin
      fills: cover (held_q == CB'(DEPTH) && watched_q && before_q == CB'(DEPTH - 1));
      comes_out: cover (watched_q && before_q == '0 && pop && word_q == '1);
    end
  end
endmodule
