// SPDX-License-Identifier: Apache-2.0
// Collects a stream of bytes into bus words with byte enables; a stream may begin and end anywhere
// in a word. Bytes wait in a word until it is full, so memory sees every word of a stream once.
// Streams that follow each other without start_i go to consecutive addresses: the rows of a tensor.
module npu_pack #(
  parameter int unsigned BUS_BYTES = npu_pkg::BUS_BYTES_DEFAULT,
  parameter int unsigned LANES = 4,  // bytes per cycle, below BUS_BYTES
  localparam int unsigned CB = $clog2(LANES + 1)
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic                   clear_i,
  input  logic                   start_i,    // takes the address of the first byte; only when idle
  input  logic [31:0]            addr_i,
  input  logic                   valid_i,
  output logic                   ready_o,
  input  logic [LANES*8-1:0]     bytes_i,
  input  logic [CB-1:0]          count_i,    // 1..LANES
  // ends the stream: what there is goes out, the next byte begins a new word access
  input  logic                   last_i,
  output logic                   idle_o,     // nothing is held
  output logic                   wr_valid_o,
  input  logic                   wr_ready_i,
  output logic [31:0]            wr_addr_o,
  output logic [BUS_BYTES*8-1:0] wr_data_o,
  output logic [BUS_BYTES-1:0]   wr_strb_o
);

  localparam int unsigned WB = $clog2(BUS_BYTES);
  localparam int unsigned SIZE = BUS_BYTES + LANES;

  // The word being filled, which of its bytes are there, and the place of the next one.
  logic [BUS_BYTES*8-1:0] data_q;
  logic [BUS_BYTES-1:0] strb_q;
  logic [WB-1:0] pos_q;
  logic [31-WB:0] word_q;
  logic flush_q;  // a last part spilled into a word of its own

  logic [SIZE*8-1:0] data;
  logic [SIZE-1:0] strb;
  logic [LANES-1:0] lanes;
  logic [LANES*8-1:0] byte_mask;
  logic [WB:0] pos_end;
  logic accept, full, emit, out_free;

  // A last part that spills over needs a cycle of its own to go out, in which nothing is taken.
  assign out_free = !wr_valid_o || wr_ready_i;
  assign ready_o = out_free && !flush_q;
  assign accept = valid_i && ready_o;
  // The held word with the new bytes behind its last one; what does not fit is the next word's
  // beginning. A word goes out when it is full, or with the stream's last byte. A byte goes to its
  // place by a shift; bytes and strobes that are not given stay zero, so the merge is an OR.
  always_comb begin
    data = {{LANES{8'd0}}, data_q};
    strb = {{LANES{1'b0}}, strb_q};
    lanes = '0;
    byte_mask = '0;
    pos_end = '0;
    full = 1'b0;
    emit = flush_q && out_free;
    if (accept) begin
      for (int unsigned i = 0; i < LANES; i++) begin
        lanes[i] = CB'(i) < count_i;
        byte_mask[i*8 +: 8] = {8{lanes[i]}};
      end
      pos_end = {1'b0, pos_q} + (WB + 1)'(count_i);
      full = pos_end[WB];
      emit = full || last_i;
      data = data | ({{BUS_BYTES{8'd0}}, bytes_i & byte_mask} << {pos_q, 3'd0});
      strb = strb | ({{BUS_BYTES{1'b0}}, lanes} << pos_q);
    end
  end
  // A command is complete only when this says so.
  assign idle_o = !wr_valid_o && !flush_q && (strb_q == '0);

  logic spill;  // bytes for the next word
  assign spill = strb[SIZE-1:BUS_BYTES] != '0;

  // After a word has left, the bytes that did not fit become the beginning of the next one. Where
  // the stream ends with such bytes, flush_q sends them out a cycle later.
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      data_q <= '0;
      strb_q <= '0;
      pos_q <= '0;
      flush_q <= 1'b0;
      wr_valid_o <= 1'b0;
    end else if (clear_i) begin
      data_q <= '0;
      strb_q <= '0;
      flush_q <= 1'b0;
      wr_valid_o <= 1'b0;
    end else begin
      if (start_i) pos_q <= addr_i[WB-1:0];
      else if (accept) pos_q <= pos_end[WB-1:0];
      if (emit) begin
        data_q <= {{(BUS_BYTES-LANES){8'd0}}, data[SIZE*8-1:BUS_BYTES*8]};
        strb_q <= {{(BUS_BYTES-LANES){1'b0}}, strb[SIZE-1:BUS_BYTES]};
        flush_q <= accept && last_i && spill;
      end else if (accept) begin
        data_q <= data[BUS_BYTES*8-1:0];
        strb_q <= strb[BUS_BYTES-1:0];
      end
      if (emit) wr_valid_o <= 1'b1;
      else if (wr_ready_i) wr_valid_o <= 1'b0;
    end
  end
  // The word's address is that of the first byte and counts up with every full word.
  always_ff @(posedge clk_i) begin
    if (accept && full) word_q <= word_q + 1'b1;
    else if (start_i) word_q <= addr_i[31:WB];
    if (emit) begin
      wr_addr_o <= {word_q, {WB{1'b0}}};
      wr_data_o <= data[BUS_BYTES*8-1:0];
      wr_strb_o <= strb[BUS_BYTES-1:0];
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                   valid_i |-> count_i != '0 && count_i <= CB'(LANES));
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                   wr_valid_o && !wr_ready_i |=> wr_valid_o && $stable(wr_data_o) &&
                       $stable(wr_addr_o) && $stable(wr_strb_o));
`endif

endmodule
