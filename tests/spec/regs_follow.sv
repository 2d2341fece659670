// SPDX-License-Identifier: Apache-2.0
// npu_regs with plain ports, and the range check of descriptors: what the test of the specification
// compares with the model.
module regs_follow (
  input  logic                         clk_i,
  input  logic                         rst_ni,
  input  logic                         write_i,
  input  logic [11:0]                  address_i,
  input  logic [31:0]                  data_i,
  input  logic                         read_i,
  output logic [31:0]                  data_o,
  output logic                         irq_o,
  output logic                         start_o,
  output logic                         soft_reset_o,
  input  logic                         finish_i,
  input  logic                         fail_i,
  input  logic [7:0]                   fail_code_i,
  input  logic [31:0]                  fail_info_i,
  input  logic [npu_pkg::DESC_BITS-1:0] desc_i,
  output logic [7:0]                   field_out_of_range_o
);

  npu_types::axil_write_t axil_write;
  npu_types::axil_written_t axil_written;
  npu_types::axil_read_t axil_read;
  npu_types::axil_data_t axil_data;
  npu_types::verdict_t fail_verdict;
  npu_types::loss_t loss;
  assign axil_write.awvalid = write_i;
  assign axil_write.awaddr = address_i;
  assign axil_write.wvalid = write_i;
  assign axil_write.wdata = data_i;
  assign axil_write.wstrb = 4'b1111;
  assign axil_write.bready = 1'b1;
  assign axil_read.arvalid = read_i;
  assign axil_read.araddr = address_i;
  assign axil_read.rready = 1'b1;
  assign data_o = axil_data.rdata;
  assign fail_verdict.code = fail_code_i;
  assign fail_verdict.info = fail_info_i;
  assign loss = '0;
  assign field_out_of_range_o = npu_pkg::field_out_of_range(desc_i, 1'b0);

  /* verilator lint_off PINCONNECTEMPTY */
  npu_regs u_regs (
    .clk_i, .rst_ni, .axil_write_i(axil_write), .axil_written_o(axil_written),
    .axil_read_i(axil_read), .axil_data_o(axil_data), .irq_o, .start_o, .soft_reset_o,
    .begin_i(1'b0), .finish_i, .fail_i, .fail_verdict_i(fail_verdict), .busy_i(1'b0),
    .draining_i(1'b0), .bus_lost_i(1'b0), .bus_stray_i(1'b0), .command_i('0), .loss_i(loss),
    .counter_index_o(), .counter_i('0), .queue_addr_o(), .settings_o(), .pair_seed_o(),
    .pair_coef_o()
  );
  /* verilator lint_on PINCONNECTEMPTY */

  logic unused;
  assign unused = ^{axil_written, axil_data.arready, axil_data.rvalid, axil_data.rresp};

endmodule
