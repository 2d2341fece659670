# Predicted against measured cycles, without stalls.
TIMING_CHECK = $(OUT)/timing-check
$(TIMING_CHECK): $(OUT)/tests/timing/timing.o $(OUT)/sim/verilator/rtl_device.o $(SIM_SHARED) $(LIB)
	@$(CXX) $(LD_$(VARIANT)) $^ $(LIBS) -o $@
-include $(wildcard $(OUT)/tests/timing/*.d)
