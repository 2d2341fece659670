// SPDX-License-Identifier: Apache-2.0
// Perturbs one bus word of weights (or biases) per cycle on its way from memory, in the cycle in
// which it passes (CONTRACT.md, Perturbation, Random numbers). What is added is drawn ahead: the
// owner tells the coordinates of each word when it requests it, and up to LATENCY words'
// perturbations wait for their words, in order. With active_i low every word passes as it is,
// nothing toggles, and no coordinates may come. Configuration inputs are static while busy_o.
// Lanes: BIAS 0: int8 (w8_i) or int16; BIAS 1: int32. Column ahead_col_i belongs to the first lane
// and is a multiple of the lanes.
module npu_perturb #(
  parameter int unsigned BUS_BYTES = npu_pkg::BUS_BYTES_DEFAULT,
  parameter int unsigned BIAS = 0,
  parameter int unsigned HASH_STAGES = 8,
  parameter int unsigned TRAINING = npu_pkg::TRAINING_DEFAULT
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic                   clear_i,
  // Static configuration. All of it, and the seeds, must stay while busy_o: words in flight were
  // drawn with it.
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
  // coordinates of words to come
  input  logic                   ahead_valid_i,
  output logic                   ahead_ready_o,
  input  logic [15:0]            ahead_row_i,
  input  logic [15:0]            ahead_col_i,
  // Words from memory. With active_i each waits until its perturbation is at the head of the
  // pipeline, which it normally is already.
  input  logic                   in_valid_i,
  output logic                   in_ready_o,
  input  logic [BUS_BYTES*8-1:0] in_data_i,
  // lanes that belong to the run: only they count as perturbed
  input  logic [BUS_BYTES-1:0]   in_lanes_i,
  input  logic                   in_count_i,  // count perturbed and clipped (once per command)
  // the same words, perturbed. Of weights the data are there in the cycle in which they are taken,
  // of biases while out_valid_o.
  output logic                   out_valid_o,
  input  logic                   out_ready_i,
  output logic [BUS_BYTES*8-1:0] out_data_o,
  output logic                   busy_o,
  // events
  output logic [6:0]             cnt_perturbed_o,
  output logic [6:0]             cnt_clipped_o,
  output logic [5:0]             cnt_random_o
);

  localparam int unsigned DATA = BUS_BYTES * 8;

  // An inference-only build has wires here, and neither hash units nor adders.
  if (TRAINING == 0) begin : gen_wires
    assign ahead_ready_o = 1'b1;
    assign in_ready_o = out_ready_i;
    assign out_valid_o = in_valid_i;
    assign out_data_o = in_data_i;
    assign busy_o = 1'b0;
    assign cnt_perturbed_o = '0;
    assign cnt_clipped_o = '0;
    assign cnt_random_o = '0;
    logic unused;
    assign unused = ^{clk_i, rst_ni, clear_i, active_i, minus_i, gaussian_i, w8_i, eps_i, shift_i,
                      keep_i, seed_i, mask_seed_i, tensor_i, ahead_valid_i, ahead_row_i,
                      ahead_col_i, in_lanes_i, in_count_i};
  end else begin : gen_unit
    localparam int unsigned LANES = (BIAS != 0) ? BUS_BYTES / 4 : BUS_BYTES;  // most lanes
    // lanes that can be wider than a byte
    localparam int unsigned WIDE = (BIAS != 0) ? LANES : BUS_BYTES / 2;
    localparam int unsigned BITS = (BIAS != 0) ? 32 : 16;
    localparam int unsigned EPS_BITS = (BIAS != 0) ? 24 : 16;
    localparam int unsigned ZW = (LANES < 4) ? 1 : LANES / 4;  // hash words of Gaussians
    localparam int unsigned MW = (LANES < 8) ? 1 : LANES / 8;  // hash words of the mask
    localparam int unsigned H = HASH_STAGES;
    localparam int unsigned LATENCY = H + 2;                   // z, magnitude

    // head: a perturbation waits at the pipeline's end. leave: a word takes it along in this cycle.
    // moving: the lanes compute; weights do so in the cycle in which they leave, biases for as long
    // as they stay, since npu_params reads a bias word over several cycles.
    logic masked, narrow, head, leave, moving;
    logic [LATENCY-1:0] valid_q, ready, en;
    logic [7:0] column_shift;

    // keep = 256 means all elements, and then no word of the mask is drawn (CONTRACT.md, Mask). A
    // word leaves together with the perturbation at the head.
    assign masked = keep_i < 9'd256;
    assign narrow = (BIAS == 0) && w8_i;
    assign busy_o = (valid_q != '0);
    assign head = valid_q[LATENCY-1];
    assign leave = active_i && in_valid_i && head && out_ready_i;
    assign moving = (BIAS != 0) ? active_i && in_valid_i && head : leave;
    assign in_ready_o = out_ready_i && (head || !active_i);
    assign out_valid_o = in_valid_i && (head || !active_i);

    // Each register takes from the one before as soon as it is free, so that what waits leaves no
    // gaps: one that holds a word is free if the head leaves or any register between is empty. That
    // is an AND over all registers from this one to the head, made in a logarithmic number of
    // steps.
    logic [LATENCY-1:0] blocked;
    always_comb begin
      blocked = '0;
      if (busy_o && !leave) begin
        blocked = valid_q;
        for (int unsigned d = 1; d < LATENCY; d = 2 * d)
          blocked = blocked & ((blocked >> d) | ~({LATENCY{1'b1}} >> d));
      end
    end
    assign ready = ~blocked;
    assign ahead_ready_o = ready[0];
    assign en = ready & {valid_q[LATENCY-2:0], active_i && ahead_valid_i};
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) valid_q <= '0;
      else if (clear_i) valid_q <= '0;
      else if (busy_o || ahead_valid_i) valid_q <= en | (valid_q & ~ready);
    end

    // A variable for each register: assigning a part of a long vector costs a simulator a copy of
    // all of it.
    for (genvar s = 0; s < H; s++) begin : gen_col
      logic [5:0] col_q;          // column within a sign word
      if (s == 0) begin : gen_in
        always_ff @(posedge clk_i) if (en[s]) col_q <= ahead_col_i[5:0];
      end else begin : gen_next
        always_ff @(posedge clk_i) if (en[s]) col_q <= gen_col[s-1].col_q;
      end
    end

    // Hash words. Only the first unit draws signs; int16 words need half of the units. The counter
    // is tensor, row and block of the row in the stream of its domain (CONTRACT.md, Random
    // numbers). The units share enables and differ in the block alone.
    logic [ZW*64-1:0] z_words;
    logic [MW*64-1:0] m_words;
    for (genvar j = 0; j < ZW; j++) begin : gen_z
      logic [H-1:0] unit_en;
      logic [63:0] ctr;
      always_comb begin
        unit_en = '0;
        ctr = '0;
        if (en != '0) begin
          if (j == 0 || (gaussian_i && (BIAS != 0 || w8_i || j < WIDE / 4))) unit_en = en[H-1:0];
          if (en[0]) begin
            ctr[15:0] = gaussian_i ? 16'(ahead_col_i[15:2]) + 16'(j) : 16'(ahead_col_i[15:6]);
            ctr[63:16] = {8'd0, gaussian_i ? npu_pkg::DOMAIN_GAUSSIAN : npu_pkg::DOMAIN_SIGN,
                          tensor_i, ahead_row_i};
          end
        end
      end
      npu_hash #(.STAGES(H)) u_hash (.clk_i, .en_i(unit_en), .key_i(seed_i), .ctr_i(ctr),
          .word_o(z_words[j*64 +: 64]));
    end
    for (genvar j = 0; j < MW; j++) begin : gen_mask
      logic [H-1:0] unit_en;
      logic [63:0] ctr;
      always_comb begin
        unit_en = '0;
        ctr = '0;
        if (en != '0 && masked) begin
          if (BIAS != 0 || w8_i || j == 0 || j < WIDE / 8) unit_en = en[H-1:0];
          if (en[0])
            ctr = {8'd0, npu_pkg::DOMAIN_MASK, tensor_i, ahead_row_i,
                16'(ahead_col_i[15:3]) + 16'(j)};
        end
      end
      npu_hash #(.STAGES(H)) u_hash (.clk_i, .en_i(unit_en), .key_i(mask_seed_i), .ctr_i(ctr),
          .word_o(m_words[j*64 +: 64]));
    end

    // Bits of lane i: a word may begin inside a hash word when it has fewer lanes than the hash
    // word has elements. Column c of a row is bit c mod 64 of a sign word, 16 bits c mod 4 of a
    // Gaussian word and byte c mod 8 of a mask word.
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

    // the mask lets the lane take part: beside z, beside the magnitude
    logic [LANES-1:0] take_q, moves_q, clipped;
    logic [DATA-1:0] w16_out, w8_out;

    for (genvar i = 0; i < LANES; i++) begin : gen_lane
      localparam bit CAN_WIDE = i < WIDE;
      localparam int unsigned B = CAN_WIDE ? BITS : 8;
      logic lane_on, z_neg_q;
      logic [6:0] z_mag_q;
      logic [B-1:0] w, w_new;

      // The upper half of the lanes exists for int8 only; with int16 they neither draw nor move.
      assign lane_on = CAN_WIDE || w8_i;
      npu_gaussian u_gaussian (
        .clk_i, .en_i(en[H] && lane_on), .gaussian_i, .bits_i(gauss_bits[i*16 +: 16]),
        .sign_i(sign_bits[i]), .flip_i(minus_i), .negative_o(z_neg_q), .magnitude_o(z_mag_q)
      );
      always_ff @(posedge clk_i) begin
        if (en[H] && lane_on) take_q[i] <= !masked || ({1'b0, mask_bits[i*8 +: 8]} < keep_i);
        if (en[H+1]) moves_q[i] <= lane_on && take_q[i];
      end

      if (!CAN_WIDE) begin : gen_byte
        assign w = in_data_i[i*8 +: 8];
      end else if (BIAS != 0) begin : gen_bias
        assign w = in_data_i[i*32 +: 32];
      end else begin : gen_weight
        assign w = w8_i ? 16'($signed(in_data_i[i*8 +: 8])) : in_data_i[i*16 +: 16];
      end

      npu_perturb_lane #(.BITS(B), .EPS_BITS(EPS_BITS)) u_lane (
        .clk_i, .en_i(en[H+1] && lane_on), .eps_i(eps_i[EPS_BITS-1:0]), .shift_i, .narrow_i(narrow),
        .z_mag_i(z_mag_q), .z_neg_i(z_neg_q), .take_i(take_q[i]), .move_i(moving && lane_on),
        .w_i(w), .w_o(w_new), .clipped_o(clipped[i])
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

    // Bytes and wide elements are assembled side by side, as the same lanes serve both.
    assign out_data_o = !active_i ? in_data_i : narrow ? w8_out : w16_out;

    // Events: elements that moved, of these clipped ones, hash words drawn. Lanes outside the run
    // are perturbed like the others, but nobody uses or counts them.
    function automatic logic [6:0] ones(input logic [LANES-1:0] v);
      ones = 7'd0;
      for (int unsigned i = 0; i < LANES; i++) ones = ones + {6'd0, v[i]};
    endfunction

    logic [LANES-1:0] counted;
    logic [5:0] random_words;
    always_comb begin
      counted = '0;
      cnt_perturbed_o = '0;
      cnt_clipped_o = '0;
      cnt_random_o = '0;
      if (leave && in_count_i) begin
        counted = moves_q & in_lanes_i[LANES-1:0];
        cnt_perturbed_o = ones(counted);
        cnt_clipped_o = ones(counted & clipped);
      end
      if (en[0]) cnt_random_o = random_words;
    end

    // Words drawn for one bus word, whatever part of it the run uses.
    always_comb begin
      random_words = gaussian_i ? ((BIAS != 0 || w8_i || ZW == 1) ? 6'(ZW) : 6'(WIDE / 4)) : 6'd1;
      if (masked)
        random_words = random_words + ((BIAS != 0 || w8_i || MW == 1) ? 6'(MW) : 6'(WIDE / 8));
    end

`ifndef SYNTHESIS
    // Perturbation is switched on and off between commands only.
    assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                     busy_o |=> !busy_o || $stable(active_i));
    assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i) ahead_valid_i |-> active_i);
    assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                     ahead_valid_i && !ahead_ready_o |=>
                         ahead_valid_i && $stable(ahead_row_i) && $stable(ahead_col_i));
    // Coordinates are those of whole bus words.
    assert property (@(posedge clk_i) disable iff (!rst_ni)
                     ahead_valid_i |-> 32'(ahead_col_i) % ((BIAS != 0 || w8_i) ? LANES
                         : WIDE) == 0);
    assert property (@(posedge clk_i) disable iff (!rst_ni)
                     in_valid_i && active_i |-> BIAS == 0 || in_lanes_i[LANES-1:0] != '0);
    assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                     out_valid_o && !out_ready_i && active_i |=>
                         out_valid_o && (BIAS == 0 || $stable(out_data_o)));
`endif
  end

endmodule
