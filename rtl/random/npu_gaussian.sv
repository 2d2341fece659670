// z of the 8-bit Gaussian from 16 random bits: the magnitude is the number of thresholds not above the low 15 bits, found by
// seven compares; bit 15 is the sign (CONTRACT.md, Random numbers). Combinational.
module npu_gaussian (
  input  logic        en_i,         // low: magnitude 0, nothing searched
  input  logic [15:0] bits_i,
  output logic        negative_o,
  output logic [6:0]  magnitude_o
);

  logic [6:0] m;

  always_comb begin
    m = 7'd0;
    if (en_i) begin
      if (bits_i[14:0] >= npu_pkg::gaussian_threshold_table(7'd63)) m[6] = 1'b1;
      if (bits_i[14:0] >= npu_pkg::gaussian_threshold_table({m[6], 6'd31})) m[5] = 1'b1;
      if (bits_i[14:0] >= npu_pkg::gaussian_threshold_table({m[6:5], 5'd15})) m[4] = 1'b1;
      if (bits_i[14:0] >= npu_pkg::gaussian_threshold_table({m[6:4], 4'd7})) m[3] = 1'b1;
      if (bits_i[14:0] >= npu_pkg::gaussian_threshold_table({m[6:3], 3'd3})) m[2] = 1'b1;
      if (bits_i[14:0] >= npu_pkg::gaussian_threshold_table({m[6:2], 2'd1})) m[1] = 1'b1;
      if (bits_i[14:0] >= npu_pkg::gaussian_threshold_table({m[6:1], 1'd0})) m[0] = 1'b1;
    end
  end

  assign magnitude_o = m;
  assign negative_o = bits_i[15];

endmodule
