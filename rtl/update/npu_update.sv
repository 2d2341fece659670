// UPDATE: reads a tensor row by row, moves its elements along the sum of the seed pairs' directions, and writes it back
// (CONTRACT.md, Update). BUS_BYTES / 2 elements at a time: a bus word of int16 or int32 is one group, of int8 two. A group takes one cycle
// per pair (pass j draws z_j; pass 0 also the rounding bits, pass 1 the mask), so with one pair and no mask words stream at bus speed.
module npu_update #(
  parameter int unsigned BUS_BYTES = npu_pkg::BUS_BYTES_DEFAULT,
  parameter int unsigned HASH_STAGES = 8
) (
  input  logic                             clk_i,
  input  logic                             rst_ni,
  input  logic                             clear_i,
  input  logic                             start_i,
  input  logic [npu_pkg::DESC_BITS-1:0]    desc_i,
  input  logic                             dist_i,
  input  logic [63:0]                      mask_seed_i,
  input  logic [3:0]                       pairs_i,        // 1..MAX_PAIRS
  input  logic [npu_pkg::MAX_PAIRS*64-1:0] pair_seed_i,
  input  logic [npu_pkg::MAX_PAIRS*8-1:0]  pair_coef_i,
  input  logic [15:0]                      step_i,
  input  logic [5:0]                       step_shift_i,
  output logic                             busy_o,
  output logic                             done_o,
  output logic                             progress_o,
  // memory
  output logic                             rd_req_valid_o,
  input  logic                             rd_req_ready_i,
  output logic [31:0]                      rd_req_addr_o,
  output logic [23:0]                      rd_req_bytes_o,
  input  logic                             rd_rsp_valid_i,
  output logic                             rd_rsp_ready_o,
  input  logic [BUS_BYTES*8-1:0]           rd_rsp_data_i,
  input  logic                             rd_rsp_last_i,
  output logic                             wr_valid_o,
  input  logic                             wr_ready_i,
  output logic [31:0]                      wr_addr_o,
  output logic [BUS_BYTES*8-1:0]           wr_data_o,
  output logic [BUS_BYTES-1:0]             wr_strb_o,
  // events
  output logic [6:0]                       cnt_elements_o,
  output logic [6:0]                       cnt_updated_o,
  output logic [6:0]                       cnt_zero_o,
  output logic [6:0]                       cnt_clipped_o,
  output logic [7:0]                       cnt_random_o
);

  localparam int unsigned DATA = BUS_BYTES * 8;
  localparam int unsigned LANES = BUS_BYTES / 2;
  localparam int unsigned ZU = LANES / 4;         // hash units for z, and as many for rounding and mask
  localparam int unsigned H = HASH_STAGES;
  localparam int unsigned TAG = 15;               // what travels beside the hash

  // Fields.
  logic [23:0] flags;
  logic [31:0] in_c, out_c, pitch;
  logic [15:0] tensor;
  logic [8:0] keep_below;
  logic masked;
  logic [1:0] width;
  assign flags = desc_i[npu_pkg::F_FLAGS +: 24];
  assign in_c = desc_i[npu_pkg::F_IN_C +: 32];
  assign out_c = desc_i[npu_pkg::F_OUT_C +: 32];
  assign pitch = desc_i[npu_pkg::F_W_PITCH +: 32];
  assign tensor = desc_i[npu_pkg::F_W_TENSOR +: 16];
  assign keep_below = desc_i[npu_pkg::F_W_KEEP +: 9];
  assign masked = keep_below < 9'd256;
  assign width = flags[npu_pkg::FLAG_W8] ? 2'd0 : flags[npu_pkg::FLAG_W32] ? 2'd2 : 2'd1;

  // Constants of the command.
  logic [31:0] product;
  logic [16:0] rounded;
  logic [15:0] s_q;
  logic [5:0] shift_q;
  logic [3:0] passes_q;
  logic [17:0] row_bytes_q;
  logic busy_q;
  assign product = 32'(desc_i[npu_pkg::F_STEP +: 16]) * 32'(step_i);
  assign rounded = 17'((33'(product) + 33'h8000) >> 16);
  assign busy_o = busy_q;
  always_ff @(posedge clk_i) begin
    if (start_i) begin
      s_q <= rounded[16] ? 16'hffff : rounded[15:0];
      shift_q <= 6'(desc_i[npu_pkg::F_STEP_SHIFT +: 8]) + step_shift_i;
      passes_q <= (masked && pairs_i == 4'd1) ? 4'd2 : pairs_i;
      row_bytes_q <= (width == 2'd0) ? 18'(in_c[16:0]) : (width == 2'd1) ? {in_c[16:0], 1'b0} : {in_c[15:0], 2'b00};
    end
  end
  // 65,536 int32 columns are 2^18 bytes: one more bit than fits
  logic row_huge;
  logic [18:0] row_bytes;
  assign row_huge = (width == 2'd2) && in_c[16];
  assign row_bytes = {row_huge, row_bytes_q};

  // One read request per row.
  logic [16:0] req_left_q;
  logic req_take;
  assign rd_req_valid_o = busy_q && (req_left_q != '0);
  assign rd_req_bytes_o = 24'(row_bytes);
  assign req_take = rd_req_valid_o && rd_req_ready_i;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      req_left_q <= '0;
    end else if (clear_i) begin
      req_left_q <= '0;
    end else if (start_i) begin
      req_left_q <= out_c[16:0];
    end else if (req_take) begin
      req_left_q <= req_left_q - 17'd1;
    end
  end
  always_ff @(posedge clk_i) begin
    if (start_i) rd_req_addr_o <= desc_i[npu_pkg::F_W_ADDR +: 32];
    else if (req_take) rd_req_addr_o <= rd_req_addr_o + pitch;
  end

  // Walk over rows, words, groups and passes.
  logic advance, issue, first_pass, last_pass, half_q, last_half, leave_word, row_end, z_on;
  logic [3:0] pass_q;
  logic [16:0] row_q, rows_left_q;
  logic [18:0] byte_q;        // of the word in its row
  logic [31:0] row_addr_q;
  logic [16:0] column;
  logic [18:0] bytes_left;
  logic [BUS_BYTES-1:0] strb;
  logic fifo_room;
  assign issue = busy_q && rd_rsp_valid_i && advance && fifo_room;
  assign first_pass = pass_q == '0;
  assign last_pass = pass_q + 4'd1 == passes_q;
  assign last_half = (width != 2'd0) || half_q;
  assign leave_word = issue && last_pass && last_half;
  assign rd_rsp_ready_o = busy_q && advance && fifo_room && last_pass && last_half;
  assign row_end = rd_rsp_last_i;
  assign z_on = pass_q < pairs_i;
  assign bytes_left = row_bytes - byte_q;
  assign column = ((width == 2'd0) ? byte_q[16:0] : (width == 2'd1) ? byte_q[17:1] : byte_q[18:2]) + (half_q ? 17'(LANES) : 17'd0);
  always_comb begin
    strb = '0;
    if (issue) for (int unsigned i = 0; i < BUS_BYTES; i++) strb[i] = 19'(i) < bytes_left;
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      pass_q <= '0;
      half_q <= 1'b0;
      row_q <= '0;
      rows_left_q <= '0;
      byte_q <= '0;
      row_addr_q <= '0;
    end else if (start_i || clear_i) begin
      pass_q <= '0;
      half_q <= 1'b0;
      row_q <= '0;
      rows_left_q <= clear_i ? '0 : out_c[16:0];
      byte_q <= '0;
      row_addr_q <= desc_i[npu_pkg::F_W_ADDR +: 32];
    end else if (issue) begin
      pass_q <= last_pass ? '0 : pass_q + 4'd1;
      if (last_pass) half_q <= !last_half;
      if (leave_word) begin
        byte_q <= row_end ? '0 : byte_q + 19'(BUS_BYTES);
        if (row_end) begin
          row_q <= row_q + 17'd1;
          rows_left_q <= rows_left_q - 17'd1;
          row_addr_q <= row_addr_q + pitch;
        end
      end
    end
  end

  // Valid bits: H registers of the hash, z, g, product, quotient, result.
  localparam int unsigned SZ = H;
  localparam int unsigned SG = H + 1;
  localparam int unsigned SM = H + 2;
  localparam int unsigned SD = H + 3;
  localparam int unsigned SW = H + 4;
  logic [SW:0] valid_q, en;
  logic g_done;  // the group's last pass has been added
  assign advance = !wr_valid_o || wr_ready_i;
  assign en = advance ? {valid_q[SD:SM], g_done, valid_q[SZ:0], issue} : '0;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) valid_q <= '0;
    else if (clear_i) valid_q <= '0;
    else if (busy_q && advance) valid_q <= {valid_q[SD:SM], g_done, valid_q[SZ:0], issue};
  end

  // Beside the hash: pass, first, last, z drawn, group, column.
  logic [H*TAG-1:0] tag_q;
  logic [TAG-1:0] tag_in, tag_hash;
  assign tag_in = {pass_q, first_pass, last_pass, z_on, masked && (pass_q == 4'd1), half_q, column[5:0]};
  for (genvar s = 0; s < H; s++) begin : gen_tag
    if (s == 0) begin : gen_first
      always_ff @(posedge clk_i) if (en[s]) tag_q[0 +: TAG] <= tag_in;
    end else begin : gen_next
      always_ff @(posedge clk_i) if (en[s]) tag_q[s*TAG +: TAG] <= tag_q[(s-1)*TAG +: TAG];
    end
  end
  assign tag_hash = tag_q[(H-1)*TAG +: TAG];

  // Hash units.
  logic [ZU*64-1:0] z_words, r_words;
  logic [63:0] z_key, r_key;
  logic r_on;
  assign z_key = pair_seed_i[pass_q[2:0]*64 +: 64];
  assign r_key = first_pass ? pair_seed_i[63:0] : mask_seed_i;
  assign r_on = first_pass || (masked && (pass_q == 4'd1));
  logic [H-1:0] z_en, r_en;
  logic [H-2:0] z_run_q, r_run_q;
  for (genvar s = 0; s < H; s++) begin : gen_run
    if (s == 0) begin : gen_first
      assign z_en[s] = en[s] && z_on;
      assign r_en[s] = en[s] && r_on;
    end else begin : gen_next
      assign z_en[s] = en[s] && z_run_q[s-1];
      assign r_en[s] = en[s] && r_run_q[s-1];
    end
    if (s < H - 1) begin : gen_follow
      always_ff @(posedge clk_i) begin
        if (en[s]) begin
          z_run_q[s] <= z_en[s];
          r_run_q[s] <= r_en[s];
        end
      end
    end
  end
  for (genvar j = 0; j < ZU; j++) begin : gen_unit
    logic z_use, r_use;
    logic [63:0] z_ctr, r_ctr;
    logic [15:0] z_block, r_block;
    // signs come from one word; an int32 word has half as many elements as there are lanes
    if (j == 0) begin : gen_first
      assign z_use = 1'b1;
      assign r_use = 1'b1;
    end else begin : gen_more
      assign z_use = dist_i && ((width != 2'd2) || (j < ZU / 2));
      assign r_use = (width != 2'd2) || (j < ZU / 2);
    end
    assign z_block = dist_i ? 16'(column[16:2]) + 16'(j) : 16'(column[16:6]);
    assign r_block = first_pass ? 16'(column[16:2]) + 16'(j) : 16'(column[16:3]) + 16'(j);
    assign z_ctr = {8'd0, dist_i ? npu_pkg::DOMAIN_GAUSSIAN : npu_pkg::DOMAIN_SIGN, tensor, row_q[15:0], z_block};
    assign r_ctr = {8'd0, first_pass ? npu_pkg::DOMAIN_ROUND : npu_pkg::DOMAIN_MASK, tensor, row_q[15:0], r_block};
    npu_hash #(.STAGES(H), .KEY_PIPE(1)) u_z (
      .clk_i, .en_i(z_use ? z_en : '0), .key_i(z_key), .ctr_i(z_ctr), .word_o(z_words[j*64 +: 64])
    );
    npu_hash #(.STAGES(H), .KEY_PIPE(1)) u_r (
      .clk_i, .en_i(r_use ? r_en : '0), .key_i(r_key), .ctr_i(r_ctr), .word_o(r_words[j*64 +: 64])
    );
  end

  // z register: what the words mean for each lane.
  logic [5:0] col_hash;
  logic [63:0] sign_bits;
  logic [ZU*64-1:0] gauss_bits, round_bits, mask_bits;
  logic [6:0] col_shift;
  assign col_hash = tag_hash[5:0];
  assign sign_bits = z_words[63:0] >> col_hash;
  assign col_shift = {1'b0, col_hash[2:0], 3'd0};
  if (LANES < 8) begin : gen_shift  // a word may begin inside a hash word
    assign gauss_bits = z_words >> {col_hash[1:0], 4'd0};
    assign round_bits = r_words >> {col_hash[1:0], 4'd0};
    assign mask_bits = r_words >> col_shift;
  end else begin : gen_whole
    assign gauss_bits = z_words;
    assign round_bits = r_words;
    // four int32 per word of 16 bytes begin in the middle of a mask word every other time
    if (LANES == 8) begin : gen_middle
      assign mask_bits = r_words >> col_shift;
    end else begin : gen_aligned
      assign mask_bits = r_words;
    end
  end

  logic [TAG-1:0] tag_z_q;
  logic [LANES-1:0] z_neg_q;
  logic [LANES*7-1:0] z_mag_q;
  logic [ZU*64-1:0] r_bits_q;
  logic [LANES-1:0] keep_z_q;
  always_ff @(posedge clk_i) begin
    if (en[SZ]) begin
      tag_z_q <= tag_hash;
      if (tag_hash[10]) r_bits_q <= round_bits;
    end
  end

  logic z_first, z_last, z_drawn, z_mask, g_last_q;
  logic signed [7:0] coef;
  assign z_first = tag_z_q[10];
  assign z_last = tag_z_q[9];
  assign z_drawn = tag_z_q[8];
  assign z_mask = tag_z_q[7];
  assign coef = z_drawn ? pair_coef_i[tag_z_q[13:11]*8 +: 8] : 8'sd0;
  assign g_done = valid_q[SG] && g_last_q;

  logic half_g_q, half_m_q, half_d_q;
  always_ff @(posedge clk_i) begin
    if (en[SG]) begin
      g_last_q <= z_last;
      half_g_q <= tag_z_q[6];
    end
    if (en[SM]) half_m_q <= half_g_q;
    if (en[SD]) half_d_q <= half_m_q;
  end

  // Words wait for their directions.
  logic fifo_valid, fifo_pop;
  logic [DATA-1:0] old_data;
  logic [31:0] old_addr, word_addr;
  logic [BUS_BYTES-1:0] old_strb;
  logic [4:0] unused_count;
  logic word_done;  // the result register holds the word's last group
  assign word_addr = row_addr_q + 32'(byte_q);
  assign word_done = (width != 2'd0) || half_d_q;
  assign fifo_pop = en[SW] && word_done;
  npu_fifo #(.WIDTH(DATA + 32 + BUS_BYTES), .DEPTH(16)) u_words (
    .clk_i, .rst_ni, .clear_i, .in_valid_i(issue && first_pass && !half_q), .in_ready_o(fifo_room),
    .in_data_i({strb, word_addr, rd_rsp_data_i}), .out_valid_o(fifo_valid), .out_ready_i(fifo_pop),
    .out_data_o({old_strb, old_addr, old_data}), .count_o(unused_count)
  );

  // g + coef * z
  function automatic logic signed [17:0] accumulate(input logic signed [17:0] g, input logic signed [7:0] c, input logic [6:0] mag,
                                                    input logic neg, input logic first);
    logic signed [17:0] term;
    term = 18'(c) * $signed({11'd0, mag});
    if (neg) term = -term;
    accumulate = first ? term : g + term;
  endfunction

  logic [LANES-1:0] updated, zero, clipped;
  logic [DATA-1:0] wide_out, byte_out;
  logic [LANES*8-1:0] low_q;  // results of an int8 word's first group
  for (genvar i = 0; i < LANES; i++) begin : gen_lane
    localparam int unsigned B = (i < LANES / 2) ? 32 : 16;
    logic present, take_q;
    logic signed [17:0] g_q;
    logic [15:0] round_q;
    logic [B-1:0] w, w_new;

    npu_gaussian u_gaussian (
      .clk_i, .en_i(en[SZ]), .gaussian_i(dist_i), .bits_i(gauss_bits[i*16 +: 16]), .sign_i(sign_bits[i]), .flip_i(1'b0),
      .negative_o(z_neg_q[i]), .magnitude_o(z_mag_q[i*7 +: 7])
    );
    always_ff @(posedge clk_i) begin
      if (en[SZ] && tag_hash[7]) keep_z_q[i] <= {1'b0, mask_bits[i*8 +: 8]} < keep_below;
      if (en[SG]) begin
        g_q <= accumulate(g_q, coef, z_mag_q[i*7 +: 7], z_neg_q[i], z_first);
        if (z_first) round_q <= r_bits_q[i*16 +: 16];
        if (z_mask || !masked) take_q <= !masked || keep_z_q[i];
      end
    end

    always_comb begin
      present = 1'b0;
      w = '0;
      if (en[SW]) begin
        case (width)
          2'd0: begin
            present = half_d_q ? old_strb[LANES+i] : old_strb[i];
            w = half_d_q ? B'($signed(old_data[(LANES+i)*8 +: 8])) : B'($signed(old_data[i*8 +: 8]));
          end
          2'd1: begin
            present = old_strb[i*2];
            w = B'($signed(old_data[i*16 +: 16]));
          end
          default: begin
            present = (i < LANES / 2) && old_strb[(i*4)%BUS_BYTES];
            w = old_data[(i*32)%DATA +: B];
          end
        endcase
      end
    end
    if (i < LANES / 2) begin : gen_wide
      assign wide_out[i*32 +: 32] = (width == 2'd2) ? w_new : {gen_lane[2*i+1].w_new[15:0], gen_lane[2*i].w_new[15:0]};
    end

    npu_update_lane #(.BITS(B)) u_lane (
      .clk_i, .en_i({en[SW], en[SD], en[SM]}), .step_i(s_q), .shift_i(shift_q), .width_i(width), .g_i(g_q), .round_i(round_q),
      .take_i(take_q), .present_i(present), .w_i(w), .w_o(w_new), .updated_o(updated[i]), .zero_o(zero[i]), .clipped_o(clipped[i])
    );
    assign byte_out[(LANES+i)*8 +: 8] = w_new[7:0];
    assign byte_out[i*8 +: 8] = low_q[i*8 +: 8];
    always_ff @(posedge clk_i) if (advance && valid_q[SW] && !out_whole_q) low_q[i*8 +: 8] <= w_new[7:0];
  end

  // Result register and write port.
  logic out_whole_q;
  always_ff @(posedge clk_i) begin
    if (en[SW]) begin
      out_whole_q <= word_done;
      wr_addr_o <= old_addr;
      wr_strb_o <= old_strb;
    end
  end
  assign wr_valid_o = valid_q[SW] && out_whole_q;
  assign wr_data_o = (width == 2'd0) ? byte_out : wide_out;

  // Start and end.
  logic finished;
  assign finished = busy_q && (rows_left_q == '0) && (valid_q == '0);
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      busy_q <= 1'b0;
      done_o <= 1'b0;
    end else if (clear_i) begin
      busy_q <= 1'b0;
      done_o <= 1'b0;
    end else begin
      if (start_i) busy_q <= 1'b1;
      else if (finished) busy_q <= 1'b0;
      done_o <= finished;
    end
  end
  assign progress_o = issue || (wr_valid_o && wr_ready_i) || req_take;

  // Events.
  function automatic logic [6:0] ones(input logic [LANES-1:0] v);
    ones = 7'd0;
    for (int unsigned i = 0; i < LANES; i++) ones = ones + {6'd0, v[i]};
  endfunction
  logic [7:0] z_count, r_count, m_count;
  logic [6:0] elements;
  always_comb begin
    cnt_updated_o = '0;
    cnt_zero_o = '0;
    cnt_clipped_o = '0;
    if (valid_q[SW] && advance) begin
      cnt_updated_o = ones(updated);
      cnt_zero_o = ones(zero);
      cnt_clipped_o = ones(clipped);
    end
    // per bus word: columns / 4 words of rounding bits and Gaussians, columns / 8 of mask, at least one
    r_count = (width == 2'd0) ? 8'(BUS_BYTES / 4) : (width == 2'd1) ? 8'(BUS_BYTES / 8) : 8'((BUS_BYTES + 15) / 16);
    m_count = (width == 2'd0) ? 8'(BUS_BYTES / 8) : (width == 2'd1) ? 8'((BUS_BYTES + 15) / 16) : 8'((BUS_BYTES + 31) / 32);
    z_count = dist_i ? r_count : 8'd1;
    elements = (bytes_left >= 19'(BUS_BYTES)) ? 7'(BUS_BYTES) : 7'(bytes_left);
    cnt_random_o = '0;
    cnt_elements_o = '0;
    if (leave_word) begin
      cnt_random_o = 8'(z_count * 8'(pairs_i)) + r_count + (masked ? m_count : 8'd0);
      cnt_elements_o = (width == 2'd0) ? elements : (width == 2'd1) ? {1'b0, elements[6:1]} : {2'b0, elements[6:2]};
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i) start_i |-> !busy_q);
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i) en[SW] |-> fifo_valid);
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i) leave_word |-> (rd_rsp_last_i == (bytes_left <= 19'(BUS_BYTES))));
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                   wr_valid_o && !wr_ready_i |=> wr_valid_o && $stable(wr_data_o) && $stable(wr_addr_o) && $stable(wr_strb_o));
`else
  logic unused_valid;
  assign unused_valid = fifo_valid;
`endif
  logic unused;
  assign unused = ^{desc_i, mask_bits, round_bits, gauss_bits, sign_bits, tag_z_q, in_c[31:17], out_c[31:17], row_q[16], col_shift, bytes_left};

endmodule
