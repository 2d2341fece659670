# SPDX-License-Identifier: Apache-2.0
# Models of other tools as a user brings them.
.PHONY: import-test import-page
import-test: $(BIN)      ## models of other tools with every command that takes a network; errors, nothing left behind
	@python3 tests/import/check_import.py $<
import-page: $(BIN)      ## every command of sw/import/FIVE_MINUTES.md, on a model that python3-onnx writes
	@python3 tests/import/check_page.py $<
TEST_TARGETS += import-test import-page
