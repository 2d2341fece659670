// SPDX-License-Identifier: Apache-2.0
// Everything between the host's registers and the engines: registers, counters, descriptor fetch
// and validation, the sequencer. Nothing is computed here; what this module adds is which bits of a
// register its users get and who hears of which bus error.
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
  input  npu_types::axil_write_t        axil_write_i,
  output npu_types::axil_written_t      axil_written_o,
  input  npu_types::axil_read_t         axil_read_i,
  output npu_types::axil_data_t         axil_data_o,
  output logic                          irq_o,
  // read client 0
  output npu_types::read_request_t      rd_req_o,
  input  logic                          rd_req_ready_i,
  input  logic                          rd_rsp_valid_i,
  output logic                          rd_rsp_ready_o,
  input  logic [BUS_BYTES*8-1:0]        rd_rsp_data_i,
  input  logic                          rd_rsp_last_i,
  // bus: npu_axi_read and npu_axi_write
  input  npu_types::read_status_t       rd_status_i,
  input  logic                          wr_error_i,
  input  logic                          wr_idle_i,
  output logic                          wr_flush_o,
  input  logic                          wr_quiet_i,
  input  logic                          wr_stray_i,
  // engines
  output logic                          abort_o,         // clear_i of every engine and of the bus
  output npu_pkg::desc_t                desc_o,
  output logic [npu_pkg::OPCODES-1:0]   engine_start_o,  // pulse, by opcode
  input  logic                          engine_done_i,
  input  logic                          progress_i,      // engines or bus
  output logic                          busy_o,
  // run-time values
  output npu_types::perturbation_t      perturbation_o,
  output npu_types::update_t            update_o,
  output logic [npu_pkg::MAX_PAIRS*64-1:0] pair_seed_o,
  output logic [npu_pkg::MAX_PAIRS*8-1:0]  pair_coef_o,
  input  npu_types::loss_t              loss_i,
  // events of the engines; COMMANDS, CMD_BYTES and CYCLES are counted here
  input  logic [npu_pkg::COUNTERS*INC_BITS-1:0] inc_i,
  output logic                          cmd_done_o,
  output logic [31:0]                   cmd_index_o
);

  logic start, soft_reset, queue_begin, finish, fail;
  npu_types::verdict_t fail_verdict;
  logic [31:0] command;
  logic [5:0] counter_index;
  logic [63:0] counter;
  logic [31:0] queue_addr;
  npu_types::settings_t settings;
  logic bus_quiet, bus_lost, bus_stray;
  logic [npu_pkg::MAX_PAIRS*32-1:0] pair_coef;

  // All values that the host writes come from here; what the queue and LOSS report goes back.
  npu_regs #(
    .ROWS(ROWS), .COLS(COLS), .BUS_BYTES(BUS_BYTES), .ACT_BYTES(ACT_BYTES), .ACC_DEPTH(ACC_DEPTH),
    .RQ_LANES(RQ_LANES), .TRAINING(TRAINING)
  ) u_regs (
    .clk_i, .rst_ni, .axil_write_i, .axil_written_o, .axil_read_i, .axil_data_o, .irq_o,
    .start_o(start), .soft_reset_o(soft_reset), .begin_i(queue_begin), .finish_i(finish),
    .fail_i(fail), .fail_verdict_i(fail_verdict), .busy_i(busy_o), .draining_i(!bus_quiet),
    .bus_lost_i(bus_lost), .bus_stray_i(bus_stray), .command_i(command), .loss_i,
    .counter_index_o(counter_index), .counter_i(counter), .queue_addr_o(queue_addr),
    .settings_o(settings), .pair_seed_o, .pair_coef_o(pair_coef)
  );
  assign bus_quiet = rd_status_i.quiet && wr_quiet_i;
  // Of a run-time register its users get the bits that a valid value can have; npu_validate, which
  // gets all of them, refuses a command before it meets another value.
  assign perturbation_o.polarity = settings.polarity[npu_pkg::POLARITY_VALUE_LSB +: 2];
  assign perturbation_o.gaussian = settings.distribution[npu_pkg::DISTRIBUTION_VALUE_LSB];
  assign perturbation_o.seed = settings.seed;
  assign perturbation_o.mask_seed = settings.mask_seed;
  assign update_o.pairs = settings.pairs[npu_pkg::PAIRS_VALUE_LSB +: 4];
  assign update_o.step = settings.step[npu_pkg::STEP_MANTISSA_LSB +: npu_pkg::STEP_MANTISSA_WIDTH];
  assign update_o.step_shift = settings.step[npu_pkg::STEP_SHIFT_LSB +: npu_pkg::STEP_SHIFT_WIDTH];
  for (genvar j = 0; j < npu_pkg::MAX_PAIRS; j++) begin : gen_coef
    logic unused;
    assign pair_coef_o[j*8 +: 8] = pair_coef[j*32+npu_pkg::PAIR_COEF_VALUE_LSB +: 8];
    assign unused =
        ^pair_coef[j*32+npu_pkg::PAIR_COEF_UNUSED_LSB +: npu_pkg::PAIR_COEF_UNUSED_WIDTH];
  end
  logic unused_step;
  assign unused_step = ^settings.step[npu_pkg::STEP_UNUSED_LSB +: npu_pkg::STEP_UNUSED_WIDTH];

  logic fetch_start, fetch_valid, fetch_take, fetch_busy, fetch_moving;
  logic [31:0] fetch_addr;
  npu_types::verdict_t fetch_verdict;
  npu_pkg::desc_t fetch_desc;
  logic [127:0] fetch_resolved;
  // The next descriptor is fetched and checked while a command runs; the sequencer says where it
  // lies and takes it when the command is done.
  npu_fetch #(.ROWS(ROWS), .BUS_BYTES(BUS_BYTES), .ACT_BYTES(ACT_BYTES), .ACC_DEPTH(ACC_DEPTH),
      .TRAINING(TRAINING)) u_fetch (
    .clk_i, .rst_ni, .clear_i(abort_o), .start_i(fetch_start), .addr_i(fetch_addr),
    .busy_o(fetch_busy), .moving_o(fetch_moving), .valid_o(fetch_valid),
    .take_i(fetch_take), .desc_o(fetch_desc), .addr_o(fetch_resolved), .verdict_o(fetch_verdict),
    .bus_error_i(rd_status_i.error && (rd_status_i.client == 3'(npu_pkg::READ_CLIENT_FETCH))),
    .polarity_i(settings.polarity), .distribution_i(settings.distribution),
    .pairs_i(settings.pairs), .step_shift_i(update_o.step_shift),
    .batch_addr_i(settings.batch_addr), .label_addr_i(settings.label_addr),
    .out_addr_i(settings.out_addr), .mem_limit_i(settings.mem_limit), .rd_req_o, .rd_req_ready_i, .rd_rsp_valid_i,
    .rd_rsp_ready_o, .rd_rsp_data_i, .rd_rsp_last_i
  );

  // A bus error of client 0 belongs to a descriptor and is told by its verdict; the others' belong
  // to the running command.
  npu_sequencer u_sequencer (
    .clk_i, .rst_ni, .start_i(start), .soft_reset_i(soft_reset), .queue_addr_i(queue_addr),
    .queue_count_i(settings.queue_count), .mem_limit_i(settings.mem_limit),
    .watchdog_i(settings.watchdog), .bus_lost_o(bus_lost), .bus_stray_o(bus_stray),
    .bus_quiet_i(bus_quiet), .bus_stray_i(rd_status_i.stray || wr_stray_i),
    .begin_o(queue_begin), .finish_o(finish), .fail_o(fail), .fail_code_o(fail_verdict.code),
    .fail_info_o(fail_verdict.info), .busy_o, .command_o(command), .fetch_start_o(fetch_start),
    .fetch_addr_o(fetch_addr), .fetch_valid_i(fetch_valid), .fetch_take_o(fetch_take),
    .fetch_desc_i(fetch_desc), .fetch_resolved_i(fetch_resolved), .fetch_code_i(fetch_verdict.code),
    .fetch_info_i(fetch_verdict.info), .abort_o, .desc_o, .engine_start_o, .engine_done_i,
    .progress_i(progress_i || fetch_moving),
    .rd_error_i(rd_status_i.error && (rd_status_i.client != 3'(npu_pkg::READ_CLIENT_FETCH))),
    .rd_error_client_i(rd_status_i.client), .rd_waiting_i(rd_status_i.waiting), .wr_error_i,
    .wr_idle_i, .wr_flush_o, .cmd_done_o, .cmd_index_o
  );
  logic unused_fetch;
  assign unused_fetch = fetch_busy;

  // COMMANDS counts those that ran (not END), CMD_BYTES the descriptors that were used, CYCLES the
  // time from start to end.
  npu_counters #(.INC_BITS(INC_BITS)) u_counters (
    .clk_i, .rst_ni, .clear_i(queue_begin), .inc_i, .command_i(cmd_done_o),
    .fetched_i(fetch_take && (fetch_verdict.code != npu_pkg::ERROR_BUS_READ)), .busy_i(busy_o),
    .index_i(counter_index), .value_o(counter)
  );

endmodule
