// SPDX-License-Identifier: Apache-2.0
// The 64-bit counters: each adds its increment of the cycle; starting a queue clears them.
// COMMANDS, CMD_BYTES and CYCLES have inputs of their own, the control's: the others' increments
// come in one vector as the engines assemble it. Reading does not disturb them. An increment of
// zero leaves the register alone.
module npu_counters #(
  parameter int unsigned INC_BITS = 16
) (
  input  logic                                  clk_i,
  input  logic                                  rst_ni,
  input  logic                                  clear_i,
  input  logic [npu_pkg::COUNTERS*INC_BITS-1:0] inc_i,
  input  logic                                  command_i,  // a command completed
  input  logic                                  fetched_i,  // a descriptor was used
  input  logic                                  busy_i,
  input  logic [5:0]                            index_i,
  output logic [63:0]                           value_o   // 0 for an index without counter
);

  logic [npu_pkg::COUNTERS*64-1:0] count_q;

  // The order is that of npu.toml, and so are the numbers CNT_*.
  for (genvar c = 0; c < npu_pkg::COUNTERS; c++) begin : gen_counter
    logic [INC_BITS-1:0] inc;
    if (c == npu_pkg::CNT_COMMANDS) begin : gen_commands
      assign inc = INC_BITS'(command_i);
    end else if (c == npu_pkg::CNT_CMD_BYTES) begin : gen_cmd_bytes
      assign inc = fetched_i ? INC_BITS'(npu_pkg::DESC_BYTES) : '0;
    end else if (c == npu_pkg::CNT_CYCLES) begin : gen_cycles
      assign inc = INC_BITS'(busy_i);
    end else begin : gen_event
      assign inc = inc_i[c*INC_BITS +: INC_BITS];
    end
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) count_q[c*64 +: 64] <= '0;
      else if (clear_i) count_q[c*64 +: 64] <= '0;
      else if (inc != '0) count_q[c*64 +: 64] <= count_q[c*64 +: 64] + 64'(inc);
    end
  end

  localparam int unsigned IB = $clog2(npu_pkg::COUNTERS);
  assign value_o = (32'(index_i) < npu_pkg::COUNTERS) ? count_q[index_i[IB-1:0]*64 +: 64] : 64'd0;

  logic unused;
  assign unused = ^inc_i;  // three words of it

endmodule
