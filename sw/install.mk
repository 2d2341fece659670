# SPDX-License-Identifier: Apache-2.0
# What an installation has.
#   make install [PREFIX=/usr/local] [DESTDIR=]   program, networks and energy tables, backends of the RTL that are
#                                                 built, manual pages, completions, library with headers, lastmile.pc
#   make uninstall [PREFIX=] [DESTDIR=]           removes what `make install` of the same PREFIX put there
#   make deb                                      build/lastmile_VERSION_ARCH.deb, for any machine of ARCH
PREFIX ?= /usr/local
INSTALLED = python3 sw/install.py --prefix $(PREFIX) --destdir "$(DESTDIR)" --out $(OUT) --version $(VERSION)
.PHONY: install uninstall deb
install: $(BIN) $(wildcard $(OUT)/liblastmile_*.so) ## program, data, manual, completions, library: PREFIX= DESTDIR=
	@$(INSTALLED) --libs "$(LIBS)"
uninstall:               ## removes what `make install` put there: PREFIX= DESTDIR=
	@$(INSTALLED) --remove

# For any machine of this architecture: only the inner loops know more, and choose when they run.
DEB_OUT := build/portable-$(notdir $(CXX))
DEB_ARCH = $(if $(filter x86_64,$(MACHINE)),x86-64,native)
deb:                     ## a package of the distribution, for any machine of this architecture
	@$(SUBMAKE) --no-print-directory ARCH=$(DEB_ARCH) OUT=$(DEB_OUT) install PREFIX=/usr DESTDIR=build/deb
	@python3 sw/install.py --package build/deb --version $(VERSION) --out $(DEB_OUT)
	@ln -sf $(OUT:build/%=%)/lastmile build/lastmile
