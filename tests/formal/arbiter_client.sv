// SPDX-License-Identifier: Apache-2.0
// In place of npu_axi_read_client: a client that wants whatever it likes, so that what is proved of the arbiter and the
// address channel holds for any client. All that is assumed: an offer stays until it is granted or cleared.
module npu_axi_read_client #(
  parameter int unsigned BUS_BYTES = 8,
  parameter int unsigned DEPTH = 32,
  parameter int unsigned BURSTS = 32
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic                   clear_i,
  input  logic                   req_valid_i,
  output logic                   req_ready_o,
  input  logic [31:0]            req_addr_i,
  input  logic [23:0]            req_bytes_i,
  output logic                   rsp_valid_o,
  input  logic                   rsp_ready_i,
  output logic [BUS_BYTES*8-1:0] rsp_data_o,
  output logic                   rsp_last_o,
  output logic                   burst_valid_o,
  input  logic                   burst_grant_i,
  output logic [31:0]            burst_addr_o,
  output logic [4:0]             burst_words_o,
  input  logic                   beat_valid_i,
  input  logic                   beat_last_i,
  input  logic [BUS_BYTES*8-1:0] beat_data_i,
  output logic                   waiting_o,
  output logic                   busy_o
);
  (* anyseq *) logic ready, valid, last, offer, waits, busy;
  (* anyseq *) logic [BUS_BYTES*8-1:0] data;
  (* anyseq *) logic [31:0] addr;
  (* anyseq *) logic [4:0] words;
  assign req_ready_o = ready;
  assign rsp_valid_o = valid;
  assign rsp_data_o = data;
  assign rsp_last_o = last;
  assign burst_valid_o = offer;
  assign burst_addr_o = addr;
  assign burst_words_o = words;
  assign waiting_o = waits;
  assign busy_o = busy;
  logic stays_q;
  always_ff @(posedge clk_i) stays_q <= rst_ni && !clear_i && offer && !burst_grant_i;
  always_comb if (stays_q) assume (offer);
  logic unused;
  assign unused = ^{req_valid_i, req_addr_i, req_bytes_i, rsp_ready_i, beat_valid_i, beat_last_i, beat_data_i};
endmodule
