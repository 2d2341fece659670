// SPDX-License-Identifier: Apache-2.0
// The double-buffered activation scratchpad: ROWS byte-wide banks, a byte's bank is its address
// modulo ROWS, each bank with its own word address. A write covers up to ROWS consecutive bytes
// from any address. A read gives ROWS lanes: consecutive bytes from rd_addr_i, or (packed) lane i =
// byte rd_addr_i + offset i, where the offsets modulo ROWS are consecutive, so that the lanes fall
// into different banks. Lanes leave as activation minus zero point, zero beyond rd_lanes_i: nine
// bits, sign-extended to a word, because aligned lanes are cheap to assemble in simulation;
// synthesis drops the copies of the sign. Read latency: act_o is valid three cycles after the one
// with rd_valid_i, for one cycle or until the next read arrives there.
module npu_scratchpad #(
  parameter int unsigned ROWS = npu_pkg::ROWS_DEFAULT,
  parameter int unsigned ACT_BYTES = npu_pkg::ACT_BYTES_DEFAULT,
  localparam int unsigned AW = $clog2(ACT_BYTES),
  localparam int unsigned LR = $clog2(ROWS)
) (
  input  logic               clk_i,
  input  logic               rst_ni,
  // Write: byte j of the data goes to wr_addr_i + j if its mask bit is set. Nobody waits: reader
  // and writer never use the same half, so every access is granted.
  input  logic               wr_valid_i,
  input  logic               wr_half_i,
  input  logic [AW-1:0]      wr_addr_i,
  input  logic [ROWS-1:0]    wr_mask_i,
  input  logic [ROWS*8-1:0]  wr_data_i,
  // Read: lane i gets byte rd_base_i + offset i of the half, as npu_weight or npu_pool has worked
  // it out. rd_packed_i says whether each lane has an offset of its own.
  input  logic               rd_valid_i,
  input  logic               rd_half_i,
  input  logic               rd_packed_i,
  input  logic [AW-1:0]      rd_base_i,   // position
  input  logic [ROWS*AW-1:0] rd_off_i,    // offset of lane i (not packed: only of lane 0)
  input  logic [LR:0]        rd_lanes_i,  // lanes in use
  input  logic [7:0]         zero_point_i,
  output logic [ROWS*32-1:0] act_o
);

  localparam int unsigned WW = AW - LR;  // word address in one half

  // Cycle 0: bank addresses. What later cycles need of the read travels along: by how many banks
  // the first lane is rotated, and how many lanes are in use.
  logic [AW-1:0] first;
  logic [LR-1:0] rot_q, rot2_q;
  logic [LR:0] lanes_q, lanes2_q;
  logic valid_q, valid2_q;
  logic [ROWS*WW-1:0] lane_word;

  assign first = rd_base_i + rd_off_i[AW-1:0];

  // valid_q and valid2_q follow the read through bank and lane, so that nothing moves without one.
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      valid_q <= 1'b0;
      valid2_q <= 1'b0;
    end else begin
      valid_q <= rd_valid_i;
      valid2_q <= valid_q;
    end
  end
  always_ff @(posedge clk_i) begin
    if (rd_valid_i) begin
      rot_q <= first[LR-1:0];
      lanes_q <= rd_lanes_i;
    end
    if (valid_q) begin
      rot2_q <= rot_q;
      lanes2_q <= lanes_q;
    end
  end

  logic [AW-1:0] lane_addr;
  logic unused_low;
  assign unused_low = ^lane_addr[LR-1:0];
  // Packed: each lane has its own word address, for the bytes of a k-tile are spread over kernel
  // rows. Without packing the lanes are neighbours and each bank works out its address from the
  // first one.
  always_comb begin
    lane_word = '0;
    lane_addr = '0;
    if (rd_packed_i && rd_valid_i) begin
      for (int unsigned i = 0; i < ROWS; i++) begin
        lane_addr = rd_base_i + rd_off_i[i*AW +: AW];
        lane_word[i*WW +: WW] = lane_addr[AW-1:LR];
      end
    end
  end

  // Write side: rotate data and mask so that byte j stands before the bank it belongs to. The word
  // is written twice side by side, and one shift of it is the rotation.
  logic [2*ROWS*8-1:0] wr_twice;
  logic [2*ROWS-1:0] mask_twice;
  logic [ROWS*8-1:0] wr_banks;
  logic [ROWS-1:0] mask_banks;
  logic [LR-1:0] wr_rot;
  logic [LR-1:0] wr_back;
  assign wr_rot = wr_addr_i[LR-1:0];
  assign wr_back = LR'(0) - wr_rot;
  always_comb begin
    wr_twice = '0;
    mask_twice = '0;
    if (wr_valid_i) begin
      wr_twice = {wr_data_i, wr_data_i} >> {wr_back, 3'd0};
      mask_twice = {wr_mask_i, wr_mask_i} >> wr_back;
    end
  end
  assign wr_banks = wr_twice[ROWS*8-1:0];
  assign mask_banks = mask_twice[ROWS-1:0];
  logic unused_twice;
  assign unused_twice = ^{wr_twice[2*ROWS*8-1:ROWS*8], mask_twice[2*ROWS-1:ROWS]};

  logic [ROWS*8-1:0] bank_data_q;
  for (genvar b = 0; b < ROWS; b++) begin : gen_bank
    logic [7:0] mem [2*ACT_BYTES/ROWS];
    logic [WW:0] addr_q;
    logic [WW-1:0] wr_word;
    logic [LR-1:0] lane;
    logic carry;
    // Consecutive bytes that begin in a bank behind this one reach it in the next word: hence the
    // carry. Address and half are registered in cycle 0, the bank is read in cycle 1.
    assign carry = (LR + 1)'(first[LR-1:0]) > (LR + 1)'(b);
    assign lane = LR'(b) - first[LR-1:0];
    assign wr_word = wr_addr_i[AW-1:LR] + WW'((LR + 1)'(wr_rot) > (LR + 1)'(b));
    always_ff @(posedge clk_i) if (mask_banks[b]) mem[{wr_half_i, wr_word}] <= wr_banks[b*8 +: 8];
    always_ff @(posedge clk_i) begin
      if (rd_valid_i) begin
        addr_q <= {rd_half_i, rd_packed_i ? lane_word[lane*WW +: WW] : first[AW-1:LR] + WW'(carry)};
      end
      if (valid_q) bank_data_q[b*8 +: 8] <= mem[addr_q];
    end
  end

  // Cycle 2: banks to lanes, zero point, gates. Lanes that are not in use become zero, so whatever
  // lies behind a tile's last channel adds nothing to a sum.
  logic [2*ROWS*8-1:0] rd_twice;
  logic unused_rd;
  always_comb begin
    rd_twice = '0;
    if (valid2_q) rd_twice = {bank_data_q, bank_data_q} >> {rot2_q, 3'd0};
  end
  assign unused_rd = ^rd_twice[2*ROWS*8-1:ROWS*8];
  always_ff @(posedge clk_i) begin
    if (valid2_q) begin
      for (int unsigned i = 0; i < ROWS; i++) begin
        act_o[i*32 +: 32] <= ((LR + 1)'(i) < lanes2_q)
            ? 32'($signed(rd_twice[i*8 +: 8])) - 32'($signed(zero_point_i)) : 32'd0;
      end
    end
  end

`ifndef SYNTHESIS
  // The lanes of a packed read fall into different banks.
  for (genvar i = 0; i < ROWS; i++) begin : gen_check
    logic [LR-1:0] at;
    assign at = rd_base_i[LR-1:0] + rd_off_i[i*AW +: LR];
    assert property (@(posedge clk_i) disable iff (!rst_ni)
                     rd_valid_i && rd_packed_i && (LR + 1)'(i) < rd_lanes_i |->
                         at == first[LR-1:0] + LR'(i));
  end
`endif

endmodule
