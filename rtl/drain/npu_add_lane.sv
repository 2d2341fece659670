// SPDX-License-Identifier: Apache-2.0
// Operator ADD on one pair of int8 values (CONTRACT.md, Addition): nine registers, advancing under
// the owner's enables. Register 0 shifts the addends left, 1 to 3 rescale them to a common scale, 4
// adds, 5 to 8 requantize the sum.
module npu_add_lane #(
  parameter int unsigned LATENCY = 9  // fixed; for those who align a sideband
) (
  input  logic               clk_i,
  input  logic [LATENCY-1:0] en_i,
  input  logic signed [7:0]  x1_i,
  input  logic signed [7:0]  x2_i,
  // static
  input  logic signed [15:0] zp1_i,
  input  logic signed [15:0] zp2_i,
  input  logic signed [15:0] zp_out_i,
  input  logic [4:0]         shift_i,
  input  logic [30:0]        m1_i,
  input  logic [30:0]        m2_i,
  input  logic [30:0]        mo_i,
  input  logic signed [7:0]  e1_i,
  input  logic signed [7:0]  e2_i,
  input  logic signed [7:0]  eo_i,
  input  logic signed [15:0] min_i,
  input  logic signed [15:0] max_i,
  output logic signed [7:0]  out_o,
  output logic               sat_low_o,
  output logic               sat_high_o
);

  localparam logic signed [40:0] ACC_MAX = 41'sh7f_ffff_ffff;
  localparam logic signed [40:0] ACC_MIN = -41'sh80_0000_0000;

  logic signed [39:0] d1_q, d2_q, a1, a2, sum_q;
  logic signed [40:0] sum;
  logic signed [31:0] out;
  // (x - zp) << shift has at most 9 + 20 bits: 40 are plenty.
  always_ff @(posedge clk_i) begin
    if (en_i[0]) begin
      d1_q <= (40'(x1_i) - 40'(zp1_i)) <<< shift_i;
      d2_q <= (40'(x2_i) - 40'(zp2_i)) <<< shift_i;
    end
  end
  npu_rescale u_first (.clk_i, .en_i(en_i[3:1]), .acc_i(d1_q), .mult_i(m1_i), .exp_i(e1_i),
      .y_o(a1));
  npu_rescale u_second (.clk_i, .en_i(en_i[3:1]), .acc_i(d2_q), .mult_i(m2_i), .exp_i(e2_i),
      .y_o(a2));
  // Each addend may use all of its 40 bits, so their sum needs one more and is limited to 40 again,
  // as the contract's arithmetic is (sat40).
  assign sum = 41'(a1) + 41'(a2);
  always_ff @(posedge clk_i) begin
    if (en_i[4])
      sum_q <= (sum > ACC_MAX) ? ACC_MAX[39:0] : (sum < ACC_MIN) ? ACC_MIN[39:0] : sum[39:0];
  end
  // The sum is requantized like an accumulator; counters see it against int8.
  npu_requant u_out (
    .clk_i, .en_i(en_i[8:5]), .acc_i(sum_q), .mult_i(mo_i), .exp_i(eo_i), .zp_i(zp_out_i), .min_i,
    .max_i, .wide_i(1'b0), .whole_i(1'b0), .out_o(out), .sat_low_o, .sat_high_o
  );
  assign out_o = out[7:0];
  logic unused;
  assign unused = ^out[31:8];

endmodule
