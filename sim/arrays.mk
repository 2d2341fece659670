# SPDX-License-Identifier: Apache-2.0
# The arrays that backends, checks and reports are built for, by name; make and tests/arrays.py read this list.
# Wherever an array is asked for (`make rtl ARRAY=8x16`, TIMING_SETS=, CAMPAIGN_SETS=, SYNTH=) it is one of these
# names, also with -inference (TRAINING=0), or settings as in --hardware: rows=8,cols=8,... (the others are those of
# the first line).
ARRAY_16x16      := ROWS=16 COLS=16 BUS_BYTES=16 ACT_BYTES=65536  ACC_DEPTH=512  RQ_LANES=8
ARRAY_4x4        := ROWS=4  COLS=4  BUS_BYTES=8  ACT_BYTES=4096   ACC_DEPTH=64   RQ_LANES=4
ARRAY_4x4-s16384 := ROWS=4  COLS=4  BUS_BYTES=8  ACT_BYTES=16384  ACC_DEPTH=64   RQ_LANES=4
ARRAY_4x8        := ROWS=4  COLS=8  BUS_BYTES=8  ACT_BYTES=4096   ACC_DEPTH=64   RQ_LANES=2
ARRAY_4x32       := ROWS=4  COLS=32 BUS_BYTES=16 ACT_BYTES=4096   ACC_DEPTH=64   RQ_LANES=1
ARRAY_8x16       := ROWS=8  COLS=16 BUS_BYTES=16 ACT_BYTES=8192   ACC_DEPTH=64   RQ_LANES=2
ARRAY_8x16-deep  := ROWS=8  COLS=16 BUS_BYTES=16 ACT_BYTES=16384  ACC_DEPTH=128  RQ_LANES=4
ARRAY_16x8       := ROWS=16 COLS=8  BUS_BYTES=32 ACT_BYTES=4096   ACC_DEPTH=128  RQ_LANES=8
ARRAY_32x32      := ROWS=32 COLS=32 BUS_BYTES=64 ACT_BYTES=65536  ACC_DEPTH=256  RQ_LANES=16
ARRAY_smallest   := ROWS=4  COLS=4  BUS_BYTES=8  ACT_BYTES=4096   ACC_DEPTH=64   RQ_LANES=1
ARRAY_largest    := ROWS=32 COLS=32 BUS_BYTES=64 ACT_BYTES=262144 ACC_DEPTH=2048 RQ_LANES=32

# $(1): name, $(2): parameter. array_settings: all of them, as for make and Verilator.
array_base = $(patsubst %-inference,%,$(1))
array_settings = $(or $(ARRAY_$(array_base)),$(error no array '$(1)' in sim/arrays.mk)) \
  TRAINING=$(if $(filter %-inference,$(1)),0,1)
array_value = $(patsubst $(2)=%,%,$(filter $(2)=%,$(array_settings)))
