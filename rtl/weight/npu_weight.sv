// SPDX-License-Identifier: Apache-2.0
// Weights: for each tile, channel block and k-tile of CONV2D and DEPTHWISE (CONTRACT.md, Tiles)
// reads the rows of the block, perturbs them on the way, and writes them into the array's shadow
// registers, one column (output channel) at a time. The requester walks the loops and runs ahead of
// the data by up to META_DEPTH rows and KT_DEPTH k-tiles; so do the perturbation unit's random
// numbers, which are there when the words arrive.
// DEPTHWISE: a k-tile is one tap; its weights are one memory row, and column j gets its weight in
// the lane of its input channel. W_TRANSPOSED: a k-tile's memory rows are its lanes; each goes
// across all columns of the shadow registers, less the weights' zero point.
module npu_weight #(
  parameter int unsigned ROWS = npu_pkg::ROWS_DEFAULT,
  parameter int unsigned COLS = npu_pkg::COLS_DEFAULT,
  parameter int unsigned BUS_BYTES = npu_pkg::BUS_BYTES_DEFAULT,
  parameter int unsigned ACT_BYTES = npu_pkg::ACT_BYTES_DEFAULT,
  parameter int unsigned TRAINING = npu_pkg::TRAINING_DEFAULT,
  localparam int unsigned AW = $clog2(ACT_BYTES),
  localparam int unsigned LR = $clog2(ROWS),
  localparam int unsigned LC = $clog2(COLS),
  localparam int unsigned MB = LR + LC + 1,
  localparam int unsigned LINE = (ROWS > COLS) ? ROWS : COLS,  // elements of a column or of a row
  localparam int unsigned LL = $clog2(LINE)
) (
  input  logic                          clk_i,
  input  logic                          rst_ni,
  input  logic                          clear_i,
  input  npu_pkg::desc_t                desc_i,
  input  logic [1:0]                    polarity_i,
  input  logic                          dist_i,
  input  logic [63:0]                   seed_i,
  input  logic [63:0]                   mask_seed_i,
  input  logic [AW-1:0]                 tap_x_i,
  input  logic [AW-1:0]                 tap_y_i,
  input  logic [31:0]                   run_bytes_i,
  input  logic [31:0]                   packed_k_i,
  input  logic [31:0]                   chunk_out_i,
  // Tiles: one token each; all that matters of it here is whether it is the last. The geometry of
  // the lanes (tap_x_i to chunk_out_i) is npu_load's and valid with the first token. A chunk of
  // channels of DEPTHWISE is a tile here: its blocks follow those of the chunk before.
  input  logic                          tile_valid_i,
  output logic                          tile_ready_o,
  input  logic                          tile_last_i,
  output logic                          busy_o,
  // memory
  output logic                          rd_req_valid_o,
  input  logic                          rd_req_ready_i,
  output logic [31:0]                   rd_req_addr_o,
  output logic [23:0]                   rd_req_bytes_o,
  input  logic                          rd_rsp_valid_i,
  output logic                          rd_rsp_ready_o,
  input  logic [BUS_BYTES*8-1:0]        rd_rsp_data_i,
  input  logic                          rd_rsp_last_i,
  // array: see npu_array
  output logic                          kt_valid_o,
  input  logic                          kt_ready_i,
  output logic [ROWS*AW-1:0]            kt_off_o,
  output logic [LR:0]                   kt_lanes_o,
  output logic [MB-1:0]                 kt_weights_o,
  output npu_types::marks_t             kt_marks_o,
  output logic                          kt_packed_o,
  output logic                          shadow_we_o,
  output logic                          shadow_across_o,  // a row, not a column
  output logic [LL-1:0]                 shadow_at_o,      // which
  output logic [LINE*16-1:0]            shadow_o,
  input  logic                          swap_i,
  // events
  output logic [6:0]                    cnt_perturbed_o,
  output logic [6:0]                    cnt_clipped_o,
  output logic [5:0]                    cnt_random_o
);

  localparam int unsigned LB = $clog2(BUS_BYTES);
  localparam int unsigned DW_CH = (ROWS < COLS) ? ROWS : COLS;  // channels of a depthwise block
  localparam int unsigned META_DEPTH = 32;
  localparam int unsigned KT_DEPTH = 4;

  // Fields. DEPTHWISE has no groups here: its blocks are cut from all output channels.
  logic depthwise, transposed, across, w8, packed_k, chunked;
  logic [31:0] in_c, cin_group, tile_c, pitch;
  logic [16:0] cout_group, out_c;
  logic [15:0] groups, kernel_h, kernel_w;
  assign depthwise = (desc_i.opcode == npu_pkg::OPCODE_DEPTHWISE);
  assign transposed = desc_i.flags.w_transposed;
  assign across = depthwise || transposed;  // memory rows run over output channels
  assign w8 = desc_i.flags.w8;
  assign packed_k = desc_i.flags.packed_ && !depthwise;
  assign in_c = desc_i.in_c;
  assign out_c = desc_i.out_c[16:0];
  assign tile_c = desc_i.tile_c;
  assign chunked = (tile_c < in_c) && !depthwise;
  assign cin_group = desc_i.cin_group;
  assign cout_group = desc_i.cout_group[16:0];
  assign groups = depthwise ? 16'd1 : desc_i.groups;
  assign kernel_h = desc_i.kernel_h;
  assign kernel_w = desc_i.kernel_w;
  assign pitch = desc_i.w_pitch;

  // ---- Requester ----
  // R_TILE waits for a tile; R_BLOCK begins a block of channels; R_LANES (DEPTHWISE) finds the
  // input channels that it reads; R_KT queues a k-tile for the array, R_ROWS asks for its rows.
  typedef enum logic [2:0] {
    R_TILE = 3'd0, R_BLOCK = 3'd1, R_LANES = 3'd2, R_KT = 3'd3, R_ROWS = 3'd4
  } state_t;
  state_t state_q;
  // Weights are read again for every tile, but perturbed and clipped ones count once per command:
  // during the first tile.
  logic first_tile_q, last_tile_q, tile_start_q;
  logic [15:0] group_q;
  logic [16:0] o_q, ob_q;           // first channel of the block: of all, in its group or chunk
  logic [16:0] chunk_start, chunk_end_q;  // DEPTHWISE: output channels of the chunk
  logic within_q;                   // DEPTHWISE: the next tile is the next chunk of this one
  assign chunk_start = within_q ? o_q : '0;
  logic [16:0] k_q, c_q, c_end_q;   // weight column, channel within its tap, end of the chunk
  logic [16:0] c_base_q;            // first channel of the chunk
  logic [15:0] ky_q, kx_q;
  // Scratchpad bytes from a position's first byte to the group's first channel, to the first tap of
  // the kernel's row, to the tap. Memory: first row of the block, row to be asked for, row that a
  // block's (DEPTHWISE: a tap's) k-tiles start from.
  logic [AW-1:0] group_off_q, row_off_q, tap_off_q;
  logic [31:0] block_addr_q, row_addr_q, tap_addr_q;
  logic [LC:0] nc_q;
  logic [LL:0] row_q;
  logic [16:0] mod_q, lane_mod_q;   // depthwise: first channel modulo the multiplier; running
  logic [LR:0] lane_q;              // lanes that a depthwise block reads
  logic [LC:0] lane_count_q;
  logic [31:0] c0_q;                // depthwise: input channel of the block's first channel

  // How far the k-tile at hand reaches (run elements), and what ends with it: the tap, the chunk of
  // channels, the dot product (k_end), the block, the half of the scratchpad (unload). A packed dot
  // product is cut into runs of ROWS without regard to taps, any other one tap by tap (CONTRACT.md,
  // Packed lanes).
  logic [16:0] block_left, run_left;
  logic [LC:0] nc;
  logic [LR:0] run;
  logic [31:0] lim;
  logic tap_end, last_kx, last_ky, k_end, chunk_end, block_last_in_group, block_last, tile_end,
      unload, kt_push_ready, first_k;
  always_comb begin
    block_left = '0;
    nc = '0;
    lim = '0;
    run_left = '0;
    run = '0;
    last_kx = 1'b0;
    last_ky = 1'b0;
    chunk_end = 1'b0;
    tap_end = 1'b0;
    k_end = 1'b0;
    block_last_in_group = 1'b0;
    block_last = 1'b0;
    tile_end = 1'b0;
    unload = 1'b0;
    if (state_q != R_TILE) begin
      block_left = depthwise ? chunk_end_q - o_q : cout_group - ob_q;
      nc = (block_left > (depthwise ? 17'(DW_CH) : 17'(COLS)))
           ? (depthwise ? (LC + 1)'(DW_CH) : (LC + 1)'(COLS)) : block_left[LC:0];
      lim = packed_k ? packed_k_i : 32'(c_end_q);
      run_left = packed_k ? lim[16:0] - k_q : lim[16:0] - c_q;
      run = (run_left > 17'(ROWS)) ? (LR + 1)'(ROWS) : run_left[LR:0];
      last_kx = (kx_q + 16'd1 == kernel_w);
      last_ky = (ky_q + 16'd1 == kernel_h);
      chunk_end = (run_left <= 17'(ROWS));
      tap_end = depthwise || (chunk_end && (c_end_q == 17'(cin_group)));
      k_end = packed_k ? chunk_end : tap_end && last_kx && last_ky;
      block_last_in_group = (block_left == 17'(nc_q));
      block_last = block_last_in_group && (group_q + 16'd1 == groups);
      tile_end = block_last && (!depthwise || (chunk_end_q == out_c));
      unload = chunked ? chunk_end : k_end && block_last;
    end
  end
  assign first_k = (k_q == '0);

  // Bytes before the k-tile's first element in a weight row: rows of CONV2D run over K, those of
  // DEPTHWISE and of transposed weights over output channels.
  logic [31:0] k_bytes;
  assign k_bytes = across ? (w8 ? 32'(o_q) : {14'd0, o_q, 1'b0})
                          : (w8 ? 32'(k_q) : {14'd0, k_q, 1'b0});

  // Requests: the rows of the block. Words from memory carry no label, so what the other end has to
  // know about a row waits for its data here:
  // {column in its word, run, j, last row of the k-tile, count}
  localparam int unsigned META = LB + (LL + 1) + LL + 2;
  logic meta_push_ready, meta_valid, meta_pop, row_fire, row_last;
  logic [META-1:0] meta, meta_in;
  logic [15:0] tap_index_q;
  logic [LL:0] width, rows;
  // A k-tile has a row per output channel, a row per lane (transposed) or a single row (DEPTHWISE).
  // WEIGHT_READ_BYTES counts the bus words that these requests touch.
  assign width = across ? (LL + 1)'(nc_q) : (LL + 1)'(run);
  assign rows = transposed ? (LL + 1)'(run) : (LL + 1)'(nc_q);
  assign rd_req_valid_o = (state_q == R_ROWS) && meta_push_ready;
  assign rd_req_addr_o = row_addr_q;
  assign rd_req_bytes_o = w8 ? 24'(width) : {23'(width), 1'b0};
  assign row_fire = rd_req_valid_o && rd_req_ready_i;
  assign row_last = depthwise || (row_q + (LL + 1)'(1) == rows);
  always_comb begin
    meta_in = '0;
    if (rd_req_valid_o)
      meta_in = {across ? o_q[LB-1:0] : k_q[LB-1:0], width, row_q[LL-1:0], row_last, first_tile_q};
  end
  npu_fifo #(.WIDTH(META), .DEPTH(META_DEPTH)) u_meta (
    .clk_i, .rst_ni, .clear_i, .push_valid_i(row_fire), .push_ready_o(meta_push_ready),
    .push_data_i(meta_in),
    .pop_valid_o(meta_valid), .pop_ready_i(meta_pop), .pop_data_o(meta)
  );

  // K-tiles wait for their weights: where their lanes lie in the scratchpad, how many lanes and
  // columns, and what begins and ends with them. The array takes one when its weights are there.
  localparam int unsigned KT = AW + (LR + 1) + MB + (LC + 1) + 17 + 6;
  logic kt_push, kt_valid, kt_pop;
  logic [KT-1:0] kt_in, kt;
  logic [AW-1:0] off;
  logic [MB-1:0] kt_macs;
  npu_types::marks_t marks;
  // Marks: a chunk begins and ends on a half of the scratchpad of its own; without chunks a half
  // lasts from the tile's first k-tile to the last one of its last block.
  assign kt_push = (state_q == R_KT);
  always_comb begin
    off = '0;
    kt_macs = '0;
    marks = '0;
    kt_in = '0;
    if (kt_push) begin
      off = packed_k ? '0 : tap_off_q + (depthwise ? c0_q[AW-1:0] : AW'(c_q) - AW'(c_base_q));
      kt_macs = depthwise ? MB'(nc_q) : MB'(run) * MB'(nc_q);
      marks.first = first_k;
      marks.last = k_end;
      marks.load = chunked ? (c_q == c_base_q) : tile_start_q;
      marks.unload = unload;
      marks.tile = tile_start_q;
      marks.finish = unload && block_last && k_end && last_tile_q;
      kt_in = {off, depthwise ? lane_q : run, kt_macs, nc_q, mod_q, marks};
    end
  end
  npu_fifo #(.WIDTH(KT), .DEPTH(KT_DEPTH)) u_kt (
    .clk_i, .rst_ni, .clear_i, .push_valid_i(kt_push), .push_ready_o(kt_push_ready),
    .push_data_i(kt_in), .pop_valid_o(kt_valid), .pop_ready_i(kt_pop), .pop_data_o(kt)
  );

  assign tile_ready_o = (state_q == R_TILE);

  // DEPTHWISE: cout_group outputs share an input channel; after them the lane goes on.
  logic lane_step, lanes_end;
  always_comb begin
    lane_step = 1'b0;
    lanes_end = 1'b0;
    if (state_q == R_LANES) begin
      lane_step = (lane_mod_q + 17'd1 == cout_group);
      lanes_end = (lane_count_q + (LC + 1)'(1) == nc_q);
    end
  end

  // A k-tile is queued before its rows are asked for, so when its weights are written into the
  // shadow registers, it is at the queue's head.
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q <= R_TILE;
      first_tile_q <= 1'b1;
    end else if (clear_i) begin
      state_q <= R_TILE;
      first_tile_q <= 1'b1;
    end else begin
      case (state_q)
        R_TILE: if (tile_valid_i) state_q <= R_BLOCK;
        R_BLOCK: state_q <= depthwise ? R_LANES : R_KT;
        R_LANES: if (lanes_end) state_q <= R_KT;
        R_KT: if (kt_push_ready) state_q <= R_ROWS;
        R_ROWS: if (row_fire && row_last) begin
          state_q <= !k_end ? R_KT : block_last ? R_TILE : R_BLOCK;
          if (k_end && tile_end) first_tile_q <= last_tile_q;
        end
        default: state_q <= R_TILE;
      endcase
    end
  end

  // Registers of the requester. In each group the step comes before the start, and a register that
  // others take over comes after them.
  logic tap_step, block_step;
  logic [31:0] next_row_addr;
  assign tap_step = row_fire && row_last && tap_end;
  assign block_step = row_fire && row_last && k_end;
  always_comb begin
    next_row_addr = '0;
    if (row_fire) next_row_addr = row_addr_q + pitch;
  end

  // Rows of a k-tile. They lie w_pitch apart, and a k-tile starts again at the block's first row,
  // further to the right. Transposed, a k-tile's rows follow those of the one before.
  always_ff @(posedge clk_i) begin
    if (row_fire) begin
      row_q <= row_q + (LL + 1)'(1);
      row_addr_q <= next_row_addr;
    end else if (state_q == R_KT && kt_push_ready) begin
      row_q <= '0;
      // transposed: a block's rows follow each other
      if (!transposed || first_k) row_addr_q <= tap_addr_q + k_bytes;
    end
  end
  // K-tiles of a block: how far the dot product has come, in the weight row (k_q) and within the
  // channels of the tap (c_q).
  always_ff @(posedge clk_i) begin
    if (row_fire && row_last) begin
      k_q <= !(tap_end && depthwise) ? k_q + 17'(run) : 17'd1;  // depthwise: not the first
      c_q <= !tap_end ? c_q + 17'(run) : '0;
      if (!packed_k && chunk_end && !tap_end) begin
        // next chunk of the channels
        c_base_q <= c_end_q;
        c_end_q <= (17'(cin_group) - c_end_q > tile_c[16:0]) ? c_end_q + tile_c[16:0]
                                                             : 17'(cin_group);
      end
    end else if (state_q == R_BLOCK) begin
      k_q <= '0;
      c_q <= '0;
      c_base_q <= '0;
      c_end_q <= chunked ? tile_c[16:0] : cin_group[16:0];
    end
  end
  // Taps, row by row of the kernel. DEPTHWISE keeps each tap's weights in a memory row of its own.
  always_ff @(posedge clk_i) begin
    if (tap_step) begin
      kx_q <= last_kx ? '0 : kx_q + 16'd1;
      if (last_kx) ky_q <= ky_q + 16'd1;
      tap_off_q <= last_kx ? row_off_q + tap_y_i : tap_off_q + tap_x_i;
      if (last_kx) row_off_q <= row_off_q + tap_y_i;
      if (depthwise) begin
        tap_addr_q <= tap_addr_q + pitch;
        tap_index_q <= tap_index_q + 16'd1;
      end
    end else if (state_q == R_BLOCK) begin
      ky_q <= '0;
      kx_q <= '0;
      tap_index_q <= '0;
      row_off_q <= group_off_q;
      tap_off_q <= group_off_q;
      tap_addr_q <= block_addr_q;
    end
  end
  // Blocks, group by group. After a block's last k-tile the next memory row, less the bytes of that
  // k-tile's column, is where the next block's weights begin. DEPTHWISE: if the next block starts
  // within the outputs of the last block's last input channel, both blocks read that channel.
  always_ff @(posedge clk_i) begin
    if (block_step) begin
      if (depthwise) c0_q <= c0_q + 32'(lane_q) - ((lane_mod_q == '0) ? 32'd0 : 32'd1);
      else if (!transposed) block_addr_q <= next_row_addr - k_bytes;
      o_q <= o_q + 17'(nc_q);
      ob_q <= block_last_in_group ? '0 : ob_q + 17'(nc_q);
      if (block_last_in_group) begin
        group_q <= group_q + 16'd1;
        group_off_q <= group_off_q + cin_group[AW-1:0];
      end
      mod_q <= lane_mod_q;
    end else if (state_q == R_TILE && tile_valid_i) begin
      last_tile_q <= tile_last_i;
      group_q <= '0;
      if (!within_q) o_q <= '0;
      chunk_end_q <= (32'(out_c) - 32'(chunk_start) > chunk_out_i)
                     ? chunk_start + chunk_out_i[16:0] : out_c;
      ob_q <= '0;
      group_off_q <= '0;
      block_addr_q <= desc_i.w_addr;
      mod_q <= '0;
      c0_q <= '0;
    end
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) within_q <= 1'b0;
    else if (clear_i) within_q <= 1'b0;
    else if (block_step && block_last) within_q <= !tile_end;
  end
  // Lanes of a DEPTHWISE block, counted an output channel per cycle: cout_group outputs share an
  // input channel, and the first of them may belong to the block before. The lane of channel o_q +
  // lane_count_q is lane_q - 1. After the last channel lane_mod_q is the place of the next block's
  // first channel among the outputs of its input channel.
  always_ff @(posedge clk_i) begin
    if (state_q == R_LANES) begin
      if (lane_step && !lanes_end) lane_q <= lane_q + (LR + 1)'(1);
      lane_count_q <= lane_count_q + (LC + 1)'(1);
      lane_mod_q <= !lane_step ? lane_mod_q + 17'd1 : '0;
    end else if (state_q == R_BLOCK) begin
      lane_q <= (LR + 1)'(1);
      lane_mod_q <= mod_q;
      lane_count_q <= '0;
    end
  end
  // tile_start_q marks a tile's first k-tile: with it the array takes the tile's geometry.
  always_ff @(posedge clk_i) begin
    if (state_q == R_BLOCK) nc_q <= nc;
    if (state_q == R_TILE && tile_valid_i) tile_start_q <= 1'b1;
    else if (state_q == R_KT && kt_push_ready) tile_start_q <= 1'b0;
  end

  // ---- Words through the perturbation unit ----
  // A word holds elements of one row: from its element sh on, take of them belong to the run and go
  // to the lanes from w_lane on. Lanes of the perturbation unit that hold others are switched off.
  logic [LB-1:0] m_col;
  logic [LL:0] m_run;
  logic [LL-1:0] m_j;
  logic m_last_row, m_count;
  assign {m_col, m_run, m_j, m_last_row, m_count} = meta;

  localparam int unsigned EB = LB + 1;
  logic word_first_q;
  logic [LL:0] w_lane_q;       // lane of this word's first element of the run
  logic [LB:0] per_word;
  logic [EB-1:0] sh;
  logic [LL:0] w_lane, left;
  logic [LL:0] take;
  logic [LB:0] room;
  logic [BUS_BYTES-1:0] lanes;
  logic p_in_valid, p_in_ready, p_out_valid, p_out_ready, p_busy;
  logic [BUS_BYTES*8-1:0] p_data;
  assign per_word = w8 ? (LB + 1)'(BUS_BYTES) : (LB + 1)'(BUS_BYTES / 2);
  always_comb begin
    sh = '0;
    w_lane = '0;
    left = '0;
    room = '0;
    take = '0;
    lanes = '0;
    if (p_in_valid) begin
      sh = word_first_q ? EB'(m_col) & (per_word - EB'(1)) : '0;
      w_lane = word_first_q ? '0 : w_lane_q;
      left = m_run - w_lane;
      room = per_word - (LB + 1)'(sh);
      take = (32'(left) > 32'(room)) ? (LL + 1)'(room) : left;
      lanes = ({BUS_BYTES{1'b1}} << sh) & ~({BUS_BYTES{1'b1}} << (32'(sh) + 32'(take)));
    end
  end
  // The perturbation unit has no register between a weight and its perturbed value, so sh, w_lane
  // and take still describe the word that comes out of it. A row's metadata is dropped with its
  // last word.
  assign p_in_valid = rd_rsp_valid_i && meta_valid;
  assign rd_rsp_ready_o = meta_valid && p_in_ready;
  assign meta_pop = rd_rsp_valid_i && p_in_ready && rd_rsp_last_i;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) word_first_q <= 1'b1;
    else if (clear_i) word_first_q <= 1'b1;
    else if (p_in_valid && p_in_ready) word_first_q <= rd_rsp_last_i;
  end
  always_ff @(posedge clk_i) begin
    if (p_in_valid && p_in_ready) w_lane_q <= w_lane + take;
  end

  // The same words, walked ahead for their random numbers: k-tiles as they are queued. None is left
  // when its last word arrives: this queue has the depth of u_kt and empties no later, so it needs
  // no handshake of its own (see the assertion). What is drawn depends on row and column alone
  // (CONTRACT.md, Random numbers), which are known long before the data.
  // {first column, columns, first row, rows}
  localparam int unsigned AHEAD = 17 + (LR + 1) + 16 + (LC + 1);
  logic perturb, ahead_push_ready, ahead_valid, ahead_ready, a_begin_q, a_row_end, a_end;
  logic [AHEAD-1:0] ahead, ahead_in;
  logic [16:0] a_first, a_col_q, a_col, a_next;
  logic [LR:0] a_columns;
  logic [15:0] a_first_row, a_row;
  logic [LC:0] a_rows, a_row_q;
  assign perturb = (TRAINING != 0) && polarity_i != 2'd0 && desc_i.flags.w_train;
  always_comb begin
    ahead_in = '0;
    if (kt_push && perturb) begin
      ahead_in = depthwise ? {o_q, (LR + 1)'(nc_q), tap_index_q, (LC + 1)'(1)}
          : {k_q, run, o_q[15:0], nc_q};
    end
  end
  npu_fifo #(.WIDTH(AHEAD), .DEPTH(KT_DEPTH)) u_ahead (
    .clk_i, .rst_ni, .clear_i, .push_valid_i(kt_push && kt_push_ready && perturb),
    .push_ready_o(ahead_push_ready), .push_data_i(ahead_in), .pop_valid_o(ahead_valid),
    .pop_ready_i(ahead_ready && a_end), .pop_data_o(ahead)
  );
  // Bus words of each row, rows of the k-tile: the order in which the words will come. A word's
  // random numbers are those of all its columns, hence columns are counted from the word's first
  // one, used or not (CONTRACT.md, Traffic: random words).
  assign {a_first, a_columns, a_first_row, a_rows} = ahead;
  always_comb begin
    a_col = '0;
    a_next = '0;
    a_row = '0;
    a_row_end = 1'b0;
    a_end = 1'b0;
    if (ahead_valid) begin
      a_col = a_begin_q ? a_first & ~(17'(per_word) - 17'd1) : a_col_q;
      a_next = a_col + 17'(per_word);
      a_row = a_first_row + 16'(a_row_q);
      a_row_end = (a_next >= a_first + 17'(a_columns));
      a_end = a_row_end && (a_row_q + (LC + 1)'(1) == a_rows);
    end
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      a_begin_q <= 1'b1;
      a_row_q <= '0;
    end else if (clear_i) begin
      a_begin_q <= 1'b1;
      a_row_q <= '0;
    end else if (ahead_valid && ahead_ready) begin
      a_begin_q <= a_row_end;
      if (a_row_end) a_row_q <= a_end ? '0 : a_row_q + (LC + 1)'(1);
    end
  end
  always_ff @(posedge clk_i) if (ahead_valid && ahead_ready) a_col_q <= a_next;

  npu_perturb #(.BUS_BYTES(BUS_BYTES), .BIAS(0), .TRAINING(TRAINING)) u_perturb (
    .clk_i, .rst_ni, .clear_i,
    .active_i(perturb), .minus_i(polarity_i == 2'd2), .gaussian_i(dist_i), .w8_i(w8),
    .eps_i({8'd0, desc_i.w_eps}), .shift_i(desc_i.w_eps_shift[4:0]), .keep_i(desc_i.w_keep[8:0]),
    .seed_i, .mask_seed_i, .tensor_i(desc_i.w_tensor),
    .ahead_valid_i(ahead_valid), .ahead_ready_o(ahead_ready), .ahead_row_i(a_row),
    .ahead_col_i(a_col[15:0]), .in_valid_i(p_in_valid), .in_ready_o(p_in_ready),
    .in_data_i(rd_rsp_data_i), .in_lanes_i(lanes), .in_count_i(m_count), .out_valid_o(p_out_valid),
    .out_ready_i(p_out_ready), .out_data_o(p_data), .busy_o(p_busy), .cnt_perturbed_o,
    .cnt_clipped_o, .cnt_random_o
  );

  // ---- Lines: elements of a row's words gathered by lane, or by column ----
  // The word as 16-bit elements, the run's first one moved to its lane.
  localparam int unsigned WIDE = ((BUS_BYTES > LINE) ? BUS_BYTES : LINE) * 16;
  logic [WIDE-1:0] elements, up;
  logic gather;
  // int8 weights are widened to 16 bits: behind this line there is one kind of weight.
  always_comb begin
    elements = '0;
    up = '0;
    if (gather) begin
      for (int unsigned e = 0; e < BUS_BYTES; e++) begin
        if (w8) elements[e*16 +: 16] = 16'($signed(p_data[e*8 +: 8]));
        else if (e < BUS_BYTES / 2) elements[e*16 +: 16] = p_data[(e % (BUS_BYTES / 2))*16 +: 16];
      end
      up = (elements >> {sh, 4'd0}) << {w_lane, 4'd0};
    end
  end

  // A line waits here, complete, until the array has taken the weights that are in the shadow
  // registers; then it goes there and the next one is gathered.
  logic col_valid_q, col_last_q, col_go, placing_q, busy_q, taken_q;
  logic [LL-1:0] col_q;
  logic [LINE*16-1:0] gather_q;
  logic shadow_free;
  // A depthwise row spreads over the diagonal, one column per cycle. All other lanes of a column
  // are zero, so that each output channel sees its own input channel only.
  logic [LR:0] pl_lane_q;
  logic [16:0] pl_mod_q;
  logic [LC-1:0] pl_j_q;
  logic pl_start_q, pl_last;
  logic [LC:0] head_nc;
  logic [16:0] head_mod;
  // The shadow registers are a second set of weights: they may be overwritten from the cycle on in
  // which the array swaps them into the multipliers. Until then one complete line waits here, and
  // behind it the bus.
  assign shadow_free = !busy_q || swap_i;
  assign col_go = col_valid_q && shadow_free && (!depthwise || (placing_q && pl_last));
  assign p_out_ready = !col_valid_q || col_go;
  assign gather = p_out_valid && p_out_ready;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) col_valid_q <= 1'b0;
    else if (clear_i) col_valid_q <= 1'b0;
    else if (gather) col_valid_q <= rd_rsp_last_i;
    else if (col_go) col_valid_q <= 1'b0;
  end
  // The first word of a row clears the lanes that it does not fill: lanes beyond the run, which
  // stay zero, and those that later words of the row will fill.
  always_ff @(posedge clk_i) begin
    if (gather) begin
      for (int unsigned i = 0; i < LINE; i++) begin
        if ((LL + 1)'(i) >= w_lane && (LL + 1)'(i) < w_lane + take)
          gather_q[i*16 +: 16] <= up[i*16 +: 16];
        else if (word_first_q) gather_q[i*16 +: 16] <= 16'd0;
      end
      col_q <= m_j;
      col_last_q <= m_last_row;
    end
  end

  // Placing needs to know the first channel's place among the outputs of its input channel. That
  // comes with the k-tile, so it starts when the k-tile before has left the queue and the array has
  // swapped.
  assign pl_last = ((LC + 1)'(pl_j_q) + (LC + 1)'(1) == head_nc);
  logic place_fire;
  assign place_fire = placing_q && shadow_free;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) placing_q <= 1'b0;
    else if (clear_i) placing_q <= 1'b0;
    else if (!placing_q)
      placing_q <= depthwise && col_valid_q && kt_valid && !taken_q && !pl_start_q;
    else if (place_fire && pl_last) placing_q <= 1'b0;
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) pl_start_q <= 1'b0;  // the k-tile at the head of the queue is already placed
    else if (clear_i) pl_start_q <= 1'b0;
    else if (kt_pop) pl_start_q <= 1'b0;
    else if (place_fire && pl_last) pl_start_q <= 1'b1;
  end
  always_ff @(posedge clk_i) begin
    if (place_fire) begin
      pl_j_q <= pl_j_q + LC'(1);
      if (pl_mod_q + 17'd1 == cout_group) pl_lane_q <= pl_lane_q + (LR + 1)'(1);
      pl_mod_q <= (pl_mod_q + 17'd1 == cout_group) ? '0 : pl_mod_q + 17'd1;
    end else if (!placing_q && depthwise) begin
      pl_j_q <= '0;
      pl_lane_q <= '0;
      pl_mod_q <= head_mod;
    end
  end

  // int8 less their zero point: nine bits of each element. Of other weights the zero point is 0
  // (CONTRACT.md, Transposed weights).
  function automatic logic [LINE*16-1:0] centred(input logic [LINE*16-1:0] line,
                                                 input logic [7:0] zero_point);
    logic signed [8:0] element;
    for (int unsigned i = 0; i < LINE; i++) begin
      element = 9'($signed(line[i*16 +: 8])) - 9'($signed(zero_point));
      centred[i*16 +: 16] = 16'(element);
    end
  endfunction

  // The write into the shadow registers.
  logic last_col;
  always_comb begin
    shadow_we_o = depthwise ? place_fire : col_go;
    shadow_at_o = depthwise ? LL'(pl_j_q) : col_q;
    shadow_o = '0;
    if (depthwise && place_fire)
      shadow_o = (LINE * 16)'(gather_q[pl_j_q*16 +: 16]) << {pl_lane_q, 4'd0};
    else if (shadow_we_o) shadow_o = (transposed && w8) ? centred(gather_q, desc_i.w_zp) : gather_q;
  end
  assign shadow_across_o = transposed;
  assign last_col = shadow_we_o && (depthwise ? pl_last : col_last_q);

  // ---- The k-tile whose weights are in the shadow registers ----
  // busy_q: all its columns are written, it is offered to the array; taken_q: the array has begun
  // it and needs its offsets no more, but its weights until swap_i.
  logic [AW-1:0] h_off;
  logic offs_ready_q, offs_run;
  logic [ROWS*AW-1:0] off_q, off_next;
  logic [LR:0] off_count_q;
  logic [AW-1:0] pk_base_q;
  logic [31:0] pk_r_q;
  assign {h_off, kt_lanes_o, kt_weights_o, head_nc, head_mod, kt_marks_o} = kt;
  assign kt_valid_o = kt_valid && busy_q && !taken_q && (offs_ready_q || !packed_k);
  assign kt_pop = kt_valid_o && kt_ready_i;
  assign kt_packed_o = packed_k;
  // Life of a k-tile: its last column sets busy_q; the array takes it (kt_pop, taken_q); two cycles
  // after its first position was read, swap_i empties the shadow registers. The last column of the
  // next k-tile may be written in the cycle of the swap itself; then busy_q stays.
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      busy_q <= 1'b0;   // all columns written
      taken_q <= 1'b0;  // and the array has begun
      offs_ready_q <= 1'b0;
      off_count_q <= '0;
    end else if (clear_i) begin
      busy_q <= 1'b0;
      taken_q <= 1'b0;
      offs_ready_q <= 1'b0;
      off_count_q <= '0;
    end else begin
      if (last_col) busy_q <= 1'b1;
      else if (swap_i) busy_q <= 1'b0;
      if (kt_pop) taken_q <= 1'b1;
      else if (swap_i) taken_q <= 1'b0;
      if (kt_pop) begin
        offs_ready_q <= 1'b0;
        off_count_q <= '0;
      end else if (offs_run) begin
        off_count_q <= off_count_q + (LR + 1)'(1);
        offs_ready_q <= (off_count_q == (LR + 1)'(ROWS - 1));
      end
    end
  end

  // Packed: lane i is element i of the k-tile; a kernel row of the input is run_bytes long, the
  // next one tap_y_i further on. A k-tile may begin and end inside a tap and cross kernel rows, so
  // each lane has an offset of its own. One is worked out per cycle and shifted in, while the array
  // is busy with the k-tile before; the walk through the kernel continues where the last k-tile has
  // left it.
  assign offs_run = packed_k && kt_valid && !offs_ready_q;
  logic pk_first;
  logic [AW-1:0] pk_base;
  logic [31:0] pk_r;
  always_comb begin
    pk_first = 1'b0;
    pk_base = '0;
    pk_r = '0;
    off_next = '0;
    if (offs_run) begin
      pk_first = kt_marks_o.first && (off_count_q == '0);
      pk_base = pk_first ? '0 : pk_base_q;
      pk_r = pk_first ? '0 : pk_r_q;
      off_next = {pk_base + pk_r[AW-1:0], off_q[ROWS*AW-1:AW]};
    end
  end
  always_ff @(posedge clk_i) begin
    if (offs_run) begin
      off_q <= off_next;
      pk_r_q <= (pk_r + 32'd1 == run_bytes_i) ? '0 : pk_r + 32'd1;
      pk_base_q <= (pk_r + 32'd1 == run_bytes_i) ? pk_base + tap_y_i : pk_base;
    end
  end
  assign kt_off_o = packed_k ? off_q : (ROWS * AW)'(h_off);

  // There is work as long as a tile is walked, a k-tile waits, or data or random numbers are on the
  // way.
  assign busy_o = (state_q != R_TILE) || kt_valid || meta_valid || p_busy;

  logic unused;
  assign unused = ^{lim[31:17], up, c0_q[31:AW], a_col[16], ahead_push_ready, cin_group[31:17]};

`ifndef SYNTHESIS
  // The bus and this unit agree about a row's last word.
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                   p_in_valid |-> rd_rsp_last_i == (left == take));
  // The queue of random numbers to come never holds up the queue of k-tiles.
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                   kt_push && kt_push_ready |-> ahead_push_ready);
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i) shadow_we_o |-> kt_valid);
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                   kt_valid_o && !kt_ready_i |=> kt_valid_o && $stable(kt_off_o) &&
                       $stable(kt_lanes_o));
`endif

endmodule
