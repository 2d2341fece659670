// SPDX-License-Identifier: Apache-2.0
// Input tiles: walks the tiles of CONV2D, DEPTHWISE and POOL (CONTRACT.md, Tiles), fetches each tile's input region into a free half of
// the scratchpad, fills rows and columns outside the image with the input zero point, and tells the other engines where the tile lies.
// Two processes share a tile: one issues a read request per image row, the other places what comes back; so requests run ahead.
// The products of shape fields (strides in bytes, region sizes) come from one multiplier, one per cycle, before a tile's first request.
module npu_load #(
  parameter int unsigned ROWS = npu_pkg::ROWS_DEFAULT,
  parameter int unsigned COLS = npu_pkg::COLS_DEFAULT,
  parameter int unsigned BUS_BYTES = npu_pkg::BUS_BYTES_DEFAULT,
  parameter int unsigned ACT_BYTES = npu_pkg::ACT_BYTES_DEFAULT,
  localparam int unsigned AW = $clog2(ACT_BYTES),
  localparam int unsigned LR = $clog2(ROWS),
  localparam int unsigned TILE_BITS = 3 * 16 + AW + 2 * 26 + 32 + 1  // {last, out_base, ix0, iy0, img_pitch, tw, th, tn}
) (
  input  logic                          clk_i,
  input  logic                          rst_ni,
  input  logic                          clear_i,
  input  logic                          start_i,
  input  npu_pkg::desc_t desc_i,
  output logic                          busy_o,
  // per command, valid with the first tile token
  output logic [AW-1:0]                 step_y_o,    // scratchpad bytes between output rows
  output logic [AW-1:0]                 tap_x_o,     // ... between taps
  output logic [AW-1:0]                 tap_y_o,
  output logic [31:0]                   run_bytes_o, // kernel_w * in_c: a kernel row of a packed dot product
  output logic [31:0]                   packed_k_o,  // kernel_h * kernel_w * in_c
  output logic [31:0]                   out_row_o,   // output elements in a row, an image
  output logic [31:0]                   out_img_o,
  // one token per tile, to all that work on tiles at once
  output logic                          tile_valid_o,
  input  logic                          tile_ready_i,
  output logic [TILE_BITS-1:0]          tile_o,
  // halves of the scratchpad
  output logic [1:0]                    full_o,
  output logic [2*AW-1:0]               step_x_o,    // of each half: scratchpad bytes between output columns
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
  localparam int unsigned SUBS = (BUS_BYTES > ROWS) ? BUS_BYTES / ROWS : 1;  // scratchpad writes per bus word
  localparam int unsigned SB = (SUBS > 1) ? $clog2(SUBS) : 1;
  localparam int unsigned WB = (BUS_BYTES > ROWS) ? ROWS : BUS_BYTES;        // bytes in each
  localparam int unsigned CW = 26;                                          // signed image coordinates

  // Fields.
  logic [15:0] n, in_h, in_w, out_h, out_w, tile_n, tile_h, tile_w, kernel_h, kernel_w;
  logic [31:0] in_c, out_c, tile_c;
  logic chunked;
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
  assign chunked = tile_c < in_c;
  // Images of the output at a pitch: a multiple of the element's bytes, so elements can count it.
  logic [31:0] out_pitch;
  logic [1:0] out_shift;
  assign out_pitch = desc_i.out_pitch;
  assign out_shift = desc_i.flags.out32 ? 2'd2 : {1'b0, desc_i.flags.out16};

  localparam logic [2:0] IDLE = 3'd0, MULTIPLY = 3'd1, SETUP = 3'd2, PUSH = 3'd3, MOVE = 3'd4, NEXT = 3'd5;
  localparam logic [4:0] PC_TILE = 5'd15, PC_END = 5'd31;
  logic [2:0] state_q;
  logic [4:0] pc_q, wb_q;
  logic wb_valid_q;

  // Where we are.
  logic [15:0] n0_q, y0_q, x0_q, tn_q, th_q, tw_q;
  logic [31:0] o_q, c0_q, cc_q;  // channel block and chunk
  logic half_q;
  logic [1:0] full_q;
  logic [16:0] n_end, y_end, x_end;
  logic last_tile, last_chunk, last_block;
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
      last_block = !chunked || (o_q + 32'(COLS) >= out_c);
    end
  end

  // Products.
  logic [31:0] in_row_q, in_img_q, kh_ext_q, kw_ext_q, in_base_q, out_base_q, row_bytes_q, left_bytes_q, mid_bytes_q, right_bytes_q;
  logic signed [CW-1:0] iy0_q, ix0_q;
  logic [CW-1:0] rows_q, cols_q, left_q, mid_q;
  logic [15:0] ya_q, xa_q;
  logic [AW-1:0] img_pitch_q, px_q;
  logic [31:0] mul_a, mul_b, mul_a_q, mul_b_q, product;
  assign product = mul_a_q * mul_b_q;

  always_comb begin
    mul_a = '0;
    mul_b = '0;
    if (state_q == MULTIPLY) case (pc_q)
      5'd0: begin mul_a = 32'(in_w); mul_b = in_c; end
      5'd1: begin mul_a = 32'(kernel_h) - 32'd1; mul_b = 32'(desc_i.dilation_h); end
      5'd2: begin mul_a = in_row_q; mul_b = 32'(in_h); end
      5'd3: begin mul_a = 32'(kernel_w) - 32'd1; mul_b = 32'(desc_i.dilation_w); end
      5'd4: begin mul_a = 32'(out_w); mul_b = out_c; end
      5'd5: begin mul_a = 32'(desc_i.stride_h); mul_b = desc_i.row_pitch; end
      5'd6: begin mul_a = out_row_o; mul_b = 32'(out_h); end
      5'd7: begin mul_a = 32'(desc_i.dilation_w); mul_b = in_c; end
      5'd8: begin mul_a = 32'(desc_i.dilation_h); mul_b = desc_i.row_pitch; end
      5'd9: begin mul_a = 32'(kernel_w); mul_b = in_c; end
      5'd11: begin mul_a = run_bytes_o; mul_b = 32'(kernel_h); end
      PC_TILE: begin mul_a = 32'(y0_q); mul_b = 32'(desc_i.stride_h); end
      5'd16: begin mul_a = 32'(x0_q); mul_b = 32'(desc_i.stride_w); end
      5'd17: begin mul_a = 32'(th_q) - 32'd1; mul_b = 32'(desc_i.stride_h); end
      5'd18: begin mul_a = 32'(tw_q) - 32'd1; mul_b = 32'(desc_i.stride_w); end
      5'd19: begin mul_a = 32'(rows_q); mul_b = desc_i.row_pitch; end
      5'd20: begin mul_a = 32'(n0_q); mul_b = in_img_q; end
      5'd21: begin mul_a = 32'(cols_q); mul_b = cc_q; end
      5'd22: begin mul_a = 32'(left_q); mul_b = cc_q; end
      5'd23: begin mul_a = 32'(mid_q); mul_b = cc_q; end
      5'd24: begin mul_a = 32'(ya_q); mul_b = in_row_q; end
      5'd25: begin mul_a = 32'(n0_q); mul_b = out_img_o; end
      5'd26: begin mul_a = 32'(xa_q); mul_b = in_c; end
      5'd27: begin mul_a = 32'(y0_q); mul_b = out_row_o; end
      5'd28: begin mul_a = 32'(desc_i.stride_w); mul_b = cc_q; end
      5'd29: begin mul_a = 32'(x0_q); mul_b = out_c; end
      default: begin end
    endcase
  end

  // Columns of the region inside the image.
  logic signed [CW-1:0] ix_end, xa, xe;
  always_comb begin
    ix_end = '0;
    xa = '0;
    xe = '0;
    if (state_q == MULTIPLY && pc_q == 5'd20) begin
      ix_end = ix0_q + $signed(cols_q);
      xa = ix0_q[CW-1] ? '0 : ix0_q;
      xe = (ix_end < $signed(CW'(in_w))) ? ix_end : $signed(CW'(in_w));
    end
  end

  always_ff @(posedge clk_i) begin
    if (state_q == MULTIPLY) begin
      mul_a_q <= mul_a;
      mul_b_q <= mul_b;
      wb_q <= pc_q;
      if (pc_q == 5'd20) begin
        left_q <= (xe > xa) ? xa - ix0_q : cols_q;
        mid_q <= (xe > xa) ? xe - xa : '0;
        xa_q <= xa[15:0];
        ya_q <= iy0_q[CW-1] ? '0 : iy0_q[15:0];
      end
    end
    if (wb_valid_q) begin
      case (wb_q)
        5'd0: in_row_q <= product;
        5'd1: kh_ext_q <= product + 32'd1;
        5'd2: in_img_q <= product;
        5'd3: kw_ext_q <= product + 32'd1;
        5'd4: out_row_o <= product;
        5'd5: step_y_o <= product[AW-1:0];
        5'd6: out_img_o <= (out_pitch == '0) ? product : out_pitch >> out_shift;
        5'd7: tap_x_o <= product[AW-1:0];
        5'd8: tap_y_o <= product[AW-1:0];
        5'd9: run_bytes_o <= product;
        5'd11: packed_k_o <= product;
        PC_TILE: iy0_q <= $signed(product[CW-1:0]) - $signed(CW'(desc_i.pad_top));
        5'd16: ix0_q <= $signed(product[CW-1:0]) - $signed(CW'(desc_i.pad_left));
        5'd17: rows_q <= product[CW-1:0] + kh_ext_q[CW-1:0];
        5'd18: cols_q <= product[CW-1:0] + kw_ext_q[CW-1:0];
        5'd19: img_pitch_q <= product[AW-1:0];
        5'd21: row_bytes_q <= product;
        5'd22: left_bytes_q <= product;
        5'd23: begin
          mid_bytes_q <= product;
          right_bytes_q <= row_bytes_q - left_bytes_q - product;
        end
        5'd28: px_q <= product[AW-1:0];
        default: begin end
      endcase
    end
  end

  assign tile_valid_o = (state_q == PUSH) && need_push_q;
  assign tile_o = {last_tile, out_base_q, ix0_q, iy0_q, img_pitch_q, tw_q, th_q, tn_q};
  assign full_o = full_q;
  assign busy_o = (state_q != IDLE);

  // Sequence of tiles, blocks, chunks.
  logic start_move, moved;
  logic need_push_q;
  logic first_part, pc_command, pc_end;  // first chunk and block of the tile; last product of the command, of the tile
  always_comb begin
    first_part = 1'b0;
    pc_command = 1'b0;
    pc_end = 1'b0;
    if (state_q == SETUP) first_part = (c0_q == '0) && (o_q == '0);
    if (state_q == MULTIPLY) begin
      pc_command = (pc_q == PC_TILE - 5'd1);
      pc_end = (pc_q == PC_END);
    end
  end
  assign start_move = (state_q == PUSH) && (!need_push_q || tile_ready_i) && !full_q[half_q];
  // A token goes once, even when the half is not free yet.
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

  always_ff @(posedge clk_i) begin
    if (state_q == SETUP) begin
      tn_q <= (n_end > 17'(n)) ? n - n0_q : tile_n;
      th_q <= (y_end > 17'(out_h)) ? out_h - y0_q : tile_h;
      tw_q <= (x_end > 17'(out_w)) ? out_w - x0_q : tile_w;
      cc_q <= (c0_q + tile_c > in_c) ? in_c - c0_q : tile_c;
    end
  end

  // Requests.
  logic rq_active_q, rq_inside, rq_last, rq_end, rq_next;  // a step never meets the start of the next region
  logic [15:0] rq_n_q;
  logic [CW-1:0] rq_r_q;
  logic signed [CW-1:0] rq_iy_q;
  logic [31:0] rq_addr_q, rq_img_q;
  always_comb begin
    rq_inside = 1'b0;
    rq_last = 1'b0;
    rq_end = 1'b0;
    if (rq_active_q) begin
      rq_inside = (mid_q != '0) && !rq_iy_q[CW-1] && (rq_iy_q < $signed(CW'(in_h)));
      rq_last = (rq_r_q + CW'(1) == rows_q);
      rq_end = rq_last && (rq_n_q + 16'd1 == tn_q);
    end
  end
  assign rd_req_valid_o = rq_active_q && rq_inside;
  assign rd_req_addr_o = rq_addr_q;
  assign rd_req_bytes_o = mid_bytes_q[23:0];
  assign rq_next = rq_active_q && (!rq_inside || rd_req_ready_i);
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) rq_active_q <= 1'b0;
    else if (clear_i) rq_active_q <= 1'b0;
    else if (start_move) rq_active_q <= 1'b1;
    else if (rq_next && rq_end) rq_active_q <= 1'b0;
  end
  always_ff @(posedge clk_i) begin
    if (rq_next) begin
      if (!rq_last) begin
        rq_r_q <= rq_r_q + CW'(1);
        rq_iy_q <= rq_iy_q + CW'(1);
        if (rq_inside) rq_addr_q <= rq_addr_q + in_row_q;
      end else begin
        rq_n_q <= rq_n_q + 16'd1;
        rq_addr_q <= rq_img_q + in_img_q;
        rq_img_q <= rq_img_q + in_img_q;
        rq_r_q <= '0;
        rq_iy_q <= iy0_q;
      end
    end else if (start_move) begin
      rq_n_q <= '0;
      rq_r_q <= '0;
      rq_iy_q <= iy0_q;
      rq_addr_q <= in_base_q;
      rq_img_q <= in_base_q;
    end
  end

  // Placement.
  localparam logic [1:0] P_OFF = 2'd0, P_ROW = 2'd1, P_FILL = 2'd2, P_DATA = 2'd3;
  logic [1:0] place_q;
  logic fill_then_data_q;             // after the fill comes the row's data, else its end
  logic [15:0] pl_n_q;
  logic [CW-1:0] pl_r_q;
  logic signed [CW-1:0] pl_iy_q;
  logic [AW-1:0] pl_row_q, pl_img_q, pl_at_q;
  logic [LB-1:0] pl_low_q, pl_img_low_q;  // memory address of the row, within a bus word
  logic [31:0] len_q;                 // bytes left of a fill or of the data
  logic [LB-1:0] skip_q;              // bytes of the word before the data
  logic [SB-1:0] sub_q;
  logic pl_inside, row_done, row_last, fire, data_fire, word_done, advance, run_done;
  logic [31:0] data_hi, step;         // end of the run in this word; bytes of the run that this step takes
  logic [LB:0] word_hi, part_from;    // bytes of the word, of its part, that belong to the row
  logic [LR:0] lo, hi;                // bytes of the write
  assign data_fire = (place_q == P_DATA) && rd_rsp_valid_i;
  assign fire = (place_q == P_FILL) || data_fire;
  assign word_done = (32'(sub_q) == 32'(SUBS - 1));
  assign rd_rsp_ready_o = (place_q == P_DATA) && word_done;
  assign part_from = (SUBS > 1) ? (LB + 1)'(32'(sub_q) * 32'(WB)) : '0;
  assign advance = (place_q == P_FILL) || (data_fire && word_done);
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
  always_comb begin
    pl_inside = 1'b0;
    row_last = 1'b0;
    run_done = 1'b0;
    row_done = 1'b0;
    if (place_q != P_OFF) begin
      pl_inside = (mid_q != '0) && !pl_iy_q[CW-1] && (pl_iy_q < $signed(CW'(in_h)));
      row_last = (pl_r_q + CW'(1) == rows_q);
      run_done = advance && (step == len_q);
      row_done = run_done && ((place_q == P_FILL) ? !fill_then_data_q : (right_bytes_q == '0));
    end
  end
  assign moved = row_done && row_last && (pl_n_q + 16'd1 == tn_q);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) place_q <= P_OFF;
    else if (clear_i) place_q <= P_OFF;
    else if (start_move) place_q <= P_ROW;
    else begin
      case (place_q)
        P_ROW: place_q <= (pl_inside && left_bytes_q == '0) ? P_DATA : P_FILL;
        P_FILL: if (run_done) place_q <= fill_then_data_q ? P_DATA : moved ? P_OFF : P_ROW;
        P_DATA: if (run_done) place_q <= (right_bytes_q != '0) ? P_FILL : moved ? P_OFF : P_ROW;
        default: begin end
      endcase
    end
  end

  // The write, registered. Byte 0 of the part goes to wr_addr_o, which may lie before the row's first byte.
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

  always_ff @(posedge clk_i) begin
    if (advance) begin
      pl_at_q <= pl_at_q + AW'(step);
      len_q <= !run_done ? len_q - step : (place_q == P_FILL) ? mid_bytes_q : right_bytes_q;
    end else if (place_q == P_ROW) begin
      pl_at_q <= pl_row_q;
      len_q <= !pl_inside ? row_bytes_q : (left_bytes_q != '0) ? left_bytes_q : mid_bytes_q;
    end
  end
  always_ff @(posedge clk_i) begin
    if (data_fire) begin
      sub_q <= !word_done ? sub_q + SB'(1) : '0;
      if (word_done) skip_q <= '0;
      if (run_done) fill_then_data_q <= 1'b0;
    end else if (place_q == P_ROW) begin
      sub_q <= '0;
      skip_q <= pl_low_q;
      fill_then_data_q <= pl_inside;
    end
  end
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

  // Sums of products.
  always_ff @(posedge clk_i) begin
    if (wb_valid_q) begin
      if (wb_q == 5'd20 || wb_q == 5'd24 || wb_q == 5'd26) begin
        in_base_q <= ((wb_q != 5'd20) ? in_base_q : desc_i.in_addr) + product + ((wb_q == 5'd26) ? c0_q : '0);
      end
      if (wb_q == 5'd25 || wb_q == 5'd27 || wb_q == 5'd29) out_base_q <= ((wb_q != 5'd25) ? out_base_q : '0) + product;
    end
  end

  // Place in the command, and in the list of products.
  always_ff @(posedge clk_i) begin
    if (state_q == NEXT) begin
      step_x_o[half_q*AW +: AW] <= px_q;
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
  always_ff @(posedge clk_i) begin
    if (state_q == MULTIPLY) pc_q <= pc_q + 5'd1;
    else if (state_q == SETUP) pc_q <= PC_TILE;
    else if (state_q == IDLE) pc_q <= '0;
  end

  assign cnt_sram_writes_o = fire ? hi - lo : '0;

  logic unused;
  assign unused = ^{rd_rsp_last_i, part, product, kh_ext_q[31:CW], kw_ext_q[31:CW], mid_bytes_q[31:24], xa[CW-1:16], data_hi};

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) data_fire && word_done |-> rd_rsp_last_i == (data_hi <= 32'(BUS_BYTES)));
  assert property (@(posedge clk_i) disable iff (!rst_ni) !(start_move && (rq_active_q || place_q != P_OFF)));
  assert property (@(posedge clk_i) disable iff (!rst_ni) (full_q & release_i) == release_i);
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                   rd_req_valid_o && !rd_req_ready_i |=> rd_req_valid_o && $stable(rd_req_addr_o) && $stable(rd_req_bytes_o));
`endif

endmodule
