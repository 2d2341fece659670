// SPDX-License-Identifier: Apache-2.0
// Registers behind an AXI4-Lite slave (cmodel/spec/REFERENCE.md). Reads of unknown offsets give 0,
// writes to them are dropped; both answer OKAY. One write and one read at a time.
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
  input  logic [31:0]              command_i,
  input  npu_types::loss_t         loss_i,
  // counters
  output logic [5:0]               counter_index_o,
  input  logic [63:0]              counter_i,
  // run-time values
  output logic [31:0]              queue_addr_o,
  output logic [31:0]              queue_count_o,
  output logic [31:0]              mem_limit_o,
  output logic [31:0]              watchdog_o,
  output logic [31:0]              batch_addr_o,
  output logic [31:0]              label_addr_o,
  output logic [31:0]              out_addr_o,
  output logic [31:0]              polarity_o,
  output logic [31:0]              distribution_o,
  output logic [63:0]              seed_o,
  output logic [63:0]              mask_seed_o,
  output logic [31:0]              pairs_o,
  output logic [31:0]              step_o,
  output logic [npu_pkg::MAX_PAIRS*64-1:0] pair_seed_o,
  output logic [npu_pkg::MAX_PAIRS*32-1:0] pair_coef_o  // the coefficient: 7:0 of each
);

  localparam int unsigned PAIRS = npu_pkg::MAX_PAIRS;

  // Writes.
  logic do_write, bvalid_q;
  logic [11:0] waddr;
  logic [31:0] wdata, merge_mask;
  logic [3:0] wstrb;
  logic [1:0] irq_clear;
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
    irq_clear = 2'b00;
    if (do_write) begin
      merge_mask = {{8{wstrb[3]}}, {8{wstrb[2]}}, {8{wstrb[1]}}, {8{wstrb[0]}}};
      if ((waddr == npu_pkg::REG_CTRL) && wstrb[0]) begin
        soft_reset_o = wdata[1];
        start_o = wdata[1:0] == 2'b01;
      end
      if (waddr == npu_pkg::REG_IRQ_STATUS) irq_clear = wdata[1:0] & merge_mask[1:0];
    end
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) bvalid_q <= 1'b0;
    else if (do_write) bvalid_q <= 1'b1;
    else if (axil_write_i.bready) bvalid_q <= 1'b0;
  end

  function automatic logic [31:0] merge(input logic [31:0] old, input logic [31:0] data,
                                        input logic [31:0] mask);
    merge = (old & ~mask) | (data & mask);
  endfunction

  logic [1:0] irq_enable_q, irq_status_q, status_q;  // status: done, error
  logic [7:0] error_code_q;
  logic [31:0] error_command_q, error_info_q;
  logic [63:0] loss_sum_q;
  logic [31:0] loss_correct_q, loss_examples_q;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      queue_addr_o <= '0;
      queue_count_o <= '0;
      mem_limit_o <= 32'hffff_ffff;
      watchdog_o <= 32'd1000000;
      batch_addr_o <= '0;
      label_addr_o <= '0;
      out_addr_o <= '0;
      polarity_o <= '0;
      distribution_o <= '0;
      seed_o <= '0;
      mask_seed_o <= '0;
      pairs_o <= '0;
      step_o <= '0;
      irq_enable_q <= '0;
    end else if (do_write) begin
      case (waddr)
        npu_pkg::REG_QUEUE_ADDR: queue_addr_o <= merge(queue_addr_o, wdata, merge_mask);
        npu_pkg::REG_QUEUE_COUNT: queue_count_o <= merge(queue_count_o, wdata, merge_mask);
        npu_pkg::REG_MEM_LIMIT: mem_limit_o <= merge(mem_limit_o, wdata, merge_mask);
        npu_pkg::REG_WATCHDOG: watchdog_o <= merge(watchdog_o, wdata, merge_mask);
        npu_pkg::REG_BATCH_ADDR: batch_addr_o <= merge(batch_addr_o, wdata, merge_mask);
        npu_pkg::REG_LABEL_ADDR: label_addr_o <= merge(label_addr_o, wdata, merge_mask);
        npu_pkg::REG_OUT_ADDR: out_addr_o <= merge(out_addr_o, wdata, merge_mask);
        npu_pkg::REG_POLARITY: polarity_o <= merge(polarity_o, wdata, merge_mask);
        npu_pkg::REG_DISTRIBUTION: distribution_o <= merge(distribution_o, wdata, merge_mask);
        npu_pkg::REG_SEED_LO: seed_o[31:0] <= merge(seed_o[31:0], wdata, merge_mask);
        npu_pkg::REG_SEED_HI: seed_o[63:32] <= merge(seed_o[63:32], wdata, merge_mask);
        npu_pkg::REG_MASK_SEED_LO: mask_seed_o[31:0] <= merge(mask_seed_o[31:0], wdata, merge_mask);
        npu_pkg::REG_MASK_SEED_HI: mask_seed_o[63:32] <= merge(mask_seed_o[63:32], wdata,
            merge_mask);
        npu_pkg::REG_PAIRS: pairs_o <= merge(pairs_o, wdata, merge_mask);
        npu_pkg::REG_STEP: step_o <= merge(step_o, wdata, merge_mask);
        npu_pkg::REG_IRQ_ENABLE: irq_enable_q <= (irq_enable_q & ~merge_mask[1:0]) |
            (wdata[1:0] & merge_mask[1:0]);
        default: ;
      endcase
    end
  end

  for (genvar j = 0; j < PAIRS; j++) begin : gen_pair
    localparam logic [11:0] BASE = npu_pkg::REG_PAIR_SEED_LO + 12'(16 * j);
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) begin
        pair_seed_o[j*64 +: 64] <= '0;
        pair_coef_o[j*32 +: 32] <= '0;
      end else if (do_write && (waddr[11:4] == BASE[11:4])) begin
        if (waddr[3:2] == 2'd0)
          pair_seed_o[j*64 +: 32] <= merge(pair_seed_o[j*64 +: 32], wdata, merge_mask);
        if (waddr[3:2] == 2'd1)
          pair_seed_o[j*64+32 +: 32] <= merge(pair_seed_o[j*64+32 +: 32], wdata, merge_mask);
        if (waddr[3:2] == 2'd2)
          pair_coef_o[j*32 +: 32] <= merge(pair_coef_o[j*32 +: 32], wdata, merge_mask);
      end
    end
  end

  // Status, error and interrupt.
  assign irq_o = (irq_status_q & irq_enable_q) != 2'b00;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      status_q <= '0;
      irq_status_q <= '0;
      error_code_q <= '0;
      error_command_q <= '0;
      error_info_q <= '0;
    end else begin
      if (do_write || fail_i || finish_i)
        irq_status_q <= soft_reset_o ? 2'b00 : ((irq_status_q & ~irq_clear) | {fail_i, finish_i});
      if (begin_i || soft_reset_o) begin
        status_q <= '0;
        error_code_q <= '0;
        error_command_q <= '0;
        error_info_q <= '0;
      end else if (fail_i) begin
        status_q <= 2'b10;
        error_code_q <= fail_verdict_i.code;
        error_command_q <= command_i;
        error_info_q <= fail_verdict_i.info;
      end else if (finish_i) begin
        status_q <= 2'b01;
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

  // Reads.
  logic do_read, rvalid_q;
  logic [11:0] raddr;
  logic [31:0] value, rdata_q;
  assign do_read = axil_read_i.arvalid && (!rvalid_q || axil_read_i.rready);
  assign axil_data_o.arready = !rvalid_q || axil_read_i.rready;
  assign axil_data_o.rvalid = rvalid_q;
  assign axil_data_o.rdata = rdata_q;
  assign axil_data_o.rresp = 2'b00;
  assign raddr = {axil_read_i.araddr[11:2], 2'b00};
  assign counter_index_o = do_read ? raddr[8:3] : '1;  // none
  always_comb begin
    value = '0;
    if (do_read) begin
      case (raddr)
        npu_pkg::REG_ID: value = npu_pkg::MAGIC;
        npu_pkg::REG_SPEC: value = npu_pkg::SPEC_HASH;
        npu_pkg::REG_HW0: value = {8'(RQ_LANES), 8'(BUS_BYTES), 8'(COLS), 8'(ROWS)};
        npu_pkg::REG_HW1: value = {7'd0, TRAINING != 0, 8'($clog2(ACT_BYTES)), 16'(ACC_DEPTH)};
        npu_pkg::REG_STATUS: value = busy_i ? 32'd1 : {29'd0, status_q, 1'b0};
        npu_pkg::REG_IRQ_STATUS: value = {30'd0, irq_status_q};
        npu_pkg::REG_IRQ_ENABLE: value = {30'd0, irq_enable_q};
        npu_pkg::REG_ERROR_CODE: value = {24'd0, error_code_q};
        npu_pkg::REG_ERROR_COMMAND: value = error_command_q;
        npu_pkg::REG_ERROR_INFO: value = error_info_q;
        npu_pkg::REG_COMMAND: value = command_i;
        npu_pkg::REG_QUEUE_ADDR: value = queue_addr_o;
        npu_pkg::REG_QUEUE_COUNT: value = queue_count_o;
        npu_pkg::REG_MEM_LIMIT: value = mem_limit_o;
        npu_pkg::REG_WATCHDOG: value = watchdog_o;
        npu_pkg::REG_BATCH_ADDR: value = batch_addr_o;
        npu_pkg::REG_LABEL_ADDR: value = label_addr_o;
        npu_pkg::REG_OUT_ADDR: value = out_addr_o;
        npu_pkg::REG_POLARITY: value = polarity_o;
        npu_pkg::REG_DISTRIBUTION: value = distribution_o;
        npu_pkg::REG_SEED_LO: value = seed_o[31:0];
        npu_pkg::REG_SEED_HI: value = seed_o[63:32];
        npu_pkg::REG_MASK_SEED_LO: value = mask_seed_o[31:0];
        npu_pkg::REG_MASK_SEED_HI: value = mask_seed_o[63:32];
        npu_pkg::REG_PAIRS: value = pairs_o;
        npu_pkg::REG_STEP: value = step_o;
        npu_pkg::REG_LOSS_LO: value = loss_sum_q[31:0];
        npu_pkg::REG_LOSS_HI: value = loss_sum_q[63:32];
        npu_pkg::REG_CORRECT: value = loss_correct_q;
        npu_pkg::REG_EXAMPLES: value = loss_examples_q;
        default: begin
          if (raddr[11:7] == npu_pkg::REG_PAIR_SEED_LO[11:7]) begin
            case (raddr[3:2])
              2'd0: value = pair_seed_o[raddr[6:4]*64 +: 32];
              2'd1: value = pair_seed_o[raddr[6:4]*64+32 +: 32];
              2'd2: value = pair_coef_o[raddr[6:4]*32 +: 32];
              default: value = '0;
            endcase
          end else if (raddr[11:9] == npu_pkg::REG_COUNTER[11:9]) begin
            value = raddr[2] ? counter_i[63:32] : counter_i[31:0];
          end
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
                   rvalid_q && !axil_read_i.rready |=> rvalid_q && $stable(rdata_q));
  assert property (@(posedge clk_i) disable iff (!rst_ni)
                   bvalid_q && !axil_write_i.bready |=> bvalid_q);
  assert property (@(posedge clk_i) disable iff (!rst_ni) !(finish_i && fail_i));
`endif

endmodule
