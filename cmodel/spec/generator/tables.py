# SPDX-License-Identifier: Apache-2.0
"""The constant tables of the numeric contract."""
import math


def gaussian_thresholds():
    """T[k]: a 15-bit uniform u has magnitude #{k : u >= T[k]}; magnitude steps of 3.5/127, so that the largest is 3.5."""
    return [round(2**15 * math.erf((k + 0.5) * 3.5 / 127 / math.sqrt(2))) for k in range(127)]


def exp2_table():
    """E[k] = 2^(-k/256) with 24 fraction bits, k = 0..256."""
    return [round(2 ** (24 - k / 256)) for k in range(257)]


def log2_table():
    """L[k] = log2(1 + k/256) with 24 fraction bits, k = 0..256."""
    return [round(2**24 * math.log2(1 + k / 256)) for k in range(257)]


def tables():
    """name -> (values, bits of a value, meaning)"""
    return {
        "gaussian_threshold": (gaussian_thresholds(), 15, "u15 >= T[k] counts one step of |z|; see gaussian_z"),
        "exp2": (exp2_table(), 25, "2^(-k/256), 24 fraction bits"),
        "log2": (log2_table(), 25, "log2(1 + k/256), 24 fraction bits"),
    }
