// SPDX-License-Identifier: Apache-2.0
// LOSS: softmax cross-entropy of int16 logits, one element per cycle and pass; two passes over each
// row, the first for the largest logit (CONTRACT.md, Loss). For each example the label is read,
// then the row twice; with ERRORS a third time, for the errors of the outputs: the same distance
// and power of each element, the logarithm of the sum added to the distance, rounded with bits
// drawn ahead.
module npu_loss #(
  parameter int unsigned BUS_BYTES = npu_pkg::BUS_BYTES_DEFAULT,
  parameter int unsigned HASH_STAGES = 8
) (
  input  logic                          clk_i,
  input  logic                          rst_ni,
  input  logic                          clear_i,
  input  logic                          start_i,
  input  npu_pkg::desc_t                desc_i,
  input  logic [63:0]                   seed_i,
  output logic                          busy_o,
  output logic                          done_o,
  output logic                          progress_o,
  // Results of the command, valid with done_o: registers LOSS_LO and LOSS_HI, CORRECT and EXAMPLES.
  output logic [63:0]                   loss_sum_o,
  output logic [31:0]                   loss_correct_o,
  output logic [31:0]                   loss_examples_o,
  // Memory: labels and logits come through one client, in the order in which they are asked for.
  // Losses or errors leave through wr_.
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
  output logic                          cnt_elements_o,
  output logic                          cnt_random_o
);

  localparam int unsigned WB = $clog2(BUS_BYTES);

  // Fields. m1 * 2^e1 turns a difference of logits into units of log2 with 20 fraction bits;
  // npu_validate has seen that m1 has 16 bits and e1 is -31..0.
  logic [16:0] classes;
  logic wide_label, losses, errors;
  logic [15:0] m;
  logic [4:0] shift;
  logic signed [7:0] e1;
  assign classes = desc_i.in_c[16:0];
  assign wide_label = classes > 17'd255;
  assign losses = desc_i.flags.losses;
  assign errors = desc_i.flags.errors;
  assign m = desc_i.m1[15:0];
  assign e1 = desc_i.e1;
  assign shift = 5'(-e1);

  // Requests run ahead: label, row, row, and with ERRORS the row again. No row is kept on chip,
  // however many classes it has; it is read again instead (CONTRACT.md, Traffic: streams).
  logic busy_q;
  logic [15:0] ask_left_q;
  logic [1:0] ask_step_q;
  logic [31:0] ask_label_q, ask_row_q;
  logic ask, ask_last;
  assign ask_last = ask_step_q == (errors ? 2'd3 : 2'd2);
  assign rd_req_valid_o = busy_q && (ask_left_q != '0);
  assign rd_req_addr_o = (ask_step_q == 2'd0) ? ask_label_q : ask_row_q;
  assign rd_req_bytes_o =
      (ask_step_q == 2'd0) ? (wide_label ? 24'd2 : 24'd1) : 24'({classes, 1'b0});
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
      ask_step_q <= ask_last ? 2'd0 : ask_step_q + 2'd1;
      if (ask_last) ask_left_q <= ask_left_q - 16'd1;
    end
  end
  // Label and row move on together, after the last reading of the row.
  always_ff @(posedge clk_i) begin
    if (ask && ask_last) begin
      ask_label_q <= ask_label_q + (wide_label ? 32'd2 : 32'd1);
      ask_row_q <= ask_row_q + 32'({classes, 1'b0});
    end else if (start_i) begin
      ask_label_q <= desc_i.in2_addr;
      ask_row_q <= desc_i.in_addr;
    end
  end

  // One example after the other. The states wait for data only in LABEL, TOP, SUM and ERROR; as
  // requests run ahead, the data usually is there.
  typedef enum logic [2:0] {
    LABEL = 3'd0,
    TOP = 3'd1,    // first pass: largest logit, first index
    SUM = 3'd2,    // second pass: distances and the sum of their powers
    DRAIN = 3'd3,  // the last powers
    LOG = 3'd4,    // logarithm of the sum: its leading one and the table
    TOTAL = 3'd5,  // ... interpolated, plus the label's distance: the loss; then it is added
    STORE = 3'd6,  // the loss goes to memory
    ERROR = 3'd7   // third pass: distances to the logarithm of the sum, their powers, errors
  } state_t;

  state_t state_q;
  // Where we are: addresses of the example's label, logits and loss. Of the first two only the
  // lowest bits are used, to find the first byte in its bus word.
  logic [1:0] step_q;
  logic [15:0] left_q;           // examples
  logic [31:0] label_addr_q, row_addr_q, out_addr_q;
  logic [15:0] label_q;
  logic counts_q;                // the example has a label
  logic [16:0] index_q;
  logic [WB-1:0] at_q;           // byte in the word
  logic element, last_element, word_end;
  logic [15:0] label;
  logic signed [15:0] logit, top_q;
  logic [15:0] first_q;

  // e_advance: the registers of the third pass move. e_all_q: the row's last element is in them.
  logic e_advance, e_all_q;
  logic e_element;
  logic [BUS_BYTES*8-1:0] at_label, at_logit;
  // The element at the head of the stream; a word is done with when its last element, or the row's,
  // is taken. Combinational work of an idle engine is skipped. Logits are 2-byte aligned, so none
  // straddles two words.
  always_comb begin
    at_label = '0;
    at_logit = '0;
    label = '0;
    element = 1'b0;
    last_element = 1'b0;
    word_end = 1'b0;
    rd_rsp_ready_o = 1'b0;
    cnt_elements_o = 1'b0;
    if (busy_q) begin
      if (state_q == LABEL) begin
        at_label = rd_rsp_data_i >> {label_addr_q[WB-1:0], 3'd0};
        label = wide_label ? at_label[15:0] : {8'd0, at_label[7:0]};
        rd_rsp_ready_o = 1'b1;
      end else if ((state_q == TOP) || (state_q == SUM)) begin
        at_logit = rd_rsp_data_i >> {at_q, 3'd0};
        element = rd_rsp_valid_i;
        last_element = index_q + 17'd1 == classes;
        word_end = at_q == WB'(BUS_BYTES - 2);
        rd_rsp_ready_o = last_element || word_end;
        cnt_elements_o = element && (state_q == SUM);
      end else if (state_q == ERROR) begin
        at_logit = rd_rsp_data_i >> {at_q, 3'd0};
        element = rd_rsp_valid_i && e_advance && !e_all_q;
        last_element = index_q + 17'd1 == classes;
        word_end = at_q == WB'(BUS_BYTES - 2);
        rd_rsp_ready_o = e_advance && !e_all_q && (last_element || word_end);
      end
    end
  end
  assign logit = at_logit[15:0];
  assign e_element = element && (state_q == ERROR);

  // Distance, power, sum: three registers behind the stream. In the third pass the distance goes
  // round once more, with the logarithm of the sum added: product, distance, table, power, error.
  logic [2:0] valid_q;
  logic [4:0] e_valid_q, e_en;
  logic [30:0] distance;         // whose power is looked up
  logic [25:0] log_sum_q;        // log2 of the sum of the powers, 20 fraction bits
  logic [31:0] past;
  logic [1:0] target_q;          // the element is the label's
  logic [15:0] d;
  logic [31:0] product_q;
  logic [32:0] scaled;
  logic [30:0] t, target_t_q, t_q;
  logic [24:0] high_q, next_q;
  logic [4:0] whole_q;
  logic [11:0] rest_q;
  logic [36:0] slope;
  logic [24:0] value, fall, power;
  logic [40:0] sum_q;
  // The difference of two int16 is 0..65535 here, for nothing is above the largest logit: 16 bits
  // without a sign.
  assign d = 16'(top_q - logit);
  // t: distance to the largest logit in units of log2, rounded; saturated to 31 bits. One table
  // serves both uses: in the third pass it is the sum of distance and logarithm that goes there
  // (CONTRACT.md, Output error).
  always_comb begin
    scaled = '0;
    t = '0;
    if (valid_q[0] || e_en[1]) begin
      scaled = (33'(product_q) + ((shift == 5'd0) ? 33'd0 : (33'd1 << (shift - 5'd1)))) >> shift;
      t = (scaled[32:31] != 2'd0) ? 31'h7fff_ffff : scaled[30:0];
    end
    past = '0;
    distance = t;
    if (e_en[2]) begin
      past = {1'b0, t_q} + 32'(log_sum_q);
      distance = past[31] ? 31'h7fff_ffff : past[30:0];
    end
  end
  // 2^-distance: a table of 256 steps of an octave, straight lines between them, then the octaves.
  // 24 fraction bits; the interpolation rounds, the shift by octaves truncates, as the contract
  // says.
  assign fall = high_q - next_q;
  assign slope = 37'(fall) * 37'(rest_q) + 37'd2048;
  assign value = high_q - slope[36:12];
  assign power = value >> whole_q;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) valid_q <= '0;
    else if (clear_i) valid_q <= '0;
    else if (busy_q) valid_q <= {valid_q[1:0], cnt_elements_o};
  end
  // Registers of both passes. A distance of more than 24 octaves is set to 31, a shift that leaves
  // zero. The label's own distance is caught on the way, for the loss is log2(sum) plus that
  // distance. The sum of 65,536 powers of at most 2^24 has 41 bits.
  always_ff @(posedge clk_i) begin
    if (cnt_elements_o || e_en[0]) begin
      product_q <= 32'(d) * 32'(m);
      target_q[0] <= index_q[15:0] == label_q;
    end
    if (valid_q[0] || e_en[1]) begin
      t_q <= t;
      target_q[1] <= target_q[0];
    end
    if (valid_q[0] || e_en[2]) begin
      high_q <= npu_pkg::exp2_table({1'b0, distance[19:12]});
      next_q <= npu_pkg::exp2_table({1'b0, distance[19:12]} + 9'd1);
      rest_q <= distance[11:0];
      whole_q <= (distance[30:20] > 11'd24) ? 5'd31 : distance[24:20];
    end
    if (valid_q[1] && target_q[1]) target_t_q <= t_q;
    if (valid_q[1]) sum_q <= sum_q + 41'(power);  // never in state TOP
    else if (state_q == TOP) sum_q <= '0;
  end

  // log2 of the sum: leading one, table, interpolation. The largest logit alone contributes 2^24,
  // so the leading one is at bit 24 or above, and the logarithm of the sum over 2^24 is never
  // negative.
  logic [5:0] msb, msb_q;
  logic [40:0] norm;
  logic [24:0] low_q, upper_q;
  logic [15:0] log_rest_q;
  logic [40:0] log_slope;
  logic [24:0] log_value, rise;
  logic [5:0] octaves;
  logic [25:0] log_rounded, log_sum;
  logic [31:0] loss_total;
  logic [30:0] loss_q;
  // The highest bit set wins, and the sum is shifted so that it comes to bit 40: eight bits below
  // it choose the segment, sixteen more the place in it.
  always_comb begin
    msb = 6'd24;
    norm = '0;
    if (state_q == LOG) begin
      for (int unsigned i = 24; i < 41; i++) if (sum_q[i]) msb = 6'(i);
      norm = sum_q << (6'd40 - msb);
    end
  end
  // 24 fraction bits out of the table are rounded to 20, whole octaves are put before them; with
  // the label's distance that is the loss (CONTRACT.md, Loss).
  always_comb begin
    rise = '0;
    log_slope = '0;
    log_value = '0;
    log_rounded = '0;
    octaves = '0;
    log_sum = '0;
    loss_total = '0;
    if (state_q == TOTAL) begin
      rise = upper_q - low_q;
      log_slope = 41'(rise) * 41'(log_rest_q) + 41'h8000;
      log_value = low_q + log_slope[40:16];
      log_rounded = {1'b0, log_value} + 26'd8;
      octaves = msb_q - 6'd24;
      log_sum = {octaves, 20'd0} + 26'(log_rounded[25:4]);
      loss_total = 32'(log_sum) + {1'b0, target_t_q};
    end
  end

  // Rounding bits of the errors: a word for four classes, drawn ahead from the row's beginning on;
  // the words wait in the pipeline. They depend on SEED, tensor, example and class alone. Ignored
  // examples draw theirs too, so the counter RANDOM_WORDS follows from the shape.
  localparam int unsigned H = HASH_STAGES;
  logic [H-1:0] h_valid_q, h_en;
  logic [15:0] example_q;        // row, as it is drawn
  logic [16:0] h_column_q;
  logic [63:0] h_word;
  logic h_go, h_move, h_pop, h_all_q, h_row_end;
  always_comb begin
    h_move = 1'b0;
    h_go = 1'b0;
    h_en = '0;
    h_row_end = 1'b0;
    if (busy_q && errors) begin
      h_move = !h_valid_q[H-1] || h_pop;
      h_go = h_move && !h_all_q;
      if (h_move) h_en = {h_valid_q[H-2:0], h_go};
      h_row_end = h_column_q + 17'd4 >= classes;
    end
  end
  assign cnt_random_o = h_go;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) h_valid_q <= '0;
    else if (clear_i) h_valid_q <= '0;
    else if (h_move) h_valid_q <= h_en;
  end
  // Drawing is ahead of the examples by as many words as the pipeline holds and knows nothing of
  // their labels; a row takes the words that cover its classes.
  always_ff @(posedge clk_i) begin
    if (h_go) begin
      h_column_q <= h_row_end ? '0 : h_column_q + 17'd4;
      if (h_row_end) example_q <= example_q + 16'd1;
      h_all_q <= h_row_end && (example_q + 16'd1 == desc_i.n);
    end else if (start_i) begin
      h_column_q <= '0;
      example_q <= '0;
      h_all_q <= 1'b0;
    end
  end
  // CONTRACT.md, Random numbers: row is the example, block is the class divided by 4.
  logic [63:0] h_counter;
  always_comb begin
    h_counter = '0;
    if (h_go)
      h_counter = {8'd0, npu_pkg::DOMAIN_ROUND, desc_i.w_tensor, example_q, 1'b0, h_column_q[16:2]};
  end
  npu_hash #(.STAGES(H)) u_hash (
    .clk_i, .en_i(h_en), .key_i(seed_i), .ctr_i(h_counter), .word_o(h_word)
  );

  // Third pass: the error of an element from its power. Element i of the row takes 16 bits i mod 4
  // of its word. What enters is a probability with 24 fraction bits, what leaves an int8 in units
  // of 2^-7: 17 bits are dropped, rounded up or down by the random bits.
  logic [24:0] power_q;
  logic [1:0] e_target_q;        // the element is the label's: beside table, power
  logic [1:0] e_last_in_q;       // the row's last: beside product, distance
  logic [2:0] e_last_q;          // ... beside table, power, error
  logic [1:0] e_at_q;
  logic [7:0] error_q;
  logic pack_ready, pack_idle, e_busy;
  function automatic logic [7:0] rounded_error(input logic [24:0] probability,
                                               input logic is_label, input logic [15:0] random);
    // The sign is known beforehand: a probability is at most 1, so the label's error is never
    // positive and no other one is negative. Rounding the magnitude is therefore symmetric.
    logic [24:0] magnitude;
    logic [8:0] steps;
    logic [6:0] q;
    magnitude = is_label ? 25'h100_0000 - probability : probability;
    steps = 9'((26'(magnitude) + {9'd0, random, 1'b1}) >> 17);
    q = (steps[8:7] != 2'd0) ? 7'd127 : steps[6:0];
    rounded_error = is_label ? -{1'b0, q} : {1'b0, q};
  endfunction
  // Five registers move together. They wait if the packer cannot take an error, or if an element
  // has come to the rounding before its random word has.
  always_comb begin
    e_advance = 1'b0;
    e_busy = 1'b0;
    if (state_q == ERROR) begin
      e_advance = !(e_valid_q[4] && !pack_ready) && !(e_valid_q[3] && !h_valid_q[H-1]);
      e_busy = e_valid_q != '0;
    end
  end
  // A random word is done with after four elements, or at the end of the row: the next row begins
  // with a word of its own.
  always_comb begin
    e_en = '0;
    h_pop = 1'b0;
    if (e_advance) begin
      e_en = {e_valid_q[3:0], e_element};
      h_pop = e_en[4] && ((e_at_q == 2'd3) || e_last_q[1]);
    end
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) e_valid_q <= '0;
    else if (clear_i) e_valid_q <= '0;
    else if (e_advance) e_valid_q <= e_en;
  end
  // The errors of an ignored example are 0 (CONTRACT.md, Output error); they are written all the
  // same.
  always_ff @(posedge clk_i) begin
    if (e_en[2]) e_target_q[0] <= target_q[1];
    if (e_en[3]) begin
      power_q <= power;
      e_target_q[1] <= e_target_q[0];
    end
    if (e_en[4])
      error_q <= counts_q ? rounded_error(power_q, e_target_q[1], h_word[e_at_q*16 +: 16]) : 8'd0;
    if (e_en[4]) e_at_q <= h_pop ? '0 : e_at_q + 2'd1;
    else if (state_q == LABEL) e_at_q <= '0;
  end

  // Results in memory, if asked for: losses a write each, errors packed, each row by itself. A
  // command has one of the two at most (CONTRACT.md, Validation).
  logic pack_wr_valid;
  logic [31:0] pack_wr_addr;
  logic [BUS_BYTES*8-1:0] pack_wr_data;
  logic [BUS_BYTES-1:0] pack_wr_strb;
  npu_pack #(.BUS_BYTES(BUS_BYTES), .LANES(1)) u_pack (
    .clk_i, .rst_ni, .clear_i, .start_i, .addr_i(desc_i.out_addr),
    .valid_i(e_valid_q[4] && e_advance), .ready_o(pack_ready), .bytes_i(error_q), .count_i(1'b1),
    .last_i(e_last_q[2]), .idle_o(pack_idle), .wr_valid_o(pack_wr_valid), .wr_ready_i,
    .wr_addr_o(pack_wr_addr), .wr_data_o(pack_wr_data), .wr_strb_o(pack_wr_strb)
  );
  assign wr_valid_o = (state_q == STORE) || pack_wr_valid;  // LABEL when idle
  assign wr_addr_o = errors ? pack_wr_addr : {out_addr_q[31:WB], {WB{1'b0}}};
  // A loss is repeated across the word, and the strobes choose its four bytes.
  always_comb begin
    wr_data_o = '0;
    wr_strb_o = '0;
    if (pack_wr_valid) begin
      wr_data_o = pack_wr_data;
      wr_strb_o = pack_wr_strb;
    end else if (wr_valid_o) begin
      wr_data_o = {(BUS_BYTES / 4) {1'b0, loss_q}};
      for (int unsigned i = 0; i < BUS_BYTES / 4; i++)
        wr_strb_o[i*4 +: 4] = (out_addr_q[WB-1:2] == (WB-2)'(i)) ? 4'hf : 4'h0;
    end
  end

  // The walk through the states. An example without output ends when its loss has been added, else
  // when it was accepted; the command's last errors must have left the packer.
  logic example_done, finished;
  always_comb begin
    example_done = 1'b0;
    // the last one's are in memory
    if (state_q == ERROR)
      example_done = e_all_q && !e_busy && ((left_q != 16'd1) || pack_idle);
    else if (busy_q)
      example_done = ((state_q == TOTAL) && (step_q == 2'd1) && !losses && !errors) ||
                     ((state_q == STORE) && wr_ready_i);
    finished = example_done && (left_q == 16'd1);
  end
  // TOTAL has two steps: the loss is worked out in the first and added in the second.
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      busy_q <= 1'b0;
      done_o <= 1'b0;
      state_q <= LABEL;
      step_q <= '0;
    end else if (clear_i) begin
      busy_q <= 1'b0;
      done_o <= 1'b0;
      state_q <= LABEL;
      step_q <= '0;
    end else begin
      done_o <= finished;
      if (start_i) busy_q <= 1'b1;
      else if (finished) busy_q <= 1'b0;
      if (busy_q) begin
        step_q <= '0;
        case (state_q)
          LABEL: if (rd_rsp_valid_i) state_q <= TOP;
          TOP: if (element && last_element) state_q <= SUM;
          SUM: if (element && last_element) state_q <= DRAIN;
          DRAIN: if (valid_q == '0) state_q <= LOG;
          LOG: state_q <= TOTAL;
          TOTAL: begin
            step_q <= 2'd1;
            if (step_q == 2'd1) begin
              step_q <= '0;
              state_q <= losses ? STORE : errors ? ERROR : LABEL;
            end
          end
          default: if (example_done) state_q <= LABEL;
        endcase
      end
    end
  end

  // What each state leaves behind, and the next example's addresses. Ignored examples (a label of
  // all ones, or beyond the classes) have loss 0 and count nowhere. CORRECT compares with the first
  // of the largest logits: only a larger one replaces it.
  always_ff @(posedge clk_i) begin
    if (busy_q) begin
      case (state_q)
        LABEL: begin
          label_q <= label;
          counts_q <= (17'(label) < classes) && (label != (wide_label ? 16'hffff : 16'h00ff));
          index_q <= '0;
        end
        TOP, SUM, ERROR: begin
          if (element) begin
            index_q <= last_element ? '0 : index_q + 17'd1;
            if ((state_q == TOP) && ((index_q == '0) || (logit > top_q))) begin
              top_q <= logit;
              first_q <= index_q[15:0];
            end
          end
        end
        LOG: begin
          msb_q <= msb;
          low_q <= npu_pkg::log2_table({1'b0, norm[39:32]});
          upper_q <= npu_pkg::log2_table({1'b0, norm[39:32]} + 9'd1);
          log_rest_q <= norm[31:16];
        end
        TOTAL: begin
          if (step_q == 2'd0) begin
            log_sum_q <= log_sum;
            loss_q <= !counts_q ? '0 : loss_total[31] ? 31'h7fff_ffff : loss_total[30:0];
          end else if (counts_q) begin
            loss_sum_o <= loss_sum_o + 64'(loss_q);
            loss_examples_o <= loss_examples_o + 32'd1;
            if (first_q == label_q) loss_correct_o <= loss_correct_o + 32'd1;
          end
        end
        default: ;
      endcase
      if (example_done) begin
        left_q <= left_q - 16'd1;
        label_addr_q <= label_addr_q + (wide_label ? 32'd2 : 32'd1);
        row_addr_q <= row_addr_q + 32'({classes, 1'b0});
        out_addr_q <= out_addr_q + 32'd4;
      end
    end else if (start_i) begin
      left_q <= desc_i.n;
      label_addr_q <= desc_i.in2_addr;
      row_addr_q <= desc_i.in_addr;
      out_addr_q <= desc_i.out_addr;
      loss_sum_o <= '0;
      loss_correct_o <= '0;
      loss_examples_o <= '0;
    end
  end

  // Place of the next logit in its bus word; every pass begins at the row's first one.
  always_ff @(posedge clk_i) begin
    if (element && !last_element) at_q <= at_q + WB'(2);
    else if (element || (state_q == LABEL)) at_q <= row_addr_q[WB-1:0];
  end

  // Of the third pass: no element comes before the registers are empty again, so they and the table
  // have one user.
  always_ff @(posedge clk_i) begin
    if (state_q == TOTAL) e_all_q <= 1'b0;
    else if (e_en[0] && last_element) e_all_q <= 1'b1;
    if (e_en[2]) e_last_q[0] <= e_last_in_q[1];
    if (e_en[3]) e_last_q[1] <= e_last_q[0];
    if (e_en[4]) e_last_q[2] <= e_last_q[1];
    if (e_en[0]) e_last_in_q[0] <= last_element;
    if (e_en[1]) e_last_in_q[1] <= e_last_in_q[0];
  end

  // For the watchdog: any step of the states or of the bus is progress, so only a memory that does
  // not answer looks like a stall.
  assign busy_o = busy_q;
  assign progress_o = busy_q && (element || (state_q == LABEL && rd_rsp_valid_i) ||
                                 (state_q >= DRAIN && state_q < STORE) || (e_advance && e_busy) ||
                                 (wr_valid_o && wr_ready_i));
  logic unused;
  assign unused = ^{desc_i, at_label, at_logit, norm, log_slope, slope, log_rounded[3:0]};

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i) start_i |-> !busy_q);
  // Where the sum is cleared, nothing is added: the order of the branches does not matter.
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i) valid_q[1] |-> state_q != TOP);
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                   wr_valid_o && !wr_ready_i |=> wr_valid_o && $stable(wr_data_o) &&
                       $stable(wr_addr_o));
`endif

endmodule
