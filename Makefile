# Lastmile: thin entry points. The rules that compile are in sw/build.mk, so that this file stays a table of contents.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build

include sw/build.mk
-include tests/rtl/*.mk

.PHONY: build test clean
build: $(BIN)            ## build the `lastmile` program
test: $(TESTS)           ## build and run the test suite
	$(TESTS)
clean:                   ## remove everything that was built
	rm -rf build
