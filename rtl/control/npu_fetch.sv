// SPDX-License-Identifier: Apache-2.0
// Fetches one descriptor, validates it and holds it with its verdict until it is taken; the next
// one can be fetched while a command runs. Registers are looked at when a descriptor is checked,
// which is mostly while the command before runs; they are those of the running queue, so what the
// host writes meanwhile does not matter.
// A descriptor that was fetched ahead in vain counts neither as CMD_BYTES nor as a command.
module npu_fetch #(
  parameter int unsigned ROWS = npu_pkg::ROWS_DEFAULT,
  parameter int unsigned BUS_BYTES = npu_pkg::BUS_BYTES_DEFAULT,
  parameter int unsigned ACT_BYTES = npu_pkg::ACT_BYTES_DEFAULT,
  parameter int unsigned ACC_DEPTH = npu_pkg::ACC_DEPTH_DEFAULT,
  parameter int unsigned TRAINING = npu_pkg::TRAINING_DEFAULT
) (
  input  logic                          clk_i,
  input  logic                          rst_ni,
  input  logic                          clear_i,
  input  logic                          start_i,      // only when !busy_o and !valid_o
  input  logic [31:0]                   addr_i,       // with start_i
  output logic                          busy_o,
  output logic                          moving_o,     // a word came, or rules are being checked
  output logic                          valid_o,
  input  logic                          take_i,
  output npu_pkg::desc_t                desc_o,       // as it lies in memory
  // Its w, out, in2 and in addresses with the register bases added, as npu_validate has checked
  // them.
  output logic [127:0]                  addr_o,
  output npu_types::verdict_t           verdict_o,
  input  logic                          bus_error_i,  // an answer to this client was an error
  // registers
  input  logic [31:0]                   polarity_i,
  input  logic [31:0]                   distribution_i,
  input  logic [31:0]                   pairs_i,
  input  logic [5:0]                    step_shift_i,
  input  logic [31:0]                   batch_addr_i,
  input  logic [31:0]                   label_addr_i,
  input  logic [31:0]                   out_addr_i,
  input  logic [31:0]                   mem_limit_i,
  // memory
  output npu_types::read_request_t      rd_req_o,
  input  logic                          rd_req_ready_i,
  input  logic                          rd_rsp_valid_i,
  output logic                          rd_rsp_ready_o,
  input  logic [BUS_BYTES*8-1:0]        rd_rsp_data_i,
  input  logic                          rd_rsp_last_i
);

  localparam int unsigned DATA = BUS_BYTES * 8;
  localparam int unsigned WORDS = npu_pkg::DESC_BYTES / BUS_BYTES;

  logic request_q, receive_q, check_q, error_q, clk, unused_on;
  npu_clock u_clock (
    .clk_i, .rst_ni, .run_i(clear_i || start_i || busy_o || take_i), .on_o(unused_on), .clk_o(clk)
  );
  logic word, last, check_start, checked, validating;
  logic [7:0] check_code;
  logic [31:0] addr_q, check_info, in_addr, in2_addr, out_addr, w_addr;

  // request_q until the bus has taken the request, receive_q until the last word is here, check_q
  // until the rules are checked; then valid_o until the sequencer takes it.
  assign rd_req_o.valid = request_q;
  assign rd_req_o.addr = addr_q;
  assign rd_req_o.bytes = 24'(npu_pkg::DESC_BYTES);
  assign rd_rsp_ready_o = receive_q;
  assign word = receive_q && rd_rsp_valid_i;
  // The check starts with the last word, when the whole descriptor is in the registers in the next
  // cycle.
  assign last = word && rd_rsp_last_i;
  assign busy_o = receive_q || check_q;
  assign moving_o = word || check_q;
  assign check_start = last && !error_q && !bus_error_i;

  // A bus error in any of the words makes the whole descriptor worthless: it is not checked, and
  // its verdict is the bus error. The remaining words are taken all the same.
  always_ff @(posedge clk or negedge rst_ni) begin
    if (!rst_ni) begin
      request_q <= 1'b0;
      receive_q <= 1'b0;
      check_q <= 1'b0;
      error_q <= 1'b0;
      valid_o <= 1'b0;
    end else if (clear_i) begin
      request_q <= 1'b0;
      receive_q <= 1'b0;
      check_q <= 1'b0;
      error_q <= 1'b0;
      valid_o <= 1'b0;
    end else if (start_i) begin
      request_q <= 1'b1;
      receive_q <= 1'b1;
      error_q <= 1'b0;
    end else begin
      if (rd_req_ready_i) request_q <= 1'b0;
      if (receive_q && bus_error_i) error_q <= 1'b1;
      if (last) begin
        receive_q <= 1'b0;
        check_q <= check_start;
        valid_o <= !check_start;
      end
      if (checked) begin
        check_q <= 1'b0;
        valid_o <= 1'b1;
      end
      if (take_i) valid_o <= 1'b0;
    end
  end

  // Words come in order and shift down: no decoder in front of the registers. One register per
  // word: simulators assign each as a whole.
  for (genvar w = 0; w < WORDS; w++) begin : gen_word
    logic [DATA-1:0] word_q;
    if (w == WORDS - 1) begin : gen_last
      always_ff @(posedge clk) if (word) word_q <= rd_rsp_data_i;
    end else begin : gen_next
      always_ff @(posedge clk) if (word) word_q <= gen_word[w+1].word_q;
    end
    assign desc_o[w*DATA +: DATA] = word_q;
  end
  always_ff @(posedge clk) if (start_i) addr_q <= addr_i;

  // Rules read the descriptor where it is held, so it stays until it is taken.
  npu_validate #(.ROWS(ROWS), .ACT_BYTES(ACT_BYTES), .ACC_DEPTH(ACC_DEPTH),
      .TRAINING(TRAINING)) u_validate (
    .clk_i(clk), .rst_ni, .clear_i, .start_i(check_start), .desc_i(desc_o), .polarity_i,
    .distribution_i,
    .pairs_i, .step_shift_i, .batch_addr_i, .label_addr_i, .out_addr_i, .mem_limit_i,
    .busy_o(validating), .done_o(checked), .code_o(check_code), .info_o(check_info),
    .in_addr_o(in_addr), .in2_addr_o(in2_addr), .out_addr_o(out_addr), .w_addr_o(w_addr)
  );

  // The verdict is either a bus error of the fetch or what the rules have found, 0 if nothing.
  assign verdict_o.code = error_q ? npu_pkg::ERROR_BUS_READ : check_code;
  assign verdict_o.info = error_q ? 32'(npu_pkg::ENGINE_FETCH) : check_info;
  assign addr_o = {w_addr, out_addr, in2_addr, in_addr};

`ifndef SYNTHESIS
  int unsigned index_q;
  always_ff @(posedge clk_i) if (start_i) index_q <= 0; else if (word) index_q <= index_q + 1;
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                   start_i |-> !busy_o && !valid_o);
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i) take_i |-> valid_o);
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i) last |-> index_q == WORDS - 1);
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i) validating |-> check_q);
`else
  logic unused;
  assign unused = validating;
`endif

endmodule
