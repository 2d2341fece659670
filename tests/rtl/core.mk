# Unit bench of the tensor core (load, weight, array, drain, pool) against the C++ model, several builds. CORE_TRACE=1 adds waveforms.
CORE_OUT := build/rtl-unit/core
CORE_RTL := rtl/pkg/npu_pkg.sv $(wildcard rtl/top/npu_core.sv rtl/top/npu_queue.sv rtl/load/*.sv rtl/weight/*.sv rtl/array/*.sv rtl/drain/*.sv rtl/pool/*.sv) \
  $(wildcard rtl/random/*.sv rtl/requant/*.sv)
CORE_VERILATOR := verilator --cc --exe --build -j 2 -O3 -fno-reloop --assert -sv -Wall --x-assign fast --trace-fst -MAKEFLAGS "OPT_FAST=-O3 OPT_SLOW=-O1 CXX=$(CXX)" rtl/lint.vlt
# name | ROWS COLS BUS_BYTES ACT_BYTES ACC_DEPTH RQ_LANES
CORE_BUILDS := 16x16|16|16|16|65536|512|8 4x4|4|4|8|4096|64|4 8x16|8|16|16|8192|64|2 16x8|16|8|32|4096|128|8 32x32|32|32|64|65536|256|16 4x32|4|32|16|4096|64|1
core_field = $(word $(2),$(subst |, ,$(1)))
core_params = ROWS=$(call core_field,$(1),2) COLS=$(call core_field,$(1),3) BUS_BYTES=$(call core_field,$(1),4) ACT_BYTES=$(call core_field,$(1),5) \
  ACC_DEPTH=$(call core_field,$(1),6) RQ_LANES=$(call core_field,$(1),7)
define CORE_RULE
$(CORE_OUT)/$(call core_field,$(1),1)/run: tests/rtl/core/core_bench.cpp tests/cmodel/random_command.hpp $(CORE_RTL) rtl/lint.vlt $(LIB)
	@mkdir -p $$(@D)
	@echo "  VERILATE core $(call core_field,$(1),1)"
	@OBJCACHE=$(CCACHE) $(CORE_VERILATOR) $(addprefix -G,$(call core_params,$(1))) --top-module npu_core --prefix Vtop \
	  -CFLAGS "-std=c++20 -march=$(ARCH) -I$(CURDIR) $(addprefix -DP_,$(call core_params,$(1)))" --Mdir $$(@D)/obj -o ../run \
	  -LDFLAGS "$(CURDIR)/$(LIB) $(LIBS)" $(CORE_RTL) $(CURDIR)/$$< > $$(@D)/build.log 2>&1 || { grep -E -A4 'rror|arning' $$(@D)/build.log; exit 1; }
.PHONY: rtl-unit-core-$(call core_field,$(1),1)
rtl-unit-core-$(call core_field,$(1),1): $(CORE_OUT)/$(call core_field,$(1),1)/run
	@$$< $(COMMANDS)
endef
$(foreach b,$(CORE_BUILDS),$(eval $(call CORE_RULE,$(b))))
.PHONY: rtl-unit-core
rtl-unit-core: $(foreach b,$(CORE_BUILDS),rtl-unit-core-$(call core_field,$(b),1))  ## tensor core against the model, several builds
