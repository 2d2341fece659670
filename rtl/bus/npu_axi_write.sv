// SPDX-License-Identifier: Apache-2.0
// AXI4 write master for two clients: runs of consecutive words become INCR bursts, several of them
// in flight. A burst goes out once its words are here, so the data channel never waits for a
// client. An AXI write once begun must be finished, so nothing that was promised to the bus is ever
// taken back: after clear_i what is queued is completed with no byte enabled, and nothing new is
// taken until all of it is answered (quiet_o), however long that takes.
module npu_axi_write #(
  parameter int unsigned BUS_BYTES = npu_pkg::BUS_BYTES_DEFAULT,
  parameter int unsigned DEPTH = 64,      // buffered words, at least 32
  parameter int unsigned BURSTS = 16,     // bursts in flight
  parameter int unsigned PATIENCE = 8     // idle cycles after which an unfinished burst goes out
) (
  input  logic                     clk_i,
  input  logic                     rst_ni,
  input  logic                     clear_i,
  input  logic                     flush_i,   // nothing more comes soon: send what there is
  // Clients: 0 store, 1 elem. A word with its byte enables; accepted means buffered here,
  // acknowledged is what idle_o is about.
  input  logic [1:0]               wr_valid_i,
  output logic [1:0]               wr_ready_o,
  input  logic [2*32-1:0]          wr_addr_i,  // aligned to BUS_BYTES
  input  logic [2*BUS_BYTES*8-1:0] wr_data_i,
  input  logic [2*BUS_BYTES-1:0]   wr_strb_i,
  // AXI4
  output logic                     awvalid_o,
  input  logic                     awready_i,
  output logic [3:0]               awid_o,
  output logic [31:0]              awaddr_o,
  output logic [7:0]               awlen_o,
  output logic [2:0]               awsize_o,
  output logic [1:0]               awburst_o,
  output logic                     wvalid_o,
  input  logic                     wready_i,
  output logic [BUS_BYTES*8-1:0]   wdata_o,
  output logic [BUS_BYTES-1:0]     wstrb_o,
  output logic                     wlast_o,
  input  logic                     bvalid_i,
  output logic                     bready_o,
  input  logic [3:0]               bid_i,
  input  logic [1:0]               bresp_i,
  // status
  output logic                     idle_o,          // everything accepted is acknowledged
  output logic                     quiet_o,         // no write from before a clear is left
  output logic                     stray_o,         // an answer came to a write that nobody made
  output logic                     error_o,
  output logic                     error_client_o,
  output logic                     waiting_o,       // something is with the bus
  output logic                     progress_o,
  output logic                     cnt_beats_o,
  output logic [6:0]               cnt_bytes_o      // strobed bytes accepted from the clients
);

  localparam int unsigned WB = $clog2(BUS_BYTES);
  localparam int unsigned PB = 12 - WB;
  localparam int unsigned DATA = BUS_BYTES * 8;
  localparam int unsigned AB = 32 - WB;  // word address
  localparam int unsigned BB = $clog2(BURSTS) + 1;

  // Whole bus words, incrementing addresses; an acknowledgement is always taken.
  assign awsize_o = 3'(WB);
  assign awburst_o = 2'b01;
  assign bready_o = 1'b1;

  // The burst that is being collected: words of one client (0 first), each behind the one before,
  // up to 16 and not across 4 KiB. It is closed when the next word does not fit it, when nothing
  // came for PATIENCE cycles, or by flush_i.
  logic sel, offered, accept, append, close, collecting_q, drop_q;
  logic client_q;
  logic [AB-1:0] addr, first_q, next_q;
  logic [4:0] len_q;
  logic [3:0] idle_q;
  logic room, queue_room;
  logic unused_bits;

  // The two clients never run in one command, so a fixed choice among them starves nobody.
  assign sel = !wr_valid_i[0];
  assign offered = (wr_valid_i != '0) && !drop_q && !clear_i;
  assign addr = sel ? wr_addr_i[63:32+WB] : wr_addr_i[31:WB];
  assign unused_bits = ^{wr_addr_i[32+WB-1:32], wr_addr_i[WB-1:0], bresp_i[0]};
  always_comb begin
    append = 1'b0;
    close = 1'b0;
    if (collecting_q) begin
      append = (sel == client_q) && (addr == next_q) && (addr[PB-1:0] != '0) && (len_q != 5'd16);
      close = queue_room &&
              ((len_q == 5'd16) || (offered && !append) ||
                  (!offered && (flush_i || idle_q == 4'(PATIENCE))) || drop_q);
    end
  end
  // A word that does not continue the burst is taken in the cycle in which the burst is closed, and
  // begins the next one; so bursts cost no cycle between them.
  assign accept = offered && room && (append || !collecting_q || close);
  assign wr_ready_o = accept ? (sel ? 2'b10 : 2'b01) : 2'b00;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      collecting_q <= 1'b0;
      len_q <= '0;
      idle_q <= '0;
    end else if (accept || collecting_q) begin
      collecting_q <= accept || !close;
      if (accept) len_q <= append ? len_q + 5'd1 : 5'd1;
      idle_q <= (accept || close) ? '0 : (idle_q == 4'(PATIENCE)) ? idle_q : idle_q + 4'd1;
    end
  end
  // next_q is the word address that would continue the burst.
  always_ff @(posedge clk_i) begin
    if (accept) begin
      next_q <= addr + 1'b1;
      if (!append) begin
        first_q <= addr;
        client_q <= sel;
      end
    end
  end

  // Words and closed bursts. None of the buffers is emptied by clear_i: see the answers below.
  logic word_valid, word_pop, burst_valid, burst_pop, beats_ready, beats_valid, last_beat;
  logic [DATA-1:0] in_data;
  logic [BUS_BYTES-1:0] in_strb, strb;
  logic burst_client;
  logic [AB-1:0] burst_addr;
  logic [3:0] burst_len, beats_len;
  logic [3:0] len_less_one;
  assign len_less_one = 4'(len_q - 5'd1);
  assign in_data = sel ? wr_data_i[DATA +: DATA] : wr_data_i[0 +: DATA];
  assign in_strb = sel ? wr_strb_i[BUS_BYTES +: BUS_BYTES] : wr_strb_i[0 +: BUS_BYTES];

  npu_fifo #(.WIDTH(DATA + BUS_BYTES), .DEPTH(DEPTH)) u_words (
    .clk_i, .rst_ni, .clear_i(1'b0), .push_valid_i(accept), .push_ready_o(room),
    .push_data_i({in_strb, in_data}), .pop_valid_o(word_valid), .pop_ready_i(word_pop),
    .pop_data_o({strb, wdata_o})
  );
  npu_fifo #(.WIDTH(1 + AB + 4), .DEPTH(4)) u_bursts (
    .clk_i, .rst_ni, .clear_i(1'b0), .push_valid_i(close), .push_ready_o(queue_room),
    .push_data_i({client_q, first_q, len_less_one}), .pop_valid_o(burst_valid),
    .pop_ready_i(burst_pop), .pop_data_o({burst_client, burst_addr, burst_len})
  );
  // Bursts whose address went out and whose data follows.
  npu_fifo #(.WIDTH(4), .DEPTH(BURSTS)) u_beats (
    .clk_i, .rst_ni, .clear_i(1'b0), .push_valid_i(burst_pop), .push_ready_o(beats_ready),
    .push_data_i(burst_len), .pop_valid_o(beats_valid), .pop_ready_i(last_beat && word_pop),
    .pop_data_o(beats_len)
  );

  // Address channel: a closed burst goes out while fewer than BURSTS are unanswered. flight_q
  // counts bursts from their address to their acknowledgement.
  logic drained, done;
  logic [BB-1:0] flight_q;
  assign awvalid_o = burst_valid && beats_ready && (flight_q != BB'(BURSTS));
  assign awid_o = {3'b000, burst_client};
  assign awaddr_o = {burst_addr, {WB{1'b0}}};
  assign awlen_o = {4'd0, burst_len};
  assign burst_pop = awvalid_o && awready_i;

  // Data channel: the words of the bursts whose address went out, in the same order. The last beat
  // of a burst is found by counting, for words carry no mark of their own.
  // A beat that waits for the bus when a clear comes keeps the byte enables it was offered with.
  logic [3:0] beat_q;
  logic offered_q;
  assign wvalid_o = beats_valid && word_valid;
  assign word_pop = wvalid_o && wready_i;
  assign last_beat = beat_q == beats_len;
  assign wlast_o = last_beat;
  assign wstrb_o = (drop_q && !offered_q) ? '0 : strb;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      beat_q <= '0;
      offered_q <= 1'b0;
    end else begin
      if (word_pop) beat_q <= last_beat ? '0 : beat_q + 4'd1;
      offered_q <= wvalid_o && !wready_i && (!drop_q || offered_q);
    end
  end

  // Answers. After a clear what is here still goes out, without strobes, and drop_q stays until all
  // of it is answered. idle_o is what a command's end waits for: nothing collected, buffered, on its
  // way or unanswered.
  assign done = bvalid_i && (flight_q != '0);
  assign stray_o = bvalid_i && ((flight_q == '0) || (bid_i[3:1] != '0));
  assign error_o = done && bresp_i[1] && !drop_q && !clear_i;
  assign error_client_o = bid_i[0];
  assign drained = !collecting_q && !burst_valid && !beats_valid && !word_valid;
  assign idle_o = drained && (flight_q == '0) && !drop_q;
  assign quiet_o = !drop_q;
  assign waiting_o = !idle_o;
  assign progress_o = burst_pop || word_pop || bvalid_i;
  assign cnt_beats_o = word_pop && !drop_q;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      drop_q <= 1'b0;
      flight_q <= '0;
    end else begin
      if (burst_pop || bvalid_i) flight_q <= flight_q + BB'(burst_pop) - BB'(done);
      if (clear_i) drop_q <= 1'b1;
      else if (drop_q && drained && (flight_q == '0)) drop_q <= 1'b0;
    end
  end

  // ACT_WRITE_BYTES and UPDATE_WRITE_BYTES count enabled bytes when they are accepted.
  always_comb begin
    cnt_bytes_o = '0;
    if (accept)
      for (int unsigned i = 0; i < BUS_BYTES; i++) cnt_bytes_o = cnt_bytes_o + {6'd0, in_strb[i]};
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni)
                   awvalid_o && !awready_i |=> awvalid_o && $stable(awaddr_o) && $stable(awlen_o) &&
                       $stable(awid_o) && $stable(awsize_o) && $stable(awburst_o));
  // No burst crosses 4 KiB.
  assert property (@(posedge clk_i) disable iff (!rst_ni)
                   awvalid_o |-> 32'(awaddr_o[11:0]) + (32'(awlen_o) + 32'd1) * BUS_BYTES <=
                       32'd4096);
  assert property (@(posedge clk_i) disable iff (!rst_ni)
                   wvalid_o && !wready_i |=> wvalid_o && $stable(wdata_o) && $stable(wstrb_o) &&
                       $stable(wlast_o));
  assert property (@(posedge clk_i) disable iff (!rst_ni) wvalid_o |-> flight_q != '0);
  assert property (@(posedge clk_i) disable iff (!rst_ni) drop_q |-> wr_ready_o == '0);
  for (genvar c = 0; c < 2; c++) begin : gen_stable
    assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                     wr_valid_i[c] && !wr_ready_o[c] |=>
                     wr_valid_i[c] && $stable(wr_addr_i[c*32 +: 32]) &&
                         $stable(wr_data_i[c*DATA +: DATA]) &&
                         $stable(wr_strb_i[c*BUS_BYTES +: BUS_BYTES]));
    assert property (@(posedge clk_i) disable iff (!rst_ni)
                     wr_valid_i[c] |-> wr_addr_i[c*32 +: WB] == '0);
  end
`endif

endmodule
