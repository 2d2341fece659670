# SPDX-License-Identifier: Apache-2.0
# The tensor core and the whole NPU against the C++ model, in Verilator, with random commands and stalls:
#   make rtl-unit-core rtl-unit-npu          every build below
#   make rtl-unit-npu-16x16 RUN="200 0 30"   200 queues from number 0 with 30 % stalls (LASTMILE_SEED, TRACE=file.fst:
#   another build; OPCODES=mask)
CORE_OUT := build/rtl-unit$(if $(TRACE),-trace)
CORE_ALL := $(shell cat rtl/npu.f)
CORE_RTL := $(filter-out rtl/bus/% rtl/control/% rtl/elementwise/% rtl/update/% rtl/top/npu.sv,$(CORE_ALL))
# -fno-reloop: Verilator 5.006 forgets to declare the loop variable when an assertion samples a long vector.
CORE_VERILATOR := verilator --cc --exe --build -j 2 -O3 -fno-reloop --assert -sv -Wall --x-assign fast \
  $(if $(TRACE),--trace-fst) rtl/lint.vlt \
  -MAKEFLAGS "OPT_FAST=-O2 OPT_SLOW=-O1 CXX=$(CXX)"
CORE_ARRAYS := 16x16 4x4 8x16 16x8 32x32 4x32
core_params = $(filter-out TRAINING=%,$(call array_settings,$(1)))
# $(1): array, $(2): core or npu, $(3): top module, $(4): sources
define CORE_RULE
$(CORE_OUT)/$(2)/$(1)/run: tests/rtl/core/$(2)_bench.cpp tests/rtl/core/axi_memory.hpp sim/verilator/axi_memory.hpp \
  tests/cmodel/random_command.hpp $(4) rtl/lint.vlt $(LIB)
	@mkdir -p $$(@D)
	@echo "  VERILATE $(2) $(1)"
	@OBJCACHE=$(CCACHE) $(CORE_VERILATOR) $(addprefix -G,$(call core_params,$(1))) --top-module $(3) --prefix Vtop \
	  -CFLAGS "-std=c++20 -march=$(ARCH) -I$(CURDIR) $(addprefix -DP_,$(call core_params,$(1)))" --Mdir $$(@D)/obj -o \
	  ../run \
	  -LDFLAGS "$(CURDIR)/$(LIB) $(LIBS)" $(4) $(CURDIR)/$$< > $$(@D)/build.log 2>&1 || { grep -E -A4 'rror|arning' \
	  $$(@D)/build.log; exit 1; }
.PHONY: rtl-unit-$(2)-$(1)
rtl-unit-$(2)-$(1): $(CORE_OUT)/$(2)/$(1)/run
	@$$< $(RUN)
endef
$(foreach b,$(CORE_ARRAYS),$(eval $(call CORE_RULE,$(b),core,npu_core,$(CORE_RTL))) $(eval $(call \
  CORE_RULE,$(b),npu,npu,$(CORE_ALL))))
.PHONY: rtl-unit-core rtl-unit-npu
rtl-unit-core: $(foreach b,$(CORE_ARRAYS),rtl-unit-core-$(b))  ## tensor core against the model, several builds
rtl-unit-npu: $(foreach b,$(CORE_ARRAYS),rtl-unit-npu-$(b))    ## the whole NPU against the model, several builds
