// SPDX-License-Identifier: Apache-2.0
// The contract's rescale (CONTRACT.md, Requantization): sat40(acc * 2^max(e, 0)), times M with
// round half up at 2^31, then a right shift by max(-e, 0) that rounds ties away from zero. Three
// registers, each taken under its enable.
module npu_rescale (
  input  logic               clk_i,
  input  logic [2:0]         en_i,     // enable of the shifted accumulator, the product, the result
  input  logic signed [39:0] acc_i,
  input  logic [30:0]        mult_i,   // with acc_i
  input  logic signed [7:0]  exp_i,    // -40..30, with acc_i
  output logic signed [39:0] y_o
);

  localparam logic signed [39:0] ACC_MAX = {1'b0, {39{1'b1}}};
  localparam logic signed [39:0] ACC_MIN = {1'b1, 39'd0};

  // Functions, so that the work is under the registers' enables for simulators too.
  // Left shift with saturation.
  function automatic logic signed [39:0] shift_left(input logic signed [39:0] acc,
                                                    input logic [4:0] left);
    if (acc > (ACC_MAX >>> left)) shift_left = ACC_MAX;
    else if (acc < (ACC_MIN >>> left)) shift_left = ACC_MIN;
    else shift_left = acc <<< left;
  endfunction

  // floor((a * m + 2^30) / 2^31) in two parts of 20 bits of the accumulator:
  // floor((hi * 2^20 + lo + 2^30) / 2^31) = (hi + floor((lo + 2^30) / 2^20)) >> 11.
  function automatic logic signed [39:0] high_mul(input logic signed [39:0] a,
                                                  input logic [30:0] m);
    logic signed [51:0] hi;
    logic [51:0] lo;
    hi = 52'($signed(a[39:20])) * $signed({21'd0, m});
    lo = 52'(a[19:0]) * 52'(m) + 52'h4000_0000;
    high_mul = 40'((hi + $signed(lo >> 20)) >>> 11);
  endfunction

  // Right shift that rounds ties away from zero.
  function automatic logic signed [39:0] round_shift(input logic signed [39:0] h,
                                                     input logic [5:0] right);
    logic [39:0] mask, threshold;
    mask = (40'd1 << right) - 40'd1;
    threshold = (mask >> 1) + 40'(h[39]);
    round_shift = (h >>> right) + (((h & mask) > threshold) ? 40'sd1 : 40'sd0);
  endfunction

  logic signed [39:0] a_q, h_q;
  logic [30:0] mult_q;
  logic [5:0] right1_q, right2_q;
  always_ff @(posedge clk_i) begin
    if (en_i[0]) begin
      a_q <= shift_left(acc_i, exp_i[7] ? 5'd0 : exp_i[4:0]);
      mult_q <= mult_i;
      right1_q <= exp_i[7] ? 6'(-exp_i) : 6'd0;
    end
    if (en_i[1]) begin
      h_q <= high_mul(a_q, mult_q);
      right2_q <= right1_q;
    end
    if (en_i[2]) y_o <= round_shift(h_q, right2_q);
  end

endmodule
