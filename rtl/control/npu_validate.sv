// SPDX-License-Identifier: Apache-2.0
// Checks one command against the contract's rules 2 to 9 (CONTRACT.md, Validation), in their order, one product per cycle on one
// multiplier. The descriptor and the registers are held from start_i to done_o. The result stays until the next start.
module npu_validate #(
  parameter int unsigned ROWS = npu_pkg::ROWS_DEFAULT,
  parameter int unsigned ACT_BYTES = npu_pkg::ACT_BYTES_DEFAULT,
  parameter int unsigned ACC_DEPTH = npu_pkg::ACC_DEPTH_DEFAULT,
  parameter int unsigned TRAINING = npu_pkg::TRAINING_DEFAULT
) (
  input  logic                          clk_i,
  input  logic                          rst_ni,
  input  logic                          clear_i,
  input  logic                          start_i,
  input  npu_pkg::desc_t desc_i,
  input  logic [31:0]                   polarity_i,
  input  logic [31:0]                   distribution_i,
  input  logic [31:0]                   pairs_i,
  input  logic [5:0]                    step_shift_i,
  input  logic [31:0]                   batch_addr_i,
  input  logic [31:0]                   label_addr_i,
  input  logic [31:0]                   out_addr_i,
  input  logic [31:0]                   mem_limit_i,
  output logic                          busy_o,
  output logic                          done_o,       // pulse
  output logic [7:0]                    code_o,       // npu_pkg::ERROR_*
  output logic [31:0]                   info_o,
  output logic [31:0]                   in_addr_o,    // bases added
  output logic [31:0]                   in2_addr_o,
  output logic [31:0]                   out_addr_o,
  output logic [31:0]                   w_addr_o
);

  logic [4:0] pc_q;
  assign busy_o = pc_q != 5'd0;

  // Fields.
  logic [7:0] op;
  npu_pkg::flags_t flags;
  logic [15:0] n, groups, in_h, in_w, out_h, out_w, kernel_h, kernel_w, tile_n, tile_h, tile_w;
  logic [31:0] in_c, out_c, cin_group, cout_group, tile_c, pitch, row_pitch, out_pitch;
  logic [7:0] stride_h, stride_w, dilation_h, dilation_w;
  logic signed [15:0] act_min, act_max, add_min, add_max;
  logic signed [7:0] e1;
  logic [7:0] w_zp;
  logic [31:0] m1;
  assign op = desc_i.opcode;
  assign flags = desc_i.flags;
  assign n = desc_i.n;
  assign groups = desc_i.groups;
  assign in_h = desc_i.in_h;
  assign in_w = desc_i.in_w;
  assign out_h = desc_i.out_h;
  assign out_w = desc_i.out_w;
  assign kernel_h = desc_i.kernel_h;
  assign kernel_w = desc_i.kernel_w;
  assign tile_n = desc_i.tile_n;
  assign tile_h = desc_i.tile_h;
  assign tile_w = desc_i.tile_w;
  assign in_c = desc_i.in_c;
  assign out_c = desc_i.out_c;
  assign cin_group = desc_i.cin_group;
  assign cout_group = desc_i.cout_group;
  assign tile_c = desc_i.tile_c;
  assign pitch = desc_i.w_pitch;
  assign row_pitch = desc_i.row_pitch;
  assign stride_h = desc_i.stride_h;
  assign stride_w = desc_i.stride_w;
  assign dilation_h = desc_i.dilation_h;
  assign dilation_w = desc_i.dilation_w;
  assign act_min = desc_i.act_min;
  assign act_max = desc_i.act_max;
  assign add_min = desc_i.add_act_min;
  assign add_max = desc_i.add_act_max;
  assign e1 = desc_i.e1;
  assign m1 = desc_i.m1;
  assign w_zp = desc_i.w_zp;
  assign out_pitch = desc_i.out_pitch;

  logic conv, depthwise, pool, add, softmax, loss, update, matrix, tiled, fused, train, out16, out32, transposed, gradient, errors;
  // combinational work of an idle checker is skipped
  always_comb begin
    {conv, depthwise, pool, add, softmax, loss, update, matrix, tiled, fused, train, out16, out32, transposed, gradient, errors} = '0;
    if (busy_o) begin
      conv = op == npu_pkg::OPCODE_CONV2D;
      depthwise = op == npu_pkg::OPCODE_DEPTHWISE;
      pool = op == npu_pkg::OPCODE_POOL;
      add = op == npu_pkg::OPCODE_ADD;
      softmax = op == npu_pkg::OPCODE_SOFTMAX;
      loss = op == npu_pkg::OPCODE_LOSS;
      update = op == npu_pkg::OPCODE_UPDATE;
      matrix = conv || depthwise;
      tiled = matrix || pool;
      fused = flags.res_add;
      out16 = flags.out16;
      out32 = flags.out32;
      transposed = flags.w_transposed;
      gradient = flags.gradient;
      errors = flags.errors;
      train = flags.w_train || flags.b_train;
    end
  end

  // One product per step, saturated to 34 bits: more than any limit it is compared with.
  localparam logic [4:0] LAST = 5'd26;
  logic [33:0] a, p_q;
  logic [24:0] b;
  logic [58:0] product;
  logic [24:0] taps_q, extent_q, rows_q;
  logic [16:0] k_q;      // elements of a dot product, checked to be MAX_K at most
  logic [24:0] p_short;  // more than any ACT_BYTES where p_q does not fit
  logic [33:0] image_q, in_bytes_q, out_bytes_q;
  logic [24:0] channels;
  logic [25:0] gradient_row;  // bytes of a row of the gradient, and its pitch
  logic [24:0] gradient_pitch;
  assign p_short = (p_q > 34'h1ff_ffff) ? 25'h1ff_ffff : p_q[24:0];
  assign channels = matrix ? out_c[24:0] : in_c[24:0];
  assign gradient_row = {in_c[23:0], 2'b00};
  assign gradient_pitch = {gradient_row[24:6] + 19'(gradient_row[5:0] != '0), 6'd0};

  // Bytes of elements, saturated like the products.
  function automatic logic [33:0] bytes_of(input logic [33:0] elements, input logic [1:0] shift);
    logic [36:0] bytes;
    bytes = {3'd0, elements} << shift;
    bytes_of = (bytes[36:34] != '0) ? 34'h3_ffff_ffff : bytes[33:0];
  endfunction
  logic [1:0] out_shift;
  assign out_shift = out32 ? 2'd2 : {1'b0, out16};

  always_comb begin
    a = '0;
    b = '0;
    case (pc_q)
      5'd1: begin  // rules 2 to 6 are looked at meanwhile
        a = conv ? 34'(cin_group) : 34'(in_c);
        b = conv ? 25'(groups) : cout_group[24:0];
      end
      5'd2: begin
        a = 34'(cout_group);
        b = 25'(groups);
      end
      5'd3: begin
        a = 34'(kernel_h);
        b = 25'(kernel_w);
      end
      5'd4: begin
        a = p_q;
        b = cin_group[24:0];
      end
      5'd5: begin
        a = 34'(out_h);
        b = 25'(out_w);
      end
      5'd6: begin
        a = p_q;
        b = channels;
      end
      5'd7: begin
        a = 34'(tile_n);
        b = 25'(tile_h);
      end
      5'd8: begin
        a = p_q;
        b = 25'(tile_w);
      end
      5'd9: begin
        a = 34'(16'(tile_h - 16'd1));
        b = 25'(stride_h);
      end
      5'd10: begin
        a = 34'(16'(kernel_h - 16'd1));
        b = 25'(dilation_h);
      end
      5'd11: begin
        a = 34'(16'(tile_w - 16'd1));
        b = 25'(stride_w);
      end
      5'd12: begin
        a = 34'(16'(kernel_w - 16'd1));
        b = 25'(dilation_w);
      end
      5'd13: begin
        a = 34'(extent_q) + p_q + 34'd1;
        b = tile_c[24:0];
      end
      5'd14: begin
        a = 34'(rows_q);
        b = 25'(tile_n);
      end
      5'd15: begin
        a = 34'(row_pitch);
        b = p_short;
      end
      5'd16: begin
        a = tiled ? 34'(in_h) : gradient ? 34'(gradient_pitch) : 34'(in_c);
        b = gradient ? 25'(17'(out_c[16:0] - 17'd1)) : 25'(n);
      end
      5'd17: begin
        a = p_q;
        b = tiled ? 25'(in_w) : 25'd1;
      end
      5'd18: begin
        a = p_q;
        b = tiled ? in_c[24:0] : loss ? 25'd2 : 25'd1;
      end
      5'd19: begin  // of the images but the last, or of all of them
        a = (tiled && (out_pitch != '0)) ? 34'(out_pitch) : image_q;
        b = (tiled && (out_pitch != '0)) ? 25'(16'(n - 16'd1)) : 25'(n);
      end
      5'd20: begin
        a = 34'(pitch);
        b = depthwise ? taps_q : transposed ? 25'(k_q) : out_c[24:0];
      end
      default: ;
    endcase
  end
  assign product = 59'(a) * 59'(b);

  // Addresses with their bases, 33 bits.
  logic [32:0] in_addr, in2_addr, out_addr, w_addr;
  always_comb begin
    in_addr = '0;
    in2_addr = '0;
    out_addr = '0;
    w_addr = '0;
    if (busy_o) begin
      in_addr = {1'b0, desc_i.in_addr} + {1'b0, flags.in_batch ? batch_addr_i : 32'd0};
      in2_addr = {1'b0, desc_i.in2_addr} + {1'b0, flags.in2_label ? label_addr_i : 32'd0};
      out_addr = {1'b0, desc_i.out_addr} + {1'b0, flags.out_batch ? out_addr_i : 32'd0};
      w_addr = {1'b0, desc_i.w_addr} + {1'b0, flags.w_batch ? batch_addr_i : 32'd0};
    end
  end

  // The region of this step: pc 21..26.
  logic region_used, region_bad;
  logic [32:0] region_addr;
  logic [33:0] region_bytes;
  logic [5:0] region_low;  // address bits that must be zero
  logic [7:0] region_id;
  logic wide_label;
  assign wide_label = in_c > 32'd255;
  always_comb begin
    region_used = 1'b0;
    region_addr = '0;
    region_bytes = '0;
    region_low = '0;
    region_id = '0;
    case (pc_q)
      5'd21: begin
        region_used = !update || gradient;
        region_addr = in_addr;
        region_bytes = in_bytes_q;
        region_low = gradient ? 6'd63 : loss ? 6'd1 : 6'd0;
        region_id = 8'(npu_pkg::ID_IN_ADDR);
      end
      5'd22: begin
        region_used = (matrix && fused) || add || loss;
        region_addr = in2_addr;
        region_bytes = loss ? (wide_label ? {17'd0, n, 1'b0} : {18'd0, n}) : add ? in_bytes_q : out_bytes_q;
        region_low = (loss && wide_label) ? 6'd1 : 6'd0;
        region_id = 8'(npu_pkg::ID_IN2_ADDR);
      end
      5'd23: begin
        region_used = !update && (!loss || flags.losses || errors);
        region_addr = out_addr;
        region_bytes = out_bytes_q;
        region_low = ((loss && !errors) || out32) ? 6'd3 : out16 ? 6'd1 : 6'd0;
        region_id = 8'(npu_pkg::ID_OUT_ADDR);
      end
      5'd24: begin
        region_used = matrix || update;
        region_addr = w_addr;
        region_bytes = p_q;
        region_low = 6'd63;
        region_id = 8'(npu_pkg::ID_W_ADDR);
      end
      5'd25: begin
        region_used = matrix && flags.has_bias;
        region_addr = {1'b0, desc_i.bias_addr};
        region_bytes = {out_c, 2'b00};
        region_low = 6'd63;
        region_id = 8'(npu_pkg::ID_BIAS_ADDR);
      end
      5'd26: begin
        region_used = matrix && !out32;
        region_addr = {1'b0, desc_i.rq_addr};
        region_bytes = {out_c[30:0], 3'b000};
        region_low = 6'd63;
        region_id = 8'(npu_pkg::ID_RQ_ADDR);
      end
      default: ;
    endcase
  end
  always_comb begin
    region_bad = 1'b0;
    if (region_used) region_bad = ((region_addr[5:0] & region_low) != '0) || (35'(region_addr) + 35'(region_bytes) > 35'(mem_limit_i)) ||
                                  ((pc_q == 5'd24) && (pitch[5:0] != '0));
  end

  // Rules 4, 6, 7 from RANGE.
  logic flags_bad, range_bad, pack_bad, chunk_bad, tile_bad;
  logic [7:0] field_bad;
  logic [31:0] register_bad;
  logic signed [15:0] type_min, type_max;
  logic [4:0] pack_left, pack_right;
  logic [31:0] row_elements, weight_bytes;
  logic pitch_bad;
  logic [33:0] image_bytes;
  always_comb begin
    flags_bad = 1'b0;
    range_bad = 1'b0;
    pitch_bad = 1'b0;
    pack_bad = 1'b0;
    chunk_bad = 1'b0;
    tile_bad = 1'b0;
    field_bad = '0;
    register_bad = '0;
    pack_left = '0;
    pack_right = '0;
    row_elements = '0;
    weight_bytes = '0;
    image_bytes = '0;
    type_min = '0;
    type_max = '0;
    if (pc_q == 5'd1) begin
      flags_bad = ((flags & ~npu_pkg::KNOWN_FLAGS) != '0) || (flags.w8 && flags.w32) ||
                  (flags.w32 && !update) || (out16 && !matrix) || (fused && (!matrix || out16)) ||
                  (transposed && (!conv || flags.w_train)) || (flags.w_batch && !transposed) ||
                  (out32 && (!conv || out16 || fused)) || (errors && (!loss || flags.losses)) || (gradient && !update);
      field_bad = npu_pkg::field_out_of_range(desc_i, fused);
      if ((train || (update && !gradient)) && (polarity_i > 32'd2)) register_bad = 32'(npu_pkg::REG_POLARITY);
      else if ((train || (update && !gradient)) && (distribution_i > 32'd1)) register_bad = 32'(npu_pkg::REG_DISTRIBUTION);
      else if (update && !gradient && ((pairs_i == 32'd0) || (pairs_i > 32'(npu_pkg::MAX_PAIRS)))) register_bad = 32'(npu_pkg::REG_PAIRS);
      else if (update && (step_shift_i > 6'd16)) register_bad = 32'(npu_pkg::REG_STEP);
    end
    if (pc_q == 5'd7) begin  // image_q is the result of the step before
      type_min = out16 ? -16'sd32768 : -16'sd128;
      type_max = out16 ? 16'sd32767 : 16'sd127;
      weight_bytes = flags.w8 ? 32'd1 : flags.w32 ? 32'd4 : 32'd2;
      row_elements = conv ? (transposed ? out_c : 32'(k_q)) : depthwise ? out_c : update ? in_c : 32'd0;
      row_elements = flags.w8 ? row_elements : flags.w32 ? {row_elements[29:0], 2'b00}
                                                                                       : {row_elements[30:0], 1'b0};
      image_bytes = bytes_of(p_q, out_shift);
      pitch_bad = (row_elements > pitch) ||
                  (tiled && (out_pitch != '0) && (fused || (34'(out_pitch) < image_bytes) ||
                                                  (out32 && (out_pitch[1:0] != '0)) || (out16 && out_pitch[0])));
      range_bad = (tiled && !out32 && ((act_min > act_max) || (act_min < type_min) || (act_max > type_max))) ||
                  (conv && (w_zp != '0) && !(transposed && flags.w8)) ||
                  ((add || fused) && (add_min > add_max)) ||
                  (loss && ((m1 > 32'd65535) || (e1 < -8'sd31) || (e1 > 8'sd0))) ||
                  (softmax && ((e1 < 8'sd0) || (e1 > 8'sd30)));
      pack_left = row_pitch[4:0] * dilation_h[4:0];
      pack_right = kernel_w[4:0] * in_c[4:0];
      pack_bad = flags.packed_ && matrix &&
                 (depthwise || (groups != 16'd1) || (dilation_w != 8'd1) || (((pack_left ^ pack_right) & 5'(ROWS - 1)) != '0));
      chunk_bad = tiled && (tile_c < in_c) &&
                  !(conv && (taps_q == 25'd1) && (in_h == 16'd1) && (in_w == 16'd1) && (out_h == 16'd1) && (out_w == 16'd1) &&
                    (groups == 16'd1));
    end
    if (pc_q == 5'd9) begin
      tile_bad = (tile_n > n) || (tile_h > out_h) || (tile_w > out_w) || (tile_c > in_c) || (!pool && (p_q > 34'(ACC_DEPTH)));
    end
  end

  // The fault of this step, if any.
  logic [7:0] code;
  logic [31:0] info;
  always_comb begin
    code = npu_pkg::ERROR_NONE;
    info = '0;
    case (pc_q)
      5'd1: begin
        if (op > npu_pkg::OPCODE_UPDATE) begin
          code = npu_pkg::ERROR_OPCODE;
        end else if (op == npu_pkg::OPCODE_END) begin
          code = npu_pkg::ERROR_NONE;
        end else if ((TRAINING == 0) && (loss || update || (train && (polarity_i != '0)))) begin
          code = npu_pkg::ERROR_UNSUPPORTED;
        end else if (flags_bad) begin
          code = npu_pkg::ERROR_SHAPE;
          info = 32'(npu_pkg::SHAPE_RULE_FLAGS);
        end else if (field_bad != '0) begin
          code = npu_pkg::ERROR_FIELD;
          info = 32'(field_bad);
        end else if (register_bad != '0) begin
          code = npu_pkg::ERROR_REGISTER;
          info = register_bad;
        end
      end
      5'd2: begin
        if ((conv && (p_q != 34'(in_c))) || (depthwise && (p_q != 34'(out_c)))) begin
          code = npu_pkg::ERROR_SHAPE;
          info = 32'(npu_pkg::SHAPE_RULE_GROUPS);
        end
      end
      5'd3: begin
        if (conv && ((p_q != 34'(out_c)) || (transposed && (groups != 16'd1)))) begin
          code = npu_pkg::ERROR_SHAPE;
          info = 32'(npu_pkg::SHAPE_RULE_GROUPS);
        end
      end
      5'd4: begin
        if ((depthwise && (p_q > 34'(npu_pkg::MAX_K))) || (pool && (p_q > 34'(npu_pkg::MAX_POOL_TAPS)))) begin
          code = npu_pkg::ERROR_SHAPE;
          info = 32'(npu_pkg::SHAPE_RULE_K);
        end
      end
      5'd5: begin
        if ((conv && (p_q > 34'(npu_pkg::MAX_K))) || (softmax && (in_c > 32'd4095))) begin
          code = npu_pkg::ERROR_SHAPE;
          info = 32'(npu_pkg::SHAPE_RULE_K);
        end
      end
      5'd7: begin
        code = npu_pkg::ERROR_SHAPE;
        if (pitch_bad) info = 32'(npu_pkg::SHAPE_RULE_PITCH);
        else if (range_bad) info = 32'(npu_pkg::SHAPE_RULE_RANGE);
        else if (pack_bad) info = 32'(npu_pkg::SHAPE_RULE_PACK);
        else if (chunk_bad) info = 32'(npu_pkg::SHAPE_RULE_CHUNK);
        else code = npu_pkg::ERROR_NONE;
      end
      5'd9: begin
        if (tiled && tile_bad) begin
          code = npu_pkg::ERROR_TILE;
          info = 32'd1;
        end
      end
      5'd14: begin
        if (tiled && (p_q > 34'(row_pitch))) begin
          code = npu_pkg::ERROR_TILE;
          info = 32'd2;
        end
      end
      5'd16: begin
        if (tiled && (p_q > 34'(ACT_BYTES))) begin
          code = npu_pkg::ERROR_TILE;
          info = 32'd2;
        end
      end
      default: begin
        if (region_bad) begin
          code = npu_pkg::ERROR_ADDRESS;
          info = 32'(region_id);
        end
      end
    endcase
  end

  logic stop, at_end;
  always_comb begin
    at_end = 1'b0;
    stop = 1'b0;
    if (busy_o) begin
      at_end = (pc_q == LAST) || ((pc_q == 5'd1) && (op == npu_pkg::OPCODE_END));
      stop = (code != npu_pkg::ERROR_NONE) || at_end;
    end
  end
  logic unused;
  assign unused = ^{weight_bytes, in_addr[32], in2_addr[32], out_addr[32], w_addr[32]};

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      pc_q <= '0;
      done_o <= 1'b0;
    end else if (clear_i) begin
      pc_q <= '0;
      done_o <= 1'b0;
    end else begin
      done_o <= busy_o && stop;
      if (start_i) pc_q <= 5'd1;
      else if (busy_o) pc_q <= stop ? 5'd0 : pc_q + 5'd1;
    end
  end
  always_ff @(posedge clk_i) begin
    if (busy_o) begin
      if (pc_q <= 5'd20) p_q <= (product[58:34] != '0) ? 34'h3_ffff_ffff : product[33:0];
      if (pc_q == 5'd4) taps_q <= (p_q > 34'h1ff_ffff) ? 25'h1ff_ffff : p_q[24:0];
      if (pc_q == 5'd5) k_q <= p_q[16:0];
      if (pc_q == 5'd7) image_q <= tiled ? image_bytes : (loss && !errors) ? 34'd4 : 34'(in_c);
      if ((pc_q == 5'd10) || (pc_q == 5'd12)) extent_q <= 25'(p_q);
      if (pc_q == 5'd11) rows_q <= extent_q + 25'(p_q) + 25'd1;
      if (pc_q == 5'd19) in_bytes_q <= gradient ? p_q + 34'(gradient_row) : p_q;
      if (pc_q == 5'd20) out_bytes_q <= !(tiled && (out_pitch != '0)) ? p_q : (p_q > 34'h1_ffff_ffff) ? p_q : p_q + image_q;
      if (stop) begin
        code_o <= code;
        info_o <= info;
        in_addr_o <= in_addr[31:0];
        in2_addr_o <= in2_addr[31:0];
        out_addr_o <= out_addr[31:0];
        w_addr_o <= w_addr[31:0];
      end
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i) busy_o |-> !start_i);
`endif

endmodule
