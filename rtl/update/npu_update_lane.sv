// Update of one element from its direction g: three registers (CONTRACT.md, Update). Rounding acts on the magnitude:
// q = (|g| * S * 2^STEP_PRESHIFT + (2 r + 1) * 2^(shift - 17)) >> shift, then w - sign(g) * q, saturated symmetrically.
module npu_update_lane #(
  parameter int unsigned BITS = 16  // 16, or 32 for a lane that also serves int32
) (
  input  logic               clk_i,
  input  logic [2:0]         en_i,       // enable of product, quotient, result
  // static
  input  logic [15:0]        step_i,
  input  logic [5:0]         shift_i,
  input  logic [1:0]         width_i,    // 0: int8, 1: int16, 2: int32
  // with the product
  input  logic signed [17:0] g_i,
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

  localparam int unsigned SUM = BITS + 3;

  logic [17:0] mag;
  logic [32:0] p_q;
  logic [15:0] round_q;
  logic neg_q, neg2_q, take_q, take2_q;
  assign mag = g_i[17] ? 18'(-g_i) : 18'(g_i);
  always_ff @(posedge clk_i) begin
    if (en_i[0]) begin
      p_q <= 33'(mag[16:0]) * 33'(step_i);
      neg_q <= g_i[17];
      round_q <= round_i;
      take_q <= take_i;
    end
  end

  logic [63:0] odd, dither, total, quotient;
  logic [BITS:0] q_q;  // all ones moves any element beyond its limits
  assign odd = {47'd0, round_q, 1'b1};
  assign dither = (shift_i >= 6'd17) ? (odd << (shift_i - 6'd17)) : (odd >> (6'd17 - shift_i));
  assign total = (64'(p_q) << npu_pkg::STEP_PRESHIFT) + dither;
  assign quotient = total >> shift_i;
  always_ff @(posedge clk_i) begin
    if (en_i[1]) begin
      q_q <= (quotient[63:BITS+1] != '0) ? '1 : quotient[BITS:0];
      neg2_q <= neg_q;
      take2_q <= take_q;
    end
  end

  logic signed [SUM-1:0] w_ext, delta, moved, limit;
  logic act, over, under;
  assign w_ext = SUM'($signed(w_i));
  assign delta = $signed({2'b00, q_q});
  assign moved = neg2_q ? w_ext + delta : w_ext - delta;
  if (BITS == 32) begin : gen_wide
    assign limit = (width_i == 2'd0) ? 35'sd127 : (width_i == 2'd1) ? 35'sd32767 : 35'sd2147483647;
  end else begin : gen_narrow
    assign limit = (width_i == 2'd0) ? 19'sd127 : 19'sd32767;
  end
  assign act = take2_q && (q_q != '0);
  assign over = act && (moved > limit);
  assign under = act && (moved < -limit);
  always_ff @(posedge clk_i) begin
    if (en_i[2]) begin
      w_o <= !act ? w_i : over ? BITS'(limit) : under ? BITS'(-limit) : BITS'(moved);
      updated_o <= present_i && take2_q;
      zero_o <= present_i && take2_q && (q_q == '0);
      clipped_o <= present_i && (over || under);
    end
  end
  logic unused;
  assign unused = mag[17];

endmodule
