// SPDX-License-Identifier: Apache-2.0
// SOFTMAX: int8 rows, the gemmlowp fixed-point algorithm of cmodel/numeric/softmax.hpp step by step
// on one 32 x 32 multiplier. Each row is read three times: largest value, sum of exponentials,
// results. An element takes ten cycles and more in each of the last two passes; a network has one
// softmax at its end, so this engine is small rather than fast. Qm.n below is a number with m
// integer and n fraction bits beside its sign.
module npu_softmax #(
  parameter int unsigned BUS_BYTES = npu_pkg::BUS_BYTES_DEFAULT
) (
  input  logic                          clk_i,
  input  logic                          rst_ni,
  input  logic                          clear_i,
  input  logic                          start_i,
  input  npu_pkg::desc_t                desc_i,
  output logic                          busy_o,
  output logic                          done_o,
  output logic                          progress_o,
  output logic                          rd_req_valid_o,
  input  logic                          rd_req_ready_i,
  output logic [31:0]                   rd_req_addr_o,
  output logic [23:0]                   rd_req_bytes_o,
  input  logic                          rd_rsp_valid_i,
  output logic                          rd_rsp_ready_o,
  input  logic [BUS_BYTES*8-1:0]        rd_rsp_data_i,
  output logic                          wr_valid_o,
  input  logic                          wr_ready_i,
  output logic [31:0]                   wr_addr_o,
  output logic [BUS_BYTES*8-1:0]        wr_data_o,
  output logic [BUS_BYTES-1:0]          wr_strb_o,
  output logic                          cnt_elements_o
);

  localparam int unsigned WB = $clog2(BUS_BYTES);
  // Constants of the series around -1/8, in Q0.31, and the largest number, which stands for 1.
  localparam logic signed [31:0] EXP_EIGHTH = 32'sd1895147668;  // exp(-1/8)
  localparam logic signed [31:0] THIRD = 32'sd715827883;
  localparam logic signed [31:0] INT_MAX = 32'sh7fff_ffff;

  // npu_validate has seen that a row has at most 4,095 values: their exponentials' sum has 12
  // integer bits.
  logic [12:0] classes;
  logic [4:0] left_shift;
  logic signed [31:0] multiplier, diff_min;
  assign classes = desc_i.in_c[12:0];
  assign left_shift = desc_i.e1[4:0];
  assign multiplier = desc_i.m1;
  assign diff_min = desc_i.diff_min;

  // Requests run ahead: each row three times. Reading a row again is cheaper than a memory for the
  // longest one (CONTRACT.md, Traffic: streams). The address moves on with a row's third request.
  logic busy_q, ask;
  logic [15:0] ask_left_q;
  logic [1:0] ask_step_q;
  logic [31:0] ask_row_q;
  assign rd_req_valid_o = busy_q && (ask_left_q != '0);
  assign rd_req_addr_o = ask_row_q;
  assign rd_req_bytes_o = 24'(classes);
  assign ask = rd_req_valid_o && rd_req_ready_i;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      ask_left_q <= '0;
      ask_step_q <= '0;
    end else if (clear_i) begin
      ask_left_q <= '0;
      ask_step_q <= '0;
    end else if (start_i) begin
      ask_left_q <= desc_i.n;
      ask_step_q <= '0;
    end else if (ask) begin
      ask_step_q <= (ask_step_q == 2'd2) ? 2'd0 : ask_step_q + 2'd1;
      if (ask_step_q == 2'd2) ask_left_q <= ask_left_q - 16'd1;
    end
  end
  always_ff @(posedge clk_i) begin
    if (ask && (ask_step_q == 2'd2)) ask_row_q <= ask_row_q + 32'(classes);
    else if (start_i) ask_row_q <= desc_i.in_addr;
  end

  // One row: TOP finds its largest value. Then for each element (second pass) the exponential of
  // its difference to the largest: SCALE to FACTORS make it, USE adds it to the sum. HALF to REFINE
  // find the reciprocal of the sum, and the third pass makes the exponentials again, each of which
  // USE multiplies by the reciprocal. A difference below diff_min is zero and skips to USE.
  typedef enum logic [4:0] {
    TOP = 5'd0,      // first pass: largest value
    TAKE = 5'd1,     // next element of the second and third pass
    SCALE = 5'd2,    // t = difference * 2^left_shift * multiplier: the argument, 26 fraction bits
    SPLIT = 5'd3,    // argument = -(multiple of 1/4) + x - 1/8, x around 0
    X2 = 5'd4,       // powers of x
    X3 = 5'd5,
    X4 = 5'd6,
    TAIL = 5'd7,     // (x^4 / 4 + x^3) / 3 + x^2
    SERIES = 5'd8,   // exp(-1/8) * (1 + x + tail / 2)
    FACTORS = 5'd9,  // times exp(-2^i / 4) for every bit of the multiple, one per cycle
    USE = 5'd10,     // add to the sum, or make the result
    HALF = 5'd11,    // the sum, normalised, and the shift that takes it back
    GUESS = 5'd12,   // reciprocal: 48/17 - 32/17 * half
    ERROR = 5'd13,   // 1 - half * reciprocal
    REFINE = 5'd14,  // Newton: reciprocal += reciprocal * error, three times
    OUT = 5'd15,     // the result goes to the packer
    FLUSH = 5'd16    // the last words go to memory
  } state_t;
  // index_q is the element that is taken next; it is 0 again behind a row's last one, which is how
  // the states know a row's end. at_q is that element's byte in its bus word.
  state_t state_q;
  logic [15:0] left_q;
  logic [31:0] row_addr_q;
  logic [12:0] index_q;
  logic [WB-1:0] at_q;
  logic third_q;  // third pass
  logic signed [7:0] value, top_q;
  logic signed [8:0] diff;
  logic [BUS_BYTES*8-1:0] at_value;
  logic taking, last_element;
  // The byte at the head of the stream; a word is done with when its last byte, or the row's, is
  // taken. Combinational work of an idle engine is skipped.
  always_comb begin
    at_value = '0;
    diff = '0;
    taking = 1'b0;
    last_element = 1'b0;
    rd_rsp_ready_o = 1'b0;
    if (busy_q) begin
      if ((state_q == TOP) || (state_q == TAKE)) begin
        at_value = rd_rsp_data_i >> {at_q, 3'd0};
        diff = 9'($signed(at_value[7:0])) - 9'(top_q);
        taking = rd_rsp_valid_i;
        last_element = index_q + 13'd1 == classes;
        rd_rsp_ready_o = last_element || (at_q == WB'(BUS_BYTES - 1));
      end
    end
  end
  assign value = at_value[7:0];
  assign cnt_elements_o = taking && third_q && (state_q == TAKE);

  // The multiplier: round(a * b / 2^31), ties by a nudge and truncation toward zero. An arithmetic
  // shift would round down instead, so negative products with a remainder get one more. Only -1
  // times -1 does not fit, and becomes the largest number.
  logic signed [31:0] a, b, p, x_q, x2_q, x3_q, r_q, t_q, rest_q, error_q, half_q;
  logic signed [63:0] product, nudged;
  logic [31:0] floor_p;
  always_comb begin
    product = '0;
    nudged = '0;
    floor_p = '0;
    p = '0;
    if (busy_q) begin
      product = 64'(a) * 64'(b);
      nudged = product + (product[63] ? -64'sh3fff_ffff : 64'sh4000_0000);
      floor_p = nudged[62:31] + 32'(nudged[63] && (nudged[30:0] != '0));
      p = ((a == 32'sh8000_0000) && (b == 32'sh8000_0000)) ? INT_MAX : floor_p;
    end
  end

  // Helpers, of the names in softmax.hpp: x / 2^n, to the nearest, ties away from zero; x * 4,
  // saturated; exp(-2^i / 4) in Q0.31.
  function automatic logic signed [31:0] shr_round(input logic signed [31:0] x,
                                                   input logic [5:0] n);
    logic [63:0] mask;
    logic signed [63:0] wide;
    mask = (64'd1 << n) - 64'd1;
    wide = 64'(x);
    shr_round = 32'(wide >>> n) +
        (((64'(wide) & mask) > ((mask >> 1) + 64'(x[31]))) ? 32'sd1 : 32'sd0);
  endfunction
  function automatic logic signed [31:0] shl2_sat(input logic signed [31:0] x);
    shl2_sat = (x[31:29] == 3'b000 || x[31:29] == 3'b111) ? {x[29:0], 2'b00}
        : x[31] ? 32'sh8000_0000 : 32'sh7fff_ffff;
  endfunction
  function automatic logic signed [31:0] factor(input logic [2:0] i);
    case (i)
      3'd0: factor = 32'sd1672461947;
      3'd1: factor = 32'sd1302514674;
      3'd2: factor = 32'sd790015084;
      3'd3: factor = 32'sd290630308;
      3'd4: factor = 32'sd39332535;
      3'd5: factor = 32'sd720401;
      default: factor = 32'sd242;
    endcase
  endfunction

  // The multiple of 1/4 in the argument, up to 127 / 4, is a sum of powers of two. Its exponential
  // is a product of seven constants at most, one for each bit that is set; the lowest bit comes
  // first, as in the reference kernel.
  logic [6:0] bits_q;  // factors still to be multiplied
  logic [2:0] bit_index;
  // Setting bits & (bits - 1) drops the lowest one, so FACTORS takes a cycle per factor and one
  // more to find that none is left.
  always_comb begin
    bit_index = 3'd0;
    if (state_q == FACTORS)
      for (int unsigned i = 7; i > 0; i--) if (bits_q[i-1]) bit_index = 3'(i - 1);
  end

  // What the multiplier gets in each state. States without an entry leave it at zero. The order of
  // the operations is that of the reference kernel: each of them rounds, so another order would
  // give other bits.
  logic signed [31:0] diff_q, scale_q, x4_4, part;
  logic [1:0] round_q;
  always_comb begin
    a = '0;
    b = '0;
    x4_4 = '0;
    if (busy_q) begin
      case (state_q)
        // The shift may wrap, but only for fields that no quantizer makes (CONTRACT.md, Softmax).
        SCALE: begin
          a = diff_q <<< left_shift;
          b = multiplier;
        end
        X2: begin
          a = x_q;
          b = x_q;
        end
        X3: begin
          a = x2_q;
          b = x_q;
        end
        X4: begin
          a = x2_q;
          b = x2_q;
        end
        // With x^2 added to the product and the half of it taken in SERIES, the tail is x^2 / 2 +
        // x^3 / 6 + x^4 / 24: the exponential's series up to the fourth power.
        TAIL: begin
          x4_4 = shr_round(t_q, 6'd2);
          a = x4_4 + x3_q;
          b = THIRD;
        end
        SERIES: begin
          a = EXP_EIGHTH;
          b = x_q + shr_round(t_q, 6'd1);
        end
        FACTORS: begin
          a = r_q;
          b = factor(bit_index);
        end
        USE: begin
          a = scale_q;
          b = r_q;
        end
        // -32/17 in Q2.29. 48/17 - 32/17 * h is the straight line closest to 1 / h for h in 1/2 ..
        // 1; each round of Newton's method squares its error.
        GUESS: begin
          a = half_q;
          b = -32'sd1010580540;
        end
        // How far half times reciprocal is from 1, which is 2^29 in Q2.29.
        ERROR: begin
          a = half_q;
          b = x_q;
        end
        REFINE: begin
          a = x_q;
          b = error_q;
        end
        default: ;
      endcase
    end
  end
  // SPLIT cuts the argument (Q5.26, not positive) into a multiple of 1/4 and this rest in -1/4 ..
  // 0, for which the series converges fast. The multiple is the rest minus the argument.
  assign part = $signed({8'd0, t_q[23:0]}) - 32'sd16777216;

  // The sum shifted to the top of a word: then it is 1 + a with a in 0 .. 1, and the reciprocal of
  // half of it is found by Newton's method. How far it was shifted is taken back at the end.
  logic signed [31:0] sum_q;
  logic [5:0] headroom, shift_out_q;
  logic [31:0] normal;
  always_comb begin
    headroom = 6'd32;
    normal = '0;
    if (state_q == HALF) begin
      for (int unsigned i = 0; i < 32; i++) if (sum_q[i]) headroom = 6'(31 - i);
      normal = sum_q << headroom;
    end
  end

  // Results of the states whose sum saturates. SERIES: near 0 the exponential rounds to 1, which
  // Q0.31 does not hold.
  logic signed [31:0] result;
  logic signed [31:0] series;
  logic signed [32:0] series_full;
  always_comb begin
    series_full = '0;
    series = '0;
    if (state_q == SERIES) begin
      series_full = 33'(EXP_EIGHTH) + 33'(p);
      series = (series_full[32] != series_full[31]) ? (series_full[32] ? 32'sh8000_0000 : INT_MAX)
          : series_full[31:0];
    end
  end
  // REFINE: the reciprocal of the half is kept as Q2.29; the product of two such numbers has two
  // integer bits too many, which the shift by two takes off. After the last round one doubling of
  // the bits makes it the reciprocal of the whole in Q0.31: half of the value, in steps a quarter
  // as large.
  logic signed [31:0] refined, double_sat;
  always_comb begin
    refined = '0;
    double_sat = '0;
    if (state_q == REFINE) begin
      refined = x_q + shl2_sat(p);
      double_sat = (refined[31] == refined[30]) ? {refined[30:0], 1'b0}
          : refined[31] ? 32'sh8000_0000 : INT_MAX;
    end
  end
  logic [7:0] out_q;
  logic zero_q;  // the difference is below diff_min
  logic pack_ready, pack_idle, pack_last;
  assign pack_last = index_q == '0;

  // The probability as int8: scale 1/256, zero point -128. shift_out_q holds both the normalisation
  // of the sum and the scale of 1/256.
  always_comb begin
    result = -32'sd128;
    if (state_q == USE) begin
      if (!zero_q) result = shr_round(p, shift_out_q) - 32'sd128;
      if (result > 32'sd127) result = 32'sd127;
      else if (result < -32'sd128) result = -32'sd128;
    end
  end

  // The walk through the states. A zero difference has the exponential 1 without a series.
  logic finished;
  // The last words may still be in the packer when the last row's end is reached.
  always_comb begin
    finished = 1'b0;
    if (state_q == FLUSH) finished = pack_idle && (left_q == '0);  // TOP when idle
  end
  // TOP and TAKE wait for memory, OUT and FLUSH for the packer; any other state takes a cycle,
  // FACTORS one per factor and one more.
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      busy_q <= 1'b0;
      done_o <= 1'b0;
      state_q <= TOP;
    end else if (clear_i) begin
      busy_q <= 1'b0;
      done_o <= 1'b0;
      state_q <= TOP;
    end else begin
      done_o <= finished;
      if (start_i) busy_q <= 1'b1;
      else if (finished) busy_q <= 1'b0;
      if (busy_q) begin
        case (state_q)
          TOP: if (taking && last_element) state_q <= TAKE;
          TAKE: if (taking) state_q <= (32'(diff) < diff_min) ? USE : SCALE;
          SCALE: state_q <= SPLIT;
          SPLIT: state_q <= (t_q == '0) ? USE : X2;
          X2: state_q <= X3;
          X3: state_q <= X4;
          X4: state_q <= TAIL;
          TAIL: state_q <= SERIES;
          SERIES: state_q <= FACTORS;
          FACTORS: if (bits_q == '0) state_q <= USE;
          USE: state_q <= third_q ? OUT : (index_q == '0) ? HALF : TAKE;
          HALF: state_q <= GUESS;
          GUESS: state_q <= ERROR;
          ERROR: state_q <= REFINE;
          REFINE: state_q <= (round_q == 2'd2) ? TAKE : ERROR;
          OUT: if (pack_ready) state_q <= !pack_last ? TAKE : (left_q == '0) ? FLUSH : TOP;
          default: if (finished) state_q <= TOP;
        endcase
      end
    end
  end

  // What each state leaves behind. In the second pass USE adds to the sum, rounded to Q12.19; in
  // the third it makes the result from the reciprocal. At the end of a pass the place goes back to
  // the row's first byte, after the third on to the next row's.
  always_ff @(posedge clk_i) begin
    if (busy_q) begin
      if (taking) begin
        index_q <= last_element ? '0 : index_q + 13'd1;
        at_q <= last_element ? row_addr_q[WB-1:0] : at_q + 1'b1;
      end
      case (state_q)
        TOP: if (taking && ((index_q == '0) || (value > top_q))) top_q <= value;
        TAKE: begin
          diff_q <= 32'(diff);
          zero_q <= 32'(diff) < diff_min;
          if (taking && last_element && third_q) begin  // the next element is the next row's
            left_q <= left_q - 16'd1;
            row_addr_q <= row_addr_q + 32'(classes);
            at_q <= row_addr_q[WB-1:0] + WB'(classes);
          end
        end
        SCALE: t_q <= p;
        SPLIT: begin
          x_q <= (part <<< 5) + 32'sh1000_0000;
          rest_q <= part - t_q;
          r_q <= INT_MAX;
        end
        X2: x2_q <= p;
        X3: x3_q <= p;
        X4: t_q <= p;
        TAIL: t_q <= p + x2_q;
        SERIES: begin
          r_q <= series;
          bits_q <= rest_q[30:24];
        end
        FACTORS: begin
          if (bits_q != '0) begin
            r_q <= p;
            bits_q <= bits_q & (bits_q - 7'd1);
          end
        end
        USE: begin
          if (!third_q && !zero_q) sum_q <= sum_q + shr_round(r_q, 6'd12);
          out_q <= result[7:0];
        end
        HALF: begin
          // The sum is 1 + a. softmax.hpp takes 1 off and adds it again before it halves.
          half_q <= {1'b0, normal[31:1]};
          shift_out_q <= 6'd35 - headroom;
        end
        GUESS: begin
          x_q <= 32'sd1515870810 + p;
          round_q <= '0;
        end
        ERROR: error_q <= 32'sh2000_0000 - p;
        REFINE: begin
          x_q <= refined;
          round_q <= round_q + 2'd1;
          // after the last round the reciprocal is doubled
          scale_q <= double_sat;
          third_q <= round_q == 2'd2;
        end
        OUT: begin
          if (pack_ready && pack_last) begin
            third_q <= 1'b0;
            sum_q <= '0;
          end
        end
        default: ;
      endcase
    end else if (start_i) begin
      left_q <= desc_i.n;
      row_addr_q <= desc_i.in_addr;
      at_q <= desc_i.in_addr[WB-1:0];
      index_q <= '0;
      third_q <= 1'b0;
      sum_q <= '0;
    end
  end
  // Rows are written one by one: each ends a stream of the packer, as the contract counts their
  // words.
  npu_pack #(.BUS_BYTES(BUS_BYTES), .LANES(1)) u_pack (
    .clk_i, .rst_ni, .clear_i, .start_i, .addr_i(desc_i.out_addr),
    .valid_i(busy_q && (state_q == OUT)), .ready_o(pack_ready), .bytes_i(out_q), .count_i(1'b1),
    .last_i(pack_last), .idle_o(pack_idle), .wr_valid_o, .wr_ready_i, .wr_addr_o, .wr_data_o,
    .wr_strb_o
  );

  // For the watchdog: arithmetic always moves, waiting for memory does not.
  assign busy_o = busy_q;
  assign progress_o = busy_q &&
      (taking || (wr_valid_o && wr_ready_i) || ((state_q == OUT) && pack_ready) ||
       ((state_q != TOP) && (state_q != TAKE) && (state_q != OUT) && (state_q != FLUSH)));
  logic unused;
  assign unused = ^{desc_i, at_value, normal, result, rest_q};

`ifndef SYNTHESIS
  // The sequencer starts a command only when the one before is done.
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i) start_i |-> !busy_q);
`endif

endmodule
