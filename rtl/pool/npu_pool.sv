// SPDX-License-Identifier: Apache-2.0
// Pooling: one tap of a block of channels per cycle from the scratchpad, positions back to back.
// Taps outside the image are read like the others and ignored. Finished windows wait in a short
// queue, are divided (average: eight steps, all lanes at once), clamped and handed to the write
// combiner. A tap needs a scratchpad access of its own, so a window costs as many cycles as it has
// taps; division runs beside the next windows. In and out share a scale and there is no
// requantization (CONTRACT.md, Pooling).
module npu_pool #(
  parameter int unsigned ROWS = npu_pkg::ROWS_DEFAULT,
  parameter int unsigned COLS = npu_pkg::COLS_DEFAULT,
  parameter int unsigned ACT_BYTES = npu_pkg::ACT_BYTES_DEFAULT,
  parameter int unsigned RQ_LANES = npu_pkg::RQ_LANES_DEFAULT,
  localparam int unsigned AW = $clog2(ACT_BYTES),
  localparam int unsigned LR = $clog2(ROWS),
  localparam int unsigned SEG = RQ_LANES * 2,
  localparam int unsigned SW = $clog2(SEG + 1)
) (
  input  logic                          clk_i,
  input  logic                          rst_ni,
  input  logic                          clear_i,
  input  logic                          start_i,
  input  npu_pkg::desc_t                desc_i,
  input  logic [AW-1:0]                 step_x_i,
  input  logic [AW-1:0]                 step_y_i,
  input  logic [AW-1:0]                 tap_x_i,
  input  logic [AW-1:0]                 tap_y_i,
  input  logic [31:0]                   out_row_i,
  input  logic [31:0]                   out_img_i,
  // tiles: see npu_load
  input  logic                          tile_valid_i,
  output logic                          tile_ready_o,
  input  npu_types::tile_t              tile_i,
  // Scratchpad: a read per tap, of the block's channels as neighbouring lanes. rd_base_o is the
  // position's place, rd_off_o the tap's distance from it.
  input  logic [1:0]                    full_i,
  output logic [1:0]                    release_o,
  output logic                          rd_valid_o,
  output logic                          rd_half_o,
  output logic [AW-1:0]                 rd_base_o,
  output logic [AW-1:0]                 rd_off_o,
  output logic [LR:0]                   rd_lanes_o,
  input  logic [ROWS*32-1:0]            act_i,       // three cycles after rd_valid_o, zero point 0
  // Output segments: see npu_drain. A position's channels follow each other.
  output logic                          seg_valid_o,
  input  logic                          seg_ready_i,
  output logic [31:0]                   seg_addr_o,
  output logic [SW-1:0]                 seg_bytes_o,
  output logic [SEG*8-1:0]              seg_data_o,
  output logic                          seg_last_o,
  // pulse: the last segment of the command was taken
  output logic                          end_o,
  output logic                          busy_o,
  output logic [LR:0]                   cnt_ops_o
);

  localparam int unsigned LANES = (ROWS < COLS) ? ROWS : COLS;
  localparam int unsigned SUM = 24;  // 65535 taps of -128
  localparam int unsigned CW = 26;

  logic maximum;
  logic [16:0] channels, tile_c;
  logic [15:0] kernel_h, kernel_w, in_h, in_w;
  logic [CW-1:0] stride_h, stride_w, dil_h, dil_w;
  // in_c is the number of output channels as well. Kernel and dilation are those of a convolution,
  // so npu_load's steps between taps serve here too.
  assign maximum = desc_i.flags.max;
  assign channels = desc_i.in_c[16:0];
  assign tile_c = desc_i.tile_c[16:0];
  assign kernel_h = desc_i.kernel_h;
  assign kernel_w = desc_i.kernel_w;
  assign in_h = desc_i.in_h;
  assign in_w = desc_i.in_w;
  assign stride_h = CW'(desc_i.stride_h);
  assign stride_w = CW'(desc_i.stride_w);
  assign dil_h = CW'(desc_i.dilation_h);
  assign dil_w = CW'(desc_i.dilation_w);

  // Reader: waits for a tile and its half of the scratchpad, then block of channels by block of
  // channels P_BLOCK (start values), P_RUN (a tap per cycle), P_DRAIN (until its last output left,
  // for the results are clamped and stored with the block's geometry).
  typedef enum logic [1:0] {
    P_WAIT = 2'd0, P_BLOCK = 2'd1, P_RUN = 2'd2, P_DRAIN = 2'd3
  } state_t;
  state_t state_q;
  logic half_q;
  logic [16:0] chunk_q, size_q, rest_channels;  // first channel of the chunk, its channels
  logic [16:0] o_q, left;                       // first channel of the block in the chunk
  logic [LR:0] nc_q;
  // What is left: images, rows and columns of the tile, rows and columns of the window.
  logic [15:0] n_q, y_q, x_q, ky_q, kx_q;
  // Scratchpad: of the position, of its row's and its image's first position; of the tap, of its
  // row's first tap. Image: of the position's first tap, of this tap.
  logic [AW-1:0] p_q, py_q, pn_q, tap_q, tap_row_q;
  logic signed [CW-1:0] iy_pos_q, ix_pos_q, iy_q, ix_q;
  logic chunk_end, first_tap, last_kx, last_tap, last_x, last_y, last_pos, last_block, issue, in_image, slot,
      block_end, out_done;
  // All counters run down, so their ends compare with 1. in_image says whether the tap lies inside
  // the image: coordinates are signed, and padding is what lies below 0 or behind the last row or
  // column.
  assign rest_channels = channels - chunk_q;
  assign chunk_end = (rest_channels <= tile_c);
  assign left = size_q - o_q;
  assign last_block = (left == 17'(nc_q));
  assign last_kx = (kx_q == 16'd1);
  assign last_tap = last_kx && (ky_q == 16'd1);
  assign first_tap = (kx_q == kernel_w) && (ky_q == kernel_h);
  assign last_x = (x_q == 16'd1);
  assign last_y = (y_q == 16'd1);
  assign last_pos = last_x && last_y && (n_q == 16'd1);
  assign in_image = !iy_q[CW-1] && (iy_q < $signed(CW'(in_h))) &&
                    !ix_q[CW-1] && (ix_q < $signed(CW'(in_w)));
  assign issue = (state_q == P_RUN) && (!last_tap || slot);
  assign block_end = issue && last_tap && last_pos;
  assign tile_ready_o = (state_q == P_DRAIN) && out_done && last_block;
  assign busy_o = (state_q != P_WAIT);

  // A tile keeps its half of the scratchpad until its last block has been written: every block
  // reads the region again, for other channels.
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q <= P_WAIT;
      half_q <= 1'b0;
    end else if (clear_i) begin
      state_q <= P_WAIT;
      half_q <= 1'b0;
    end else begin
      case (state_q)
        P_WAIT: if (tile_valid_i && full_i[half_q]) state_q <= P_BLOCK;
        P_BLOCK: state_q <= P_RUN;
        P_RUN: if (block_end) state_q <= P_DRAIN;
        default: if (out_done) begin
          state_q <= last_block ? P_WAIT : P_BLOCK;
          if (last_block) half_q <= !half_q;
        end
      endcase
      if (start_i) half_q <= 1'b0;
    end
  end

  // The walk: columns of taps, rows of taps, then columns, rows and images of positions. What is
  // read by others is written after them: a simulator then needs no second copy of it. Two places
  // move side by side: the one in the scratchpad, which decides what is read, and the one in the
  // image, which decides whether it counts. Each has the position's start beside the tap's, to go
  // back to after the last tap of a row and of the window.
  always_ff @(posedge clk_i) begin
    if (issue) begin
      tap_q <= !last_kx ? tap_q + tap_x_i : !last_tap ? tap_row_q + tap_y_i : '0;
      ix_q <= !last_kx ? ix_q + $signed(dil_w) : !last_tap ? ix_pos_q
              : !last_x ? ix_pos_q + $signed(stride_w) : tile_i.ix0;
      if (last_kx) begin  // next row of taps, or position
        tap_row_q <= !last_tap ? tap_row_q + tap_y_i : '0;
        iy_q <= !last_tap ? iy_q + $signed(dil_h) : !last_x ? iy_pos_q
                : !last_y ? iy_pos_q + $signed(stride_h) : tile_i.iy0;
      end
      if (last_tap) begin
        p_q <= !last_x ? p_q + step_x_i : !last_y ? py_q + step_y_i : pn_q + tile_i.img_pitch[AW-1:0];
        ix_pos_q <= !last_x ? ix_pos_q + $signed(stride_w) : tile_i.ix0;
      end
      if (last_tap && last_x) begin
        py_q <= !last_y ? py_q + step_y_i : pn_q + tile_i.img_pitch[AW-1:0];
        iy_pos_q <= !last_y ? iy_pos_q + $signed(stride_h) : tile_i.iy0;
      end
      if (last_tap && last_x && last_y) begin
        pn_q <= pn_q + tile_i.img_pitch[AW-1:0];
        n_q <= n_q - 16'd1;
      end
      if (last_tap && last_x) y_q <= !last_y ? y_q - 16'd1 : tile_i.th;
      if (last_tap) x_q <= !last_x ? x_q - 16'd1 : tile_i.tw;
      if (last_kx) ky_q <= !last_tap ? ky_q - 16'd1 : kernel_h;
      kx_q <= !last_kx ? kx_q - 16'd1 : kernel_w;
    end else if (state_q == P_BLOCK) begin
      n_q <= tile_i.tn;
      y_q <= tile_i.th;
      x_q <= tile_i.tw;
      ky_q <= kernel_h;
      kx_q <= kernel_w;
      p_q <= AW'(o_q);
      py_q <= AW'(o_q);
      pn_q <= AW'(o_q);
      tap_q <= '0;
      tap_row_q <= '0;
      iy_pos_q <= tile_i.iy0;
      ix_pos_q <= tile_i.ix0;
      iy_q <= tile_i.iy0;
      ix_q <= tile_i.ix0;
    end
  end
  // First channel of the block in its chunk, and how many it has. Each chunk of channels comes as a
  // tile of its own (npu_load); after a tile's last one the next tile begins.
  always_ff @(posedge clk_i) begin
    if (state_q == P_DRAIN) begin
      if (out_done) o_q <= o_q + 17'(nc_q);
      if (out_done && last_block) chunk_q <= chunk_end ? '0 : chunk_q + tile_c;
    end else if (state_q == P_WAIT) begin
      o_q <= '0;
      size_q <= chunk_end ? rest_channels : tile_c;
      if (start_i) chunk_q <= '0;
    end
  end
  always_ff @(posedge clk_i) begin
    if (state_q == P_BLOCK) nc_q <= (left > 17'(LANES)) ? (LR + 1)'(LANES) : left[LR:0];
  end

  // All of a tap's channels are read at once; SRAM_READS counts one per tap, position and block,
  // inside the image or not (CONTRACT.md, Scratchpad).
  assign rd_valid_o = issue;
  assign rd_half_o = half_q;
  assign rd_base_o = p_q;
  assign rd_off_o = tap_q;
  assign rd_lanes_o = nc_q;
  assign cnt_ops_o = issue ? nc_q : '0;
  assign release_o[0] = tile_ready_o && !half_q;
  assign release_o[1] = tile_ready_o && half_q;

  // The window that is being collected: a sum, or the largest value so far, per lane, and how many
  // taps lay inside the image. Valid, first, last, inside travel with the read, three cycles long.
  // These are the scratchpad's cycles for address, bank and lane. 65,535 taps of -128 need 24
  // signed bits, so a sum never wraps.
  logic [3:1] v_q, first_q, last_q, in_q;
  logic [LANES*SUM-1:0] sum_q;
  logic [15:0] count_q;
  logic window_q;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      v_q <= '0;
      window_q <= 1'b0;
    end else if (clear_i) begin
      v_q <= '0;
      window_q <= 1'b0;
    end else begin
      v_q <= {v_q[2:1], issue};
      window_q <= v_q[3] && last_q[3];
    end
  end
  always_ff @(posedge clk_i) begin
    if (issue || v_q != '0) begin
      first_q <= {first_q[2:1], first_tap};
      last_q <= {last_q[2:1], last_tap};
      in_q <= {in_q[2:1], in_image};
    end
    // The first tap replaces what the window before has left; taps outside the image change
    // nothing. A window that begins outside starts from 0, or from -128 for a maximum, and so
    // leaves the result to the taps that follow.
    if (v_q[3]) begin
      count_q <= (first_q[3] ? 16'd0 : count_q) + 16'(in_q[3]);
      for (int unsigned l = 0; l < LANES; l++) begin
        if (first_q[3]) begin
          sum_q[l*SUM +: SUM] <= in_q[3] ? SUM'($signed(act_i[l*32 +: 9]))
                                 : maximum ? -SUM'(128) : '0;
        end else if (in_q[3]) begin
          if (!maximum)
            sum_q[l*SUM +: SUM] <= sum_q[l*SUM +: SUM] + SUM'($signed(act_i[l*32 +: 9]));
          else if ($signed(SUM'($signed(act_i[l*32 +: 9]))) > $signed(sum_q[l*SUM +: SUM]))
            sum_q[l*SUM +: SUM] <= SUM'($signed(act_i[l*32 +: 9]));
        end
      end
    end
  end

  // Finished windows. A place is reserved before a window's last tap is read, because what has been
  // read cannot be stopped: the scratchpad's pipeline has no way to wait. The reader stops at a
  // window's last tap instead, until there is a place.
  localparam int unsigned SLOTS = 4;
  logic [2:0] used_q;
  logic q_ready, q_valid, q_pop;
  logic [LANES*SUM+15:0] q_data;
  assign slot = (used_q != 3'(SLOTS));
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) used_q <= '0;
    else if (clear_i) used_q <= '0;
    else if ((issue && last_tap) && !q_pop) used_q <= used_q + 3'd1;
    else if (!(issue && last_tap) && q_pop) used_q <= used_q - 3'd1;
  end
  npu_fifo #(.WIDTH(LANES * SUM + 16), .DEPTH(SLOTS)) u_windows (
    .clk_i, .rst_ni, .clear_i, .push_valid_i(window_q), .push_ready_o(q_ready),
    .push_data_i({count_q, sum_q}), .pop_valid_o(q_valid), .pop_ready_i(q_pop), .pop_data_o(q_data)
  );

  // Division of the magnitude, rounded: (|sum| + n / 2) / n, a bit per cycle, bit 7 first. |sum| +
  // n / 2 <= 128 n + n / 2, so the quotient has eight bits. A maximum passes through undivided.
  // Dividing the magnitude rounds halves away from zero, alike for both signs, as the contract's
  // truncating division does. Eight cycles are hidden behind windows of eight taps and more.
  logic out_valid_q, dividing_q, res_load, res_free, seg_take;
  logic [2:0] bit_q;
  logic [15:0] div_q;
  logic [LANES*(SUM+1)-1:0] rem_q;
  logic [LANES*8-1:0] quot_q;
  logic [LANES-1:0] neg_q;
  logic [LANES*8-1:0] result;
  assign res_load = q_valid && !dividing_q && (!out_valid_q || res_free);
  assign q_pop = res_load;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      dividing_q <= 1'b0;
      out_valid_q <= 1'b0;
    end else if (clear_i) begin
      dividing_q <= 1'b0;
      out_valid_q <= 1'b0;
    end else begin
      if (res_load && !maximum) dividing_q <= 1'b1;
      else if (dividing_q && bit_q == 3'd0) dividing_q <= 1'b0;
      if ((res_load && maximum) || (dividing_q && bit_q == 3'd0)) out_valid_q <= 1'b1;
      else if (res_free) out_valid_q <= 1'b0;
    end
  end
  // Restoring division, all lanes in step: a bit of the quotient is 1 where the divisor, shifted to
  // that bit, can still be subtracted. n / 2 is the count without its lowest bit.
  always_ff @(posedge clk_i) begin
    if (res_load) begin
      bit_q <= 3'd7;
      div_q <= q_data[LANES*SUM +: 16];
      for (int unsigned l = 0; l < LANES; l++) begin
        neg_q[l] <= q_data[l*SUM+SUM-1];
        quot_q[l*8 +: 8] <= q_data[l*SUM +: 8];  // of a maximum
        rem_q[l*(SUM+1) +: SUM+1] <=
            {1'b0, q_data[l*SUM+SUM-1] ? -q_data[l*SUM +: SUM] : q_data[l*SUM +: SUM]} +
            (SUM + 1)'(q_data[LANES*SUM+1 +: 15]);
      end
    end else if (dividing_q) begin
      bit_q <= bit_q - 3'd1;
      for (int unsigned l = 0; l < LANES; l++) begin
        quot_q[l*8 + 32'(bit_q)] <= (rem_q[l*(SUM+1) +: SUM+1] >= ((SUM + 1)'(div_q) << bit_q));
        if (rem_q[l*(SUM+1) +: SUM+1] >= ((SUM + 1)'(div_q) << bit_q)) begin
          rem_q[l*(SUM+1) +: SUM+1] <= rem_q[l*(SUM+1) +: SUM+1] - ((SUM + 1)'(div_q) << bit_q);
        end
      end
    end
  end
  // Sign and clamp. A window without a tap inside the image averages to 0. A maximum of such a
  // window is -128 from the start; both are then clamped like any other value.
  logic signed [15:0] act_min, act_max;
  assign act_min = desc_i.act_min;
  assign act_max = desc_i.act_max;
  logic signed [15:0] value;
  always_comb begin
    result = '0;
    value = '0;
    if (out_valid_q) begin
      for (int unsigned l = 0; l < LANES; l++) begin
        if (maximum) value = 16'($signed(quot_q[l*8 +: 8]));
        else if (div_q == '0) value = '0;
        else if (neg_q[l]) value = -$signed({8'd0, quot_q[l*8 +: 8]});
        else value = $signed({8'd0, quot_q[l*8 +: 8]});
        result[l*8 +: 8] = (value < act_min) ? act_min[7:0]
                           : (value > act_max) ? act_max[7:0] : value[7:0];
      end
    end
  end

  // Output: a position's channels in segments, as many as it takes at two bytes per output lane.
  // The result stays until its last segment was taken; then npu_walk goes on to the next position.
  logic [LR:0] done_q, rest;
  logic [31:0] at;
  logic walk_last;
  assign rest = nc_q - done_q;
  assign seg_valid_o = out_valid_q;
  assign seg_last_o = (32'(rest) <= 32'(SEG));
  assign seg_bytes_o = seg_last_o ? SW'(rest) : SW'(SEG);
  logic [LANES*8-1:0] result_rest;
  assign result_rest = result >> {done_q, 3'd0};
  assign seg_data_o = (SEG * 8)'(result_rest);
  assign seg_addr_o = desc_i.out_addr + at + 32'(done_q);
  assign seg_take = seg_valid_o && seg_ready_i;
  assign res_free = seg_take && seg_last_o;
  assign out_done = res_free && walk_last;
  assign end_o = out_done && last_block && tile_i.last;
  always_ff @(posedge clk_i) begin
    if (state_q == P_BLOCK) done_q <= '0;
    else if (seg_take) done_q <= seg_last_o ? '0 : done_q + (LR + 1)'(SEG);
  end
  npu_walk u_out (
    .clk_i, .load_i(state_q == P_BLOCK), .base_i(tile_i.out_base + 32'(chunk_q) + 32'(o_q)),
    .tn_i(tile_i.tn), .th_i(tile_i.th), .tw_i(tile_i.tw), .step_i(res_free), .col_i(desc_i.in_c), .row_i(out_row_i),
    .img_i(out_img_i), .at_o(at), .last_o(walk_last)
  );

  logic unused;
  assign unused = ^{act_i, q_ready, result_rest, value, tile_i};

`ifndef SYNTHESIS
  // The reservation holds: a finished window always finds its place.
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i) window_q |-> q_ready);
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                   out_done |-> state_q == P_DRAIN);
`endif

endmodule
