# SPDX-License-Identifier: Apache-2.0
# The build itself: it stops where a part is missing, and a dry run runs nothing.
.PHONY: make-test
make-test:               ## the Makefile: no fragment can go missing, `make -n` runs nothing, DATA= reaches every target
	@python3 tests/make/check_make.py
TEST_TARGETS += make-test
