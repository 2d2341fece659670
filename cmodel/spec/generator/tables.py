# SPDX-License-Identifier: Apache-2.0
"""The constant tables of the numeric contract."""
import math


def gaussian_thresholds(z_max, steps):
    """T[k]: a 15-bit uniform u has magnitude #{k : u >= T[k]}, in steps of z_max / steps; the largest is z_max."""
    return [round(2**15 * math.erf((k + 0.5) * z_max / steps / math.sqrt(2))) for k in range(steps)]


def exp2_table():
    """E[k] = 2^(-k/256) with 24 fraction bits, k = 0..256."""
    return [round(2 ** (24 - k / 256)) for k in range(257)]


def log2_table():
    """L[k] = log2(1 + k/256) with 24 fraction bits, k = 0..256."""
    return [round(2**24 * math.log2(1 + k / 256)) for k in range(257)]


def tables(z_max, steps):
    """name -> (values, bits of a value, meaning)"""
    return {
        "gaussian_threshold": (gaussian_thresholds(z_max, steps), 15,
                               "u15 >= T[k] counts one step of |z|; see gaussian_z"),
        "exp2": (exp2_table(), 25, "2^(-k/256), 24 fraction bits"),
        "log2": (log2_table(), 25, "log2(1 + k/256), 24 fraction bits"),
    }
