# SPDX-License-Identifier: Apache-2.0
# Lastmile: thin entry points. The rules that compile are in sw/build.mk, the order of the checks is in tests/run.py;
# parts with rules of their own bring a fragment. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build
.DELETE_ON_ERROR:
SHARED ?= ../shared
export SHARED
JOBS ?= $(shell nproc)
# Parallel unless told otherwise: `make -j1`, `make JOBS=1`.
ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(JOBS)
endif

# For recipes that do more than call make: make runs every line that holds $(MAKE), even under -n. Not these.
SUBMAKE = $(MAKE)

include sw/build.mk sw/install.mk sim/arrays.mk
# What `make test` runs after its own checks: make targets, added by the fragments. A target that prints
# `N passed, N failed` counts as that many cases, another one as a single case.
TEST_TARGETS :=
# Every fragment by its name, so that one that is missing stops make instead of dropping its checks.
include tests/lint/tidy.mk tests/random/random.mk tests/fuzz/fuzz.mk sim/sim.mk tests/rtl/core.mk tests/rtl/peri.mk
include sim/systemc/systemc.mk sw/embedded/embedded.mk tests/timing/timing.mk tests/cli/cli.mk tests/bench/bench.mk
include tests/campaign/campaign.mk tests/validate/validate.mk tests/profile/profile.mk tests/kernels/kernels.mk
include tests/synth/synth.mk tests/mutation/mutation.mk tests/coverage/coverage.mk tests/make/make.mk tests/spec/spec.mk
include tests/import/import.mk tests/data/data.mk
include tests/injection/injection.mk tests/formal/formal.mk tests/networks/networks.mk

# DATA=folder is for the targets that train or measure on data; any other would silently do without.
DATA_TARGETS := run cosim cosim-adapt systemc validate validate-networks fashion widths speakers readouts
DATA_TARGETS += quantization-tables
ifneq ($(DATA),)
ifeq ($(MAKELEVEL),0)
$(foreach g,$(filter-out $(DATA_TARGETS),$(or $(MAKECMDGOALS),build)),\
  $(error DATA= is for $(DATA_TARGETS), not for $(g)))
endif
endif

.PHONY: setup build tests test run lint format spec spec-check clean help
setup:                   ## install the missing distribution packages (apt)
	@.ci/setup
build: $(BIN)            ## build the `lastmile` program (VARIANT=debug: with sanitizers; CXX=clang++)
tests: $(TESTS)
test: setup              ## every check, release and sanitizer builds; ends with `N passed, N failed`
	@python3 tests/run.py --make "$(SUBMAKE)" --jobs $(JOBS) --cxx $(CXX) $(TEST_TARGETS)
run: setup               ## adapt a shifted network by fixed-point forward gradients: the main demonstration
	@$(MAKE) --no-print-directory build
	build/lastmile run $(if $(findstring --resume,$(RUN_ARGS)),,--overwrite) $(if $(DATA),--data $(DATA)) $(RUN_ARGS)
lint:                    ## formatting, clang-tidy, layering, RTL lint: warnings are errors
	@python3 tests/lint/lint.py --make "$(SUBMAKE)" --jobs $(JOBS)
format:                  ## reformat the C++ sources in place
	@python3 tests/lint/lint.py --fix format
spec:                    ## regenerate header, RTL package and reference page from cmodel/spec/npu.toml
	python3 cmodel/spec/generate.py
spec-check:              ## fail if the generated files differ from cmodel/spec/npu.toml
	python3 cmodel/spec/generate.py --check
clean:                   ## remove everything that was built
	rm -rf build
help:                    ## this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(filter Makefile %.mk,$(MAKEFILE_LIST))
