# SPDX-License-Identifier: Apache-2.0
# The Verilated NPU and what runs on it.
#   make rtl [ARRAY=name of sim/arrays.mk] [ROWS= COLS= BUS_BYTES= ACT_BYTES= ACC_DEPTH= RQ_LANES= TRAINING=]
#            [CHECKED=1]
#            [TUNED=1] [INJECT=1]
#     build/rtl/<parameters>/npu.so (once per parameter set) and the backends rtl and lockstep beside the program;
#     CHECKED=1: with assertions and waveforms; TUNED=1: compiled again with the profile of a training step, for long
#     runs (g++; CHECKED=1 is not); INJECT=1: every register can be written from outside (tests/injection), slower
# What needs Verilator has $(call with_verilator,prerequisites), and recipes that begin with $(need_verilator).
VERILATOR := $(shell command -v verilator 2>/dev/null)
with_verilator = $(if $(VERILATOR),$(1))
need_verilator = $(if $(VERILATOR),,echo "SKIPPED: verilator is not installed"; exit 0;)
ARRAY ?= 16x16
ROWS ?= $(call array_value,$(ARRAY),ROWS)
COLS ?= $(call array_value,$(ARRAY),COLS)
BUS_BYTES ?= $(call array_value,$(ARRAY),BUS_BYTES)
ACT_BYTES ?= $(call array_value,$(ARRAY),ACT_BYTES)
ACC_DEPTH ?= $(call array_value,$(ARRAY),ACC_DEPTH)
RQ_LANES ?= $(call array_value,$(ARRAY),RQ_LANES)
TRAINING ?= $(call array_value,$(ARRAY),TRAINING)
CHECKED ?= 0
INJECT ?= 0
SIM_PARAMS = ROWS=$(ROWS) COLS=$(COLS) BUS_BYTES=$(BUS_BYTES) ACT_BYTES=$(ACT_BYTES) ACC_DEPTH=$(ACC_DEPTH) \
  RQ_LANES=$(RQ_LANES) TRAINING=$(TRAINING)
SIM_NAME = $(ROWS)x$(COLS)-b$(BUS_BYTES)-s$(ACT_BYTES)-a$(ACC_DEPTH)-q$(RQ_LANES)-t$(TRAINING)$\
$(if $(filter 1,$(CHECKED)),-checked)$(if $(filter 1,$(INJECT)),-inject)
SIM_DIR = build/rtl/$(SIM_NAME)
SIM_RTL = $(shell cat rtl/npu.f)
SIM_CXX ?= g++
# g++ 12 gathers scalars into vectors where it tunes for AMD's later cores, to copy them: a quarter slower than with
# Skylake's costs.
SIM_TUNE ?= $(if $(filter x86_64,$(shell uname -m)),-mtune=skylake -mprefer-vector-width=256)
SIM_OPT ?= -O2 -march=$(ARCH) $(SIM_TUNE)
# -fno-reloop: Verilator 5.006 forgets to declare the loop variable when an assertion samples a long vector.
SIM_VERILATOR = verilator --cc -O3 -fno-reloop -sv -Wall --x-assign fast --x-initial unique \
  $(if $(SIM_GATED),+define+NPU_CLOCK_GATED) \
  $(if $(filter 1,$(CHECKED)),--assert --trace-fst) $(if $(filter 1,$(INJECT)),--vpi $(@D)/registers.vlt)
# Parts that are idle most of the time have clocks of their own (rtl/clock), whose edges come from the simulation. Not
# where every register is looked at.
SIM_GATED = $(if $(filter 00,$(CHECKED)$(INJECT)),1)
SIM_LIBVER = $(shell verilator --getenv VERILATOR_ROOT 2>/dev/null)/include

# Both sides of the interface carry its digest.
SIM_INTERFACE = 0x$(shell cat sim/verilator/simulation.hpp sim/verilator/pins.hpp cmodel/spec/npu_spec.hpp | \
  sha256sum | cut -c1-16)ull
