# Compilation rules. VARIANT selects the flags and the object tree:
#   release  -O3 for this machine, assertions off      debug  -O1 with address and undefined-behaviour sanitizers
# `make CXX=clang++` keeps its own object tree beside g++'s.
VARIANT ?= release
ARCH    ?= native
CXX     := $(if $(filter default,$(origin CXX)),g++,$(CXX))
CCACHE  := $(shell command -v ccache 2>/dev/null)
OUT     := build/$(VARIANT)-$(notdir $(CXX))

WARN  := -Wall -Wextra -Wconversion -Wshadow -Werror
# Distribution headers are system headers: their warnings are not ours.
SYSINC := -isystem /usr/include/eigen3
FLAGS_release := -O3 -DNDEBUG
FLAGS_debug   := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
LD_debug      := -fsanitize=address,undefined
# Contraction of a*b+c would make float results depend on the compiler; the golden model must not.
CXXFLAGS_ALL := -std=c++20 -march=$(ARCH) -ffp-contract=off -fPIC $(WARN) $(FLAGS_$(VARIANT)) -I. $(SYSINC) $(CXXFLAGS)
LIBS := -lfmt -lspdlog -lz -lsndfile -lkissfft-float -ltbb -lxxhash -ldl -lpthread

LIB_SRC  := $(filter-out %/main.cpp,$(shell find sw cmodel -name '*.cpp' 2>/dev/null | sort))
TEST_SRC := $(shell find tests -name '*.cpp' -not -path 'tests/fuzz/*' -not -path 'tests/bench/*' -not -path 'tests/rtl/*' 2>/dev/null | sort)
LIB_OBJ  := $(LIB_SRC:%.cpp=$(OUT)/%.o)
TEST_OBJ := $(TEST_SRC:%.cpp=$(OUT)/%.o)
MAIN_OBJ := $(OUT)/sw/main.o
LIB   := $(OUT)/liblastmile.a
BIN   := $(OUT)/lastmile
TESTS := $(OUT)/lastmile-tests

$(OUT)/%.o: %.cpp
	@mkdir -p $(@D)
	@echo "  CXX $<"
	@$(CCACHE) $(CXX) $(CXXFLAGS_ALL) -MMD -MP -c $< -o $@
$(LIB): $(LIB_OBJ)
	@rm -f $@ && ar rcs $@ $^
$(BIN): $(MAIN_OBJ) $(LIB)
	@$(CXX) $(LD_$(VARIANT)) -rdynamic $(MAIN_OBJ) -Wl,--whole-archive $(LIB) -Wl,--no-whole-archive $(LIBS) -o $@
	@ln -sf $(OUT:build/%=%)/lastmile build/lastmile
$(TESTS): $(TEST_OBJ) $(LIB)
	@$(CXX) $(LD_$(VARIANT)) $(TEST_OBJ) $(LIB) $(LIBS) -o $@

-include $(LIB_OBJ:.o=.d) $(TEST_OBJ:.o=.d) $(MAIN_OBJ:.o=.d)
