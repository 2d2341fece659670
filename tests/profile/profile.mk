# What a training step costs. NETWORKS=small-cnn,resnet8,... TABLE=22nm PROFILE_ARGS=...
.PHONY: profile
profile: setup           ## cycles, bytes, energy and memory of a training step, against inference and backpropagation
	@$(MAKE) --no-print-directory build
	build/lastmile profile $(if $(NETWORKS),--networks $(NETWORKS)) $(if $(TABLE),--table $(TABLE)) $(PROFILE_ARGS)
