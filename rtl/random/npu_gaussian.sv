// SPDX-License-Identifier: Apache-2.0
// z from random bits, in a register. Gaussian: the magnitude is the number of thresholds not above
// the low 15 of 16 bits, found by seven compares, bit 15 is the sign; sign distribution: one bit,
// magnitude 1 (CONTRACT.md, Random numbers).
module npu_gaussian (
  input  logic        clk_i,
  input  logic        en_i,
  input  logic        gaussian_i,
  input  logic [15:0] bits_i,
  input  logic        sign_i,      // bit of the sign distribution
  input  logic        flip_i,      // negate z
  output logic        negative_o,
  output logic [6:0]  magnitude_o
);

  // Binary search for the count, its highest bit first: the thresholds rise, so if T[k] is not
  // above u, at least k + 1 of them are not.
  function automatic logic [6:0] search(input logic [14:0] u);
    logic [6:0] m;
    m = 7'd0;
    if (u >= npu_pkg::gaussian_threshold_table(7'd63)) m[6] = 1'b1;
    if (u >= npu_pkg::gaussian_threshold_table({m[6], 6'd31})) m[5] = 1'b1;
    if (u >= npu_pkg::gaussian_threshold_table({m[6:5], 5'd15})) m[4] = 1'b1;
    if (u >= npu_pkg::gaussian_threshold_table({m[6:4], 4'd7})) m[3] = 1'b1;
    if (u >= npu_pkg::gaussian_threshold_table({m[6:3], 3'd3})) m[2] = 1'b1;
    if (u >= npu_pkg::gaussian_threshold_table({m[6:2], 2'd1})) m[1] = 1'b1;
    if (u >= npu_pkg::gaussian_threshold_table({m[6:1], 1'd0})) m[0] = 1'b1;
    search = m;
  endfunction

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      if (gaussian_i) begin
        magnitude_o <= search(bits_i[14:0]);
        negative_o <= bits_i[15] ^ flip_i;
      end else begin
        magnitude_o <= 7'd1;
        negative_o <= sign_i ^ flip_i;
      end
    end
  end

endmodule
