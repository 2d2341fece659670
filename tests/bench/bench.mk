# SPDX-License-Identifier: Apache-2.0
# Speed: `make bench`; BENCH_ARGS go to Google Benchmark (--benchmark_filter=small-cnn, --benchmark_repetitions=5).
BENCH_BIN := $(OUT)/lastmile-bench
$(BENCH_BIN): $(OUT)/tests/bench/bench.o $(LIB)
	@$(CXX) $(LD_$(VARIANT)) $^ -lbenchmark $(LIBS) -o $@
-include $(OUT)/tests/bench/bench.d
# Peers (PyTorch of the distribution; onnxruntime-node where node finds it, NODE_PATH) are measured where they are,
# skipped aloud where not.
.PHONY: bench
bench: $(BENCH_BIN)      ## speed of the model beside limits and peers, a training step; build/reports/bench.json
	@python3 tests/bench/write_onnx.py 64 build/bench-onnx
	@$< $(BENCH_ARGS)

# Speed of the RTL in simulation, 16 x 16.
ARRAY_SPEED := build/array-speed/run
$(ARRAY_SPEED): rtl/pkg/npu_pkg.sv rtl/array/npu_dot.sv tests/bench/array_speed.cpp
	@mkdir -p $(@D)
	@OBJCACHE=$(CCACHE) verilator --cc --exe --build -j 2 -O3 -sv -Wall --x-assign fast -MAKEFLAGS \
	  "OPT_FAST='$(SIM_OPT)' OPT_GLOBAL=-O2 CXX=$(SIM_CXX)" \
	  -CFLAGS "-std=c++20 -DP_ROWS=16 -DP_COLS=16" -GROWS=16 -GCOLS=16 --top-module npu_dot --prefix Vdot --Mdir \
	  $(@D)/obj -o ../run rtl/lint.vlt $(filter %.sv %.cpp,$(abspath $^)) \
	  > $(@D)/build.log 2>&1 || { cat $(@D)/build.log; exit 1; }
.PHONY: bench-sim
bench-sim: $(ARRAY_SPEED) ## speed of the RTL in simulation, alone, in lockstep, with a waveform
	@$(MAKE) --no-print-directory rtl TUNED=1
	@$(MAKE) --no-print-directory rtl CHECKED=1
	@python3 tests/bench/sim_speed.py build/lastmile $(ARRAY_SPEED) $(BENCH_SIM_ARGS)
