// SPDX-License-Identifier: Apache-2.0
#include "sw/embedded/lm_real.h"

/* value = (-1)^sign * mantissa * 2^(exponent - 63), bit 63 of the mantissa set; mantissa 0: zero */
struct parts {
  uint64_t mantissa;
  int32_t exponent;
  uint32_t sign;
};

/* Shifts by a variable number of bits, in words: a 32-bit core has no others. 0 <= n <= 63. */
static uint64_t shift_left(uint64_t x, uint32_t n) {
  uint32_t low = (uint32_t)x, high = (uint32_t)(x >> 32);
  if (n >= 32) {
    high = low;
    low = 0;
    n -= 32;
  }
  if (n != 0) {
    high = high << n | low >> (32 - n);
    low <<= n;
  }
  return (uint64_t)high << 32 | low;
}

static uint64_t shift_right(uint64_t x, uint32_t n) {
  uint32_t low = (uint32_t)x, high = (uint32_t)(x >> 32);
  if (n >= 32) {
    low = high;
    high = 0;
    n -= 32;
  }
  if (n != 0) {
    low = low >> n | high << (32 - n);
    high >>= n;
  }
  return (uint64_t)high << 32 | low;
}

static struct parts unpack(lm_real a) {
  struct parts p;
  p.sign = (uint32_t)(a >> 63);
  p.exponent = (int32_t)((uint32_t)(a >> 52) & 0x7ff) - 1023;
  p.mantissa = p.exponent == -1023 ? 0 : (a << 11) | UINT64_C(1) << 63;
  return p;
}

/* Rounds; bits that were lost below the mantissa are or-ed into its lowest bit. */
static lm_real pack(uint32_t sign, int32_t exponent, uint64_t mantissa) {
  uint64_t kept = mantissa >> 11;
  const uint32_t rest = (uint32_t)mantissa & 0x7ff;
  if (mantissa == 0) return (uint64_t)sign << 63;
  if (rest > 0x400 || (rest == 0x400 && (kept & 1) != 0)) ++kept;
  /* A carry out of the mantissa goes into the exponent, where it belongs. */
  return ((uint64_t)sign << 63) + ((uint64_t)(uint32_t)(exponent + 1022) << 52) + kept;
}

static lm_real normalize(uint32_t sign, int32_t exponent, uint64_t mantissa) {
  if (mantissa == 0) return 0;
  while (mantissa >> 63 == 0) {
    mantissa <<= 1;
    --exponent;
  }
  return pack(sign, exponent, mantissa);
}

