# SPDX-License-Identifier: Apache-2.0
# Predicted against measured cycles, memories without stalls.
TIMING_CHECK = $(OUT)/timing-check
$(TIMING_CHECK): $(OUT)/tests/timing/timing.o $(OUT)/sim/verilator/rtl_device.o $(SIM_SHARED) $(LIB)
	@$(CXX) $(LD_$(VARIANT)) $^ $(LIBS) -o $@
-include $(wildcard $(OUT)/tests/timing/*.d)

TIMING_SETS ?= 16:16:16:65536:512:8 4:4:8:16384:64:4 8:16:16:8192:64:2 32:32:64:65536:256:16
.PHONY: timing timing-check
timing-check:            ## gates: cycles of networks predicted within 5 %, 2 % in the median; utilisation and length of a step; 16 x 16
	@$(need_verilator); $(MAKE) --no-print-directory rtl $(TIMING_CHECK) && \
	  python3 tests/timing/check.py --quick $(TIMING_CHECK) sw/networks "$(SHARED)/vectors" 16:16:16:65536:512:8
TEST_TARGETS += timing-check
timing: build            ## the same with all networks and on 4 parameter sets: TIMING_SETS=
	@$(need_verilator); $(MAKE) --no-print-directory $(TIMING_CHECK) && \
	  python3 tests/timing/check.py --report timing --make "$(MAKE)" $(TIMING_CHECK) sw/networks "$(SHARED)/vectors" $(TIMING_SETS)
