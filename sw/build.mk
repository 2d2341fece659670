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
# Contraction of a*b+c would make float results depend on the compiler; the golden model must not.
CXXFLAGS_ALL = -std=c++20 -march=$(ARCH) -ffp-contract=off -fPIC $(WARN) $(FLAGS_$(VARIANT)) -I. $(SYSINC) $(DEFINES) \
  $(CXXFLAGS)
LIBS := -lfmt -lspdlog -lz -lsndfile -lkissfft-float -ltbb -lxxhash -ldl -lpthread

LIB_SRC  := $(filter-out %/main.cpp,$(shell find sw cmodel -name '*.cpp' 2>/dev/null | sort))
# Everything under tests/ is one runner, except the folders with rules of their own and files that bring their own main.
OWN_MAIN := $(shell find tests -name '*.cpp' -exec grep -lw '^int main' {} + 2>/dev/null)
TEST_SRC := $(filter-out $(OWN_MAIN) tests/fuzz/% tests/bench/% tests/rtl/%,$(shell find tests -name '*.cpp' \
  2>/dev/null | sort))
# The host in C (sw/embedded), but not its board.
LIB_C    := $(filter-out %/board_rv32.c,$(shell find sw -name '*.c' 2>/dev/null | sort))
LIB_OBJ  := $(LIB_SRC:%.cpp=$(OUT)/%.o) $(LIB_C:%.c=$(OUT)/%.o)
TEST_OBJ := $(TEST_SRC:%.cpp=$(OUT)/%.o)
MAIN_OBJ := $(OUT)/sw/main.o
LIB   := $(OUT)/liblastmile.a
BIN   := $(OUT)/lastmile
TESTS := $(OUT)/lastmile-tests

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
