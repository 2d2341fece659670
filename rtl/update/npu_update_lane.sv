// SPDX-License-Identifier: Apache-2.0
// Update of one element from its direction g: three registers (CONTRACT.md, Update). Rounding acts
// on the magnitude: q = (|g| * S * 2^STEP_PRESHIFT + (2 r + 1) * 2^(shift - 17)) >> shift, then w -
// sign(g) * q, saturated symmetrically.
module npu_update_lane #(
  parameter int unsigned BITS = 16,   // 16, or 32 for a lane that also serves int32
  // of the direction: 18, or 32 for a lane that also serves a gradient (never -2^31)
  parameter int unsigned G_BITS = 18
) (
  input  logic               clk_i,
  input  logic [2:0]         en_i,       // enable of product, quotient, result
  // static
  input  logic [15:0]        step_i,
  input  logic [5:0]         shift_i,
  input  logic [1:0]         width_i,    // 0: int8, 1: int16, 2: int32
  // with the product
  input  logic signed [G_BITS-1:0] g_i,
  input  logic [15:0]        round_i,
  input  logic               take_i,     // the mask lets the element take part
  // with the result
  input  logic               present_i,  // the lane holds an element
  input  logic [BITS-1:0]    w_i,        // sign-extended
  output logic [BITS-1:0]    w_o,
  output logic               updated_o,
  output logic               zero_o,
  output logic               clipped_o
);

  // The quotient has one bit more than the element, enough to leave the range from either end; its
  // sum with a weight has two bits more again.
  localparam int unsigned SUM = BITS + 3;

  localparam int unsigned PRODUCT = G_BITS + 15;

  // |g| * S, at most 16 bits more than the direction's magnitude.
  function automatic logic [PRODUCT-1:0] scale(input logic signed [G_BITS-1:0] g,
                                               input logic [15:0] mantissa);
    logic [G_BITS-1:0] mag;
    mag = g[G_BITS-1] ? G_BITS'(-g) : G_BITS'(g);
    scale = PRODUCT'(mag) * PRODUCT'(mantissa);
  endfunction

  // The quotient, or all ones if it moves any element beyond its limits.
  function automatic logic [BITS:0] divide(input logic [PRODUCT-1:0] p, input logic [15:0] random,
                                           input logic [5:0] shift);
    logic [63:0] dither, quotient;
    dither = {47'd0, random, 1'b1};
    dither = (shift >= 6'd17) ? (dither << (shift - 6'd17)) : (dither >> (6'd17 - shift));
    quotient = ((64'(p) << npu_pkg::STEP_PRESHIFT) + dither) >> shift;
    divide = (quotient[63:BITS+1] != '0) ? '1 : quotient[BITS:0];
  endfunction

  // {clipped, value}
  function automatic logic [BITS:0] move(input logic [BITS-1:0] w, input logic [BITS:0] q,
                                         input logic neg, input logic [1:0] width);
    logic signed [SUM-1:0] delta, moved, limit;
    limit = $signed({{(SUM - BITS + 1) {1'b0}}, {(BITS - 1) {1'b1}}});
    if (width == 2'd0) limit = $signed(SUM'(127));
    else if (width == 2'd1) limit = $signed(SUM'(32767));
    delta = $signed({{(SUM - BITS - 1) {1'b0}}, q});
    moved = neg ? SUM'($signed(w)) + delta : SUM'($signed(w)) - delta;
    if (moved > limit) move = {1'b1, limit[BITS-1:0]};
    else if (moved < -limit) move = {1'b1, -limit[BITS-1:0]};
    else move = {1'b0, moved[BITS-1:0]};
  endfunction

  logic [PRODUCT-1:0] p_q;
  logic [15:0] round_q;
  logic [BITS:0] q_q;
  logic neg_q, neg2_q, take_q, take2_q;
  always_ff @(posedge clk_i) begin
    if (en_i[0]) begin
      p_q <= scale(g_i, step_i);
      neg_q <= g_i[G_BITS-1];
      round_q <= round_i;
      take_q <= take_i;
    end
    if (en_i[1]) begin
      q_q <= divide(p_q, round_q, shift_i);
      neg2_q <= neg_q;
      take2_q <= take_q;
    end
    if (en_i[2]) begin
      updated_o <= present_i && take2_q;
      zero_o <= present_i && take2_q && (q_q == '0);
      if (take2_q && (q_q != '0)) begin
        {clipped_o, w_o} <= move(w_i, q_q, neg2_q, width_i) & {present_i, {BITS{1'b1}}};
      end else begin
        {clipped_o, w_o} <= {1'b0, w_i};
      end
    end
  end

endmodule
