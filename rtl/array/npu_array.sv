// SPDX-License-Identifier: Apache-2.0
// The array: takes one k-tile at a time (its weights wait in the shadow registers) and multiplies it with every position of the tile,
// one position per cycle, without a bubble between k-tiles, blocks and tiles as long as weights, input and accumulators are ready.
// Halves of the scratchpad and of the accumulators alternate. A finished block of accumulators is handed to the drain.
// Cycles after the position: 1 bank address, 2 bank data, 3 activations (and weights swapped), 4 products, 5 sum, 6 accumulate.
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
  localparam int unsigned MB = LR + LC + 1,
  localparam int unsigned GEO_BITS = 3 * 16 + AW
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic                   clear_i,
  input  logic                   run_i,          // a CONV2D or DEPTHWISE is being executed
  input  logic [AW-1:0]          step_y_i,
  // tiles: {img_pitch, tw, th, tn}
  input  logic                   tile_valid_i,
  output logic                   tile_ready_o,
  input  logic [GEO_BITS-1:0]    tile_i,
  // halves of the scratchpad
  input  logic [1:0]             full_i,
  input  logic [2*AW-1:0]        step_x_i,
  output logic [1:0]             release_o,
  output logic                   rd_valid_o,
  output logic                   rd_half_o,
  output logic [AW-1:0]          rd_base_o,
  output logic [ROWS*AW-1:0]     rd_off_o,
  output logic [LR:0]            rd_lanes_o,
  input  logic [ROWS*32-1:0]     act_i,
  // k-tiles
  input  logic                   kt_valid_i,
  output logic                   kt_ready_o,
  input  logic [ROWS*AW-1:0]     kt_off_i,
  input  logic [LR:0]            kt_lanes_i,
  input  logic [MB-1:0]          kt_weights_i,   // weights that take part
  input  logic                   kt_first_i,     // of a block: accumulators start from zero
  input  logic                   kt_last_i,      // of a block
  input  logic                   kt_load_i,      // first on a new half of the scratchpad
  input  logic                   kt_unload_i,    // last on it
  input  logic                   kt_tile_i,      // first of a tile
  input  logic                   kt_end_i,       // last of the command
  input  logic                   shadow_we_i,
  input  logic                   shadow_across_i,
  input  logic [LL-1:0]          shadow_at_i,
  input  logic [LINE*16-1:0]     shadow_i,
  output logic                   swap_o,         // the shadow registers are free at the end of this cycle
  // drain
  output logic [1:0]             block_valid_o,  // accumulators of a half are complete
  output logic [2*PW-1:0]        block_last_o,   // its last position
  input  logic [1:0]             block_free_i,   // pulse: all read
  input  logic                   dr_read_i,
  input  logic                   dr_half_i,
  input  logic [PW-1:0]          dr_pos_i,
  input  logic                   dr_select_i,    // a cycle after the read or later: group of lanes to dr_acc_o
  input  logic [GB-1:0]          dr_group_i,
  input  logic                   dr_select_half_i,
  output logic [RQ_LANES*64-1:0] dr_acc_o,       // 40 bits, sign-extended: aligned as the lanes of npu_scratchpad
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

  // Next halves, and what is in use.
  logic load_half_q, acc_half_q;  // of the next k-tile that asks for one
  logic [1:0] busy_q;             // accumulators being filled or drained
  logic expect_load_q, end_q;

  // The k-tile being multiplied.
  logic active_q, first_pos_q, k_first_q, k_last_q, unload_q, k_end_q, sp_half_q, half_q;
  logic [ROWS*AW-1:0] off_q;
  logic [LR:0] lanes_q;
  logic [MB-1:0] weights_q;
  logic [15:0] tn_q, th_q, tw_q, n_q, y_q, x_q;
  logic [AW-1:0] pitch_q, px_q, p_q, py_q, pn_q;
  logic [PW-1:0] pos_q;

  logic last_x, last_y, last_pos, k_done, take, ready_half, ready_acc;
  assign last_x = (x_q == 16'd1);
  assign last_y = (y_q == 16'd1);
  assign last_pos = last_x && last_y && (n_q == 16'd1);
  assign k_done = active_q && last_pos;
  assign ready_half = !kt_load_i || full_i[load_half_q];
  assign ready_acc = !kt_first_i || !busy_q[acc_half_q];
  assign kt_ready_o = (!active_q || last_pos) && ready_half && ready_acc && (!kt_tile_i || tile_valid_i);
  assign take = kt_valid_i && kt_ready_o;
  assign tile_ready_o = take && kt_tile_i;

  logic [15:0] tn, th, tw;
  logic [AW-1:0] pitch;
  assign tn = kt_tile_i ? tile_i[15:0] : tn_q;
  assign th = kt_tile_i ? tile_i[31:16] : th_q;
  assign tw = kt_tile_i ? tile_i[47:32] : tw_q;
  assign pitch = kt_tile_i ? tile_i[48 +: AW] : pitch_q;

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
      else if (take && kt_load_i) load_half_q <= !load_half_q;
      if (take && kt_first_i) acc_half_q <= !acc_half_q;
      if (take) expect_load_q <= kt_unload_i;
      if (take) end_q <= kt_end_i;
      else if (!run_i) end_q <= 1'b0;
    end
  end

  always_ff @(posedge clk_i) begin
    if (take) begin
      k_first_q <= kt_first_i;
      k_last_q <= kt_last_i;
      unload_q <= kt_unload_i;
      k_end_q <= kt_end_i;
      off_q <= kt_off_i;
      lanes_q <= kt_lanes_i;
      weights_q <= kt_weights_i;
      if (kt_load_i) begin
        sp_half_q <= load_half_q;
        px_q <= step_x_i[load_half_q*AW +: AW];
      end
      if (kt_first_i) half_q <= acc_half_q;
      tn_q <= tn;
      th_q <= th;
      tw_q <= tw;
      pitch_q <= pitch;
    end
  end
  // What is read by others is written after them: a simulator then needs no second copy of it.
  always_ff @(posedge clk_i) begin
    if (active_q && !take) begin
      p_q <= !last_x ? p_q + px_q : !last_y ? py_q + step_y_i : pn_q + pitch_q;
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

  // The position on its way: valid and flags of cycles 1..5 after the read.
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
  assign swap_o = swap_q[2];
  assign release_o[0] = unload_pipe_q[2] && !unload_half_q[2];
  assign release_o[1] = unload_pipe_q[2] && unload_half_q[2];

  // Accumulators: cycle 4 reads, cycle 5 writes; the drain reads the other half.
  logic acc_read, rd0, rd1;
  logic [PW-1:0] rd0_pos, rd1_pos;
  assign acc_read = v_q[4] && !first_q[4];
  assign rd0 = (acc_read && !halves_q[4]) || (dr_read_i && !dr_half_i);
  assign rd1 = (acc_read && halves_q[4]) || (dr_read_i && dr_half_i);
  assign rd0_pos = (dr_read_i && !dr_half_i) ? dr_pos_i : pos4;
  assign rd1_pos = (dr_read_i && dr_half_i) ? dr_pos_i : pos4;

  logic [COLS*32-1:0] dot;
  npu_dot #(.ROWS(ROWS), .COLS(COLS)) u_dot (
    .clk_i, .shadow_we_i, .shadow_across_i, .shadow_at_i, .shadow_i, .swap_i(swap_o), .act_i, .mul_i(v_q[3]), .sum_i(v_q[4]), .dot_o(dot)
  );

  logic sel_half;
  assign sel_half = dr_select_half_i;
  for (genvar j = 0; j < COLS; j++) begin : gen_column
    logic signed [39:0] acc0, acc1, acc;
    npu_accumulator #(.ACC_DEPTH(ACC_DEPTH)) u_accumulator (
      .clk_i, .dot_i(dot[j*32 +: 32]), .add_i(v_q[5]), .first_i(first_q[5]), .half_i(halves_q[5]), .wr_pos_i(pos5),
      .rd0_i(rd0), .rd1_i(rd1), .rd0_pos_i(rd0_pos), .rd1_pos_i(rd1_pos), .rd0_o(acc0), .rd1_o(acc1)
    );
    assign acc = sel_half ? acc1 : acc0;
  end

  // A group of columns for the drain.
  for (genvar l = 0; l < RQ_LANES; l++) begin : gen_lane
    logic [GROUPS*64-1:0] choice;
    for (genvar g = 0; g < GROUPS; g++) begin : gen_choice
      assign choice[g*64 +: 64] = dr_select_i ? 64'(gen_column[g*RQ_LANES+l].acc) : '0;
    end
    if (GROUPS > 1) begin : gen_mux
      always_ff @(posedge clk_i) if (dr_select_i) dr_acc_o[l*64 +: 64] <= choice[dr_group_i*64 +: 64];
    end else begin : gen_only
      logic unused_group;
      assign unused_group = dr_group_i[0];
      always_ff @(posedge clk_i) if (dr_select_i) dr_acc_o[l*64 +: 64] <= choice;
    end
  end

  // Blocks.
  for (genvar h = 0; h < 2; h++) begin : gen_block
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) begin
        busy_q[h] <= 1'b0;
        block_valid_o[h] <= 1'b0;
      end else if (clear_i) begin
        busy_q[h] <= 1'b0;
        block_valid_o[h] <= 1'b0;
      end else begin
        if (take && kt_first_i && acc_half_q == 1'(h)) busy_q[h] <= 1'b1;
        else if (block_free_i[h]) busy_q[h] <= 1'b0;
        if (v_q[5] && block_q[5] && halves_q[5] == 1'(h)) block_valid_o[h] <= 1'b1;
        else if (block_free_i[h]) block_valid_o[h] <= 1'b0;
      end
    end
    always_ff @(posedge clk_i) begin
      if (v_q[5] && block_q[5] && halves_q[5] == 1'(h)) block_last_o[h*PW +: PW] <= pos5;
    end
  end

  // Events.
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

  logic unused;
  assign unused = k_end_q;

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) active_q && pos_q == '1 |-> last_pos);
  // Reading an accumulator before its last write would lose the write.
  assert property (@(posedge clk_i) disable iff (!rst_ni) acc_read && v_q[5] && halves_q[4] == halves_q[5] |-> pos4 != pos5);
  assert property (@(posedge clk_i) disable iff (!rst_ni) acc_read && dr_read_i |-> halves_q[4] != dr_half_i);
  assert property (@(posedge clk_i) disable iff (!rst_ni) dr_read_i |-> block_valid_o[dr_half_i]);
  // The word read last stays until its last group is selected.
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i) dr_select_i |-> block_valid_o[dr_select_half_i]);
`endif

endmodule
