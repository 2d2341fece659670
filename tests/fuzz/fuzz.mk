# SPDX-License-Identifier: Apache-2.0
# Fuzzing: `make fuzz` builds every tests/fuzz/fuzz_NAME.cpp with clang's libFuzzer, address and undefined-behaviour
# sanitizers, together with the library, and runs each for FUZZ_SECONDS. `make fuzz-NAME` does one. Inputs start from
# tests/fuzz/corpus/NAME (committed) and grow in build/fuzz/corpus/NAME; a crash leaves its input in build/fuzz.
FUZZ_SECONDS ?= 60
FUZZ_CXX     ?= clang++
FUZZ_OUT     := build/fuzz
FUZZ_FLAGS   := -std=c++20 -O1 -g -ffp-contract=off $(WARN_COMMON) -fno-omit-frame-pointer -fno-sanitize-recover=all \
  -I. $(SYSINC)

FUZZ_NAMES := $(patsubst tests/fuzz/fuzz_%.cpp,%,$(sort $(wildcard tests/fuzz/fuzz_*.cpp)))
FUZZ_LIB   := $(FUZZ_OUT)/liblastmile.a
FUZZ_OBJ   := $(LIB_SRC:%.cpp=$(FUZZ_OUT)/%.o)
FUZZ_BINS  := $(FUZZ_NAMES:%=$(FUZZ_OUT)/fuzz_%)

$(FUZZ_OUT)/%.o: %.cpp
	@mkdir -p $(@D)
	@echo "  FUZZ CXX $<"
	@$(CCACHE) $(FUZZ_CXX) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link,address,undefined -MMD -MP -c $< -o $@
$(FUZZ_LIB): $(FUZZ_OBJ)
	@rm -f $@ && ar rcs $@ $^
$(FUZZ_BINS): $(FUZZ_OUT)/fuzz_%: $(FUZZ_OUT)/tests/fuzz/fuzz_%.o $(FUZZ_LIB)
	@$(FUZZ_CXX) -fsanitize=fuzzer,address,undefined $< $(FUZZ_LIB) $(LIBS) -o $@

.PHONY: fuzz fuzz-build $(FUZZ_NAMES:%=fuzz-%)
fuzz-build: $(FUZZ_BINS)            ## build the fuzzers
fuzz: $(FUZZ_NAMES:%=fuzz-%)        ## run every fuzzer for FUZZ_SECONDS (60)
$(FUZZ_NAMES:%=fuzz-%): fuzz-%: $(FUZZ_OUT)/fuzz_%
	@mkdir -p $(FUZZ_OUT)/corpus/$*
	@echo "fuzzing $* for $(FUZZ_SECONDS) s"
	@$< -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -max_len=8192 -verbosity=0 \
	  -print_final_stats=1 -artifact_prefix=$(FUZZ_OUT)/$*- $(FUZZ_OUT)/corpus/$* $(wildcard tests/fuzz/corpus/$*)

-include $(FUZZ_OBJ:.o=.d) $(FUZZ_NAMES:%=$(FUZZ_OUT)/tests/fuzz/fuzz_%.d)
