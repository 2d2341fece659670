# SPDX-License-Identifier: Apache-2.0
# Synthesis with Yosys.
#   make synth [SYNTH="4x4 16x16"]   gates, flip-flops, memory bits, depth of each block: build/reports/synth.{json,md}
#   make synth-check                 part of `make test`: one array with training hardware and one without, not mapped
SYNTH ?= 4x4 4x4-inference 16x16 16x16-inference 8x16 32x32
.PHONY: synth synth-check
synth: setup             ## Yosys: cells, flip-flops, memory, depth of every block, cost of training: SYNTH= arrays
	@python3 tests/synth/synth.py report --jobs $(JOBS) $(SYNTH)
synth-check:             ## Yosys: no latch, no wire with two drivers, no loop; TRAINING=0 removes the training hardware
	@python3 tests/synth/synth.py check
TEST_TARGETS += synth-check
