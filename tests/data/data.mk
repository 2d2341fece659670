# SPDX-License-Identifier: Apache-2.0
# Data sets of one's own, as a user brings them.
.PHONY: data-test
data-test: $(BIN)        ## pictures, arrays and sounds, source and target; every command of sw/data/YOUR_DATA.md
	@python3 tests/data/check_data.py $<
TEST_TARGETS += data-test
