// SPDX-License-Identifier: Apache-2.0
// Write combiner: segments of consecutive bytes from any byte address become bus words with byte
// enables. Segments of a run follow each other without a gap; in_last_i ends a run, and its last
// word goes out even if it is not full (words never hold two runs). BUS_WRITE_BEATS counts these
// words (the contract's traffic of outputs and accumulators). A segment is held by its owner until
// in_ready_o.
module npu_store #(
  parameter int unsigned BUS_BYTES = npu_pkg::BUS_BYTES_DEFAULT,
  parameter int unsigned SEG_BYTES = 16,
  localparam int unsigned SW = $clog2(SEG_BYTES + 1)
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic                   clear_i,
  input  logic                   in_valid_i,
  output logic                   in_ready_o,
  input  logic [31:0]            in_addr_i,   // of the segment's first byte
  input  logic [SW-1:0]          in_bytes_i,  // 1..SEG_BYTES
  input  logic [SEG_BYTES*8-1:0] in_data_i,
  input  logic                   in_last_i,
  output logic                   busy_o,
  output logic                   wr_valid_o,
  input  logic                   wr_ready_i,
  output logic [31:0]            wr_addr_o,
  output logic [BUS_BYTES*8-1:0] wr_data_o,
  output logic [BUS_BYTES-1:0]   wr_strb_o
);

  localparam int unsigned LB = $clog2(BUS_BYTES);
  localparam int unsigned WIDE = (SEG_BYTES > BUS_BYTES) ? SEG_BYTES : BUS_BYTES;

  // The piece of the segment that falls into one word: a segment may reach into the next one, and
  // then takes a cycle more. A piece that ends its word, or its run, sends the word out (emit).
  // done_q is how much of the segment earlier words have taken. A word that does not go out needs
  // no room at the output.
  logic [SW-1:0] done_q, left, take;
  logic [31:0] addr;
  logic [LB-1:0] off;
  logic [LB:0] room, end_off;
  logic fits, emit, accept;
  logic [BUS_BYTES*8-1:0] word_q;
  logic [BUS_BYTES-1:0] strb_q, piece_strb;
  logic [WIDE*8-1:0] piece;
  assign addr = in_addr_i + 32'(done_q);
  assign off = addr[LB-1:0];
  assign left = in_bytes_i - done_q;
  assign room = (LB + 1)'(BUS_BYTES) - (LB + 1)'(off);
  assign fits = (32'(left) <= 32'(room));
  assign take = fits ? left : SW'(room);
  assign end_off = (LB + 1)'(off) + (LB + 1)'(take);
  assign emit = (end_off == (LB + 1)'(BUS_BYTES)) || (fits && in_last_i);
  assign accept = in_valid_i && (!emit || !wr_valid_o || wr_ready_i);
  assign in_ready_o = fits && (!emit || !wr_valid_o || wr_ready_i);
  logic [SEG_BYTES*8-1:0] rest;
  always_comb begin
    rest = '0;
    piece = '0;
    piece_strb = '0;
    if (accept) begin
      rest = in_data_i >> {done_q, 3'd0};
      piece = (WIDE * 8)'(rest) << {off, 3'd0};
      piece_strb = ({BUS_BYTES{1'b1}} << off) & ~({BUS_BYTES{1'b1}} << end_off);
    end
  end

  // What is left of a segment, and which bytes of the word are there; word_q holds them until the
  // word goes out.
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      wr_valid_o <= 1'b0;
      done_q <= '0;
      strb_q <= '0;
    end else if (clear_i) begin
      wr_valid_o <= 1'b0;
      done_q <= '0;
      strb_q <= '0;
    end else begin
      // The output register is free again when the write master has taken its word; a new word may
      // replace it in the same cycle.
      if (accept && emit) wr_valid_o <= 1'b1;
      else if (wr_ready_i) wr_valid_o <= 1'b0;
      if (accept) begin
        done_q <= fits ? '0 : done_q + take;
        strb_q <= emit ? '0 : strb_q | piece_strb;
      end
    end
  end
  // A word that goes out is put together from the bytes held so far and the piece of this cycle;
  // bytes without an enable are zero, so that what is on the bus depends on results alone.
  always_ff @(posedge clk_i) begin
    if (accept) begin
      for (int unsigned b = 0; b < BUS_BYTES; b++) begin
        if (piece_strb[b]) word_q[b*8 +: 8] <= piece[b*8 +: 8];
        if (emit)
          wr_data_o[b*8 +: 8] <= piece_strb[b] ? piece[b*8 +: 8]
                                 : strb_q[b] ? word_q[b*8 +: 8] : 8'd0;
      end
      if (emit) begin
        wr_addr_o <= {addr[31:LB], LB'(0)};
        wr_strb_o <= strb_q | piece_strb;
      end
    end
  end
  // A run's end sends everything out, so only a word on its way is left when a command ends.
  assign busy_o = wr_valid_o || (strb_q != '0);

  if (WIDE > BUS_BYTES) begin : gen_unused
    logic unused;
    assign unused = ^piece[WIDE*8-1:BUS_BYTES*8];
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) in_valid_i |-> in_bytes_i != '0);
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                   wr_valid_o && !wr_ready_i |=> wr_valid_o && $stable(wr_addr_o) &&
                       $stable(wr_data_o) && $stable(wr_strb_o));
`endif

endmodule
