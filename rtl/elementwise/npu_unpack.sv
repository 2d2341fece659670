// SPDX-License-Identifier: Apache-2.0
// Turns bus words into a stream of bytes that begins anywhere in the first word: up to LANES bytes
// are visible at a time. A word is taken as soon as it fits beside what is left, so a full stream
// never pauses.
module npu_unpack #(
  parameter int unsigned BUS_BYTES = npu_pkg::BUS_BYTES_DEFAULT,
  parameter int unsigned LANES = 4,  // at most BUS_BYTES
  localparam int unsigned CB = $clog2(LANES + 1)
) (
  input  logic                         clk_i,
  input  logic                         rst_ni,
  input  logic                         clear_i,   // before each stream
  input  logic [$clog2(BUS_BYTES)-1:0] skip_i,    // bytes before the stream in its first word; held
  input  logic                         word_valid_i,
  output logic                         word_ready_o,
  input  logic [BUS_BYTES*8-1:0]       word_i,
  output logic [LANES*8-1:0]           bytes_o,
  output logic [CB-1:0]                have_o,    // valid bytes of bytes_o, at most LANES
  input  logic                         take_i,
  input  logic [CB-1:0]                count_i    // bytes taken, at most have_o
);

  localparam int unsigned SIZE = BUS_BYTES + LANES;
  localparam int unsigned FB = $clog2(SIZE + 1);

  // Bytes in the order of the stream, the next one lowest; fill_q says how many. There is room for
  // a word beside LANES bytes that are left over.
  logic [SIZE*8-1:0] buffer_q, kept, word;
  logic [FB-1:0] fill_q, left;
  logic first_q, load;

  assign bytes_o = buffer_q[LANES*8-1:0];
  // In a cycle in which bytes are taken, a word may come in as well if it fits behind the rest.
  assign have_o = (fill_q > FB'(LANES)) ? CB'(LANES) : CB'(fill_q);
  assign left = take_i ? fill_q - FB'(count_i) : fill_q;
  assign word_ready_o = left <= FB'(LANES);
  assign load = word_valid_i && word_ready_o;
  // Bytes that were taken leave below, a new word comes in above what is left. Of a stream's first
  // word the bytes before the stream are dropped.
  always_comb begin
    kept = buffer_q;
    word = '0;
    if (take_i) kept = buffer_q >> {count_i, 3'd0};
    if (load)
      word = first_q ? {{(LANES*8){1'b0}}, word_i >> {skip_i, 3'd0}}
          : {{(LANES*8){1'b0}}, word_i} << {left, 3'd0};
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      fill_q <= '0;
      first_q <= 1'b1;
    end else if (clear_i) begin
      fill_q <= '0;
      first_q <= 1'b1;
    end else if (load || take_i) begin
      fill_q <= left + (!load ? '0 : first_q ? FB'(BUS_BYTES) - FB'(skip_i) : FB'(BUS_BYTES));
      if (load) first_q <= 1'b0;
    end
  end
  // Bytes beyond fill are zero, so that a word can be merged by OR.
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) buffer_q <= '0;
    else if (clear_i) buffer_q <= '0;
    else if (load || take_i) buffer_q <= kept | word;
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i) take_i |-> count_i <= have_o);
`endif

endmodule