$(OUT)/sim/verilator/backend.o: DEFINES += -DLASTMILE_SIM_INTERFACE=$(SIM_INTERFACE)

# Rebuilt when any source of the NPU, the simulation around it or this file changes; whole, for what is there may be
# compiled for counting.
SIM_OWN = sim/verilator/npu_simulation.cpp sim/verilator/npu_pins.cpp sim/verilator/npu_sim.sv \
  sim/verilator/layout.py sim/verilator/rtl_registers.py \
  sim/verilator/clocks.hpp sim/verilator/axi_memory.hpp sim/verilator/simulation.hpp sim/verilator/pins.hpp
build/rtl/%/npu.so: $(wildcard rtl/*/*.sv) rtl/npu.f rtl/lint.vlt sim/verilator/public.vlt $(SIM_OWN) \
  cmodel/spec/npu_spec.hpp sim/sim.mk
	@mkdir -p $(@D)
	@echo "  VERILATE npu $*"
	@rm -rf $(@D)/obj
	@$(if $(filter 1,$(INJECT)),python3 sim/verilator/rtl_registers.py > $(@D)/registers.vlt)
	@$(SIM_VERILATOR) $(addprefix -G,$(SIM_PARAMS)) --top-module npu_sim --prefix Vnpu --Mdir $(@D)/obj rtl/lint.vlt \
	  sim/verilator/public.vlt $(SIM_RTL) sim/verilator/npu_sim.sv \
	  > $(@D)/build.log 2>&1 || { cat $(@D)/build.log; exit 1; }
	@$(if $(SIM_GATED),sed -nE 's/^ +CData.* (npu_sim__DOT__\w+clock)__DOT__clk;$$/X(\1)/p' $(@D)/obj/Vnpu___024root.h | \
	  xargs echo '#define LASTMILE_GATED_CLOCKS(X)' > $(@D)/obj/gated_clocks.hpp)
	@python3 sim/verilator/layout.py $(@D)/obj >> $(@D)/build.log
	@$(call sim_compile,$(SIM_OPT),$(CCACHE))
	@$(CCACHE) $(SIM_CXX) -std=c++20 $(SIM_OPT) -fPIC -I. -I$(@D)/obj -isystem $(SIM_LIBVER) -isystem \
	  $(SIM_LIBVER)/vltstd $(addprefix -DP_,$(SIM_PARAMS)) -DP_CHECKED=$(CHECKED) -DP_INJECT=$(INJECT) \
	  -DLASTMILE_SIM_INTERFACE=$(SIM_INTERFACE) \
	  -c sim/verilator/npu_simulation.cpp -o $(@D)/npu_simulation.o
	@$(CCACHE) $(SIM_CXX) -std=c++20 $(SIM_OPT) -fPIC -I. -I$(@D)/obj -isystem $(SIM_LIBVER) -isystem \
	  $(SIM_LIBVER)/vltstd $(addprefix -DP_,$(SIM_PARAMS)) \
	  -c sim/verilator/npu_pins.cpp -o $(@D)/npu_pins.o
	@$(call sim_link,$(@D)/npu.so)

# The Verilated sources in $(@D)/obj, with these options; npu.so of them, whose functions call each other directly
# (-Bsymbolic: 2 %).
sim_compile = OBJCACHE=$(2) $(MAKE) --no-print-directory -C $(@D)/obj -f Vnpu.mk Vnpu__ALL.a verilated.o \
  verilated_threads.o $(if $(filter 1,$(CHECKED)),verilated_fst_c.o) $(if $(filter 1,$(INJECT)),verilated_vpi.o) \
  CXX="$(SIM_CXX) -fPIC -std=c++20" OPT_FAST="$(1)" OPT_SLOW="-O1" OPT_GLOBAL="$(1)" >> $(@D)/build.log 2>&1 || { \
  grep -E -A4 'rror' $(@D)/build.log; exit 1; }
sim_link = $(SIM_CXX) -shared -Wl,-Bsymbolic $(2) -o $(1) $(@D)/npu_simulation.o $(@D)/npu_pins.o \
  $(@D)/obj/Vnpu__ALL.a $(@D)/obj/verilated*.o $(if $(filter 1,$(CHECKED)),-lz) -lpthread

.PRECIOUS: build/rtl/%/npu.so
# Compiled for counting, run for a training step, compiled with the counts. Not cached: the counts are no part of a
# cache's key. What counts is dated 1970, so that whatever ends this early leaves nothing that looks up to date. Parts
# that a step does not reach have no counts, which is no defect (-Wno-missing-profile).
build/rtl/%/tuned: build/rtl/%/npu.so | build sim-backends
	@echo "  PROFILE npu $*"
	@rm -f $(@D)/obj/*.o $(@D)/obj/*.a $(@D)/obj/*.gcda
	@$(call sim_compile,$(SIM_OPT) -fprofile-generate -fprofile-update=single)
	@$(call sim_link,$(@D)/npu.so,-fprofile-generate) && touch -d @0 $(@D)/npu.so
	@build/lastmile cosim --overwrite --backend rtl --steps 1 --pairs 1 --batch 16 --adapt-examples 64 \
	  --hardware $(SIM_HARDWARE) --quiet --out $(@D)/profile --report $(@D)/profile/cosim.json >> $(@D)/build.log
	@rm -f $(@D)/obj/*.o $(@D)/obj/*.a
	@$(call sim_compile,$(SIM_OPT) -fprofile-use -Wno-missing-profile)
	@$(call sim_link,$(@D)/npu.so)
	@touch $@

# Backends: shared objects beside the program.
SIM_SHARED = $(OUT)/sim/verilator/backend.o $(OUT)/sim/verilator/span_recorder.o
$(OUT)/liblastmile_rtl.so: $(OUT)/sim/verilator/rtl_device.o $(SIM_SHARED) $(LIB)
$(OUT)/liblastmile_lockstep.so: $(OUT)/sim/checkers/lockstep_device.o $(OUT)/sim/checkers/compare.o $(SIM_SHARED) $(LIB)
$(OUT)/liblastmile_%.so:
	@$(CXX) $(LD_$(VARIANT)) -shared $(filter %.o,$^) $(LIB) -lfmt -ltbb -ldl -o $@
-include $(wildcard $(OUT)/sim/*/*.d)

