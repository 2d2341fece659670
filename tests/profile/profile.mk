# SPDX-License-Identifier: Apache-2.0
# What a training step costs. NETWORKS=small-cnn,resnet8,... TABLE=22nm PROFILE_ARGS=...
NETWORKS ?= resnet8,small-cnn,ds-cnn,resnet18-96,resnet18-224,mobilenet-96,mobilenet-224
.PHONY: profile profile-rtl profile-rtl-run profile-check profile-rtl-check profile-rtl-large profile-baseline
profile: setup           ## cycles, bytes, energy, memory of a step, against backpropagation: NETWORKS= TABLE=
	@$(MAKE) --no-print-directory build
	build/lastmile profile --networks $(NETWORKS) $(if $(TABLE),--table $(TABLE)) --sweep \
	  --trace build/reports/profile-model.pftrace $(PROFILE_ARGS)
profile-rtl: setup       ## the same of the Verilated NPU, small batch, with its trace (build/reports/rtl)
	@$(MAKE) --no-print-directory profile-rtl-run
profile-rtl-run: $(call with_verilator,rtl)
	@$(need_verilator) mkdir -p build/reports/rtl && build/lastmile profile --backend rtl --networks resnet8 --batch 2 \
	  --reports build/reports/rtl --trace build/reports/profile-rtl.pftrace $(PROFILE_ARGS)
profile-check: $(BIN)
	@python3 tests/profile/check.py $<
profile-rtl-check: $(call with_verilator,rtl)
	@$(need_verilator) python3 tests/profile/check_rtl.py build/lastmile
profile-rtl-large:       ## model and RTL count the same on ResNet-18 and MobileNet at 96 x 96 (a minute)
profile-rtl-large: $(call with_verilator,rtl)
	@$(need_verilator) python3 tests/profile/check_rtl.py build/lastmile --large
profile-baseline: $(BIN) ## new committed numbers of a step: REASON="why they may change"
	@python3 tests/profile/check.py $< --baseline $(REASON)
TEST_TARGETS += profile-check profile-rtl-check
