// SPDX-License-Identifier: Apache-2.0
// npu_axi_write with few bursts in flight and little patience; a memory that obeys AXI4.
// GUIDED = 1 narrows what the outside does, so that a situation deep in time is found: for covers alone.
module formal_axi_write #(
  parameter int unsigned BUS_BYTES = 8,
  parameter int unsigned DEPTH = 32,
  parameter int unsigned BURSTS = 2,
  parameter int unsigned PATIENCE = 2,
  parameter int unsigned GUIDED = 0
) (
  input logic                     clk_i,
  input logic                     rst_ni,
  input logic                     clear_i,
  input logic                     flush_i,
  input logic [1:0]               wr_valid_i,
  input logic [2*32-1:0]          wr_addr_i,
  input logic [2*BUS_BYTES*8-1:0] wr_data_i,
  input logic [2*BUS_BYTES-1:0]   wr_strb_i,
  input logic                     awready_i,
  input logic                     wready_i,
  input logic                     bvalid_i,
  input logic [3:0]               bid_i,
  input logic [1:0]               bresp_i,
  input logic                     watch_i
);
  localparam int unsigned DATA = BUS_BYTES * 8;
  localparam int unsigned WB = $clog2(BUS_BYTES);

  logic [1:0] wr_ready;
  logic awvalid, wvalid, wlast, bready, idle, quiet, stray, error, error_client, waiting, progress, cnt_beats;
  logic [3:0] awid;
  logic [31:0] awaddr;
  logic [7:0] awlen;
  logic [2:0] awsize;
  logic [1:0] awburst;
  logic [DATA-1:0] wdata;
  logic [BUS_BYTES-1:0] wstrb;
  logic [6:0] cnt_bytes;
  npu_axi_write #(.BUS_BYTES(BUS_BYTES), .DEPTH(DEPTH), .BURSTS(BURSTS), .PATIENCE(PATIENCE)) dut (
    .clk_i, .rst_ni, .clear_i, .flush_i, .wr_valid_i, .wr_ready_o(wr_ready), .wr_addr_i, .wr_data_i, .wr_strb_i,
    .awvalid_o(awvalid), .awready_i, .awid_o(awid), .awaddr_o(awaddr), .awlen_o(awlen), .awsize_o(awsize),
    .awburst_o(awburst), .wvalid_o(wvalid), .wready_i, .wdata_o(wdata), .wstrb_o(wstrb), .wlast_o(wlast),
    .bvalid_i, .bready_o(bready), .bid_i, .bresp_i, .idle_o(idle), .quiet_o(quiet), .stray_o(stray), .error_o(error),
    .error_client_o(error_client), .waiting_o(waiting), .progress_o(progress), .cnt_beats_o(cnt_beats),
    .cnt_bytes_o(cnt_bytes)
  );
  (* hierconn *) wire [$clog2(BURSTS):0] \dut.flight_q ;
  logic unused;
  assign unused = ^{error_client, waiting, progress, cnt_beats, cnt_bytes};

  logic begun_q = 1'b0;
  always_ff @(posedge clk_i) begun_q <= 1'b1;
  always_comb if (!begun_q) assume (!rst_ni);

  // ---- The clients keep a word until it is taken; a clear throws it away. Addresses are those of bus words.
  logic [1:0] held_q;
  logic [2*32-1:0] held_addr_q;
  logic [2*DATA-1:0] held_data_q;
  logic [2*BUS_BYTES-1:0] held_strb_q;
  always_ff @(posedge clk_i) begin
    held_q <= (rst_ni && !clear_i) ? wr_valid_i & ~wr_ready : '0;
    held_addr_q <= wr_addr_i;
    held_data_q <= wr_data_i;
    held_strb_q <= wr_strb_i;
  end
  for (genvar c = 0; c < 2; c++) begin : gen_client
    always_comb begin
      if (wr_valid_i[c]) assume (wr_addr_i[c*32 +: WB] == '0 && wr_addr_i[c*32+13 +: 19] == '0);  // two pages
      if (held_q[c]) begin
        assume (wr_valid_i[c]);
        assume (wr_addr_i[c*32 +: 32] == held_addr_q[c*32 +: 32]);
        assume (wr_data_i[c*DATA +: DATA] == held_data_q[c*DATA +: DATA]);
        assume (wr_strb_i[c*BUS_BYTES +: BUS_BYTES] == held_strb_q[c*BUS_BYTES +: BUS_BYTES]);
      end
    end
  end

  // ---- Guided: one client with word after word, a memory that takes everything at once, no clear.
  if (GUIDED != 0) begin : gen_guided
    logic [9:0] word_q;
    always_ff @(posedge clk_i) word_q <= rst_ni ? word_q + 10'(wr_ready[0]) : '0;
    always_comb begin
      assume (rst_ni == begun_q && !clear_i && !flush_i && awready_i && wready_i);
      assume (wr_valid_i == 2'b01 && wr_addr_i[WB +: 10] == word_q && wr_strb_i[0 +: BUS_BYTES] == '1);
    end
  end

  // ---- The memory: bursts whose address was taken, oldest first; written: as many of them have all their words. One of
  // those is answered at a time, in order of the addresses (a client has its own ID, so between IDs any order is legal,
  // which the second place in the queue stands for).
  logic aw, w, b, swap;
  assign aw = awvalid && awready_i;
  assign w = wvalid && wready_i;
  assign b = bvalid_i && bready;
  logic [3:0] bursts_q, written_q, beat_q;   // unanswered; of them with all words; words of the next one that came
  logic [3:0] id0_q, id1_q;                  // of the oldest two
  logic [7:0] len0_q, len1_q;                // of the oldest two that have not all words
  logic [31:0] base0_q, base1_q;
  logic [3:0] open;                          // addresses taken whose words are not all here
  assign open = bursts_q - written_q;
  assign swap = bvalid_i && (bid_i != id0_q);  // the second is answered first
  logic ends;
  assign ends = w && wlast;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      bursts_q <= '0;
      written_q <= '0;
      beat_q <= '0;
    end else begin
      bursts_q <= bursts_q + 4'(aw) - 4'(b);
      written_q <= written_q + 4'(ends) - 4'(b);
      if (w) beat_q <= wlast ? '0 : beat_q + 4'd1;
    end
    // identities of the unanswered
    if (b) begin
      if (!swap) id0_q <= id1_q;
      if (aw && bursts_q == 4'd1) id0_q <= awid;
      if (aw && bursts_q == 4'd2) id1_q <= awid;
    end else if (aw) begin
      if (bursts_q == 4'd0) id0_q <= awid;
      if (bursts_q == 4'd1) id1_q <= awid;
    end
    // lengths and addresses of those without all words
    if (ends) begin
      len0_q <= len1_q;
      base0_q <= base1_q;
    end
    if (aw && open - 4'(ends) == 4'd0) begin
      len0_q <= awlen;
      base0_q <= awaddr;
    end
    if (aw && open - 4'(ends) == 4'd1) begin
      len1_q <= awlen;
      base1_q <= awaddr;
    end
  end
  always_comb begin
    if (bvalid_i) begin
      assume (rst_ni);
      assume ((written_q != '0 && bid_i == id0_q) || (written_q == 4'd2 && bid_i == id1_q));
    end
  end

  // ---- Words on their way, and a chosen one.
  logic accept, sel;
  logic [31:0] in_addr;
  logic [DATA-1:0] in_data;
  logic [BUS_BYTES-1:0] in_strb;
  assign accept = (wr_valid_i & wr_ready) != '0;
  assign sel = !(wr_valid_i[0] && wr_ready[0]);
  assign in_addr = sel ? wr_addr_i[63:32] : wr_addr_i[31:0];
  assign in_data = sel ? wr_data_i[DATA +: DATA] : wr_data_i[0 +: DATA];
  assign in_strb = sel ? wr_strb_i[BUS_BYTES +: BUS_BYTES] : wr_strb_i[0 +: BUS_BYTES];
  logic [6:0] inside_q;       // accepted, not yet on the bus
  logic [6:0] promised_q;     // words of bursts whose address was taken, not yet on the bus
  logic chosen_q, dropped_q;  // dropped: a clear came since
  logic [6:0] ahead_q;
  logic [31:0] addr_q;
  logic [DATA-1:0] data_q;
  logic [BUS_BYTES-1:0] strb_q;
  logic mine_q;
  // What was offered and not taken.
  logic aw_waits_q, w_waits_q, cleared_q;
  logic [3:0] awid_q;
  logic [31:0] awaddr_q;
  logic [7:0] awlen_q;
  logic [4:0] aw_rest_q;
  logic [DATA-1:0] wdata_q;
  logic [BUS_BYTES-1:0] wstrb_q;
  logic wlast_q, drop_q;
  logic [5:0] lazy_q;         // cycles without anything on the bus though nothing hinders
  always_ff @(posedge clk_i) begin
    awid_q <= awid;
    awaddr_q <= awaddr;
    awlen_q <= awlen;
    aw_rest_q <= {awsize, awburst};
    wdata_q <= wdata;
    wstrb_q <= wstrb;
    wlast_q <= wlast;
    if (!rst_ni) begin
      aw_waits_q <= 1'b0;
      w_waits_q <= 1'b0;
      inside_q <= '0;
      promised_q <= '0;
      chosen_q <= 1'b0;
      drop_q <= 1'b0;
      cleared_q <= 1'b0;
      lazy_q <= '0;
    end else begin
      aw_waits_q <= awvalid && !awready_i;
      w_waits_q <= wvalid && !wready_i;
      inside_q <= inside_q + 7'(accept) - 7'(w);
      promised_q <= promised_q + (aw ? 7'(awlen) + 7'd1 : '0) - 7'(w);
      // Between a clear and quiet.
      if (clear_i) drop_q <= 1'b1;
      else if (quiet) drop_q <= 1'b0;
      cleared_q <= clear_i || (cleared_q && !(inside_q == '0 && bursts_q == '0));
      lazy_q <= (accept || awvalid || wvalid || inside_q == '0 || bursts_q == 4'(BURSTS)) ? '0 : lazy_q + 6'd1;
      if (accept && watch_i && !chosen_q) begin
        chosen_q <= 1'b1;
        dropped_q <= 1'b0;
        ahead_q <= inside_q - 7'(w);
        addr_q <= in_addr;
        data_q <= in_data;
        strb_q <= in_strb;
        mine_q <= sel;
      end else if (chosen_q) begin
        if (clear_i) dropped_q <= 1'b1;
        if (w) ahead_q <= ahead_q - 7'd1;
        if (w && ahead_q == '0) chosen_q <= 1'b0;
      end
    end
  end
  logic on_bus;
  assign on_bus = chosen_q && (ahead_q == '0) && wvalid;

  // ---- What must hold.
  always_comb begin
    if (begun_q && !rst_ni) valid_reset: assert (!awvalid && !wvalid);
    if (begun_q && rst_ni) begin
      aw_stable: assert (!aw_waits_q || (awvalid && awid == awid_q && awaddr == awaddr_q && awlen == awlen_q &&
                                         {awsize, awburst} == aw_rest_q));
      w_stable: assert (!w_waits_q || (wvalid && wdata == wdata_q && wstrb == wstrb_q && wlast == wlast_q));
      aw_length: assert (!awvalid || awlen < 8'd16);
      aw_page: assert (!awvalid || 32'(awaddr[11:0]) + (32'(awlen) + 32'd1) * BUS_BYTES <= 32'd4096);
      aw_kind: assert (!awvalid || (awsize == 3'(WB) && awburst == 2'b01 && awid < 4'd2 && awaddr[WB-1:0] == '0));
      b_ready: assert (bready);
      w_after_aw: assert (!wvalid || open != '0);
      w_last: assert (!wvalid || (wlast == (8'(beat_q) == len0_q)));
      aw_has_words: assert (!awvalid || 7'(awlen) + 7'd1 + promised_q <= inside_q);
      outstanding_bounded: assert (bursts_q <= 4'(BURSTS) && !(awvalid && bursts_q == 4'(BURSTS)));
      outstanding_counted: assert (4'(\dut.flight_q ) == bursts_q);
      nothing_taken_while_dropping: assert (!((clear_i || !quiet) && wr_ready != '0));
      no_stray: assert (!stray);
      idle_means_nothing_left: assert (!idle || (inside_q == '0 && bursts_q == '0));
      quiet_means_nothing_left: assert (!(cleared_q && quiet && (inside_q != '0 || bursts_q != '0)));
      no_error_while_dropping: assert (!(error && (clear_i || !quiet)));
      room: assert (inside_q <= 7'(DEPTH));
      chosen_place: assert (!on_bus || (base0_q + 32'(beat_q) * BUS_BYTES == addr_q));
      chosen_data: assert (!on_bus || wdata == data_q);
      chosen_strobe: assert (!on_bus || dropped_q || wstrb == strb_q);
      dropped_strobe: assert (!on_bus || !dropped_q || wstrb == '0 || w_waits_q);
      one_client: assert ($countones(wr_ready) <= 1 && (wr_ready & ~wr_valid_i) == '0);
      goes_out: assert (lazy_q <= 6'(PATIENCE + 4));
    end
    if (begun_q && rst_ni) begin
      full_burst: cover (on_bus && w && wlast && beat_q == 4'd15);
      two_in_flight: cover (bursts_q == 4'd2 && written_q == 4'd2 && bvalid_i && swap);
      clear_while_waiting: cover (w_waits_q && !quiet && wstrb != '0);
      quiet_again: cover (chosen_q && strb_q != '0 && drop_seen_q && on_bus && w && !dropped_q);
    end
  end
  logic drop_seen_q;
  always_ff @(posedge clk_i) drop_seen_q <= rst_ni && (drop_seen_q || (!quiet && inside_q > 7'd2));
endmodule
