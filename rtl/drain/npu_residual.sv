// SPDX-License-Identifier: Apache-2.0
// Second addend of a fused addition: for each position of a block reads the run of channels at the
// same place as the output and hands it on in groups of RQ_LANES bytes. Requests run ahead of the
// data; a run is collected while the one before is used. Reading ahead is safe even in place, where
// out_addr is in2_addr (CONTRACT.md, Overlap): a run is read before the sum that replaces it can be
// written, for that sum needs it.
module npu_residual #(
  parameter int unsigned COLS = npu_pkg::COLS_DEFAULT,
  parameter int unsigned BUS_BYTES = npu_pkg::BUS_BYTES_DEFAULT,
  parameter int unsigned RQ_LANES = npu_pkg::RQ_LANES_DEFAULT,
  localparam int unsigned LC = $clog2(COLS)
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic                   clear_i,
  // A block: positions tn_i * th_i * tw_i, channels_i bytes at each. All of it is stable from
  // start_i until the block's last group was taken.
  input  logic                   start_i,
  input  logic [31:0]            addr_i,      // of the tensor
  input  logic [31:0]            base_i,      // element index of the first run
  input  logic [LC:0]            channels_i,
  input  logic [15:0]            tn_i,
  input  logic [15:0]            th_i,
  input  logic [15:0]            tw_i,
  input  logic [31:0]            col_i,
  input  logic [31:0]            row_i,
  input  logic [31:0]            img_i,
  output logic                   rd_req_valid_o,
  input  logic                   rd_req_ready_i,
  output logic [31:0]            rd_req_addr_o,
  output logic [23:0]            rd_req_bytes_o,
  input  logic                   rd_rsp_valid_i,
  output logic                   rd_rsp_ready_o,
  input  logic [BUS_BYTES*8-1:0] rd_rsp_data_i,
  input  logic                   rd_rsp_last_i,
  output logic                   valid_o,
  input  logic                   ready_i,
  input  logic                   last_i,      // with ready_i: last group of the run
  output logic [RQ_LANES*8-1:0]  data_o       // with ready_i
);

  localparam int unsigned LB = $clog2(BUS_BYTES);
  localparam int unsigned WIDE = (BUS_BYTES > COLS) ? BUS_BYTES : COLS;

  // Requests, one per position. Runs of neighbouring positions are not joined: the words of each
  // run are counted by themselves (CONTRACT.md, Traffic: inputs).
  logic active_q, fire, walk_last;
  logic [31:0] at;
  assign rd_req_valid_o = active_q;
  assign rd_req_addr_o = addr_i + at;
  assign rd_req_bytes_o = 24'(channels_i);
  assign fire = rd_req_valid_o && rd_req_ready_i;
  npu_walk u_request (
    .clk_i, .load_i(start_i), .base_i, .tn_i, .th_i, .tw_i, .step_i(fire), .col_i, .row_i, .img_i,
    .at_o(at), .last_o(walk_last)
  );
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) active_q <= 1'b0;
    else if (clear_i) active_q <= 1'b0;
    else if (start_i) active_q <= 1'b1;
    else if (fire && walk_last) active_q <= 1'b0;
  end

  // Runs: byte j of the run in byte j. Only the place of the run in its first word has to be known
  // here; a second walk gives it, for requests are ahead by as much as the bus holds. Two buffers:
  // next_q is collected word by word while run_q is shifted out group by group.
  logic first_q, take, unused_last, full_q, next_full_q, move;
  logic [31:0] place;
  logic [LB-1:0] skip;
  logic [LC+1:0] have_q, have;
  logic [COLS*8-1:0] next_q, run_q;
  logic [WIDE*8-1:0] piece;
  // A word is taken as soon as next_q is empty or is being handed over, so that runs follow each
  // other without a gap.
  assign rd_rsp_ready_o = !next_full_q || move;
  assign take = rd_rsp_valid_i && rd_rsp_ready_o;
  npu_walk u_data (
    .clk_i, .load_i(start_i), .base_i, .tn_i, .th_i, .tw_i, .step_i(take && rd_rsp_last_i), .col_i,
    .row_i, .img_i, .at_o(place), .last_o(unused_last)
  );
  // Bytes before the run are shifted out below, then the word goes behind the bytes that are there.
  assign skip = first_q ? addr_i[LB-1:0] + place[LB-1:0] : '0;
  assign have = first_q ? '0 : have_q;
  assign piece = take ? ((WIDE * 8)'(rd_rsp_data_i) >> {skip, 3'd0}) << {have, 3'd0} : '0;
  assign move = next_full_q && (!full_q || (ready_i && last_i));
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      first_q <= 1'b1;
      next_full_q <= 1'b0;
      full_q <= 1'b0;
    end else if (clear_i) begin
      first_q <= 1'b1;
      next_full_q <= 1'b0;
      full_q <= 1'b0;
    end else begin
      if (take) first_q <= rd_rsp_last_i;
      if (take && rd_rsp_last_i) next_full_q <= 1'b1;
      else if (move) next_full_q <= 1'b0;
      if (move) full_q <= 1'b1;
      else if (ready_i && last_i) full_q <= 1'b0;
    end
  end
  always_ff @(posedge clk_i) begin
    if (take) begin
      have_q <= have + (LC + 2)'(BUS_BYTES) - (LC + 2)'(skip);
      for (int unsigned j = 0; j < COLS; j++)
        if ((LC + 2)'(j) >= have) next_q[j*8 +: 8] <= piece[j*8 +: 8];
    end
    // A group is taken from the lowest bytes and the rest moves down.
    if (ready_i && !move) run_q <= run_q >> (RQ_LANES * 8);
    else if (move) run_q <= next_q;
  end
  assign valid_o = full_q;
  always_comb begin
    data_o = '0;
    if (ready_i) data_o = run_q[RQ_LANES*8-1:0];
  end

  logic unused;
  assign unused = ^{place[31:LB], unused_last, piece};

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i) ready_i |-> valid_o);
`endif

endmodule
