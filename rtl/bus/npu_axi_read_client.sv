// SPDX-License-Identifier: Apache-2.0
// One read client: cuts requests into bursts and buffers their data. A burst is offered only when
// the response FIFO has room for all of it, so that data can always be taken from the bus.
module npu_axi_read_client #(
  parameter int unsigned BUS_BYTES = npu_pkg::BUS_BYTES_DEFAULT,
  parameter int unsigned DEPTH = 32,   // words of the response FIFO, at least 16
  parameter int unsigned BURSTS = 32   // bursts in flight or buffered
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic                   clear_i,
  // Requests: every aligned bus word that [addr, addr + bytes) touches. Answers come in the order
  // of the requests, as bus words: what lies before and behind the range is not cut away.
  input  logic                   req_valid_i,
  output logic                   req_ready_o,
  input  logic [31:0]            req_addr_i,
  input  logic [23:0]            req_bytes_i,
  output logic                   rsp_valid_o,
  input  logic                   rsp_ready_i,
  output logic [BUS_BYTES*8-1:0] rsp_data_o,
  output logic                   rsp_last_o,   // last word of its request
  // bursts
  output logic                   burst_valid_o,
  input  logic                   burst_grant_i,
  output logic [31:0]            burst_addr_o,
  output logic [4:0]             burst_words_o,  // 1..16, never across 4 KiB
  // beats that belong to this client
  input  logic                   beat_valid_i,
  input  logic                   beat_last_i,
  input  logic [BUS_BYTES*8-1:0] beat_data_i,
  output logic                   waiting_o,      // bursts in flight
  output logic                   busy_o          // or anything else to do
);

  localparam int unsigned WB = $clog2(BUS_BYTES);
  localparam int unsigned PAGE = 4096 / BUS_BYTES;  // words
  localparam int unsigned PB = 12 - WB;
  localparam int unsigned DATA = BUS_BYTES * 8;
  localparam int unsigned CB = $clog2(DEPTH) + 1;
  localparam int unsigned BB = $clog2(BURSTS) + 1;

  // free_q counts room in the buffer that no burst has been promised.
  logic active_q, take, finish;
  logic [31-WB:0] addr_q;   // words
  logic [24:0] left_q;      // words
  logic [4:0] words;        // of the next burst
  logic [CB-1:0] free_q;
  logic [BB-1:0] bursts_q;

  // The request at hand: the next burst's first word, and words left. The next request is taken
  // with the last burst of this one, so that requests follow each other without a gap.
  // touched: words that a request touches. A range that begins inside a word may touch one more
  // than its length says.
  function automatic logic [24:0] touched(input logic [WB-1:0] low, input logic [23:0] bytes);
    touched = ({1'b0, bytes} + 25'(low) + 25'(BUS_BYTES - 1)) >> WB;
  endfunction
  // Words of a burst: at most 16, and not beyond the page.
  function automatic logic [4:0] burst_words(input logic [PB-1:0] page_word,
                                             input logic [24:0] left);
    logic [PB:0] to_page;
    to_page = (PB + 1)'(PAGE) - {1'b0, page_word};
    burst_words = (left > 25'd16) ? 5'd16 : left[4:0];
    if (to_page < (PB + 1)'(16) && 5'(to_page) < burst_words) burst_words = 5'(to_page);
  endfunction
  always_comb begin
    words = '0;
    if (active_q) words = burst_words(addr_q[PB-1:0], left_q);
  end

  // A burst waits until the buffer has room for all of it and its end can be noted in u_ends.
  assign burst_valid_o = active_q && (free_q >= CB'(words)) && (bursts_q != BB'(BURSTS));
  assign burst_words_o = words;
  assign burst_addr_o = {addr_q, {WB{1'b0}}};
  assign finish = burst_grant_i && (left_q == 25'(words));
  assign req_ready_o = !active_q || finish;
  assign take = req_valid_i && req_ready_o;

  // Room is promised with a grant and comes back with every word that is taken out, so a word that
  // arrives always finds its place.
  logic pop, burst_done;
  assign pop = rsp_valid_o && rsp_ready_i;
  assign burst_done = beat_valid_i && beat_last_i;
  assign waiting_o = bursts_q != '0;
  assign busy_o = active_q || waiting_o || rsp_valid_o;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      active_q <= 1'b0;
      free_q <= CB'(DEPTH);
      bursts_q <= '0;
    end else if (clear_i) begin
      active_q <= 1'b0;
      free_q <= CB'(DEPTH);
      bursts_q <= '0;
    end else begin
      if (take) active_q <= 1'b1;
      else if (finish) active_q <= 1'b0;
      if (burst_grant_i || pop) free_q <= free_q - (burst_grant_i ? CB'(words) : '0) + CB'(pop);
      if (burst_grant_i != burst_done)
        bursts_q <= burst_grant_i ? bursts_q + 1'b1 : bursts_q - 1'b1;
    end
  end

  always_ff @(posedge clk_i) begin
    if (burst_grant_i && !finish) begin
      addr_q <= addr_q + (32 - WB)'(words);
      left_q <= left_q - 25'(words);
    end else if (take) begin
      addr_q <= req_addr_i[31:WB];
      left_q <= touched(req_addr_i[WB-1:0], req_bytes_i);
    end
  end

  // Which bursts end a request: popped with the burst's last beat, which then is the request's last
  // word. The words themselves; free_q has reserved their room since the burst was granted.
  logic ends, ends_valid, ends_ready, room;
  npu_fifo #(.WIDTH(1), .DEPTH(BURSTS)) u_ends (
    .clk_i, .rst_ni, .clear_i, .push_valid_i(burst_grant_i), .push_ready_o(ends_ready),
    .push_data_i(finish), .pop_valid_o(ends_valid), .pop_ready_i(burst_done), .pop_data_o(ends)
  );

  npu_fifo #(.WIDTH(DATA + 1), .DEPTH(DEPTH)) u_words (
    .clk_i, .rst_ni, .clear_i, .push_valid_i(beat_valid_i), .push_ready_o(room),
    .push_data_i({beat_last_i && ends, beat_data_i}), .pop_valid_o(rsp_valid_o),
    .pop_ready_i(rsp_ready_i), .pop_data_o({rsp_last_o, rsp_data_o})
  );

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                   req_valid_i |-> req_bytes_i != '0);
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                   req_valid_i && !req_ready_o |=> req_valid_i && $stable(req_addr_i) &&
                       $stable(req_bytes_i));
  // The promise of free_q holds.
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                   beat_valid_i |-> room && ends_valid);
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                   burst_grant_i |-> ends_ready && burst_valid_o);
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                   rsp_valid_o && !rsp_ready_i |=> rsp_valid_o && $stable(rsp_data_o) &&
                       $stable(rsp_last_o));
`else
  logic unused;
  assign unused = ^{ends_valid, ends_ready, room};
`endif

endmodule
