# SPDX-License-Identifier: Apache-2.0
"""Reads npu.toml (source.py) and writes what is made of it: one module per generated file, each with emit(spec) -> text."""
