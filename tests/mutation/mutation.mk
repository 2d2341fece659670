# SPDX-License-Identifier: Apache-2.0
# Planted bugs.
#   make mutation [MUTANTS="hash-constant pool-count"] [JOBS=2]     each in a copy of the tree, against the lockstep
#   checks
MUTANTS ?=
.PHONY: mutation mutation-check
mutation: setup          ## plant known bugs one at a time and show that the checks catch each: MUTANTS= names
	@$(MAKE) --no-print-directory build sim-backends $(SIM_TEST) $(SIM_CAMPAIGN)
	@python3 tests/mutation/mutation.py run --make "$(SUBMAKE)" --jobs $(JOBS) $(MUTANTS)
mutation-check:          ## every planted bug still fits the source
	@python3 tests/mutation/mutation.py check
TEST_TARGETS += mutation-check
