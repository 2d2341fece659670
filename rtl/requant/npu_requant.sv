// SPDX-License-Identifier: Apache-2.0
// One requantization lane: rescale, zero point, clamp; four registers with a valid bit each,
// advancing together. Saturation is reported against the output type, whatever the clamp is
// (CONTRACT.md, Requantization).
module npu_requant #(
  parameter int unsigned LATENCY = 4  // fixed; for those who align a sideband
) (
  input  logic               clk_i,
  // enable of register s: the owner's valid bits under its advance
  input  logic [LATENCY-1:0] en_i,
  // With enable 0; exponents are -40..30.
  input  logic signed [39:0] acc_i,
  input  logic [30:0]        mult_i,
  input  logic signed [7:0]  exp_i,
  // static
  input  logic signed [15:0] zp_i,
  input  logic signed [15:0] min_i,
  input  logic signed [15:0] max_i,
  input  logic               wide_i,    // output type int16
  input  logic               whole_i,   // output type int32: zero point and clamp are not used
  output logic signed [31:0] out_o,
  output logic               sat_low_o,
  output logic               sat_high_o
);

  logic signed [39:0] y;
  npu_rescale u_rescale (.clk_i, .en_i(en_i[2:0]), .acc_i, .mult_i, .exp_i, .y_o(y));

  // {high, low, output}. One bit more than the rescaled value holds its sum with the zero point.
  function automatic logic [33:0] clamp(input logic signed [39:0] v, input logic signed [15:0] zp,
                                        input logic signed [15:0] low,
                                        input logic signed [15:0] high, input logic wide);
    logic signed [40:0] offset_y;
    logic signed [40:0] type_min, type_max;
    offset_y = 41'(v) + 41'(zp);
    type_min = wide ? -41'sd32768 : -41'sd128;
    type_max = wide ? 41'sd32767 : 41'sd127;
    clamp[33] = offset_y > type_max;
    clamp[32] = offset_y < type_min;
    clamp[31:0] = (offset_y < 41'(low)) ? 32'(low) : (offset_y > 41'(high)) ? 32'(high)
        : offset_y[31:0];
  endfunction
  // What does not fit 32 bits differs from its sign above bit 31.
  function automatic logic [33:0] clamp32(input logic signed [39:0] v);
    clamp32[33] = !v[39] && (v[38:31] != '0);
    clamp32[32] = v[39] && (v[38:31] != '1);
    clamp32[31:0] = clamp32[33] ? 32'h7fff_ffff : clamp32[32] ? 32'h8000_0000 : v[31:0];
  endfunction

  always_ff @(posedge clk_i) begin
    if (en_i[3]) begin
      if (whole_i) {sat_high_o, sat_low_o, out_o} <= clamp32(y);
      else {sat_high_o, sat_low_o, out_o} <= clamp(y, zp_i, min_i, max_i, wide_i);
    end
  end

endmodule
