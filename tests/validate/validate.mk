# SPDX-License-Identifier: Apache-2.0
# Fixed point against the golden float model, and the golden models against their peers.
.PHONY: validate validate-networks validate-quick peer-torch peer-vectors
validate: setup          ## fixed point against float: errors by layer, training signal, widths: DATA= NETWORK=
	@$(MAKE) --no-print-directory build
	build/lastmile validate $(if $(DATA),--data $(DATA)) $(if $(NETWORK),--network $(NETWORK)) $(VALIDATE_ARGS)
validate-networks: setup ## the same for the three networks on the drawn digits and DATA="folder folder"
	@$(MAKE) --no-print-directory build
	python3 tests/validate/matrix.py build/lastmile $(DATA)
validate-quick: build
	@python3 tests/validate/quick.py build/lastmile
peer-torch: build        ## the golden float model against PyTorch (Debian package python3-torch), if it is installed
	@python3 tests/validate/peer_torch.py build/lastmile
peer-vectors: build      ## the int8 path against golden vectors (SHARED/vectors)
	@if ls $(SHARED)/vectors/*.json > /dev/null 2>&1; then build/lastmile vectors $(SHARED)/vectors/*.json; \
	  else echo "SKIPPED: no golden vectors in $(SHARED)/vectors"; fi
TEST_TARGETS += validate-quick peer-torch peer-vectors
