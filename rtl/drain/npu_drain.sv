// SPDX-License-Identifier: Apache-2.0
// Drain: takes finished blocks of accumulators, RQ_LANES outputs per cycle: bias, requantization,
// clamp, optional fused addition, and hands segments of consecutive bytes to the write combiner.
// Works on one half of the accumulators while the array fills the other. Registers behind the issue
// of (position, group): 0 accumulator read, 1 group selected, 2 bias added, 3..6 requantization,
// 7..15 addition (only with RES_ADD). All advance together. A block takes positions times groups
// cycles here, and positions times k-tiles in the array: with fewer k-tiles than groups the array
// has to wait (STALL_DRAIN).
module npu_drain #(
  parameter int unsigned COLS = npu_pkg::COLS_DEFAULT,
  parameter int unsigned BUS_BYTES = npu_pkg::BUS_BYTES_DEFAULT,
  parameter int unsigned ACC_DEPTH = npu_pkg::ACC_DEPTH_DEFAULT,
  parameter int unsigned RQ_LANES = npu_pkg::RQ_LANES_DEFAULT,
  localparam int unsigned LC = $clog2(COLS),
  localparam int unsigned PW = $clog2(ACC_DEPTH),
  localparam int unsigned GROUPS = (COLS > RQ_LANES) ? COLS / RQ_LANES : 1,
  localparam int unsigned GB = (GROUPS > 1) ? $clog2(GROUPS) : 1,
  localparam int unsigned SEG = RQ_LANES * 2,
  localparam int unsigned SW = $clog2(SEG + 1)
) (
  input  logic                          clk_i,
  input  logic                          rst_ni,
  input  logic                          clear_i,
  input  npu_pkg::desc_t                desc_i,
  input  logic [31:0]                   out_row_i,
  input  logic [31:0]                   out_img_i,
  // Tiles: where the tile's outputs begin and how many there are. Stays until its last block is
  // out.
  input  logic                          tile_valid_i,
  output logic                          tile_ready_o,
  input  npu_types::drain_tile_t        tile_i,
  // Parameters of the block, in the order of the blocks; bias_i to exp_i are the group's, a cycle
  // after par_read_o.
  input  logic                          par_valid_i,
  output logic                          par_free_o,
  input  logic [16:0]                   par_first_i,
  input  logic [LC:0]                   par_channels_i,
  input  logic                          par_tile_end_i,
  input  logic                          par_end_i,
  output logic                          par_read_o,
  output logic [GB-1:0]                 par_group_o,
  input  logic [RQ_LANES*32-1:0]        bias_i,
  input  logic [RQ_LANES*31-1:0]        mult_i,
  input  logic [RQ_LANES*8-1:0]         exp_i,
  // accumulators: see npu_array
  input  logic [1:0]                    block_valid_i,
  input  logic [2*PW-1:0]               block_last_i,
  output logic [1:0]                    block_free_o,
  output logic                          dr_read_o,
  output logic                          dr_half_o,
  output logic [PW-1:0]                 dr_pos_o,
  output logic                          dr_select_o,
  output logic [GB-1:0]                 dr_group_o,
  output logic                          dr_select_half_o,
  input  logic [RQ_LANES*64-1:0]        dr_acc_i,
  // second addend
  output logic                          rd_req_valid_o,
  input  logic                          rd_req_ready_i,
  output logic [31:0]                   rd_req_addr_o,
  output logic [23:0]                   rd_req_bytes_o,
  input  logic                          rd_rsp_valid_i,
  output logic                          rd_rsp_ready_o,
  input  logic [BUS_BYTES*8-1:0]        rd_rsp_data_i,
  input  logic                          rd_rsp_last_i,
  // Output segments: the bytes of one group of channels at one position. seg_last_o ends the
  // position's run of channels, behind which the next address may be anywhere.
  output logic                          seg_valid_o,
  input  logic                          seg_ready_i,
  output logic [31:0]                   seg_addr_o,
  output logic [SW-1:0]                 seg_bytes_o,
  output logic [SEG*8-1:0]              seg_data_o,
  output logic                          seg_last_o,
  // pulse: the last segment of the command was taken
  output logic                          end_o,
  output logic                          busy_o,
  // events
  output logic                          cnt_active_o,
  output logic [6:0]                    cnt_sat_low_o,
  output logic [6:0]                    cnt_sat_high_o,
  output logic [6:0]                    cnt_ops_o       // fused additions
);

  localparam int unsigned RQ = 7;    // requantized values are in register RQ - 1
  localparam int unsigned ADD = 16;  // sums in register ADD - 1

  logic add, wide, whole;
  logic [31:0] out_c;
  assign add = desc_i.flags.res_add;
  assign wide = desc_i.flags.out16;
  assign whole = desc_i.flags.out32;
  assign out_c = desc_i.out_c;

  // A block at a time: D_WAIT until its accumulators, parameters and tile are there, D_LOAD (start
  // values), D_RUN issues a group of RQ_LANES channels of a position per cycle, D_FLUSH until the
  // last one has left.
  typedef enum logic [1:0] {
    D_WAIT = 2'd0, D_LOAD = 2'd1, D_RUN = 2'd2, D_FLUSH = 2'd3
  } state_t;
  state_t state_q;
  logic [ADD-1:0] v_q, en;
  logic [ADD*GB-1:0] group_pipe_q;
  logic half_pipe_q;
  logic half_q, advance, issue, last_issue, last_out;
  logic [PW-1:0] pos_q, last_pos;
  logic [GB-1:0] group_q, last_group;
  // Positions, and for each of them the groups of the block's channels. Accumulators of one
  // position lie under one address in all columns, so only the first group of a position reads.
  assign last_group = GB'((32'(par_channels_i) - 32'd1) / RQ_LANES);
  assign last_pos = half_q ? block_last_i[2*PW-1:PW] : block_last_i[PW-1:0];
  assign issue = (state_q == D_RUN) && advance;
  always_comb begin
    last_issue = 1'b0;
    if (issue) last_issue = (pos_q == last_pos) && (group_q == last_group);
  end
  // The accumulators are free when the last group has been selected, not when it was read: until
  // then the word read last must stay, and an output that waits for memory can hold the group for
  // long.
  logic last_select;
  assign last_select = (state_q == D_FLUSH) && en[1];
  assign block_free_o[0] = last_select && !half_pipe_q;
  assign block_free_o[1] = last_select && half_pipe_q;
  assign tile_ready_o = last_out && par_tile_end_i;
  assign par_free_o = last_out;
  assign end_o = last_out && par_end_i;
  assign busy_o = (state_q != D_WAIT);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q <= D_WAIT;
      half_q <= 1'b0;
    end else if (clear_i) begin
      state_q <= D_WAIT;
      half_q <= 1'b0;
    end else begin
      case (state_q)
        D_WAIT: if (block_valid_i[half_q] && par_valid_i && tile_valid_i) state_q <= D_LOAD;
        D_LOAD: state_q <= D_RUN;
        D_RUN: if (last_issue) begin
          state_q <= D_FLUSH;
          half_q <= !half_q;
        end
        default: if (last_out) state_q <= D_WAIT;
      endcase
    end
  end
  // Outputs are int8, int16 or int32, so places are counted in elements and become bytes at the
  // end.
  logic [31:0] block_base;  // element index of the block's first output
  always_comb begin
    block_base = '0;
    if (state_q == D_LOAD) block_base = tile_i.out_base + 32'(par_first_i);
  end
  assign dr_read_o = issue && (group_q == '0);
  assign dr_half_o = half_q;
  assign dr_pos_o = pos_q;

  // The pipeline. All registers move together or, when an output waits for the write combiner or a
  // sum for its second addend, none; register s takes a value where its predecessor holds one. One
  // stall for all is what keeps accumulators, parameters and addends together without a handshake
  // between the stages; it costs little, as the write combiner takes a group per cycle.
  assign en = advance ? {v_q[ADD-2:0], 1'b0} : '0;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) v_q <= '0;
    else if (clear_i) v_q <= '0;
    else if (advance && (issue || v_q != '0))
      v_q <= {add ? v_q[ADD-2:RQ-1] : '0, v_q[RQ-2:0], issue};
  end
  always_ff @(posedge clk_i) begin
    if (advance && (issue || v_q != '0)) group_pipe_q <= {group_pipe_q[(ADD-1)*GB-1:0], group_q};
    if (issue) half_pipe_q <= half_q;
  end
  always_ff @(posedge clk_i) begin
    if (issue) begin
      if (group_q == last_group) pos_q <= pos_q + PW'(1);
      group_q <= (group_q == last_group) ? '0 : group_q + GB'(1);
    end else if (state_q == D_LOAD) begin
      pos_q <= '0;
      group_q <= '0;
    end
  end
  // Accumulators and parameters of a group are picked in the same cycle, so they meet in register
  // 2.
  assign dr_select_o = en[1];
  assign dr_group_o = group_pipe_q[GB-1:0];
  assign dr_select_half_o = half_pipe_q;
  assign par_read_o = en[1];
  assign par_group_o = group_pipe_q[GB-1:0];

  // Valid lanes of a group, of which at least one is.
  function automatic logic [RQ_LANES-1:0] lanes_of(input logic [GB-1:0] group,
                                                   input logic [LC:0] channels);
    lanes_of = ~({RQ_LANES{1'b1}} << (32'(channels) - 32'(group) * 32'(RQ_LANES)));
  endfunction
  logic [GB-1:0] group_rq, group_add, group_out;
  assign group_rq = group_pipe_q[(RQ-1)*GB +: GB];
  assign group_add = group_pipe_q[(ADD-1)*GB +: GB];
  assign group_out = add ? group_add : group_rq;

  // The lanes: bias, requantization, addition. With OUT32 a sum passes requantization unchanged.
  // RES_ADD takes the clamped int8 result as its first addend (CONTRACT.md, Fused addition);
  // without it the adders stand still.
  logic [RQ_LANES*8-1:0] res_data;
  logic res_valid, res_take, res_last;
  logic [RQ_LANES*32-1:0] rq_out;
  logic [RQ_LANES*8-1:0] add_out;
  logic [RQ_LANES-1:0] rq_low, rq_high, add_low, add_high;
  for (genvar l = 0; l < RQ_LANES; l++) begin : gen_lane
    logic signed [39:0] sum_q;
    logic [30:0] mult_q;
    logic [7:0] exp_q;
    // The bias is added here and not in the accumulators, whose first k-tile may run before the
    // bias is there. 40 bits hold the sum (CONTRACT.md, Accumulation).
    always_ff @(posedge clk_i) begin
      if (en[2]) begin
        sum_q <= $signed(40'(dr_acc_i[l*64 +: 64])) + 40'($signed(bias_i[l*32 +: 32]));
        mult_q <= whole ? 31'h4000_0000 : mult_i[l*31 +: 31];  // 2 * 2^30 / 2^31: the sum itself
        exp_q <= whole ? 8'd1 : exp_i[l*8 +: 8];
      end
    end
    npu_requant u_requant (
      .clk_i, .en_i(en[6:3]), .acc_i(sum_q), .mult_i(mult_q), .exp_i(exp_q),
      .zp_i(desc_i.out_zp), .min_i(desc_i.act_min), .max_i(desc_i.act_max),
      .wide_i(wide), .whole_i(whole), .out_o(rq_out[l*32 +: 32]), .sat_low_o(rq_low[l]),
      .sat_high_o(rq_high[l])
    );
    npu_add_lane u_add (
      .clk_i, .en_i(add ? en[ADD-1:RQ] : '0), .x1_i(rq_out[l*32 +: 8]), .x2_i(res_data[l*8 +: 8]),
      .zp1_i(desc_i.out_zp), .zp2_i(desc_i.in2_zp), .zp_out_i(desc_i.add_zp),
      .shift_i(desc_i.add_shift[4:0]), .m1_i(desc_i.m1[30:0]), .m2_i(desc_i.m2[30:0]),
      .mo_i(desc_i.mo[30:0]), .e1_i(desc_i.e1), .e2_i(desc_i.e2),
      .eo_i(desc_i.eo), .min_i(desc_i.add_act_min), .max_i(desc_i.add_act_max),
      .out_o(add_out[l*8 +: 8]), .sat_low_o(add_low[l]), .sat_high_o(add_high[l])
    );
  end

  // Second addend, needed when a requantized group enters the adders.
  always_comb begin
    res_take = 1'b0;
    res_last = 1'b0;
    if (add && en[RQ]) begin
      res_take = 1'b1;
      res_last = (group_rq == last_group);
    end
  end
  npu_residual #(.COLS(COLS), .BUS_BYTES(BUS_BYTES), .RQ_LANES(RQ_LANES)) u_residual (
    .clk_i, .rst_ni, .clear_i, .start_i(state_q == D_LOAD && add), .addr_i(desc_i.in2_addr),
    .base_i(block_base), .channels_i(par_channels_i), .tn_i(tile_i.tn), .th_i(tile_i.th),
    .tw_i(tile_i.tw), .col_i(out_c), .row_i(out_row_i), .img_i(out_img_i),
    .rd_req_valid_o, .rd_req_ready_i, .rd_req_addr_o, .rd_req_bytes_o, .rd_rsp_valid_i,
    .rd_rsp_ready_o, .rd_rsp_data_i, .rd_rsp_last_i, .valid_o(res_valid), .ready_i(res_take),
    .last_i(res_last), .data_o(res_data)
  );

  // Output: a group's bytes as one segment, at their place in the tensor. npu_walk steps from
  // position to position; the group's place in the block's run of channels is added to it.
  logic out_valid, walk_last, last_group_out;
  logic [31:0] at, element;
  logic [LC:0] count;
  assign out_valid = add ? v_q[ADD-1] : v_q[RQ-1];
  // A group of int32 leaves in two segments, its lower half of bytes first, as segments hold two
  // bytes per lane. A group of at most half as many channels as lanes fits into one.
  logic upper_q, halves, seg_take, group_take;
  assign seg_take = seg_valid_o && seg_ready_i;
  assign group_take = seg_take && (!halves || upper_q);
  assign advance = !(out_valid && !group_take) && !(add && v_q[RQ-1] && !res_valid);
  // upper_q: the lower half of an int32 group has left, its upper half is next. The pipeline waits
  // meanwhile, as for any output that is not taken.
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) upper_q <= 1'b0;
    else if (clear_i) upper_q <= 1'b0;
    else if (seg_take && halves) upper_q <= !upper_q;
  end
  assign seg_valid_o = out_valid && !(add && v_q[RQ-1] && !res_valid);
  // The block's last group may have fewer channels than there are lanes; the lanes beyond it hold
  // values of no channel and are not written.
  always_comb begin
    seg_last_o = 1'b0;
    count = '0;
    halves = 1'b0;
    last_group_out = 1'b0;
    seg_bytes_o = '0;
    element = '0;
    seg_addr_o = '0;
    if (out_valid) begin
      last_group_out = (group_out == last_group);
      count = last_group_out ? par_channels_i - (LC + 1)'(32'(group_out) * 32'(RQ_LANES))
                             : (LC + 1)'(RQ_LANES);
      halves = whole && (32'(count) * 32'd2 > 32'(RQ_LANES));
      seg_last_o = last_group_out && (!halves || upper_q);
      if (whole && halves && !upper_q) seg_bytes_o = SW'(SEG);
      else if (whole) seg_bytes_o = SW'(32'(count) * 32'd4 - (upper_q ? 32'(SEG) : 32'd0));
      else seg_bytes_o = wide ? SW'({count, 1'b0}) : SW'(count);
      element = at + 32'(group_out) * 32'(RQ_LANES);
      seg_addr_o = desc_i.out_addr +
          (whole ? {element[29:0], 2'b00} + (upper_q ? 32'(SEG) : 32'd0)
                 : wide ? {element[30:0], 1'b0} : element);
    end
  end
  assign last_out = seg_valid_o && seg_ready_i && seg_last_o && walk_last;
  npu_walk u_out (
    .clk_i, .load_i(state_q == D_LOAD), .base_i(block_base), .tn_i(tile_i.tn),
    .th_i(tile_i.th), .tw_i(tile_i.tw), .step_i(seg_valid_o && seg_ready_i && seg_last_o),
    .col_i(out_c), .row_i(out_row_i), .img_i(out_img_i), .at_o(at), .last_o(walk_last)
  );
  always_comb begin
    seg_data_o = '0;
    if (seg_valid_o) begin
      for (int unsigned l = 0; l < RQ_LANES; l++) begin
        if (whole)
          seg_data_o[l*16 +: 16] = upper_q ? rq_out[(RQ_LANES+l)*16 +: 16] : rq_out[l*16 +: 16];
        else if (wide) seg_data_o[l*16 +: 16] = rq_out[l*32 +: 16];
        else seg_data_o[l*8 +: 8] = add ? add_out[l*8 +: 8] : rq_out[l*32 +: 8];
      end
    end
  end

  // Events. A group counts when it leaves a stage: once, however long it waited there. Saturation
  // before and after the addition counts separately (CONTRACT.md, Requantization), and lanes
  // without a channel do not count.
  function automatic logic [6:0] ones(input logic [RQ_LANES-1:0] v);
    ones = 7'd0;
    for (int unsigned i = 0; i < RQ_LANES; i++) ones = ones + {6'd0, v[i]};
  endfunction
  logic leave_rq, leave_add;
  assign leave_rq = v_q[RQ-1] && advance;
  assign leave_add = add && v_q[ADD-1] && advance;
  always_comb begin
    cnt_sat_low_o = '0;
    cnt_sat_high_o = '0;
    cnt_ops_o = '0;
    if (leave_rq) begin
      cnt_sat_low_o = ones(rq_low & lanes_of(group_rq, par_channels_i));
      cnt_sat_high_o = ones(rq_high & lanes_of(group_rq, par_channels_i));
    end
    if (leave_add) begin
      cnt_sat_low_o = cnt_sat_low_o + ones(add_low & lanes_of(group_add, par_channels_i));
      cnt_sat_high_o = cnt_sat_high_o + ones(add_high & lanes_of(group_add, par_channels_i));
      cnt_ops_o = 7'(count);
    end
  end
  assign cnt_active_o = advance && (issue || v_q != '0);

`ifndef SYNTHESIS
  // A block's last output leaves only after all of it was issued.
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                   last_out |-> (state_q == D_FLUSH));
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                   seg_valid_o && !seg_ready_i |=> seg_valid_o && $stable(seg_addr_o) &&
                       $stable(seg_data_o) && $stable(seg_bytes_o));
`endif

endmodule
