// SPDX-License-Identifier: Apache-2.0
// The tensor core: everything that executes CONV2D, DEPTHWISE and POOL. Five processes, each with
// its own loops, joined by tokens: load (tiles into the scratchpad) -> array <- weight (k-tiles
// into the shadow registers); array -> drain (blocks of accumulators) <- params; drain or pool ->
// write combiner. Nobody knows another's schedule; whoever has its tokens works. A command begins
// with start_i and ends with done_o, when its last word has been accepted by the write master. In
// between every process finds its end in its last token.
module npu_core #(
  parameter int unsigned ROWS = npu_pkg::ROWS_DEFAULT,
  parameter int unsigned COLS = npu_pkg::COLS_DEFAULT,
  parameter int unsigned BUS_BYTES = npu_pkg::BUS_BYTES_DEFAULT,
  parameter int unsigned ACT_BYTES = npu_pkg::ACT_BYTES_DEFAULT,
  parameter int unsigned ACC_DEPTH = npu_pkg::ACC_DEPTH_DEFAULT,
  parameter int unsigned RQ_LANES = npu_pkg::RQ_LANES_DEFAULT,
  parameter int unsigned TRAINING = npu_pkg::TRAINING_DEFAULT,
  localparam int unsigned LR = $clog2(ROWS),
  localparam int unsigned LC = $clog2(COLS),
  localparam int unsigned MB = LR + LC + 1
) (
  input  logic                          clk_i,
  input  logic                          rst_ni,
  input  logic                          clear_i,
  input  logic                          start_i,
  input  npu_pkg::desc_t                desc_i,
  input  logic [1:0]                    polarity_i,
  input  logic                          dist_i,
  input  logic [63:0]                   seed_i,
  input  logic [63:0]                   mask_seed_i,
  output logic                          busy_o,
  output logic                          done_o,
  // Memory: read clients 0 load, 1 weight, 2 param, 3 res (the second addend), as slices of one
  // vector, and one write client.
  output logic [3:0]                    rd_req_valid_o,
  input  logic [3:0]                    rd_req_ready_i,
  output logic [4*32-1:0]               rd_req_addr_o,
  output logic [4*24-1:0]               rd_req_bytes_o,
  input  logic [3:0]                    rd_rsp_valid_i,
  output logic [3:0]                    rd_rsp_ready_o,
  input  logic [4*BUS_BYTES*8-1:0]      rd_rsp_data_i,
  input  logic [3:0]                    rd_rsp_last_i,
  output logic                          wr_valid_o,
  input  logic                          wr_ready_i,
  output logic [31:0]                   wr_addr_o,
  output logic [BUS_BYTES*8-1:0]        wr_data_o,
  output logic [BUS_BYTES-1:0]          wr_strb_o,
  // Who works, for the watchdog.
  output logic                          moving_o,       // array, drain or pool made a step
  output logic [7:0]                    waiting_o,      // engine that is stuck if nothing moves
  // Events: what the counters add in this cycle.
  output logic [MB-1:0]                 cnt_macs_o,
  output logic [6:0]                    cnt_ops_o,
  output logic                          cnt_sram_read_o,
  output logic [LR:0]                   cnt_sram_writes_o,
  output logic [1:0]                    cnt_acc_reads_o,
  output logic                          cnt_acc_write_o,
  output logic [MB-1:0]                 cnt_weight_loads_o,
  output logic [6:0]                    cnt_random_o,
  output logic [7:0]                    cnt_perturbed_o,
  output logic [7:0]                    cnt_clipped_o,
  output logic [6:0]                    cnt_sat_low_o,
  output logic [6:0]                    cnt_sat_high_o,
  output logic                          cnt_array_active_o,
  output logic                          cnt_stall_load_o,
  output logic                          cnt_stall_weight_o,
  output logic                          cnt_stall_drain_o,
  output logic                          cnt_drain_active_o,
  output logic                          cnt_pool_active_o
);

  localparam int unsigned AW = $clog2(ACT_BYTES);
  // weights of a row or a column of the array
  localparam int unsigned LINE = (ROWS > COLS) ? ROWS : COLS;
  localparam int unsigned LL = $clog2(LINE);
  localparam int unsigned PW = $clog2(ACC_DEPTH);
  localparam int unsigned GROUPS = (COLS > RQ_LANES) ? COLS / RQ_LANES : 1;
  localparam int unsigned GB = (GROUPS > 1) ? $clog2(GROUPS) : 1;
  localparam int unsigned SEG = RQ_LANES * 2;
  localparam int unsigned SW = $clog2(SEG + 1);
  localparam int unsigned DATA = BUS_BYTES * 8;

  // Command in progress. Drain or pool, whichever the command uses, say when their last segment was
  // taken; then the write combiner still has to get rid of its last word.
  logic pool, run_q, ended_q, end_drain, end_pool, store_busy;
  assign pool = (desc_i.opcode == npu_pkg::OPCODE_POOL);
  assign busy_o = run_q;
  assign done_o = ended_q && !store_busy;
  // run_q lasts from the start to done_o, and with it busy_o; ended_q remembers the end of drain or
  // pool while the write combiner still holds a word.
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      run_q <= 1'b0;
      ended_q <= 1'b0;
    end else if (clear_i) begin
      run_q <= 1'b0;
      ended_q <= 1'b0;
    end else begin
      if (start_i) run_q <= 1'b1;
      else if (done_o) run_q <= 1'b0;
      if (end_drain || end_pool) ended_q <= 1'b1;
      else if (done_o) ended_q <= 1'b0;
    end
  end

  // Tiles, to everybody at once. npu_load knows the geometry of a tile before anybody else and
  // tells it to all who work on it in one cycle, so a full queue of one of them holds up the
  // loader, never the others. Queues of four let weights and parameters run ahead of the array.
  // Each gets what it needs: weight and params whether the tile is the last, the array its size and
  // pitch, the drain its size and the place of its outputs. Pooling has one reader, which gets all
  // of it.
  logic tile_valid, tile_ready, tile_push;
  npu_types::tile_t tile;
  logic w_push_ready, p_push_ready, a_push_ready, d_push_ready, q_push_ready;
  logic w_tile_valid, w_tile_ready, w_tile_last, p_tile_valid, p_tile_ready, p_tile_last;
  logic a_tile_valid, a_tile_ready, d_tile_valid, d_tile_ready, q_tile_valid, q_tile_ready;
  npu_types::array_tile_t a_tile;
  npu_types::drain_tile_t d_tile;
  npu_types::tile_t q_tile;
  assign tile_ready = pool ? q_push_ready : w_push_ready && p_push_ready && a_push_ready &&
      d_push_ready;
  assign tile_push = tile_valid && tile_ready;
  npu_fifo #(.WIDTH(1), .DEPTH(4)) u_weight_tiles (
    .clk_i, .rst_ni, .clear_i, .push_valid_i(tile_push && !pool), .push_ready_o(w_push_ready),
    .push_data_i(tile.last), .pop_valid_o(w_tile_valid), .pop_ready_i(w_tile_ready),
    .pop_data_o(w_tile_last)
  );
  npu_fifo #(.WIDTH(1), .DEPTH(4)) u_param_tiles (
    .clk_i, .rst_ni, .clear_i, .push_valid_i(tile_push && !pool), .push_ready_o(p_push_ready),
    .push_data_i(tile.last), .pop_valid_o(p_tile_valid), .pop_ready_i(p_tile_ready),
    .pop_data_o(p_tile_last)
  );
  npu_fifo #(.WIDTH($bits(a_tile)), .DEPTH(4)) u_array_tiles (
    .clk_i, .rst_ni, .clear_i, .push_valid_i(tile_push && !pool), .push_ready_o(a_push_ready),
    .push_data_i({tile.img_pitch, tile.tw, tile.th, tile.tn}), .pop_valid_o(a_tile_valid),
    .pop_ready_i(a_tile_ready), .pop_data_o(a_tile)
  );
  npu_fifo #(.WIDTH($bits(d_tile)), .DEPTH(4)) u_drain_tiles (
    .clk_i, .rst_ni, .clear_i, .push_valid_i(tile_push && !pool), .push_ready_o(d_push_ready),
    .push_data_i({tile.out_base, tile.tw, tile.th, tile.tn}), .pop_valid_o(d_tile_valid),
    .pop_ready_i(d_tile_ready), .pop_data_o(d_tile)
  );
  // Two are enough for pooling, which keeps a tile's token until the tile is done: there are two
  // halves of the scratchpad.
  npu_fifo #(.WIDTH($bits(q_tile)), .DEPTH(2)) u_pool_tiles (
    .clk_i, .rst_ni, .clear_i, .push_valid_i(tile_push && pool), .push_ready_o(q_push_ready),
    .push_data_i(tile), .pop_valid_o(q_tile_valid), .pop_ready_i(q_tile_ready), .pop_data_o(q_tile)
  );

  // Load and scratchpad. One half is filled while the other is read; full and release pass the
  // halves to and fro. Only one of array and pool runs in a command, so their releases are joined
  // by OR and they share the scratchpad's read port.
  logic load_busy;
  logic [AW-1:0] step_x, step_y, tap_x, tap_y;
  logic [31:0] run_bytes, packed_k, chunk_out, out_row, out_img;
  logic [1:0] full, release_array, release_pool;
  logic wr_valid, wr_half;
  logic [AW-1:0] wr_addr;
  logic [ROWS-1:0] wr_mask;
  logic [ROWS*8-1:0] wr_data;
  npu_load #(.ROWS(ROWS), .COLS(COLS), .BUS_BYTES(BUS_BYTES), .ACT_BYTES(ACT_BYTES)) u_load (
    .clk_i, .rst_ni, .clear_i, .start_i, .desc_i, .busy_o(load_busy),
    .step_x_o(step_x), .step_y_o(step_y), .tap_x_o(tap_x), .tap_y_o(tap_y),
    .run_bytes_o(run_bytes), .packed_k_o(packed_k), .chunk_out_o(chunk_out), .out_row_o(out_row),
    .out_img_o(out_img), .tile_valid_o(tile_valid), .tile_ready_i(tile_ready), .tile_o(tile), .full_o(full),
    .release_i(release_array | release_pool), .rd_req_valid_o(rd_req_valid_o[0]),
    .rd_req_ready_i(rd_req_ready_i[0]), .rd_req_addr_o(rd_req_addr_o[31:0]),
    .rd_req_bytes_o(rd_req_bytes_o[23:0]), .rd_rsp_valid_i(rd_rsp_valid_i[0]),
    .rd_rsp_ready_o(rd_rsp_ready_o[0]), .rd_rsp_data_i(rd_rsp_data_i[DATA-1:0]),
    .rd_rsp_last_i(rd_rsp_last_i[0]), .wr_valid_o(wr_valid), .wr_half_o(wr_half),
    .wr_addr_o(wr_addr), .wr_mask_o(wr_mask), .wr_data_o(wr_data), .cnt_sram_writes_o
  );

  logic a_rd_valid, a_rd_half, q_rd_valid, q_rd_half, kt_packed;
  logic [AW-1:0] a_rd_base, q_rd_base, q_rd_off;
  logic [ROWS*AW-1:0] a_rd_off;
  logic [LR:0] a_rd_lanes, q_rd_lanes;
  logic [ROWS*32-1:0] act;
  // The array reads activations less their zero point. Pooling wants the values themselves, so its
  // zero point is 0; its lanes are neighbours, never packed.
  npu_scratchpad #(.ROWS(ROWS), .ACT_BYTES(ACT_BYTES)) u_scratchpad (
    .clk_i, .rst_ni, .wr_valid_i(wr_valid), .wr_half_i(wr_half), .wr_addr_i(wr_addr),
    .wr_mask_i(wr_mask), .wr_data_i(wr_data), .rd_valid_i(a_rd_valid || q_rd_valid),
    .rd_half_i(pool ? q_rd_half : a_rd_half), .rd_packed_i(kt_packed && !pool),
    .rd_base_i(pool ? q_rd_base : a_rd_base), .rd_off_i(pool ? (ROWS*AW)'(q_rd_off) : a_rd_off),
    .rd_lanes_i(pool ? q_rd_lanes : a_rd_lanes), .zero_point_i(pool ? 8'd0 : desc_i.in_zp[7:0]),
    .act_o(act)
  );
  assign cnt_sram_read_o = a_rd_valid || q_rd_valid;

  // Weights. A k-tile is offered to the array when its weights are in the shadow registers; swap
  // says when these are free for the next one. kt_ carries what the array needs beside the weights.
  logic weight_busy, kt_valid, kt_ready, shadow_we, swap;
  npu_types::marks_t kt_marks;
  logic [ROWS*AW-1:0] kt_off;
  logic [LR:0] kt_lanes;
  logic [MB-1:0] kt_weights;
  logic shadow_across;
  logic [LL-1:0] shadow_at;
  logic [LINE*16-1:0] shadow;
  logic [6:0] w_perturbed, w_clipped, b_perturbed, b_clipped;
  logic [5:0] w_random, b_random;
  npu_weight #(.ROWS(ROWS), .COLS(COLS), .BUS_BYTES(BUS_BYTES), .ACT_BYTES(ACT_BYTES),
      .TRAINING(TRAINING)) u_weight (
    .clk_i, .rst_ni, .clear_i, .desc_i, .polarity_i, .dist_i, .seed_i, .mask_seed_i,
    .tap_x_i(tap_x), .tap_y_i(tap_y), .run_bytes_i(run_bytes), .packed_k_i(packed_k),
    .chunk_out_i(chunk_out), .tile_valid_i(w_tile_valid), .tile_ready_o(w_tile_ready),
    .tile_last_i(w_tile_last),
    .busy_o(weight_busy), .rd_req_valid_o(rd_req_valid_o[1]), .rd_req_ready_i(rd_req_ready_i[1]),
    .rd_req_addr_o(rd_req_addr_o[63:32]), .rd_req_bytes_o(rd_req_bytes_o[47:24]),
    .rd_rsp_valid_i(rd_rsp_valid_i[1]), .rd_rsp_ready_o(rd_rsp_ready_o[1]),
    .rd_rsp_data_i(rd_rsp_data_i[2*DATA-1:DATA]), .rd_rsp_last_i(rd_rsp_last_i[1]),
    .kt_valid_o(kt_valid), .kt_ready_i(kt_ready), .kt_off_o(kt_off), .kt_lanes_o(kt_lanes),
    .kt_weights_o(kt_weights), .kt_marks_o(kt_marks), .kt_packed_o(kt_packed),
    .shadow_we_o(shadow_we), .shadow_across_o(shadow_across), .shadow_at_o(shadow_at),
    .shadow_o(shadow), .swap_i(swap), .cnt_perturbed_o(w_perturbed), .cnt_clipped_o(w_clipped),
    .cnt_random_o(w_random)
  );

  // Array. Blocks of finished accumulators go to the drain: block_valid until block_free, a bit per
  // half. The drain addresses the accumulators itself (dr_), in the half that the array does not
  // use.
  logic [1:0] block_valid, block_free;
  logic [2*PW-1:0] block_last;
  logic dr_read, dr_half, dr_select, dr_select_half;
  logic [PW-1:0] dr_pos;
  logic [GB-1:0] dr_group;
  logic [RQ_LANES*64-1:0] dr_acc;
  npu_array #(.ROWS(ROWS), .COLS(COLS), .ACT_BYTES(ACT_BYTES), .ACC_DEPTH(ACC_DEPTH),
      .RQ_LANES(RQ_LANES)) u_array (
    .clk_i, .rst_ni, .clear_i, .run_i(run_q && !pool), .step_x_i(step_x), .step_y_i(step_y),
    .tile_valid_i(a_tile_valid), .tile_ready_o(a_tile_ready), .tile_i(a_tile),
    .full_i(full), .release_o(release_array),
    .rd_valid_o(a_rd_valid), .rd_half_o(a_rd_half), .rd_base_o(a_rd_base), .rd_off_o(a_rd_off),
    .rd_lanes_o(a_rd_lanes), .act_i(act), .kt_valid_i(kt_valid), .kt_ready_o(kt_ready),
    .kt_off_i(kt_off), .kt_lanes_i(kt_lanes), .kt_weights_i(kt_weights), .kt_marks_i(kt_marks),
    .shadow_we_i(shadow_we), .shadow_across_i(shadow_across), .shadow_at_i(shadow_at),
    .shadow_i(shadow), .swap_o(swap), .block_valid_o(block_valid), .block_last_o(block_last),
    .block_free_i(block_free), .dr_read_i(dr_read), .dr_half_i(dr_half), .dr_pos_i(dr_pos),
    .dr_select_i(dr_select), .dr_group_i(dr_group), .dr_select_half_i(dr_select_half),
    .dr_acc_o(dr_acc), .cnt_active_o(cnt_array_active_o), .cnt_stall_load_o, .cnt_stall_weight_o,
    .cnt_stall_drain_o, .cnt_macs_o, .cnt_weight_loads_o, .cnt_acc_reads_o, .cnt_acc_write_o
  );

  // Drain. Parameters of a block come by a path of their own and wait in npu_params until the
  // block's accumulators are complete. The drain gives the accumulators back when it has read the
  // last of them and the parameters with its last output, and tells the core when the command's
  // last segment has left.
  logic params_busy, par_valid, par_free, par_tile_end, par_end, par_read, drain_busy;
  logic [16:0] par_first;
  logic [LC:0] par_channels;
  logic [GB-1:0] par_group;
  logic [RQ_LANES*32-1:0] bias;
  logic [RQ_LANES*31-1:0] mult;
  logic [RQ_LANES*8-1:0] exps;
  logic d_seg_valid, d_seg_ready, d_seg_last, q_seg_valid, q_seg_ready, q_seg_last, seg_ready;
  logic [31:0] d_seg_addr, q_seg_addr;
  logic [SW-1:0] d_seg_bytes, q_seg_bytes;
  logic [SEG*8-1:0] d_seg_data, q_seg_data;
  logic [6:0] d_ops;
  logic [LR:0] q_ops;
  // It walks the same blocks as npu_weight, from the same tiles, but at a pace of its own.
  npu_params #(.ROWS(ROWS), .COLS(COLS), .BUS_BYTES(BUS_BYTES), .RQ_LANES(RQ_LANES),
      .TRAINING(TRAINING)) u_params (
    .clk_i, .rst_ni, .clear_i, .desc_i, .polarity_i, .dist_i, .seed_i, .mask_seed_i,
    .chunk_out_i(chunk_out), .tile_valid_i(p_tile_valid), .tile_ready_o(p_tile_ready),
    .tile_last_i(p_tile_last),
    .busy_o(params_busy), .rd_req_valid_o(rd_req_valid_o[2]), .rd_req_ready_i(rd_req_ready_i[2]),
    .rd_req_addr_o(rd_req_addr_o[95:64]), .rd_req_bytes_o(rd_req_bytes_o[71:48]),
    .rd_rsp_valid_i(rd_rsp_valid_i[2]), .rd_rsp_ready_o(rd_rsp_ready_o[2]),
    .rd_rsp_data_i(rd_rsp_data_i[3*DATA-1:2*DATA]), .rd_rsp_last_i(rd_rsp_last_i[2]),
    .block_valid_o(par_valid), .block_free_i(par_free), .block_first_o(par_first),
    .block_channels_o(par_channels), .block_tile_end_o(par_tile_end), .block_end_o(par_end),
    .read_i(par_read), .group_i(par_group), .bias_o(bias), .mult_o(mult), .exp_o(exps),
    .cnt_perturbed_o(b_perturbed), .cnt_clipped_o(b_clipped), .cnt_random_o(b_random)
  );
  // Read client 3 is used with RES_ADD only.
  npu_drain #(.COLS(COLS), .BUS_BYTES(BUS_BYTES), .ACC_DEPTH(ACC_DEPTH),
      .RQ_LANES(RQ_LANES)) u_drain (
    .clk_i, .rst_ni, .clear_i, .desc_i, .out_row_i(out_row), .out_img_i(out_img),
    .tile_valid_i(d_tile_valid), .tile_ready_o(d_tile_ready), .tile_i(d_tile),
    .par_valid_i(par_valid), .par_free_o(par_free), .par_first_i(par_first),
    .par_channels_i(par_channels), .par_tile_end_i(par_tile_end), .par_end_i(par_end),
    .par_read_o(par_read), .par_group_o(par_group), .bias_i(bias), .mult_i(mult), .exp_i(exps),
    .block_valid_i(block_valid), .block_last_i(block_last), .block_free_o(block_free),
    .dr_read_o(dr_read), .dr_half_o(dr_half), .dr_pos_o(dr_pos), .dr_select_o(dr_select),
    .dr_group_o(dr_group), .dr_select_half_o(dr_select_half), .dr_acc_i(dr_acc),
    .rd_req_valid_o(rd_req_valid_o[3]), .rd_req_ready_i(rd_req_ready_i[3]),
    .rd_req_addr_o(rd_req_addr_o[127:96]), .rd_req_bytes_o(rd_req_bytes_o[95:72]),
    .rd_rsp_valid_i(rd_rsp_valid_i[3]), .rd_rsp_ready_o(rd_rsp_ready_o[3]),
    .rd_rsp_data_i(rd_rsp_data_i[4*DATA-1:3*DATA]), .rd_rsp_last_i(rd_rsp_last_i[3]),
    .seg_valid_o(d_seg_valid), .seg_ready_i(d_seg_ready), .seg_addr_o(d_seg_addr),
    .seg_bytes_o(d_seg_bytes), .seg_data_o(d_seg_data), .seg_last_o(d_seg_last), .end_o(end_drain),
    .busy_o(drain_busy), .cnt_active_o(cnt_drain_active_o), .cnt_sat_low_o, .cnt_sat_high_o,
    .cnt_ops_o(d_ops)
  );

  // Pool: reads the scratchpad like the array and delivers segments like the drain, and has neither
  // weights nor parameters.
  logic pool_busy, pool_clk, unused_on;
  npu_clock u_pool_clock (
    .clk_i, .rst_ni, .run_i(clear_i || start_i || (run_q && pool)), .on_o(unused_on),
    .clk_o(pool_clk)
  );
  npu_pool #(.ROWS(ROWS), .COLS(COLS), .ACT_BYTES(ACT_BYTES), .RQ_LANES(RQ_LANES)) u_pool (
    .clk_i(pool_clk), .rst_ni, .clear_i, .start_i, .desc_i, .step_x_i(step_x), .step_y_i(step_y),
    .tap_x_i(tap_x),
    .tap_y_i(tap_y), .out_row_i(out_row), .out_img_i(out_img), .tile_valid_i(q_tile_valid),
    .tile_ready_o(q_tile_ready), .tile_i(q_tile), .full_i(full),
    .release_o(release_pool), .rd_valid_o(q_rd_valid), .rd_half_o(q_rd_half), .rd_base_o(q_rd_base),
    .rd_off_o(q_rd_off), .rd_lanes_o(q_rd_lanes), .act_i(act), .seg_valid_o(q_seg_valid),
    .seg_ready_i(q_seg_ready), .seg_addr_o(q_seg_addr), .seg_bytes_o(q_seg_bytes),
    .seg_data_o(q_seg_data), .seg_last_o(q_seg_last), .end_o(end_pool), .busy_o(pool_busy),
    .cnt_ops_o(q_ops)
  );

  // Write combiner: takes segments from drain or pool, whose command it is.
  assign d_seg_ready = seg_ready && !pool;
  assign q_seg_ready = seg_ready && pool;
  npu_store #(.BUS_BYTES(BUS_BYTES), .SEG_BYTES(SEG)) u_store (
    .clk_i, .rst_ni, .clear_i, .in_valid_i(pool ? q_seg_valid : d_seg_valid),
    .in_ready_o(seg_ready), .in_addr_i(pool ? q_seg_addr : d_seg_addr),
    .in_bytes_i(pool ? q_seg_bytes : d_seg_bytes), .in_data_i(pool ? q_seg_data : d_seg_data),
    .in_last_i(pool ? q_seg_last : d_seg_last), .busy_o(store_busy), .wr_valid_o, .wr_ready_i,
    .wr_addr_o, .wr_data_o, .wr_strb_o
  );

  // ELEMENT_OPS of these commands are taps of pooling windows and fused additions. Weights and
  // biases are perturbed by units of their own, so what they count is added up.
  assign cnt_ops_o = pool ? 7'(q_ops) : d_ops;
  assign cnt_random_o = 7'(w_random) + 7'(b_random);
  assign cnt_perturbed_o = 8'(w_perturbed) + 8'(b_perturbed);
  assign cnt_clipped_o = 8'(w_clipped) + 8'(b_clipped);
  assign cnt_pool_active_o = pool_busy;

  // A position or tap read, a byte loaded, a segment or a word written: any of these is progress.
  // waiting_o names who is stuck if there is none, the one closest to the output first, because
  // those before it wait for it; npu does not use it.
  assign moving_o = a_rd_valid || q_rd_valid || wr_valid || (d_seg_valid && d_seg_ready) ||
      (q_seg_valid && q_seg_ready) || (wr_valid_o && wr_ready_i);
  always_comb begin
    waiting_o = npu_pkg::ENGINE_ARRAY;
    if (wr_valid_o) waiting_o = npu_pkg::ENGINE_STORE;
    else if (pool_busy) waiting_o = npu_pkg::ENGINE_POOL;
    else if (drain_busy) waiting_o = npu_pkg::ENGINE_DRAIN;
    else if (load_busy) waiting_o = npu_pkg::ENGINE_LOAD;
    else if (weight_busy) waiting_o = npu_pkg::ENGINE_WEIGHT;
    else if (params_busy) waiting_o = npu_pkg::ENGINE_PARAM;
  end

endmodule
