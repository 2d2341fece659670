# SPDX-License-Identifier: Apache-2.0
# Compilation rules. VARIANT selects the flags and the object tree:
#   release  -O3 for this machine, assertions off      debug  -O1 with address and undefined-behaviour sanitizers
# `make CXX=clang++` keeps its own object tree beside g++'s. WERROR= lets warnings of an untried compiler pass.
VARIANT ?= release
ARCH    ?= native
WERROR  ?= -Werror
CXX     := $(if $(filter default,$(origin CXX)),g++,$(CXX))
CCACHE  := $(shell command -v ccache 2>/dev/null)
OUT     := build/$(VARIANT)-$(notdir $(CXX))

# Of any compiler, and with those of g++ alone.
WARN_COMMON := -Wall -Wextra -Wconversion -Wshadow $(WERROR)
WARN := $(WARN_COMMON)
# What g++ finds after inlining changes with its version: shown in release builds but no reason to stop; under
# sanitizers, noise.
LATE := array-bounds maybe-uninitialized stringop-overflow
WARN += $(if $(findstring clang,$(CXX)),,$(addprefix $(if $(filter debug,$(VARIANT)),-Wno-,-Wno-error=),$(LATE)))
# g++ 12 sees overlap in joined strings where there is none (GCC bug 105651).
WARN += $(if $(findstring clang,$(CXX)),,-Wno-restrict)
# Distribution headers are system headers: their warnings are not ours.
SYSINC := -isystem /usr/include/eigen3
DEFINES := -DSPDLOG_COMPILED_LIB -DSPDLOG_SHARED_LIB
FLAGS_release := -O3 -DNDEBUG
FLAGS_debug   := -O1 -g1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
LD_debug      := -fsanitize=address,undefined
# The model's inner loops (cmodel/npu/kernels) are compiled once per instruction set and chosen when the program runs;
# the rest of the model for any CPU of the last fifteen years, so that it is as fast in a program that was not built for
# this machine.
MACHINE := $(firstword $(subst -, ,$(shell $(CXX) -dumpmachine)))
MARCH = -march=$(ARCH)
MARCH_x86_64 := -march=x86-64-v2
KERNELS_x86_64 := avx2 avx_vnni avx512 avx512_vnni
KERNELS_aarch64 := neon_dot
KERNEL_FLAGS_avx2 := -march=x86-64-v3
KERNEL_FLAGS_avx_vnni := -march=x86-64-v3 -mavxvnni
KERNEL_FLAGS_avx512 := -march=x86-64-v4 -mprefer-vector-width=512
KERNEL_FLAGS_avx512_vnni := $(KERNEL_FLAGS_avx512) -mavx512vnni
KERNEL_FLAGS_neon_dot := -march=armv8.2-a+dotprod
$(OUT)/cmodel/%.o: MARCH = $(MARCH_$(MACHINE))
$(foreach k,$(KERNELS_$(MACHINE)),$(eval $(OUT)/cmodel/npu/kernels/$(k).o: MARCH = $(KERNEL_FLAGS_$(k))))
OTHER_KERNELS := $(filter-out $(KERNELS_$(MACHINE)),$(KERNELS_x86_64) $(KERNELS_aarch64))

# Contraction of a*b+c would make float results depend on the compiler; the golden model must not.
CXXFLAGS_ALL = -std=c++20 $(MARCH) -ffp-contract=off -fPIC $(WARN) $(FLAGS_$(VARIANT)) -I. $(SYSINC) $(DEFINES) \
  $(CXXFLAGS)
