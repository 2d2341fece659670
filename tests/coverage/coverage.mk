# SPDX-License-Identifier: Apache-2.0
# Coverage of the RTL by the suites.
#   make coverage [COVERAGE_BLOCKS=40]     build/reports/coverage.{json,md}: lines, branches, port toggles, functional
#   points
COVERAGE_BLOCKS ?= 40
.PHONY: coverage
coverage: setup          ## line, branch, port toggle and functional coverage of the RTL
	@$(MAKE) --no-print-directory build sim-backends $(SIM_TEST) $(SIM_CAMPAIGN)
	@python3 tests/coverage/coverage.py run --blocks $(COVERAGE_BLOCKS) --make "$(SUBMAKE)"
