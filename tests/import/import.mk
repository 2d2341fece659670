# SPDX-License-Identifier: Apache-2.0
# Models of other tools as a user brings them.
.PHONY: import-test import-page import-nodes peer-onnx peer-onnx-install models models-check
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

# MODELS=folder of .tflite files. Cycles are measured on the RTL of those arrays that `make rtl ARRAY=...` has built.
MODELS ?= $(SHARED)/models
DEPLOYED := $(OUT)/deployed
$(DEPLOYED): $(OUT)/tests/import/deployed.o $(LIB)
	@$(CXX) $(LD_$(VARIANT)) $^ $(LIBS) -o $@
-include $(OUT)/tests/import/deployed.d
models: setup            ## deployed models at batch 1, in MLPerf Tiny's form; times of imports: MODELS=folder
	@$(MAKE) --no-print-directory build $(DEPLOYED)
	python3 tests/import/deployed.py build/lastmile $(OUT)/deployed $(MODELS) $(MODELS_ARGS)
models-check: $(BIN) $(DEPLOYED)
	@python3 tests/import/check_deployed.py $^
TEST_TARGETS += models-check
