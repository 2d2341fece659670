# SPDX-License-Identifier: Apache-2.0
# The C host: part of the library for its tests; `make embedded` compiles it for a microcontroller and measures it.
RV_PREFIX ?= riscv64-unknown-elf-
RV_GCC := $(shell command -v $(RV_PREFIX)gcc 2>/dev/null)
RV_FLAGS := -march=rv32imc_zicsr -mabi=ilp32 -Os -std=c11 -ffreestanding -fno-builtin \
  -fno-tree-loop-distribute-patterns -Wall -Wextra -Wconversion -Wshadow -Werror -I.
EMBEDDED_C := sw/embedded/lm_host.c sw/embedded/lm_readout.c
EMBEDDED_DIR := build/embedded

.PHONY: embedded
embedded:                ## the C host for a microcontroller (RV32): code size and worst-case stack
embedded: $(if $(RV_GCC),$(EMBEDDED_DIR)/embedded.json)
	@$(if $(RV_GCC),cat $(EMBEDDED_DIR)/summary.txt,echo \
	  "SKIPPED: no RV32 compiler: install the package gcc-riscv64-unknown-elf")
$(EMBEDDED_DIR)/embedded.json: $(EMBEDDED_C) sw/embedded/board_rv32.c sw/embedded/start_rv32.S sw/embedded/rv32.ld \
  sw/embedded/measure.py \
    $(wildcard sw/embedded/*.h) cmodel/spec/npu_spec.h sw/embedded/embedded.mk
	@rm -rf $(EMBEDDED_DIR) && mkdir -p $(EMBEDDED_DIR)
	@for f in $(EMBEDDED_C) sw/embedded/board_rv32.c; do \
	  $(RV_PREFIX)gcc $(RV_FLAGS) -fstack-usage -fcallgraph-info=su -c $$f -o $(EMBEDDED_DIR)/$$(basename $$f .c).o || \
	  exit 1; done
	@$(RV_PREFIX)gcc $(RV_FLAGS) -c sw/embedded/start_rv32.S -o $(EMBEDDED_DIR)/start_rv32.o
	@$(RV_PREFIX)gcc -march=rv32imc_zicsr -mabi=ilp32 -nostdlib -nostartfiles -static -Wl,--no-warn-rwx-segments \
	  -T sw/embedded/rv32.ld $(EMBEDDED_DIR)/*.o -o $(EMBEDDED_DIR)/host.elf
	@python3 sw/embedded/measure.py $(RV_PREFIX) $(EMBEDDED_DIR) $@ > $(EMBEDDED_DIR)/summary.txt
TEST_TARGETS += embedded
