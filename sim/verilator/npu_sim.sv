// SPDX-License-Identifier: Apache-2.0
// Top of the simulation: the NPU behind registers of the test bench on its inputs, so that nothing in the NPU is evaluated twice per cycle.
// Both clocks rise together: the inputs of the next cycle arrive with its state, as from a clocked memory. in_clk_i alone: other inputs
// within a cycle.
module npu_sim #(
  parameter int unsigned ROWS = npu_pkg::ROWS_DEFAULT,
  parameter int unsigned COLS = npu_pkg::COLS_DEFAULT,
  parameter int unsigned BUS_BYTES = npu_pkg::BUS_BYTES_DEFAULT,
  parameter int unsigned ACT_BYTES = npu_pkg::ACT_BYTES_DEFAULT,
  parameter int unsigned ACC_DEPTH = npu_pkg::ACC_DEPTH_DEFAULT,
  parameter int unsigned RQ_LANES = npu_pkg::RQ_LANES_DEFAULT,
  parameter int unsigned TRAINING = npu_pkg::TRAINING_DEFAULT
) (
  input  logic                   clk_i,
  input  logic                   in_clk_i,
  input  logic                   rst_ni,
  output logic                   irq_o,
  // AXI4-Lite slave
  input  logic                   s_axil_awvalid_i,
  output logic                   s_axil_awready_o,
  input  logic [11:0]            s_axil_awaddr_i,
  input  logic                   s_axil_wvalid_i,
  output logic                   s_axil_wready_o,
  input  logic [31:0]            s_axil_wdata_i,
  input  logic [3:0]             s_axil_wstrb_i,
  output logic                   s_axil_bvalid_o,
  input  logic                   s_axil_bready_i,
  output logic [1:0]             s_axil_bresp_o,
  input  logic                   s_axil_arvalid_i,
  output logic                   s_axil_arready_o,
  input  logic [11:0]            s_axil_araddr_i,
  output logic                   s_axil_rvalid_o,
  input  logic                   s_axil_rready_i,
  output logic [31:0]            s_axil_rdata_o,
  output logic [1:0]             s_axil_rresp_o,
  // AXI4 master
  output logic                   m_axi_arvalid_o,
  input  logic                   m_axi_arready_i,
  output logic [3:0]             m_axi_arid_o,
  output logic [31:0]            m_axi_araddr_o,
  output logic [7:0]             m_axi_arlen_o,
  output logic [2:0]             m_axi_arsize_o,
  output logic [1:0]             m_axi_arburst_o,
  input  logic                   m_axi_rvalid_i,
  output logic                   m_axi_rready_o,
  input  logic [3:0]             m_axi_rid_i,
  input  logic [BUS_BYTES*8-1:0] m_axi_rdata_i,
  input  logic [1:0]             m_axi_rresp_i,
  input  logic                   m_axi_rlast_i,
  output logic                   m_axi_awvalid_o,
  input  logic                   m_axi_awready_i,
  output logic [3:0]             m_axi_awid_o,
  output logic [31:0]            m_axi_awaddr_o,
  output logic [7:0]             m_axi_awlen_o,
  output logic [2:0]             m_axi_awsize_o,
  output logic [1:0]             m_axi_awburst_o,
  output logic                   m_axi_wvalid_o,
  input  logic                   m_axi_wready_i,
  output logic [BUS_BYTES*8-1:0] m_axi_wdata_o,
  output logic [BUS_BYTES-1:0]   m_axi_wstrb_o,
  output logic                   m_axi_wlast_o,
  input  logic                   m_axi_bvalid_i,
  output logic                   m_axi_bready_o,
  input  logic [3:0]             m_axi_bid_i,
  input  logic [1:0]             m_axi_bresp_i,
  // commit points
  output logic                   cmd_done_o,
  output logic [31:0]            cmd_index_o
);

  logic s_axil_awvalid_q;
  logic [11:0] s_axil_awaddr_q;
  logic s_axil_wvalid_q;
  logic [31:0] s_axil_wdata_q;
  logic [3:0] s_axil_wstrb_q;
  logic s_axil_bready_q;
  logic s_axil_arvalid_q;
  logic [11:0] s_axil_araddr_q;
  logic s_axil_rready_q;
  logic m_axi_arready_q;
  logic m_axi_rvalid_q;
  logic [3:0] m_axi_rid_q;
  logic [BUS_BYTES*8-1:0] m_axi_rdata_q;
  logic [1:0] m_axi_rresp_q;
  logic m_axi_rlast_q;
  logic m_axi_awready_q;
  logic m_axi_wready_q;
  logic m_axi_bvalid_q;
  logic [3:0] m_axi_bid_q;
  logic [1:0] m_axi_bresp_q;
  always_ff @(posedge in_clk_i) begin
    s_axil_awvalid_q <= s_axil_awvalid_i;
    s_axil_awaddr_q <= s_axil_awaddr_i;
    s_axil_wvalid_q <= s_axil_wvalid_i;
    s_axil_wdata_q <= s_axil_wdata_i;
    s_axil_wstrb_q <= s_axil_wstrb_i;
    s_axil_bready_q <= s_axil_bready_i;
    s_axil_arvalid_q <= s_axil_arvalid_i;
    s_axil_araddr_q <= s_axil_araddr_i;
    s_axil_rready_q <= s_axil_rready_i;
    m_axi_arready_q <= m_axi_arready_i;
    m_axi_rvalid_q <= m_axi_rvalid_i;
    m_axi_rid_q <= m_axi_rid_i;
    m_axi_rdata_q <= m_axi_rdata_i;
    m_axi_rresp_q <= m_axi_rresp_i;
    m_axi_rlast_q <= m_axi_rlast_i;
    m_axi_awready_q <= m_axi_awready_i;
    m_axi_wready_q <= m_axi_wready_i;
    m_axi_bvalid_q <= m_axi_bvalid_i;
    m_axi_bid_q <= m_axi_bid_i;
    m_axi_bresp_q <= m_axi_bresp_i;
  end

  npu #(
    .ROWS(ROWS), .COLS(COLS), .BUS_BYTES(BUS_BYTES), .ACT_BYTES(ACT_BYTES), .ACC_DEPTH(ACC_DEPTH), .RQ_LANES(RQ_LANES), .TRAINING(TRAINING)
  ) u_npu (
    .clk_i, .rst_ni,
    .irq_o, .s_axil_awvalid_i(s_axil_awvalid_q), .s_axil_awready_o, .s_axil_awaddr_i(s_axil_awaddr_q), .s_axil_wvalid_i(s_axil_wvalid_q),
    .s_axil_wready_o, .s_axil_wdata_i(s_axil_wdata_q), .s_axil_wstrb_i(s_axil_wstrb_q), .s_axil_bvalid_o,
    .s_axil_bready_i(s_axil_bready_q), .s_axil_bresp_o, .s_axil_arvalid_i(s_axil_arvalid_q), .s_axil_arready_o,
    .s_axil_araddr_i(s_axil_araddr_q), .s_axil_rvalid_o, .s_axil_rready_i(s_axil_rready_q), .s_axil_rdata_o, .s_axil_rresp_o,
    .m_axi_arvalid_o, .m_axi_arready_i(m_axi_arready_q), .m_axi_arid_o, .m_axi_araddr_o, .m_axi_arlen_o, .m_axi_arsize_o,
    .m_axi_arburst_o, .m_axi_rvalid_i(m_axi_rvalid_q), .m_axi_rready_o, .m_axi_rid_i(m_axi_rid_q), .m_axi_rdata_i(m_axi_rdata_q),
    .m_axi_rresp_i(m_axi_rresp_q), .m_axi_rlast_i(m_axi_rlast_q), .m_axi_awvalid_o, .m_axi_awready_i(m_axi_awready_q), .m_axi_awid_o,
    .m_axi_awaddr_o, .m_axi_awlen_o, .m_axi_awsize_o, .m_axi_awburst_o, .m_axi_wvalid_o, .m_axi_wready_i(m_axi_wready_q), .m_axi_wdata_o,
    .m_axi_wstrb_o, .m_axi_wlast_o, .m_axi_bvalid_i(m_axi_bvalid_q), .m_axi_bready_o, .m_axi_bid_i(m_axi_bid_q),
    .m_axi_bresp_i(m_axi_bresp_q), .cmd_done_o, .cmd_index_o
  );

endmodule
