// SPDX-License-Identifier: Apache-2.0
// Registers behind an AXI4-Lite slave (cmodel/spec/REFERENCE.md). Reads of unknown offsets give 0,
// writes to them are dropped; both answer OKAY. One write and one read at a time. Offsets, resets,
// writable bits and the place of every field are those of npu_pkg.
module npu_regs #(
  parameter int unsigned ROWS = npu_pkg::ROWS_DEFAULT,
  parameter int unsigned COLS = npu_pkg::COLS_DEFAULT,
  parameter int unsigned BUS_BYTES = npu_pkg::BUS_BYTES_DEFAULT,
  parameter int unsigned ACT_BYTES = npu_pkg::ACT_BYTES_DEFAULT,
  parameter int unsigned ACC_DEPTH = npu_pkg::ACC_DEPTH_DEFAULT,
  parameter int unsigned RQ_LANES = npu_pkg::RQ_LANES_DEFAULT,
  parameter int unsigned TRAINING = npu_pkg::TRAINING_DEFAULT
) (
  input  logic                     clk_i,
  input  logic                     rst_ni,
  // AXI4-Lite
  input  npu_types::axil_write_t   axil_write_i,
  output npu_types::axil_written_t axil_written_o,
  input  npu_types::axil_read_t    axil_read_i,
  output npu_types::axil_data_t    axil_data_o,
  output logic                     irq_o,
  // CTRL
  output logic                     start_o,
  output logic                     soft_reset_o,
  // what the sequencer reports
  input  logic                     begin_i,         // a queue starts: clear status and error
  input  logic                     finish_i,        // the queue ended
  input  logic                     fail_i,          // the queue ended with an error
  input  npu_types::verdict_t      fail_verdict_i,
  input  logic                     busy_i,
  input  logic                     draining_i,      // answers from before an abort are due
  input  logic                     bus_lost_i,
  input  logic                     bus_stray_i,
  input  logic [31:0]              command_i,
  input  npu_types::loss_t         loss_i,
  // counters
  output logic [5:0]               counter_index_o,
  input  logic [63:0]              counter_i,
  // Run-time values. queue_addr_o is what the host has written, the others are what they were when
  // the queue began, so that the host can set up the next one meanwhile.
  output logic [31:0]              queue_addr_o,
  output npu_types::settings_t     settings_o,
  output logic [npu_pkg::MAX_PAIRS*64-1:0] pair_seed_o,
  output logic [npu_pkg::MAX_PAIRS*32-1:0] pair_coef_o
);

  localparam int unsigned PAIRS = npu_pkg::MAX_PAIRS;

  npu_types::settings_t written_q;
  logic [PAIRS*64-1:0] pair_seed_q;
  logic [PAIRS*32-1:0] pair_coef_q;

  // Writes. What a field means is in npu_pkg: nothing here knows a bit by its number.
  logic do_write, bvalid_q;
  logic [11:0] waddr;
  logic [31:0] wdata, merge_mask, irq_clear;
  logic [3:0] wstrb;
  assign do_write = axil_write_i.awvalid && axil_write_i.wvalid &&
      (!bvalid_q || axil_write_i.bready);
  assign axil_written_o.awready = do_write;
  assign axil_written_o.wready = do_write;
  assign axil_written_o.bvalid = bvalid_q;
  assign axil_written_o.bresp = 2'b00;
  assign waddr = {axil_write_i.awaddr[11:2], 2'b00};
  assign wdata = axil_write_i.wdata;
  assign wstrb = axil_write_i.wstrb;
  always_comb begin
    merge_mask = '0;
    soft_reset_o = 1'b0;
    start_o = 1'b0;
    irq_clear = '0;
    if (do_write) begin
      merge_mask = {{8{wstrb[3]}}, {8{wstrb[2]}}, {8{wstrb[1]}}, {8{wstrb[0]}}};
      if (waddr == npu_pkg::REG_CTRL) begin
        soft_reset_o = wdata[npu_pkg::CTRL_SOFT_RESET_LSB] &&
                       merge_mask[npu_pkg::CTRL_SOFT_RESET_LSB];
        start_o = wdata[npu_pkg::CTRL_START_LSB] && merge_mask[npu_pkg::CTRL_START_LSB] &&
                  !soft_reset_o;
      end
      if (waddr == npu_pkg::REG_IRQ_STATUS) irq_clear = wdata & merge_mask;
    end
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) bvalid_q <= 1'b0;
    else if (do_write) bvalid_q <= 1'b1;
    else if (axil_write_i.bready) bvalid_q <= 1'b0;
  end

  // A register after a write: strobed bytes, of them the bits that the register has.
  function automatic logic [31:0] merge(input logic [31:0] old, input logic [31:0] data,
                                        input logic [31:0] mask, input logic [31:0] written);
    merge = (old & ~(mask & written)) | (data & mask & written);
  endfunction

  logic [31:0] irq_enable_q;
  logic irq_done_q, irq_error_q, done_q, error_q;  // of IRQ_STATUS and STATUS
  logic [7:0] error_code_q;
  logic [31:0] error_command_q, error_info_q;
  logic [63:0] loss_sum_q;
  logic [31:0] loss_correct_q, loss_examples_q;

  // What the host writes has a clock of its own.
  logic write_clk, unused_on;
  npu_clock u_write_clock (
    .clk_i, .rst_ni, .run_i(do_write || begin_i), .on_o(unused_on), .clk_o(write_clk)
  );
  always_ff @(posedge write_clk or negedge rst_ni) begin
    if (!rst_ni) begin
      queue_addr_o <= npu_pkg::RESET_QUEUE_ADDR;
      written_q.queue_count <= npu_pkg::RESET_QUEUE_COUNT;
      written_q.mem_limit <= npu_pkg::RESET_MEM_LIMIT;
      written_q.watchdog <= npu_pkg::RESET_WATCHDOG;
      written_q.batch_addr <= npu_pkg::RESET_BATCH_ADDR;
      written_q.label_addr <= npu_pkg::RESET_LABEL_ADDR;
      written_q.out_addr <= npu_pkg::RESET_OUT_ADDR;
      written_q.polarity <= npu_pkg::RESET_POLARITY;
      written_q.distribution <= npu_pkg::RESET_DISTRIBUTION;
      written_q.seed[31:0] <= npu_pkg::RESET_SEED_LO;
      written_q.seed[63:32] <= npu_pkg::RESET_SEED_HI;
      written_q.mask_seed[31:0] <= npu_pkg::RESET_MASK_SEED_LO;
      written_q.mask_seed[63:32] <= npu_pkg::RESET_MASK_SEED_HI;
      written_q.pairs <= npu_pkg::RESET_PAIRS;
      written_q.step <= npu_pkg::RESET_STEP;
      irq_enable_q <= npu_pkg::RESET_IRQ_ENABLE;
    end else if (do_write) begin
      case (waddr)
        npu_pkg::REG_QUEUE_ADDR:
          queue_addr_o <= merge(queue_addr_o, wdata, merge_mask, npu_pkg::WRITTEN_QUEUE_ADDR);
        npu_pkg::REG_QUEUE_COUNT:
          written_q.queue_count <= merge(written_q.queue_count, wdata, merge_mask, npu_pkg::WRITTEN_QUEUE_COUNT);
        npu_pkg::REG_MEM_LIMIT:
          written_q.mem_limit <= merge(written_q.mem_limit, wdata, merge_mask, npu_pkg::WRITTEN_MEM_LIMIT);
        npu_pkg::REG_WATCHDOG:
          written_q.watchdog <= merge(written_q.watchdog, wdata, merge_mask, npu_pkg::WRITTEN_WATCHDOG);
        npu_pkg::REG_BATCH_ADDR:
          written_q.batch_addr <= merge(written_q.batch_addr, wdata, merge_mask, npu_pkg::WRITTEN_BATCH_ADDR);
        npu_pkg::REG_LABEL_ADDR:
          written_q.label_addr <= merge(written_q.label_addr, wdata, merge_mask, npu_pkg::WRITTEN_LABEL_ADDR);
        npu_pkg::REG_OUT_ADDR:
          written_q.out_addr <= merge(written_q.out_addr, wdata, merge_mask, npu_pkg::WRITTEN_OUT_ADDR);
        npu_pkg::REG_POLARITY:
          written_q.polarity <= merge(written_q.polarity, wdata, merge_mask, npu_pkg::WRITTEN_POLARITY);
        npu_pkg::REG_DISTRIBUTION:
          written_q.distribution <= merge(written_q.distribution, wdata, merge_mask,
                                  npu_pkg::WRITTEN_DISTRIBUTION);
        npu_pkg::REG_SEED_LO:
          written_q.seed[31:0] <= merge(written_q.seed[31:0], wdata, merge_mask, npu_pkg::WRITTEN_SEED_LO);
        npu_pkg::REG_SEED_HI:
          written_q.seed[63:32] <= merge(written_q.seed[63:32], wdata, merge_mask, npu_pkg::WRITTEN_SEED_HI);
        npu_pkg::REG_MASK_SEED_LO:
          written_q.mask_seed[31:0] <= merge(written_q.mask_seed[31:0], wdata, merge_mask,
                                     npu_pkg::WRITTEN_MASK_SEED_LO);
        npu_pkg::REG_MASK_SEED_HI:
          written_q.mask_seed[63:32] <= merge(written_q.mask_seed[63:32], wdata, merge_mask,
                                      npu_pkg::WRITTEN_MASK_SEED_HI);
        npu_pkg::REG_PAIRS:
          written_q.pairs <= merge(written_q.pairs, wdata, merge_mask, npu_pkg::WRITTEN_PAIRS);
        npu_pkg::REG_STEP:
          written_q.step <= merge(written_q.step, wdata, merge_mask, npu_pkg::WRITTEN_STEP);
        npu_pkg::REG_IRQ_ENABLE:
          irq_enable_q <= merge(irq_enable_q, wdata, merge_mask, npu_pkg::WRITTEN_IRQ_ENABLE);
        default: ;
      endcase
    end
  end

  // The pairs: arrays of registers.
  for (genvar j = 0; j < PAIRS; j++) begin : gen_pair
    localparam logic [11:0] SEED_LO =
        npu_pkg::REG_PAIR_SEED_LO + 12'(npu_pkg::STRIDE_PAIR_SEED_LO * j);
    localparam logic [11:0] SEED_HI =
        npu_pkg::REG_PAIR_SEED_HI + 12'(npu_pkg::STRIDE_PAIR_SEED_HI * j);
    localparam logic [11:0] COEF = npu_pkg::REG_PAIR_COEF + 12'(npu_pkg::STRIDE_PAIR_COEF * j);
    always_ff @(posedge write_clk or negedge rst_ni) begin
      if (!rst_ni) begin
        pair_seed_q[j*64 +: 64] <= {npu_pkg::RESET_PAIR_SEED_HI, npu_pkg::RESET_PAIR_SEED_LO};
        pair_coef_q[j*32 +: 32] <= npu_pkg::RESET_PAIR_COEF;
      end else if (do_write) begin
        if (waddr == SEED_LO) begin
          pair_seed_q[j*64 +: 32] <= merge(pair_seed_q[j*64 +: 32], wdata, merge_mask,
                                           npu_pkg::WRITTEN_PAIR_SEED_LO);
        end
        if (waddr == SEED_HI) begin
          pair_seed_q[j*64+32 +: 32] <= merge(pair_seed_q[j*64+32 +: 32], wdata, merge_mask,
                                              npu_pkg::WRITTEN_PAIR_SEED_HI);
        end
        if (waddr == COEF) begin
          pair_coef_q[j*32 +: 32] <= merge(pair_coef_q[j*32 +: 32], wdata, merge_mask,
                                           npu_pkg::WRITTEN_PAIR_COEF);
        end
      end
    end
  end

  // What the running queue has: begin_i comes in the cycle of the write that starts it.
  always_ff @(posedge write_clk or negedge rst_ni) begin
    if (!rst_ni) begin
      settings_o <= '0;
      pair_seed_o <= '0;
      pair_coef_o <= '0;
    end else if (begin_i) begin
      settings_o <= written_q;
      pair_seed_o <= pair_seed_q;
      pair_coef_o <= pair_coef_q;
    end
  end

  // Status, error and interrupt.
  assign irq_o = (irq_done_q && irq_enable_q[npu_pkg::IRQ_ENABLE_DONE_LSB]) ||
                 (irq_error_q && irq_enable_q[npu_pkg::IRQ_ENABLE_ERROR_LSB]);
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      done_q <= 1'b0;
      error_q <= 1'b0;
      irq_done_q <= 1'b0;
      irq_error_q <= 1'b0;
      error_code_q <= '0;
      error_command_q <= '0;
      error_info_q <= '0;
    end else begin
      if (do_write || fail_i || finish_i) begin
        irq_done_q <= !soft_reset_o &&
                      ((irq_done_q && !irq_clear[npu_pkg::IRQ_STATUS_DONE_LSB]) || finish_i);
        irq_error_q <= !soft_reset_o &&
                       ((irq_error_q && !irq_clear[npu_pkg::IRQ_STATUS_ERROR_LSB]) || fail_i);
      end
      if (begin_i || soft_reset_o) begin
        done_q <= 1'b0;
        error_q <= 1'b0;
        error_code_q <= '0;
        error_command_q <= '0;
        error_info_q <= '0;
      end else if (fail_i) begin
        done_q <= 1'b0;
        error_q <= 1'b1;
        error_code_q <= fail_verdict_i.code;
        error_command_q <= command_i;
        error_info_q <= fail_verdict_i.info;
      end else if (finish_i) begin
        done_q <= 1'b1;
        error_q <= 1'b0;
      end
    end
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      loss_sum_q <= '0;
      loss_correct_q <= '0;
      loss_examples_q <= '0;
    end else if (loss_i.valid) begin
      loss_sum_q <= loss_i.sum;
      loss_correct_q <= loss_i.correct;
      loss_examples_q <= loss_i.examples;
    end
  end

  // Reads. Registers made of fields, put together:
  logic do_read, rvalid_q;
  logic [11:0] raddr;
  logic [31:0] hw0, hw1, status, irq_status, error_code;
  always_comb begin
    hw0 = '0;
    hw0[npu_pkg::HW0_ROWS_LSB +: npu_pkg::HW0_ROWS_WIDTH] = npu_pkg::HW0_ROWS_WIDTH'(ROWS);
    hw0[npu_pkg::HW0_COLS_LSB +: npu_pkg::HW0_COLS_WIDTH] = npu_pkg::HW0_COLS_WIDTH'(COLS);
    hw0[npu_pkg::HW0_BUS_BYTES_LSB +: npu_pkg::HW0_BUS_BYTES_WIDTH] =
        npu_pkg::HW0_BUS_BYTES_WIDTH'(BUS_BYTES);
    hw0[npu_pkg::HW0_RQ_LANES_LSB +: npu_pkg::HW0_RQ_LANES_WIDTH] =
        npu_pkg::HW0_RQ_LANES_WIDTH'(RQ_LANES);
    hw1 = '0;
    hw1[npu_pkg::HW1_ACC_DEPTH_LSB +: npu_pkg::HW1_ACC_DEPTH_WIDTH] =
        npu_pkg::HW1_ACC_DEPTH_WIDTH'(ACC_DEPTH);
    hw1[npu_pkg::HW1_ACT_BYTES_LSB +: npu_pkg::HW1_ACT_BYTES_WIDTH] =
        npu_pkg::HW1_ACT_BYTES_WIDTH'($clog2(ACT_BYTES));
    hw1[npu_pkg::HW1_TRAINING_LSB] = TRAINING != 0;
  end
  always_comb begin
    status = '0;
    irq_status = '0;
    error_code = '0;
    if (do_read) begin
      status[npu_pkg::STATUS_BUSY_LSB] = busy_i;
      status[npu_pkg::STATUS_DONE_LSB] = done_q && !busy_i;
      status[npu_pkg::STATUS_ERROR_LSB] = error_q && !busy_i;
      status[npu_pkg::STATUS_DRAINING_LSB] = draining_i;
      status[npu_pkg::STATUS_BUS_LOST_LSB] = bus_lost_i;
      status[npu_pkg::STATUS_BUS_STRAY_LSB] = bus_stray_i;
      irq_status[npu_pkg::IRQ_STATUS_DONE_LSB] = irq_done_q;
      irq_status[npu_pkg::IRQ_STATUS_ERROR_LSB] = irq_error_q;
      error_code[npu_pkg::ERROR_CODE_CODE_LSB +: npu_pkg::ERROR_CODE_CODE_WIDTH] = error_code_q;
    end
  end

  // Elements of arrays, by their distance from the first.
  logic [11:0] counter_at;
  logic in_counters;
  logic [31:0] pair_value, value, rdata_q;
  assign do_read = axil_read_i.arvalid && (!rvalid_q || axil_read_i.rready);
  assign axil_data_o.arready = !rvalid_q || axil_read_i.rready;
  assign axil_data_o.rvalid = rvalid_q;
  assign axil_data_o.rdata = rdata_q;
  assign axil_data_o.rresp = 2'b00;
  assign raddr = {axil_read_i.araddr[11:2], 2'b00};
  assign counter_at = raddr - npu_pkg::REG_COUNTER;
  assign in_counters = (raddr >= npu_pkg::REG_COUNTER) &&
                       (counter_at < 12'(npu_pkg::COUNT_COUNTER * npu_pkg::STRIDE_COUNTER));
  assign counter_index_o = do_read ? counter_at[$clog2(npu_pkg::STRIDE_COUNTER) +: 6] : '1;  // none
  always_comb begin
    pair_value = '0;
    if (do_read) begin
      for (int unsigned j = 0; j < PAIRS; j++) begin
        if (raddr == npu_pkg::REG_PAIR_SEED_LO + 12'(npu_pkg::STRIDE_PAIR_SEED_LO * j))
          pair_value = pair_seed_q[j*64 +: 32];
        if (raddr == npu_pkg::REG_PAIR_SEED_HI + 12'(npu_pkg::STRIDE_PAIR_SEED_HI * j))
          pair_value = pair_seed_q[j*64+32 +: 32];
        if (raddr == npu_pkg::REG_PAIR_COEF + 12'(npu_pkg::STRIDE_PAIR_COEF * j))
          pair_value = pair_coef_q[j*32 +: 32];
      end
    end
  end
  always_comb begin
    value = '0;
    if (do_read) begin
      case (raddr)
        npu_pkg::REG_ID: value = npu_pkg::MAGIC;
        npu_pkg::REG_SPEC: value = npu_pkg::SPEC_HASH;
        npu_pkg::REG_HW0: value = hw0;
        npu_pkg::REG_HW1: value = hw1;
        npu_pkg::REG_STATUS: value = status;
        npu_pkg::REG_IRQ_STATUS: value = irq_status;
        npu_pkg::REG_ERROR_CODE: value = error_code;
        npu_pkg::REG_ERROR_COMMAND: value = error_command_q;
        npu_pkg::REG_ERROR_INFO: value = error_info_q;
        npu_pkg::REG_COMMAND: value = command_i;
        npu_pkg::REG_QUEUE_ADDR: value = queue_addr_o;
        npu_pkg::REG_QUEUE_COUNT: value = written_q.queue_count;
        npu_pkg::REG_MEM_LIMIT: value = written_q.mem_limit;
        npu_pkg::REG_WATCHDOG: value = written_q.watchdog;
        npu_pkg::REG_BATCH_ADDR: value = written_q.batch_addr;
        npu_pkg::REG_LABEL_ADDR: value = written_q.label_addr;
        npu_pkg::REG_OUT_ADDR: value = written_q.out_addr;
        npu_pkg::REG_POLARITY: value = written_q.polarity;
        npu_pkg::REG_DISTRIBUTION: value = written_q.distribution;
        npu_pkg::REG_SEED_LO: value = written_q.seed[31:0];
        npu_pkg::REG_SEED_HI: value = written_q.seed[63:32];
        npu_pkg::REG_MASK_SEED_LO: value = written_q.mask_seed[31:0];
        npu_pkg::REG_MASK_SEED_HI: value = written_q.mask_seed[63:32];
        npu_pkg::REG_PAIRS: value = written_q.pairs;
        npu_pkg::REG_STEP: value = written_q.step;
        npu_pkg::REG_IRQ_ENABLE: value = irq_enable_q;
        npu_pkg::REG_LOSS_LO: value = loss_sum_q[31:0];
        npu_pkg::REG_LOSS_HI: value = loss_sum_q[63:32];
        npu_pkg::REG_CORRECT: value = loss_correct_q;
        npu_pkg::REG_EXAMPLES: value = loss_examples_q;
        default: begin
          if (in_counters) value = counter_at[2] ? counter_i[63:32] : counter_i[31:0];
          else value = pair_value;
        end
      endcase
    end
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) rvalid_q <= 1'b0;
    else if (do_read) rvalid_q <= 1'b1;
    else if (axil_read_i.rready) rvalid_q <= 1'b0;
  end
  always_ff @(posedge clk_i) if (do_read) rdata_q <= value;

  logic unused;
  assign unused = ^{axil_write_i.awaddr[1:0], axil_read_i.araddr[1:0]};

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni)
                   rvalid_q && !axil_read_i.rready |=> rvalid_q && $stable(rdata_q) &&
                       $stable(axil_data_o.rresp));
  assert property (@(posedge clk_i) disable iff (!rst_ni)
                   bvalid_q && !axil_write_i.bready |=> bvalid_q && $stable(axil_written_o.bresp));
  assert property (@(posedge clk_i) disable iff (!rst_ni)
                   axil_write_i.awvalid && !axil_written_o.awready |=>
                   axil_write_i.awvalid && $stable(axil_write_i.awaddr));
  assert property (@(posedge clk_i) disable iff (!rst_ni)
                   axil_write_i.wvalid && !axil_written_o.wready |=>
                   axil_write_i.wvalid && $stable(axil_write_i.wdata) && $stable(axil_write_i.wstrb));
  assert property (@(posedge clk_i) disable iff (!rst_ni)
                   axil_read_i.arvalid && !axil_data_o.arready |=>
                   axil_read_i.arvalid && $stable(axil_read_i.araddr));
  // What the running queue has changes only when one begins.
  assert property (@(posedge clk_i) disable iff (!rst_ni)
                   !begin_i |=> $stable(settings_o) && $stable(pair_seed_o) &&
                       $stable(pair_coef_o));
  assert property (@(posedge clk_i) disable iff (!rst_ni) !(finish_i && fail_i));
`endif

endmodule
