// SPDX-License-Identifier: Apache-2.0
// Checks one command against the contract's rules 2 to 9 (CONTRACT.md, Validation), in their order,
// one product per cycle on one multiplier. The descriptor and the registers are held from start_i
// to done_o. The result stays until the next start. One multiplier is enough: all commands but a
// queue's first are checked while the one before runs, so that the 26 cycles that this takes are
// rarely waited for. After it, no engine has to check anything: what passes here fits every counter
// and every buffer.
module npu_validate #(
  parameter int unsigned ROWS = npu_pkg::ROWS_DEFAULT,
  parameter int unsigned ACT_BYTES = npu_pkg::ACT_BYTES_DEFAULT,
  parameter int unsigned ACC_DEPTH = npu_pkg::ACC_DEPTH_DEFAULT,
  parameter int unsigned TRAINING = npu_pkg::TRAINING_DEFAULT
) (
  input  logic                          clk_i,
  input  logic                          rst_ni,
  input  logic                          clear_i,
  // The command, and the registers that rules or addresses depend on, with all of their bits: what
  // is too large must be seen here, for those who use a register get only the bits of legal values.
  input  logic                          start_i,
  input  npu_pkg::desc_t                desc_i,
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

  // The list of checks. A step puts the factors of a product before the multiplier; the next one
  // has the product in p_q and looks at it. Rules that need no product are looked at on the way. So
  // a rule on the product of step n is found in the code under the name of step n + 1. The order of
  // the steps is the order in which the contract wants faults reported; where several rules are
  // broken, model and RTL name the same one.
  typedef enum logic [4:0] {
    IDLE = 5'd0,
    IN_CHANNELS = 5'd1,    // groups and input channels; rules 2 to 6
    OUT_CHANNELS = 5'd2,   // groups and output channels
    TAPS = 5'd3,           // taps of a kernel
    DOT = 5'd4,            // elements of a dot product
    POSITIONS = 5'd5,      // output positions of an image
    IMAGE = 5'd6,          // output elements of an image
    TILE_ROWS = 5'd7,      // rows of a tile; rules about shape
    TILE_POSITIONS = 5'd8, // positions of a tile
    STRIDE_H = 5'd9,       // input rows between the tile's first and last output row
    KERNEL_H = 5'd10,      // input rows between a kernel's first and last row
    STRIDE_W = 5'd11,      // the same for columns
    KERNEL_W = 5'd12,
    ROW_BYTES = 5'd13,     // bytes of a tile's row
    ALL_ROWS = 5'd14,      // rows of all images of a tile
    TILE_BYTES = 5'd15,    // bytes of a tile in the scratchpad
    IN_ROWS = 5'd16,       // bytes of the input, in three factors
    IN_COLUMNS = 5'd17,
    IN_BYTES = 5'd18,
    OUT_BYTES = 5'd19,     // bytes of the output
    W_BYTES = 5'd20,       // bytes of the weights
    AT_IN = 5'd21,         // regions of memory, one by one
    AT_IN2 = 5'd22,
    AT_OUT = 5'd23,
    AT_W = 5'd24,
    AT_BIAS = 5'd25,
    AT_RQ = 5'd26          // the last
  } step_t;

  logic [4:0] pc_q;  // step_t
  assign busy_o = pc_q != IDLE;

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
  // All fields are looked at as they lie in the descriptor. A field that does not concern the
  // opcode may hold anything: every rule below says for whom it holds.
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

  logic conv, depthwise, pool, add, softmax, loss, update, matrix, tiled, fused, train, out16,
      out32, transposed, gradient, errors;
  logic [$clog2(npu_pkg::OPCODES)-1:0] op_index;
  assign op_index = op[$clog2(npu_pkg::OPCODES)-1:0];
  // What kind of command it is. Combinational work of an idle checker is skipped, also by the zeros
  // that these are then.
  always_comb begin
    {conv, depthwise, pool, add, softmax, loss, update, matrix, tiled, fused, train, out16, out32,
        transposed, gradient, errors} = '0;
    if (busy_o) begin
      conv = op == npu_pkg::OPCODE_CONV2D;
      depthwise = op == npu_pkg::OPCODE_DEPTHWISE;
      pool = op == npu_pkg::OPCODE_POOL;
      add = op == npu_pkg::OPCODE_ADD;
      softmax = op == npu_pkg::OPCODE_SOFTMAX;
      loss = op == npu_pkg::OPCODE_LOSS;
      update = op == npu_pkg::OPCODE_UPDATE;
      matrix = npu_pkg::OPCODE_WEIGHTS[op_index];
      tiled = npu_pkg::OPCODE_TILES[op_index];
      fused = flags.res_add;
      out16 = flags.out16;
      out32 = flags.out32;
      transposed = flags.w_transposed;
      gradient = flags.gradient;
      errors = flags.errors;
      train = flags.w_train || flags.b_train;
    end
  end

  // One product per step, saturated to 34 bits: more than any limit it is compared with. Addresses
  // and limits have 32 bits, so a saturated product is refused like the true one would be, and
  // products of products stay saturated. The second factor has 25 bits: enough for every field and,
  // saturated likewise, for the products that come back as one.
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
  // Pooling has as many output channels as input channels, whatever out_c says. Rows of a gradient
  // begin at multiples of 64 bytes (CONTRACT.md, Update from a gradient).
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
  // Elements of outputs have 1, 2 or 4 bytes.
  logic [1:0] out_shift;
  assign out_shift = out32 ? 2'd2 : {1'b0, out16};

  // Factors. Where a step belongs to other opcodes its product is never looked at. The steps follow
  // CONTRACT.md, Shape rules, then Tile and address rules.
  always_comb begin
    a = '0;
    b = '0;
    case (pc_q)
      // groups * cin_group must be in_c, groups * cout_group out_c. For DEPTHWISE this step makes
      // in_c * cout_group, which must be out_c.
      IN_CHANNELS: begin  // rules 2 to 6 are looked at meanwhile
        a = conv ? 34'(cin_group) : 34'(in_c);
        b = conv ? 25'(groups) : cout_group[24:0];
      end
      OUT_CHANNELS: begin
        a = 34'(cout_group);
        b = 25'(groups);
      end
      TAPS: begin
        a = 34'(kernel_h);
        b = 25'(kernel_w);
      end
      // K of a convolution: taps times channels of a group. Pooling and DEPTHWISE are limited by
      // their taps alone, which the step before has found.
      DOT: begin
        a = p_q;
        b = cin_group[24:0];
      end
      POSITIONS: begin
        a = 34'(out_h);
        b = 25'(out_w);
      end
      // Elements of one output image: what out_pitch must hold, and what outputs are counted in.
      IMAGE: begin
        a = p_q;
        b = channels;
      end
      TILE_ROWS: begin
        a = 34'(tile_n);
        b = 25'(tile_h);
      end
      TILE_POSITIONS: begin
        a = p_q;
        b = 25'(tile_w);
      end
      // Rows of a tile's input region: (tile_h - 1) * stride_h + (kernel_h - 1) * dilation_h + 1,
      // columns alike (CONTRACT.md, Scratchpad). The two products follow each other, and their sum
      // is formed when the second one is there.
      STRIDE_H: begin
        a = 34'(16'(tile_h - 16'd1));
        b = 25'(stride_h);
      end
      KERNEL_H: begin
        a = 34'(16'(kernel_h - 16'd1));
        b = 25'(dilation_h);
      end
      STRIDE_W: begin
        a = 34'(16'(tile_w - 16'd1));
        b = 25'(stride_w);
      end
      KERNEL_W: begin
        a = 34'(16'(kernel_w - 16'd1));
        b = 25'(dilation_w);
      end
      // tile_c channels of each column must fit row_pitch; all rows of all images of the tile must
      // fit a half of the scratchpad.
      ROW_BYTES: begin
        a = 34'(extent_q) + p_q + 34'd1;
        b = tile_c[24:0];
      end
      ALL_ROWS: begin
        a = 34'(rows_q);
        b = 25'(tile_n);
      end
      TILE_BYTES: begin
        a = 34'(row_pitch);
        b = p_short;
      end
      // From here on regions of memory: n * in_h * in_w * in_c bytes for an image tensor, n * in_c
      // elements for a matrix. A gradient has out_c rows at their pitch, the last of them without
      // its rest.
      IN_ROWS: begin
        a = tiled ? 34'(in_h) : gradient ? 34'(gradient_pitch) : 34'(in_c);
        b = gradient ? 25'(17'(out_c[16:0] - 17'd1)) : 25'(n);
      end
      IN_COLUMNS: begin
        a = p_q;
        b = tiled ? 25'(in_w) : 25'd1;
      end
      IN_BYTES: begin
        a = p_q;
        b = tiled ? in_c[24:0] : loss ? 25'd2 : 25'd1;
      end
      OUT_BYTES: begin  // of the images but the last, or of all of them
        a = (tiled && (out_pitch != '0)) ? 34'(out_pitch) : image_q;
        b = (tiled && (out_pitch != '0)) ? 25'(16'(n - 16'd1)) : 25'(n);
      end
      // Rows of weights: one per tap (DEPTHWISE), per element of K (transposed) or per output
      // channel; an UPDATE has out_c of them.
      W_BYTES: begin
        a = 34'(pitch);
        b = depthwise ? taps_q : transposed ? 25'(k_q) : out_c[24:0];
      end
      default: ;
    endcase
  end
  assign product = 59'(a) * 59'(b);

  // Addresses with their bases, 33 bits: a sum beyond 2^32 - 1 must count as outside of memory, not
  // begin again at 0. The lower 32 bits go to the engines, which know nothing of bases.
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

  // The region of this step, where its bytes are in p_q or follow from the fields. It is the same
  // check for all six: aligned, and the whole region below MEM_LIMIT. Alignments are in
  // CONTRACT.md, Tile and address rules; a mask of the low address bits stands for each.
  localparam int unsigned AB = $clog2(npu_pkg::ALIGN);
  localparam logic [AB-1:0] ALIGNED = '1;
  logic region_used, region_bad;
  logic [32:0] region_addr;
  logic [33:0] region_bytes;
  logic [AB-1:0] region_low;  // address bits that must be zero
  logic [7:0] region_id;
  logic wide_label;
  assign wide_label = in_c > npu_pkg::LABEL8_CLASSES;
  always_comb begin
    region_used = 1'b0;
    region_addr = '0;
    region_bytes = '0;
    region_low = '0;
    region_id = '0;
    case (pc_q)
      // UPDATE reads no input unless its direction comes from a gradient. Logits are int16.
      AT_IN: begin
        region_used = !update || gradient;
        region_addr = in_addr;
        region_bytes = in_bytes_q;
        region_low = gradient ? ALIGNED : loss ? AB'(1) : '0;
        region_id = 8'(npu_pkg::ID_IN_ADDR);
      end
      // The second addend has the shape of the output (RES_ADD) or of the input (ADD). Labels have
      // a byte each, or two if there are more than 255 classes.
      AT_IN2: begin
        region_used = (matrix && fused) || add || loss;
        region_addr = in2_addr;
        region_bytes = loss ? (wide_label ? {17'd0, n, 1'b0} : {18'd0, n})
                       : add ? in_bytes_q : out_bytes_q;
        region_low = (loss && wide_label) ? AB'(1) : '0;
        region_id = 8'(npu_pkg::ID_IN2_ADDR);
      end
      // UPDATE writes in place; LOSS writes only if losses or errors are asked for.
      AT_OUT: begin
        region_used = !update && (!loss || flags.losses || errors);
        region_addr = out_addr;
        region_bytes = out_bytes_q;
        region_low = ((loss && !errors) || out32) ? AB'(3) : out16 ? AB'(1) : '0;
        region_id = 8'(npu_pkg::ID_OUT_ADDR);
      end
      // p_q still holds the product of W_BYTES: it is not overwritten in the steps behind it. The
      // pitch has to be aligned, too, else only the first row would be.
      AT_W: begin
        region_used = matrix || update;
        region_addr = w_addr;
        region_bytes = p_q;
        region_low = ALIGNED;
        region_id = 8'(npu_pkg::ID_W_ADDR);
      end
      // Four bytes per output channel for the bias, eight for the requantization table.
      AT_BIAS: begin
        region_used = matrix && flags.has_bias;
        region_addr = {1'b0, desc_i.bias_addr};
        region_bytes = {out_c, 2'b00};
        region_low = ALIGNED;
        region_id = 8'(npu_pkg::ID_BIAS_ADDR);
      end
      AT_RQ: begin
        region_used = matrix && !out32;
        region_addr = {1'b0, desc_i.rq_addr};
        region_bytes = {out_c[30:0], 3'b000};
        region_low = ALIGNED;
        region_id = 8'(npu_pkg::ID_RQ_ADDR);
      end
      default: ;
    endcase
  end
  // The end of a region may be the limit itself.
  always_comb begin
    region_bad = 1'b0;
    if (region_used)
      region_bad = ((region_addr[AB-1:0] & region_low) != '0) ||
                   (35'(region_addr) + 35'(region_bytes) > 35'(mem_limit_i)) ||
                   ((pc_q == AT_W) && (pitch[AB-1:0] != '0));
  end

  // Rules that need no product, or whose product another step has: flags (4), fields (5), registers
  // (6); then, with the dot product known, pitch, range, packing and chunks (7); tiles (8). All are
  // found side by side here, and the fault below picks the first one in the contract's order.
  logic flags_bad, range_bad, pack_bad, chunk_bad, tile_bad;
  logic [7:0] field_bad;
  logic [31:0] register_bad;
  logic signed [15:0] type_min, type_max;
  logic [4:0] pack_left, pack_right;
  logic [31:0] row_elements;
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
    image_bytes = '0;
    type_min = '0;
    type_max = '0;
    if (pc_q == IN_CHANNELS) begin
      // Which flags exclude each other, and which command a flag belongs to, is a table of the
      // specification (CONTRACT.md, Validation, rule 4).
      flags_bad = npu_pkg::flags_bad(op, flags);
      field_bad = npu_pkg::field_out_of_range(desc_i, fused);
      // Registers are checked only for commands that use them, so a host need not clean up after
      // itself. An update from a gradient draws no directions, but its step counts.
      if ((train || (update && !gradient)) && (polarity_i > npu_pkg::POLARITY_VALUE_MOST))
        register_bad = 32'(npu_pkg::REG_POLARITY);
      else if ((train || (update && !gradient)) &&
               (distribution_i > npu_pkg::DISTRIBUTION_VALUE_MOST))
        register_bad = 32'(npu_pkg::REG_DISTRIBUTION);
      else if (update && !gradient && ((pairs_i < npu_pkg::PAIRS_VALUE_LEAST) ||
                                       (pairs_i > npu_pkg::PAIRS_VALUE_MOST)))
        register_bad = 32'(npu_pkg::REG_PAIRS);
      else if (update && (32'(step_shift_i) > npu_pkg::STEP_SHIFT_MOST))
        register_bad = 32'(npu_pkg::REG_STEP);
    end
    // The product of IMAGE is in p_q here, that of DOT in k_q and that of TAPS in taps_q.
    if (pc_q == TILE_ROWS) begin
      type_min = out16 ? -16'sd32768 : -16'sd128;
      type_max = out16 ? 16'sd32767 : 16'sd127;
      // A weight row must fit its pitch: K elements, or out_c where rows run over output channels.
      // An output image must fit out_pitch, which is a multiple of the element's size and must be 0
      // with RES_ADD, whose addend lies without gaps.
      row_elements = conv ? (transposed ? out_c : 32'(k_q))
                     : depthwise ? out_c : update ? in_c : 32'd0;
      row_elements = flags.w8 ? row_elements : flags.w32 ? {row_elements[29:0], 2'b00}
                     : {row_elements[30:0], 1'b0};
      image_bytes = bytes_of(p_q, out_shift);
      pitch_bad = (row_elements > pitch) ||
                  (tiled && (out_pitch != '0) &&
                   (fused || (34'(out_pitch) < image_bytes) ||
                    (out32 && (out_pitch[1:0] != '0)) || (out16 && out_pitch[0])));
      // The clamp must lie inside the output type and be a range; a zero point of weights exists
      // for transposed int8 only; LOSS and SOFTMAX scale by shifts that their units have.
      range_bad = (tiled && !out32 &&
                   ((act_min > act_max) || (act_min < type_min) || (act_max > type_max))) ||
                  (conv && (w_zp != '0) && !(transposed && flags.w8)) ||
                  ((add || fused) && (add_min > add_max)) ||
                  (loss && ((m1 > npu_pkg::LOSS_MULTIPLIER_MAX) || (e1 > 8'sd0) ||
                            (e1 < -$signed(8'(npu_pkg::LOSS_SHIFT_MAX))))) ||
                  (softmax && ((e1 < 8'sd0) || (e1 > $signed(8'(npu_pkg::SOFTMAX_SHIFT_MAX)))));
      // Packed lanes must fall into different banks (CONTRACT.md, Packed lanes). The condition is a
      // congruence modulo ROWS, a power of two up to 32: five bits of each factor decide it.
      pack_left = row_pitch[4:0] * dilation_h[4:0];
      pack_right = kernel_w[4:0] * in_c[4:0];
      pack_bad = flags.packed_ && matrix &&
                 (depthwise || (groups != 16'd1) || (dilation_w != 8'd1) ||
                  (((pack_left ^ pack_right) & 5'(ROWS - 1)) != '0));
      // Chunks of CONV2D are for fully connected layers that exceed the scratchpad: all extents are 1.
      chunk_bad = conv && (tile_c < in_c) &&
                  !((taps_q == 25'd1) && (in_h == 16'd1) && (in_w == 16'd1) &&
                    (out_h == 16'd1) && (out_w == 16'd1) && (groups == 16'd1));
    end
    // A tile may not be larger than its tensor. Its positions must fit the accumulators; pooling
    // has none.
    if (pc_q == STRIDE_H) begin
      tile_bad = (tile_n > n) || (tile_h > out_h) || (tile_w > out_w) || (tile_c > in_c) ||
                 (!pool && (p_q > 34'(ACC_DEPTH)));
    end
  end

  // The fault of this step, if any: its code and what ERROR_INFO says about it, the id of a field,
  // rule or register.
  logic [7:0] code;
  logic [31:0] info;
  always_comb begin
    code = npu_pkg::ERROR_NONE;
    info = '0;
    case (pc_q)
      IN_CHANNELS: begin
        // Rules 2 to 6, in this order.
        if (op >= 8'(npu_pkg::OPCODES)) begin
          code = npu_pkg::ERROR_OPCODE;
        end else if (op == npu_pkg::OPCODE_END) begin
          code = npu_pkg::ERROR_NONE;
        end else if ((TRAINING == 0) &&
                     (npu_pkg::OPCODE_TRAINING[op_index] || (train && (polarity_i != '0)))) begin
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
      OUT_CHANNELS: begin
        if ((conv && (p_q != 34'(in_c))) || (depthwise && (p_q != 34'(out_c)))) begin
          code = npu_pkg::ERROR_SHAPE;
          info = 32'(npu_pkg::SHAPE_RULE_GROUPS);
        end
      end
      TAPS: begin
        if (conv && ((p_q != 34'(out_c)) || (transposed && (groups != 16'd1)))) begin
          code = npu_pkg::ERROR_SHAPE;
          info = 32'(npu_pkg::SHAPE_RULE_GROUPS);
        end
      end
      DOT: begin
        if ((depthwise && (p_q > 34'(npu_pkg::MAX_K))) ||
            (pool && (p_q > 34'(npu_pkg::MAX_POOL_TAPS)))) begin
          code = npu_pkg::ERROR_SHAPE;
          info = 32'(npu_pkg::SHAPE_RULE_K);
        end
      end
      POSITIONS: begin
        if ((conv && (p_q > 34'(npu_pkg::MAX_K))) ||
            (softmax && (in_c > npu_pkg::SOFTMAX_CLASSES))) begin
          code = npu_pkg::ERROR_SHAPE;
          info = 32'(npu_pkg::SHAPE_RULE_K);
        end
      end
      // The last of the shape rules, again in their order.
      TILE_ROWS: begin
        code = npu_pkg::ERROR_SHAPE;
        if (pitch_bad) info = 32'(npu_pkg::SHAPE_RULE_PITCH);
        else if (range_bad) info = 32'(npu_pkg::SHAPE_RULE_RANGE);
        else if (pack_bad) info = 32'(npu_pkg::SHAPE_RULE_PACK);
        else if (chunk_bad) info = 32'(npu_pkg::SHAPE_RULE_CHUNK);
        else code = npu_pkg::ERROR_NONE;
      end
      STRIDE_H: begin
        if (tiled && tile_bad) begin
          code = npu_pkg::ERROR_TILE;
          info = 32'(npu_pkg::TILE_RULE_POSITIONS);
        end
      end
      // Rule 8, bytes: first a row, then (in IN_ROWS) the whole region.
      ALL_ROWS: begin
        if (tiled && (p_q > 34'(row_pitch))) begin
          code = npu_pkg::ERROR_TILE;
          info = 32'(npu_pkg::TILE_RULE_BYTES);
        end
      end
      IN_ROWS: begin
        if (tiled && (p_q > 34'(ACT_BYTES))) begin
          code = npu_pkg::ERROR_TILE;
          info = 32'(npu_pkg::TILE_RULE_BYTES);
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

  // The first fault ends the check; so does END, which has nothing to check: the rest of its
  // descriptor may hold anything.
  logic stop, at_end;
  always_comb begin
    at_end = 1'b0;
    stop = 1'b0;
    if (busy_o) begin
      at_end = (pc_q == AT_RQ) || ((pc_q == IN_CHANNELS) && (op == npu_pkg::OPCODE_END));
      stop = (code != npu_pkg::ERROR_NONE) || at_end;
    end
  end
  logic unused;
  assign unused = ^{in_addr[32], in2_addr[32], out_addr[32], w_addr[32]};

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      pc_q <= '0;
      done_o <= 1'b0;
    end else if (clear_i) begin
      pc_q <= '0;
      done_o <= 1'b0;
    end else begin
      done_o <= busy_o && stop;
      if (start_i) pc_q <= IN_CHANNELS;
      else if (busy_o) pc_q <= stop ? IDLE : pc_q + 5'd1;
    end
  end
  // What later steps need of earlier ones. A product is kept under its own name if it is used more
  // than a step later. Bytes of a gradient get their last row here, those of an output at a pitch
  // their last image.
  always_ff @(posedge clk_i) begin
    if (busy_o) begin
      if (pc_q <= W_BYTES) p_q <= (product[58:34] != '0) ? 34'h3_ffff_ffff : product[33:0];
      if (pc_q == DOT) taps_q <= (p_q > 34'h1ff_ffff) ? 25'h1ff_ffff : p_q[24:0];
      if (pc_q == POSITIONS) k_q <= p_q[16:0];
      if (pc_q == TILE_ROWS) image_q <= tiled ? image_bytes : (loss && !errors) ? 34'd4 : 34'(in_c);
      if ((pc_q == KERNEL_H) || (pc_q == KERNEL_W)) extent_q <= 25'(p_q);
      if (pc_q == STRIDE_W) rows_q <= extent_q + 25'(p_q) + 25'd1;
      if (pc_q == OUT_BYTES) in_bytes_q <= gradient ? p_q + 34'(gradient_row) : p_q;
      if (pc_q == W_BYTES)
        out_bytes_q <= !(tiled && (out_pitch != '0)) || (p_q > 34'h1_ffff_ffff) ? p_q
                       : p_q + image_q;
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
