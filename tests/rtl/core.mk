# SPDX-License-Identifier: Apache-2.0
# The tensor core and the whole NPU against the C++ model, in Verilator, with random commands and stalls:
#   make rtl-unit-core rtl-unit-npu          every build below
#   make rtl-unit-npu-16x16 RUN="200 0 30"   200 queues from number 0 with 30 % stalls (LASTMILE_SEED, TRACE=file.fst: another build; OPCODES=mask)
CORE_OUT := build/rtl-unit$(if $(TRACE),-trace)
CORE_ALL := $(shell cat rtl/npu.f)
CORE_RTL := $(filter-out rtl/bus/% rtl/control/% rtl/elementwise/% rtl/update/% rtl/top/npu.sv,$(CORE_ALL))
# -fno-reloop: Verilator 5.006 forgets to declare the loop variable when an assertion samples a long vector.
CORE_VERILATOR := verilator --cc --exe --build -j 2 -O3 -fno-reloop --assert -sv -Wall --x-assign fast $(if $(TRACE),--trace-fst) rtl/lint.vlt \
  -MAKEFLAGS "OPT_FAST=-O2 OPT_SLOW=-O1 CXX=$(CXX)"
# name | ROWS COLS BUS_BYTES ACT_BYTES ACC_DEPTH RQ_LANES
CORE_BUILDS := 16x16|16|16|16|65536|512|8 4x4|4|4|8|4096|64|4 8x16|8|16|16|8192|64|2 16x8|16|8|32|4096|128|8 32x32|32|32|64|65536|256|16 4x32|4|32|16|4096|64|1
core_field = $(word $(2),$(subst |, ,$(1)))
core_params = ROWS=$(call core_field,$(1),2) COLS=$(call core_field,$(1),3) BUS_BYTES=$(call core_field,$(1),4) ACT_BYTES=$(call core_field,$(1),5) \
  ACC_DEPTH=$(call core_field,$(1),6) RQ_LANES=$(call core_field,$(1),7)
# $(1): build, $(2): core or npu, $(3): top module, $(4): sources
define CORE_RULE
$(CORE_OUT)/$(2)/$(call core_field,$(1),1)/run: tests/rtl/core/$(2)_bench.cpp tests/rtl/core/axi_memory.hpp tests/cmodel/random_command.hpp $(4) rtl/lint.vlt $(LIB)
	@mkdir -p $$(@D)
	@echo "  VERILATE $(2) $(call core_field,$(1),1)"
	@OBJCACHE=$(CCACHE) $(CORE_VERILATOR) $(addprefix -G,$(call core_params,$(1))) --top-module $(3) --prefix Vtop \
	  -CFLAGS "-std=c++20 -march=$(ARCH) -I$(CURDIR) $(addprefix -DP_,$(call core_params,$(1)))" --Mdir $$(@D)/obj -o ../run \
	  -LDFLAGS "$(CURDIR)/$(LIB) $(LIBS)" $(4) $(CURDIR)/$$< > $$(@D)/build.log 2>&1 || { grep -E -A4 'rror|arning' $$(@D)/build.log; exit 1; }
.PHONY: rtl-unit-$(2)-$(call core_field,$(1),1)
rtl-unit-$(2)-$(call core_field,$(1),1): $(CORE_OUT)/$(2)/$(call core_field,$(1),1)/run
	@$$< $(RUN)
endef
$(foreach b,$(CORE_BUILDS),$(eval $(call CORE_RULE,$(b),core,npu_core,$(CORE_RTL))) $(eval $(call CORE_RULE,$(b),npu,npu,$(CORE_ALL))))
.PHONY: rtl-unit-core rtl-unit-npu
rtl-unit-core: $(foreach b,$(CORE_BUILDS),rtl-unit-core-$(call core_field,$(b),1))  ## tensor core against the model, several builds
rtl-unit-npu: $(foreach b,$(CORE_BUILDS),rtl-unit-npu-$(call core_field,$(b),1))    ## the whole NPU against the model, several builds
