// SPDX-License-Identifier: Apache-2.0
// AXI4 read master for six independent clients; ID = client. rready_o is always high: a burst is
// asked for only when its client has room for all of it, so data never waits on the bus and one
// client's full buffer cannot hold up another's. After clear_i the answers that are still on their
// way are dropped as they come, and nothing is asked for until the last of them has come (status_o.quiet),
// however long that takes: so none can be taken for an answer to a later request.
module npu_axi_read #(
  parameter int unsigned BUS_BYTES = npu_pkg::BUS_BYTES_DEFAULT,
  parameter int unsigned FETCH_DEPTH = 32,  // words of each client's response FIFO
  parameter int unsigned LOAD_DEPTH = 64,
  parameter int unsigned WEIGHT_DEPTH = 64,
  parameter int unsigned PARAM_DEPTH = 32,
  parameter int unsigned RES_DEPTH = 32,
  parameter int unsigned ELEM_DEPTH = 64
) (
  input  logic                     clk_i,
  input  logic                     rst_ni,
  input  logic                     clear_i,
  // By client, npu_pkg::READ_CLIENT_*. A request is a range of bytes; answered are all bus words
  // that it touches, in order, the last one marked.
  input  logic [npu_pkg::READ_CLIENTS-1:0] req_valid_i,
  output logic [npu_pkg::READ_CLIENTS-1:0] req_ready_o,
  input  logic [npu_pkg::READ_CLIENTS*32-1:0] req_addr_i,
  input  logic [npu_pkg::READ_CLIENTS*24-1:0] req_bytes_i,
  output logic [npu_pkg::READ_CLIENTS-1:0] rsp_valid_o,
  input  logic [npu_pkg::READ_CLIENTS-1:0] rsp_ready_i,
  output logic [npu_pkg::READ_CLIENTS*BUS_BYTES*8-1:0] rsp_data_o,
  output logic [npu_pkg::READ_CLIENTS-1:0] rsp_last_o,
  // AXI4
  output logic                     arvalid_o,
  input  logic                     arready_i,
  output logic [3:0]               arid_o,
  output logic [31:0]              araddr_o,
  output logic [7:0]               arlen_o,
  output logic [2:0]               arsize_o,
  output logic [1:0]               arburst_o,
  input  logic                     rvalid_i,
  output logic                     rready_o,
  input  logic [3:0]               rid_i,
  input  logic [BUS_BYTES*8-1:0]   rdata_i,
  input  logic [1:0]               rresp_i,
  input  logic                     rlast_i,
  // Status: errors are reported in the cycle of their beat; the data is delivered all the same, and
  // the sequencer throws the command away.
  output npu_types::read_status_t  status_o,
  output logic                     progress_o,      // an address or a beat moved
  output logic [npu_pkg::READ_CLIENTS-1:0] cnt_words_o,  // words delivered, by client
  output logic                     cnt_beats_o
);

  localparam int unsigned DATA = BUS_BYTES * 8;
  localparam int unsigned CLIENTS = npu_pkg::READ_CLIENTS;

  // What the clients want to ask for next, and which of them may in this cycle.
  logic [CLIENTS-1:0] burst_valid, grant, beat_valid;
  logic [CLIENTS*32-1:0] burst_addr;
  logic [CLIENTS*5-1:0] burst_words;
  logic draining_q, current;
  logic [7:0] flight_q;

  // Whole bus words, incrementing addresses.
  assign rready_o = 1'b1;
  assign arsize_o = 3'($clog2(BUS_BYTES));
  assign arburst_o = 2'b01;

  // A beat belongs to the client that its ID names, unless it answers a burst from before a clear.
  // Nor does a beat count that comes in the cycle of the clear itself. A beat for a client that has
  // no burst in flight answers nothing: it goes to nobody, and ends no burst.
  logic stray;
  logic [CLIENTS-1:0] waiting;
  logic [7:0] asked;  // by ID
  assign asked = 8'(waiting);
  assign stray = rvalid_i && ((flight_q == '0) || rid_i[3] ||
                              (!draining_q && !asked[rid_i[2:0]]));
  assign current = rvalid_i && !stray && !draining_q && !clear_i;
  // Clients that are asked now and then share a clock of their own.
  localparam logic [CLIENTS-1:0] STEADY =
      CLIENTS'(1 << npu_pkg::READ_CLIENT_LOAD | 1 << npu_pkg::READ_CLIENT_WEIGHT);
  logic [CLIENTS-1:0] busy;
  logic rare_clk, unused_on;
  npu_clock u_rare_clock (
    .clk_i, .rst_ni, .run_i(clear_i || ((req_valid_i | busy) & ~STEADY) != '0), .on_o(unused_on),
    .clk_o(rare_clk)
  );
  for (genvar c = 0; c < CLIENTS; c++) begin : gen_client
    logic clk;
    assign clk = STEADY[c] ? clk_i : rare_clk;
    // Clients whose data is needed in long runs have deeper buffers: they hide the memory's
    // latency.
    localparam int unsigned DEPTH =
        (c == npu_pkg::READ_CLIENT_FETCH) ? FETCH_DEPTH
        : (c == npu_pkg::READ_CLIENT_LOAD) ? LOAD_DEPTH
        : (c == npu_pkg::READ_CLIENT_WEIGHT) ? WEIGHT_DEPTH
        : (c == npu_pkg::READ_CLIENT_PARAM) ? PARAM_DEPTH
        : (c == npu_pkg::READ_CLIENT_RES) ? RES_DEPTH : ELEM_DEPTH;
    assign beat_valid[c] = current && (rid_i[2:0] == 3'(c));
    npu_axi_read_client #(.BUS_BYTES(BUS_BYTES), .DEPTH(DEPTH)) u_client (
      .clk_i(clk), .rst_ni, .clear_i,
      .req_valid_i(req_valid_i[c]), .req_ready_o(req_ready_o[c]),
      .req_addr_i(req_addr_i[c*32 +: 32]), .req_bytes_i(req_bytes_i[c*24 +: 24]),
      .rsp_valid_o(rsp_valid_o[c]), .rsp_ready_i(rsp_ready_i[c]),
      .rsp_data_o(rsp_data_o[c*DATA +: DATA]), .rsp_last_o(rsp_last_o[c]),
      .burst_valid_o(burst_valid[c]), .burst_grant_i(grant[c]),
      .burst_addr_o(burst_addr[c*32 +: 32]), .burst_words_o(burst_words[c*5 +: 5]),
      .beat_valid_i(beat_valid[c]), .beat_last_i(rlast_i), .beat_data_i(rdata_i),
      .waiting_o(waiting[c]), .busy_o(busy[c])
    );
  end

  logic unused_resp;
  assign unused_resp = rresp_i[0];
  // Bit 1 of the response is set for SLVERR and DECERR.
  assign status_o.error = current && rresp_i[1];
  assign status_o.client = rid_i[2:0];
  assign status_o.waiting = waiting;
  assign status_o.stray = stray;
  assign status_o.quiet = !draining_q;
  assign cnt_words_o = beat_valid;
  assign cnt_beats_o = current;
  assign progress_o = rvalid_i || (arvalid_o && arready_i);

  // One burst per cycle, round robin: the first client behind the last one granted, else the first
  // of all. The address channel is a register, so a client's request never waits on arready_i. So
  // whoever has a burst to offer waits for five others at most.
  logic [CLIENTS-1:0] after;     // clients behind the last one granted
  logic [2:0] last_q, winner;
  logic [CLIENTS-1:0] pick;
  logic any, issue;
  assign any = burst_valid != '0;
  assign issue = any && (!arvalid_o || arready_i) && !draining_q && !clear_i;

  logic [31:0] addr_sel;
  logic [4:0] words_sel;
  always_comb begin
    after = '0;
    pick = '0;
    winner = 3'd0;
    grant = '0;
    addr_sel = '0;
    words_sel = '0;
    if (issue) begin
      after = burst_valid & ~({CLIENTS{1'b1}} >> (3'(CLIENTS - 1) - last_q));
      pick = (after != '0) ? after : burst_valid;
      for (int unsigned c = CLIENTS; c > 0; c--) if (pick[c-1]) winner = 3'(c - 1);
      grant = CLIENTS'(1) << winner;
      for (int unsigned c = 0; c < CLIENTS; c++) begin
        if (winner == 3'(c)) begin
          addr_sel = burst_addr[c*32 +: 32];
          words_sel = burst_words[c*5 +: 5];
        end
      end
    end
  end

  // An address that was offered stays until it is taken, whatever happens: AXI allows nothing else,
  // even across clear_i. Its burst is in flight from then on.
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      arvalid_o <= 1'b0;
      last_q <= 3'(CLIENTS - 1);
    end else begin
      if (issue) begin
        arvalid_o <= 1'b1;
        last_q <= winner;
      end else if (arready_i) begin
        arvalid_o <= 1'b0;
      end
    end
  end
  always_ff @(posedge clk_i) begin
    if (issue) begin
      arid_o <= {1'b0, winner};
      araddr_o <= addr_sel;
      arlen_o <= 8'(words_sel) - 8'd1;
    end
  end

  // Bursts in flight, from their offer to their last beat. 8 bits count all that six clients can
  // have. draining_q: those from before a clear are not over yet.
  logic ended;
  assign ended = rvalid_i && rlast_i && !stray;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      draining_q <= 1'b0;
      flight_q <= '0;
    end else begin
      if (issue || rvalid_i) flight_q <= flight_q + 8'(issue) - 8'(ended);
      if (clear_i) draining_q <= 1'b1;
      else if (draining_q && (flight_q == '0)) draining_q <= 1'b0;
    end
  end

`ifndef SYNTHESIS
  // An offered address stays, with all that belongs to it (AXI4, A3.2.1).
  assert property (@(posedge clk_i) disable iff (!rst_ni)
                   arvalid_o && !arready_i |=> arvalid_o && $stable(araddr_o) && $stable(arlen_o) &&
                       $stable(arid_o) && $stable(arsize_o) && $stable(arburst_o));
  // No burst is longer than 16 words or crosses 4 KiB.
  assert property (@(posedge clk_i) disable iff (!rst_ni)
                   arvalid_o |-> arlen_o < 8'd16 &&
                   32'(araddr_o[11:0]) + (32'(arlen_o) + 32'd1) * BUS_BYTES <= 32'd4096);
  assert property (@(posedge clk_i) disable iff (!rst_ni) $onehot0(grant));
  // Nothing goes to a client that is being cleared, nor is anything asked for before it is quiet.
  assert property (@(posedge clk_i) disable iff (!rst_ni)
                   draining_q |-> !issue && beat_valid == '0);
  assert property (@(posedge clk_i) disable iff (!rst_ni) !draining_q |-> flight_q >= 8'(arvalid_o));
`endif

endmodule
