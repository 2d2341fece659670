// SPDX-License-Identifier: Apache-2.0
// Parameters of a channel block: bias (perturbed on the way) and requantization entries,
// double-buffered, so that the next block's wait when a block's accumulators are complete. Walks
// tiles and blocks in the order of the array. A bus word's elements of 4 bytes are stored one per
// cycle: a block needs far fewer cycles than its k-tiles take.
module npu_params #(
  parameter int unsigned ROWS = npu_pkg::ROWS_DEFAULT,
  parameter int unsigned COLS = npu_pkg::COLS_DEFAULT,
  parameter int unsigned BUS_BYTES = npu_pkg::BUS_BYTES_DEFAULT,
  parameter int unsigned RQ_LANES = npu_pkg::RQ_LANES_DEFAULT,
  parameter int unsigned TRAINING = npu_pkg::TRAINING_DEFAULT,
  localparam int unsigned LC = $clog2(COLS),
  localparam int unsigned GROUPS = (COLS > RQ_LANES) ? COLS / RQ_LANES : 1,
  localparam int unsigned GB = (GROUPS > 1) ? $clog2(GROUPS) : 1
) (
  input  logic                          clk_i,
  input  logic                          rst_ni,
  input  logic                          clear_i,
  input  npu_pkg::desc_t                desc_i,
  input  logic [1:0]                    polarity_i,
  input  logic                          dist_i,
  input  logic [63:0]                   seed_i,
  input  logic [63:0]                   mask_seed_i,
  input  logic [31:0]                   chunk_out_i,   // see npu_load
  // Tiles: one token each, which starts the walk over its blocks. A chunk of channels of DEPTHWISE
  // is a tile here: its blocks follow those of the chunk before.
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
  // The oldest block whose parameters are complete. read_i asks for those of a group of RQ_LANES
  // channels; block_free_i gives its buffer back.
  output logic                          block_valid_o,
  input  logic                          block_free_i,
  output logic [16:0]                   block_first_o,    // its first channel
  output logic [LC:0]                   block_channels_o,
  output logic                          block_tile_end_o, // last of its tile
  output logic                          block_end_o,      // last of the command
  input  logic                          read_i,
  input  logic [GB-1:0]                 group_i,
  output logic [RQ_LANES*32-1:0]        bias_o,           // one cycle after read_i
  output logic [RQ_LANES*31-1:0]        mult_o,
  output logic [RQ_LANES*8-1:0]         exp_o,
  // events
  output logic [6:0]                    cnt_perturbed_o,
  output logic [6:0]                    cnt_clipped_o,
  output logic [5:0]                    cnt_random_o
);

  localparam int unsigned E = BUS_BYTES / 4;  // elements of a bus word
  localparam int unsigned LE = $clog2(E);
  localparam int unsigned DW_CH = (ROWS < COLS) ? ROWS : COLS;
  localparam int unsigned LQ = (RQ_LANES > 1) ? $clog2(RQ_LANES) : 1;

  logic depthwise, has_bias, has_table, perturb;
  logic [16:0] per_group, limit;
  logic [15:0] groups;
  // OUT32 needs no table (CONTRACT.md, Raw sums), a layer without bias no bias; blocks are cut
  // exactly as npu_weight cuts them.
  assign depthwise = (desc_i.opcode == npu_pkg::OPCODE_DEPTHWISE);
  assign has_bias = desc_i.flags.has_bias;
  assign has_table = !desc_i.flags.out32;
  assign perturb = (TRAINING != 0) && (polarity_i != 2'd0) && desc_i.flags.b_train && has_bias;
  assign per_group = depthwise ? desc_i.out_c[16:0] : desc_i.cout_group[16:0];
  assign groups = depthwise ? 16'd1 : desc_i.groups;
  assign limit = depthwise ? 17'(DW_CH) : 17'(COLS);

  // T_TILE waits for a tile, T_BLOCK for a free buffer; T_BIAS and T_TABLE store what comes, where
  // the command has it; T_DONE hands the buffer over and goes on to the next block. A block with
  // neither passes at once, with zeros for the bias.
  typedef enum logic [2:0] {
    T_TILE = 3'd0, T_BLOCK = 3'd1, T_BIAS = 3'd2, T_TABLE = 3'd3, T_DONE = 3'd4
  } state_t;
  state_t state_q;
  logic first_tile_q, last_tile_q;
  logic [16:0] o_q, ob_q;  // first channel of the block: of all, in its group or chunk
  logic [16:0] chunk_end_q, chunk_start;  // DEPTHWISE: the chunk's output channels
  logic within_q;          // DEPTHWISE: the next tile is the next chunk of this one
  logic [15:0] group_q;
  logic [LC:0] nc_q, nc;
  logic [16:0] left;
  logic block_last_in_group, block_last, tile_end;
  always_comb begin
    left = '0;
    nc = '0;
    block_last_in_group = 1'b0;
    block_last = 1'b0;
    tile_end = 1'b0;
    if (state_q == T_BLOCK || state_q == T_DONE) begin
      left = depthwise ? chunk_end_q - o_q : per_group - ob_q;
      nc = (left > limit) ? limit[LC:0] : left[LC:0];
      block_last_in_group = (left == 17'(nc_q));
      block_last = block_last_in_group && (group_q + 16'd1 == groups);
      tile_end = block_last && (!depthwise || (chunk_end_q == per_group));
    end
  end
  assign chunk_start = within_q ? o_q : '0;

  // Two buffers: one is written while the drain uses the other. valid_q says which ones hold a
  // complete block; wr_buf_q and rd_buf_q alternate, so blocks leave in the order in which they
  // came.
  logic wr_buf_q, rd_buf_q;
  logic [1:0] valid_q;
  logic [2*17-1:0] first_q;
  logic [2*(LC+1)-1:0] channels_q;
  logic [1:0] tile_end_q, end_q;

  // Requests of a block: bias, then table. Both are asked for at once, so the table is on its way
  // while the biases are stored; the answers come in this order.
  logic req_bias_q, req_table_q;
  assign rd_req_valid_o = req_bias_q || req_table_q;
  assign rd_req_addr_o = req_bias_q ? desc_i.bias_addr + {13'd0, o_q, 2'd0}
                                    : desc_i.rq_addr + {12'd0, o_q, 3'd0};
  assign rd_req_bytes_o = req_bias_q ? 24'({nc_q, 2'd0}) : 24'({nc_q, 3'd0});

  // Elements of 4 bytes: a bias each, or multiplier and exponent of a channel in turn. Biases come
  // through the perturbation unit, the table straight from the bus. A word is taken from its source
  // when its last element, or the block's, has been stored.
  logic in_table;
  logic [LC+1:0] el_q, el_count;  // elements stored, of the phase
  logic [LE-1:0] at_q;            // place in the word
  logic word_valid, word_pop, phase_done, store;
  logic [31:0] element;
  logic p_in_ready, p_in_valid, p_out_valid, p_busy;
  logic [BUS_BYTES*8-1:0] p_data;
  assign in_table = (state_q == T_TABLE);
  assign el_count = in_table ? {nc_q, 1'b0} : {1'b0, nc_q};
  assign word_valid = in_table ? rd_rsp_valid_i : p_out_valid;
  assign store = word_valid && (state_q == T_BIAS || in_table);
  assign phase_done = store && (el_q + (LC + 2)'(1) == el_count);
  assign word_pop = store && (at_q == '1 || phase_done);
  assign rd_rsp_ready_o =
      in_table ? word_pop : (state_q == T_BIAS) && p_in_ready && (in_left_q != '0);

  // Bias words on their way in. A block's first bias may lie anywhere in its word, and the word may
  // hold biases beyond the block: lanes are those that are the block's. Perturbed ones are counted
  // once per command, during the first tile.
  logic [LC:0] in_left_q;  // channels not yet sent
  logic in_first_q;
  logic [LE:0] in_skip;
  logic [BUS_BYTES-1:0] lanes;
  assign in_skip = in_first_q ? (LE + 1)'(o_q[LE-1:0]) : '0;
  assign p_in_valid = (state_q == T_BIAS) && rd_rsp_valid_i && (in_left_q != '0);
  always_comb begin
    lanes = '0;
    if (p_in_valid) begin
      for (int unsigned e = 0; e < E; e++)
        lanes[e] = (32'(e) >= 32'(in_skip)) && (32'(e) < 32'(in_skip) + 32'(in_left_q));
    end
  end
  // The same words, walked ahead for their random numbers. A bias is element o of row 0 of its own
  // tensor, B_TENSOR: it must not share its numbers with the weights.
  logic ahead_q, ahead_ready;
  logic [16:0] ahead_col_q, ahead_next;
  assign ahead_next = ahead_col_q + 17'(E);
  // Few cycles have a bias: the unit has a clock and inputs of its own.
  typedef struct packed {
    logic clear, perturb, minus, gaussian, ahead_valid, in_valid, in_count;
    logic [BUS_BYTES-1:0] in_lanes;
  } bias_control_t;
  typedef struct packed {
    logic [23:0] eps;
    logic [4:0] shift;
    logic [8:0] keep;
    logic [15:0] tensor;
  } bias_fields_t;
  logic p_clk, p_on, p_wake, p_out_ready;
  logic [6:0] p_differs;
  bias_control_t p;
  bias_fields_t p_fields;
  logic [15:0] p_ahead_col;
  logic [63:0] p_seed, p_mask_seed;
  logic [BUS_BYTES*8-1:0] p_in_data;
  npu_clock u_clock (
    .clk_i, .rst_ni, .run_i(clear_i || ahead_q || p_in_valid || p_busy), .on_o(p_on), .clk_o(p_clk)
  );
  npu_wake u_wake (.rst_ni, .differs_i(p_differs != '0), .wake_o(p_wake));
  npu_hold #(.WIDTH($bits(p))) u_control_held (
    .rst_ni, .on_i(p_on), .wake_i(p_wake),
    .in_i({clear_i, perturb, polarity_i == 2'd2, dist_i, ahead_q, p_in_valid, first_tile_q,
           lanes}),
    .out_o(p), .differs_o(p_differs[0])
  );
  npu_hold #(.WIDTH($bits(p_fields))) u_fields_held (
    .rst_ni, .on_i(p_on), .wake_i(p_wake),
    .in_i({desc_i.b_eps, desc_i.b_eps_shift[4:0], desc_i.b_keep[8:0], desc_i.b_tensor}),
    .out_o(p_fields), .differs_o(p_differs[1])
  );
  npu_hold #(.WIDTH(16)) u_ahead_col_held (
    .rst_ni, .on_i(p_on), .wake_i(p_wake), .in_i(ahead_col_q[15:0]), .out_o(p_ahead_col),
    .differs_o(p_differs[2])
  );
  npu_hold #(.WIDTH(64)) u_seed_held (
    .rst_ni, .on_i(p_on), .wake_i(p_wake), .in_i(seed_i), .out_o(p_seed), .differs_o(p_differs[3])
  );
  npu_hold #(.WIDTH(64)) u_mask_seed_held (
    .rst_ni, .on_i(p_on), .wake_i(p_wake), .in_i(mask_seed_i), .out_o(p_mask_seed),
    .differs_o(p_differs[4])
  );
  npu_hold u_out_ready_held (
    .rst_ni, .on_i(p_on), .wake_i(p_wake), .in_i((state_q == T_BIAS) && word_pop),
    .out_o(p_out_ready),
    .differs_o(p_differs[6])
  );
  npu_hold #(.WIDTH(BUS_BYTES * 8)) u_in_data_held (
    .rst_ni, .on_i(p_on), .wake_i(p_wake), .in_i(rd_rsp_data_i), .out_o(p_in_data),
    .differs_o(p_differs[5])
  );
  npu_perturb #(.BUS_BYTES(BUS_BYTES), .BIAS(1), .TRAINING(TRAINING)) u_perturb (
    .clk_i(p_clk), .rst_ni, .clear_i(p.clear),
    .active_i(p.perturb), .minus_i(p.minus), .gaussian_i(p.gaussian), .w8_i(1'b0),
    .eps_i(p_fields.eps), .shift_i(p_fields.shift), .keep_i(p_fields.keep),
    .seed_i(p_seed), .mask_seed_i(p_mask_seed), .tensor_i(p_fields.tensor),
    .ahead_valid_i(p.ahead_valid), .ahead_ready_o(ahead_ready), .ahead_row_i(16'd0),
    .ahead_col_i(p_ahead_col), .in_valid_i(p.in_valid), .in_ready_o(p_in_ready),
    .in_data_i(p_in_data), .in_lanes_i(p.in_lanes), .in_count_i(p.in_count),
    .out_valid_o(p_out_valid), .out_ready_i(p_out_ready), .out_data_o(p_data),
    .busy_o(p_busy), .cnt_perturbed_o, .cnt_clipped_o, .cnt_random_o
  );

  // The walk over tiles and blocks. A buffer is free again when the drain has given it back, which
  // it does in the order of the blocks.
  assign tile_ready_o = (state_q == T_TILE);
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q <= T_TILE;
      first_tile_q <= 1'b1;
      within_q <= 1'b0;
      wr_buf_q <= 1'b0;
      rd_buf_q <= 1'b0;
      valid_q <= '0;
      req_bias_q <= 1'b0;
      req_table_q <= 1'b0;
    end else if (clear_i) begin
      state_q <= T_TILE;
      first_tile_q <= 1'b1;
      within_q <= 1'b0;
      wr_buf_q <= 1'b0;
      rd_buf_q <= 1'b0;
      valid_q <= '0;
      req_bias_q <= 1'b0;
      req_table_q <= 1'b0;
    end else begin
      if (block_free_i) begin
        valid_q[rd_buf_q] <= 1'b0;
        rd_buf_q <= !rd_buf_q;
      end
      if (rd_req_ready_i && rd_req_valid_o) begin
        req_bias_q <= 1'b0;
        if (!req_bias_q) req_table_q <= 1'b0;
      end
      case (state_q)
        T_TILE: if (tile_valid_i) state_q <= T_BLOCK;
        T_BLOCK: if (!valid_q[wr_buf_q]) begin
          state_q <= has_bias ? T_BIAS : has_table ? T_TABLE : T_DONE;
          req_bias_q <= has_bias;
          req_table_q <= has_table;
        end
        T_BIAS: if (phase_done) state_q <= has_table ? T_TABLE : T_DONE;
        T_TABLE: if (phase_done) state_q <= T_DONE;
        default: begin  // T_DONE
          valid_q[wr_buf_q] <= 1'b1;
          wr_buf_q <= !wr_buf_q;
          state_q <= block_last ? T_TILE : T_BLOCK;
          if (tile_end) first_tile_q <= last_tile_q;
          if (block_last) within_q <= !tile_end;
        end
      endcase
    end
  end

  // What is left of the block's biases to be sent, and of the words to be drawn ahead.
  always_ff @(posedge clk_i) begin
    if (p_in_valid && p_in_ready) begin
      in_first_q <= 1'b0;
      in_left_q <= (32'(in_left_q) + 32'(in_skip) > 32'(E))
                   ? in_left_q - ((LC + 1)'(E) - (LC + 1)'(in_skip)) : '0;
    end else if (state_q == T_BLOCK) begin
      in_first_q <= 1'b1;
      in_left_q <= nc;
    end
  end
  // Coordinates are told bus word by bus word from the one on that holds the block's first bias.
  // They start in T_BLOCK, in the cycle in which the buffer is found free.
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) ahead_q <= 1'b0;
    else if (clear_i) ahead_q <= 1'b0;
    else if (state_q == T_BLOCK) ahead_q <= perturb && !valid_q[wr_buf_q];
    else if (ahead_q && ahead_ready) ahead_q <= (32'(ahead_next) < 32'(o_q) + 32'(nc_q));
  end
  always_ff @(posedge clk_i) begin
    if (ahead_q && ahead_ready) ahead_col_q <= ahead_next;
    else if (state_q == T_BLOCK) ahead_col_q <= {o_q[16:LE], LE'(0)};
  end
  // Which element comes next, and where in its word it lies. Biases begin at word o_q, table
  // entries of two words each at 2 * o_q: hence the two places.
  always_ff @(posedge clk_i) begin
    if (store) begin
      at_q <= phase_done ? LE'({o_q, 1'b0}) : at_q + LE'(1);
      el_q <= phase_done ? '0 : el_q + (LC + 2)'(1);
    end else if (state_q == T_BLOCK) begin
      at_q <= has_bias ? o_q[LE-1:0] : LE'({o_q, 1'b0});
      el_q <= '0;
    end
  end
  // The block, as the drain will see it, and the next one. The walk is that of the array: blocks
  // inside a group, groups inside a tile.
  always_ff @(posedge clk_i) if (state_q == T_BLOCK) nc_q <= nc;
  always_ff @(posedge clk_i) begin
    if (state_q == T_DONE) begin
      first_q[wr_buf_q*17 +: 17] <= o_q;
      channels_q[wr_buf_q*(LC+1) +: LC+1] <= nc_q;
      tile_end_q[wr_buf_q] <= block_last;
      end_q[wr_buf_q] <= block_last && last_tile_q;
      o_q <= o_q + 17'(nc_q);
      ob_q <= block_last_in_group ? '0 : ob_q + 17'(nc_q);
      if (block_last_in_group) group_q <= group_q + 16'd1;
    end else if (state_q == T_TILE && tile_valid_i) begin
      last_tile_q <= tile_last_i;
      if (!within_q) o_q <= '0;
      chunk_end_q <= (32'(per_group) - 32'(chunk_start) > chunk_out_i)
                     ? chunk_start + chunk_out_i[16:0] : per_group;
      ob_q <= '0;
      group_q <= '0;
    end
  end

  // Storage: channel c of a block in lane c mod RQ_LANES. Exponents are kept in -40..30, as the
  // contract defines them.
  logic signed [31:0] exp_raw;
  logic [7:0] exponent;
  logic [LC:0] channel;
  logic [GB:0] wr_entry, rd_entry;
  // M is the low 31 bits of an entry's first word, e the low 8 bits of its second, saturated
  // (CONTRACT.md, Requantization). A table may hold any bits; the drain gets only exponents that
  // its shifters can follow.
  always_comb begin
    element = '0;
    exp_raw = '0;
    exponent = '0;
    channel = '0;
    wr_entry = '0;
    if (store) begin
      element = in_table ? rd_rsp_data_i[at_q*32 +: 32] : p_data[at_q*32 +: 32];
      exp_raw = 32'($signed(element[7:0]));
      exponent = (exp_raw < -32'sd40) ? -8'sd40 : (exp_raw > 32'sd30) ? 8'd30 : exp_raw[7:0];
      channel = in_table ? el_q[LC+1:1] : el_q[LC:0];
      wr_entry = {wr_buf_q, (GROUPS > 1) ? GB'(32'(channel[LC-1:0]) / RQ_LANES) : GB'(0)};
    end
  end
  assign rd_entry = {rd_buf_q, (GROUPS > 1) ? group_i : GB'(0)};
  // Each lane has small memories of its own, so that all parameters of a group are read at once.
  for (genvar l = 0; l < RQ_LANES; l++) begin : gen_lane
    logic [31:0] bias_mem [2**(GB+1)];
    logic [30:0] mult_mem [2**(GB+1)];
    logic [7:0] exp_mem [2**(GB+1)];
    // An entry is a buffer and a group of channels; the lane is the channel's place in the group.
    logic hit;
    assign hit = (RQ_LANES == 1) || (channel[LQ-1:0] == LQ'(l));
    always_ff @(posedge clk_i) begin
      if (store && hit) begin
        if (!in_table) bias_mem[wr_entry] <= element;
        else if (!el_q[0]) mult_mem[wr_entry] <= element[30:0];
        else exp_mem[wr_entry] <= exponent;
      end
      if (read_i) begin
        bias_o[l*32 +: 32] <= has_bias ? bias_mem[rd_entry] : 32'd0;
        mult_o[l*31 +: 31] <= mult_mem[rd_entry];
        exp_o[l*8 +: 8] <= exp_mem[rd_entry];
      end
    end
  end

  // What the drain sees is the older of the two buffers. Where the block begins and whether it is
  // its tile's or the command's last comes with it, so the drain needs no loops over blocks of its
  // own.
  assign block_valid_o = valid_q[rd_buf_q];
  assign block_first_o = rd_buf_q ? first_q[17 +: 17] : first_q[0 +: 17];
  assign block_channels_o = rd_buf_q ? channels_q[LC+1 +: LC+1] : channels_q[0 +: LC+1];
  assign block_tile_end_o = tile_end_q[rd_buf_q];
  assign block_end_o = end_q[rd_buf_q];
  assign busy_o = (state_q != T_TILE) || p_busy;

  logic unused;
  assign unused = ^{rd_rsp_last_i, ahead_col_q[16], exp_raw[31:8], channel[LC]};

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                   store && in_table && phase_done |-> rd_rsp_last_i);
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                   block_free_i |-> block_valid_o);
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                   rd_req_valid_o && !rd_req_ready_i |=> rd_req_valid_o && $stable(rd_req_addr_o));
`endif

endmodule
