# SPDX-License-Identifier: Apache-2.0
# Long campaigns, run by hand; their results are in RESULTS.md.
.PHONY: fashion widths speakers readouts quantization-tables readme readme-check
fashion: setup           ## DATA=fashion-mnist: fixed against float forward gradient and backpropagation (an hour)
	@$(MAKE) --no-print-directory build
	python3 tests/campaign/campaign.py fashion $(DATA) $(if $(SEEDS),--seeds $(SEEDS))
widths: setup            ## 8-bit against 16-bit weights over the perturbation size (DATA= or the drawn digits)
	@$(MAKE) --no-print-directory build
	python3 tests/campaign/campaign.py widths $(DATA) $(if $(SEEDS),--seeds $(SEEDS))
speakers: setup          ## DATA=speech-commands-12: adaptation to each held-out speaker
	@$(MAKE) --no-print-directory build
	python3 tests/campaign/campaign.py speakers $(DATA) $(if $(SEEDS),--seeds $(SEEDS))
readouts: setup          ## DATA=fashion-mnist: readouts of inner layers against backpropagation (half an hour)
	@$(MAKE) --no-print-directory build
	python3 tests/campaign/campaign.py readouts $(DATA) $(if $(SEEDS),--seeds $(SEEDS))
quantization-tables: setup  ## DATA=fashion-mnist: ranges, channel scales, planted faults (half an hour)
	@$(MAKE) --no-print-directory build
	python3 tests/campaign/quantization.py build/lastmile $(if $(DATA),--data $(DATA)) $(QUANTIZATION_ARGS)
readme:                  ## put the tables of build/reports into the pages (README.md, tests/*/RESULTS.md)
	python3 tests/campaign/readme.py
readme-check:
	@python3 tests/campaign/readme.py --check
TEST_TARGETS += readme-check
