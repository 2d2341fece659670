# SPDX-License-Identifier: Apache-2.0
# Unit benches of bus, control, random, requant, elementwise and update: each block against the contract's headers in
# Verilator. `make rtl-unit-peri BENCH=perturb` runs some.
PERI_OUT := build/rtl-unit/peri
PERI_RTL := $(wildcard rtl/pkg/*.sv rtl/random/*.sv rtl/requant/*.sv rtl/clock/*.sv rtl/fifo/*.sv rtl/bus/*.sv \
  rtl/control/*.sv rtl/elementwise/*.sv rtl/update/*.sv)
# PERI_EXTRA: more options for Verilator, such as those of coverage.
PERI_EXTRA :=
PERI_VERILATOR := verilator --cc --exe --build -j 2 -O3 --assert -sv -Wall --x-assign fast -CFLAGS \
  "-std=c++20 -O1 -I$(CURDIR)" rtl/lint.vlt \
  -Irtl/random -Irtl/requant -Irtl/clock -Irtl/fifo -Irtl/bus -Irtl/control -Irtl/elementwise -Irtl/update \
  -Irtl/drain $(PERI_EXTRA)

PERI_HEADERS := $(wildcard tests/rtl/peri/*.hpp) tests/cmodel/limits.hpp
PERI_COMMAND := cmodel/command/validate.cpp,cmodel/command/control.cpp
# name | top | bench | Verilator parameters | other sources
PERI_BENCHES := \
  perturb_16|npu_perturb|perturb| \
  perturb_8|npu_perturb|perturb|-GBUS_BYTES=8 \
  perturb_64|npu_perturb|perturb|-GBUS_BYTES=64 \
  perturb_bias_16|npu_perturb|perturb|-GBIAS=1 \
  perturb_bias_8|npu_perturb|perturb|-GBIAS=1,-GBUS_BYTES=8 \
  perturb_bias_64|npu_perturb|perturb|-GBIAS=1,-GBUS_BYTES=64 \
  rescale|npu_rescale|rescale| \
  requant|npu_requant|requant| \
  axi_read_16|npu_axi_read|axi_read| \
  axi_read_64|npu_axi_read|axi_read|-GBUS_BYTES=64 \
  axi_write_16|npu_axi_write|axi_write| \
  axi_write_8|npu_axi_write|axi_write|-GBUS_BYTES=8 \
  validate|npu_validate|validation|-GROWS=16|$(PERI_COMMAND) \
  validate_4|npu_validate|validation|-GROWS=4,-GTRAINING=0|$(PERI_COMMAND) \
  validate_32|npu_validate|validation|-GROWS=32,-GACT_BYTES=262144,-GACC_DEPTH=1024|$(PERI_COMMAND) \
  control_16|npu_control|queue|-GBUS_BYTES=16|cmodel/command/control.cpp \
  control_64|npu_control|queue|-GBUS_BYTES=64|cmodel/command/control.cpp \
  update_16|npu_update|update| \
  update_8|npu_update|update|-GBUS_BYTES=8 \
  update_32|npu_update|update|-GBUS_BYTES=32 \
  add_16|npu_add|add| \
  add_8|npu_add|add|-GBUS_BYTES=8 \
  softmax_16|npu_softmax|softmax| \
  softmax_8|npu_softmax|softmax|-GBUS_BYTES=8 \
  loss_16|npu_loss|loss| \
  loss_8|npu_loss|loss|-GBUS_BYTES=8

peri_field = $(word $(2),$(subst |, ,$(1)))
comma := ,
# $(1): bench line. Parameters reach the bench as macros (GNAME=value -> P_NAME).
define PERI_RULE
$(PERI_OUT)/$(call peri_field,$(1),1)/run: tests/rtl/peri/$(call peri_field,$(1),3).cpp $(PERI_HEADERS) \
  $(PERI_RTL) rtl/lint.vlt
	@rm -rf $$(@D)/obj; mkdir -p $$(@D)
	@echo "  VERILATE $(call peri_field,$(1),1)"
	@OBJCACHE=$(CCACHE) $(PERI_VERILATOR) $(subst $(comma), ,$(call peri_field,$(1),4)) --top-module \
	  $(call peri_field,$(1),2) --prefix Vtop \
	  -CFLAGS "-DP_BENCH=1 $(patsubst -G%,-DP_%,$(filter -G%,$(subst $(comma), ,$(call peri_field,$(1),4))))" --Mdir \
	  $$(@D)/obj -o ../run rtl/pkg/npu_pkg.sv rtl/pkg/npu_types.sv \
	  $$$$(ls rtl/*/$(call peri_field,$(1),2).sv) $(CURDIR)/$$< \
	  $(addprefix $(CURDIR)/,$(subst $(comma), ,$(call peri_field,$(1),5))) > $$(@D)/build.log 2>&1 || { grep -E -A4 \
	  'rror|arning' $$(@D)/build.log; exit 1; }
.PHONY: rtl-unit-peri-$(call peri_field,$(1),1)
rtl-unit-peri-$(call peri_field,$(1),1): $(PERI_OUT)/$(call peri_field,$(1),1)/run
	@$$<
endef
$(foreach b,$(PERI_BENCHES),$(eval $(call PERI_RULE,$(b))))

BENCH ?= _
.PHONY: rtl-unit-peri
rtl-unit-peri:           ## unit benches of bus, control, random, requant, elementwise, update: BENCH= some
rtl-unit-peri: $(foreach b,$(PERI_BENCHES),\
  $(if $(findstring $(BENCH),_$(call peri_field,$(b),1)),rtl-unit-peri-$(call peri_field,$(b),1)))

# What `make test` runs: one variant of each block.
PERI_QUICK := perturb_8 perturb_bias_8 rescale requant axi_read_16 axi_write_8 validate validate_4 control_16 \
  update_8 add_8 softmax_8 loss_8
.PHONY: test-rtl-unit
test-rtl-unit:           ## unit benches of the RTL with assertions, one variant of each block
test-rtl-unit: $(call with_verilator,$(addprefix rtl-unit-peri-,$(PERI_QUICK)))
	@$(need_verilator)
TEST_TARGETS += test-rtl-unit

# The whole NPU when things go wrong, on the default build of the NPU bench.
FAULTS_OBJ := build/rtl-unit/npu/16x16/obj
$(PERI_OUT)/faults: tests/rtl/peri/faults.cpp tests/rtl/core/axi_memory.hpp $(wildcard sim/verilator/*.hpp) \
  build/rtl-unit/npu/16x16/run $(LIB)
	@mkdir -p $(@D)
	@$(CCACHE) $(CXX) -std=c++20 -O1 -I. -isystem $(FAULTS_OBJ) -isystem /usr/share/verilator/include -c $< -o $@.o
	@$(CXX) $@.o $(FAULTS_OBJ)/Vtop__ALL.a $(FAULTS_OBJ)/verilated*.o $(LIB) $(LIBS) -latomic -o $@
.PHONY: rtl-unit-faults
rtl-unit-faults: $(PERI_OUT)/faults  ## the whole NPU: malformed commands, bus errors, silent memory, resets
	@$< $(RUN)
