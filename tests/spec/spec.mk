# SPDX-License-Identifier: Apache-2.0
# npu.toml is the source: what is changed or added there, in a copy, reaches model, RTL and host.
.PHONY: spec-test
spec-test: $(BIN)        ## the specification: what is changed or added in a copy reaches model, RTL and host
	@python3 tests/spec/check_spec.py --cxx $(CXX) --program $(BIN)
TEST_TARGETS += spec-test
