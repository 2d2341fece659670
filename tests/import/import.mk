# SPDX-License-Identifier: Apache-2.0
# Models of other tools as a user brings them.
.PHONY: import-test import-page import-nodes peer-onnx peer-onnx-install
import-test: $(BIN)      ## models of other tools with every command that takes a network; errors, nothing left behind
	@python3 tests/import/check_import.py $<
import-page: $(BIN)      ## every command of sw/import/FIVE_MINUTES.md, on a model that python3-onnx writes
	@python3 tests/import/check_page.py $<
import-nodes:            ## tests/import/nodes.json is what its script writes
	@python3 tests/import/make_nodes.py --check
TEST_TARGETS += import-test import-page import-nodes

PEER_ONNX := $(OUT)/peer-onnx
$(PEER_ONNX): $(OUT)/tests/import/peer_onnx.o $(LIB)
	@$(CXX) $(LD_$(VARIANT)) $^ $(LIBS) -o $@
-include $(OUT)/tests/import/peer_onnx.d
peer-onnx: $(BIN) $(PEER_ONNX)  ## exported ONNX models in onnxruntime (npm onnxruntime-node), where it is installed
	@python3 tests/import/peer_onnx.py $(BIN) $(PEER_ONNX) $(PEER_ARGS)
# By hand alone: it is a download.
peer-onnx-install:       ## onnxruntime-node from npm, below build/
	@mkdir -p build/peer-onnx
	@npm install --prefix build/peer-onnx --ignore-scripts --no-audit --no-fund onnxruntime-node
