// SPDX-License-Identifier: Apache-2.0
// The NPU: AXI4-Lite registers, AXI4 master, level interrupt. Joins control, bus masters, the
// tensor core and the element engines. cmd_done_o / cmd_index_o are commit points: a pulse when a
// command's results are acknowledged by memory. Parameters are those of npu.toml; register values
// tell the host what this NPU was built with (HW0, HW1). One clock, one asynchronous reset.
module npu #(
  parameter int unsigned ROWS = npu_pkg::ROWS_DEFAULT,
  parameter int unsigned COLS = npu_pkg::COLS_DEFAULT,
  parameter int unsigned BUS_BYTES = npu_pkg::BUS_BYTES_DEFAULT,
  parameter int unsigned ACT_BYTES = npu_pkg::ACT_BYTES_DEFAULT,
  parameter int unsigned ACC_DEPTH = npu_pkg::ACC_DEPTH_DEFAULT,
  parameter int unsigned RQ_LANES = npu_pkg::RQ_LANES_DEFAULT,
  parameter int unsigned TRAINING = npu_pkg::TRAINING_DEFAULT
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  output logic                   irq_o,
  // AXI4-Lite slave: the host's registers, 32 bits wide at 12 bits of byte address.
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
  // AXI4 master: commands, tensors and results. Bursts of up to 16 words that never cross 4 KiB. The
  // ID names the client. NPU and bus are reset together, or the NPU once STATUS.DRAINING and
  // STATUS.BUSY are 0: what answers a request from before rst_ni cannot be told from a new answer.
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
  // Commit points: what model and RTL are compared at. Not needed to use the NPU.
  output logic                   cmd_done_o,
  output logic [31:0]            cmd_index_o
);

  localparam int unsigned DATA = BUS_BYTES * 8;
  // more than any increment: whole words are cheap to assemble in simulation
  localparam int unsigned INC = 32;
  localparam logic [npu_pkg::OPCODES-1:0] ELEMENT_OPCODES = ~npu_pkg::OPCODE_TILES;
  localparam int unsigned OP_BITS = $clog2(npu_pkg::OPCODES);
  // Widths of what the core counts in a cycle.
  localparam int unsigned LR = $clog2(ROWS);
  localparam int unsigned MB = LR + $clog2(COLS) + 1;

  // Control. The sequencer hands out one command at a time: desc is stable and start pulses, a bit
  // per opcode, until the engine says done. abort clears every engine and the bus clients.
  logic abort, progress, done, core_done;
  npu_pkg::desc_t desc;
  logic [npu_pkg::OPCODES-1:0] start;  // by opcode
  npu_types::perturbation_t perturbation;
  npu_types::update_t update;
  logic [npu_pkg::MAX_PAIRS*64-1:0] pair_seed;
  logic [npu_pkg::MAX_PAIRS*8-1:0] pair_coef;
  npu_types::loss_t loss;
  logic [npu_pkg::COUNTERS*INC-1:0] inc;
  logic busy;

  // Bus. Six clients read and two write: the core's write combiner and the element engines. All of a
  // client's signals are slices of these vectors at its number.
  localparam int unsigned CLIENTS = npu_pkg::READ_CLIENTS;
  localparam int unsigned FETCH = npu_pkg::READ_CLIENT_FETCH;
  localparam int unsigned LOAD = npu_pkg::READ_CLIENT_LOAD;  // the core's: LOAD to RES
  localparam int unsigned WEIGHT = npu_pkg::READ_CLIENT_WEIGHT;
  localparam int unsigned PARAM = npu_pkg::READ_CLIENT_PARAM;
  localparam int unsigned RES = npu_pkg::READ_CLIENT_RES;
  localparam int unsigned ELEM = npu_pkg::READ_CLIENT_ELEM;
  logic [CLIENTS-1:0] rd_req_valid, rd_req_ready, rd_rsp_valid, rd_rsp_ready, rd_rsp_last, rd_words;
  logic [CLIENTS*32-1:0] rd_req_addr;
  logic [CLIENTS*24-1:0] rd_req_bytes;
  logic [CLIENTS*DATA-1:0] rd_rsp_data;
  npu_types::read_status_t rd_status;
  logic rd_progress, rd_beats;
  localparam int unsigned WRITERS = npu_pkg::WRITE_CLIENTS;
  localparam int unsigned W_CORE = npu_pkg::WRITE_CLIENT_CORE;
  localparam int unsigned W_ELEM = npu_pkg::WRITE_CLIENT_ELEM;
  logic [WRITERS-1:0] wr_valid, wr_ready;
  logic [WRITERS*32-1:0] wr_addr;
  logic [WRITERS*DATA-1:0] wr_data;
  logic [WRITERS*BUS_BYTES-1:0] wr_strb;
  logic wr_idle, wr_quiet, wr_stray, wr_error, wr_error_client, wr_waiting, wr_progress, wr_beats, wr_flush;
  logic [6:0] wr_bytes;

  // The host's side: the pins of the AXI4-Lite slave, grouped. Inside there are four groups, one
  // per direction and channel pair.
  npu_types::axil_write_t axil_write;
  npu_types::axil_written_t axil_written;
  npu_types::axil_read_t axil_read;
  npu_types::axil_data_t axil_data;
  assign axil_write.awvalid = s_axil_awvalid_i;
  assign axil_write.awaddr = s_axil_awaddr_i;
  assign axil_write.wvalid = s_axil_wvalid_i;
  assign axil_write.wdata = s_axil_wdata_i;
  assign axil_write.wstrb = s_axil_wstrb_i;
  assign axil_write.bready = s_axil_bready_i;
  assign s_axil_awready_o = axil_written.awready;
  assign s_axil_wready_o = axil_written.wready;
  assign s_axil_bvalid_o = axil_written.bvalid;
  assign s_axil_bresp_o = axil_written.bresp;
  assign axil_read.arvalid = s_axil_arvalid_i;
  assign axil_read.araddr = s_axil_araddr_i;
  assign axil_read.rready = s_axil_rready_i;
  assign s_axil_arready_o = axil_data.arready;
  assign s_axil_rvalid_o = axil_data.rvalid;
  assign s_axil_rdata_o = axil_data.rdata;
  assign s_axil_rresp_o = axil_data.rresp;

  // Client 0 of the read master: descriptors. Only control uses it, so it needs no sharing.
  npu_types::read_request_t fetch_req;
  assign rd_req_valid[FETCH] = fetch_req.valid;
  assign rd_req_addr[FETCH*32 +: 32] = fetch_req.addr;
  assign rd_req_bytes[FETCH*24 +: 24] = fetch_req.bytes;

  // Control: registers, descriptors, sequencer and counters. It starts the engines, hears of their
  // last write by done and of its acknowledgement by wr_idle, and gets from the bus what went
  // wrong.
  npu_control #(
    .ROWS(ROWS), .COLS(COLS), .BUS_BYTES(BUS_BYTES), .ACT_BYTES(ACT_BYTES), .ACC_DEPTH(ACC_DEPTH),
    .RQ_LANES(RQ_LANES), .TRAINING(TRAINING), .INC_BITS(INC)
  ) u_control (
    .clk_i, .rst_ni, .axil_write_i(axil_write), .axil_written_o(axil_written),
    .axil_read_i(axil_read), .axil_data_o(axil_data), .irq_o,
    .rd_req_o(fetch_req), .rd_req_ready_i(rd_req_ready[FETCH]),
    .rd_rsp_valid_i(rd_rsp_valid[FETCH]),
    .rd_rsp_ready_o(rd_rsp_ready[FETCH]), .rd_rsp_data_i(rd_rsp_data[FETCH*DATA +: DATA]),
    .rd_rsp_last_i(rd_rsp_last[FETCH]), .rd_status_i(rd_status), .wr_error_i(wr_error),
    .wr_idle_i(wr_idle), .wr_flush_o(wr_flush), .wr_quiet_i(wr_quiet), .wr_stray_i(wr_stray),
    .abort_o(abort), .desc_o(desc),
    .engine_start_o(start), .engine_done_i(done), .progress_i(progress), .busy_o(busy),
    .perturbation_o(perturbation), .update_o(update), .pair_seed_o(pair_seed),
    .pair_coef_o(pair_coef), .loss_i(loss), .inc_i(inc), .cmd_done_o, .cmd_index_o
  );

  // The bus masters. Engines ask for ranges of bytes and get whole words, or hand over words with
  // byte enables; bursts, page limits, IDs and late answers are known here alone.
  npu_axi_read #(.BUS_BYTES(BUS_BYTES)) u_read (
    .clk_i, .rst_ni, .clear_i(abort),
    .req_valid_i(rd_req_valid), .req_ready_o(rd_req_ready), .req_addr_i(rd_req_addr),
    .req_bytes_i(rd_req_bytes), .rsp_valid_o(rd_rsp_valid), .rsp_ready_i(rd_rsp_ready),
    .rsp_data_o(rd_rsp_data), .rsp_last_o(rd_rsp_last), .arvalid_o(m_axi_arvalid_o),
    .arready_i(m_axi_arready_i), .arid_o(m_axi_arid_o), .araddr_o(m_axi_araddr_o),
    .arlen_o(m_axi_arlen_o), .arsize_o(m_axi_arsize_o), .arburst_o(m_axi_arburst_o),
    .rvalid_i(m_axi_rvalid_i), .rready_o(m_axi_rready_o), .rid_i(m_axi_rid_i),
    .rdata_i(m_axi_rdata_i), .rresp_i(m_axi_rresp_i), .rlast_i(m_axi_rlast_i), .status_o(rd_status),
    .progress_o(rd_progress), .cnt_words_o(rd_words), .cnt_beats_o(rd_beats)
  );

  npu_axi_write #(.BUS_BYTES(BUS_BYTES)) u_write (
    .clk_i, .rst_ni, .clear_i(abort), .flush_i(wr_flush),
    .wr_valid_i(wr_valid), .wr_ready_o(wr_ready), .wr_addr_i(wr_addr), .wr_data_i(wr_data),
    .wr_strb_i(wr_strb), .awvalid_o(m_axi_awvalid_o), .awready_i(m_axi_awready_i),
    .awid_o(m_axi_awid_o), .awaddr_o(m_axi_awaddr_o), .awlen_o(m_axi_awlen_o),
    .awsize_o(m_axi_awsize_o), .awburst_o(m_axi_awburst_o), .wvalid_o(m_axi_wvalid_o),
    .wready_i(m_axi_wready_i), .wdata_o(m_axi_wdata_o), .wstrb_o(m_axi_wstrb_o),
    .wlast_o(m_axi_wlast_o), .bvalid_i(m_axi_bvalid_i), .bready_o(m_axi_bready_o),
    .bid_i(m_axi_bid_i), .bresp_i(m_axi_bresp_i),
    .idle_o(wr_idle), .quiet_o(wr_quiet), .stray_o(wr_stray), .error_o(wr_error), .error_client_o(wr_error_client), .waiting_o(wr_waiting),
    .progress_o(wr_progress), .cnt_beats_o(wr_beats), .cnt_bytes_o(wr_bytes)
  );

  // Element engines: a_ ADD, s_ SOFTMAX, l_ LOSS, u_ UPDATE. Only one of them runs, and an idle one
  // asks for nothing, so that the answers of the shared clients need no gate per engine. Which one
  // that is, its busy signal says from the cycle after its start to its last one.
  logic a_busy, a_done, a_progress, a_req_valid, a_req2_valid, a_rsp_ready, a_rsp2_ready,
      a_wr_valid;
  logic s_busy, s_done, s_progress, s_req_valid, s_rsp_ready, s_wr_valid;
  logic l_busy, l_done, l_progress, l_req_valid, l_rsp_ready, l_wr_valid;
  logic u_busy, u_done, u_progress, u_req_valid, u_rsp_ready, u_wr_valid;
  logic [31:0] a_req_addr, a_req2_addr, s_req_addr, l_req_addr, u_req_addr, a_wr_addr, s_wr_addr,
      l_wr_addr, u_wr_addr;
  logic [23:0] a_req_bytes, a_req2_bytes, s_req_bytes, l_req_bytes, u_req_bytes;
  logic [DATA-1:0] a_wr_data, s_wr_data, l_wr_data, u_wr_data;
  logic [BUS_BYTES-1:0] a_wr_strb, s_wr_strb, l_wr_strb, u_wr_strb;
  logic e_busy;
  assign e_busy = a_busy || s_busy || l_busy || u_busy;

  // Tensor core: read clients 1..4, write client 0. CONV2D, DEPTHWISE and POOL are all its own, so
  // any of the three opcodes starts it. Client 4 is hidden from it while ADD runs.
  logic [3:0] c_req_valid, c_rsp_ready;
  logic [4*32-1:0] c_req_addr;
  logic [4*24-1:0] c_req_bytes;
  logic core_busy, core_moving;
  logic [7:0] core_waiting;
  logic [MB-1:0] c_macs, c_weight_loads;
  logic [6:0] c_ops, c_random, c_sat_low, c_sat_high;
  logic [7:0] c_perturbed, c_clipped;
  logic [LR:0] c_sram_writes;
  logic [1:0] c_acc_reads;
  logic c_sram_read, c_acc_write, c_array, c_stall_load, c_stall_weight, c_stall_drain, c_drain,
      c_pool;
  npu_core #(
    .ROWS(ROWS), .COLS(COLS), .BUS_BYTES(BUS_BYTES), .ACT_BYTES(ACT_BYTES), .ACC_DEPTH(ACC_DEPTH),
    .RQ_LANES(RQ_LANES), .TRAINING(TRAINING)
  ) u_core (
    .clk_i, .rst_ni, .clear_i(abort),
    .start_i((start & npu_pkg::OPCODE_TILES) != '0),
    .desc_i(desc), .polarity_i(perturbation.polarity), .dist_i(perturbation.gaussian),
    .seed_i(perturbation.seed), .mask_seed_i(perturbation.mask_seed), .busy_o(core_busy),
    .done_o(core_done), .rd_req_valid_o(c_req_valid),
    .rd_req_ready_i({rd_req_ready[RES] && !a_busy, rd_req_ready[PARAM:LOAD]}),
    .rd_req_addr_o(c_req_addr),
    .rd_req_bytes_o(c_req_bytes),
    .rd_rsp_valid_i({rd_rsp_valid[RES] && !a_busy, rd_rsp_valid[PARAM:LOAD]}),
    .rd_rsp_ready_o(c_rsp_ready),
    .rd_rsp_data_i(rd_rsp_data[LOAD*DATA +: 4*DATA]), .rd_rsp_last_i(rd_rsp_last[RES:LOAD]),
    .wr_valid_o(wr_valid[W_CORE]), .wr_ready_i(wr_ready[W_CORE]),
    .wr_addr_o(wr_addr[W_CORE*32 +: 32]),
    .wr_data_o(wr_data[W_CORE*DATA +: DATA]), .wr_strb_o(wr_strb[W_CORE*BUS_BYTES +: BUS_BYTES]),
    .moving_o(core_moving), .waiting_o(core_waiting),
    .cnt_macs_o(c_macs), .cnt_ops_o(c_ops), .cnt_sram_read_o(c_sram_read),
    .cnt_sram_writes_o(c_sram_writes), .cnt_acc_reads_o(c_acc_reads), .cnt_acc_write_o(c_acc_write),
    .cnt_weight_loads_o(c_weight_loads), .cnt_random_o(c_random), .cnt_perturbed_o(c_perturbed),
    .cnt_clipped_o(c_clipped), .cnt_sat_low_o(c_sat_low), .cnt_sat_high_o(c_sat_high),
    .cnt_array_active_o(c_array), .cnt_stall_load_o(c_stall_load),
    .cnt_stall_weight_o(c_stall_weight), .cnt_stall_drain_o(c_stall_drain),
    .cnt_drain_active_o(c_drain), .cnt_pool_active_o(c_pool)
  );

  // Their clock, and what they see: registers and inputs of idle ones stand still.
  typedef struct packed {
    logic clear;
    logic [npu_pkg::OPCODES-1:0] start;
    logic req_ready, rsp_valid, rsp_last, req2_ready, rsp2_valid, wr_ready;
  } element_control_t;
  logic e_clk, e_on, e_wake;
  logic [7:0] e_differs;
  element_control_t e_control;
  npu_pkg::desc_t e_desc;
  npu_types::perturbation_t e_perturbation;
  npu_types::update_t e_update;
  logic [npu_pkg::MAX_PAIRS*64-1:0] e_pair_seed;
  logic [npu_pkg::MAX_PAIRS*8-1:0] e_pair_coef;
  logic [DATA-1:0] e_rsp_data, e_rsp2_data;
  npu_clock u_element_clock (
    .clk_i, .rst_ni, .run_i(abort || e_busy || (start & ELEMENT_OPCODES) != '0), .on_o(e_on),
    .clk_o(e_clk)
  );
  npu_wake u_element_wake (.rst_ni, .differs_i(e_differs != '0), .wake_o(e_wake));
  npu_hold #(.WIDTH($bits(e_control))) u_control_held (
    .rst_ni, .on_i(e_on), .wake_i(e_wake),
    .in_i({abort, start, rd_req_ready[ELEM], rd_rsp_valid[ELEM], rd_rsp_last[ELEM],
           rd_req_ready[RES], rd_rsp_valid[RES], wr_ready[W_ELEM]}),
    .out_o(e_control), .differs_o(e_differs[0])
  );
  npu_hold #(.WIDTH($bits(desc))) u_desc_held (
    .rst_ni, .on_i(e_on), .wake_i(e_wake), .in_i(desc), .out_o(e_desc), .differs_o(e_differs[1])
  );
  npu_hold #(.WIDTH($bits(perturbation))) u_perturbation_held (
    .rst_ni, .on_i(e_on), .wake_i(e_wake), .in_i(perturbation), .out_o(e_perturbation),
    .differs_o(e_differs[2])
  );
  npu_hold #(.WIDTH($bits(update))) u_update_held (
    .rst_ni, .on_i(e_on), .wake_i(e_wake), .in_i(update), .out_o(e_update), .differs_o(e_differs[3])
  );
  npu_hold #(.WIDTH(npu_pkg::MAX_PAIRS * 64)) u_pair_seed_held (
    .rst_ni, .on_i(e_on), .wake_i(e_wake), .in_i(pair_seed), .out_o(e_pair_seed),
    .differs_o(e_differs[4])
  );
  npu_hold #(.WIDTH(npu_pkg::MAX_PAIRS * 8)) u_pair_coef_held (
    .rst_ni, .on_i(e_on), .wake_i(e_wake), .in_i(pair_coef), .out_o(e_pair_coef),
    .differs_o(e_differs[5])
  );
  npu_hold #(.WIDTH(DATA)) u_rsp_data_held (
    .rst_ni, .on_i(e_on), .wake_i(e_wake), .in_i(rd_rsp_data[ELEM*DATA +: DATA]),
    .out_o(e_rsp_data),
    .differs_o(e_differs[6])
  );
  npu_hold #(.WIDTH(DATA)) u_rsp2_data_held (
    .rst_ni, .on_i(e_on), .wake_i(e_wake), .in_i(rd_rsp_data[RES*DATA +: DATA]),
    .out_o(e_rsp2_data),
    .differs_o(e_differs[7])
  );

  // What the element engines count in a cycle.
  logic [2:0] a_elements, a_sat_low, a_sat_high;
  logic [6:0] u_elements, u_updated, u_zero, u_clipped;
  logic [7:0] u_random;
  logic s_element, l_element, l_random;

  // The element engines have the same ports where they can: start, descriptor, done, progress, a
  // read client and a write client. ADD reads its second addend through client RES, which is the
  // core's otherwise: two streams side by side need two clients.
  npu_add #(.BUS_BYTES(BUS_BYTES)) u_add (
    .clk_i(e_clk), .rst_ni, .clear_i(e_control.clear),
    .start_i(e_control.start[OP_BITS'(npu_pkg::OPCODE_ADD)]), .desc_i(e_desc),
    .busy_o(a_busy), .done_o(a_done), .progress_o(a_progress),
    .rd_req_valid_o(a_req_valid), .rd_req_ready_i(e_control.req_ready), .rd_req_addr_o(a_req_addr),
    .rd_req_bytes_o(a_req_bytes), .rd_rsp_valid_i(e_control.rsp_valid),
    .rd_rsp_ready_o(a_rsp_ready),
    .rd_rsp_data_i(e_rsp_data),
    .wr_valid_o(a_wr_valid), .wr_ready_i(e_control.wr_ready), .wr_addr_o(a_wr_addr),
    .wr_data_o(a_wr_data), .wr_strb_o(a_wr_strb),
    .rd2_req_valid_o(a_req2_valid), .rd2_req_ready_i(e_control.req2_ready),
    .rd2_req_addr_o(a_req2_addr),
    .rd2_req_bytes_o(a_req2_bytes), .rd2_rsp_valid_i(e_control.rsp2_valid),
    .rd2_rsp_ready_o(a_rsp2_ready), .rd2_rsp_data_i(e_rsp2_data),
    .cnt_elements_o(a_elements), .cnt_sat_low_o(a_sat_low), .cnt_sat_high_o(a_sat_high)
  );
  // SOFTMAX exists in an inference-only build, too; LOSS and UPDATE do not.
  npu_softmax #(.BUS_BYTES(BUS_BYTES)) u_softmax (
    .clk_i(e_clk), .rst_ni, .clear_i(e_control.clear),
    .start_i(e_control.start[OP_BITS'(npu_pkg::OPCODE_SOFTMAX)]), .desc_i(e_desc),
    .busy_o(s_busy), .done_o(s_done), .progress_o(s_progress),
    .rd_req_valid_o(s_req_valid), .rd_req_ready_i(e_control.req_ready), .rd_req_addr_o(s_req_addr),
    .rd_req_bytes_o(s_req_bytes), .rd_rsp_valid_i(e_control.rsp_valid),
    .rd_rsp_ready_o(s_rsp_ready),
    .rd_rsp_data_i(e_rsp_data),
    .wr_valid_o(s_wr_valid), .wr_ready_i(e_control.wr_ready), .wr_addr_o(s_wr_addr),
    .wr_data_o(s_wr_data), .wr_strb_o(s_wr_strb),
    .cnt_elements_o(s_element)
  );
  // LOSS draws the rounding of its errors from SEED. UPDATE has seeds of its own, one per pair, and
  // the mask's; perturbation's seed is no concern of it.
  if (TRAINING != 0) begin : gen_training
    npu_loss #(.BUS_BYTES(BUS_BYTES)) u_loss (
      .clk_i(e_clk), .rst_ni, .clear_i(e_control.clear),
      .start_i(e_control.start[OP_BITS'(npu_pkg::OPCODE_LOSS)]), .desc_i(e_desc),
      .busy_o(l_busy), .done_o(l_done), .progress_o(l_progress),
      .rd_req_valid_o(l_req_valid), .rd_req_ready_i(e_control.req_ready),
      .rd_req_addr_o(l_req_addr),
      .rd_req_bytes_o(l_req_bytes), .rd_rsp_valid_i(e_control.rsp_valid),
      .rd_rsp_ready_o(l_rsp_ready),
      .rd_rsp_data_i(e_rsp_data),
      .wr_valid_o(l_wr_valid), .wr_ready_i(e_control.wr_ready), .wr_addr_o(l_wr_addr),
      .wr_data_o(l_wr_data), .wr_strb_o(l_wr_strb),
      .loss_sum_o(loss.sum), .loss_correct_o(loss.correct), .loss_examples_o(loss.examples),
      .seed_i(e_perturbation.seed), .cnt_elements_o(l_element), .cnt_random_o(l_random)
    );
    npu_update #(.BUS_BYTES(BUS_BYTES)) u_update (
      .clk_i(e_clk), .rst_ni, .clear_i(e_control.clear),
      .start_i(e_control.start[OP_BITS'(npu_pkg::OPCODE_UPDATE)]), .desc_i(e_desc),
      .busy_o(u_busy), .done_o(u_done), .progress_o(u_progress),
      .rd_req_valid_o(u_req_valid), .rd_req_ready_i(e_control.req_ready),
      .rd_req_addr_o(u_req_addr),
      .rd_req_bytes_o(u_req_bytes), .rd_rsp_valid_i(e_control.rsp_valid),
      .rd_rsp_ready_o(u_rsp_ready),
      .rd_rsp_data_i(e_rsp_data),
      .wr_valid_o(u_wr_valid), .wr_ready_i(e_control.wr_ready), .wr_addr_o(u_wr_addr),
      .wr_data_o(u_wr_data), .wr_strb_o(u_wr_strb),
      .rd_rsp_last_i(e_control.rsp_last), .dist_i(e_perturbation.gaussian),
      .mask_seed_i(e_perturbation.mask_seed), .pairs_i(e_update.pairs), .pair_seed_i(e_pair_seed),
      .pair_coef_i(e_pair_coef), .step_i(e_update.step), .step_shift_i(e_update.step_shift),
      .cnt_elements_o(u_elements), .cnt_updated_o(u_updated), .cnt_zero_o(u_zero),
      .cnt_clipped_o(u_clipped), .cnt_random_o(u_random)
    );
    // The registers take the sums over when the command is done; until then they show those of the
    // LOSS before.
    assign loss.valid = l_done;
  // Without training their signals are constant zero, and what follows is simplified away:
  // npu_validate refuses the commands (UNSUPPORTED), so nothing ever waits for these engines.
  end else begin : gen_inference
    logic unused_training;
    assign unused_training =
        ^{e_control.rsp_last, e_perturbation, e_update, e_pair_seed, e_pair_coef};
    assign {l_busy, l_done, l_progress, l_req_valid, l_rsp_ready, l_wr_valid, l_req_addr,
        l_req_bytes, l_wr_addr, l_wr_data, l_wr_strb} = '0;
    assign {u_busy, u_done, u_progress, u_req_valid, u_rsp_ready, u_wr_valid, u_req_addr,
        u_req_bytes, u_wr_addr, u_wr_data, u_wr_strb} = '0;
    assign {loss, l_element, l_random} = '0;
    assign {u_elements, u_updated, u_zero, u_clipped, u_random} = '0;
  end

  // The running engine's side of the shared clients. Requests, acceptance of answers and writes are
  // gated by busy; answers go to all engines at once. While no element engine runs their
  // multiplexers see constants, so that neither gates nor a simulator have work.
  assign rd_req_valid[RES:LOAD] = {a_busy ? a_req2_valid : c_req_valid[3], c_req_valid[2:0]};
  assign rd_req_addr[LOAD*32 +: 4*32] =
      {a_busy ? a_req2_addr : c_req_addr[127:96], c_req_addr[95:0]};
  assign rd_req_bytes[LOAD*24 +: 4*24] =
      {a_busy ? a_req2_bytes : c_req_bytes[95:72], c_req_bytes[71:0]};
  assign rd_rsp_ready[RES:LOAD] = {a_busy ? a_rsp2_ready : c_rsp_ready[3], c_rsp_ready[2:0]};
  always_comb begin
    rd_req_valid[ELEM] = 1'b0;
    rd_req_addr[ELEM*32 +: 32] = '0;
    rd_req_bytes[ELEM*24 +: 24] = '0;
    rd_rsp_ready[ELEM] = 1'b0;
    wr_valid[W_ELEM] = 1'b0;
    wr_addr[W_ELEM*32 +: 32] = '0;
    wr_data[W_ELEM*DATA +: DATA] = '0;
    wr_strb[W_ELEM*BUS_BYTES +: BUS_BYTES] = '0;
    if (e_busy) begin
      rd_req_valid[ELEM] =
          a_busy ? a_req_valid : s_busy ? s_req_valid : l_busy ? l_req_valid : u_req_valid;
      rd_req_addr[ELEM*32 +: 32] =
          a_busy ? a_req_addr : s_busy ? s_req_addr : l_busy ? l_req_addr : u_req_addr;
      rd_req_bytes[ELEM*24 +: 24] =
          a_busy ? a_req_bytes : s_busy ? s_req_bytes : l_busy ? l_req_bytes : u_req_bytes;
      rd_rsp_ready[ELEM] =
          a_busy ? a_rsp_ready : s_busy ? s_rsp_ready : l_busy ? l_rsp_ready : u_rsp_ready;
      wr_valid[W_ELEM] =
          a_busy ? a_wr_valid : s_busy ? s_wr_valid : l_busy ? l_wr_valid : u_wr_valid;
      wr_addr[W_ELEM*32 +: 32] =
          a_busy ? a_wr_addr : s_busy ? s_wr_addr : l_busy ? l_wr_addr : u_wr_addr;
      wr_data[W_ELEM*DATA +: DATA] =
          a_busy ? a_wr_data : s_busy ? s_wr_data : l_busy ? l_wr_data : u_wr_data;
      wr_strb[W_ELEM*BUS_BYTES +: BUS_BYTES] =
          a_busy ? a_wr_strb : s_busy ? s_wr_strb : l_busy ? l_wr_strb : u_wr_strb;
    end
  end

  // done is the end of a command's last write, not yet its acknowledgement; progress is anything
  // that moved in this cycle, for the watchdog.
  assign done = core_done || a_done || s_done || l_done || u_done;
  // An engine's own progress matters only in cycles in which the bus has none.
  always_comb begin
    progress = rd_progress || wr_progress;
    if (e_busy && !progress) progress = a_progress || s_progress || l_progress || u_progress;
    if (!progress) progress = core_moving;
  end

  // Events: what each counter adds in this cycle (CONTRACT.md, from Traffic: inputs on, says what
  // they count). Later assignments win: an element engine overrides the core's, which is idle then.
  // COMMANDS, CMD_BYTES and CYCLES are counted in npu_control. Simulators join assignments to
  // neighbouring words into one wide one, so no two neighbours stand together.
  always_comb begin
    inc = '0;
    inc[npu_pkg::CNT_MACS*INC +: INC] = INC'(c_macs);
    inc[npu_pkg::CNT_SRAM_READS*INC +: INC] = INC'(c_sram_read);
    inc[npu_pkg::CNT_ACC_READS*INC +: INC] = INC'(c_acc_reads);
    inc[npu_pkg::CNT_WEIGHT_LOADS*INC +: INC] = INC'(c_weight_loads);
    inc[npu_pkg::CNT_ELEMENT_OPS*INC +: INC] = INC'(c_ops);
    inc[npu_pkg::CNT_SRAM_WRITES*INC +: INC] = INC'(c_sram_writes);
    inc[npu_pkg::CNT_ACC_WRITES*INC +: INC] = INC'(c_acc_write);
    inc[npu_pkg::CNT_RANDOM_WORDS*INC +: INC] = INC'(c_random);
    inc[npu_pkg::CNT_CLIPPED*INC +: INC] = INC'(c_clipped);
    inc[npu_pkg::CNT_SAT_HIGH*INC +: INC] = INC'(c_sat_high);
    inc[npu_pkg::CNT_PERTURBED*INC +: INC] = INC'(c_perturbed);
    inc[npu_pkg::CNT_SAT_LOW*INC +: INC] = INC'(c_sat_low);
    inc[npu_pkg::CNT_ARRAY_CYCLES*INC +: INC] = INC'(c_array);
    inc[npu_pkg::CNT_STALL_WEIGHT*INC +: INC] = INC'(c_stall_weight);
    inc[npu_pkg::CNT_DRAIN_CYCLES*INC +: INC] = INC'(c_drain);
    inc[npu_pkg::CNT_BUS_READ_BEATS*INC +: INC] = INC'(rd_beats);
    inc[npu_pkg::CNT_STALL_LOAD*INC +: INC] = INC'(c_stall_load);
    inc[npu_pkg::CNT_STALL_DRAIN*INC +: INC] = INC'(c_stall_drain);
    inc[npu_pkg::CNT_ELEMENT_CYCLES*INC +: INC] = INC'(c_pool);
    inc[npu_pkg::CNT_BUS_WRITE_BEATS*INC +: INC] = INC'(wr_beats);
    // Bytes read go by client. What the elem client reads is an input of its command, but for
    // UPDATE, which has a counter of its own; so have its writes.
    if (rd_words != '0) begin
      inc[npu_pkg::CNT_ACT_READ_BYTES*INC +: INC] =
          (rd_words[LOAD] || rd_words[RES] || (rd_words[ELEM] && !u_busy)) ? INC'(BUS_BYTES) : '0;
      inc[npu_pkg::CNT_PARAM_READ_BYTES*INC +: INC] = rd_words[PARAM] ? INC'(BUS_BYTES) : '0;
      inc[npu_pkg::CNT_WEIGHT_READ_BYTES*INC +: INC] = rd_words[WEIGHT] ? INC'(BUS_BYTES) : '0;
      inc[npu_pkg::CNT_UPDATE_READ_BYTES*INC +: INC] =
          (rd_words[ELEM] && u_busy) ? INC'(BUS_BYTES) : '0;
    end
    // An engine is busy until its last write was accepted, so busy says whose bytes these are.
    if (u_busy) inc[npu_pkg::CNT_UPDATE_WRITE_BYTES*INC +: INC] = INC'(wr_bytes);
    else inc[npu_pkg::CNT_ACT_WRITE_BYTES*INC +: INC] = INC'(wr_bytes);
    if (e_busy) begin  // the core is idle
      inc[npu_pkg::CNT_ELEMENT_CYCLES*INC +: INC] = INC'(1'b1);
      inc[npu_pkg::CNT_ELEMENT_OPS*INC +: INC] =
          a_busy ? INC'(a_elements) : s_busy ? INC'(s_element)
                 : l_busy ? INC'(l_element) : INC'(u_elements);
      inc[npu_pkg::CNT_SAT_LOW*INC +: INC] = INC'(a_sat_low);
      inc[npu_pkg::CNT_RANDOM_WORDS*INC +: INC] = l_busy ? INC'(l_random) : INC'(u_random);
      inc[npu_pkg::CNT_SAT_HIGH*INC +: INC] = INC'(a_sat_high);
      inc[npu_pkg::CNT_UPDATE_ZERO*INC +: INC] = INC'(u_zero);
      inc[npu_pkg::CNT_UPDATED*INC +: INC] = INC'(u_updated);
      inc[npu_pkg::CNT_UPDATE_CLIPPED*INC +: INC] = INC'(u_clipped);
    end
  end

  // Nobody here needs these: npu_sequencer finds out who is stuck from the bus clients that wait,
  // and the engine that runs from the opcode.
  logic unused;
  assign unused =
      ^{busy, core_busy, core_waiting, wr_error_client, wr_waiting, start, rd_words[FETCH],
        e_perturbation.polarity};

endmodule
