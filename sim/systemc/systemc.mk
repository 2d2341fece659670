# SPDX-License-Identifier: Apache-2.0
# The SystemC platform. Nothing else needs it: without libsystemc, `make systemc` and its tests name the package and
# skip.
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
.PHONY: $(SC_HOME_FILE)
endif
$(SC_HOME_FILE):
	@mkdir -p $(@D) && echo "$(SYSTEMC_HOME)" > $@
# Compiler flags in its first line, linker flags in the second, or why there are none.
$(SC_FLAGS_FILE): sim/systemc/probe.sh $(wildcard /usr/include/systemc) $(SC_HOME_FILE)
	@sim/systemc/probe.sh $(CXX) $@ $(SYSTEMC_HOME)
sc_line = $(shell sed -n $(1)p $(SC_FLAGS_FILE))
$(OUT)/sim/systemc/%.o $(OUT)/tests/systemc/%.o: SYSINC += $(call sc_line,1)
$(SC_OBJ) $(OUT)/sim/systemc/main.o: $(SC_FLAGS_FILE)

$(SC_BIN): $(OUT)/sim/systemc/main.o $(SC_OBJ) $(LIB)
	@$(CXX) $(LD_$(VARIANT)) $(filter %.o,$^) $(LIB) $(LIBS) $(call sc_line,2) -o $@
-include $(wildcard $(OUT)/sim/systemc/*.d)

# Targets that need SystemC probe for it and call make again, which then knows: $(call with_systemc,prerequisites),
# and recipes that begin with $(need_systemc). What is absent now may be there next time.
SC_STATE := $(firstword $(file < $(SC_FLAGS_FILE)))
with_systemc = $(if $(filter absent unusable,$(SC_STATE)),,$(1))
sc_skip = why="$(1)"; rm -f $(SC_FLAGS_FILE); echo "SKIPPED: $$why"; exit 0;
need_systemc = $(if $(filter absent,$(SC_STATE)),$\
  $(call sc_skip,SystemC is not installed: install the package libsystemc-dev))$\
$(if $(filter unusable,$(SC_STATE)),$\
  $(call sc_skip,the installed SystemC cannot be linked: $$(tail -1 $(SC_FLAGS_FILE))))

.PHONY: systemc systemc-run systemc-program systemc-program-run
systemc-program: $(SC_FLAGS_FILE)
	@$(MAKE) --no-print-directory systemc-program-run
systemc-program-run: $(call with_systemc,build sim-backends $(SC_BIN))
	@$(need_systemc)
systemc: setup           ## the SystemC platform: trains on the model and on the RTL, compares: STEPS= RTL_STEPS= DATA=
	@$(MAKE) --no-print-directory $(SC_FLAGS_FILE)
	@$(MAKE) --no-print-directory systemc-run
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

systemc-run: $(call with_systemc,build sim-backends $(SC_BIN) $(SC_TESTS) rtl embedded)
	@$(need_systemc) build/lastmile run --overwrite --no-float --no-backprop --hold-out 0 --evaluations 0 \
	  --out build/systemc --reports build/systemc \
	    $(if $(DATA),--data $(DATA)) $(SC_STEPS) --quiet > /dev/null && \
	  $(SC_BIN) --run build/systemc $(SC_STEPS) --rtl-steps $(RTL_STEPS) $(SYSTEMC_ARGS) && \
	  python3 tests/systemc/run.py --report build/reports/systemc.json $(SC_TESTS)

.PHONY: test-systemc test-systemc-run
test-systemc: $(SC_FLAGS_FILE)  ## the SystemC platform: 10^6 random transactions, faults on both NPUs, the C host
	@$(MAKE) --no-print-directory test-systemc-run
test-systemc-run: $(call with_systemc,build $(SC_BIN) $(SC_TESTS) $(call with_verilator,rtl))
	@$(need_systemc) python3 tests/systemc/check_memory.py $(SC_BIN) build/lastmile && \
	  python3 tests/systemc/run.py $(SC_TESTS)
TEST_TARGETS += test-systemc
