# SPDX-License-Identifier: Apache-2.0
"""What coverage leaves out, and why: module (or coverpoint), measure, regular expression of the whole place, reason."""

EXCLUSIONS = []
