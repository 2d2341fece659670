// SPDX-License-Identifier: Apache-2.0
// ADD: two int8 tensors of n * in_c elements, four elements per cycle (CONTRACT.md, Addition). The
// addends come through two read clients; all three tensors may begin anywhere in a bus word. Each
// is one range of bytes: shape does not matter. The output may be exactly one of the addends, for
// every element is read before it is written (CONTRACT.md, Overlap).
module npu_add #(
  parameter int unsigned BUS_BYTES = npu_pkg::BUS_BYTES_DEFAULT
) (
  input  logic                          clk_i,
  input  logic                          rst_ni,
  input  logic                          clear_i,
  input  logic                          start_i,
  input  npu_pkg::desc_t                desc_i,
  output logic                          busy_o,
  output logic                          done_o,
  output logic                          progress_o,
  // First addend (client ELEM), second addend (client RES, which is the drain's otherwise). Every
  // bus word that a request touches comes back, in order.
  output logic                          rd_req_valid_o,
  input  logic                          rd_req_ready_i,
  output logic [31:0]                   rd_req_addr_o,
  output logic [23:0]                   rd_req_bytes_o,
  input  logic                          rd_rsp_valid_i,
  output logic                          rd_rsp_ready_o,
  input  logic [BUS_BYTES*8-1:0]        rd_rsp_data_i,
  output logic                          rd2_req_valid_o,
  input  logic                          rd2_req_ready_i,
  output logic [31:0]                   rd2_req_addr_o,
  output logic [23:0]                   rd2_req_bytes_o,
  input  logic                          rd2_rsp_valid_i,
  output logic                          rd2_rsp_ready_o,
  input  logic [BUS_BYTES*8-1:0]        rd2_rsp_data_i,
  output logic                          wr_valid_o,
  input  logic                          wr_ready_i,
  output logic [31:0]                   wr_addr_o,
  output logic [BUS_BYTES*8-1:0]        wr_data_o,
  output logic [BUS_BYTES-1:0]          wr_strb_o,
  // events
  output logic [2:0]                    cnt_elements_o,
  output logic [2:0]                    cnt_sat_low_o,
  output logic [2:0]                    cnt_sat_high_o
);

  localparam int unsigned LANES = 4;
  localparam int unsigned LATENCY = 9;  // of npu_add_lane
  localparam int unsigned WB = $clog2(BUS_BYTES);

  // n * in_c is at most 65,535 * 65,536, so 33 bits hold it. It is worked out in the cycle of
  // start_i; the requests begin a cycle later (launch_q), when left_q holds it.
  logic busy_q, launch_q;
  logic [32:0] left_q;       // elements still to be issued
  logic [32:0] total;
  always_comb begin
    total = '0;
    if (start_i) total = 33'(desc_i.n) * 33'(desc_i.in_c[16:0]);
  end
  assign busy_o = busy_q;

  // Requests have 24 bits for their length, so a tensor takes several. They end at multiples of 64
  // KiB, so that no bus word is read twice: ACT_READ_BYTES counts the words of one range of bytes
  // (CONTRACT.md, Traffic: streams).
  assign {rd_req_valid_o, rd_req_addr_o, rd_req_bytes_o} =
      {gen_request[0].valid, gen_request[0].addr_q, gen_request[0].bytes};
  assign {rd2_req_valid_o, rd2_req_addr_o, rd2_req_bytes_o} =
      {gen_request[1].valid, gen_request[1].addr_q, gen_request[1].bytes};
  for (genvar s = 0; s < 2; s++) begin : gen_request
    // One of these for each addend: next address and bytes not yet asked for. Both streams are
    // asked for at once, and the buffers of their clients keep them together.
    logic [31:0] addr_q;
    logic [32:0] ask_q;
    logic [16:0] to_end;
    logic [23:0] bytes;
    logic more, valid, take;
    always_comb begin
      to_end = '0;
      more = 1'b0;
      valid = 1'b0;
      bytes = '0;
      if (busy_q) begin
        to_end = 17'h10000 - {1'b0, addr_q[15:0]};
        more = ask_q > 33'(to_end);
        valid = ask_q != '0;
        bytes = more ? 24'(to_end) : 24'(ask_q);
      end
    end
    assign take = valid && ((s == 0) ? rd_req_ready_i : rd2_req_ready_i);
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) ask_q <= '0;
      else if (clear_i) ask_q <= '0;
      else if (launch_q) ask_q <= left_q;
      else if (take) ask_q <= more ? ask_q - 33'(to_end) : '0;
    end
    always_ff @(posedge clk_i) begin
      // A request is never taken in the cycle of launch_q, when ask_q is still zero.
      if (take) addr_q <= {addr_q[31:16] + 16'd1, 16'd0};
      else if (launch_q) addr_q <= (s == 0) ? desc_i.in_addr : desc_i.in2_addr;
    end
  end

  // Streams of bytes. A step takes the same number of elements from both, and waits until both have
  // them: four, or what is left at the end.
  logic [LANES*8-1:0] bytes1, bytes2;
  logic [2:0] have1, have2, want;
  logic issue, advance, last, finished;
  logic out_valid, pack_ready, pack_idle;
  logic [LATENCY-1:0] valid_q, en;
  // The pipeline of the lanes has no gaps of its own and stands still as a whole when the packer
  // cannot take its result. Combinational work of an idle engine is skipped.
  always_comb begin
    advance = 1'b0;
    want = '0;
    last = 1'b0;
    issue = 1'b0;
    finished = 1'b0;
    en = '0;
    if (busy_q) begin
      advance = !out_valid || pack_ready;
      want = (left_q >= 33'(LANES)) ? 3'(LANES) : 3'(left_q);
      last = left_q <= 33'(LANES);
      issue = !launch_q && (left_q != '0) && (have1 >= want) && (have2 >= want) && advance;
      finished = !launch_q && (left_q == '0) && (valid_q == '0) && pack_idle;
      if (advance) en = {valid_q[LATENCY-2:0], issue};
    end
  end
  npu_unpack #(.BUS_BYTES(BUS_BYTES), .LANES(LANES)) u_first (
    .clk_i, .rst_ni, .clear_i(clear_i || start_i), .skip_i(desc_i.in_addr[WB-1:0]),
    .word_valid_i(rd_rsp_valid_i && busy_q), .word_ready_o(rd_rsp_ready_o), .word_i(rd_rsp_data_i),
    .bytes_o(bytes1), .have_o(have1), .take_i(issue), .count_i(want)
  );
  npu_unpack #(.BUS_BYTES(BUS_BYTES), .LANES(LANES)) u_second (
    .clk_i, .rst_ni, .clear_i(clear_i || start_i), .skip_i(desc_i.in2_addr[WB-1:0]),
    .word_valid_i(rd2_rsp_valid_i && busy_q), .word_ready_o(rd2_rsp_ready_o),
    .word_i(rd2_rsp_data_i), .bytes_o(bytes2), .have_o(have2), .take_i(issue), .count_i(want)
  );

  // Lanes. How many of them hold an element, and whether the tensor ends here, travels beside the
  // pipeline.
  logic [LATENCY*4-1:0] tag_q;  // last, count
  logic [LANES*8-1:0] out;
  logic [LANES-1:0] low, high;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) valid_q <= '0;
    else if (clear_i) valid_q <= '0;
    else if (busy_q && advance) valid_q <= en;
  end
  always_ff @(posedge clk_i) if (busy_q && advance) tag_q <= {tag_q[(LATENCY-1)*4-1:0], last, want};
  // Lanes without an element at the tensor's end work on zeros; nobody sees what they find.
  for (genvar i = 0; i < LANES; i++) begin : gen_lane
    npu_add_lane u_lane (
      .clk_i, .en_i(en), .x1_i(bytes1[i*8 +: 8]), .x2_i(bytes2[i*8 +: 8]),
      .zp1_i(desc_i.in_zp), .zp2_i(desc_i.in2_zp), .zp_out_i(desc_i.add_zp),
      .shift_i(desc_i.add_shift[4:0]), .m1_i(desc_i.m1[30:0]), .m2_i(desc_i.m2[30:0]),
      .mo_i(desc_i.mo[30:0]), .e1_i(desc_i.e1), .e2_i(desc_i.e2),
      .eo_i(desc_i.eo), .min_i(desc_i.add_act_min), .max_i(desc_i.add_act_max),
      .out_o(out[i*8 +: 8]), .sat_low_o(low[i]), .sat_high_o(high[i])
    );
  end

  // Output. The packer puts the bytes behind each other, from the output's first byte on, into bus
  // words of their own alignment.
  logic out_last;
  logic [2:0] out_count;
  assign out_valid = valid_q[LATENCY-1];
  assign {out_last, out_count} = tag_q[(LATENCY-1)*4 +: 4];
  npu_pack #(.BUS_BYTES(BUS_BYTES), .LANES(LANES)) u_pack (
    .clk_i, .rst_ni, .clear_i, .start_i, .addr_i(desc_i.out_addr), .valid_i(out_valid),
    .ready_o(pack_ready), .bytes_i(out), .count_i(out_count), .last_i(out_last), .idle_o(pack_idle),
    .wr_valid_o, .wr_ready_i, .wr_addr_o, .wr_data_o, .wr_strb_o
  );

  // Start and end. The command is over when all elements were issued, the pipeline is empty and the
  // last word was accepted.
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      busy_q <= 1'b0;
      launch_q <= 1'b0;
      done_o <= 1'b0;
      left_q <= '0;
    end else if (clear_i) begin
      busy_q <= 1'b0;
      launch_q <= 1'b0;
      done_o <= 1'b0;
      left_q <= '0;
    end else begin
      launch_q <= start_i;
      done_o <= finished;
      if (start_i) begin
        busy_q <= 1'b1;
        left_q <= total;
      end else if (finished) begin
        busy_q <= 1'b0;
      end else if (issue) begin
        left_q <= left_q - 33'(want);
      end
    end
  end
  assign progress_o = issue || (wr_valid_o && wr_ready_i);

  // Saturation counts in lanes that hold an element, once, when the result leaves.
  function automatic logic [2:0] ones(input logic [LANES-1:0] v, input logic [2:0] count);
    ones = 3'd0;
    for (int unsigned i = 0; i < LANES; i++) if (3'(i) < count) ones = ones + {2'd0, v[i]};
  endfunction
  always_comb begin
    // ELEMENT_OPS counts elements when they enter.
    cnt_elements_o = issue ? want : 3'd0;
    cnt_sat_low_o = '0;
    cnt_sat_high_o = '0;
    if (out_valid && pack_ready) begin
      cnt_sat_low_o = ones(low, out_count);
      cnt_sat_high_o = ones(high, out_count);
    end
  end
  logic unused;
  assign unused = ^desc_i;

`ifndef SYNTHESIS
  // The sequencer starts a command only when the one before is done.
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i) start_i |-> !busy_q);
`endif

endmodule
