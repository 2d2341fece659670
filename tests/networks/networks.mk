# SPDX-License-Identifier: Apache-2.0
# Random networks against an independent simulation of quantized networks and their training steps.
#   make fuzz-networks [SECONDS=40] [ROUNDS=] [LASTMILE_SEED=] [CASE="..." or file]
NETWORK_FUZZ := $(OUT)/fuzz-networks
NETWORK_FUZZ_OBJ := $(patsubst %,$(OUT)/tests/networks/%.o,main case check scales simulation)
$(NETWORK_FUZZ): $(NETWORK_FUZZ_OBJ) $(LIB)
	@$(CXX) $(LD_$(VARIANT)) $^ $(LIBS) -o $@
-include $(OUT)/tests/networks/main.d

# SECONDS has a default of `make chaos`; here it counts where it was given.
NETWORK_SECONDS = $(if $(filter command,$(firstword $(origin SECONDS))),$(SECONDS),$(if $(ROUNDS),1e9,40))
.PHONY: fuzz-networks
fuzz-networks: $(NETWORK_FUZZ) ## random networks against an independent simulation (SECONDS= ROUNDS= CASE=)
	@nice $< --seconds $(NETWORK_SECONDS) $(if $(ROUNDS),--rounds $(ROUNDS)) \
	  $(if $(NETWORK_JOBS),--jobs $(NETWORK_JOBS)) $(if $(CASE),--case '$(CASE)')
TEST_TARGETS += fuzz-networks
