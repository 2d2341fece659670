// SPDX-License-Identifier: Apache-2.0
/* The few binary64 operations that the journal's numbers are made of, in integers: the same bits as
 * IEEE 754 round to nearest, ties to even. Operands and results are zero or normal numbers; nothing
 * here overflows or underflows for losses. Only 32-bit multiplications, additions and shifts: a
 * core without a divider or a floating point unit needs no library for it. */
#ifndef LM_REAL_H
#define LM_REAL_H

#include <stdint.h> /* NOLINT(modernize-deprecated-headers): C */

typedef uint64_t lm_real; /* bits of a binary64; NOLINT(modernize-use-using): C */

#define LM_REAL_ONE UINT64_C(0x3ff0000000000000)
#define LM_REAL_127 UINT64_C(0x405fc00000000000)
#define LM_REAL_LN2 UINT64_C(0x3fe62e42fefa39ef)

#ifdef __cplusplus
extern "C" {
#endif

lm_real lm_real_of(int64_t value);
lm_real lm_real_scale(lm_real a, int32_t power); /* a * 2^power */
lm_real lm_real_add(lm_real a, lm_real b);
lm_real lm_real_sub(lm_real a, lm_real b);
lm_real lm_real_mul(lm_real a, lm_real b);
lm_real lm_real_div(lm_real a, lm_real b); /* b is not zero */
lm_real lm_real_sqrt(lm_real a);           /* a is not negative */
uint32_t lm_real_to_float(lm_real a);      /* bits of the nearest binary32; it is zero or normal */
lm_real lm_real_from_float(uint32_t bits);
int32_t lm_real_round(lm_real a); /* |a| < 2^31; halves away from zero */

#ifdef __cplusplus
}
#endif

#endif
