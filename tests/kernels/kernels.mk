# SPDX-License-Identifier: Apache-2.0
# The kernels of the model (cmodel/npu/kernels): nothing that is compiled for a newer CPU may be shared with the rest of
# the program; and the Arm kernels, cross-compiled and run by qemu.
KERNEL_OBJ := $(foreach k,$(KERNELS_$(MACHINE)),$(OUT)/cmodel/npu/kernels/$(k).o)
.PHONY: kernels-check kernels-arm
kernels-check: $(KERNEL_OBJ) ## no weak symbol in the objects of the model's kernels
	@found=$$(nm -C $(KERNEL_OBJ) | grep -E ' [WVu] ' || true); \
	if [ -n "$$found" ]; then echo "$$found"; echo "0 passed, 1 failed"; exit 1; fi
	@echo "1 passed, 0 failed"

ARM_CXX ?= aarch64-linux-gnu-g++
ARM_RUN ?= qemu-aarch64
ARM_OUT := build/kernels-arm
ARM_SRC := $(addprefix cmodel/npu/kernels/,kernels.cpp portable.cpp neon_dot.cpp) tests/kernels/other_cpu.cpp
ARM_OBJ := $(ARM_SRC:%.cpp=$(ARM_OUT)/%.o)
$(ARM_OUT)/%/neon_dot.o: ARM_FLAGS = $(KERNEL_FLAGS_neon_dot)
$(ARM_OUT)/%.o: %.cpp
	@mkdir -p $(@D)
	@echo "  CXX (Arm) $<"
	@$(CCACHE) $(ARM_CXX) -std=c++20 -O2 -DNDEBUG $(ARM_FLAGS) $(WARN) -I. -MMD -MP -c $< -o $@
$(ARM_OUT)/check: $(ARM_OBJ)
	@$(ARM_CXX) -static $^ -o $@
-include $(ARM_OBJ:.o=.d)
ifneq ($(and $(shell command -v $(ARM_CXX)),$(shell command -v $(ARM_RUN))),)
kernels-arm: $(ARM_OUT)/check ## Arm kernels of the model, run by qemu
	@$(ARM_RUN) $< $(LASTMILE_SEED)
else
kernels-arm:
	@echo "SKIPPED: the Arm kernels are not run: $(ARM_CXX) or $(ARM_RUN) is not installed"
endif

TEST_TARGETS += kernels-check kernels-arm
