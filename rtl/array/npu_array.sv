// SPDX-License-Identifier: Apache-2.0
// The array: takes one k-tile at a time (its weights wait in the shadow registers) and multiplies
// it with every position of the tile, one position per cycle, without a bubble between k-tiles,
// blocks and tiles as long as weights, input and accumulators are ready. Halves of the scratchpad
// and of the accumulators alternate. A finished block of accumulators is handed to the drain.
// Cycles after the position: 1 bank address, 2 bank data, 3 activations (and weights swapped), 4
// products, 5 sum, 6 accumulate.
module npu_array #(
  parameter int unsigned ROWS = npu_pkg::ROWS_DEFAULT,
  parameter int unsigned COLS = npu_pkg::COLS_DEFAULT,
  parameter int unsigned ACT_BYTES = npu_pkg::ACT_BYTES_DEFAULT,
  parameter int unsigned ACC_DEPTH = npu_pkg::ACC_DEPTH_DEFAULT,
  parameter int unsigned RQ_LANES = npu_pkg::RQ_LANES_DEFAULT,
  localparam int unsigned AW = $clog2(ACT_BYTES),
  localparam int unsigned LR = $clog2(ROWS),
  localparam int unsigned LC = $clog2(COLS),
  localparam int unsigned LINE = (ROWS > COLS) ? ROWS : COLS,
  localparam int unsigned LL = $clog2(LINE),
  localparam int unsigned PW = $clog2(ACC_DEPTH),
  localparam int unsigned GROUPS = (COLS > RQ_LANES) ? COLS / RQ_LANES : 1,
  localparam int unsigned GB = (GROUPS > 1) ? $clog2(GROUPS) : 1,
  localparam int unsigned MB = LR + LC + 1
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic                   clear_i,
  input  logic                   run_i,          // a CONV2D or DEPTHWISE is being executed
  input  logic [AW-1:0]          step_x_i,
  input  logic [AW-1:0]          step_y_i,
  // Tiles: the geometry of the next one, popped with the tile's first k-tile.
  input  logic                   tile_valid_i,
  output logic                   tile_ready_o,
  input  npu_types::array_tile_t tile_i,
  // Halves of the scratchpad: full_i says which ones hold a loaded region; release_o gives one back
  // for the next region. rd_base_o is the position's place, rd_off_o the offset of each lane.
  input  logic [1:0]             full_i,
  output logic [1:0]             release_o,
  output logic                   rd_valid_o,
  output logic                   rd_half_o,
  output logic [AW-1:0]          rd_base_o,
  output logic [ROWS*AW-1:0]     rd_off_o,
  output logic [LR:0]            rd_lanes_o,
  input  logic [ROWS*32-1:0]     act_i,
  // K-tiles: valid once all weights are in the shadow registers. Offsets and lanes say which bytes
  // of the scratchpad the rows read, the marks what begins or ends with this k-tile.
  input  logic                   kt_valid_i,
  output logic                   kt_ready_o,
  input  logic [ROWS*AW-1:0]     kt_off_i,
  input  logic [LR:0]            kt_lanes_i,
  input  logic [MB-1:0]          kt_weights_i,   // weights that take part
  input  npu_types::marks_t      kt_marks_i,
  input  logic                   shadow_we_i,
  input  logic                   shadow_across_i,
  input  logic [LL-1:0]          shadow_at_i,
  input  logic [LINE*16-1:0]     shadow_i,
  // the shadow registers are free at the end of this cycle
  output logic                   swap_o,
  // drain
  output logic [1:0]             block_valid_o,  // accumulators of a half are complete
  output logic [2*PW-1:0]        block_last_o,   // its last position
  input  logic [1:0]             block_free_i,   // pulse: all read
  input  logic                   dr_read_i,
  input  logic                   dr_half_i,
  input  logic [PW-1:0]          dr_pos_i,
  // a cycle after the read or later: group of lanes to dr_acc_o
  input  logic                   dr_select_i,
  input  logic [GB-1:0]          dr_group_i,
  input  logic                   dr_select_half_i,
  // 40 bits, sign-extended: aligned as the lanes of npu_scratchpad
  output logic [RQ_LANES*64-1:0] dr_acc_o,
  // events
  output logic                   cnt_active_o,
  output logic                   cnt_stall_load_o,
  output logic                   cnt_stall_weight_o,
  output logic                   cnt_stall_drain_o,
  output logic [MB-1:0]          cnt_macs_o,
  output logic [MB-1:0]          cnt_weight_loads_o,
  output logic [1:0]             cnt_acc_reads_o,
  output logic                   cnt_acc_write_o
);

  // Both memories in front of and behind the multipliers have two halves that are used in turn.
  // These point at the half that the next tile or block will use. expect_load_q says that the next
  // k-tile needs a new half of the scratchpad; end_q that the command's last k-tile was taken. Both
  // only serve to name the cause of a stall.
  logic load_half_q, acc_half_q;  // of the next k-tile that asks for one
  logic [1:0] busy_q;             // accumulators being filled or drained
  logic expect_load_q, end_q;

  // The k-tile being multiplied. n_q, y_q and x_q count down what is left of the tile's images,
  // rows and columns. p_q is the scratchpad byte of the position; py_q and pn_q are those of the
  // first position of its row and of its image, from which the next row and image start. pos_q is
  // the accumulator of the position: positions are numbered in the order of the walk.
  logic active_q, first_pos_q, k_first_q, k_last_q, unload_q, sp_half_q, half_q;
  logic [ROWS*AW-1:0] off_q;
  logic [LR:0] lanes_q;
  logic [MB-1:0] weights_q;
  logic [15:0] tn_q, th_q, tw_q, n_q, y_q, x_q;
  logic [AW-1:0] pitch_q, p_q, py_q, pn_q;
  logic [PW-1:0] pos_q;

  logic last_x, last_y, last_pos, k_done, take, ready_half, ready_acc;
  // A k-tile is taken in the cycle of the last position of the one before, so that no cycle is lost
  // between them. It needs its region loaded (if it is the first on a half), its accumulators free
  // (if it is the first of its block) and its tile's geometry (if it is the first of its tile).
  // Later k-tiles of the same half, block and tile inherit all of this.
  assign last_x = (x_q == 16'd1);
  assign last_y = (y_q == 16'd1);
  assign last_pos = last_x && last_y && (n_q == 16'd1);
  assign k_done = active_q && last_pos;
  assign ready_half = !kt_marks_i.load || full_i[load_half_q];
  assign ready_acc = !kt_marks_i.first || !busy_q[acc_half_q];
  assign kt_ready_o = (!active_q || last_pos) && ready_half && ready_acc &&
      (!kt_marks_i.tile || tile_valid_i);
  assign take = kt_valid_i && kt_ready_o;
  assign tile_ready_o = take && kt_marks_i.tile;

  // The first k-tile of a tile brings the tile's geometry with it, later ones keep it.
  logic [15:0] tn, th, tw;
  logic [AW-1:0] pitch;
  assign tn = kt_marks_i.tile ? tile_i.tn : tn_q;
  assign th = kt_marks_i.tile ? tile_i.th : th_q;
  assign tw = kt_marks_i.tile ? tile_i.tw : tw_q;
  assign pitch = kt_marks_i.tile ? tile_i.img_pitch[AW-1:0] : pitch_q;

  // The halves change over when a k-tile takes one, not when it is finished: what comes next is
  // then already waiting for the other half. A region's half begins at 0 in every command, as in
  // npu_load; the accumulators' half goes on alternating, in step with the drain's.
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      active_q <= 1'b0;
      load_half_q <= 1'b0;
      acc_half_q <= 1'b0;
      expect_load_q <= 1'b1;
      end_q <= 1'b1;
    end else if (clear_i) begin
      active_q <= 1'b0;
      load_half_q <= 1'b0;
      acc_half_q <= 1'b0;
      expect_load_q <= 1'b1;
      end_q <= 1'b1;
    end else begin
      if (take) active_q <= 1'b1;
      else if (last_pos) active_q <= 1'b0;
      if (!run_i) load_half_q <= 1'b0;
      else if (take && kt_marks_i.load) load_half_q <= !load_half_q;
      if (take && kt_marks_i.first) acc_half_q <= !acc_half_q;
      if (take) expect_load_q <= kt_marks_i.unload;
      if (take) end_q <= kt_marks_i.finish;
      else if (!run_i) end_q <= 1'b0;
    end
  end

  // What the k-tile is, while it is multiplied: first and last of its block, offsets of its lanes,
  // the halves of scratchpad and accumulators that it works on. They change only with a new k-tile,
  // so that everything behind them is stable for its duration.
  always_ff @(posedge clk_i) begin
    if (take) begin
      k_first_q <= kt_marks_i.first;
      k_last_q <= kt_marks_i.last;
      unload_q <= kt_marks_i.unload;
      off_q <= kt_off_i;
      lanes_q <= kt_lanes_i;
      weights_q <= kt_weights_i;
      if (kt_marks_i.load) sp_half_q <= load_half_q;
      if (kt_marks_i.first) half_q <= acc_half_q;
      tn_q <= tn;
      th_q <= th;
      tw_q <= tw;
      pitch_q <= pitch;
    end
  end
  // The walk over its positions: columns, rows, images. What is read by others is written after
  // them: a simulator then needs no second copy of it. At the end of a row or image the walk goes back
  // to that row's or image's start and adds the larger step from there.
  always_ff @(posedge clk_i) begin
    if (active_q && !take) begin
      p_q <= !last_x ? p_q + step_x_i : !last_y ? py_q + step_y_i : pn_q + pitch_q;
      if (last_x) py_q <= !last_y ? py_q + step_y_i : pn_q + pitch_q;
      if (last_x && last_y) begin
        pn_q <= pn_q + pitch_q;
        n_q <= n_q - 16'd1;
      end
      if (last_x) y_q <= !last_y ? y_q - 16'd1 : th_q;
      x_q <= !last_x ? x_q - 16'd1 : tw_q;
      pos_q <= pos_q + PW'(1);
      first_pos_q <= 1'b0;
    end else if (take) begin
      n_q <= tn;
      y_q <= th;
      x_q <= tw;
      p_q <= '0;
      py_q <= '0;
      pn_q <= '0;
      pos_q <= '0;
      first_pos_q <= 1'b1;
    end
  end

  assign rd_valid_o = active_q;
  assign rd_half_o = sp_half_q;
  assign rd_base_o = p_q;
  assign rd_off_o = off_q;
  assign rd_lanes_o = lanes_q;

  // The position on its way: valid and flags of cycles 1..5 after the read. The scratchpad needs
  // three of these cycles, the multipliers two; the flags keep step with the data so that each
  // stage knows whether to work and for which accumulator. The registers move only while something
  // is in them.
  logic [5:1] v_q;
  logic [5:1] first_q, halves_q, block_q;
  logic [2:1] swap_q, unload_pipe_q, unload_half_q;
  logic [5*PW-1:0] pos_pipe_q;
  logic [PW-1:0] pos4, pos5;
  assign pos4 = pos_pipe_q[3*PW +: PW];
  assign pos5 = pos_pipe_q[4*PW +: PW];
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      v_q <= '0;
      unload_pipe_q <= '0;
      swap_q <= '0;
    end else if (clear_i) begin
      v_q <= '0;
      unload_pipe_q <= '0;
      swap_q <= '0;
    end else if (active_q || v_q != '0) begin
      v_q <= {v_q[4:1], active_q};
      swap_q <= {swap_q[1], active_q && first_pos_q};
      unload_pipe_q <= {unload_pipe_q[1], k_done && unload_q};
    end
  end
  always_ff @(posedge clk_i) begin
    if (active_q || v_q != '0) begin
      first_q <= {first_q[4:1], k_first_q};
      halves_q <= {halves_q[4:1], half_q};
      block_q <= {block_q[4:1], k_done && k_last_q};
      unload_half_q <= {unload_half_q[1], sp_half_q};
      pos_pipe_q <= {pos_pipe_q[4*PW-1:0], pos_q};
    end
  end
  // The k-tile's weights move from the shadow registers into the multipliers two cycles after its
  // first position was read: just before its first activations arrive, and after the last
  // activations of the k-tile before have been multiplied. The half of the scratchpad is given back
  // two cycles after its last read, when the banks have been read.
  assign swap_o = swap_q[2];
  assign release_o[0] = unload_pipe_q[2] && !unload_half_q[2];
  assign release_o[1] = unload_pipe_q[2] && unload_half_q[2];

  // Accumulators: cycle 4 reads, cycle 5 writes; the drain reads the other half, so each memory has
  // one reader per cycle. The assertion at the end shows that array and drain never meet on one
  // half. Even in a tile of a single position the sum of the k-tile before has been written when it
  // is read again: the next k-tile's weights enter the shadow registers only after the swap, so it
  // begins several cycles later.
  logic acc_read, rd0, rd1;
  logic [PW-1:0] rd0_pos, rd1_pos;
  assign acc_read = v_q[4] && !first_q[4];
  assign rd0 = (acc_read && !halves_q[4]) || (dr_read_i && !dr_half_i);
  assign rd1 = (acc_read && halves_q[4]) || (dr_read_i && dr_half_i);
  assign rd0_pos = (dr_read_i && !dr_half_i) ? dr_pos_i : pos4;
  assign rd1_pos = (dr_read_i && dr_half_i) ? dr_pos_i : pos4;

  logic [COLS*32-1:0] dot;
  npu_dot #(.ROWS(ROWS), .COLS(COLS)) u_dot (
    .clk_i, .shadow_we_i, .shadow_across_i, .shadow_at_i, .shadow_i, .swap_i(swap_o), .act_i,
    .mul_i(v_q[3]), .sum_i(v_q[4]), .dot_o(dot)
  );

  for (genvar j = 0; j < COLS; j++) begin : gen_column
    logic signed [39:0] acc0, acc1, acc;
    npu_accumulator #(.ACC_DEPTH(ACC_DEPTH)) u_accumulator (
      .clk_i, .dot_i(dot[j*32 +: 32]), .add_i(v_q[5]), .first_i(first_q[5]), .half_i(halves_q[5]),
      .wr_pos_i(pos5), .rd0_i(rd0), .rd1_i(rd1), .rd0_pos_i(rd0_pos), .rd1_pos_i(rd1_pos),
      .rd0_o(acc0), .rd1_o(acc1)
    );
    assign acc = dr_select_half_i ? acc1 : acc0;
  end

  // The drain takes RQ_LANES columns at a time. A position's word is read once and stays at the
  // memories' outputs, and this register picks one group after the other out of it.
  for (genvar l = 0; l < RQ_LANES; l++) begin : gen_lane
    logic [GROUPS*64-1:0] choice;
    for (genvar g = 0; g < GROUPS; g++) begin : gen_choice
      assign choice[g*64 +: 64] = dr_select_i ? 64'(gen_column[g*RQ_LANES+l].acc) : '0;
    end
    if (GROUPS > 1) begin : gen_mux
      always_ff @(posedge clk_i)
        if (dr_select_i) dr_acc_o[l*64 +: 64] <= choice[dr_group_i*64 +: 64];
    end else begin : gen_only
      logic unused_group;
      assign unused_group = dr_group_i[0];
      always_ff @(posedge clk_i) if (dr_select_i) dr_acc_o[l*64 +: 64] <= choice;
    end
  end

  // Blocks: a half of the accumulators is busy from its block's first position until the drain has
  // read it all, and valid from its last position on. The array may begin the next block as soon as
  // the other half is not busy.
  for (genvar h = 0; h < 2; h++) begin : gen_block
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) begin
        busy_q[h] <= 1'b0;
        block_valid_o[h] <= 1'b0;
      end else if (clear_i) begin
        busy_q[h] <= 1'b0;
        block_valid_o[h] <= 1'b0;
      end else begin
        if (take && kt_marks_i.first && acc_half_q == 1'(h)) busy_q[h] <= 1'b1;
        else if (block_free_i[h]) busy_q[h] <= 1'b0;
        if (v_q[5] && block_q[5] && halves_q[5] == 1'(h)) block_valid_o[h] <= 1'b1;
        else if (block_free_i[h]) block_valid_o[h] <= 1'b0;
      end
    end
    always_ff @(posedge clk_i) begin
      if (v_q[5] && block_q[5] && halves_q[5] == 1'(h)) block_last_o[h*PW +: PW] <= pos5;
    end
  end

  // Events. Until the command's last k-tile is taken, a cycle in which nothing is multiplied is a
  // stall. It is booked on the first cause that applies in the order input, accumulators, weights,
  // so that the three sum up to all stalls.
  logic idle;
  assign idle = run_i && !active_q && !end_q;
  assign cnt_active_o = active_q;
  assign cnt_macs_o = active_q ? weights_q : '0;
  assign cnt_weight_loads_o = take ? kt_weights_i : '0;
  assign cnt_acc_reads_o = 2'(acc_read) + 2'(dr_read_i);
  assign cnt_acc_write_o = v_q[5];
  assign cnt_stall_load_o = idle && expect_load_q && !full_i[load_half_q];
  assign cnt_stall_drain_o = idle && !cnt_stall_load_o && kt_valid_i && !ready_acc;
  assign cnt_stall_weight_o = idle && !cnt_stall_load_o && !cnt_stall_drain_o;

`ifndef SYNTHESIS
  // A tile never has more positions than there are accumulators: npu_validate has seen to it.
  assert property (@(posedge clk_i) disable iff (!rst_ni) active_q && pos_q == '1 |-> last_pos);
  // Reading an accumulator before its last write would lose the write.
  assert property (@(posedge clk_i) disable iff (!rst_ni)
                   acc_read && v_q[5] && halves_q[4] == halves_q[5] |-> pos4 != pos5);
  assert property (@(posedge clk_i) disable iff (!rst_ni)
                   acc_read && dr_read_i |-> halves_q[4] != dr_half_i);
  assert property (@(posedge clk_i) disable iff (!rst_ni) dr_read_i |-> block_valid_o[dr_half_i]);
  // The word read last stays until its last group is selected.
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                   dr_select_i |-> block_valid_o[dr_select_half_i]);
`endif

endmodule
