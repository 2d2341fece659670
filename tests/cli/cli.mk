# SPDX-License-Identifier: Apache-2.0
# The program as its users meet it: Python scripts without other packages, each ends with `N passed, N failed`.
DEBUG_BIN    := build/debug-$(notdir $(CXX))/lastmile
PORTABLE_BIN := $(if $(filter x86_64,$(shell uname -m)),build/portable-$(notdir $(CXX))/lastmile)
TEST_TARGETS += cli-test kill-test state-test files-test limits-test audit-test held-out-test determinism-test

.PHONY: cli-test kill-test state-test files-test limits-test audit-test held-out-test determinism-test determinism
cli-test: $(BIN)         ## the program with every kind of bad input; exit codes, messages, JSON, nothing left behind
	@python3 tests/cli/check_cli.py $<
kill-test: $(BIN)        ## adaptation killed at random instants and continued (LASTMILE_SEED repeats)
	@python3 tests/cli/check_kill.py $<
state-test: $(BIN)       ## who owns files, what outputs replace, streams, damaged tails, signals, numbers, names
	@python3 tests/cli/check_state.py $<
files-test: $(BIN)       ## nothing of anybody's is lost beside what a command writes
	@python3 tests/cli/check_files.py $<
limits-test: $(BIN)      ## signals in every long command, bombs, full disks, numbers, printed command lines
	@python3 tests/cli/check_limits.py $<
audit-test: $(BIN)       ## audits of true and forged journals
	@python3 tests/cli/check_audit.py $<
held-out-test: $(BIN)    ## the best point is the result; divergence goes back and ends with 8
	@python3 tests/cli/check_held_out.py $<
install-test: $(BIN)     ## what `make install` puts somewhere works from there: program, manual, completions, library
	@python3 tests/cli/check_install.py "$(SUBMAKE)" $(OUT)
TEST_TARGETS += install-test
.PHONY: install-test
# Everything that can go wrong around a run, in random order: SECONDS= (LASTMILE_SEED repeats the order).
SECONDS ?= 1800
IO_FAULTS := $(OUT)/io_faults.so
TEST_TARGETS += chaos-test
.PHONY: chaos chaos-test
$(IO_FAULTS): tests/cli/io_faults.c
	@mkdir -p $(@D)
	@$(CC) -std=c11 -O1 -Wall -Wextra -Werror -shared -fPIC $< -o $@ -ldl
CHAOS_NPU = $(call with_verilator,build/rtl-unit/peri/faults)
chaos: $(BIN) $(IO_FAULTS) $(CHAOS_NPU)  ## kills, full disks, I/O errors, two writers, signals, resets: SECONDS=
	@python3 tests/cli/chaos.py $(BIN) $(IO_FAULTS) $(SECONDS) $(CHAOS_NPU)
chaos-test: $(BIN) $(IO_FAULTS)
	@python3 tests/cli/chaos.py $(BIN) $(IO_FAULTS) 60
determinism-test: $(BIN)
	@$(MAKE) --no-print-directory VARIANT=debug build
	@python3 tests/cli/check_determinism.py $< $(DEBUG_BIN)
determinism: $(BIN)      ## the same bits from release, debug, clang++ and portable builds, any threads and hardware
	@$(MAKE) --no-print-directory VARIANT=debug build
	@$(MAKE) --no-print-directory CXX=clang++ build
	@$(if $(PORTABLE_BIN),$(MAKE) --no-print-directory ARCH=x86-64 OUT=$(patsubst %/,%,$(dir $(PORTABLE_BIN))) build)
	@ln -sf $(OUT:build/%=%)/lastmile build/lastmile
	@python3 tests/cli/check_determinism.py $< $(DEBUG_BIN) build/release-clang++/lastmile $(PORTABLE_BIN)
