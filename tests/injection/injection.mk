# SPDX-License-Identifier: Apache-2.0
# Single bit flips in registers and memories of the RTL during a training step.
#   make fault-campaign [SAMPLES=9604] [SEED=1] [INJECT_ARRAY=4x4]   by hand; then `make readme`
SAMPLES ?= 9604
INJECT_ARRAY ?= 4x4
INJECTOR = $(OUT)/inject
$(INJECTOR): $(OUT)/tests/injection/inject.o $(LIB)
	@$(CXX) $(LD_$(VARIANT)) $^ $(LIBS) -o $@
-include $(wildcard $(OUT)/tests/injection/*.d)
INJECTION = python3 tests/injection/injection.py $(INJECTOR) $(INJECT_ARRAY) --seed $(SEED) --jobs $(JOBS)

.PHONY: fault-campaign injection-test injection-npu injection-build
injection-npu: $(SIM_DIR)/npu.so
injection-build: $(call with_verilator,$(INJECTOR))
	@$(need_verilator) $(MAKE) --no-print-directory INJECT=1 ARRAY=$(INJECT_ARRAY) injection-npu
fault-campaign:          ## bit flips in registers and memories during a training step: SAMPLES= SEED= INJECT_ARRAY=
fault-campaign: injection-build
	@$(need_verilator) $(INJECTION) --samples $(SAMPLES) --report build/reports/fault-campaign.json
# What `make test` runs: few flips, and whether the campaign sees what it must see.
injection-test: injection-build
	@$(need_verilator) $(INJECTION) --samples 200 --check
TEST_TARGETS += injection-test
