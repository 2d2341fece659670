// SPDX-License-Identifier: Apache-2.0
// Everything between the host's registers and the engines: registers, counters, descriptor fetch and validation, the sequencer.
module npu_control #(
  parameter int unsigned ROWS = npu_pkg::ROWS_DEFAULT,
  parameter int unsigned COLS = npu_pkg::COLS_DEFAULT,
  parameter int unsigned BUS_BYTES = npu_pkg::BUS_BYTES_DEFAULT,
  parameter int unsigned ACT_BYTES = npu_pkg::ACT_BYTES_DEFAULT,
  parameter int unsigned ACC_DEPTH = npu_pkg::ACC_DEPTH_DEFAULT,
  parameter int unsigned RQ_LANES = npu_pkg::RQ_LANES_DEFAULT,
  parameter int unsigned TRAINING = npu_pkg::TRAINING_DEFAULT,
  parameter int unsigned INC_BITS = 16
) (
  input  logic                          clk_i,
  input  logic                          rst_ni,
  // host
  input  logic                          s_axil_awvalid_i,
  output logic                          s_axil_awready_o,
  input  logic [11:0]                   s_axil_awaddr_i,
  input  logic                          s_axil_wvalid_i,
  output logic                          s_axil_wready_o,
  input  logic [31:0]                   s_axil_wdata_i,
  input  logic [3:0]                    s_axil_wstrb_i,
  output logic                          s_axil_bvalid_o,
  input  logic                          s_axil_bready_i,
  output logic [1:0]                    s_axil_bresp_o,
  input  logic                          s_axil_arvalid_i,
  output logic                          s_axil_arready_o,
  input  logic [11:0]                   s_axil_araddr_i,
  output logic                          s_axil_rvalid_o,
  input  logic                          s_axil_rready_i,
  output logic [31:0]                   s_axil_rdata_o,
  output logic [1:0]                    s_axil_rresp_o,
  output logic                          irq_o,
  // read client 0
  output logic                          rd_req_valid_o,
  input  logic                          rd_req_ready_i,
  output logic [31:0]                   rd_req_addr_o,
  output logic [23:0]                   rd_req_bytes_o,
  input  logic                          rd_rsp_valid_i,
  output logic                          rd_rsp_ready_o,
  input  logic [BUS_BYTES*8-1:0]        rd_rsp_data_i,
  input  logic                          rd_rsp_last_i,
  // bus: npu_axi_read and npu_axi_write
  input  logic                          rd_error_i,
  input  logic [2:0]                    rd_error_client_i,
  input  logic [5:0]                    rd_waiting_i,
  input  logic                          wr_error_i,
  input  logic                          wr_idle_i,
  output logic                          wr_flush_o,
  // engines
  output logic                          abort_o,         // clear_i of every engine and of the bus
  output npu_pkg::desc_t desc_o,
  output logic [7:0]                    engine_start_o,  // pulse, by opcode
  input  logic                          engine_done_i,
  input  logic                          progress_i,      // engines or bus
  output logic                          busy_o,
  // run-time values
  output logic [1:0]                    polarity_o,      // valid ones only; npu_validate has refused others
  output logic                          dist_o,
  output logic [63:0]                   seed_o,
  output logic [63:0]                   mask_seed_o,
  output logic [3:0]                    pairs_o,
  output logic [npu_pkg::MAX_PAIRS*64-1:0] pair_seed_o,
  output logic [npu_pkg::MAX_PAIRS*8-1:0]  pair_coef_o,
  output logic [15:0]                   step_o,
  output logic [5:0]                    step_shift_o,
  // results of LOSS
  input  logic                          loss_we_i,
  input  logic [63:0]                   loss_sum_i,
  input  logic [31:0]                   loss_correct_i,
  input  logic [31:0]                   loss_examples_i,
  // events of the engines; COMMANDS, CMD_BYTES and CYCLES are counted here
  input  logic [npu_pkg::COUNTERS*INC_BITS-1:0] inc_i,
  output logic                          cmd_done_o,
  output logic [31:0]                   cmd_index_o
);

  logic start, soft_reset, queue_begin, finish, fail;
  logic [7:0] fail_code;
  logic [31:0] fail_info, command;
  logic [5:0] counter_index;
  logic [63:0] counter;
  logic [31:0] queue_addr, queue_count, mem_limit, watchdog, batch_addr, label_addr, out_addr, polarity, distribution, pairs, step;
  logic [npu_pkg::MAX_PAIRS*32-1:0] pair_coef;

  npu_regs #(
    .ROWS(ROWS), .COLS(COLS), .BUS_BYTES(BUS_BYTES), .ACT_BYTES(ACT_BYTES), .ACC_DEPTH(ACC_DEPTH), .RQ_LANES(RQ_LANES), .TRAINING(TRAINING)
  ) u_regs (
    .clk_i, .rst_ni,
    .awvalid_i(s_axil_awvalid_i), .awready_o(s_axil_awready_o), .awaddr_i(s_axil_awaddr_i), .wvalid_i(s_axil_wvalid_i),
    .wready_o(s_axil_wready_o), .wdata_i(s_axil_wdata_i), .wstrb_i(s_axil_wstrb_i), .bvalid_o(s_axil_bvalid_o),
    .bready_i(s_axil_bready_i), .bresp_o(s_axil_bresp_o), .arvalid_i(s_axil_arvalid_i), .arready_o(s_axil_arready_o),
    .araddr_i(s_axil_araddr_i), .rvalid_o(s_axil_rvalid_o), .rready_i(s_axil_rready_i), .rdata_o(s_axil_rdata_o), .rresp_o(s_axil_rresp_o),
    .irq_o, .start_o(start), .soft_reset_o(soft_reset), .begin_i(queue_begin), .finish_i(finish), .fail_i(fail), .fail_code_i(fail_code),
    .fail_info_i(fail_info), .busy_i(busy_o), .command_i(command), .loss_we_i, .loss_sum_i, .loss_correct_i, .loss_examples_i,
    .counter_index_o(counter_index), .counter_i(counter), .queue_addr_o(queue_addr), .queue_count_o(queue_count),
    .mem_limit_o(mem_limit), .watchdog_o(watchdog), .batch_addr_o(batch_addr), .label_addr_o(label_addr), .out_addr_o(out_addr),
    .polarity_o(polarity), .distribution_o(distribution), .seed_o, .mask_seed_o, .pairs_o(pairs), .step_o(step), .pair_seed_o,
    .pair_coef_o(pair_coef)
  );
  assign polarity_o = polarity[1:0];
  assign dist_o = distribution[0];
  assign pairs_o = pairs[3:0];
  assign step_o = step[15:0];
  assign step_shift_o = step[21:16];
  for (genvar j = 0; j < npu_pkg::MAX_PAIRS; j++) begin : gen_coef
    logic unused;
    assign pair_coef_o[j*8 +: 8] = pair_coef[j*32 +: 8];
    assign unused = ^pair_coef[j*32+8 +: 24];
  end
  logic unused_step;
  assign unused_step = ^{step[31:22]};

  logic fetch_start, fetch_valid, fetch_take, fetch_busy, fetch_moving;
  logic [31:0] fetch_addr, fetch_info;
  logic [7:0] fetch_code;
  npu_pkg::desc_t fetch_desc;
  logic [127:0] fetch_resolved;
  npu_fetch #(.ROWS(ROWS), .BUS_BYTES(BUS_BYTES), .ACT_BYTES(ACT_BYTES), .ACC_DEPTH(ACC_DEPTH), .TRAINING(TRAINING)) u_fetch (
    .clk_i, .rst_ni, .clear_i(abort_o), .start_i(fetch_start), .addr_i(fetch_addr),
    .busy_o(fetch_busy), .moving_o(fetch_moving), .valid_o(fetch_valid),
    .take_i(fetch_take), .desc_o(fetch_desc), .addr_o(fetch_resolved), .code_o(fetch_code), .info_o(fetch_info),
    .bus_error_i(rd_error_i && (rd_error_client_i == 3'd0)), .polarity_i(polarity), .distribution_i(distribution), .pairs_i(pairs),
    .step_shift_i(step[21:16]), .batch_addr_i(batch_addr), .label_addr_i(label_addr), .out_addr_i(out_addr), .mem_limit_i(mem_limit),
    .rd_req_valid_o, .rd_req_ready_i, .rd_req_addr_o, .rd_req_bytes_o, .rd_rsp_valid_i, .rd_rsp_ready_o, .rd_rsp_data_i, .rd_rsp_last_i
  );

  npu_sequencer u_sequencer (
    .clk_i, .rst_ni, .start_i(start), .soft_reset_i(soft_reset), .queue_addr_i(queue_addr), .queue_count_i(queue_count),
    .mem_limit_i(mem_limit), .watchdog_i(watchdog), .begin_o(queue_begin), .finish_o(finish), .fail_o(fail), .fail_code_o(fail_code),
    .fail_info_o(fail_info), .busy_o, .command_o(command), .fetch_start_o(fetch_start), .fetch_addr_o(fetch_addr),
    .fetch_valid_i(fetch_valid), .fetch_take_o(fetch_take), .fetch_desc_i(fetch_desc), .fetch_resolved_i(fetch_resolved),
    .fetch_code_i(fetch_code),
    .fetch_info_i(fetch_info), .abort_o, .desc_o, .engine_start_o, .engine_done_i, .progress_i(progress_i || fetch_moving),
    .rd_error_i(rd_error_i && (rd_error_client_i != 3'd0)), .rd_error_client_i, .rd_waiting_i(rd_waiting_i[5:1]), .wr_error_i, .wr_idle_i, .wr_flush_o,
    .cmd_done_o, .cmd_index_o
  );
  logic unused_fetch;
  assign unused_fetch = ^{fetch_busy, rd_waiting_i[0]};

  // COMMANDS counts those that ran (not END), CMD_BYTES the descriptors that were used, CYCLES the time from start to end.
  npu_counters #(.INC_BITS(INC_BITS)) u_counters (
    .clk_i, .rst_ni, .clear_i(queue_begin), .inc_i, .command_i(cmd_done_o),
    .fetched_i(fetch_take && (fetch_code != npu_pkg::ERROR_BUS_READ)), .busy_i(busy_o), .index_i(counter_index), .value_o(counter)
  );

endmodule
