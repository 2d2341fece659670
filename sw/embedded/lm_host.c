// SPDX-License-Identifier: Apache-2.0
#include "sw/embedded/lm_host.h"

static uint32_t read(const struct lm_host* h, uint32_t offset) {
  return lm_port_read(h->port, offset);
}
static void write(const struct lm_host* h, uint32_t offset, uint32_t value) {
  lm_port_write(h->port, offset, value);
}

/* CRC-32 of IEEE 802.3, four bits at a time. */
static uint32_t crc32(uint32_t start, const uint8_t* bytes, uint32_t n) {
  static const uint32_t table[16] = {
      0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158,
      0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4,
      0xa00ae278, 0xbdbdf21c};
  uint32_t crc = ~start;
  for (uint32_t i = 0; i < n; ++i) {
    crc ^= bytes[i];
    crc = crc >> 4 ^ table[crc & 15];
    crc = crc >> 4 ^ table[crc & 15];
  }
  return ~crc;
}

static void put32(uint8_t* to, uint32_t value) {
  for (uint32_t i = 0; i < 4; ++i) to[i] = (uint8_t)(value >> (8 * i));
}
static void put64(uint8_t* to, uint64_t value) {
  put32(to, (uint32_t)value);
  put32(to + 4, (uint32_t)(value >> 32));
}
static uint32_t get32(const uint8_t* from) {
  return from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

int lm_open(struct lm_host* h, struct lm_port* port, const struct lm_plan* plan, uint32_t chain) {
  h->port = port;
  h->plan = plan;
  h->chain = chain;
  h->step = 0;
  h->scale = 0;
  h->error_code = h->error_command = h->error_info = 0;
  if (read(h, LM_REG_ID) != LM_MAGIC || read(h, LM_REG_SPEC) != LM_SPEC_HASH ||
      read(h, LM_REG_HW0) != plan->hw0 || read(h, LM_REG_HW1) != plan->hw1)
    return LM_WRONG_DEVICE;
  write(h, LM_REG_CTRL, LM_CTRL_SOFT_RESET_MASK);
  write(h, LM_REG_MEM_LIMIT, plan->memory_limit);
  write(h, LM_REG_IRQ_ENABLE, LM_IRQ_ENABLE_DONE_MASK | LM_IRQ_ENABLE_ERROR_MASK);
  write(h, LM_REG_DISTRIBUTION, plan->distribution);
  write(h, LM_REG_MASK_SEED_LO, (uint32_t)plan->mask_seed);
  write(h, LM_REG_MASK_SEED_HI, (uint32_t)(plan->mask_seed >> 32));
  write(h, LM_REG_BATCH_ADDR, plan->batch_address);
  write(h, LM_REG_LABEL_ADDR, plan->label_address);
  write(h, LM_REG_OUT_ADDR, plan->out_address);
  return LM_OK;
}

int lm_queue(struct lm_host* h, uint32_t address, uint32_t count) {
  write(h, LM_REG_QUEUE_ADDR, address);
  write(h, LM_REG_QUEUE_COUNT, count);
  write(h, LM_REG_CTRL, LM_CTRL_START_MASK);
  if (lm_port_wait(h->port) != 0) return LM_NO_INTERRUPT;
  const uint32_t cause = read(h, LM_REG_IRQ_STATUS);
  write(h, LM_REG_IRQ_STATUS, cause);
  if (cause == LM_IRQ_STATUS_DONE_MASK) return LM_OK;
  h->error_code = read(h, LM_REG_ERROR_CODE);
  h->error_command = read(h, LM_REG_ERROR_COMMAND);
  h->error_info = read(h, LM_REG_ERROR_INFO);
  write(h, LM_REG_CTRL, LM_CTRL_SOFT_RESET_MASK);
  return LM_DEVICE_ERROR;
}

uint64_t lm_loss(struct lm_host* h) {
  const uint32_t low = read(h, LM_REG_LOSS_LO);
  return (uint64_t)read(h, LM_REG_LOSS_HI) << 32 | low;
}

/* The sum of the batch's losses. */
static int forward(struct lm_host* h, uint32_t polarity, uint64_t seed, uint64_t* loss) {
  write(h, LM_REG_POLARITY, polarity);
  write(h, LM_REG_SEED_LO, (uint32_t)seed);
  write(h, LM_REG_SEED_HI, (uint32_t)(seed >> 32));
  const int status = lm_queue(h, h->plan->forward_address, h->plan->forward_count);
  if (status != LM_OK) return status;
  *loss = lm_loss(h);
  return LM_OK;
}

/* The losses of a pair: |L+ - L-|, whether the difference is negative, and L+ + L-. */
struct pair {
  uint64_t magnitude, sum;
  int negative;
};
static int run_pair(struct lm_host* h, uint64_t seed, struct pair* p) {
  uint64_t plus = 0, minus = 0;
  int status = forward(h, LM_POLARITY_PLUS, seed, &plus);
  if (status == LM_OK) status = forward(h, LM_POLARITY_MINUS, seed, &minus);
  p->negative = plus < minus;
  p->magnitude = p->negative ? minus - plus : plus - minus;
  p->sum = plus + minus;
  return status;
}

/* D: 5 / (4 * LM_PROBES) of the sum of LM_PROBES differences on the first batch. */
static int measure_scale(struct lm_host* h) {
  uint64_t sum = 0;
  if (lm_port_batch(h->port, 0) != 0) return LM_NO_BATCH;
  for (uint32_t i = 0; i < LM_PROBES; ++i) {
    struct pair p;
    const int status = run_pair(h, h->plan->probe_seeds[i], &p);
    if (status != LM_OK) return status;
    sum += p.magnitude;
  }
  h->scale = ((sum << 2) + sum) >> 6;
  return LM_OK;
}

/* sign(d), or round(127 d / D): seven bits of a long division, no divider needed. */
static uint8_t coefficient(const struct lm_host* h, const struct pair* p) {
  uint32_t q = p->magnitude != 0;
  if (h->plan->scaled != 0) {
    q = LM_COEF_MAX;
    if (p->magnitude < h->scale) {
      uint64_t rest = (p->magnitude << 8) - (p->magnitude << 1) + h->scale; /* 254 |d| + D */
      uint64_t part = h->scale << 7;                                        /* 64 * 2 D */
      q = 0;
      for (int bit = 0; bit < 7; ++bit, part >>= 1) {
        q <<= 1;
        if (rest >= part) rest -= part, q |= 1;
      }
    }
    if (h->scale == 0) q = 0;
  }
  return (uint8_t)(p->negative ? 0u - q : q);
}

/* Seed of a pair: CONTRACT.md, section Host's rule. */
static uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}
static uint64_t pair_seed(const struct lm_host* h, uint32_t pair) {
  return mix(mix(h->plan->seed) + ((uint64_t)h->step << 3) + pair);
}

