// Perturbs one bus word of weights (or biases) per cycle on its way from memory (CONTRACT.md, Perturbation, Random numbers).
// In and out are valid/ready; LATENCY registers, which stall together. With active_i low every word passes through combinationally
// and nothing toggles. Configuration inputs are static while busy_o.
// Lanes: BIAS 0: int8 (w8_i) or int16; BIAS 1: int32. Column in_col_i belongs to the first lane and is a multiple of the lanes.
module npu_perturb #(
  parameter int unsigned BUS_BYTES = npu_pkg::BUS_BYTES_DEFAULT,
  parameter int unsigned BIAS = 0,
  parameter int unsigned SIDE_BITS = 1,
  parameter int unsigned HASH_STAGES = 8,
  parameter int unsigned TRAINING = npu_pkg::TRAINING_DEFAULT
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic                   clear_i,
  // static configuration
  input  logic                   active_i,    // polarity not NONE and the tensor's train flag
  input  logic                   minus_i,
  input  logic                   gaussian_i,
  input  logic                   w8_i,        // BIAS 1: ignored
  input  logic [23:0]            eps_i,       // weights: 16 bits
  input  logic [4:0]             shift_i,
  input  logic [8:0]             keep_i,      // 0..256
  input  logic [63:0]            seed_i,
  input  logic [63:0]            mask_seed_i,
  input  logic [15:0]            tensor_i,
  // words from memory
  input  logic                   in_valid_i,
  output logic                   in_ready_o,
  input  logic [BUS_BYTES*8-1:0] in_data_i,
  input  logic [15:0]            in_row_i,
  input  logic [15:0]            in_col_i,
  input  logic [BUS_BYTES-1:0]   in_lanes_i,  // lanes that belong to the run: only they count as perturbed
  input  logic                   in_count_i,  // count perturbed and clipped (once per command)
  input  logic [SIDE_BITS-1:0]   in_side_i,   // travels with the word
  // perturbed words
  output logic                   out_valid_o,
  input  logic                   out_ready_i,
  output logic [BUS_BYTES*8-1:0] out_data_o,
  output logic [SIDE_BITS-1:0]   out_side_o,
  output logic                   busy_o,
  // events
  output logic [6:0]             cnt_perturbed_o,
  output logic [6:0]             cnt_clipped_o,
  output logic [5:0]             cnt_random_o
);

  localparam int unsigned DATA = BUS_BYTES * 8;

  if (TRAINING == 0) begin : gen_wires
    assign in_ready_o = out_ready_i;
    assign out_valid_o = in_valid_i;
    assign out_data_o = in_data_i;
    assign out_side_o = in_side_i;
    assign busy_o = 1'b0;
    assign cnt_perturbed_o = '0;
    assign cnt_clipped_o = '0;
    assign cnt_random_o = '0;
    logic unused;
    assign unused = ^{clk_i, rst_ni, clear_i, active_i, minus_i, gaussian_i, w8_i, eps_i, shift_i, keep_i, seed_i, mask_seed_i,
                      tensor_i, in_row_i, in_col_i, in_lanes_i, in_count_i};
  end else begin : gen_unit
    localparam int unsigned LANES = (BIAS != 0) ? BUS_BYTES / 4 : BUS_BYTES;  // most lanes
    localparam int unsigned WIDE = (BIAS != 0) ? LANES : BUS_BYTES / 2;       // lanes that can be wider than a byte
    localparam int unsigned BITS = (BIAS != 0) ? 32 : 16;
    localparam int unsigned EPS_BITS = (BIAS != 0) ? 24 : 16;
    localparam int unsigned ZW = (LANES < 4) ? 1 : LANES / 4;  // hash words of Gaussians
    localparam int unsigned MW = (LANES < 8) ? 1 : LANES / 8;  // hash words of the mask
    localparam int unsigned H = HASH_STAGES;
    localparam int unsigned LATENCY = H + 3;                   // z, magnitude, output

    logic advance, masked, narrow;
    logic [LATENCY-1:0] valid_q, en;
    logic [7:0] column_shift;

    assign masked = keep_i < 9'd256;
    assign narrow = (BIAS == 0) && w8_i;
    assign advance = !valid_q[LATENCY-1] || out_ready_i;
    assign busy_o = (valid_q != '0);
    assign in_ready_o = active_i ? advance : out_ready_i;
    assign out_valid_o = active_i ? valid_q[LATENCY-1] : in_valid_i;

    assign en = advance ? {valid_q[LATENCY-2:0], active_i && in_valid_i} : '0;

    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) valid_q <= '0;
      else if (clear_i) valid_q <= '0;
      else if (advance && (busy_o || active_i)) valid_q <= {valid_q[LATENCY-2:0], active_i && in_valid_i};
    end

    // The word, its sideband and what its lanes need wait for the hash. A variable for each register: assigning a part of a long
    // vector costs a simulator a copy of all of it.
    logic [LANES-1:0] lanes_in;
    assign lanes_in = in_count_i ? in_lanes_i[LANES-1:0] : '0;
    for (genvar s = 0; s < LATENCY; s++) begin : gen_side
      logic [SIDE_BITS-1:0] side_q;
      if (s == 0) begin : gen_in
        always_ff @(posedge clk_i) if (en[s]) side_q <= in_side_i;
      end else begin : gen_next
        always_ff @(posedge clk_i) if (en[s]) side_q <= gen_side[s-1].side_q;
      end
    end
    for (genvar s = 0; s < LATENCY - 1; s++) begin : gen_data
      logic [DATA-1:0] data_q;
      if (s == 0) begin : gen_in
        always_ff @(posedge clk_i) if (en[s]) data_q <= in_data_i;
      end else begin : gen_next
        always_ff @(posedge clk_i) if (en[s]) data_q <= gen_data[s-1].data_q;
      end
    end
    for (genvar s = 0; s <= H; s++) begin : gen_lanes
      logic [LANES-1:0] lanes_q;  // lanes to count
      if (s == 0) begin : gen_in
        always_ff @(posedge clk_i) if (en[s]) lanes_q <= lanes_in;
      end else begin : gen_next
        always_ff @(posedge clk_i) if (en[s]) lanes_q <= gen_lanes[s-1].lanes_q;
      end
    end
    for (genvar s = 0; s < H; s++) begin : gen_col
      logic [5:0] col_q;          // column within a sign word
      if (s == 0) begin : gen_in
        always_ff @(posedge clk_i) if (en[s]) col_q <= in_col_i[5:0];
      end else begin : gen_next
        always_ff @(posedge clk_i) if (en[s]) col_q <= gen_col[s-1].col_q;
      end
    end

    // Hash words. Only the first unit draws signs; int16 words need half of the units.
    logic [ZW*64-1:0] z_words;
    logic [MW*64-1:0] m_words;
    for (genvar j = 0; j < ZW; j++) begin : gen_z
      logic use_unit;
      logic [63:0] ctr;
      if (j == 0) begin : gen_any
        assign use_unit = 1'b1;
      end else begin : gen_gaussian
        assign use_unit = gaussian_i && (BIAS != 0 || w8_i || j < WIDE / 4);
      end
      assign ctr[31:16] = in_row_i;
      assign ctr[15:0] = gaussian_i ? 16'(in_col_i[15:2]) + 16'(j) : 16'(in_col_i[15:6]);
      assign ctr[63:32] = {gaussian_i ? {8'd0, npu_pkg::DOMAIN_GAUSSIAN} : {8'd0, npu_pkg::DOMAIN_SIGN}, tensor_i};
      npu_hash #(.STAGES(H)) u_hash (
        .clk_i, .en_i(use_unit ? en[H-1:0] : '0), .key_i(seed_i), .ctr_i(ctr), .word_o(z_words[j*64 +: 64])
      );
    end
    for (genvar j = 0; j < MW; j++) begin : gen_mask
      logic use_unit;
      logic [63:0] ctr;
      assign use_unit = masked && (BIAS != 0 || w8_i || j == 0 || j < WIDE / 8);
      assign ctr = {8'd0, npu_pkg::DOMAIN_MASK, tensor_i, in_row_i, 16'(in_col_i[15:3]) + 16'(j)};
      npu_hash #(.STAGES(H)) u_hash (
        .clk_i, .en_i(use_unit ? en[H-1:0] : '0), .key_i(mask_seed_i), .ctr_i(ctr), .word_o(m_words[j*64 +: 64])
      );
    end

    // Bits of lane i: a word may begin inside a hash word when it has fewer lanes than the hash word has elements.
    logic [5:0] col;
    logic [63:0] sign_bits;
    logic [ZW*64-1:0] gauss_bits;
    logic [MW*64-1:0] mask_bits;
    assign col = gen_col[H-1].col_q;
    always_comb begin
      sign_bits = '0;
      if (en[H]) sign_bits = z_words[63:0] >> col;
    end
    if (LANES < 4) begin : gen_shift_z
      assign gauss_bits = z_words >> {col[1:0], 4'd0};
    end else begin : gen_whole_z
      assign gauss_bits = z_words;
    end
    if (WIDE < 8) begin : gen_shift_m
      assign column_shift = {2'd0, col[2:0], 3'd0};
      assign mask_bits = m_words >> column_shift;
    end else begin : gen_whole_m
      assign column_shift = '0;
      assign mask_bits = m_words;
    end
    logic unused_bits;
    assign unused_bits = ^{column_shift, sign_bits, gauss_bits, mask_bits, in_lanes_i, eps_i, w8_i};

    logic [LANES-1:0] take_q, lanes_mag, clipped, taken_q;
    logic [DATA-1:0] w_in, w16_out, w8_out;
    assign lanes_mag = gen_lanes[H].lanes_q;
    assign w_in = gen_data[H+1].data_q;

    for (genvar i = 0; i < LANES; i++) begin : gen_lane
      localparam bit CAN_WIDE = i < WIDE;
      localparam int unsigned B = CAN_WIDE ? BITS : 8;
      logic lane_on, z_neg_q;
      logic [6:0] z_mag_q;
      logic [B-1:0] w, w_new;

      assign lane_on = CAN_WIDE || w8_i;
      npu_gaussian u_gaussian (
        .clk_i, .en_i(en[H] && lane_on), .gaussian_i, .bits_i(gauss_bits[i*16 +: 16]), .sign_i(sign_bits[i]), .flip_i(minus_i),
        .negative_o(z_neg_q), .magnitude_o(z_mag_q)
      );
      always_ff @(posedge clk_i) begin
        if (en[H] && lane_on) take_q[i] <= !masked || ({1'b0, mask_bits[i*8 +: 8]} < keep_i);
        if (en[H+1]) taken_q[i] <= lane_on && take_q[i] && lanes_mag[i];
      end

      if (!CAN_WIDE) begin : gen_byte
        assign w = w_in[i*8 +: 8];
      end else if (BIAS != 0) begin : gen_bias
        assign w = w_in[i*32 +: 32];
      end else begin : gen_weight
        assign w = w8_i ? 16'($signed(w_in[i*8 +: 8])) : w_in[i*16 +: 16];
      end

      npu_perturb_lane #(.BITS(B), .EPS_BITS(EPS_BITS)) u_lane (
        .clk_i, .en_mag_i(en[H+1] && lane_on), .en_out_i(en[H+2] && lane_on), .eps_i(eps_i[EPS_BITS-1:0]), .shift_i,
        .narrow_i(narrow), .z_mag_i(z_mag_q), .z_neg_i(z_neg_q), .take_i(take_q[i]), .w_i(w), .w_o(w_new), .clipped_o(clipped[i])
      );

      if (BIAS != 0) begin : gen_out_bias
        assign w16_out[i*32 +: 32] = w_new;
      end else begin : gen_out_weight
        if (CAN_WIDE) begin : gen_wide
          assign w16_out[i*16 +: 16] = w_new;
        end
        assign w8_out[i*8 +: 8] = w_new[7:0];
      end
    end
    if (BIAS != 0) begin : gen_no_bytes
      assign w8_out = '0;
    end

    assign out_data_o = !active_i ? in_data_i : narrow ? w8_out : w16_out;
    assign out_side_o = !active_i ? in_side_i : gen_side[LATENCY-1].side_q;

    // Events.
    logic [LANES-1:0] counted_q;
    always_ff @(posedge clk_i) if (en[H+2]) counted_q <= taken_q;

    function automatic logic [6:0] ones(input logic [LANES-1:0] v);
      ones = 7'd0;
      for (int unsigned i = 0; i < LANES; i++) ones = ones + {6'd0, v[i]};
    endfunction

    logic leave;
    logic [5:0] random_words;
    assign leave = active_i && valid_q[LATENCY-1] && out_ready_i;
    always_comb begin
      cnt_perturbed_o = '0;
      cnt_clipped_o = '0;
      cnt_random_o = '0;
      if (leave && (counted_q != '0)) begin
        cnt_perturbed_o = ones(counted_q);
        cnt_clipped_o = ones(counted_q & clipped);
      end
      if (en[0]) cnt_random_o = random_words;
    end

    // Words drawn for one bus word, whatever part of it the run uses.
    always_comb begin
      random_words = gaussian_i ? ((BIAS != 0 || w8_i || ZW == 1) ? 6'(ZW) : 6'(WIDE / 4)) : 6'd1;
      if (masked) random_words = random_words + ((BIAS != 0 || w8_i || MW == 1) ? 6'(MW) : 6'(WIDE / 8));
    end

`ifndef SYNTHESIS
    assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i) busy_o |=> !busy_o || $stable(active_i));
    assert property (@(posedge clk_i) disable iff (!rst_ni) in_valid_i && active_i |-> BIAS == 0 || in_lanes_i[LANES-1:0] != '0);
    assert property (@(posedge clk_i) disable iff (!rst_ni)
                     in_valid_i && active_i |-> 32'(in_col_i) % ((BIAS != 0 || w8_i) ? LANES : WIDE) == 0);
    assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                     out_valid_o && !out_ready_i && active_i |=> out_valid_o && $stable(out_data_o));
`endif
  end

endmodule
