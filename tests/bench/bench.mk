# Speed: `make bench`; BENCH_ARGS go to Google Benchmark (--benchmark_filter=small-cnn, --benchmark_repetitions=5).
BENCH_BIN := $(OUT)/lastmile-bench
$(BENCH_BIN): $(OUT)/tests/bench/bench.o $(LIB)
	@$(CXX) $(LD_$(VARIANT)) $^ -lbenchmark $(LIBS) -o $@
-include $(OUT)/tests/bench/bench.d
.PHONY: bench
bench: $(BENCH_BIN)      ## speed of the model, cost of a training step; build/reports/bench.json
	@$< $(BENCH_ARGS)