/* Checks the record's step and checksum, then updates: what a step and a replay share. */
static int apply(struct lm_host* h, const uint8_t* record) {
  const uint32_t pairs = h->plan->pairs;
  for (uint32_t j = 0; j < pairs; ++j) {
    const uint32_t at = j * LM_REG_PAIR_STRIDE;
    const uint64_t seed = pair_seed(h, j);
    write(h, LM_REG_PAIR_SEED_LO + at, (uint32_t)seed);
    write(h, LM_REG_PAIR_SEED_HI + at, (uint32_t)(seed >> 32));
    write(h, LM_REG_PAIR_COEF + at, record[8 + j]);
  }
  write(h, LM_REG_PAIRS, pairs);
  write(h, LM_REG_STEP, get32(record + 4));
  const int status = lm_queue(h, h->plan->update_address, h->plan->update_count);
  if (status != LM_OK) return status;
  h->chain = get32(record + 24 + pairs);
  h->scale = (uint64_t)get32(record + 20 + pairs) << 32 | get32(record + 16 + pairs);
  ++h->step;
  return LM_OK;
}

int lm_replay(struct lm_host* h, const uint8_t* record) {
  const uint32_t body = LM_RECORD_BYTES(h->plan->pairs) - 4;
  if (get32(record) != h->step || crc32(h->chain, record, body) != get32(record + body))
    return LM_WRONG_RECORD;
  return apply(h, record);
}

int lm_step(struct lm_host* h) {
  const uint32_t pairs = h->plan->pairs;
  uint8_t record[LM_RECORD_BYTES(LM_MAX_PAIRS)];
  uint64_t sum = 0;
  int status = LM_OK;
  if (h->step == 0 && h->plan->scaled != 0) status = measure_scale(h);
  if (status != LM_OK) return status;
  if (lm_port_batch(h->port, h->step) != 0) return LM_NO_BATCH;
  for (uint32_t j = 0; j < pairs; ++j) {
    struct pair p;
    status = run_pair(h, pair_seed(h, j), &p);
    if (status != LM_OK) return status;
    sum += p.sum;
    record[8 + j] = coefficient(h, &p);
  }
  put32(record, h->step);
  put32(record + 4, h->plan->step_registers[h->step]);
  put64(record + 8 + pairs, sum);
  put64(record + 16 + pairs, h->scale);
  put32(record + 24 + pairs, crc32(h->chain, record, 24 + pairs));
  /* Before the update: a run that stops between the two goes on from the journal. */
  if (lm_port_append(h->port, record, LM_RECORD_BYTES(pairs)) != 0) return LM_NO_JOURNAL;
  return apply(h, record);
}

int lm_run(struct lm_host* h) {
  while (h->step < h->plan->steps) {
    const int status = lm_step(h);
    if (status != LM_OK) return status;
  }
  return LM_OK;
}
