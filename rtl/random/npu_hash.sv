// SPDX-License-Identifier: Apache-2.0
// Threefry-2x32 with HASH_ROUNDS rounds as a pipeline of STAGES registers: one word per cycle
// (CONTRACT.md, Random numbers). The owner keeps the valid bits and enables each register, so that
// an idle pipeline does not toggle. The key is the seed, the counter says which word of the seed's
// stream is wanted; the same pair always gives the same word, so nothing has to be stored or
// replayed.
module npu_hash #(
  parameter int unsigned STAGES = 8,  // 1, 2, 4, 8 or 16
  // 1: the key travels with its counter; 0: the key is held while words are in flight
  parameter int unsigned KEY_PIPE = 0
) (
  input  logic              clk_i,
  input  logic [STAGES-1:0] en_i,    // register s takes its input
  input  logic [63:0]       key_i,
  input  logic [63:0]       ctr_i,
  output logic [63:0]       word_o   // of the counter that entered STAGES enables ago
);

  localparam int unsigned PER_STAGE = npu_pkg::HASH_ROUNDS / STAGES;

  // Rotations repeat every eight rounds.
  function automatic logic [31:0] rotate(input logic [31:0] x, input logic [2:0] round);
    case (round)
      3'd0: rotate = {x[18:0], x[31:19]};
      3'd1: rotate = {x[16:0], x[31:17]};
      3'd2: rotate = {x[5:0], x[31:6]};
      3'd3: rotate = {x[25:0], x[31:26]};
      3'd4: rotate = {x[14:0], x[31:15]};
      3'd5: rotate = {x[2:0], x[31:3]};
      3'd6: rotate = {x[15:0], x[31:16]};
      default: rotate = {x[7:0], x[31:8]};
    endcase
  endfunction

  // Rounds first .. first + PER_STAGE - 1. A function, so that the work is under the register's
  // enable for simulators too. A round adds, rotates and xors; after every fourth one two of the
  // three key words and the number of the injection are added. The third key word is the parity of
  // the other two.
  function automatic logic [63:0] rounds(input logic [63:0] state, input logic [63:0] key,
                                         input logic [3:0] first);
    logic [31:0] a, b, k0, k1, k2;
    logic [3:0] r;
    k0 = key[31:0];
    k1 = key[63:32];
    k2 = 32'h1BD11BDA ^ k0 ^ k1;
    a = state[31:0];
    b = state[63:32];
    for (int unsigned i = 0; i < PER_STAGE; i++) begin
      r = first + 4'(i);
      a = a + b;
      b = rotate(b, r[2:0]) ^ a;
      if (r[1:0] == 2'd3) begin  // injection r / 4 + 1 adds keys (r / 4 + 1) mod 3 and the next
        case (r[3:2])
          2'd0: begin
            a = a + k1;
            b = b + k2 + 32'd1;
          end
          2'd1: begin
            a = a + k2;
            b = b + k0 + 32'd2;
          end
          2'd2: begin
            a = a + k0;
            b = b + k1 + 32'd3;
          end
          default: begin
            a = a + k1;
            b = b + k2 + 32'd4;
          end
        endcase
      end
    end
    rounds = {b, a};
  endfunction

  // The first register also adds the key for the first time. A stage's register takes from the one
  // before under an enable of its own, so words in flight may wait while others move up.
  for (genvar s = 0; s < STAGES; s++) begin : gen_stage
    logic [63:0] state_q, key;
    if (s == 0) begin : gen_first
      assign key = key_i;
      always_ff @(posedge clk_i)
        if (en_i[0])
          state_q <= rounds({ctr_i[63:32] + key[63:32], ctr_i[31:0] + key[31:0]}, key, 4'd0);
    end else begin : gen_next
      always_ff @(posedge clk_i)
        if (en_i[s]) state_q <= rounds(gen_stage[s-1].state_q, key, 4'(s * PER_STAGE));
      if (KEY_PIPE != 0) begin : gen_key
        logic [63:0] key_q;
        always_ff @(posedge clk_i) if (en_i[s-1]) key_q <= gen_stage[s-1].key;
        assign key = key_q;
      end else begin : gen_held
        assign key = key_i;
      end
    end
  end

  assign word_o = gen_stage[STAGES-1].state_q;

endmodule
