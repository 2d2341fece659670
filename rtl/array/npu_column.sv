// One column of the array: ROWS multipliers and their sum, and the column's accumulators, two halves of ACC_DEPTH words.
// Weights are double-buffered: the weight loader writes the shadow registers, swap_i moves them into the multipliers.
// Cycle 0 (mul_i): products, summed in fours. Cycle 1 (sum_i): their sum, accumulator read. Cycle 2 (add_i): accumulate and write.
module npu_column #(
  parameter int unsigned ROWS = npu_pkg::ROWS_DEFAULT,
  parameter int unsigned ACC_DEPTH = npu_pkg::ACC_DEPTH_DEFAULT,
  localparam int unsigned PW = $clog2(ACC_DEPTH)
) (
  input  logic               clk_i,
  input  logic               shadow_we_i,
  input  logic [ROWS*16-1:0] shadow_i,
  input  logic               swap_i,
  input  logic [ROWS*9-1:0]  act_i,
  input  logic               mul_i,
  input  logic               sum_i,
  input  logic               add_i,
  input  logic               first_i,   // with add_i: overwrite
  input  logic               half_i,    // with add_i
  input  logic [PW-1:0]      wr_pos_i,  // with add_i
  input  logic               rd0_i,     // read half 0, 1
  input  logic               rd1_i,
  input  logic [PW-1:0]      rd0_pos_i,
  input  logic [PW-1:0]      rd1_pos_i,
  output logic signed [39:0] rd0_o,     // one cycle later, kept until the next read
  output logic signed [39:0] rd1_o
);

  localparam int unsigned G = 4;  // products summed in the multiplier's cycle
  localparam int unsigned PARTS = ROWS / G;

  logic [ROWS*16-1:0] shadow_q, weight_q;
  always_ff @(posedge clk_i) if (shadow_we_i) shadow_q <= shadow_i;
  always_ff @(posedge clk_i) if (swap_i) weight_q <= shadow_q;

  logic signed [31:0] dot_q;  // |sum| <= 32 * 2^15 * 255 < 2^28
  logic [PARTS*32-1:0] part_q;
  logic signed [31:0] part, dot;
  for (genvar g = 0; g < PARTS; g++) begin : gen_part
    always_ff @(posedge clk_i) begin
      if (mul_i) begin
        part_q[g*32 +: 32] <=
            32'($signed(weight_q[(g*G+0)*16 +: 16])) * 32'($signed(act_i[(g*G+0)*9 +: 9])) +
            32'($signed(weight_q[(g*G+1)*16 +: 16])) * 32'($signed(act_i[(g*G+1)*9 +: 9])) +
            32'($signed(weight_q[(g*G+2)*16 +: 16])) * 32'($signed(act_i[(g*G+2)*9 +: 9])) +
            32'($signed(weight_q[(g*G+3)*16 +: 16])) * 32'($signed(act_i[(g*G+3)*9 +: 9]));
      end
    end
  end
  always_comb begin
    dot = '0;
    for (int unsigned g = 0; g < PARTS; g++) begin
      part = $signed(part_q[g*32 +: 32]);
      dot = dot + part;
    end
  end
  always_ff @(posedge clk_i) if (sum_i) dot_q <= dot;

  logic signed [39:0] mem0 [ACC_DEPTH];
  logic signed [39:0] mem1 [ACC_DEPTH];
  logic signed [39:0] sum;
  assign sum = (first_i ? 40'sd0 : half_i ? rd1_o : rd0_o) + 40'(dot_q);
  always_ff @(posedge clk_i) begin
    if (rd0_i) rd0_o <= mem0[rd0_pos_i];
    if (add_i && !half_i) mem0[wr_pos_i] <= sum;
  end
  always_ff @(posedge clk_i) begin
    if (rd1_i) rd1_o <= mem1[rd1_pos_i];
    if (add_i && half_i) mem1[wr_pos_i] <= sum;
  end

endmodule
