// SPDX-License-Identifier: Apache-2.0
// Element index of a tile's output positions in order: base, then columns, rows and images of the
// tile. Also the end of the tile. load_i takes a new tile, each step_i goes on to the next
// position; last_o says that at_o is the tile's last one.
module npu_walk (
  input  logic        clk_i,
  input  logic        load_i,
  input  logic [31:0] base_i,   // element index of the first position (and channel)
  input  logic [15:0] tn_i,
  input  logic [15:0] th_i,
  input  logic [15:0] tw_i,
  input  logic        step_i,
  input  logic [31:0] col_i,    // elements from one column, row, image to the next
  input  logic [31:0] row_i,
  input  logic [31:0] img_i,
  output logic [31:0] at_o,
  output logic        last_o
);

  logic [15:0] n_q, y_q, x_q;
  logic [31:0] row_q, img_q;
  logic last_x, last_y;
  assign last_x = (x_q == 16'd1);
  assign last_y = (y_q == 16'd1);
  assign last_o = last_x && last_y && (n_q == 16'd1);

  // What is read by others is written after them: a simulator then needs no second copy of it. The
  // first elements of the row and of the image are kept: from them the next row and image are found
  // by an addition. Counters count down, so the ends compare with a constant.
  always_ff @(posedge clk_i) begin
    if (step_i) begin
      at_o <= !last_x ? at_o + col_i : !last_y ? row_q + row_i : img_q + img_i;
      // A row's end goes on from the row's start, an image's end from the image's.
      if (last_x) begin
        row_q <= !last_y ? row_q + row_i : img_q + img_i;
        if (last_y) begin
          img_q <= img_q + img_i;
          n_q <= n_q - 16'd1;
        end
        y_q <= !last_y ? y_q - 16'd1 : th_i;
      end
      x_q <= !last_x ? x_q - 16'd1 : tw_i;
    end else if (load_i) begin
      at_o <= base_i;
      row_q <= base_i;
      img_q <= base_i;
      n_q <= tn_i;
      y_q <= th_i;
      x_q <= tw_i;
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) !(load_i && step_i));
`endif

endmodule
