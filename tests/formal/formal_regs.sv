// SPDX-License-Identifier: Apache-2.0
// npu_regs behind a host that obeys AXI4-Lite; the sequencer's side is free, but for a queue that ends in one way only.
module formal_regs (
  input logic                  clk_i,
  input logic                  rst_ni,
  input npu_types::axil_write_t write_i,
  input npu_types::axil_read_t read_i,
  input logic                  begin_i,
  input logic                  finish_i,
  input logic                  fail_i,
  input npu_types::verdict_t   fail_verdict_i,
  input logic                  busy_i,
  input logic                  draining_i,
  input logic                  bus_lost_i,
  input logic                  bus_stray_i,
  input logic [31:0]           command_i,
  input npu_types::loss_t      loss_i,
  input logic [63:0]           counter_i
);
  localparam int unsigned PAIRS = npu_pkg::MAX_PAIRS;
  npu_types::axil_written_t written;
  npu_types::axil_data_t data;
  logic irq, start, soft_reset;
  logic [5:0] counter_index;
  logic [31:0] queue_addr;
  npu_types::settings_t settings;
  logic [PAIRS*64-1:0] pair_seed;
  logic [PAIRS*32-1:0] pair_coef;
  npu_regs dut (
    .clk_i, .rst_ni, .axil_write_i(write_i), .axil_written_o(written), .axil_read_i(read_i), .axil_data_o(data),
    .irq_o(irq), .start_o(start), .soft_reset_o(soft_reset), .begin_i, .finish_i, .fail_i, .fail_verdict_i, .busy_i,
    .draining_i, .bus_lost_i, .bus_stray_i, .command_i, .loss_i, .counter_index_o(counter_index), .counter_i,
    .queue_addr_o(queue_addr), .settings_o(settings), .pair_seed_o(pair_seed), .pair_coef_o(pair_coef)
  );
  (* hierconn *) wire [$bits(settings)-1:0] \dut.written_q ;
  (* hierconn *) wire [PAIRS*64-1:0] \dut.pair_seed_q ;
  (* hierconn *) wire [PAIRS*32-1:0] \dut.pair_coef_q ;
  (* hierconn *) wire [31:0] \dut.irq_enable_q ;
  npu_types::settings_t host;   // what the host has written, the registers themselves
  assign host = \dut.written_q ;
  logic unused;
  assign unused = ^{irq, counter_index};

  logic begun_q = 1'b0;
  always_ff @(posedge clk_i) begun_q <= 1'b1;

  // ---- The host keeps what it offers until it is taken.
  logic aw_waits_q, w_waits_q, ar_waits_q;
  npu_types::axil_write_t write_q;
  npu_types::axil_read_t read_q;
  always_ff @(posedge clk_i) begin
    write_q <= write_i;
    read_q <= read_i;
    aw_waits_q <= rst_ni && write_i.awvalid && !written.awready;
    w_waits_q <= rst_ni && write_i.wvalid && !written.wready;
    ar_waits_q <= rst_ni && read_i.arvalid && !data.arready;
  end
  always_comb begin
    if (!begun_q) assume (!rst_ni);
    if (!rst_ni) assume (!write_i.awvalid && !write_i.wvalid && !read_i.arvalid);  // AXI, A3.1.2
    if (aw_waits_q && rst_ni) assume (write_i.awvalid && write_i.awaddr == write_q.awaddr);
    if (w_waits_q && rst_ni) assume (write_i.wvalid && write_i.wdata == write_q.wdata && write_i.wstrb == write_q.wstrb);
    if (ar_waits_q && rst_ni) assume (read_i.arvalid && read_i.araddr == read_q.araddr);
    assume (!(finish_i && fail_i));
    assume (begin_i == (begin_i && start));  // the sequencer begins in the cycle of the start
  end

  // ---- Writes and reads that were taken and are not answered; words and addresses are taken one by one.
  logic aw, w, b, ar, r;
  assign aw = write_i.awvalid && written.awready;
  assign w = write_i.wvalid && written.wready;
  assign b = written.bvalid && write_i.bready;
  assign ar = read_i.arvalid && data.arready;
  assign r = data.rvalid && read_i.rready;
  logic [3:0] aws_q, ws_q, ars_q;
  logic b_waits_q, r_waits_q, rested_q;
  npu_types::axil_written_t written_q;
  npu_types::axil_data_t data_q;
  logic [1:0] aw_late_q, ar_late_q;   // cycles in which a request could have been taken and was not
  always_ff @(posedge clk_i) begin
    written_q <= written;
    data_q <= data;
    run_q <= run;
    rested_q <= rst_ni && !begin_i;
    if (!rst_ni) begin
      aws_q <= '0;
      ws_q <= '0;
      ars_q <= '0;
      b_waits_q <= 1'b0;
      r_waits_q <= 1'b0;
      aw_late_q <= '0;
      ar_late_q <= '0;
    end else begin
      aws_q <= aws_q + 4'(aw) - 4'(b);
      ws_q <= ws_q + 4'(w) - 4'(b);
      ars_q <= ars_q + 4'(ar) - 4'(r);
      b_waits_q <= written.bvalid && !write_i.bready;
      r_waits_q <= data.rvalid && !read_i.rready;
      aw_late_q <= (write_i.awvalid && write_i.wvalid && write_i.bready && !aw) ? aw_late_q + 2'd1 : '0;
      ar_late_q <= (read_i.arvalid && read_i.rready && !ar) ? ar_late_q + 2'd1 : '0;
    end
  end

  // ---- One register of those that keep what is written, any of them: what it must hold, and what the queue has of it.
  (* anyconst *) logic [11:0] where;
  (* anyconst *) logic [2:0] pair;
  logic [31:0] mask, reset, run, run_q, kept;
  logic known, of_queue;
  always_comb begin
    known = 1'b1;
    of_queue = 1'b1;
    mask = '0;
    reset = '0;
    run = '0;
    kept = '0;
    case (where)
      npu_pkg::REG_QUEUE_ADDR: begin
        mask = npu_pkg::WRITTEN_QUEUE_ADDR; reset = npu_pkg::RESET_QUEUE_ADDR; kept = queue_addr; of_queue = 1'b0;
      end
      npu_pkg::REG_IRQ_ENABLE: begin
        mask = npu_pkg::WRITTEN_IRQ_ENABLE; reset = npu_pkg::RESET_IRQ_ENABLE; kept = \dut.irq_enable_q ; of_queue = 1'b0;
      end
      npu_pkg::REG_QUEUE_COUNT: begin
        mask = npu_pkg::WRITTEN_QUEUE_COUNT; reset = npu_pkg::RESET_QUEUE_COUNT; run = settings.queue_count; kept = host.queue_count;
      end
      npu_pkg::REG_MEM_LIMIT: begin
        mask = npu_pkg::WRITTEN_MEM_LIMIT; reset = npu_pkg::RESET_MEM_LIMIT; run = settings.mem_limit; kept = host.mem_limit;
      end
      npu_pkg::REG_WATCHDOG: begin
        mask = npu_pkg::WRITTEN_WATCHDOG; reset = npu_pkg::RESET_WATCHDOG; run = settings.watchdog; kept = host.watchdog;
      end
      npu_pkg::REG_BATCH_ADDR: begin
        mask = npu_pkg::WRITTEN_BATCH_ADDR; reset = npu_pkg::RESET_BATCH_ADDR; run = settings.batch_addr; kept = host.batch_addr;
      end
      npu_pkg::REG_LABEL_ADDR: begin
        mask = npu_pkg::WRITTEN_LABEL_ADDR; reset = npu_pkg::RESET_LABEL_ADDR; run = settings.label_addr; kept = host.label_addr;
      end
      npu_pkg::REG_OUT_ADDR: begin
        mask = npu_pkg::WRITTEN_OUT_ADDR; reset = npu_pkg::RESET_OUT_ADDR; run = settings.out_addr; kept = host.out_addr;
      end
      npu_pkg::REG_POLARITY: begin
        mask = npu_pkg::WRITTEN_POLARITY; reset = npu_pkg::RESET_POLARITY; run = settings.polarity; kept = host.polarity;
      end
      npu_pkg::REG_DISTRIBUTION: begin
        mask = npu_pkg::WRITTEN_DISTRIBUTION; reset = npu_pkg::RESET_DISTRIBUTION; run = settings.distribution; kept = host.distribution;
      end
      npu_pkg::REG_SEED_LO: begin
        mask = npu_pkg::WRITTEN_SEED_LO; reset = npu_pkg::RESET_SEED_LO; run = settings.seed[31:0]; kept = host.seed[31:0];
      end
      npu_pkg::REG_SEED_HI: begin
        mask = npu_pkg::WRITTEN_SEED_HI; reset = npu_pkg::RESET_SEED_HI; run = settings.seed[63:32]; kept = host.seed[63:32];
      end
      npu_pkg::REG_MASK_SEED_LO: begin
        mask = npu_pkg::WRITTEN_MASK_SEED_LO; reset = npu_pkg::RESET_MASK_SEED_LO; run = settings.mask_seed[31:0]; kept = host.mask_seed[31:0];
      end
      npu_pkg::REG_MASK_SEED_HI: begin
        mask = npu_pkg::WRITTEN_MASK_SEED_HI; reset = npu_pkg::RESET_MASK_SEED_HI; run = settings.mask_seed[63:32]; kept = host.mask_seed[63:32];
      end
      npu_pkg::REG_PAIRS: begin
        mask = npu_pkg::WRITTEN_PAIRS; reset = npu_pkg::RESET_PAIRS; run = settings.pairs; kept = host.pairs;
      end
      npu_pkg::REG_STEP: begin
        mask = npu_pkg::WRITTEN_STEP; reset = npu_pkg::RESET_STEP; run = settings.step; kept = host.step;
      end
      default: begin
        known = 1'b0;
        if (where == npu_pkg::REG_PAIR_SEED_LO + 12'(pair) * 12'(npu_pkg::STRIDE_PAIR_SEED_LO)) begin
          known = 1'b1;
          mask = npu_pkg::WRITTEN_PAIR_SEED_LO; reset = npu_pkg::RESET_PAIR_SEED_LO; run = pair_seed[pair*64 +: 32];
          kept = \dut.pair_seed_q [pair*64 +: 32];
        end
        if (where == npu_pkg::REG_PAIR_SEED_HI + 12'(pair) * 12'(npu_pkg::STRIDE_PAIR_SEED_HI)) begin
          known = 1'b1;
          mask = npu_pkg::WRITTEN_PAIR_SEED_HI; reset = npu_pkg::RESET_PAIR_SEED_HI; run = pair_seed[pair*64+32 +: 32];
          kept = \dut.pair_seed_q [pair*64+32 +: 32];
        end
        if (where == npu_pkg::REG_PAIR_COEF + 12'(pair) * 12'(npu_pkg::STRIDE_PAIR_COEF)) begin
          known = 1'b1;
          mask = npu_pkg::WRITTEN_PAIR_COEF; reset = npu_pkg::RESET_PAIR_COEF; run = pair_coef[pair*32 +: 32];
          kept = \dut.pair_coef_q [pair*32 +: 32];
        end
      end
    endcase
  end
  always_comb assume (known);
  logic [31:0] bytes, holds_q, begun_with_q, answer_q;
  logic answers_q, touched;
  assign bytes = {{8{write_i.wstrb[3]}}, {8{write_i.wstrb[2]}}, {8{write_i.wstrb[1]}}, {8{write_i.wstrb[0]}}};
  assign touched = aw && {write_i.awaddr[11:2], 2'b00} == where;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      holds_q <= reset;
      begun_with_q <= '0;
      answers_q <= 1'b0;
    end else begin
      if (touched) holds_q <= (holds_q & ~(bytes & mask)) | (write_i.wdata & bytes & mask);
      if (begin_i) begun_with_q <= holds_q;
      if (ar) begin
        answers_q <= {read_i.araddr[11:2], 2'b00} == where;
        answer_q <= holds_q;
      end
    end
  end
  logic ctrl;
  assign ctrl = aw && {write_i.awaddr[11:2], 2'b00} == npu_pkg::REG_CTRL && write_i.wstrb[0];

  // ---- What must hold.
  always_comb begin
    if (begun_q && !rst_ni) valid_reset: assert (!written.bvalid && !data.rvalid);
    if (begun_q && rst_ni) begin
      b_stable: assert (!b_waits_q || (written.bvalid && written.bresp == written_q.bresp));
      r_stable: assert (!r_waits_q || (data.rvalid && data.rdata == data_q.rdata && data.rresp == data_q.rresp));
      write_answered_once: assert (written.bvalid == (aws_q != '0) && aws_q <= 4'd1 && aws_q == ws_q);
      address_with_word: assert (aw == w);
      read_answered_once: assert (data.rvalid == (ars_q != '0) && ars_q <= 4'd1);
      always_okay: assert (written.bresp == 2'b00 && data.rresp == 2'b00);
      taken_at_once: assert (aw_late_q == '0 && ar_late_q == '0);
      settings_stable: assert (!rested_q || run == run_q);
      keeps_what_was_written: assert (kept == holds_q);
      settings_of_start: assert (!of_queue || run == begun_with_q);
      queue_addr_as_written: assert (where != npu_pkg::REG_QUEUE_ADDR || queue_addr == holds_q);
      reads_what_was_written: assert (!(data.rvalid && answers_q) || data.rdata == answer_q);
      start_by_write: assert (start == (ctrl && write_i.wdata[npu_pkg::CTRL_START_LSB] && !soft_reset));
      soft_reset_by_write: assert (soft_reset == (ctrl && write_i.wdata[npu_pkg::CTRL_SOFT_RESET_LSB]));
    end
    if (begun_q && rst_ni) begin
      write_and_read: cover (data.rvalid && answers_q && data.rdata != reset && b_waits_q);
      begins: cover (begin_i && of_queue && begun_with_q != holds_q && begun_with_q != '0);
    end
  end
endmodule
