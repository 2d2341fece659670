// SPDX-License-Identifier: Apache-2.0
// What modules hand to each other as one: groups of ports that belong together. Widths that depend
// on a parameter (bus data) stay ports of their own, for a package has no parameters. The structs
// are packed: the first field is the highest, and a queue of width $bits carries one as it is.
package npu_types;

  // AXI4-Lite, by direction of the data: what the host drives, what it gets.
  typedef struct packed {
    logic awvalid;
    logic [11:0] awaddr;
    logic wvalid;
    logic [31:0] wdata;
    logic [3:0] wstrb;
    logic bready;
  } axil_write_t;
  typedef struct packed {
    logic awready;
    logic wready;
    logic bvalid;
    logic [1:0] bresp;
  } axil_written_t;
  typedef struct packed {
    logic arvalid;
    logic [11:0] araddr;
    logic rready;
  } axil_read_t;
  typedef struct packed {
    logic arready;
    logic rvalid;
    logic [31:0] rdata;
    logic [1:0] rresp;
  } axil_data_t;

  // A client asks the read master for every bus word that [addr, addr + bytes) touches. Answers
  // come in order, word by word, the last word of a request marked.
  typedef struct packed {
    logic valid;
    logic [31:0] addr;
    logic [23:0] bytes;
  } read_request_t;

  // The read master's state: an error in this cycle and whose, clients with bursts in flight, whether
  // no answer from before a clear is due, and whether one came that nobody has asked for.
  typedef struct packed {
    logic quiet;
    logic stray;
    logic error;
    logic [2:0] client;
    logic [5:0] waiting;  // READ_CLIENTS (Yosys 0.23 takes no constant of another package here)
  } read_status_t;

  // How a command or a queue ended: npu_pkg::error_t and what ERROR_INFO says about it. code 0 is
  // no error.
  typedef struct packed {
    logic [7:0] code;
    logic [31:0] info;
  } verdict_t;

  // Values of run-time registers, whole, as the running queue has them; those of the pairs apart.
  typedef struct packed {
    logic [31:0] queue_count;
    logic [31:0] mem_limit;
    logic [31:0] watchdog;
    logic [31:0] batch_addr;
    logic [31:0] label_addr;
    logic [31:0] out_addr;
    logic [31:0] polarity;
    logic [31:0] distribution;
    logic [63:0] seed;
    logic [63:0] mask_seed;
    logic [31:0] pairs;
    logic [31:0] step;
  } settings_t;

  // Registers that say how weights and biases are perturbed; only values that npu_validate accepts.
  typedef struct packed {
    logic [1:0] polarity;
    logic gaussian;
    logic [63:0] seed;
    logic [63:0] mask_seed;
  } perturbation_t;

  // Registers of an update, beside the seeds and coefficients of its pairs.
  typedef struct packed {
    logic [3:0] pairs;
    logic [15:0] step;
    logic [5:0] step_shift;
  } update_t;

  // A tile, from npu_load to those that work on it (CONTRACT.md, Tiles).
  typedef struct packed {
    logic last;                // of the command
    logic [31:0] out_base;     // element index of its first output
    logic signed [25:0] ix0;   // its first tap in the image; padding lies at negative coordinates
    logic signed [25:0] iy0;
    logic [17:0] img_pitch;    // scratchpad bytes from one image to the next
    logic [15:0] tw;           // output columns, output rows, images
    logic [15:0] th;
    logic [15:0] tn;
  } tile_t;
  // ... as much of it as the array needs, and the drain.
  typedef struct packed {
    logic [17:0] img_pitch;
    logic [15:0] tw;
    logic [15:0] th;
    logic [15:0] tn;
  } array_tile_t;
  typedef struct packed {
    logic [31:0] out_base;
    logic [15:0] tw;
    logic [15:0] th;
    logic [15:0] tn;
  } drain_tile_t;

  // What begins and ends with a k-tile.
  typedef struct packed {
    logic first;   // of a block: accumulators start from zero
    logic last;    // of a block
    logic load;    // first on a new half of the scratchpad
    logic unload;  // last on it
    logic tile;    // first of a tile
    logic finish;  // last of the command
  } marks_t;

  // What LOSS found; valid for one cycle.
  typedef struct packed {
    logic valid;
    logic [63:0] sum;
    logic [31:0] correct;
    logic [31:0] examples;
  } loss_t;

endpackage
