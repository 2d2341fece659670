// The contract's rescale (CONTRACT.md, Requantization): sat40(acc * 2^max(e, 0)), times M with round half up at 2^31, then
// a right shift by max(-e, 0) that rounds ties away from zero. Three registers, each taken under its enable.
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

  // Left shift with saturation.
  logic [4:0] left;
  logic signed [39:0] shifted, a_q;
  logic [30:0] mult_q;
  logic [5:0] right, right1_q, right2_q;
  assign left = exp_i[7] ? 5'd0 : exp_i[4:0];
  assign right = exp_i[7] ? 6'(-exp_i) : 6'd0;
  always_comb begin
    if (acc_i > (ACC_MAX >>> left)) shifted = ACC_MAX;
    else if (acc_i < (ACC_MIN >>> left)) shifted = ACC_MIN;
    else shifted = acc_i <<< left;
  end
  always_ff @(posedge clk_i) begin
    if (en_i[0]) begin
      a_q <= shifted;
      mult_q <= mult_i;
      right1_q <= right;
    end
  end

  // Product in two parts of 20 bits of the accumulator: floor((hi * 2^20 + lo + 2^30) / 2^31) = (hi + floor((lo + 2^30) / 2^20)) >> 11.
  logic signed [51:0] hi;
  logic [51:0] lo;
  logic signed [51:0] sum;
  logic signed [39:0] h_q;
  logic unused;
  assign hi = 52'($signed(a_q[39:20])) * 52'($signed({1'b0, mult_q}));
  assign lo = 52'(a_q[19:0]) * 52'(mult_q) + 52'h4000_0000;
  assign sum = hi + $signed({20'd0, lo[51:20]});
  assign unused = ^{lo[19:0], sum[51], sum[10:0]};
  always_ff @(posedge clk_i) begin
    if (en_i[1]) begin
      h_q <= sum[50:11];
      right2_q <= right1_q;
    end
  end

  // Rounding right shift.
  logic [39:0] mask, threshold, rest;
  logic signed [39:0] floor_q;
  assign mask = (40'd1 << right2_q) - 40'd1;
  assign rest = h_q & mask;
  assign threshold = (mask >> 1) + 40'(h_q[39]);
  assign floor_q = h_q >>> right2_q;
  always_ff @(posedge clk_i) if (en_i[2]) y_o <= floor_q + ((rest > threshold) ? 40'sd1 : 40'sd0);

endmodule
