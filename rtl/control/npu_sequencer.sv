// SPDX-License-Identifier: Apache-2.0
// Runs a queue: descriptor after descriptor, each when the writes of the one before are
// acknowledged; ends it at the last, at END, at the first error, or when nothing moved for WATCHDOG
// cycles. Every end but a normal one aborts engines and transfers (abort_o). A queue that is started
// while answers from before an abort are due waits for the last of them.
module npu_sequencer (
  input  logic                          clk_i,
  input  logic                          rst_ni,
  // Registers: their values, commands of the host, and what becomes of the queue: begin_o, then
  // finish_o or fail_o with its verdict.
  input  logic                          start_i,
  input  logic                          soft_reset_i,
  input  logic [31:0]                   queue_addr_i,
  input  logic [31:0]                   queue_count_i,
  input  logic [31:0]                   mem_limit_i,
  input  logic [31:0]                   watchdog_i,
  output logic                          begin_o,        // clears status, error and counters
  output logic                          finish_o,
  output logic                          fail_o,
  output logic [7:0]                    fail_code_o,
  output logic [31:0]                   fail_info_o,
  output logic                          busy_o,
  output logic                          bus_lost_o,     // sticky: a queue waited in vain for the bus
  output logic                          bus_stray_o,    // sticky: the bus answered without a request
  output logic [31:0]                   command_o,
  // Descriptors: npu_fetch is told where the next one lies and offers it with its verdict.
  output logic                          fetch_start_o,
  output logic [31:0]                   fetch_addr_o,
  input  logic                          fetch_valid_i,
  output logic                          fetch_take_o,
  input  npu_pkg::desc_t                fetch_desc_i,
  // replaces the w, out, in2 and in addresses
  input  logic [127:0]                  fetch_resolved_i,
  input  logic [7:0]                    fetch_code_i,
  input  logic [31:0]                   fetch_info_i,
  // engines
  // synchronous clear of engines and bus clients
  output logic                          abort_o,
  // of the running command, stable from start to done
  output npu_pkg::desc_t                desc_o,
  output logic [npu_pkg::OPCODES-1:0]   engine_start_o,  // pulse, by opcode
  input  logic                          engine_done_i,  // pulse: the last write was accepted
  // something moved in an engine or on the bus
  input  logic                          progress_i,
  // bus
  input  logic                          rd_error_i,     // clients other than fetch
  input  logic [2:0]                    rd_error_client_i,
  input  logic [npu_pkg::READ_CLIENTS-1:0] rd_waiting_i,
  input  logic                          wr_error_i,
  input  logic                          wr_idle_i,
  output logic                          wr_flush_o,
  input  logic                          bus_quiet_i,    // no answer from before an abort is due
  input  logic                          bus_stray_i,    // an answer came that nobody has asked for
  // commit
  // pulse: the command's results are in memory
  output logic                          cmd_done_o,
  output logic [31:0]                   cmd_index_o
);

  localparam int unsigned OPS = npu_pkg::OPCODES;
  localparam int unsigned OP_BITS = $clog2(OPS);

  typedef enum logic [2:0] {
    IDLE = 3'd0,
    QUEUE = 3'd1,   // waits until the bus is quiet; is the queue inside memory?
    FETCH = 3'd2,   // waits for a descriptor and its verdict
    EXEC = 3'd3,    // the engine runs; the next descriptor is fetched meanwhile
    WRITES = 3'd4,  // waits until memory has acknowledged what the engine wrote
    FINISH = 3'd5,
    FAIL = 3'd6     // engines and bus are cleared
  } state_t;

  state_t state_q;
  logic [31:0] command_q, next_addr_q, idle_q;
  logic [7:0] opcode;
  logic [7:0] code_q;
  logic [31:0] info_q;
  logic is_last, is_end, good, expired, bus_fault, queue_bad, moving, stray, lost;
  logic [39:0] queue_bytes;
  logic [40:0] queue_end;

  // good: a descriptor without fault is taken over, and with it a command begins.
  assign opcode = desc_o.opcode;
  assign good = fetch_take_o && (fetch_code_i == npu_pkg::ERROR_NONE);
  // What only some states need. A queue of n commands has 192 n = 128 n + 64 n bytes. The sums have
  // more bits than an address, so a queue that would wrap is outside of memory, too.
  always_comb begin
    is_last = 1'b0;
    is_end = 1'b0;
    queue_bytes = '0;
    queue_end = '0;
    queue_bad = 1'b0;
    bus_fault = 1'b0;
    case (state_q)
      QUEUE: begin
        queue_bytes = {1'b0, queue_count_i, 7'd0} + {2'b0, queue_count_i, 6'd0};
        queue_end = {1'b0, queue_bytes} + 41'(next_addr_q);
        queue_bad = (next_addr_q[$clog2(npu_pkg::ALIGN)-1:0] != '0) || (queue_count_i == '0) ||
            (queue_end > 41'(mem_limit_i));
      end
      FETCH: begin
        is_last = command_q + 32'd1 == queue_count_i;
        is_end = fetch_desc_i.opcode == npu_pkg::OPCODE_END;
      end
      EXEC: bus_fault = rd_error_i || wr_error_i;
      WRITES: begin
        is_last = command_q + 32'd1 == queue_count_i;
        bus_fault = rd_error_i || wr_error_i;
      end
      default: ;
    endcase
  end

  // Whom a running command waits for: the owner of the transfer that waits, the others if none
  // does. Client ELEM belongs to the element engine that runs, the others mostly to the tensor core;
  // of several that wait the first in this order is named.
  function automatic logic [7:0] waits_for(input logic [npu_pkg::READ_CLIENTS-1:0] waiting,
                                           input logic [7:0] own, input logic [7:0] load,
                                           input logic [7:0] second, input logic [7:0] others);
    if (waiting[npu_pkg::READ_CLIENT_ELEM]) waits_for = own;
    else if (waiting[npu_pkg::READ_CLIENT_LOAD]) waits_for = load;
    else if (waiting[npu_pkg::READ_CLIENT_WEIGHT]) waits_for = npu_pkg::ENGINE_WEIGHT;
    else if (waiting[npu_pkg::READ_CLIENT_PARAM]) waits_for = npu_pkg::ENGINE_PARAM;
    else if (waiting[npu_pkg::READ_CLIENT_RES]) waits_for = second;
    else waits_for = others;
  endfunction

  // Who a transfer belongs to, and who is blamed for a stall: ERROR_INFO of a bus error or of the
  // watchdog. Clients are numbered, but who uses one depends on the command. This is worked out
  // only in the cycle of a fault.
  logic [7:0] self, load_engine, res_engine, rd_engine, wr_engine, stalled;
  logic [OP_BITS-1:0] op_index;
  assign op_index = opcode[OP_BITS-1:0];
  always_comb begin
    self = '0;
    load_engine = '0;
    res_engine = '0;
    rd_engine = '0;
    wr_engine = '0;
    stalled = '0;
    if (bus_fault || expired) begin
      self = npu_pkg::opcode_engine(opcode);
      load_engine = npu_pkg::opcode_load(opcode);
      wr_engine = npu_pkg::opcode_store(opcode);
      // a fused addend is the drain's, that of ADD its own
      res_engine = npu_pkg::OPCODE_FUSED[op_index] ? npu_pkg::ENGINE_DRAIN : self;
      case (32'(rd_error_client_i))
        npu_pkg::READ_CLIENT_LOAD: rd_engine = load_engine;
        npu_pkg::READ_CLIENT_WEIGHT: rd_engine = npu_pkg::ENGINE_WEIGHT;
        npu_pkg::READ_CLIENT_PARAM: rd_engine = npu_pkg::ENGINE_PARAM;
        npu_pkg::READ_CLIENT_RES: rd_engine = res_engine;
        default: rd_engine = self;
      endcase
      if (state_q == FETCH) stalled = npu_pkg::ENGINE_FETCH;
      else if (state_q == WRITES) stalled = wr_engine;
      else stalled = waits_for(rd_waiting_i, self, load_engine, res_engine,
          wr_idle_i ? self : wr_engine);
    end
  end

  // Watchdog. idle_q counts cycles in which nothing moved, neither an engine nor the bus nor the
  // sequencer; WATCHDOG = 0 switches it off. A slow memory does not trip it as long as anything
  // comes.
  assign moving = progress_i || (state_q == QUEUE && bus_quiet_i) || good;
  assign expired = (watchdog_i != '0) && (idle_q >= watchdog_i);
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) idle_q <= '0;
    else if (busy_o) idle_q <= moving ? '0 : idle_q + 32'd1;
    else if (start_i) idle_q <= '0;
  end

  // What the bus did that it must not do. Nothing that was read since can be trusted, so a queue
  // that meets it fails, and so does every later one: only a reset of NPU and bus together helps.
  assign stray = bus_stray_i || bus_stray_o;
  assign lost = (state_q == QUEUE) && !bus_quiet_i && expired;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      bus_lost_o <= 1'b0;
      bus_stray_o <= 1'b0;
    end else begin
      if (lost) bus_lost_o <= 1'b1;
      if (bus_stray_i) bus_stray_o <= 1'b1;
    end
  end

  // A soft reset comes before everything else: no queue ends normally or begins in its cycle.
  // abort_o clears engines and bus clients; what the bus has in flight is dropped when it comes
  // (npu_axi_read, npu_axi_write).
  assign busy_o = state_q != IDLE;
  assign begin_o = (state_q == IDLE) && start_i && !soft_reset_i;
  assign finish_o = (state_q == FINISH) && !soft_reset_i;
  assign fail_o = (state_q == FAIL) && !soft_reset_i;
  assign abort_o = soft_reset_i || (state_q == FAIL);
  assign fail_code_o = code_q;
  assign fail_info_o = info_q;
  assign command_o = command_q;
  assign fetch_addr_o = next_addr_q;
  assign fetch_take_o = (state_q == FETCH) && fetch_valid_i;
  assign wr_flush_o = state_q == WRITES;

  // The walk through a queue. command_q stays as it is after the end, so the host can read which
  // command failed. Pulses last one cycle: they are taken back before the state decides.
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q <= IDLE;
      command_q <= '0;
      next_addr_q <= '0;
      engine_start_o <= '0;
      fetch_start_o <= 1'b0;
      cmd_done_o <= 1'b0;
      cmd_index_o <= '0;
      code_q <= '0;
      info_q <= '0;
    end else if (soft_reset_i) begin
      state_q <= IDLE;
      command_q <= '0;
      engine_start_o <= '0;
      fetch_start_o <= 1'b0;
      cmd_done_o <= 1'b0;
    end else if (busy_o || start_i) begin
      engine_start_o <= '0;
      fetch_start_o <= 1'b0;
      cmd_done_o <= 1'b0;
      if (fetch_start_o) next_addr_q <= next_addr_q + 32'(npu_pkg::DESC_BYTES);
      case (state_q)
        IDLE: begin
          state_q <= QUEUE;
          command_q <= '0;
          next_addr_q <= queue_addr_i;
        end
        // The verdict is set beforehand; it counts only if the state becomes FAIL.
        QUEUE: begin
          code_q <= queue_bad ? npu_pkg::ERROR_QUEUE
                              : stray ? npu_pkg::ERROR_BUS_READ : npu_pkg::ERROR_WATCHDOG;
          info_q <= queue_bad ? '0 : 32'(npu_pkg::ENGINE_BUS);
          if (queue_bad || stray || lost) begin
            state_q <= FAIL;
          end else if (bus_quiet_i) begin
            state_q <= FETCH;
            fetch_start_o <= 1'b1;
          end
        end
        FETCH: begin
          if (stray) begin
            state_q <= FAIL;
            code_q <= npu_pkg::ERROR_BUS_READ;
            info_q <= 32'(npu_pkg::ENGINE_BUS);
          end else if (fetch_valid_i) begin
            code_q <= fetch_code_i;
            info_q <= fetch_info_i;
            // END waits for writes like any command, though its predecessor's are acknowledged
            // already. While a command runs the next descriptor is fetched and checked, unless this
            // is the queue's last.
            if (fetch_code_i != npu_pkg::ERROR_NONE) begin
              state_q <= FAIL;
            end else if (is_end) begin
              state_q <= WRITES;
            end else begin
              state_q <= EXEC;
              engine_start_o <= OPS'(1) << fetch_desc_i.opcode[OP_BITS-1:0];
              fetch_start_o <= !is_last;
            end
          end else if (expired) begin
            state_q <= FAIL;
            code_q <= npu_pkg::ERROR_WATCHDOG;
            info_q <= 32'(stalled);
          end
        end
        EXEC, WRITES: begin
          // A fault comes before everything: results of a command with a bus error never count.
          // Then the order of a command's end: the engine is done when its last write was accepted,
          // the command when memory has acknowledged all of them. Only then the next one starts,
          // which may read what this one wrote.
          if (stray) begin
            state_q <= FAIL;
            code_q <= npu_pkg::ERROR_BUS_READ;
            info_q <= 32'(npu_pkg::ENGINE_BUS);
          end else if (bus_fault) begin
            state_q <= FAIL;
            code_q <= rd_error_i ? npu_pkg::ERROR_BUS_READ : npu_pkg::ERROR_BUS_WRITE;
            info_q <= {24'd0, rd_error_i ? rd_engine : wr_engine};
          end else if ((state_q == EXEC) && engine_done_i) begin
            state_q <= WRITES;
          end else if ((state_q == WRITES) && wr_idle_i) begin
            cmd_done_o <= opcode != npu_pkg::OPCODE_END;
            cmd_index_o <= command_q;
            if (is_last || (opcode == npu_pkg::OPCODE_END)) begin
              state_q <= FINISH;
            end else begin
              state_q <= FETCH;
              command_q <= command_q + 32'd1;
            end
          end else if (expired) begin
            state_q <= FAIL;
            code_q <= npu_pkg::ERROR_WATCHDOG;
            info_q <= 32'(stalled);
          end
        end
        default: state_q <= IDLE;
      endcase
    end else begin
      engine_start_o <= '0;
      fetch_start_o <= 1'b0;
      cmd_done_o <= 1'b0;
    end
  end
  // The descriptor of the running command, its addresses with the register bases added. It stays
  // until the next one is taken, for engines read their fields all the time.
  always_ff @(posedge clk_i) begin
    if (good) begin
      desc_o <= fetch_desc_i;
      {desc_o.w_addr, desc_o.out_addr, desc_o.in2_addr, desc_o.in_addr} <= fetch_resolved_i;
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) state_q <= FAIL);
  assert property (@(posedge clk_i) disable iff (!rst_ni) $onehot0(engine_start_o));
  assert property (@(posedge clk_i) disable iff (!rst_ni || soft_reset_i)
                   engine_done_i |-> state_q == EXEC || abort_o);
`endif

endmodule
