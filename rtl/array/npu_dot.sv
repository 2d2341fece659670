// SPDX-License-Identifier: Apache-2.0
// The multipliers: COLS dot products of ROWS 16 x 9 bit products per cycle. Weights are
// double-buffered: the weight loader writes shadow registers, a column at a time, or a row of them;
// swap_i moves all of them into the multipliers. Cycle 0 (mul_i): products, summed in fours. Cycle
// 1 (sum_i): their sum. Sums are kept in 32 bits (|sum| <= 32 * 2^15 * 255 < 2^28), weights
// sign-extended; synthesis drops the copies of the sign.
module npu_dot #(
  parameter int unsigned ROWS = npu_pkg::ROWS_DEFAULT,
  parameter int unsigned COLS = npu_pkg::COLS_DEFAULT,
  localparam int unsigned LINE = (ROWS > COLS) ? ROWS : COLS,
  localparam int unsigned LL = $clog2(LINE)
) (
  input  logic               clk_i,
  input  logic               shadow_we_i,
  input  logic               shadow_across_i,  // a row: element j goes to column j
  input  logic [LL-1:0]      shadow_at_i,      // row or column
  input  logic [LINE*16-1:0] shadow_i,
  input  logic               swap_i,
  input  logic [ROWS*32-1:0] act_i,    // nine bits of each word
  input  logic               mul_i,
  input  logic               sum_i,
  output logic [COLS*32-1:0] dot_o
);

  localparam int unsigned G = 4;  // products summed in the multiplier's cycle
  localparam int unsigned PARTS = ROWS / G;
  localparam int unsigned LR = $clog2(ROWS);

  logic signed [31:0] weight_q [ROWS*COLS];  // row-major: what one activation meets lies together
  logic signed [31:0] part_q [PARTS*COLS];
  logic signed [31:0] act [ROWS];            // zero while nothing is multiplied

  for (genvar j = 0; j < COLS; j++) begin : gen_weight
    logic [ROWS*16-1:0] shadow_q;
    always_ff @(posedge clk_i) begin
      // A column is one output channel with its weights for all lanes. A row holds one lane's
      // weights for all output channels: that is how transposed weights lie in memory.
      if (shadow_we_i) begin
        if (shadow_across_i) shadow_q[shadow_at_i[LR-1:0]*16 +: 16] <= shadow_i[j*16 +: 16];
        else if (shadow_at_i == LL'(j)) shadow_q <= shadow_i[ROWS*16-1:0];
      end
    end
    always_ff @(posedge clk_i) begin
      if (swap_i) begin
        for (int unsigned i = 0; i < ROWS; i++)
          weight_q[i*COLS+j] <= 32'($signed(shadow_q[i*16 +: 16]));
      end
    end
  end

  // Activations are gated with mul_i: while nothing is multiplied the operands are zero and neither
  // gates nor a simulator have anything to do.
  always_comb begin
    for (int unsigned i = 0; i < ROWS; i++) act[i] = 32'($signed(mul_i ? act_i[i*32 +: 9] : 9'd0));
  end

  // First register: groups of four products. The width never limits a sum, so the tree may add in
  // any order (CONTRACT.md, Accumulation).
  for (genvar g = 0; g < PARTS; g++) begin : gen_part
    always_ff @(posedge clk_i) begin
      if (mul_i) begin
        for (int unsigned j = 0; j < COLS; j++) begin
          part_q[g*COLS+j] <= weight_q[(g*G+0)*COLS+j] * act[g*G+0] +
                              weight_q[(g*G+1)*COLS+j] * act[g*G+1] +
                              weight_q[(g*G+2)*COLS+j] * act[g*G+2] +
                              weight_q[(g*G+3)*COLS+j] * act[g*G+3];
        end
      end
    end
  end

  // Second register: the sum of the parts, of which there are one, two, four or eight, as ROWS is
  // 4, 8, 16 or 32. The modulo keeps the indices of absent parts legal; their terms are constant
  // zero.
  always_ff @(posedge clk_i) begin
    if (sum_i) begin
      for (int unsigned j = 0; j < COLS; j++) begin
        dot_o[j*32 +: 32] <= part_q[j] + ((PARTS > 1) ? part_q[(1%PARTS)*COLS+j] : 32'sd0) +
                             ((PARTS > 2) ? part_q[(2%PARTS)*COLS+j] : 32'sd0) +
                             ((PARTS > 2) ? part_q[(3%PARTS)*COLS+j] : 32'sd0) +
                             ((PARTS > 4) ? part_q[(4%PARTS)*COLS+j] : 32'sd0) +
                             ((PARTS > 4) ? part_q[(5%PARTS)*COLS+j] : 32'sd0) +
                             ((PARTS > 4) ? part_q[(6%PARTS)*COLS+j] : 32'sd0) +
                             ((PARTS > 4) ? part_q[(7%PARTS)*COLS+j] : 32'sd0);
      end
    end
  end

endmodule
