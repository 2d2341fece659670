// SPDX-License-Identifier: Apache-2.0
// npu_axi_read with its six clients and their buffers, each as small as is legal (16 words).
// LEGAL = 1: a memory that obeys AXI4; LEGAL = 0: one that sends any beat at any time.
module formal_axi_read #(
  parameter int unsigned BUS_BYTES = 8,
  parameter int unsigned DEPTH = 16,
  parameter int unsigned LEGAL = 1
) (
  input logic                     clk_i,
  input logic                     rst_ni,
  input logic                     clear_i,
  input logic [5:0]               req_valid_i,
  input logic [6*32-1:0]          req_addr_i,
  input logic [6*24-1:0]          req_bytes_i,
  input logic [5:0]               rsp_ready_i,
  input logic                     arready_i,
  input logic                     rvalid_i,
  input logic [3:0]               rid_i,
  input logic [BUS_BYTES*8-1:0]   rdata_i,
  input logic [1:0]               rresp_i,
  input logic                     rlast_i,
  input logic                     watch_request_i,
  input logic                     watch_beat_i
);
  localparam int unsigned CLIENTS = 6;
  localparam int unsigned DATA = BUS_BYTES * 8;
  localparam int unsigned WB = $clog2(BUS_BYTES);

  logic [CLIENTS-1:0] req_ready, rsp_valid, rsp_last, cnt_words;
  logic [CLIENTS*DATA-1:0] rsp_data;
  logic arvalid, rready, cnt_beats, progress;
  logic [3:0] arid;
  logic [31:0] araddr;
  logic [7:0] arlen;
  logic [2:0] arsize;
  logic [1:0] arburst;
  npu_types::read_status_t status;
  npu_axi_read #(
    .BUS_BYTES(BUS_BYTES), .FETCH_DEPTH(DEPTH), .LOAD_DEPTH(DEPTH), .WEIGHT_DEPTH(DEPTH), .PARAM_DEPTH(DEPTH),
    .RES_DEPTH(DEPTH), .ELEM_DEPTH(DEPTH)
  ) dut (
    .clk_i, .rst_ni, .clear_i, .req_valid_i, .req_ready_o(req_ready), .req_addr_i, .req_bytes_i,
    .rsp_valid_o(rsp_valid), .rsp_ready_i, .rsp_data_o(rsp_data), .rsp_last_o(rsp_last),
    .arvalid_o(arvalid), .arready_i, .arid_o(arid), .araddr_o(araddr), .arlen_o(arlen), .arsize_o(arsize),
    .arburst_o(arburst), .rvalid_i, .rready_o(rready), .rid_i, .rdata_i, .rresp_i, .rlast_i,
    .status_o(status), .progress_o(progress), .cnt_words_o(cnt_words), .cnt_beats_o(cnt_beats)
  );
  (* hierconn *) wire [7:0] \dut.flight_q ;
  logic unused;
  assign unused = ^{progress, cnt_beats, rresp_i};

  logic begun_q = 1'b0;
  always_ff @(posedge clk_i) begun_q <= 1'b1;

  // ---- The clients keep a request until it is taken; a clear throws everything away.
  logic [CLIENTS-1:0] held_q;
  logic [CLIENTS*32-1:0] held_addr_q;
  logic [CLIENTS*24-1:0] held_bytes_q;
  always_ff @(posedge clk_i) begin
    held_q <= (rst_ni && !clear_i) ? req_valid_i & ~req_ready : '0;
    held_addr_q <= req_addr_i;
    held_bytes_q <= req_bytes_i;
  end
  for (genvar c = 0; c < CLIENTS; c++) begin : gen_client
    always_comb begin
      // short requests in two pages: neither length nor place matters beyond
      if (req_valid_i[c]) begin
        assume (req_bytes_i[c*24 +: 24] != '0 && req_bytes_i[c*24+9 +: 15] == '0);
        assume (req_addr_i[c*32+13 +: 19] == '0);
      end
      if (held_q[c]) begin
        assume (req_valid_i[c]);
        assume (req_addr_i[c*32 +: 32] == held_addr_q[c*32 +: 32]);
        assume (req_bytes_i[c*24 +: 24] == held_bytes_q[c*24 +: 24]);
      end
    end
  end
  always_comb if (!begun_q) assume (!rst_ni);

  // ---- The memory: for each ID the beats that are due, and which of them are the last of a burst. Beats of an ID come
  // in the order of its addresses; those of different IDs may be mixed.
  logic [CLIENTS-1:0] due, due_last;     // a beat of this ID may come; it is the last of its burst
  logic [CLIENTS-1:0] fits;              // never more beats due than the buffer has words
  logic taken;
  assign taken = arvalid && arready_i;
  for (genvar c = 0; c < CLIENTS; c++) begin : gen_memory
    logic [4:0] left_q, after_beat;
    logic [15:0] marks_q, marks_after;
    logic beat, add;
    assign beat = rvalid_i && rid_i == 4'(c) && (left_q != '0);
    assign add = taken && (arid == 4'(c));
    assign after_beat = left_q - 5'(beat);
    assign marks_after = beat ? marks_q >> 1 : marks_q;
    assign due[c] = left_q != '0;
    assign due_last[c] = marks_q[0];
    assign fits[c] = 32'(left_q) + ((arvalid && (arid == 4'(c))) ? 32'(arlen) + 32'd1 : 32'd0) <= DEPTH;
    always_ff @(posedge clk_i) begin
      if (!rst_ni) begin
        left_q <= '0;
        marks_q <= '0;
      end else begin
        left_q <= after_beat + (add ? arlen[4:0] + 5'd1 : '0);
        marks_q <= marks_after | (add ? 16'd1 << (after_beat + arlen[4:0]) : '0);
      end
    end
  end
  logic [7:0] due_by_id, last_by_id;
  assign due_by_id = 8'(due);
  assign last_by_id = 8'(due_last);
  if (LEGAL != 0) begin : gen_legal
    always_comb
      if (rvalid_i) assume (rst_ni && !rid_i[3] && due_by_id[rid_i[2:0]] && rlast_i == last_by_id[rid_i[2:0]]);
  end

  // ---- Bursts of all clients on the bus; those of them from before a clear.
  logic [7:0] bus_q, old_q, out;
  logic ends, fresh, offered_q;
  assign out = bus_q + 8'(arvalid);
  assign ends = rvalid_i && rlast_i && !status.stray;
  assign fresh = arvalid && !offered_q;     // a burst that was not offered before
  logic [1:0] drained_q;                    // cycles since nothing old was left
  logic blocked_q;                          // nothing may be offered in this cycle for the first time
  logic [3:0] arid_q;
  logic [31:0] araddr_q;
  logic [7:0] arlen_q;
  logic [4:0] ar_rest_q;
  always_ff @(posedge clk_i) begin
    arid_q <= arid;
    araddr_q <= araddr;
    arlen_q <= arlen;
    ar_rest_q <= {arsize, arburst};
    if (!rst_ni) begin
      bus_q <= '0;
      old_q <= '0;
      offered_q <= 1'b0;
      blocked_q <= 1'b0;
      drained_q <= '0;
    end else begin
      bus_q <= bus_q + 8'(taken) - 8'(ends);
      old_q <= clear_i ? out - 8'(ends) : old_q - 8'(ends && old_q != '0);
      offered_q <= arvalid && !arready_i;
      blocked_q <= clear_i || !status.quiet;
      drained_q <= (clear_i || old_q != '0) ? '0 : (drained_q == 2'd3) ? 2'd3 : drained_q + 2'd1;
    end
  end

  // ---- One client of the six, any of them: its requests and beats.
  (* anyconst *) logic [2:0] who;
  always_comb assume (who < 3'd6);
  logic [31:0] addr;
  logic [23:0] bytes;
  logic take, valid, last, pop, arrive, mine;
  logic [DATA-1:0] data;
  logic [11:0] asked, burst;  // words
  always_comb begin
    addr = '0;
    bytes = '0;
    data = '0;
    for (int unsigned c = 0; c < CLIENTS; c++) begin
      if (who == 3'(c)) begin
        addr = req_addr_i[c*32 +: 32];
        bytes = req_bytes_i[c*24 +: 24];
        data = rsp_data[c*DATA +: DATA];
      end
    end
  end
  assign take = req_valid_i[who] && req_ready[who] && !clear_i;
  assign valid = rsp_valid[who];
  assign last = rsp_last[who];
  assign pop = valid && rsp_ready_i[who];
  // words that the request touches, from its first byte to its last
  assign asked = 12'(((addr + 32'(bytes) - 32'd1) >> WB) - (addr >> WB) + 32'd1);
  assign mine = fresh && (arid == {1'b0, who});
  assign burst = 12'(arlen) + 12'd1;
  assign arrive = rvalid_i && (rid_i == {1'b0, who}) && !status.stray && status.quiet && !clear_i;

  logic [11:0] unasked_q;  // words of requests that are in no burst yet
  logic [5:0] flying_q;    // words in bursts that have not come
  logic [5:0] kept_q;      // words in the buffer
  logic [5:0] bursts_q;    // bursts that have not ended
  // a chosen request: words to be asked for and to be delivered before its own, its own, its next address
  logic chosen_q;
  logic [11:0] ask_before_q, ask_own_q, give_before_q, give_own_q, owed;
  logic [31:0] next_q;
  // a chosen beat: words before it in the buffer
  logic beat_q;
  logic [5:0] ahead_q;
  logic [DATA-1:0] beat_data_q;
  logic [3:0] patience_q;  // cycles in which this client could have been served and was not
  logic could;
  assign owed = unasked_q + 12'(flying_q) + 12'(kept_q);
  assign could = (unasked_q != '0) && !mine && (32'(flying_q) + 32'(kept_q) <= DEPTH - 16) && (!arvalid || arready_i) &&
      status.quiet && !clear_i;
  always_ff @(posedge clk_i) begin
    if (!rst_ni || clear_i) begin
      unasked_q <= '0;
      flying_q <= '0;
      kept_q <= '0;
      bursts_q <= '0;
      chosen_q <= 1'b0;
      beat_q <= 1'b0;
      patience_q <= '0;
    end else begin
      unasked_q <= unasked_q + (take ? asked : '0) - (mine ? burst : '0);
      flying_q <= flying_q + (mine ? 6'(burst) : '0) - 6'(arrive);
      kept_q <= kept_q + 6'(arrive) - 6'(pop);
      bursts_q <= bursts_q + 6'(mine) - 6'(arrive && rlast_i);
      patience_q <= mine ? '0 : (could && patience_q != '1) ? patience_q + 4'd1 : patience_q;
      if (take && watch_request_i && !chosen_q) begin
        chosen_q <= 1'b1;
        ask_before_q <= unasked_q - (mine ? burst : '0);
        give_before_q <= owed - 12'(pop);
        ask_own_q <= asked;
        give_own_q <= asked;
        next_q <= {addr[31:WB], {WB{1'b0}}};
      end else if (chosen_q) begin
        if (mine) begin
          if (ask_before_q != '0) begin
            ask_before_q <= ask_before_q - burst;
          end else if (ask_own_q != '0) begin
            ask_own_q <= ask_own_q - burst;
            next_q <= next_q + 32'(burst) * BUS_BYTES;
          end
        end
        if (pop) begin
          if (give_before_q != '0) give_before_q <= give_before_q - 12'd1;
          else give_own_q <= give_own_q - 12'd1;
          if (give_before_q == '0 && give_own_q == 12'd1) chosen_q <= 1'b0;
        end
      end
      if (arrive && watch_beat_i && !beat_q) begin
        beat_q <= 1'b1;
        ahead_q <= kept_q - 6'(pop);
        beat_data_q <= rdata_i;
      end else if (beat_q && pop) begin
        ahead_q <= ahead_q - 6'd1;
        if (ahead_q == '0) beat_q <= 1'b0;
      end
    end
  end

  // ---- What must hold.
  always_comb begin
    if (begun_q && !rst_ni) ar_reset: assert (!arvalid);
    if (begun_q && rst_ni) begin
      ar_stable: assert (!offered_q || (arvalid && arid == arid_q && araddr == araddr_q && arlen == arlen_q &&
                                        {arsize, arburst} == ar_rest_q));
      ar_length: assert (!arvalid || arlen < 8'd16);
      ar_page: assert (!arvalid || 32'(araddr[11:0]) + (32'(arlen) + 32'd1) * BUS_BYTES <= 32'd4096);
      ar_kind: assert (!arvalid || (arsize == 3'(WB) && arburst == 2'b01 && arid < 4'd6 && araddr[WB-1:0] == '0));
      r_ready: assert (rready);
      nothing_asked_while_draining: assert (!(fresh && blocked_q));
      nothing_delivered_while_draining:
        assert (!((clear_i || !status.quiet) && cnt_words != '0) && !(!status.quiet && rsp_valid != '0));
      outstanding_counted: assert (\dut.flight_q == out);
      delivers_what_arrives: assert (valid == (kept_q != '0));
      arrivals_counted: assert (cnt_words[who] == arrive);
      beat_data: assert (!(beat_q && ahead_q == '0) || (valid && data == beat_data_q));
      waiting_means_bursts: assert (status.waiting[who] == (bursts_q + 6'(mine) != '0));
      request_addresses: assert (!(chosen_q && mine && ask_before_q == '0 && ask_own_q != '0) || araddr == next_q);
      request_words: assert (!(chosen_q && mine && ask_before_q == '0 && ask_own_q != '0) || burst <= ask_own_q);
      burst_of_one_request: assert (!(chosen_q && mine && ask_before_q != '0) || burst <= ask_before_q);
      nothing_unasked: assert (!mine || burst <= unasked_q);
    end
  end
  if (LEGAL != 0) begin : gen_legal_checks
    always_comb begin
      if (begun_q && rst_ni) begin
        quiet_means_nothing_old: assert (!(status.quiet && old_q != '0));
        quiet_again: assert (!(drained_q >= 2'd2 && !status.quiet));
        outstanding_bounded: assert (out <= 8'(CLIENTS * DEPTH) && fits == '1);
        no_stray: assert (!status.stray);
        last_of_request: assert (!(chosen_q && valid && give_before_q == '0) || (last == (give_own_q == 12'd1)));
        served_in_turn: assert (patience_q <= 4'd6);
        room: assert (32'(flying_q) + 32'(kept_q) <= DEPTH);
        full_burst: cover (chosen_q && pop && last && give_own_q == 12'd1 && give_before_q == '0 && ask_own_q == '0 &&
                           kept_q == 6'd16);
        clear_then_more: cover (drained_q == 2'd3 && bus_q == '0 && pop && last && chosen_q && old_seen_q);
        clear_with_two: cover (old_q == 8'd2 && !status.quiet && arvalid && !arready_i);
        all_six: cover (waits_all);
      end
    end
  end else begin : gen_wild_checks
    always_comb begin
      if (begun_q && rst_ni) begin
        stray_without_request: assert (!(rvalid_i && (out == '0 || rid_i[3])) || status.stray);
        stray_of_client: assert (!(rvalid_i && status.quiet && !clear_i && rid_i == {1'b0, who} &&
                                   (bursts_q + 6'(mine) == '0)) || status.stray);
        stray_goes_nowhere: assert (!status.stray || cnt_words == '0);
        stray_cover: cover (status.stray && bus_q == 8'd2);
      end
    end
  end
  logic old_seen_q, waits_all;
  assign waits_all = status.waiting == '1;
  always_ff @(posedge clk_i) old_seen_q <= rst_ni && (old_seen_q || old_q > 8'd1);
endmodule
