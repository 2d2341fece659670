// Element index of a tile's output positions in order: base, then columns, rows and images of the tile. Also the end of the tile.
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

  always_ff @(posedge clk_i) begin
    if (load_i) begin
      n_q <= tn_i;
      y_q <= th_i;
      x_q <= tw_i;
      at_o <= base_i;
      row_q <= base_i;
      img_q <= base_i;
    end else if (step_i) begin
      if (!last_x) begin
        x_q <= x_q - 16'd1;
        at_o <= at_o + col_i;
      end else begin
        x_q <= tw_i;
        if (!last_y) begin
          y_q <= y_q - 16'd1;
          at_o <= row_q + row_i;
          row_q <= row_q + row_i;
        end else begin
          y_q <= th_i;
          n_q <= n_q - 16'd1;
          at_o <= img_q + img_i;
          row_q <= img_q + img_i;
          img_q <= img_q + img_i;
        end
      end
    end
  end

endmodule
