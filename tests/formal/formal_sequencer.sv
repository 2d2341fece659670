// SPDX-License-Identifier: Apache-2.0
// npu_sequencer between a descriptor fetch, engines and a bus of which only the rules are assumed.
module formal_sequencer #(
  parameter int unsigned LIMIT = 5    // largest WATCHDOG; 0 is off
) (
  input logic                  clk_i,
  input logic                  rst_ni,
  input logic                  start_i,
  input logic                  soft_reset_i,
  input logic [31:0]           queue_addr_i,
  input logic [31:0]           queue_count_i,
  input logic [31:0]           mem_limit_i,
  input logic [31:0]           watchdog_i,
  input logic                  fetch_valid_i,
  input npu_pkg::desc_t        fetch_desc_i,
  input logic [127:0]          fetch_resolved_i,
  input logic [7:0]            fetch_code_i,
  input logic [31:0]           fetch_info_i,
  input logic                  engine_done_i,
  input logic                  progress_i,
  input logic                  rd_error_i,
  input logic [2:0]            rd_error_client_i,
  input logic [5:0]            rd_waiting_i,
  input logic                  wr_error_i,
  input logic                  wr_idle_i,
  input logic                  bus_quiet_i,
  input logic                  bus_stray_i
);
  localparam int unsigned OPS = npu_pkg::OPCODES;

  logic begins, finish, fail, busy, bus_lost, bus_stray, fetch_start, fetch_take, abort, wr_flush, cmd_done;
  logic [7:0] fail_code;
  logic [31:0] fail_info, command, fetch_addr, cmd_index;
  npu_pkg::desc_t desc;
  logic [OPS-1:0] engine_start;
  npu_sequencer dut (
    .clk_i, .rst_ni, .start_i, .soft_reset_i, .queue_addr_i, .queue_count_i, .mem_limit_i, .watchdog_i,
    .begin_o(begins), .finish_o(finish), .fail_o(fail), .fail_code_o(fail_code), .fail_info_o(fail_info),
    .busy_o(busy), .bus_lost_o(bus_lost), .bus_stray_o(bus_stray), .command_o(command), .fetch_start_o(fetch_start),
    .fetch_addr_o(fetch_addr), .fetch_valid_i, .fetch_take_o(fetch_take), .fetch_desc_i, .fetch_resolved_i,
    .fetch_code_i, .fetch_info_i, .abort_o(abort), .desc_o(desc), .engine_start_o(engine_start), .engine_done_i,
    .progress_i, .rd_error_i, .rd_error_client_i, .rd_waiting_i, .wr_error_i, .wr_idle_i, .wr_flush_o(wr_flush),
    .bus_quiet_i, .bus_stray_i, .cmd_done_o(cmd_done), .cmd_index_o(cmd_index)
  );
  (* anyconst *) logic [10:0] which;  // a bit of the descriptor, any of them
  logic bit_q, unused;
  assign unused = ^{fail_info, wr_flush};

  logic begun_q = 1'b0;
  always_ff @(posedge clk_i) begun_q <= 1'b1;

  // ---- What was asked of the others and is not over.
  logic fetching_q, running_q, writing_q, aborted_q, quiet_q, valid_q;
  logic [7:0] offered_q;
  logic [7:0] offered_code_q;
  logic start, start_q, queue_q, ended_q, reset_q, error_q;
  logic [31:0] base_q, next_q, limit_q, count_q, watchdog_q, index_q;
  logic [2:0] taken_q;
  logic [3:0] still_q;
  logic good_q;
  logic [OPS-1:0] op_q;
  assign start = engine_start != '0;
  always_ff @(posedge clk_i) begin
    quiet_q <= bus_quiet_i;
    aborted_q <= abort;
    valid_q <= rst_ni && fetch_valid_i && !fetch_take && !abort;
    offered_q <= fetch_desc_i.opcode;
    offered_code_q <= fetch_code_i;
    bit_q <= desc[which];
    limit_q <= mem_limit_i;
    count_q <= queue_count_i;
    watchdog_q <= watchdog_i;
    good_q <= rst_ni && fetch_take && (fetch_code_i == npu_pkg::ERROR_NONE);
    op_q <= OPS'(1) << fetch_desc_i.opcode[$clog2(OPS)-1:0];
    reset_q <= rst_ni && soft_reset_i;
    if (!rst_ni) begin
      fetching_q <= 1'b0;
      running_q <= 1'b0;
      writing_q <= 1'b0;
      start_q <= 1'b0;
      queue_q <= 1'b0;
      ended_q <= 1'b0;
      error_q <= 1'b0;
      index_q <= '0;
      taken_q <= '0;
      still_q <= '0;
      base_q <= '0;
    end else begin
      start_q <= start;
      ended_q <= finish || fail;
      // A descriptor is on its way from its request until it is taken; an engine runs from its start to its end.
      fetching_q <= !abort && ((fetching_q && !fetch_take) || fetch_start);
      running_q <= !abort && (start || (running_q && !engine_done_i));
      // What a command wrote is unacknowledged from its start until the bus was idle after its end.
      writing_q <= !abort && (start || (writing_q && (running_q || !wr_idle_i)));
      error_q <= (error_q || ((running_q || start || writing_q) && (rd_error_i || wr_error_i))) && !abort && !begins;
      queue_q <= begins || (queue_q && !(finish || fail || soft_reset_i));
      if (begins) base_q <= queue_addr_i;
      if (begins) next_q <= queue_addr_i;
      else if (fetch_start) next_q <= next_q + 32'(npu_pkg::DESC_BYTES);
      if (begins) index_q <= '0;
      else if (fetch_start) index_q <= index_q + 32'd1;
      if (begins) taken_q <= '0;
      else if (good_q) taken_q <= taken_q + 3'(taken_q != '1);
      still_q <= (busy && !progress_i && !fetch_take && !fetch_start) ? still_q + 4'(still_q != '1) : '0;
    end
  end

  // ---- Assumptions. Descriptors come after they were asked for and wait until they are taken; an engine ends once,
  // after it was started; only a clear makes the bus unquiet; the registers are those the queue began with.
  always_comb begin
    if (!begun_q) assume (!rst_ni);
    assume (32'(which) < 8 * npu_pkg::DESC_BYTES);
    if (!rst_ni) assume (!start_i && !soft_reset_i);
    if (fetch_valid_i) assume (fetching_q);
    if (valid_q) begin
      assume (fetch_valid_i && fetch_desc_i.opcode == offered_q && fetch_code_i == offered_code_q);
    end
    if (fetch_valid_i && fetch_code_i == npu_pkg::ERROR_NONE) begin
      assume (32'(fetch_desc_i.opcode) < OPS);   // npu_validate refuses the others
    end
    if (engine_done_i) assume (running_q);
    if (begun_q && quiet_q && !aborted_q) assume (bus_quiet_i);
    if (queue_q) assume (queue_count_i == count_q && mem_limit_i == limit_q && watchdog_i == watchdog_q);
    if (start_i && soft_reset_i) assume (1'b0);  // npu_regs
    assume (watchdog_i <= LIMIT);
    assume (queue_count_i <= 32'd7 && queue_addr_i[31:12] == '0 && mem_limit_i[31:12] == '0);  // short queues
  end

  // ---- What must hold.
  always_comb begin
    if (begun_q && rst_ni) begin
      start_one_hot: assert ((engine_start & (engine_start - 1'b1)) == '0);
      start_on_quiet_bus: assert (!(start || fetch_start) || bus_quiet_i);
      start_after_good_descriptor: assert (!start || (good_q && engine_start == op_q));
      start_after_end_of_last: assert (!start || (!running_q && !writing_q));
      start_in_queue: assert (!(start || fetch_start || fetch_take || cmd_done) || busy);
      start_pulse: assert (!(start && start_q));
      idle_after_soft_reset: assert (!reset_q || (!busy && !start && !fetch_start && !cmd_done));
      soft_reset_ends_nothing: assert (!soft_reset_i || (abort && !finish && !fail && !begins));
      busy_is_queue: assert (busy == queue_q);
      begins_when_idle: assert (!begins || (start_i && !busy));
      ends_once: assert (!(finish || fail) || (queue_q && !(finish && fail)));
      ends_idle: assert (!ended_q || !busy);
      fail_aborts: assert (!fail || (abort && fail_code != npu_pkg::ERROR_NONE));
      abort_has_reason: assert (!abort || soft_reset_i || fail);
      one_fetch: assert (!fetch_start || !fetching_q);
      takes_offered: assert (!fetch_take || (fetch_valid_i && !running_q && !writing_q));
      fetch_address: assert (!fetch_start || fetch_addr == next_q);
      fetch_in_queue: assert (!fetch_start || index_q < queue_count_i);
      fetch_in_memory: assert (!fetch_start || (queue_count_i != '0 &&
        64'(base_q) + 64'(queue_count_i) * 64'(npu_pkg::DESC_BYTES) <= 64'(mem_limit_i) && base_q[5:0] == '0));
      finish_is_clean: assert (!finish || (!running_q && !writing_q && !fetching_q && !error_q && bus_quiet_i));
      done_is_clean: assert (!cmd_done || (!running_q && !writing_q && !error_q));
      desc_stable: assert (good_q || desc[which] == bit_q || !busy);
      watchdog: assert (!busy || watchdog_i == '0 || 32'(still_q) <= watchdog_i + 32'd4);
      stray_fails: assert (!(bus_stray && finish));
    end
    if (begun_q && rst_ni) begin
      two_commands: cover (finish && command == 32'd1 && taken_q == 3'd2);
      fails: cover (fail && fail_code == npu_pkg::ERROR_WATCHDOG && running_q);
      waits_for_bus: cover (start && was_unquiet_q);
      end_early: cover (finish && command == 32'd1 && queue_count_i > 32'd3);
    end
  end
  logic was_unquiet_q;
  always_ff @(posedge clk_i) was_unquiet_q <= rst_ni && (was_unquiet_q || (!bus_quiet_i && queue_q));
endmodule
