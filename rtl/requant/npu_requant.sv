// One requantization lane: rescale, zero point, clamp; four registers with a valid bit each, advancing together.
// Saturation is reported against the output type, whatever the clamp is (CONTRACT.md, Requantization).
module npu_requant #(
  parameter int unsigned LATENCY = 4  // fixed; for those who align a sideband
) (
  input  logic               clk_i,
  input  logic [LATENCY-1:0] en_i,      // enable of register s: the owner's valid bits under its advance
  input  logic signed [39:0] acc_i,
  input  logic [30:0]        mult_i,
  input  logic signed [7:0]  exp_i,
  // static
  input  logic signed [15:0] zp_i,
  input  logic signed [15:0] min_i,
  input  logic signed [15:0] max_i,
  input  logic               wide_i,    // output type int16
  output logic signed [15:0] out_o,
  output logic               sat_low_o,
  output logic               sat_high_o
);

  logic signed [39:0] y;
  logic signed [40:0] sum, type_min, type_max;

  npu_rescale u_rescale (.clk_i, .en_i(en_i[2:0]), .acc_i, .mult_i, .exp_i, .y_o(y));

  assign sum = 41'(y) + 41'(zp_i);
  assign type_min = wide_i ? -41'sd32768 : -41'sd128;
  assign type_max = wide_i ? 41'sd32767 : 41'sd127;

  always_ff @(posedge clk_i) begin
    if (en_i[3]) begin
      out_o <= (sum < 41'(min_i)) ? min_i : (sum > 41'(max_i)) ? max_i : sum[15:0];
      sat_low_o <= sum < type_min;
      sat_high_o <= sum > type_max;
    end
  end

endmodule
