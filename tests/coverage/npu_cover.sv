// SPDX-License-Identifier: Apache-2.0
// Functional coverage of what no descriptor shows: tokens, buffers, stalls and the bus. Bound to the NPU in coverage builds only
// (tests/coverage/coverage.py); each point is something that has to happen in the suites, not something that must not.

/* verilator lint_off DECLFILENAME */

module cover_array (
  input logic clk_i, rst_ni, run, active, take, last_pos, kt_valid, kt_first, kt_load, ready_half, ready_acc, swap,
  input logic [1:0] full, acc_busy, block_valid,
  input logic stall_load, stall_weight, stall_drain
);
  back_to_back:        cover property (@(posedge clk_i) disable iff (!rst_ni) active && last_pos && take);
  one_position:        cover property (@(posedge clk_i) disable iff (!rst_ni) swap && take);
  both_halves_full:    cover property (@(posedge clk_i) disable iff (!rst_ni) full == 2'b11);
  both_halves_drained: cover property (@(posedge clk_i) disable iff (!rst_ni) acc_busy == 2'b11 && block_valid != 2'b00);
  fill_and_drain:      cover property (@(posedge clk_i) disable iff (!rst_ni) active && block_valid != 2'b00);
  waits_for_input:     cover property (@(posedge clk_i) disable iff (!rst_ni) stall_load);
  waits_for_weights:   cover property (@(posedge clk_i) disable iff (!rst_ni) stall_weight);
  waits_for_drain:     cover property (@(posedge clk_i) disable iff (!rst_ni) stall_drain);
  held_by_input:       cover property (@(posedge clk_i) disable iff (!rst_ni) kt_valid && kt_load && !ready_half);
  held_by_drain:       cover property (@(posedge clk_i) disable iff (!rst_ni) kt_valid && kt_first && !ready_acc);
  idle_between:        cover property (@(posedge clk_i) disable iff (!rst_ni) run && !active && !kt_valid);
endmodule
bind npu_array cover_array u_cover (
  .clk_i, .rst_ni, .run(run_i), .active(active_q), .take, .last_pos, .kt_valid(kt_valid_i), .kt_first(kt_marks_i.first), .kt_load(kt_marks_i.load),
  .ready_half, .ready_acc, .swap(swap_o), .full(full_i), .acc_busy(busy_q), .block_valid(block_valid_o),
  .stall_load(cnt_stall_load_o), .stall_weight(cnt_stall_weight_o), .stall_drain(cnt_stall_drain_o)
);

module cover_drain (
  input logic clk_i, rst_ni, add, wide, out_valid, seg_ready, res_valid, rq_valid, advance, last_out, par_valid, tile_valid,
  input logic [1:0] block_valid
);
  output_waits:      cover property (@(posedge clk_i) disable iff (!rst_ni) out_valid && !seg_ready);
  addend_waits:      cover property (@(posedge clk_i) disable iff (!rst_ni) add && rq_valid && !res_valid);
  addend_ready:      cover property (@(posedge clk_i) disable iff (!rst_ni) add && rq_valid && res_valid && advance);
  wide_output:       cover property (@(posedge clk_i) disable iff (!rst_ni) wide && out_valid && seg_ready);
  next_block_waits:  cover property (@(posedge clk_i) disable iff (!rst_ni) last_out && block_valid != 2'b00 && par_valid);
  params_late:       cover property (@(posedge clk_i) disable iff (!rst_ni) block_valid != 2'b00 && tile_valid && !par_valid);
endmodule
bind npu_drain cover_drain u_cover (
  .clk_i, .rst_ni, .add, .wide, .out_valid, .seg_ready(seg_ready_i), .res_valid, .rq_valid(v_q[6]), .advance, .last_out,
  .par_valid(par_valid_i), .tile_valid(tile_valid_i), .block_valid(block_valid_i)
);

module cover_weight (
  input logic clk_i, rst_ni, meta_full, kt_full, word_valid, in_ready, out_valid, out_ready, ahead_valid, ahead_ready, depthwise,
  packed_k, chunked, placing
);
  rows_queue_full:     cover property (@(posedge clk_i) disable iff (!rst_ni) meta_full);
  tiles_queue_full:    cover property (@(posedge clk_i) disable iff (!rst_ni) kt_full);
  word_waits:          cover property (@(posedge clk_i) disable iff (!rst_ni) word_valid && !in_ready);
  perturbed_waits:     cover property (@(posedge clk_i) disable iff (!rst_ni) out_valid && !out_ready);
  random_late:         cover property (@(posedge clk_i) disable iff (!rst_ni) word_valid && out_ready && !in_ready);
  random_ahead:        cover property (@(posedge clk_i) disable iff (!rst_ni) ahead_valid && !ahead_ready && !word_valid);
  diagonal:            cover property (@(posedge clk_i) disable iff (!rst_ni) depthwise && placing);
  several_taps:        cover property (@(posedge clk_i) disable iff (!rst_ni) packed_k && word_valid);
  chunks:              cover property (@(posedge clk_i) disable iff (!rst_ni) chunked && word_valid);
endmodule
bind npu_weight cover_weight u_cover (
  .clk_i, .rst_ni, .meta_full(!meta_push_ready), .kt_full(!kt_push_ready), .word_valid(p_in_valid), .in_ready(p_in_ready),
  .out_valid(p_out_valid), .out_ready(p_out_ready), .ahead_valid, .ahead_ready, .depthwise, .packed_k, .chunked, .placing(placing_q)
);

module cover_load (
  input logic clk_i, rst_ni, push_waits, half_waits, outside, columns_outside, fill, data, part_word
);
  tile_queue_full:     cover property (@(posedge clk_i) disable iff (!rst_ni) push_waits);
  half_in_use:         cover property (@(posedge clk_i) disable iff (!rst_ni) half_waits);
  row_outside:         cover property (@(posedge clk_i) disable iff (!rst_ni) outside);
  columns_of_padding:  cover property (@(posedge clk_i) disable iff (!rst_ni) columns_outside);
  filling:             cover property (@(posedge clk_i) disable iff (!rst_ni) fill);
  part_of_a_word:      cover property (@(posedge clk_i) disable iff (!rst_ni) data && part_word);
endmodule
bind npu_load cover_load u_cover (
  .clk_i, .rst_ni, .push_waits(tile_valid_o && !tile_ready_i), .half_waits(state_q == 3'd3 && full_q[half_q]),
  .outside(rq_active_q && mid_q != '0 && !rq_inside), .columns_outside(rq_active_q && mid_q == '0), .fill(place_q == 2'd2),
  .data(data_fire), .part_word(lo != '0)
);

module cover_pool (input logic clk_i, rst_ni, issue, last_tap, slot, run, maximum, window, empty, dividing, out_valid, seg_ready);
  results_full:    cover property (@(posedge clk_i) disable iff (!rst_ni) run && last_tap && !slot);
  only_padding:    cover property (@(posedge clk_i) disable iff (!rst_ni) window && empty);
  maximum_window:  cover property (@(posedge clk_i) disable iff (!rst_ni) window && maximum);
  average_window:  cover property (@(posedge clk_i) disable iff (!rst_ni) window && !maximum);
  divides_and_reads: cover property (@(posedge clk_i) disable iff (!rst_ni) dividing && issue);
  output_waits:    cover property (@(posedge clk_i) disable iff (!rst_ni) out_valid && !seg_ready);
endmodule
bind npu_pool cover_pool u_cover (
  .clk_i, .rst_ni, .issue, .last_tap, .slot, .run(state_q == 2'd2), .maximum, .window(window_q), .empty(count_q == '0), .dividing(dividing_q),
  .out_valid(out_valid_q), .seg_ready(seg_ready_i)
);

module cover_read_client (input logic clk_i, rst_ni, active, room, flight_full, grant, finish, take, page, response, ready, input logic [4:0] words);
  no_room:          cover property (@(posedge clk_i) disable iff (!rst_ni) active && !room);
  bursts_full:      cover property (@(posedge clk_i) disable iff (!rst_ni) active && flight_full);
  one_word:         cover property (@(posedge clk_i) disable iff (!rst_ni) grant && words == 5'd1);
  sixteen_words:    cover property (@(posedge clk_i) disable iff (!rst_ni) grant && words == 5'd16);
  cut_at_page:      cover property (@(posedge clk_i) disable iff (!rst_ni) grant && page && !finish);
  next_at_once:     cover property (@(posedge clk_i) disable iff (!rst_ni) finish && take);
  response_waits:   cover property (@(posedge clk_i) disable iff (!rst_ni) response && !ready);
endmodule
bind npu_axi_read_client cover_read_client u_cover (
  .clk_i, .rst_ni, .active(active_q), .room(free_q >= CB'(words)), .flight_full(bursts_q == BB'(BURSTS)), .grant(burst_grant_i), .finish, .take,
  .page((PB + 1)'(PAGE) - {1'b0, addr_q[PB-1:0]} == (PB + 1)'(words)), .response(rsp_valid_o), .ready(rsp_ready_i), .words
);

module cover_read (input logic clk_i, rst_ni, arvalid, arready, rvalid, current, stale, clear, error, input logic [5:0] wanted);
  address_waits:    cover property (@(posedge clk_i) disable iff (!rst_ni) arvalid && !arready);
  two_clients:      cover property (@(posedge clk_i) disable iff (!rst_ni) (wanted & (wanted - 6'd1)) != 6'd0);
  late_answer:      cover property (@(posedge clk_i) disable iff (!rst_ni) rvalid && !current);
  old_bursts:       cover property (@(posedge clk_i) disable iff (!rst_ni) stale);
  reset_in_flight:  cover property (@(posedge clk_i) disable iff (!rst_ni) clear && rvalid);
  error_answer:     cover property (@(posedge clk_i) disable iff (!rst_ni) error);
endmodule
bind npu_axi_read cover_read u_cover (
  .clk_i, .rst_ni, .arvalid(arvalid_o), .arready(arready_i), .rvalid(rvalid_i), .current, .stale(draining_q), .clear(clear_i), .error(status_o.error),
  .wanted(burst_valid)
);

module cover_write (
  input logic clk_i, rst_ni, awvalid, awready, wvalid, wready, accept, append, close, flush, drop, page, room, queue_room, error,
  input logic [1:0] wanted, input logic [4:0] len, input logic partial
);
  address_waits:    cover property (@(posedge clk_i) disable iff (!rst_ni) awvalid && !awready);
  data_waits:       cover property (@(posedge clk_i) disable iff (!rst_ni) wvalid && !wready);
  merged:           cover property (@(posedge clk_i) disable iff (!rst_ni) accept && append);
  longest:          cover property (@(posedge clk_i) disable iff (!rst_ni) close && len == 5'd16);
  single:           cover property (@(posedge clk_i) disable iff (!rst_ni) close && len == 5'd1);
  cut_at_page:      cover property (@(posedge clk_i) disable iff (!rst_ni) accept && !append && page);
  flushed:          cover property (@(posedge clk_i) disable iff (!rst_ni) close && flush && wanted == 2'b00);
  words_full:       cover property (@(posedge clk_i) disable iff (!rst_ni) wanted != 2'b00 && !room);
  bursts_full:      cover property (@(posedge clk_i) disable iff (!rst_ni) !queue_room);
  dropped:          cover property (@(posedge clk_i) disable iff (!rst_ni) drop && wvalid);
  part_of_a_word:   cover property (@(posedge clk_i) disable iff (!rst_ni) accept && partial);
  error_answer:     cover property (@(posedge clk_i) disable iff (!rst_ni) error);
endmodule
bind npu_axi_write cover_write u_cover (
  .clk_i, .rst_ni, .awvalid(awvalid_o), .awready(awready_i), .wvalid(wvalid_o), .wready(wready_i), .accept, .append, .close, .flush(flush_i),
  .drop(drop_q), .page(collecting_q && addr == next_q && addr[PB-1:0] == '0), .room, .queue_room, .error(error_o), .wanted(wr_valid_i),
  .len(len_q), .partial(in_strb != '1)
);

module cover_sequencer (
  input logic clk_i, rst_ni, soft_reset, expired, bus_fault, finish, fail, fetched_early, writes_late,
  input logic [2:0] state
);
  for (genvar s = 0; s < 7; s++) begin : gen_state
    in_state:       cover property (@(posedge clk_i) disable iff (!rst_ni) state == 3'(s));
  end
  reset_idle:       cover property (@(posedge clk_i) disable iff (!rst_ni) soft_reset && state == 3'd0);
  watchdog:         cover property (@(posedge clk_i) disable iff (!rst_ni) expired);
  fault:            cover property (@(posedge clk_i) disable iff (!rst_ni) bus_fault);
  finished:         cover property (@(posedge clk_i) disable iff (!rst_ni) finish);
  failed:           cover property (@(posedge clk_i) disable iff (!rst_ni) fail);
  next_is_there:    cover property (@(posedge clk_i) disable iff (!rst_ni) fetched_early);
  waits_for_writes: cover property (@(posedge clk_i) disable iff (!rst_ni) writes_late);
endmodule
bind npu_sequencer cover_sequencer u_cover (
  .clk_i, .rst_ni, .soft_reset(soft_reset_i), .expired, .bus_fault, .finish(finish_o), .fail(fail_o), .fetched_early(state_q == EXEC && fetch_valid_i),
  .writes_late(state_q == WRITES && !wr_idle_i), .state(state_q)
);

module cover_update (input logic clk_i, rst_ni, issue, half, masked_single, out_waits, clipped, zero);
  second_half:      cover property (@(posedge clk_i) disable iff (!rst_ni) issue && half);
  mask_of_one_pair: cover property (@(posedge clk_i) disable iff (!rst_ni) issue && masked_single);
  output_waits:     cover property (@(posedge clk_i) disable iff (!rst_ni) out_waits);
  limit_reached:    cover property (@(posedge clk_i) disable iff (!rst_ni) clipped);
  no_change:        cover property (@(posedge clk_i) disable iff (!rst_ni) zero);
endmodule
bind npu_update cover_update u_cover (
  .clk_i, .rst_ni, .issue, .half(half_q), .masked_single(masked_q && pairs_i == 4'd1), .out_waits(wr_valid_o && !wr_ready_i),
  .clipped(cnt_clipped_o != '0), .zero(cnt_zero_o != '0)
);

module cover_loss (input logic clk_i, rst_ni, example, counts, wide, store_waits, far);
  no_label:         cover property (@(posedge clk_i) disable iff (!rst_ni) example && !counts);
  with_label:       cover property (@(posedge clk_i) disable iff (!rst_ni) example && counts);
  wide_label:       cover property (@(posedge clk_i) disable iff (!rst_ni) example && wide);
  store_delayed:    cover property (@(posedge clk_i) disable iff (!rst_ni) store_waits);
  vanishing_power:  cover property (@(posedge clk_i) disable iff (!rst_ni) far);
endmodule
bind npu_loss cover_loss u_cover (
  .clk_i, .rst_ni, .example(example_done), .counts(counts_q), .wide(wide_label), .store_waits(wr_valid_o && !wr_ready_i), .far(busy_q && whole_q == 5'd31)
);

module cover_softmax (input logic clk_i, rst_ni, below, third, refine, out_waits);
  vanishing:        cover property (@(posedge clk_i) disable iff (!rst_ni) below && !third);
  vanishing_output: cover property (@(posedge clk_i) disable iff (!rst_ni) below && third);
  refining:         cover property (@(posedge clk_i) disable iff (!rst_ni) refine);
  output_waits:     cover property (@(posedge clk_i) disable iff (!rst_ni) out_waits);
endmodule
bind npu_softmax cover_softmax u_cover (
  .clk_i, .rst_ni, .below(busy_q && state_q == 5'd10 && zero_q), .third(third_q), .refine(busy_q && state_q == 5'd14), .out_waits(busy_q && state_q == 5'd15 && !pack_ready)
);
