# SPDX-License-Identifier: Apache-2.0
# clang-tidy on every translation unit, in parallel; a unit is checked again when it or a header it includes changes.
# What includes Verilated headers is built where these are.
TIDY_SRC := $(LIB_SRC) sw/main.cpp $(TEST_SRC) \
  $(filter-out tests/rtl/% tests/spec/% tests/systemc/% tests/bench/array_speed.cpp,$(OWN_MAIN))
TIDY_OK  := $(TIDY_SRC:%=build/tidy/%.ok)
.PHONY: tidy
tidy: $(TIDY_OK)
build/tidy/%.ok: % .clang-tidy
	@mkdir -p $(@D)
	@echo "  TIDY $<"
	@clang-tidy --quiet $< -- $(CXXFLAGS_ALL) 2>&1 | { grep -vE '^[0-9]+ warnings? generated' || true; }
	@clang++ $(CXXFLAGS_ALL) -MM -MP -MT $@ -MF $(@:.ok=.d) $< && touch $@
-include $(TIDY_OK:.ok=.d)

.PHONY: lint-test
lint-test:               ## the layering check finds every way to break a layer
	@python3 tests/lint/test_layering.py
TEST_TARGETS += lint-test
