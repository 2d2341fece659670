// Perturbation of one weight or bias: two registers between z and the perturbed value (CONTRACT.md, Perturbation).
// Rounding acts on the magnitude, so that w + delta and w - delta are antisymmetric to the bit.
module npu_perturb_lane #(
  parameter int unsigned BITS = 16,     // width of the element; with narrow_i it holds a sign-extended int8
  parameter int unsigned EPS_BITS = 16
) (
  input  logic                clk_i,
  input  logic                en_mag_i,    // takes z into the magnitude register
  input  logic                en_out_i,    // takes w into the output register
  input  logic [EPS_BITS-1:0] eps_i,
  input  logic [4:0]          shift_i,
  input  logic                narrow_i,    // limits of int8
  input  logic [6:0]          z_mag_i,
  input  logic                z_neg_i,     // delta is negative (sign of z and polarity)
  input  logic                take_i,      // the mask lets the element take part
  input  logic [BITS-1:0]     w_i,         // one enable after z
  output logic [BITS-1:0]     w_o,
  output logic                clipped_o
);

  localparam int unsigned MAG = EPS_BITS + 7;
  localparam int unsigned SUM = ((MAG > BITS) ? MAG : BITS) + 2;

  logic [MAG-1:0] product;
  logic [31:0] rounded;
  logic [31:MAG] unused_rounded;
  logic [31:0] half;
  logic [MAG-1:0] mag_q;
  logic neg_q;
  logic signed [SUM-1:0] delta, moved, limit, w_ext;
  logic over, under;

  assign product = MAG'(eps_i) * MAG'(z_mag_i);
  assign half = (shift_i == 5'd0) ? 32'd0 : (32'd1 << (shift_i - 5'd1));
  assign rounded = (32'(product) + half) >> shift_i;
  assign unused_rounded = rounded[31:MAG];

  always_ff @(posedge clk_i) begin
    if (en_mag_i) begin
      mag_q <= take_i ? MAG'(rounded) : '0;
      neg_q <= z_neg_i;
    end
  end

  assign w_ext = SUM'($signed(w_i));
  assign delta = neg_q ? -$signed(SUM'(mag_q)) : $signed(SUM'(mag_q));
  assign limit = narrow_i ? $signed(SUM'(127)) : $signed({{(SUM - BITS + 1) {1'b0}}, {(BITS - 1) {1'b1}}});
  assign moved = w_ext + delta;
  assign over = (mag_q != '0) && (moved > limit);
  assign under = (mag_q != '0) && (moved < -limit);

  always_ff @(posedge clk_i) begin
    if (en_out_i) begin
      w_o <= over ? BITS'(limit) : under ? BITS'(-limit) : BITS'(moved);
      clipped_o <= over || under;
    end
  end

endmodule
