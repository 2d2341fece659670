# SPDX-License-Identifier: Apache-2.0
# Quality of the perturbation generator outside the doctest runner: raw streams, dieharder, long tests.
RANDOM_STREAM := $(OUT)/random-stream
RANDOM_LONG   := $(OUT)/random-long
$(RANDOM_STREAM): $(OUT)/tests/random/stream_main.o $(OUT)/tests/random/stream.o
	@$(CXX) $(LD_$(VARIANT)) $^ -o $@
	@ln -sf $(OUT:build/%=%)/random-stream build/random-stream
$(RANDOM_LONG): $(OUT)/tests/random/long_main.o $(OUT)/tests/random/stream.o $(OUT)/tests/random/statistics.o $(LIB)
	@$(CXX) $(LD_$(VARIANT)) $^ $(LIBS) -o $@
-include $(OUT)/tests/random/stream_main.d $(OUT)/tests/random/long_main.d

RANDOM_ORDERS ?= seeds/sign/word elements/sign/word network/gaussian/word robin/sign/word tensors/sign/word \
  rows/sign/word \
  elements/round/word seeds/round/word seeds/sign/reversed elements/sign/high elements/sign/low \
  seeds/sign/bit-0 seeds/sign/bit-31 seeds/sign/bit-63 elements/sign/bit-0 elements/sign/bit-32
.PHONY: random-stream random-long dieharder dieharder-fast
random-stream: $(RANDOM_STREAM)  ## program that writes the generator's stream for external test batteries
random-long: $(RANDOM_LONG)      ## Crush-like tests of the stream (about an hour; RANDOM_SCALE=0.1: minutes)
	@mkdir -p build/reports
	@nice $(RANDOM_LONG) --threads $(JOBS) --scale $(or $(RANDOM_SCALE),1) --json build/reports/random-long.json \
	  $(RANDOM_ORDERS)
dieharder: $(RANDOM_STREAM)      ## every test of `dieharder -a` on 16 orders of the stream (hours; DIEHARDER_ARGS=)
	@nice python3 tests/random/dieharder.py --stream $(RANDOM_STREAM) --out build/reports/dieharder $(DIEHARDER_ARGS)
	@cp build/reports/dieharder/dieharder.{json,md} build/reports/
dieharder-fast: $(RANDOM_STREAM)
	@python3 tests/random/dieharder.py --stream $(RANDOM_STREAM) --out build/reports/dieharder-fast --fast --jobs $(JOBS)
TEST_TARGETS += dieharder-fast
