// SPDX-License-Identifier: Apache-2.0
// Perturbation of one weight or bias: a register between z and |delta|, none from w to its
// perturbed value (CONTRACT.md, Perturbation). Rounding acts on the magnitude, so that w + delta
// and w - delta are antisymmetric to the bit.
module npu_perturb_lane #(
  // width of the element; with narrow_i it holds a sign-extended int8
  parameter int unsigned BITS = 16,
  parameter int unsigned EPS_BITS = 16
) (
  input  logic                clk_i,
  input  logic                en_i,        // takes z into the register
  input  logic [EPS_BITS-1:0] eps_i,
  input  logic [4:0]          shift_i,
  input  logic                narrow_i,    // limits of int8
  input  logic [6:0]          z_mag_i,
  input  logic                z_neg_i,     // delta is negative (sign of z and polarity)
  input  logic                take_i,      // the mask lets the element take part
  input  logic                move_i,      // low: the outputs are 0
  input  logic [BITS-1:0]     w_i,
  output logic [BITS-1:0]     w_o,
  output logic                clipped_o
);

  localparam int unsigned MAG = EPS_BITS + 7;
  localparam int unsigned SUM = ((MAG > BITS) ? MAG : BITS) + 2;

  // |delta|: at most eps * |z|, so the upper bits of the rounded quotient are zero.
  function automatic logic [31:0] magnitude(input logic [EPS_BITS-1:0] eps, input logic [6:0] z,
                                            input logic [4:0] shift);
    logic [31:0] half;
    half = (shift == 5'd0) ? 32'd0 : (32'd1 << (shift - 5'd1));
    magnitude = (32'(eps) * 32'(z) + half) >> shift;
  endfunction

  // {clipped, value}. Limits are symmetric; a delta of 0 leaves even -2^(bits-1) as it is
  // (CONTRACT.md, Perturbation).
  function automatic logic [BITS:0] move(input logic [BITS-1:0] w, input logic [MAG-1:0] mag,
                                         input logic neg, input logic narrow);
    logic signed [SUM-1:0] delta, moved, limit;
    delta = $signed({{(SUM - MAG) {1'b0}}, mag});
    if (neg) delta = -delta;
    limit = narrow ? $signed(SUM'(127)) : $signed({{(SUM - BITS + 1) {1'b0}}, {(BITS - 1) {1'b1}}});
    moved = SUM'($signed(w)) + delta;
    if (mag == '0) move = {1'b0, w};
    else if (moved > limit) move = {1'b1, limit[BITS-1:0]};
    else if (moved < -limit) move = {1'b1, -limit[BITS-1:0]};
    else move = {1'b0, moved[BITS-1:0]};
  endfunction

  // What the mask leaves out gets a delta of 0 and so stays as it is.
  logic [31:MAG] unused_mag;
  logic [MAG-1:0] mag_q;
  logic neg_q;
  always_ff @(posedge clk_i) begin
    if (en_i) begin
      {unused_mag, mag_q} <= take_i ? magnitude(eps_i, z_mag_i, shift_i) : 32'd0;
      neg_q <= z_neg_i;
    end
  end
  always_comb begin
    {clipped_o, w_o} = '0;
    if (move_i) {clipped_o, w_o} = move(w_i, mag_q, neg_q, narrow_i);
  end

endmodule
