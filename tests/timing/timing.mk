# SPDX-License-Identifier: Apache-2.0
# Predicted against measured cycles, memories without stalls.
TIMING_CHECK = $(OUT)/timing-check
$(TIMING_CHECK): $(OUT)/tests/timing/timing.o $(OUT)/sim/verilator/rtl_device.o $(SIM_SHARED) $(LIB)
	@$(CXX) $(LD_$(VARIANT)) $^ $(LIBS) -o $@
-include $(wildcard $(OUT)/tests/timing/*.d)

TIMING_SETS ?= 16x16 4x4-s16384 8x16 32x32
.PHONY: timing timing-check
timing-check:            ## gates: networks' cycles predicted within 5 %, 2 % in the median; utilisation; 16 x 16
timing-check: $(call with_verilator,rtl $(TIMING_CHECK))
	@$(need_verilator) python3 tests/timing/check.py --quick $(TIMING_CHECK) sw/share/networks "$(SHARED)/vectors" 16x16
TEST_TARGETS += timing-check
timing: build $(call with_verilator,$(TIMING_CHECK))      ## the same with all networks and on 4 arrays: TIMING_SETS=
	@$(need_verilator) python3 tests/timing/check.py --report timing --make "$(SUBMAKE)" $(TIMING_CHECK) \
	  sw/share/networks "$(SHARED)/vectors" $(TIMING_SETS)