lm_real lm_real_of(int64_t value) {
  const uint32_t sign = value < 0;
  return normalize(sign, 63, sign != 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

lm_real lm_real_scale(lm_real a, int32_t power) {
  if (a << 1 == 0) return a;
  return a + ((uint64_t)(uint32_t)power << 52);
}

lm_real lm_real_add(lm_real a, lm_real b) {
  struct parts x = unpack(a), y = unpack(b);
  if ((b << 1) > (a << 1)) {
    const struct parts swap = x;
    x = y;
    y = swap;
  }
  if (x.mantissa == 0) return a & b; /* -0 only of two of them */
  if (y.mantissa == 0) return pack(x.sign, x.exponent, x.mantissa);
  /* One bit of headroom; ten below the last one that counts. */
  const uint32_t distance = (uint32_t)(x.exponent - y.exponent);
  const uint64_t large = x.mantissa >> 1;
  uint64_t small = y.mantissa >> 1;
  if (distance > 63) {
    small = 1;
  } else {
    const uint64_t moved = shift_right(small, distance);
    small = moved | (shift_left(moved, distance) != small);
  }
  return normalize(x.sign, x.exponent + 1, x.sign == y.sign ? large + small : large - small);
}

lm_real lm_real_sub(lm_real a, lm_real b) { return lm_real_add(a, b ^ UINT64_C(1) << 63); }

lm_real lm_real_mul(lm_real a, lm_real b) {
  const struct parts x = unpack(a), y = unpack(b);
  const uint32_t sign = x.sign ^ y.sign;
  if (x.mantissa == 0 || y.mantissa == 0) return (uint64_t)sign << 63;
  const uint64_t x1 = x.mantissa >> 32, x0 = (uint32_t)x.mantissa;
  const uint64_t y1 = y.mantissa >> 32, y0 = (uint32_t)y.mantissa;
  const uint64_t low = x0 * y0;
  const uint64_t middle = x1 * y0 + (low >> 32); /* cannot overflow */
  const uint64_t other = x0 * y1 + (uint32_t)middle;
  const uint64_t lost = other << 32 | (uint32_t)low;
  uint64_t high = x1 * y1 + (middle >> 32) + (other >> 32);
  if (high >> 63 != 0) return pack(sign, x.exponent + y.exponent + 1, high | (lost != 0));
  high = high << 1 | lost >> 63;
  return pack(sign, x.exponent + y.exponent, high | (lost << 1 != 0));
}

lm_real lm_real_div(lm_real a, lm_real b) {
  const struct parts x = unpack(a), y = unpack(b);
  const uint32_t sign = x.sign ^ y.sign;
  if (x.mantissa == 0) return (uint64_t)sign << 63;
  uint64_t rest = x.mantissa >> 1, quotient = 0;
  const uint64_t divisor = y.mantissa >> 1;
  int32_t exponent = x.exponent - y.exponent;
  if (rest < divisor) {
    rest <<= 1;
    --exponent;
  }
  for (uint32_t i = 0; i < 64; ++i) {
    quotient <<= 1;
    if (rest >= divisor) {
      rest -= divisor;
      quotient |= 1;
    }
    rest <<= 1;
  }
  return pack(sign, exponent, quotient | (rest != 0));
}

lm_real lm_real_sqrt(lm_real a) {
  const struct parts x = unpack(a);
  if (x.mantissa == 0) return a;
  /* 54 bits and an even exponent, two bits of the radicand for each of 56 bits of the root. */
  const uint32_t odd = (uint32_t)x.exponent & 1;
  uint64_t radicand = odd != 0 ? x.mantissa >> 10 : x.mantissa >> 11;
  uint64_t root = 0, rest = 0;
  for (uint32_t i = 0; i < 56; ++i) {
    rest = rest << 2 | ((uint32_t)(radicand >> 52) & 3);
    radicand = (radicand << 2) & ((UINT64_C(1) << 54) - 1);
    const uint64_t trial = root << 2 | 1;
    root <<= 1;
    if (rest >= trial) {
      rest -= trial;
      root |= 1;
    }
  }
  return pack(0, (x.exponent - (int32_t)odd) / 2, root << 8 | (rest != 0));
}

uint32_t lm_real_to_float(lm_real a) {
  const uint32_t sign = (uint32_t)(a >> 63) << 31;
  if (a << 1 == 0) return sign;
  const uint32_t exponent = ((uint32_t)(a >> 52) & 0x7ff) - 1023 + 127;
  uint32_t kept = (uint32_t)(a >> 29) & 0x7fffff;
  const uint32_t rest = (uint32_t)a & 0x1fffffff;
  if (rest > 0x10000000 || (rest == 0x10000000 && (kept & 1) != 0)) ++kept;
  return sign + (exponent << 23) + kept;
}

lm_real lm_real_from_float(uint32_t bits) {
  const uint64_t sign = (uint64_t)(bits >> 31) << 63;
  if (bits << 1 == 0) return sign;
  const uint32_t exponent = (bits >> 23 & 0xff) - 127 + 1023;
  return sign | (uint64_t)exponent << 52 | (uint64_t)(bits & 0x7fffff) << 29;
}

int32_t lm_real_round(lm_real a) {
  const struct parts x = unpack(a);
  if (x.mantissa == 0 || x.exponent < -1) return 0;
  /* Twice the value, cut; then half of it, rounded up. */
  const uint32_t twice = (uint32_t)shift_right(x.mantissa, (uint32_t)(62 - x.exponent));
  const int32_t magnitude = (int32_t)((twice + 1) >> 1);
  return x.sign != 0 ? -magnitude : magnitude;
}
