// SPDX-License-Identifier: Apache-2.0
// LOSS: softmax cross-entropy of int16 logits, one element per cycle and pass; two passes over each row, the first for the largest logit
// (CONTRACT.md, Loss). For each example the label is read, then the row twice.
module npu_loss #(
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
  // results, valid with done_o
  output logic [63:0]                   loss_sum_o,
  output logic [31:0]                   loss_correct_o,
  output logic [31:0]                   loss_examples_o,
  // memory
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

  // Fields.
  logic [16:0] classes;
  logic wide_label, losses;
  logic [15:0] m;
  logic [4:0] shift;
  logic signed [7:0] e1;
  assign classes = desc_i.in_c[16:0];
  assign wide_label = classes > 17'd255;
  assign losses = desc_i.flags.losses;
  assign m = desc_i.m1[15:0];
  assign e1 = desc_i.e1;
  assign shift = 5'(-e1);

  // Requests run ahead: label, row, row.
  logic busy_q;
  logic [15:0] ask_left_q;
  logic [1:0] ask_step_q;
  logic [31:0] ask_label_q, ask_row_q;
  logic ask;
  assign rd_req_valid_o = busy_q && (ask_left_q != '0);
  assign rd_req_addr_o = (ask_step_q == 2'd0) ? ask_label_q : ask_row_q;
  assign rd_req_bytes_o = (ask_step_q == 2'd0) ? (wide_label ? 24'd2 : 24'd1) : 24'({classes, 1'b0});
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
    if (ask && (ask_step_q == 2'd2)) begin
      ask_label_q <= ask_label_q + (wide_label ? 32'd2 : 32'd1);
      ask_row_q <= ask_row_q + 32'({classes, 1'b0});
    end else if (start_i) begin
      ask_label_q <= desc_i.in2_addr;
      ask_row_q <= desc_i.in_addr;
    end
  end

  localparam logic [2:0] LABEL = 3'd0;
  localparam logic [2:0] TOP = 3'd1;    // largest logit, first index
  localparam logic [2:0] SUM = 3'd2;    // distances and their powers
  localparam logic [2:0] DRAIN = 3'd3;  // the last powers
  localparam logic [2:0] LOG = 3'd4;
  localparam logic [2:0] TOTAL = 3'd5;
  localparam logic [2:0] STORE = 3'd6;

  logic [2:0] state_q;
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

  logic [BUS_BYTES*8-1:0] at_label, at_logit;
  // combinational work of an idle engine is skipped
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
      end
    end
  end
  assign logit = at_logit[15:0];

  // Distance, power, sum: three registers behind the stream.
  logic [2:0] valid_q;
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
  assign d = 16'(top_q - logit);
  always_comb begin
    scaled = '0;
    t = '0;
    if (valid_q[0]) begin
      scaled = (33'(product_q) + ((shift == 5'd0) ? 33'd0 : (33'd1 << (shift - 5'd1)))) >> shift;
      t = (scaled[32:31] != 2'd0) ? 31'h7fff_ffff : scaled[30:0];
    end
  end
  assign fall = high_q - next_q;
  assign slope = 37'(fall) * 37'(rest_q) + 37'd2048;
  assign value = high_q - slope[36:12];
  assign power = value >> whole_q;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) valid_q <= '0;
    else if (clear_i) valid_q <= '0;
    else if (busy_q) valid_q <= {valid_q[1:0], cnt_elements_o};
  end
  always_ff @(posedge clk_i) begin
    if (cnt_elements_o) begin
      product_q <= 32'(d) * 32'(m);
      target_q[0] <= index_q[15:0] == label_q;
    end
    if (valid_q[0]) begin
      t_q <= t;
      high_q <= npu_pkg::exp2_table({1'b0, t[19:12]});
      next_q <= npu_pkg::exp2_table({1'b0, t[19:12]} + 9'd1);
      rest_q <= t[11:0];
      whole_q <= (t[30:20] > 11'd24) ? 5'd31 : t[24:20];
      target_q[1] <= target_q[0];
    end
    if (valid_q[1] && target_q[1]) target_t_q <= t_q;
    if (valid_q[1]) sum_q <= sum_q + 41'(power);  // never in state TOP
    else if (state_q == TOP) sum_q <= '0;
  end

  // log2 of the sum: leading one, table, interpolation.
  logic [5:0] msb, msb_q;
  logic [40:0] norm;
  logic [24:0] low_q, upper_q;
  logic [15:0] log_rest_q;
  logic [40:0] log_slope;
  logic [24:0] log_value, rise;
  logic [5:0] octaves;
  logic [25:0] log_rounded;
  logic [31:0] loss_total;
  logic [30:0] loss_q;
  always_comb begin
    msb = 6'd24;
    norm = '0;
    if (state_q == LOG) begin
      for (int unsigned i = 24; i < 41; i++) if (sum_q[i]) msb = 6'(i);
      norm = sum_q << (6'd40 - msb);
    end
  end
  always_comb begin
    rise = '0;
    log_slope = '0;
    log_value = '0;
    log_rounded = '0;
    octaves = '0;
    loss_total = '0;
    if (state_q == TOTAL) begin
      rise = upper_q - low_q;
      log_slope = 41'(rise) * 41'(log_rest_q) + 41'h8000;
      log_value = low_q + log_slope[40:16];
      log_rounded = {1'b0, log_value} + 26'd8;
      octaves = msb_q - 6'd24;
      loss_total = {6'd0, octaves, 20'd0} + 32'(log_rounded[25:4]) + {1'b0, target_t_q};
    end
  end

  // The example's result, in memory if asked for.
  assign wr_valid_o = state_q == STORE;  // LABEL when idle
  assign wr_addr_o = {out_addr_q[31:WB], {WB{1'b0}}};
  always_comb begin
    wr_data_o = '0;
    wr_strb_o = '0;
    if (wr_valid_o) begin
      wr_data_o = {(BUS_BYTES / 4) {1'b0, loss_q}};
      for (int unsigned i = 0; i < BUS_BYTES / 4; i++) wr_strb_o[i*4 +: 4] = (out_addr_q[WB-1:2] == (WB-2)'(i)) ? 4'hf : 4'h0;
    end
  end

  logic example_done, finished;
  always_comb begin
    example_done = 1'b0;
    if (busy_q) example_done = ((state_q == TOTAL) && (step_q == 2'd1) && !losses) || (wr_valid_o && wr_ready_i);
    finished = example_done && (left_q == 16'd1);
  end
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
          LOG: begin
            state_q <= TOTAL;
          end
          TOTAL: begin
            step_q <= 2'd1;
            if (step_q == 2'd1) begin
              step_q <= '0;
              state_q <= losses ? STORE : LABEL;
            end
          end
          default: if (wr_ready_i) state_q <= LABEL;
        endcase
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (busy_q) begin
      case (state_q)
        LABEL: begin
          label_q <= label;
          counts_q <= (17'(label) < classes) && (label != (wide_label ? 16'hffff : 16'h00ff));
          index_q <= '0;
        end
        TOP, SUM: begin
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

  always_ff @(posedge clk_i) begin
    if (element && !last_element) at_q <= at_q + WB'(2);
    else if (element || (state_q == LABEL)) at_q <= row_addr_q[WB-1:0];
  end

  assign busy_o = busy_q;
  assign progress_o = busy_q && (element || (state_q == LABEL && rd_rsp_valid_i) || (state_q >= DRAIN && state_q != STORE) ||
                                 (wr_valid_o && wr_ready_i));
  logic unused;
  assign unused = ^{desc_i, at_label, at_logit, norm, log_slope, slope, log_rounded[3:0]};

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i) start_i |-> !busy_q);
  // Where the sum is cleared, nothing is added: the order of the branches does not matter.
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i) valid_q[1] |-> state_q != TOP);
  assert property (@(posedge clk_i) disable iff (!rst_ni || clear_i)
                   wr_valid_o && !wr_ready_i |=> wr_valid_o && $stable(wr_data_o) && $stable(wr_addr_o));
`endif

endmodule
