# SPDX-License-Identifier: Apache-2.0
# The SystemC platform. Nothing else needs it: without libsystemc, `make systemc` and its tests name the package and skip.
#   make systemc [STEPS=] [RTL_STEPS=5] [SYSTEMC_HOME=prefix of a SystemC of one's own] [SYSTEMC_ARGS=...]
SYSTEMC_HOME ?=
RTL_STEPS ?= 5
SC_FLAGS_FILE := $(OUT)/systemc.flags
SC_SRC := $(filter-out sim/systemc/main.cpp,$(wildcard sim/systemc/*.cpp))
SC_OBJ := $(SC_SRC:%.cpp=$(OUT)/%.o) $(OUT)/sim/verilator/backend.o
SC_BIN := $(OUT)/lastmile-systemc

# Another SystemC than last time: everything of it again.
SC_HOME_FILE := $(OUT)/systemc.home
ifneq ($(SYSTEMC_HOME),$(file < $(SC_HOME_FILE)))
$(shell mkdir -p $(OUT) && echo $(SYSTEMC_HOME) > $(SC_HOME_FILE))
endif
# Compiler flags in its first line, linker flags in the second, or why there are none.
$(SC_FLAGS_FILE): sim/systemc/probe.sh $(wildcard /usr/include/systemc $(SC_HOME_FILE))
	@sim/systemc/probe.sh $(CXX) $@ $(SYSTEMC_HOME)
sc_line = $(shell sed -n $(1)p $(SC_FLAGS_FILE))
$(OUT)/sim/systemc/%.o $(OUT)/tests/systemc/%.o: SYSINC += $(call sc_line,1)
$(SC_OBJ) $(OUT)/sim/systemc/main.o: $(SC_FLAGS_FILE)

$(SC_BIN): $(OUT)/sim/systemc/main.o $(SC_OBJ) $(LIB)
	@$(CXX) $(LD_$(VARIANT)) $(filter %.o,$^) $(LIB) $(LIBS) $(call sc_line,2) -o $@
-include $(wildcard $(OUT)/sim/systemc/*.d)

need_systemc = $(MAKE) --no-print-directory $(SC_FLAGS_FILE); \
  if grep -qE '^(absent|unusable)' $(SC_FLAGS_FILE); then \
    if grep -q '^absent' $(SC_FLAGS_FILE); then why="SystemC is not installed: install the package libsystemc-dev"; \
    else why="the installed SystemC cannot be linked: $$(tail -1 $(SC_FLAGS_FILE))"; fi; \
    rm -f $(SC_FLAGS_FILE); echo "SKIPPED: $$why"; exit 0; fi

.PHONY: systemc systemc-program
systemc-program:
	@$(need_systemc); $(MAKE) --no-print-directory build sim-backends $(SC_BIN)
systemc: setup           ## the SystemC platform: trains on the model and on the RTL, compares, measures; STEPS= RTL_STEPS=
	@$(need_systemc); $(MAKE) --no-print-directory systemc-program $(SC_TESTS) rtl embedded && \
	  build/lastmile run --no-float --no-backprop --evaluations 0 --out build/systemc --reports build/systemc $(SC_STEPS) --quiet > /dev/null && \
	  $(SC_BIN) --run build/systemc $(SC_STEPS) --rtl-steps $(RTL_STEPS) $(SYSTEMC_ARGS) && \
	  python3 tests/systemc/run.py --report build/reports/systemc.json $(SC_TESTS)
# STEPS has a default for `make cosim`; here it counts only if it was given.
SC_STEPS = $(if $(filter command environment,$(firstword $(origin STEPS))),--steps $(STEPS))

# Tests: faults, and the protocol under random traffic.
SC_TESTS := $(OUT)/protocol-test $(OUT)/fault-test
$(OUT)/fault-test: $(OUT)/tests/systemc/fault_test.o $(SC_OBJ) $(LIB)
$(OUT)/protocol-test: $(OUT)/tests/systemc/protocol_test.o $(SC_OBJ) $(LIB)
$(SC_TESTS):
	@$(CXX) $(LD_$(VARIANT)) $(filter %.o,$^) $(LIB) $(LIBS) $(call sc_line,2) -o $@
$(OUT)/tests/systemc/fault_test.o $(OUT)/tests/systemc/protocol_test.o: $(SC_FLAGS_FILE)
-include $(wildcard $(OUT)/tests/systemc/*.d)

.PHONY: test-systemc
test-systemc:            ## the SystemC platform: 10^6 random transactions, faults on both NPUs, the C host
	@$(need_systemc); $(MAKE) --no-print-directory build $(SC_TESTS) && \
	  { ! command -v verilator > /dev/null || $(MAKE) --no-print-directory rtl > /dev/null; } && python3 tests/systemc/run.py $(SC_TESTS)
TEST_TARGETS += test-systemc
