// SPDX-License-Identifier: Apache-2.0
// The round robin of npu_axi_read and its address channel, between any clients (arbiter_client.sv) and any bus.
module formal_arbiter (
  input logic        clk_i,
  input logic        rst_ni,
  input logic        clear_i,
  input logic        arready_i,
  input logic        rvalid_i,
  input logic [3:0]  rid_i,
  input logic [63:0] rdata_i,
  input logic [1:0]  rresp_i,
  input logic        rlast_i
);
  logic arvalid;
  logic [3:0] arid;
  logic [31:0] araddr;
  logic [7:0] arlen;
  logic [2:0] arsize;
  logic [1:0] arburst;
  npu_types::read_status_t status;
  npu_axi_read #(.BUS_BYTES(8)) dut (
    .clk_i, .rst_ni, .clear_i, .req_valid_i('0), .req_addr_i('0), .req_bytes_i('0), .rsp_ready_i('0),
    .arvalid_o(arvalid), .arready_i, .arid_o(arid), .araddr_o(araddr), .arlen_o(arlen), .arsize_o(arsize),
    .arburst_o(arburst), .rvalid_i, .rid_i, .rdata_i, .rresp_i, .rlast_i, .status_o(status),
    .req_ready_o(), .rsp_valid_o(), .rsp_data_o(), .rsp_last_o(), .rready_o(), .progress_o(), .cnt_words_o(),
    .cnt_beats_o()
  );
  (* hierconn *) wire [5:0] \dut.burst_valid ;
  (* hierconn *) wire [5:0] \dut.grant ;

  logic begun_q = 1'b0;
  (* anyconst *) logic [2:0] who;
  logic wants, granted, offered_q, blocked_q;
  logic [2:0] others_q;    // grants to others while this one waited
  logic [48:0] channel_q;
  logic taken_q;
  assign wants = \dut.burst_valid [who];
  assign granted = \dut.grant [who];
  always_comb begin
    assume (who < 3'd6);
    if (!begun_q) assume (!rst_ni);
  end
  always_ff @(posedge clk_i) begin
    begun_q <= 1'b1;
    channel_q <= {arid, araddr, arlen, arsize, arburst};
    offered_q <= rst_ni && arvalid && !arready_i;
    taken_q <= rst_ni && arvalid && arready_i;
    blocked_q <= !rst_ni || clear_i || !status.quiet;
    if (!rst_ni || clear_i || !wants || granted) others_q <= '0;
    else if (\dut.grant != '0 && others_q != '1) others_q <= others_q + 3'd1;
  end
  always_comb begin
    if (begun_q && !rst_ni) ar_reset: assert (!arvalid);
    if (begun_q && rst_ni) begin
      ar_stable: assert (!offered_q || (arvalid && channel_q == {arid, araddr, arlen, arsize, arburst}));
      at_most_five_others: assert (others_q <= 3'd5);
      one_grant: assert ((\dut.grant & (\dut.grant - 6'd1)) == '0);
      grants_who_wants: assert ((\dut.grant & ~\dut.burst_valid ) == '0);
      no_idle_cycle: assert (!(\dut.burst_valid != '0 && (!arvalid || arready_i) && status.quiet && !clear_i) ||
                             \dut.grant != '0);
      nothing_asked_while_draining: assert (!(blocked_q && arvalid && !offered_q));
      five_others: cover (others_q == 3'd5 && granted);
    end
  end
  logic unused;
  assign unused = taken_q;
endmodule