.PHONY: rtl sim-backends
sim-backends: $(OUT)/liblastmile_rtl.so $(OUT)/liblastmile_lockstep.so
rtl:                     ## the Verilated NPU of one array, and the backends rtl and lockstep: ARRAY=
rtl: build sim-backends $(call with_verilator,$(SIM_DIR)/$(if $(filter 1-0,$(TUNED)-$(CHECKED)),tuned,npu.so))
	@$(need_verilator)

# Programs that link the lockstep device themselves.
SIM_LINKED = $(OUT)/sim/checkers/lockstep_device.o $(OUT)/sim/checkers/compare.o $(SIM_SHARED) $(LIB)
SIM_TEST = $(OUT)/lockstep-test
SIM_CAMPAIGN = $(OUT)/cosim-campaign
$(SIM_TEST): $(OUT)/tests/sim/lockstep_test.o $(SIM_LINKED)
$(SIM_CAMPAIGN): $(OUT)/tests/sim/campaign.o $(SIM_LINKED)
$(SIM_TEST) $(SIM_CAMPAIGN):
	@$(CXX) $(LD_$(VARIANT)) $^ $(LIBS) -o $@
-include $(wildcard $(OUT)/tests/sim/*.d)

# The main job: whole training steps, model and RTL in lockstep.
#   make cosim [STEPS=20] [FROM=0] [DATA=folder] [NETWORK=small-cnn] [ARRAY= ...] [STALL=10] [TRACE=file.fst]
#              [COSIM_ARGS=...]
STEPS ?= 20
FROM ?= 0
STALL ?= 10
SIM_COMMA := ,
SIM_HARDWARE = rows=$(ROWS),cols=$(COLS),bus_bytes=$(BUS_BYTES),act_bytes=$(ACT_BYTES),acc_depth=$(ACC_DEPTH),$\
rq_lanes=$(RQ_LANES),training=$(TRAINING)
SIM_MEMORY = latency=20,stall=$(STALL),reorder=1
SIM_COSIM = build/lastmile cosim --overwrite --steps $(STEPS) --from $(FROM) --hardware $(SIM_HARDWARE) \
  $(if $(DATA),--data $(DATA)) \
  $(if $(NETWORK),--network $(NETWORK)) --backend-options $(SIM_MEMORY)$(if $(TRACE),$(SIM_COMMA)trace=$(TRACE)) \
  $(COSIM_ARGS)
.PHONY: cosim cosim-run cosim-campaign test-sim
cosim: setup             ## training steps with model and RTL in lockstep: STEPS= FROM= DATA= NETWORK= ARRAY= TRACE=
	@$(MAKE) --no-print-directory $(if $(TRACE),CHECKED=1) cosim-run
# A difference found without waveforms: the same again, with them, up to there.
cosim-run: rtl
	@$(need_verilator) $(SIM_COSIM) && exit 0 || code=$$?; \
	[ $$code = 6 ] && grep -q '"no waveform: rtl' build/reports/cosim.json || exit $$code; \
	echo "building with waveforms, then up to the difference again"; \
	MAKEFLAGS= $(SUBMAKE) --no-print-directory -j$(JOBS) $(SIM_PARAMS) CHECKED=1 rtl; $(SIM_COSIM)

# A whole adaptation by readouts: every example's record, the search for a rate, every step, in lockstep.
#   make cosim-adapt [DATA=folder] [NETWORK=small-cnn] [ADAPT_STEPS=500] [RESUME=1] [COSIM_ARGS=...]
# RESUME=1 goes on with a run that was killed.
ADAPT_STEPS ?= 500
ADAPT_OUT = build/cosim-adapt/$(if $(DATA),$(notdir $(patsubst %/,%,$(DATA))),glyphs)
.PHONY: cosim-adapt cosim-adapt-run
cosim-adapt: setup       ## a whole adaptation by readouts, model and RTL in lockstep: DATA= ADAPT_STEPS= RESUME=1
	@$(MAKE) --no-print-directory cosim-adapt-run
cosim-adapt-run: rtl
	@$(need_verilator) python3 tests/sim/cosim_adapt.py build/lastmile $(ADAPT_OUT) build/reports/cosim-adapt.json \
	  $(if $(RESUME),--resume) --rtl $(SIM_MEMORY) -- $(if $(DATA),--data $(DATA) --shift rotate=25) \
	  $(if $(NETWORK),--network $(NETWORK)) --hardware $(SIM_HARDWARE) --readout-steps $(ADAPT_STEPS) $(COSIM_ARGS)

# What `make test` runs: quick, 16 x 16.
test-sim:                ## lockstep on the Verilated NPU: random queues, every error, golden vectors, a step
test-sim: $(call with_verilator,rtl $(SIM_TEST))
	@$(need_verilator) python3 tests/sim/run.py $(SIM_TEST) build/lastmile "$(SHARED)"
TEST_TARGETS += test-sim

# Random operators, shapes and memories on several arrays, SECONDS each.
SECONDS_EACH ?= 600
SEED ?= 1
CAMPAIGN_SETS ?= 4x4 8x16 16x16 32x32
cosim-campaign:          ## random commands and memories on 4 arrays: SECONDS_EACH= SEED= CAMPAIGN_SETS= ADD=1
cosim-campaign: build $(call with_verilator,$(SIM_CAMPAIGN))
	@$(need_verilator) python3 tests/sim/campaign.py --make "$(SUBMAKE)" --jobs $(JOBS) $(if $(ADD),--add) \
	  --seconds $(SECONDS_EACH) --seed $(SEED) $(SIM_CAMPAIGN) $(CAMPAIGN_SETS)
