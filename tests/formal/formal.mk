# SPDX-License-Identifier: Apache-2.0
# Formal proofs with Yosys and its ABC.
#   make formal [PROOF="axi-read fifo-data"] [PROOF_SECONDS=60]   build/reports/formal.json; seconds: of one search
#   make formal-faults [FAULT="write-strobe"]                     planted faults: each must break its property
#   make formal-test                                              part of `make test`: proofs that take seconds
PROOF ?=
FAULT ?=
PROOF_SECONDS ?= 60
.PHONY: formal formal-faults formal-test formal-check
formal: setup            ## proofs with Yosys: AXI masters, AXI4-Lite slave, sequencer, buffers, arbiter: PROOF= names
	@python3 tests/formal/formal.py prove --jobs $(JOBS) --seconds $(PROOF_SECONDS) $(PROOF)
formal-faults: setup     ## planted faults that the proofs must find: FAULT= names
	@python3 tests/formal/formal.py faults --jobs $(JOBS) --seconds $(PROOF_SECONDS) $(FAULT)
formal-test:             ## the proofs that take seconds
	@python3 tests/formal/formal.py prove --quick --seconds 10
formal-check:            ## every planted fault of the proofs still fits the source
	@python3 tests/formal/formal.py check
TEST_TARGETS += formal-test formal-check