# ONNX files are read where its schema is installed (libonnx-dev, libprotobuf-dev); elsewhere the program says so.
INCLUDES := /usr/include /usr/local/include
HAVE_ONNX := $(and $(wildcard $(INCLUDES:%=%/onnx/onnx_pb.h)),$(wildcard $(INCLUDES:%=%/google/protobuf/message.h)))
OTHER_ONNX := $(if $(HAVE_ONNX),$(wildcard sw/*/onnx_missing.cpp),\
  $(filter-out %_missing.cpp,$(wildcard sw/import/onnx*.cpp sw/export/onnx*.cpp)))
LIBS := $(if $(HAVE_ONNX),-lonnx_proto -lprotobuf) -lfmt -lspdlog -lz -lsndfile -lsoxr -lpng -ljpeg \
  -lkissfft-float -ltbb -lxxhash -ldl -lpthread

LIB_SRC  := $(filter-out %/main.cpp $(OTHER_KERNELS:%=cmodel/npu/kernels/%.cpp) $(OTHER_ONNX),\
  $(shell find sw cmodel -name '*.cpp' 2>/dev/null | sort))
# Everything under tests/ is one runner, except the folders with rules of their own and files that bring their own main.
OWN_MAIN := $(shell find tests -name '*.cpp' -exec grep -lw '^int main' {} + 2>/dev/null)
TEST_SRC := $(filter-out $(OWN_MAIN) tests/fuzz/% tests/bench/% tests/rtl/% tests/spec/%,\
  $(shell find tests -name '*.cpp' 2>/dev/null | sort))
# The host in C (sw/embedded), but not its board.
LIB_C    := $(filter-out %/board_rv32.c,$(shell find sw -name '*.c' 2>/dev/null | sort))
LIB_OBJ  := $(LIB_SRC:%.cpp=$(OUT)/%.o) $(LIB_C:%.c=$(OUT)/%.o)
TEST_OBJ := $(TEST_SRC:%.cpp=$(OUT)/%.o)
MAIN_OBJ := $(OUT)/sw/main.o
LIB   := $(OUT)/liblastmile.a
BIN   := $(OUT)/lastmile
TESTS := $(OUT)/lastmile-tests

# What `lastmile --version` says; a file per commit, so that one more commit recompiles one file.
VERSION := 1.0.0
COMMIT := $(shell git rev-parse --short HEAD 2>/dev/null)
$(OUT)/sw/cli/version.o: DEFINES += -DLASTMILE_VERSION='"$(VERSION)"' -DLASTMILE_COMMIT='"$(COMMIT)"'
$(OUT)/sw/cli/version.o: $(OUT)/commit-$(COMMIT)
$(OUT)/commit-$(COMMIT):
	@mkdir -p $(@D)
	@rm -f $(OUT)/commit-* && touch $@

$(OUT)/tests/%.o: DEFINES += -DDOCTEST_CONFIG_SUPER_FAST_ASSERTS
$(OUT)/%.o: %.cpp
	@mkdir -p $(@D)
	@echo "  CXX $<"
	@$(CCACHE) $(CXX) $(CXXFLAGS_ALL) -MMD -MP -c $< -o $@
# C has no strings to join: it keeps -Wrestrict.
$(OUT)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC $<"
	@$(CCACHE) $(CXX) -x c -std=c11 -ffreestanding -fexceptions -march=$(ARCH) -fPIC $(filter-out -Wno-restrict,$(WARN)) \
	  $(FLAGS_$(VARIANT)) -I. -MMD -MP -c $< -o $@
$(LIB): $(LIB_OBJ)
	@rm -f $@ && ar rcs $@ $^
$(BIN): $(MAIN_OBJ) $(LIB)
	@$(CXX) $(LD_$(VARIANT)) -rdynamic $(MAIN_OBJ) -Wl,--whole-archive $(LIB) -Wl,--no-whole-archive $(LIBS) -o $@
	@$(if $(filter release,$(VARIANT)),ln -sf $(OUT:build/%=%)/lastmile build/lastmile)
$(TESTS): $(TEST_OBJ) $(LIB)
	@$(CXX) $(LD_$(VARIANT)) $(TEST_OBJ) $(LIB) $(LIBS) -o $@

-include $(LIB_OBJ:.o=.d) $(TEST_OBJ:.o=.d) $(MAIN_OBJ:.o=.d)
