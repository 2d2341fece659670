// SPDX-License-Identifier: Apache-2.0
// Input tiles: walks the tiles of CONV2D, DEPTHWISE and POOL (CONTRACT.md, Tiles), fetches each
// tile's input region into a free half of the scratchpad, fills rows and columns outside the image
// with the input zero point, and tells the other engines where the tile lies. Two processes share a
// tile: one issues a read request per image row, the other places what comes back; so requests run
// ahead. The products of shape fields (strides in bytes, region sizes) come from one multiplier,
// one per cycle, before a tile's first request.
module npu_load #(
  parameter int unsigned ROWS = npu_pkg::ROWS_DEFAULT,
  parameter int unsigned COLS = npu_pkg::COLS_DEFAULT,
  parameter int unsigned BUS_BYTES = npu_pkg::BUS_BYTES_DEFAULT,
  parameter int unsigned ACT_BYTES = npu_pkg::ACT_BYTES_DEFAULT,
  localparam int unsigned AW = $clog2(ACT_BYTES),
  localparam int unsigned LR = $clog2(ROWS)
) (
  input  logic                          clk_i,
  input  logic                          rst_ni,
  input  logic                          clear_i,
  input  logic                          start_i,
  input  npu_pkg::desc_t                desc_i,
  output logic                          busy_o,
  // Products that the other engines need, worked out once per command; valid with the first tile
  // token. The scratchpad's are in bytes, the output's in elements.
  output logic [AW-1:0]                 step_x_o,    // scratchpad bytes between output columns
  output logic [AW-1:0]                 step_y_o,    // ... between output rows
  output logic [AW-1:0]                 tap_x_o,     // ... between taps
  output logic [AW-1:0]                 tap_y_o,
  // kernel_w * in_c: a kernel row of a packed dot product
  output logic [31:0]                   run_bytes_o,
  output logic [31:0]                   packed_k_o,  // kernel_h * kernel_w * in_c
  // DEPTHWISE: output channels of a chunk of input channels
  output logic [31:0]                   chunk_out_o,
  output logic [31:0]                   out_row_o,   // output elements in a row, an image
  output logic [31:0]                   out_img_o,
  // One token per tile, to all that work on tiles at once. It may come before the tile's region is
  // loaded: weights and parameters are fetched meanwhile.
  output logic                          tile_valid_o,
  input  logic                          tile_ready_i,
  output npu_types::tile_t              tile_o,
  // Halves of the scratchpad: full_o once a region is complete, until its reader sends release_i.
  output logic [1:0]                    full_o,
  input  logic [1:0]                    release_i,
  // memory
  output logic                          rd_req_valid_o,
  input  logic                          rd_req_ready_i,
  output logic [31:0]                   rd_req_addr_o,
  output logic [23:0]                   rd_req_bytes_o,
  input  logic                          rd_rsp_valid_i,
  output logic                          rd_rsp_ready_o,
  input  logic [BUS_BYTES*8-1:0]        rd_rsp_data_i,
  input  logic                          rd_rsp_last_i,
  // scratchpad
  output logic                          wr_valid_o,
  output logic                          wr_half_o,
  output logic [AW-1:0]                 wr_addr_o,
  output logic [ROWS-1:0]               wr_mask_o,
  output logic [ROWS*8-1:0]             wr_data_o,
  output logic [LR:0]                   cnt_sram_writes_o
);

  localparam int unsigned LB = $clog2(BUS_BYTES);
  // Scratchpad writes per bus word, bytes in each.
  localparam int unsigned SUBS = (BUS_BYTES > ROWS) ? BUS_BYTES / ROWS : 1;
  localparam int unsigned SB = (SUBS > 1) ? $clog2(SUBS) : 1;
  localparam int unsigned WB = (BUS_BYTES > ROWS) ? ROWS : BUS_BYTES;
  // 65,535 positions at a stride of 255, and as much again for a dilated kernel, stay below 2^25.
  localparam int unsigned CW = 26;  // signed image coordinates

  // Fields.
  logic [15:0] n, in_h, in_w, out_h, out_w, tile_n, tile_h, tile_w, kernel_h, kernel_w;
  logic [31:0] in_c, out_c, tile_c;
  logic conv, chunked;
  assign n = desc_i.n;
  assign in_h = desc_i.in_h;
  assign in_w = desc_i.in_w;
  assign out_h = desc_i.out_h;
  assign out_w = desc_i.out_w;
  assign tile_n = desc_i.tile_n;
  assign tile_h = desc_i.tile_h;
  assign tile_w = desc_i.tile_w;
  assign kernel_h = desc_i.kernel_h;
  assign kernel_w = desc_i.kernel_w;
  assign in_c = desc_i.in_c;
  assign tile_c = desc_i.tile_c;
  assign out_c = (desc_i.opcode == npu_pkg::OPCODE_POOL) ? in_c : desc_i.out_c;
  assign conv = (desc_i.opcode == npu_pkg::OPCODE_CONV2D);
  assign chunked = tile_c < in_c;
  // Images of the output at a pitch: a multiple of the element's bytes, so elements can count it.
  // Rows inside an image always lie without a gap (CONTRACT.md, Images apart).
  logic [31:0] out_pitch;
  logic [1:0] out_shift;
  assign out_pitch = desc_i.out_pitch;
  assign out_shift = desc_i.flags.out32 ? 2'd2 : {1'b0, desc_i.flags.out16};

  // A command: MULTIPLY (products of the command), then for every part of every tile SETUP (its
  // size), MULTIPLY (products of the tile), PUSH (the token; waits for a free half), MOVE (requests
  // and placement run), NEXT (the half is full, on to the next part). The half is marked full in
  // NEXT, while the last write is at the scratchpad, so that no reader comes before it.
  typedef enum logic [2:0] {
    IDLE = 3'd0, MULTIPLY = 3'd1, SETUP = 3'd2, PUSH = 3'd3, MOVE = 3'd4, NEXT = 3'd5
  } state_t;

  // The list of products. Step n puts its operands before the multiplier, step n + 1 writes the
  // product back, step n + 2 may use it; what lies between names takes a cycle and does nothing.
  typedef enum logic [4:0] {
    // once per command
    M_IN_ROW = 5'd0,      // elements of an input row
    M_KH_EXT = 5'd1,      // rows that a dilated kernel spans
    M_IN_IMG = 5'd2,      // elements of an input image
    M_KW_EXT = 5'd3,      // columns that a dilated kernel spans
    M_OUT_ROW = 5'd4,     // elements of an output row
    M_STEP_Y = 5'd5,      // scratchpad bytes between output rows
    M_OUT_IMG = 5'd6,     // elements of an output image
    M_TAP_X = 5'd7,       // scratchpad bytes between taps of a row
    M_TAP_Y = 5'd8,       // scratchpad bytes between taps of a column
    M_RUN = 5'd9,         // bytes of a kernel row
    M_CHUNK_OUT = 5'd10,  // output channels of a chunk
    M_PACKED_K = 5'd11,   // bytes of a kernel
    M_STEP_X = 5'd12,     // scratchpad bytes between output columns
    M_COMMAND = 5'd14,    // the last step of a command
    // once per part of a tile
    M_IY0 = 5'd15,        // first input row, may lie above the image
    M_IX0 = 5'd16,        // first input column, may lie left of the image
    M_ROWS = 5'd17,       // input rows of the tile
    M_COLS = 5'd18,       // input columns of the tile
    M_IMG_PITCH = 5'd19,  // scratchpad bytes of an image
    M_IN_N = 5'd20,       // address of the first byte inside the image: first image,
    M_ROW_BYTES = 5'd21,  // bytes of a row of the tile,
    M_LEFT = 5'd22,       // of these left of the image,
    M_MID = 5'd23,        // inside (the rest is right of it)
    M_IN_Y = 5'd24,       // ... first row of the address
    M_OUT_N = 5'd25,      // first output element of the tile: first image,
    M_IN_X = 5'd26,       // ... first column of the address
    M_OUT_Y = 5'd27,      // ... first row of the element
    M_OUT_X = 5'd29,      // ... first column of the element
    M_TILE = 5'd31        // the last step of a tile
  } step_t;

  state_t state_q;
  logic [4:0] pc_q, wb_q;  // step_t: of the operands, of the product
  logic wb_valid_q;

  // Where we are: first image, row and column of the tile and how many of each; first channel of
  // the block of outputs and of the chunk of inputs. A tile whose channels do not fit is loaded in
  // chunks: of CONV2D, where an output needs all of them, once for every block of outputs; of the
  // others, whose outputs need one channel each, once, and to the other engines a chunk is a tile.
  logic [15:0] n0_q, y0_q, x0_q, tn_q, th_q, tw_q;
  logic [31:0] o_q, c0_q, cc_q;  // first output channel; first input channel, number of them
  logic half_q;
  logic [1:0] full_q;
  logic [16:0] n_end, y_end, x_end;
  logic last_tile, last_chunk, last_block;
  // Ends of the tile and of the walk, where a state asks for them.
  always_comb begin
    n_end = '0;
    y_end = '0;
    x_end = '0;
    last_tile = 1'b0;
    last_chunk = 1'b0;
    last_block = 1'b0;
    if (state_q == SETUP || state_q == PUSH || state_q == NEXT) begin
      n_end = 17'(n0_q) + 17'(tile_n);
      y_end = 17'(y0_q) + 17'(tile_h);
      x_end = 17'(x0_q) + 17'(tile_w);
      last_tile = (n_end >= 17'(n)) && (y_end >= 17'(out_h)) && (x_end >= 17'(out_w));
      last_chunk = (c0_q + cc_q >= in_c);
      last_block = !chunked || !conv || (o_q + 32'(COLS) >= out_c);
    end
  end

  // What the products are for. Coordinates of the image are signed: padding lies at negative ones.
  // 32 bits are enough: npu_validate has refused what does not lie inside the memory, and a product
  // that wraps is one that the command does not use.
  logic [31:0] in_row_q, in_img_q, kh_ext_q, kw_ext_q, in_base_q, out_base_q, row_bytes_q,
      left_bytes_q, mid_bytes_q, right_bytes_q;
  // rows_q and cols_q are the region's size, padding included. Of a row of cols_q columns left_q
  // lie left of the image and mid_q inside it; ya_q and xa_q are the first row and column inside.
  logic signed [CW-1:0] iy0_q, ix0_q;
  logic [CW-1:0] rows_q, cols_q, left_q, mid_q;
  logic [15:0] ya_q, xa_q;
  logic [AW-1:0] img_pitch_q;
  logic [31:0] mul_a, mul_b, mul_a_q, mul_b_q, product;
  assign product = mul_a_q * mul_b_q;

  // One multiplier for all of them: a second would shorten the few cycles before a tile's first
  // request, in which the array still works on the tile before. The strides of input and output,
  // the extents of the kernel and the steps between taps come first, for the tiles' products use
  // them (CONTRACT.md, Tiles and Scratchpad, has the formulas).
  always_comb begin
    mul_a = '0;
    mul_b = '0;
    if (state_q == MULTIPLY) case (pc_q)
      M_IN_ROW: begin mul_a = 32'(in_w); mul_b = in_c; end
      M_KH_EXT: begin mul_a = 32'(kernel_h) - 32'd1; mul_b = 32'(desc_i.dilation_h); end
      M_IN_IMG: begin mul_a = in_row_q; mul_b = 32'(in_h); end
      M_KW_EXT: begin mul_a = 32'(kernel_w) - 32'd1; mul_b = 32'(desc_i.dilation_w); end
      M_OUT_ROW: begin mul_a = 32'(out_w); mul_b = out_c; end
      M_STEP_Y: begin mul_a = 32'(desc_i.stride_h); mul_b = desc_i.row_pitch; end
      M_OUT_IMG: begin mul_a = out_row_o; mul_b = 32'(out_h); end
      M_TAP_X: begin mul_a = 32'(desc_i.dilation_w); mul_b = tile_c; end
      M_TAP_Y: begin mul_a = 32'(desc_i.dilation_h); mul_b = desc_i.row_pitch; end
      M_RUN: begin mul_a = 32'(kernel_w); mul_b = in_c; end
      M_CHUNK_OUT: begin mul_a = tile_c; mul_b = desc_i.cout_group; end
      M_PACKED_K: begin mul_a = run_bytes_o; mul_b = 32'(kernel_h); end
      M_STEP_X: begin mul_a = 32'(desc_i.stride_w); mul_b = tile_c; end
      M_IY0: begin mul_a = 32'(y0_q); mul_b = 32'(desc_i.stride_h); end
      M_IX0: begin mul_a = 32'(x0_q); mul_b = 32'(desc_i.stride_w); end
      M_ROWS: begin mul_a = 32'(th_q) - 32'd1; mul_b = 32'(desc_i.stride_h); end
      M_COLS: begin mul_a = 32'(tw_q) - 32'd1; mul_b = 32'(desc_i.stride_w); end
      M_IMG_PITCH: begin mul_a = 32'(rows_q); mul_b = desc_i.row_pitch; end
      M_IN_N: begin mul_a = 32'(n0_q); mul_b = in_img_q; end
      M_ROW_BYTES: begin mul_a = 32'(cols_q); mul_b = tile_c; end
      M_LEFT: begin mul_a = 32'(left_q); mul_b = tile_c; end
      M_MID: begin mul_a = 32'(mid_q); mul_b = tile_c; end
      M_IN_Y: begin mul_a = 32'(ya_q); mul_b = in_row_q; end
      M_OUT_N: begin mul_a = 32'(n0_q); mul_b = out_img_o; end
      M_IN_X: begin mul_a = 32'(xa_q); mul_b = in_c; end
      M_OUT_Y: begin mul_a = 32'(y0_q); mul_b = out_row_o; end
      M_OUT_X: begin mul_a = 32'(x0_q); mul_b = out_c; end
      default: begin end
    endcase
  end

  // Columns xa to xe of the tile lie inside the image. This is worked out between two products,
  // when the first column and the number of columns are known and before the bytes are. A tile may
  // lie wholly in the padding; then all its columns count as left of the image.
  logic signed [CW-1:0] ix_end, xa, xe;
  always_comb begin
    ix_end = '0;
    xa = '0;
    xe = '0;
    if (state_q == MULTIPLY && pc_q == M_IN_N) begin
      ix_end = ix0_q + $signed(cols_q);
      xa = ix0_q[CW-1] ? '0 : ix0_q;
      xe = (ix_end < $signed(CW'(in_w))) ? ix_end : $signed(CW'(in_w));
    end
  end

  // Operands, and the product of the step before back to its register. What is not a plain product
  // is completed here on the way: extents get their last row or column, coordinates lose the
  // padding, and what is right of the image is what the others leave.
  always_ff @(posedge clk_i) begin
    if (state_q == MULTIPLY) begin
      mul_a_q <= mul_a;
      mul_b_q <= mul_b;
      wb_q <= pc_q;
      if (pc_q == M_IN_N) begin
        left_q <= (xe > xa) ? xa - ix0_q : cols_q;
        mid_q <= (xe > xa) ? xe - xa : '0;
        xa_q <= xa[15:0];
        ya_q <= iy0_q[CW-1] ? '0 : iy0_q[15:0];
      end
    end
    if (wb_valid_q) begin
      case (wb_q)
        M_IN_ROW: in_row_q <= product;
        M_KH_EXT: kh_ext_q <= product + 32'd1;
        M_IN_IMG: in_img_q <= product;
        M_KW_EXT: kw_ext_q <= product + 32'd1;
        M_OUT_ROW: out_row_o <= product;
        M_STEP_Y: step_y_o <= product[AW-1:0];
        M_OUT_IMG: out_img_o <= (out_pitch == '0) ? product : out_pitch >> out_shift;
        M_TAP_X: tap_x_o <= product[AW-1:0];
        M_TAP_Y: tap_y_o <= product[AW-1:0];
        M_RUN: run_bytes_o <= product;
        M_CHUNK_OUT: chunk_out_o <= product;
        M_PACKED_K: packed_k_o <= product;
        M_IY0: iy0_q <= $signed(product[CW-1:0]) - $signed(CW'(desc_i.pad_top));
        M_IX0: ix0_q <= $signed(product[CW-1:0]) - $signed(CW'(desc_i.pad_left));
        M_ROWS: rows_q <= product[CW-1:0] + kh_ext_q[CW-1:0];
        M_COLS: cols_q <= product[CW-1:0] + kw_ext_q[CW-1:0];
        M_IMG_PITCH: img_pitch_q <= product[AW-1:0];
        M_ROW_BYTES: row_bytes_q <= product;
        M_LEFT: left_bytes_q <= product;
        M_MID: begin
          mid_bytes_q <= product;
          right_bytes_q <= row_bytes_q - left_bytes_q - product;
        end
        M_STEP_X: step_x_o <= product[AW-1:0];
        default: begin end
      endcase
    end
  end

  // The token carries what the receivers cannot derive cheaply from the descriptor: where the
  // tile's outputs begin, where its first tap lies in the image, and the sizes of a tile that may
  // be cut at the end of the tensor.
  assign tile_valid_o = (state_q == PUSH) && need_push_q;
  assign tile_o.last = last_tile && (conv || last_chunk);
  assign tile_o.out_base = out_base_q;
  assign tile_o.ix0 = ix0_q;
  assign tile_o.iy0 = iy0_q;
  assign tile_o.img_pitch = 18'(img_pitch_q);
  assign tile_o.tw = tw_q;
  assign tile_o.th = th_q;
  assign tile_o.tn = tn_q;
  assign full_o = full_q;
  assign busy_o = (state_q != IDLE);

  // Sequence of tiles, blocks, chunks.
  logic start_move, moved;
  logic need_push_q;
  // first_part: first chunk and block of the tile, which announces it; every chunk where it is a
  // tile to the others. pc_command, pc_end: the last product of the command, of the tile.
  logic first_part, pc_command, pc_end;
  always_comb begin
    first_part = 1'b0;
    pc_command = 1'b0;
    pc_end = 1'b0;
    if (state_q == SETUP) first_part = !conv || ((c0_q == '0) && (o_q == '0));
    if (state_q == MULTIPLY) begin
      pc_command = (pc_q == M_COMMAND);
      pc_end = (pc_q == M_TILE);
    end
  end
  // Bytes move when the token is out and the half is free: a region must not overwrite one that is
  // still read. Both processes of MOVE start in this cycle.
  assign start_move = (state_q == PUSH) && (!need_push_q || tile_ready_i) && !full_q[half_q];
  // A token goes once, even when the half is not free yet. So the weights of the next tile are on
  // their way while the array still works on this half.
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q <= IDLE;
      wb_valid_q <= 1'b0;
      half_q <= 1'b0;
      full_q <= '0;
      need_push_q <= 1'b0;
    end else if (clear_i) begin
      state_q <= IDLE;
      wb_valid_q <= 1'b0;
      half_q <= 1'b0;
      full_q <= '0;
      need_push_q <= 1'b0;
    end else begin
      wb_valid_q <= (state_q == MULTIPLY);
      if (release_i != '0) full_q <= full_q & ~release_i;
      case (state_q)
        IDLE: if (start_i) begin
          state_q <= MULTIPLY;
          half_q <= 1'b0;
        end
        SETUP: begin
          state_q <= MULTIPLY;
          need_push_q <= first_part;
        end
        MULTIPLY: begin
          if (pc_command) state_q <= SETUP;
          if (pc_end) state_q <= PUSH;
        end
        PUSH: begin
          if (tile_valid_o && tile_ready_i) need_push_q <= 1'b0;
          if (start_move) state_q <= MOVE;
        end
        MOVE: if (moved) state_q <= NEXT;
        default: begin  // NEXT
          full_q[half_q] <= 1'b1;
          half_q <= !half_q;
          state_q <= (last_tile && last_block && last_chunk) ? IDLE : SETUP;
        end
      endcase
    end
  end

  // The last tile, or chunk, of a dimension takes what is left (CONTRACT.md, Tiles). The sizes are
  // registers because the products of the tile follow from them.
  always_ff @(posedge clk_i) begin
    if (state_q == SETUP) begin
      tn_q <= (n_end > 17'(n)) ? n - n0_q : tile_n;
      th_q <= (y_end > 17'(out_h)) ? out_h - y0_q : tile_h;
      tw_q <= (x_end > 17'(out_w)) ? out_w - x0_q : tile_w;
      cc_q <= (c0_q + tile_c > in_c) ? in_c - c0_q : tile_c;
    end
  end

  // Requests: one per row of the tile that has columns inside the image, row by row and image by
  // image, as fast as the bus takes them; the bus buffers what comes back. A chunk's channels lie
  // apart in memory, so there each column of the row is a request. Rows above and below the image
  // cost a cycle each and no request. The address moves only past rows inside the image, for
  // in_base_q is that of the first of these. A step never meets the start of the next region: MOVE
  // ends with the placement, which is always behind the requests.
  logic rq_active_q, rq_inside, rq_last_x, rq_last, rq_end, rq_next;
  logic [15:0] rq_n_q;
  logic [CW-1:0] rq_r_q, rq_x_q;  // rq_x_q: columns inside the image that were asked for
  logic signed [CW-1:0] rq_iy_q;
  logic [31:0] rq_addr_q, rq_row_q, rq_img_q;
  always_comb begin
    rq_inside = 1'b0;
    rq_last_x = 1'b0;
    rq_last = 1'b0;
    rq_end = 1'b0;
    if (rq_active_q) begin
      rq_inside = (mid_q != '0) && !rq_iy_q[CW-1] && (rq_iy_q < $signed(CW'(in_h)));
      rq_last_x = !rq_inside || !chunked || (rq_x_q + CW'(1) == mid_q);
      rq_last = (rq_r_q + CW'(1) == rows_q);
      rq_end = rq_last_x && rq_last && (rq_n_q + 16'd1 == tn_q);
    end
  end
  assign rd_req_valid_o = rq_active_q && rq_inside;
  assign rd_req_addr_o = rq_addr_q;
  assign rd_req_bytes_o = chunked ? cc_q[23:0] : mid_bytes_q[23:0];
  assign rq_next = rq_active_q && (!rq_inside || rd_req_ready_i);
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) rq_active_q <= 1'b0;
    else if (clear_i) rq_active_q <= 1'b0;
    else if (start_move) rq_active_q <= 1'b1;
    else if (rq_next && rq_end) rq_active_q <= 1'b0;
  end
  // The next row lies in_row_q further on; the next image begins in_img_q behind the one before, at
  // its own first row.
  always_ff @(posedge clk_i) begin
    if (rq_next) begin
      rq_x_q <= rq_last_x ? '0 : rq_x_q + CW'(1);
      if (!rq_last_x) begin
        rq_addr_q <= rq_addr_q + in_c;
      end else if (!rq_last) begin
        rq_r_q <= rq_r_q + CW'(1);
        rq_iy_q <= rq_iy_q + CW'(1);
        if (rq_inside) begin
          rq_addr_q <= rq_row_q + in_row_q;
          rq_row_q <= rq_row_q + in_row_q;
        end
      end else begin
        rq_n_q <= rq_n_q + 16'd1;
        rq_addr_q <= rq_img_q + in_img_q;
        rq_row_q <= rq_img_q + in_img_q;
        rq_img_q <= rq_img_q + in_img_q;
        rq_r_q <= '0;
        rq_iy_q <= iy0_q;
      end
    end else if (start_move) begin
      rq_n_q <= '0;
      rq_r_q <= '0;
      rq_x_q <= '0;
      rq_iy_q <= iy0_q;
      rq_addr_q <= in_base_q;
      rq_row_q <= in_base_q;
      rq_img_q <= in_base_q;
    end
  end

  // Placement. The other half of MOVE: for each row of each image what is left of the image (fill),
  // inside (data) and right of it (fill); a row above or below the image is one fill. P_ROW begins
  // a row. The fill is the input zero point: the array reads it as zero, so padding contributes
  // nothing (CONTRACT.md, Accumulation); npu_pool leaves such taps out. The data of a chunk is a
  // run for each column; the columns lie tile_c apart, the last chunk may have fewer channels.
  typedef enum logic [1:0] {
    P_OFF = 2'd0, P_ROW = 2'd1, P_FILL = 2'd2, P_DATA = 2'd3
  } place_t;
  place_t place_q;
  logic fill_then_data_q;             // after the fill comes the row's data, else its end
  // Placement counts rows and images for itself, since requests are ahead of it. Of addresses in
  // memory it needs the lowest bits only: they say in which byte of its first bus word a row
  // begins.
  logic [15:0] pl_n_q;
  logic [CW-1:0] pl_r_q;
  logic signed [CW-1:0] pl_iy_q;
  logic [CW-1:0] pl_x_q;                  // columns inside the image that were placed
  logic [AW-1:0] pl_row_q, pl_img_q, pl_at_q, gap;
  // memory address of the row, image, column, within a bus word
  logic [LB-1:0] pl_low_q, pl_img_low_q, pl_col_low_q;
  logic [31:0] len_q;                 // bytes left of a fill or of the data
  logic [LB-1:0] skip_q;              // bytes of the word before the data
  logic [SB-1:0] sub_q;
  logic pl_inside, pl_last_x, data_done, row_done, row_last, fire, data_fire, word_done, advance,
      run_done;
  // data_hi is the end of the run, counted from the word's first byte; step is how many bytes of
  // the run this cycle takes.
  logic [31:0] data_hi, step;
  logic [LB:0] word_hi, part_from;    // bytes of the word, of its part, that belong to the row
  logic [LR:0] lo, hi;                // bytes of the write
  // A bus word is given back when its last part has been written. Where the scratchpad's words are
  // at least as wide as the bus there is one part only.
  assign data_fire = (place_q == P_DATA) && rd_rsp_valid_i;
  assign fire = (place_q == P_FILL) || data_fire;
  assign word_done = (32'(sub_q) == 32'(SUBS - 1));
  assign rd_rsp_ready_o = (place_q == P_DATA) && word_done;
  assign part_from = (SUBS > 1) ? (LB + 1)'(32'(sub_q) * 32'(WB)) : '0;
  assign advance = (place_q == P_FILL) || (data_fire && word_done);
  // Bytes lo to hi of this cycle's write belong to the run. A fill writes up to the end of the
  // scratchpad's word; data lies in a bus word from its byte skip_q on, which takes SUBS writes
  // where bus words are wider than the scratchpad's. A write never has more bytes than there are
  // banks, and consecutive bytes lie in different banks, so every write takes one cycle
  // (npu_scratchpad).
  always_comb begin
    data_hi = '0;
    word_hi = '0;
    lo = '0;
    hi = '0;
    step = '0;
    if (place_q == P_FILL) begin
      lo = (LR + 1)'(pl_at_q[LR-1:0]);
      step = (len_q < 32'(ROWS) - 32'(lo)) ? len_q : 32'(ROWS) - 32'(lo);
      hi = lo + step[LR:0];
    end else if (data_fire) begin
      data_hi = 32'(skip_q) + len_q;
      word_hi = (data_hi > 32'(BUS_BYTES)) ? (LB + 1)'(BUS_BYTES) : data_hi[LB:0];
      step = 32'(word_hi) - 32'(skip_q);
      hi = (LR + 1)'(WB);
      if ((LB + 1)'(skip_q) >= part_from + (LB + 1)'(WB)) lo = (LR + 1)'(WB);
      else if ((LB + 1)'(skip_q) > part_from) lo = (LR + 1)'((LB + 1)'(skip_q) - part_from);
      if (word_hi <= part_from) hi = '0;
      else if (word_hi < part_from + (LB + 1)'(WB)) hi = (LR + 1)'(word_hi - part_from);
      if (lo > hi) lo = hi;
    end
  end
  // Ends of the run, of the row, of the tile. In a row without padding on the right the data ends
  // the row, else the fill behind it does.
  assign gap = AW'(tile_c) - AW'(cc_q);  // 0 but in a last chunk that is smaller
  always_comb begin
    pl_inside = 1'b0;
    row_last = 1'b0;
    run_done = 1'b0;
    pl_last_x = 1'b0;
    data_done = 1'b0;
    row_done = 1'b0;
    if (place_q != P_OFF) begin
      pl_inside = (mid_q != '0) && !pl_iy_q[CW-1] && (pl_iy_q < $signed(CW'(in_h)));
      row_last = (pl_r_q + CW'(1) == rows_q);
      run_done = advance && (step == len_q);
      pl_last_x = !chunked || (pl_x_q + CW'(1) == mid_q);
      data_done = run_done && (place_q == P_DATA) && pl_last_x;
      row_done = (place_q == P_FILL) ? run_done && !fill_then_data_q
                                     : data_done && (right_bytes_q == '0);
    end
  end
  assign moved = row_done && row_last && (pl_n_q + 16'd1 == tn_q);

  // A row costs a cycle for P_ROW, then its fills and words; an empty piece is passed over, so a
  // row inside an image without padding is data only.
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) place_q <= P_OFF;
    else if (clear_i) place_q <= P_OFF;
    else if (start_move) place_q <= P_ROW;
    else begin
      case (place_q)
        P_ROW: place_q <= (pl_inside && left_bytes_q == '0) ? P_DATA : P_FILL;
        P_FILL: if (run_done) place_q <= fill_then_data_q ? P_DATA : moved ? P_OFF : P_ROW;
        P_DATA: if (data_done) place_q <= (right_bytes_q != '0) ? P_FILL : moved ? P_OFF : P_ROW;
        default: begin end
      endcase
    end
  end

  // The write, registered. Byte 0 of the part goes to wr_addr_o, which may lie before the row's
  // first byte. The bytes before it belong to another row; the mask leaves them alone.
  logic [BUS_BYTES*8-1:0] part;
  always_comb begin
    part = '0;
    if (data_fire) part = rd_rsp_data_i >> {part_from, 3'd0};
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) wr_valid_o <= 1'b0;
    else wr_valid_o <= fire;
  end
  always_ff @(posedge clk_i) begin
    if (fire) begin
      wr_half_o <= half_q;
      wr_mask_o <= ({ROWS{1'b1}} << lo) & ~({ROWS{1'b1}} << hi);
      if (place_q == P_FILL) begin
        wr_addr_o <= {pl_at_q[AW-1:LR], LR'(0)};
        wr_data_o <= {ROWS{desc_i.in_zp[7:0]}};
      end else begin
        wr_addr_o <= pl_at_q - AW'(skip_q) + AW'(part_from);
        wr_data_o <= (ROWS * 8)'(part);
      end
    end
  end

  // Where the next byte goes and how many follow in this run. A run is one of the row's up to three
  // pieces, or a column of the middle one; at its end the length of what follows is taken over.
  // Whether a run ends is known last, so both places that may follow are worked out beside it.
  logic [31:0] data_bytes;
  logic [AW-1:0] at_next, at_column;
  assign data_bytes = chunked ? cc_q : mid_bytes_q;
  assign at_next = pl_at_q + AW'(step);
  assign at_column = (pl_at_q + gap) + AW'(step);
  always_ff @(posedge clk_i) begin
    if (advance) begin
      pl_at_q <= (run_done && place_q == P_DATA) ? at_column : at_next;
      len_q <= !run_done ? len_q - step : data_done ? right_bytes_q : data_bytes;
    end else if (place_q == P_ROW) begin
      pl_at_q <= pl_row_q;
      len_q <= !pl_inside ? row_bytes_q : (left_bytes_q != '0) ? left_bytes_q : data_bytes;
    end
  end
  // Where in the bus word we are. Only the first word of a run begins before its data. All words
  // after it are used from their first byte on.
  always_ff @(posedge clk_i) begin
    if (data_fire) begin
      sub_q <= !word_done ? sub_q + SB'(1) : '0;
      if (word_done) skip_q <= run_done ? pl_col_low_q + in_c[LB-1:0] : '0;
      if (run_done) begin
        fill_then_data_q <= 1'b0;
        pl_col_low_q <= pl_col_low_q + in_c[LB-1:0];
        pl_x_q <= pl_x_q + CW'(1);
      end
    end else if (place_q == P_ROW) begin
      sub_q <= '0;
      skip_q <= pl_low_q;
      pl_col_low_q <= pl_low_q;
      pl_x_q <= '0;
      fill_then_data_q <= pl_inside;
    end
  end
  // The next row, or the first row of the next image: where it goes and where in a bus word it
  // begins. Rows lie row_pitch bytes apart in the scratchpad, whatever their length: the host
  // chooses the pitch so that a packed k-tile's lanes fall into different banks.
  always_ff @(posedge clk_i) begin
    if (row_done) begin
      if (!row_last) begin
        pl_r_q <= pl_r_q + CW'(1);
        pl_iy_q <= pl_iy_q + CW'(1);
        pl_row_q <= pl_row_q + desc_i.row_pitch[AW-1:0];
        if (pl_inside) pl_low_q <= pl_low_q + in_row_q[LB-1:0];
      end else begin
        pl_n_q <= pl_n_q + 16'd1;
        pl_row_q <= pl_img_q + img_pitch_q;
        pl_low_q <= pl_img_low_q + in_img_q[LB-1:0];
        pl_img_q <= pl_img_q + img_pitch_q;
        pl_img_low_q <= pl_img_low_q + in_img_q[LB-1:0];
        pl_r_q <= '0;
        pl_iy_q <= iy0_q;
      end
    end else if (start_move) begin
      pl_n_q <= '0;
      pl_r_q <= '0;
      pl_iy_q <= iy0_q;
      pl_row_q <= '0;
      pl_img_q <= '0;
      pl_low_q <= in_base_q[LB-1:0];
      pl_img_low_q <= in_base_q[LB-1:0];
    end
  end

  // Sums of products: address of the first byte inside the image, first output element. The three
  // products of each come in the order of the list, so the first one starts the sum.
  always_ff @(posedge clk_i) begin
    if (wb_valid_q) begin
      if (wb_q == M_IN_N || wb_q == M_IN_Y || wb_q == M_IN_X) begin
        in_base_q <= ((wb_q != M_IN_N) ? in_base_q : desc_i.in_addr) + product +
            ((wb_q == M_IN_X) ? c0_q : '0);
      end
      if (wb_q == M_OUT_N || wb_q == M_OUT_Y || wb_q == M_OUT_X)
        out_base_q <= ((wb_q != M_OUT_N) ? out_base_q : '0) + product;
    end
  end

  // On to the next chunk of channels, block of outputs, tile: columns before rows before images.
  // Blocks are a loop here only for a CONV2D whose channels come in chunks: the chunks have to be
  // loaded again for every block.
  always_ff @(posedge clk_i) begin
    if (state_q == NEXT) begin
      if (last_chunk) o_q <= last_block ? '0 : o_q + 32'(COLS);
      c0_q <= last_chunk ? '0 : c0_q + cc_q;
      if (last_chunk && last_block) begin
        x0_q <= (x_end >= 17'(out_w)) ? '0 : x_end[15:0];
        if (x_end >= 17'(out_w)) y0_q <= (y_end >= 17'(out_h)) ? '0 : y_end[15:0];
        if (x_end >= 17'(out_w) && y_end >= 17'(out_h)) n0_q <= n_end[15:0];
      end
    end else if (state_q == IDLE && start_i) begin
      n0_q <= '0;
      y0_q <= '0;
      x0_q <= '0;
      o_q <= '0;
      c0_q <= '0;
    end
  end
  // Products of the command first, later tiles begin behind them.
  always_ff @(posedge clk_i) begin
    if (state_q == MULTIPLY) pc_q <= pc_q + 5'd1;
    else if (state_q == SETUP) pc_q <= M_IY0;
    else if (state_q == IDLE) pc_q <= '0;
  end

  // SRAM_WRITES counts every byte of the region, fill included.
  assign cnt_sram_writes_o = fire ? hi - lo : '0;

  logic unused;
  assign unused = ^{rd_rsp_last_i, part, product, kh_ext_q[31:CW], kw_ext_q[31:CW],
      mid_bytes_q[31:24], xa[CW-1:16], data_hi};

`ifndef SYNTHESIS
  // Requests and placement agree about where a row ends.
  assert property (@(posedge clk_i) disable iff (!rst_ni)
                   data_fire && word_done |-> rd_rsp_last_i == (data_hi <= 32'(BUS_BYTES)));
  // A region starts only when both processes have finished the one before.
  assert property (@(posedge clk_i) disable iff (!rst_ni)
                   !(start_move && (rq_active_q || place_q != P_OFF)));
  // Only a full half is given back.
  assert property (@(posedge clk_i) disable iff (!rst_ni) (full_q & release_i) == release_i);
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                   rd_req_valid_o && !rd_req_ready_i |=>
                       rd_req_valid_o && $stable(rd_req_addr_o) && $stable(rd_req_bytes_o));
`endif

endmodule
