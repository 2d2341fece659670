// SPDX-License-Identifier: Apache-2.0
// UPDATE: reads a tensor row by row, moves its elements along the sum of the seed pairs'
// directions, and writes it back (CONTRACT.md, Update). BUS_BYTES / 2 elements at a time: a bus
// word of int16 or int32 is one group, of int8 two. A group takes one cycle per pair (pass j draws
// z_j; pass 0 also the rounding bits, pass 1 the mask), so with one pair and no mask words stream
// at bus speed. GRADIENT: the direction is not drawn but read: chunks of the tensor and of its
// int32 gradient come in turn. A word of the gradient is a group, of half as many elements; the
// tensor's words wait, and so do the rounding bits in front of the direction's register, drawn
// ahead.
module npu_update #(
  parameter int unsigned BUS_BYTES = npu_pkg::BUS_BYTES_DEFAULT,
  parameter int unsigned HASH_STAGES = 8
) (
  input  logic                             clk_i,
  input  logic                             rst_ni,
  input  logic                             clear_i,
  input  logic                             start_i,
  input  npu_pkg::desc_t                   desc_i,
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
  // Memory: one client for everything that is read, the tensor and with GRADIENT its gradient. What
  // is written goes to the place it was read from.
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
  // Hash units for z, and as many for rounding and mask: a word of Gaussians or of rounding bits
  // serves four lanes.
  localparam int unsigned ZU = LANES / 4;
  localparam int unsigned H = HASH_STAGES;
  localparam int unsigned TAG = 17;               // what travels beside the hash
  // Bytes of the tensor between pieces of its gradient: eight words. The buffer of words holds two
  // such chunks, so the tensor's words never stand in the way of the gradient that follows them
  // through the same client.
  localparam int unsigned CHUNK = 8 * BUS_BYTES;

  // Stages: H registers of the hash, z, g, product, quotient, result. Each has a valid bit in
  // valid_q, and en says which ones take a value in this cycle.
  localparam int unsigned SZ = H;
  localparam int unsigned SG = H + 1;
  localparam int unsigned SM = H + 2;
  localparam int unsigned SD = H + 3;
  localparam int unsigned SW = H + 4;

  // Fields.
  logic [31:0] in_c, out_c, pitch;
  logic [15:0] tensor;
  logic [8:0] keep_below;
  logic [1:0] width_in;
  assign in_c = desc_i.in_c;
  assign out_c = desc_i.out_c;
  assign pitch = desc_i.w_pitch;
  assign tensor = desc_i.w_tensor;
  assign keep_below = desc_i.w_keep[8:0];
  assign width_in = desc_i.flags.w8 ? 2'd0 : desc_i.flags.w32 ? 2'd2 : 2'd1;

  // Constants of the command, taken with start_i: the registers they come from may change behind a
  // running command. The step is the product of two mantissas, rounded to 16 bits. S and shift are
  // those of CONTRACT.md, Update; S is limited to 16 bits.
  logic [31:0] product;
  logic [16:0] rounded;
  logic [15:0] s_q;
  logic [5:0] shift_q;
  logic [3:0] passes_q;
  logic [17:0] row_bytes_q;
  logic [1:0] width_q, last_part_q;  // groups of a bus word, less one
  logic masked_q, row_huge_q;
  logic gradient_q;                  // the direction is read
  logic short_q;                     // groups have half as many elements as there are lanes
  logic busy_q;
  logic gradient_in;
  assign gradient_in = desc_i.flags.gradient;
  always_comb begin
    product = '0;
    if (start_i) product = 32'(desc_i.step) * 32'(step_i);
    rounded = 17'((33'(product) + 33'h8000) >> 16);
  end
  // A mask is drawn in the second pass, so where there is one, a single pair or a gradient has a
  // second pass too, which adds nothing to the direction.
  assign busy_o = busy_q;
  always_ff @(posedge clk_i) begin
    if (start_i) begin
      s_q <= rounded[16] ? 16'hffff : rounded[15:0];
      shift_q <= 6'(desc_i.step_shift) + step_shift_i;
      width_q <= width_in;
      masked_q <= keep_below < 9'd256;
      passes_q <= (keep_below < 9'd256 && (gradient_in || pairs_i == 4'd1)) ? 4'd2
                  : gradient_in ? 4'd1 : pairs_i;
      gradient_q <= gradient_in;
      short_q <= gradient_in || (width_in == 2'd2);
      last_part_q <= (width_in == 2'd0) ? (gradient_in ? 2'd3 : 2'd1)
                     : {1'b0, gradient_in && (width_in == 2'd1)};
      // 65,536 int32 columns are 2^18 bytes: one more bit than fits
      row_huge_q <= (width_in == 2'd2) && in_c[16];
      row_bytes_q <= (width_in == 2'd0) ? 18'(in_c[16:0])
                     : (width_in == 2'd1) ? {in_c[16:0], 1'b0} : {in_c[15:0], 2'b00};
    end
  end
  logic [18:0] row_bytes;
  assign row_bytes = {row_huge_q, row_bytes_q};

  // One read request per row; with a gradient one per chunk, then one for the chunk's gradient.
  // Chunks of both kinds alternate, so the answers alternate as well.
  logic [16:0] req_left_q;
  // of the chunk in its row; bytes from there on, of the chunk
  logic [18:0] req_byte_q, req_rest, req_chunk;
  logic [31:0] w_addr_q, g_addr_q, hop;          // next addresses; from this chunk to the next
  logic [24:0] g_pitch;
  logic [1:0] g_shift;                           // bytes of gradient per byte of the tensor
  logic req_gradient_q, req_row_end, req_take;
  // Rows of the gradient begin at multiples of 64 bytes (CONTRACT.md, Update from a gradient). hop
  // goes from a chunk to the next one of its kind: by a chunk, or from a row's last one to the next
  // row.
  assign g_pitch = {19'(in_c[22:4]) + 19'(in_c[3:0] != '0), 6'd0};
  assign g_shift = 2'd2 - width_q;
  assign rd_req_valid_o = busy_q && (req_left_q != '0);
  assign req_take = rd_req_valid_o && rd_req_ready_i;
  always_comb begin
    req_rest = '0;
    req_chunk = '0;
    req_row_end = 1'b0;
    hop = '0;
    rd_req_bytes_o = '0;
    rd_req_addr_o = '0;
    if (rd_req_valid_o) begin
      req_rest = row_bytes - req_byte_q;
      req_row_end = !gradient_q || (req_rest <= 19'(CHUNK));
      req_chunk = req_row_end ? req_rest : 19'(CHUNK);
      rd_req_bytes_o = req_gradient_q ? 24'(req_chunk) << g_shift : 24'(req_chunk);
      rd_req_addr_o = req_gradient_q ? g_addr_q : w_addr_q;
      if (req_gradient_q)
        hop = req_row_end ? 32'(g_pitch) - (32'(req_byte_q) << g_shift) : 32'(CHUNK) << g_shift;
      else hop = req_row_end ? pitch - 32'(req_byte_q) : 32'(CHUNK);
    end
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      req_left_q <= '0;
    end else if (clear_i) begin
      req_left_q <= '0;
    end else if (start_i) begin
      req_left_q <= out_c[16:0];
    end else if (req_take && req_row_end && (req_gradient_q || !gradient_q)) begin
      req_left_q <= req_left_q - 17'd1;
    end
  end
  always_ff @(posedge clk_i) begin
    if (req_take) begin
      if (gradient_q) req_gradient_q <= !req_gradient_q;
      if (req_gradient_q) begin
        g_addr_q <= g_addr_q + hop;
        req_byte_q <= req_row_end ? '0 : req_byte_q + 19'(CHUNK);
      end else begin
        w_addr_q <= w_addr_q + hop;
      end
    end else if (start_i) begin
      req_gradient_q <= 1'b0;
      req_byte_q <= '0;
      w_addr_q <= desc_i.w_addr;
      g_addr_q <= desc_i.in_addr;
    end
  end

  // Walk over rows, words, groups and passes. A group is issued once per pass, and the hash draws
  // for it from its coordinates alone. Without a gradient the word is there when it is issued and
  // moves into the buffer; with one, groups are issued before either word or gradient has come, and
  // the pipeline is full of random numbers when they do.
  logic advance, front, issue, first_pass, last_pass, last_part, leave_word, row_end, z_on,
      g_last_q;
  logic [1:0] part_q;         // the group in its word
  logic [3:0] pass_q;
  logic [16:0] row_q, rows_left_q;
  logic [18:0] byte_q;        // of the word in its row
  logic [31:0] row_addr_q, word_addr;
  logic [16:0] column;
  logic [18:0] bytes_left;
  logic [BUS_BYTES-1:0] strb;
  logic fifo_room, word_room, r_on, finished;
  logic answer_gradient_q;    // what comes is gradient
  logic word_take, wants, z_wants;
  // the result register holds the word's last group; gives away an int8 word's first
  logic out_whole_q, low_take;
  logic [3:0] pass_next;
  logic [SW:0] valid_q, en;
  logic g_done;  // the group's last pass has been added
  logic [H-1:0] z_en, r_en;
  logic [H-2:0] z_run_q, r_run_q;
  assign row_end = gradient_q ? (bytes_left <= 19'(BUS_BYTES)) : rd_rsp_last_i;
  // An idle engine evaluates nothing of this. The pipeline has two parts that can stand still by
  // themselves: everything up to the register of the direction (front), which waits for a gradient,
  // and everything behind it (advance), which waits for the write port. A group that has its
  // direction is never held up by one that has not.
  always_comb begin
    pass_next = '0;
    advance = 1'b0;
    front = 1'b0;
    word_take = 1'b0;
    issue = 1'b0;
    first_pass = 1'b0;
    last_pass = 1'b0;
    last_part = 1'b0;
    leave_word = 1'b0;
    finished = 1'b0;
    rd_rsp_ready_o = 1'b0;
    z_on = 1'b0;
    r_on = 1'b0;
    g_done = 1'b0;
    low_take = 1'b0;
    en = '0;
    z_en = '0;
    r_en = '0;
    if (busy_q) begin
      advance = !wr_valid_o || wr_ready_i;
      // a group whose direction is missing waits, and what is behind it; what is ahead goes on
      front = advance && !(gradient_q && valid_q[SZ] && z_wants &&
                           !(rd_rsp_valid_i && answer_gradient_q));
      issue = gradient_q ? front && fifo_room && (rows_left_q != '0)
                         : rd_rsp_valid_i && advance && fifo_room;
      word_take = gradient_q && rd_rsp_valid_i && !answer_gradient_q && word_room;
      first_pass = pass_q == '0;
      pass_next = pass_q + 4'd1;
      last_pass = pass_next == passes_q;
      last_part = part_q == last_part_q;
      leave_word = issue && last_pass && last_part;
      if (gradient_q)
        rd_rsp_ready_o = answer_gradient_q ? advance && valid_q[SZ] && z_wants : word_room;
      else rd_rsp_ready_o = advance && fifo_room && last_pass && last_part;
      finished = (rows_left_q == '0) && (valid_q == '0);
      z_on = !gradient_q && (pass_q < pairs_i);
      r_on = first_pass || (masked_q && (pass_q == 4'd1));
      g_done = valid_q[SG] && g_last_q;
      if (advance) begin
        low_take = valid_q[SW] && !out_whole_q;
        en[SW:SM] = {valid_q[SD:SM], g_done};
      end
      if (front) begin
        en[SG:0] = {valid_q[SZ:0], issue};
        z_en = {z_run_q, issue && z_on};
        r_en = {r_run_q, issue && r_on};
      end
    end
  end
  // Of the group that is issued: bytes left in its row, its first column, its word's address and
  // which bytes of the word are the row's.
  always_comb begin
    bytes_left = '0;
    column = '0;
    word_addr = '0;
    strb = '0;
    wants = 1'b0;
    if (issue) begin
      bytes_left = row_bytes - byte_q;
      column = ((width_q == 2'd0) ? byte_q[16:0] : (width_q == 2'd1) ? byte_q[17:1]
                                                                     : byte_q[18:2]) +
               (gradient_q ? 17'(part_q) * 17'(LANES / 2) : part_q[0] ? 17'(LANES) : 17'd0);
      // a row's last word may have groups without an element: no gradient comes for them
      wants = last_pass && (column < in_c[16:0]);
      word_addr = row_addr_q + 32'(byte_q);
      for (int unsigned i = 0; i < BUS_BYTES; i++) strb[i] = 19'(i) < bytes_left;
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) rows_left_q <= '0;
    else if (clear_i) rows_left_q <= '0;
    else if (start_i) rows_left_q <= out_c[16:0];
    else if (leave_word && row_end) rows_left_q <= rows_left_q - 17'd1;
  end
  // Passes inside groups, groups inside words, words inside rows: the order in which the words come
  // from memory.
  always_ff @(posedge clk_i) begin
    if (issue) begin
      pass_q <= last_pass ? '0 : pass_next;
      if (last_pass) part_q <= last_part ? '0 : part_q + 2'd1;
      if (leave_word) begin
        byte_q <= row_end ? '0 : byte_q + 19'(BUS_BYTES);
        if (row_end) begin
          row_q <= row_q + 17'd1;
          row_addr_q <= row_addr_q + pitch;
        end
      end
    end else if (start_i) begin
      pass_q <= '0;
      part_q <= '0;
      row_q <= '0;
      byte_q <= '0;
      row_addr_q <= desc_i.w_addr;
    end
  end

  // Valid bits of the stages; z_run_q and r_run_q are those of the words in the hash units.
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      valid_q <= '0;
      z_run_q <= '0;
      r_run_q <= '0;
    end else if (clear_i) begin
      valid_q <= '0;
      z_run_q <= '0;
      r_run_q <= '0;
    end else if (busy_q && advance) begin
      valid_q[SW:SG] <= en[SW:SG];
      if (front) begin
        valid_q[SZ:0] <= en[SZ:0];
        z_run_q <= z_en[H-2:0];
        r_run_q <= r_en[H-2:0];
      end
    end
  end
  // Requests of the tensor and of its gradient are answered in turn; the last word of an answer
  // says that the other kind comes next.
  always_ff @(posedge clk_i) begin
    if (start_i) answer_gradient_q <= 1'b0;
    else if (gradient_q && rd_rsp_valid_i && rd_rsp_ready_o && rd_rsp_last_i)
      answer_gradient_q <= !answer_gradient_q;
  end

  // Beside the hash: waits for its direction, pass, first, last, z drawn, mask, group, column. All
  // of it moves at once: one vector, one enable.
  logic [H*TAG-1:0] tag_q;
  logic [TAG-1:0] tag_in, tag_hash;
  assign tag_in = {wants, pass_q, first_pass, last_pass, z_on, masked_q && (pass_q == 4'd1),
                   part_q, column[5:0]};
  always_ff @(posedge clk_i) if (front) tag_q <= {tag_q[(H-1)*TAG-1:0], tag_in};
  assign tag_hash = tag_q[(H-1)*TAG +: TAG];

  // Hash units: one half draws z of the pass's pair, the other rounding bits (first pass) or mask
  // (second pass). Rounding bits come from the first pair's seed, the mask from MASK_SEED
  // (CONTRACT.md, Update and Mask). The key travels with its counter, for neighbouring passes have
  // different ones.
  logic [ZU*64-1:0] z_words, r_words;
  logic [63:0] z_key, r_key;
  always_comb begin
    z_key = '0;
    r_key = '0;
    if (issue) begin
      z_key = pair_seed_i[pass_q[2:0]*64 +: 64];
      r_key = first_pass ? pair_seed_i[63:0] : mask_seed_i;
    end
  end
  for (genvar j = 0; j < ZU; j++) begin : gen_unit
    logic [H-1:0] z_go, r_go;
    logic [63:0] z_ctr, r_ctr;
    logic [15:0] z_block, r_block;
    // signs come from one word; a short group has half as many elements as there are lanes
    if (j == 0) begin : gen_first
      assign z_go = z_en;
      assign r_go = r_en;
    end else begin : gen_more
      always_comb begin
        z_go = '0;
        r_go = '0;
        if (busy_q && (!short_q || (j < ZU / 2))) begin
          z_go = dist_i ? z_en : '0;
          r_go = r_en;
        end
      end
    end
    // The counter is tensor, row and block of the row in the stream of its domain (CONTRACT.md,
    // Random numbers): a block has 64 signs, 4 Gaussians, 4 rounding values or 8 mask bytes.
    always_comb begin
      z_block = '0;
      r_block = '0;
      z_ctr = '0;
      r_ctr = '0;
      if (issue) begin
        z_block = dist_i ? 16'(column[16:2]) + 16'(j) : 16'(column[16:6]);
        r_block = first_pass ? 16'(column[16:2]) + 16'(j) : 16'(column[16:3]) + 16'(j);
        z_ctr = {8'd0, dist_i ? npu_pkg::DOMAIN_GAUSSIAN : npu_pkg::DOMAIN_SIGN, tensor,
                 row_q[15:0], z_block};
        r_ctr = {8'd0, first_pass ? npu_pkg::DOMAIN_ROUND : npu_pkg::DOMAIN_MASK, tensor,
                 row_q[15:0], r_block};
      end
    end
    npu_hash #(.STAGES(H), .KEY_PIPE(1)) u_z (
      .clk_i, .en_i(z_go), .key_i(z_key), .ctr_i(z_ctr), .word_o(z_words[j*64 +: 64])
    );
    npu_hash #(.STAGES(H), .KEY_PIPE(1)) u_r (
      .clk_i, .en_i(r_go), .key_i(r_key), .ctr_i(r_ctr), .word_o(r_words[j*64 +: 64])
    );
  end

  // z register: what the words mean for each lane. Only a shift is left to do: the group may begin
  // anywhere in a hash word that has more elements than the group.
  logic [5:0] col_hash;
  logic [63:0] sign_bits;
  logic [ZU*64-1:0] gauss_bits, round_bits, mask_bits;
  logic [6:0] col_shift;
  assign col_hash = tag_hash[5:0];
  assign col_shift = {1'b0, col_hash[2:0], 3'd0};
  always_comb begin
    sign_bits = '0;
    gauss_bits = '0;
    round_bits = '0;
    mask_bits = '0;
    if (en[SZ]) begin
      sign_bits = z_words[63:0] >> col_hash;
      // on a narrow bus a word may begin inside a hash word
      gauss_bits = (LANES < 8) ? z_words >> {col_hash[1:0], 4'd0} : z_words;
      round_bits = (LANES < 8) ? r_words >> {col_hash[1:0], 4'd0} : r_words;
      // four int32 per word of 16 bytes begin in the middle of a mask word every other time
      if (tag_hash[8]) mask_bits = (LANES <= 8) ? r_words >> col_shift : r_words;
    end
  end

  logic [TAG-1:0] tag_z_q;
  logic [ZU*64-1:0] r_bits_q;
  always_ff @(posedge clk_i) begin
    if (en[SZ]) begin
      tag_z_q <= tag_hash;
      if (tag_hash[11]) r_bits_q <= round_bits;
    end
  end

  // The tag beside the z register: it says of the pass in it whether it is the group's first or
  // last one, and whether a direction or a mask was drawn.
  logic z_first, z_last, z_drawn, z_mask;
  logic signed [7:0] coef;
  assign z_wants = tag_z_q[16];
  assign z_first = tag_z_q[11];
  assign z_last = tag_z_q[10];
  assign z_drawn = tag_z_q[9];
  assign z_mask = tag_z_q[8];
  always_comb begin
    coef = '0;
    if (en[SG] && z_drawn) coef = pair_coef_i[tag_z_q[14:12]*8 +: 8];
  end

  // Which group of its word each later stage holds. The stages behind g move once per group, not
  // per pass.
  logic [1:0] part_g_q, part_m_q, part_d_q;
  always_ff @(posedge clk_i) begin
    if (en[SG]) begin
      g_last_q <= z_last;
      part_g_q <= tag_z_q[7:6];
    end
    if (busy_q && advance) begin
      part_m_q <= part_g_q;
      part_d_q <= part_m_q;
    end
  end

  // Words wait for their directions; their places are known when they are issued, which with a
  // gradient is before they come. Both buffers are popped together, when the word's last group gets
  // its result. A full buffer of places stops the issue, a full buffer of words the bus.
  logic fifo_valid, word_valid, fifo_pop;
  logic [DATA-1:0] old_data;
  logic [31:0] old_addr;
  logic [BUS_BYTES-1:0] old_strb;
  logic word_done;  // the result register is to hold the word's last group
  assign word_done = part_d_q == last_part_q;
  assign fifo_pop = en[SW] && word_done;
  logic word_issue;
  assign word_issue = issue && first_pass && (part_q == '0);
  npu_fifo #(.WIDTH(32 + BUS_BYTES), .DEPTH(16)) u_places (
    .clk_i, .rst_ni, .clear_i, .push_valid_i(word_issue), .push_ready_o(fifo_room),
    .push_data_i({strb, word_addr}), .pop_valid_o(fifo_valid), .pop_ready_i(fifo_pop),
    .pop_data_o({old_strb, old_addr})
  );
  // Old words, as they came from memory. Elements that the mask leaves out go back unchanged; bytes
  // behind a row's end have no strobe and are not written.
  npu_fifo #(.WIDTH(DATA), .DEPTH(16)) u_words (
    .clk_i, .rst_ni, .clear_i, .push_valid_i(gradient_q ? word_take : word_issue),
    .push_ready_o(word_room), .push_data_i(rd_rsp_data_i), .pop_valid_o(word_valid),
    .pop_ready_i(fifo_pop), .pop_data_o(old_data)
  );

  // g + coef * z. Eight pairs of at most 128 * 127 stay below 2^17: 18 bits with the sign. The
  // first pass starts from zero.
  function automatic logic signed [17:0] accumulate(input logic signed [17:0] g,
                                                    input logic signed [7:0] c,
                                                    input logic [6:0] mag, input logic neg,
                                                    input logic first);
    logic signed [17:0] term;
    term = 18'(c) * $signed({11'd0, mag});
    if (neg) term = -term;
    accumulate = first ? term : g + term;
  endfunction

  // The group's elements out of its word, each sign-extended to its lane; short groups leave the
  // upper lanes empty. An element is present if its first byte has a strobe, that is, if it lies
  // inside the row.
  logic [LANES-1:0] updated, zero, clipped;
  logic [LANES-1:0] present;
  logic [LANES*32-1:0] w_old;
  logic [DATA-1:0] group_data;
  logic [BUS_BYTES-1:0] group_strb;
  always_comb begin
    group_data = '0;
    group_strb = '0;
    present = '0;
    w_old = '0;
    if (en[SW]) begin
      // a group begins at lane 0
      group_data = old_data;
      group_strb = old_strb;
      if (gradient_q && (width_q == 2'd0)) begin
        group_data = old_data >> (9'(part_d_q) * 9'(DATA / 4));
        group_strb = old_strb >> (7'(part_d_q) * 7'(BUS_BYTES / 4));
      end else if (part_d_q[0]) begin
        group_data = old_data >> (DATA / 2);
        group_strb = old_strb >> (BUS_BYTES / 2);
      end
      for (int unsigned i = 0; i < LANES; i++) begin
        case (width_q)
          2'd0: begin
            present[i] = group_strb[i];
            w_old[i*32 +: 32] = 32'($signed(group_data[i*8 +: 8]));
          end
          2'd1: begin
            present[i] = group_strb[i*2];
            w_old[i*32 +: 32] = 32'($signed(group_data[i*16 +: 16]));
          end
          default: begin
            present[i] = group_strb[(i*4)%BUS_BYTES];
            w_old[i*32 +: 32] = group_data[(i*32)%DATA +: 32];
          end
        endcase
        if (short_q && (i >= LANES / 2)) present[i] = 1'b0;
      end
    end
  end
  // -2^31 has no magnitude of 31 bits, so it counts as -(2^31 - 1) (CONTRACT.md, Update from a
  // gradient).
  function automatic logic signed [31:0] read(input logic [31:0] g);
    read = (g == 32'h8000_0000) ? 32'h8000_0001 : g;
  endfunction
  // The lanes: direction, then product, quotient and new value in npu_update_lane.
  logic [LANES*32-1:0] w_new;  // results
  for (genvar i = 0; i < LANES; i++) begin : gen_lane
    localparam int unsigned B = (i < LANES / 2) ? 32 : 16;
    // lanes of a short group can take a gradient
    localparam int unsigned G = (i < LANES / 2) ? 32 : 18;
    logic take_q, keep_q, z_neg_q;
    logic [6:0] z_mag_q;
    logic signed [G-1:0] g_q;
    logic [15:0] round_q;

    npu_gaussian u_gaussian (
      .clk_i, .en_i(en[SZ] && !gradient_q), .gaussian_i(dist_i), .bits_i(gauss_bits[i*16 +: 16]),
      .sign_i(sign_bits[i]), .flip_i(1'b0), .negative_o(z_neg_q), .magnitude_o(z_mag_q)
    );
    // The mask is known in the pass after the first one; take_q holds it when the product is
    // formed, which is after the last pass.
    always_ff @(posedge clk_i) begin
      if (busy_q) begin
        if (en[SZ] && tag_hash[8]) keep_q <= {1'b0, mask_bits[i*8 +: 8]} < keep_below;
        if (en[SG]) begin
          if (!gradient_q)
            g_q <= G'($signed(accumulate(g_q[17:0], coef, z_mag_q, z_neg_q, z_first)));
          else if (G == 32) g_q <= G'($signed(read(rd_rsp_data_i[(i*32)%DATA +: 32])));
          if (z_first) round_q <= r_bits_q[i*16 +: 16];
          if (z_mask || !masked_q) take_q <= !masked_q || keep_q;
        end
      end
    end

    npu_update_lane #(.BITS(B), .G_BITS(G)) u_lane (
      .clk_i, .en_i({en[SW], en[SD], en[SM]}), .step_i(s_q), .shift_i(shift_q), .width_i(width_q),
      .g_i(g_q), .round_i(round_q), .take_i(take_q), .present_i(present[i]), .w_i(w_old[i*32 +: B]),
      .w_o(w_new[i*32 +: B]), .updated_o(updated[i]), .zero_o(zero[i]), .clipped_o(clipped[i])
    );
    if (B < 32) begin : gen_narrow
      assign w_new[i*32+B +: 32-B] = '0;
    end
  end

  // Result register and write port. A word's groups but the last wait in early_q until it is there,
  // so that memory sees whole words: int8 has two groups in a word, with a gradient four, and int16
  // two.
  always_ff @(posedge clk_i) begin
    if (en[SW]) begin
      out_whole_q <= word_done;
      wr_addr_o <= old_addr;
      wr_strb_o <= old_strb;
    end
  end
  assign wr_valid_o = valid_q[SW] && out_whole_q;
  logic [DATA/2-1:0] new8;  // of each lane
  logic [DATA-1:0] new16;
  logic [3*DATA/4-1:0] early_q;
  // Every lane has 32 bits; here the results are brought back to the width of the tensor's
  // elements.
  always_comb begin
    new8 = '0;
    new16 = '0;
    if (valid_q[SW]) begin
      for (int unsigned i = 0; i < LANES; i++) begin
        new8[i*8 +: 8] = w_new[i*32 +: 8];
        new16[i*16 +: 16] = w_new[i*32 +: 16];
      end
    end
  end
  always_ff @(posedge clk_i) begin
    if (low_take) begin
      if (!gradient_q) early_q[DATA/2-1:0] <= new8;
      else if (width_q == 2'd0) early_q <= {new8[DATA/4-1:0], early_q[3*DATA/4-1:DATA/4]};
      else early_q[DATA/2-1:0] <= new16[DATA/2-1:0];
    end
  end
  always_comb begin
    wr_data_o = '0;
    if (wr_valid_o) begin
      case (width_q)
        2'd0: wr_data_o = gradient_q ? {new8[DATA/4-1:0], early_q} : {new8, early_q[DATA/2-1:0]};
        2'd1: wr_data_o = gradient_q ? {new16[DATA/2-1:0], early_q[DATA/2-1:0]} : new16;
        default: wr_data_o = w_new[DATA-1:0];
      endcase
    end
  end

  // Start and end. The command ends when all rows were issued and no stage holds a group any more:
  // then the last word has been accepted, too.
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
  assign progress_o = issue || word_take || (wr_valid_o && wr_ready_i) || req_take;

  // Events: of a group when its result leaves, of a word when its last group is issued. Random
  // words are counted per bus word by rule, not as the units work, for the contract defines them so
  // (CONTRACT.md, Traffic: random words).
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
    cnt_random_o = '0;
    cnt_elements_o = '0;
    r_count = '0;
    m_count = '0;
    z_count = '0;
    elements = '0;
    if (leave_word) begin
      // per bus word: columns / 4 words of rounding bits and Gaussians, columns / 8 of mask, at
      // least one
      r_count = (width_q == 2'd0) ? 8'(BUS_BYTES / 4)
                : (width_q == 2'd1) ? 8'(BUS_BYTES / 8) : 8'((BUS_BYTES + 15) / 16);
      m_count = (width_q == 2'd0) ? 8'(BUS_BYTES / 8)
                : (width_q == 2'd1) ? 8'((BUS_BYTES + 15) / 16) : 8'((BUS_BYTES + 31) / 32);
      z_count = dist_i ? r_count : 8'd1;
      elements = (bytes_left >= 19'(BUS_BYTES)) ? 7'(BUS_BYTES) : 7'(bytes_left);
      cnt_random_o = (gradient_q ? 8'd0 : 8'(z_count * 8'(pairs_i))) + r_count +
          (masked_q ? m_count : 8'd0);
      cnt_elements_o = (width_q == 2'd0) ? elements
                       : (width_q == 2'd1) ? {1'b0, elements[6:1]} : {2'b0, elements[6:2]};
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i) start_i |-> !busy_q);
  // A result finds its place and its old word: both were pushed before its direction was complete.
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                   en[SW] |-> fifo_valid && word_valid);
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                   leave_word && !gradient_q |-> (rd_rsp_last_i == (bytes_left <= 19'(BUS_BYTES))));
  // the last word of a row is the last of a request, and so is the last word of its gradient
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                   busy_q && gradient_q && finished |-> !answer_gradient_q);
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                   wr_valid_o && !wr_ready_i |=> wr_valid_o && $stable(wr_data_o) &&
                       $stable(wr_addr_o) && $stable(wr_strb_o));
`else
  logic unused_valid;
  assign unused_valid = fifo_valid && word_valid;
`endif
  logic unused;
  assign unused = ^{desc_i, mask_bits, round_bits, gauss_bits, sign_bits, tag_z_q, in_c[31:17],
      out_c[31:17], row_q[16], col_shift, bytes_left, w_old};

endmodule
