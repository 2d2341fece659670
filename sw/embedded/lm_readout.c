// SPDX-License-Identifier: Apache-2.0
#include "sw/embedded/lm_readout.h"

static void write(const struct lm_readout* r, uint32_t offset, uint32_t value) {
  lm_port_write(r->host.port, offset, value);
}

/* The host's random numbers (sw/base/rng.hpp): splitmix64 seeds xoshiro256++. */
static uint64_t splitmix64(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}
static uint64_t rotl(uint64_t x, int k) { return x << k | x >> (64 - k); }
static uint64_t next(uint64_t s[4]) {
  const uint64_t r = rotl(s[0] + s[3], 23) + s[0];
  const uint64_t t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = rotl(s[3], 45);
  return r;
}
/* x mod n, n below 2^31: a long division bit by bit, no divider needed. */
static uint32_t modulo(uint64_t x, uint32_t n) {
  uint32_t rest = 0;
  for (int bit = 0; bit < 64; ++bit, x <<= 1) {
    rest = rest << 1 | (uint32_t)(x >> 63);
    if (rest >= n) rest -= n;
  }
  return rest;
}
/* Uniform in 0..n-1, without bias. */
static uint32_t below(uint64_t s[4], uint32_t n) {
  const uint32_t reject = modulo(0 - (uint64_t)n, n);
  uint64_t x = next(s);
  while (x < reject) x = next(s);
  return modulo(x, n);
}

static void begin_epoch(struct lm_readout* r, uint32_t epoch) {
  const uint64_t golden = 0x9e3779b97f4a7c15u;
  uint64_t s[4];
  uint64_t seed = splitmix64(splitmix64(r->plan->epoch_seed) ^
                             (epoch * 0xd1342543de82ef95u + 0x632be59bd9b4e019u));
  for (int i = 0; i < 4; ++i, seed += golden) s[i] = splitmix64(seed);
  r->epoch = epoch;
  r->offset = below(s, r->rest + 1);
  for (uint32_t i = 0; i < r->batches; ++i) r->order[i] = (uint16_t)i;
  for (uint32_t i = r->batches; i > 1; --i) {
    const uint32_t j = below(s, i);
    const uint16_t last = r->order[i - 1];
    r->order[i - 1] = r->order[j];
    r->order[j] = last;
  }
}
/* First record of the batch of the next step; steps come one after another from 0 on. */
static uint32_t next_batch(struct lm_readout* r, uint32_t step) {
  if (step == 0) {
    r->epoch_step = 0;
    begin_epoch(r, 0);
  } else if (++r->epoch_step == r->batches) {
    r->epoch_step = 0;
    begin_epoch(r, r->epoch + 1);
  }
  return r->offset + r->order[r->epoch_step] * r->plan->batch;
}

/* A queue on the records from `first` on. */
static int on_records(struct lm_readout* r, uint32_t first, uint32_t address, uint32_t count) {
  write(r, LM_REG_BATCH_ADDR, r->plan->record_address + first * r->plan->pitch);
  write(r, LM_REG_LABEL_ADDR, r->plan->record_label_address + first * r->plan->label_bytes);
  return lm_queue(&r->host, address, count);
}

/* Records of all examples into their places; behind them labels that are ignored. */
static int extract(struct lm_readout* r) {
  const struct lm_readout_plan* p = r->plan;
  const uint32_t total = p->train + p->held;
  uint32_t first = 0;
  for (; first < total; first += p->batch) {
    if (lm_port_records(r->host.port, first) != 0) return LM_NO_BATCH;
    write(r, LM_REG_OUT_ADDR, p->record_address + first * p->pitch);
    const int status = lm_queue(&r->host, p->extract_address, p->extract_count);
    if (status != LM_OK) return status;
  }
  return lm_port_records(r->host.port, first) != 0 ? LM_NO_BATCH : LM_OK;
}

static int learn(struct lm_readout* r, uint32_t step, uint32_t step_register) {
  const struct lm_plan* p = &r->plan->plan;
  const uint64_t seed = p->seed + step;
  write(r, LM_REG_STEP, step_register);
  write(r, LM_REG_SEED_LO, (uint32_t)seed);
  write(r, LM_REG_SEED_HI, (uint32_t)(seed >> 32));
  write(r, LM_REG_PAIR_SEED_LO, (uint32_t)seed);
  write(r, LM_REG_PAIR_SEED_HI, (uint32_t)(seed >> 32));
  return on_records(r, next_batch(r, step), p->update_address, p->update_count);
}

/* Losses of the records held out. */
static int score(struct lm_readout* r, uint64_t* loss) {
  const struct lm_readout_plan* p = r->plan;
  *loss = 0;
  for (uint32_t at = 0; at < p->held; at += p->batch) {
    const int status =
        on_records(r, p->train + at, p->plan.forward_address, p->plan.forward_count);
    if (status != LM_OK) return status;
    *loss += lm_loss(&r->host);
  }
  return LM_OK;
}

/* The first candidate with the smallest loss; without examples held out one from the middle. */
static int search(struct lm_readout* r) {
  const struct lm_readout_plan* p = r->plan;
  const uint32_t* registers = p->plan.step_registers;
  uint64_t least = 0;
  r->rate = p->rates >> 1;
  if (p->held == 0 || p->rates == 1) return LM_OK;
  for (uint32_t i = 0; i < p->rates; ++i, registers += p->search_steps + p->plan.steps) {
    uint64_t loss = 0;
    if (lm_port_restore(r->host.port, LM_COPY_BASE) != 0) return LM_NO_BATCH;
    int status = LM_OK;
    for (uint32_t step = 0; step < p->search_steps && status == LM_OK; ++step)
      status = learn(r, step, registers[step]);
    if (status == LM_OK) status = score(r, &loss);
    if (status != LM_OK) return status;
    if (i != 0 && loss >= least) continue;
    least = loss;
    r->rate = i;
  }
  return lm_port_restore(r->host.port, LM_COPY_BASE) != 0 ? LM_NO_BATCH : LM_OK;
}

/* Keeps the weights if they are the best so far; without examples held out, always. */
static int snapshot(struct lm_readout* r) {
  uint64_t loss = 0;
  const int status = score(r, &loss);
  if (status != LM_OK) return status;
  if (r->host.step != 0 && r->plan->held != 0 && loss >= r->held_loss) return LM_OK;
  r->held_loss = loss;
  r->best_step = r->host.step;
  return lm_port_keep(r->host.port, LM_COPY_BEST) != 0 ? LM_NO_JOURNAL : LM_OK;
}

int lm_readout_run(struct lm_readout* r, struct lm_port* port, const struct lm_readout_plan* plan,
                   uint16_t* order) {
  const uint32_t steps = plan->plan.steps;
  uint32_t due = 0;
  int status = lm_open(&r->host, port, &plan->plan, 0);
  if (status != LM_OK) return status;
  r->plan = plan;
  r->order = order;
  r->batches = 0;
  r->rest = plan->train;
  do {
    ++r->batches;
    r->rest = r->rest < plan->batch ? 0 : r->rest - plan->batch;
  } while (r->rest >= plan->batch);
  write(r, LM_REG_POLARITY, LM_POLARITY_NONE);
  status = extract(r);
  if (status == LM_OK && lm_port_keep(port, LM_COPY_BASE) != 0) status = LM_NO_JOURNAL;
  if (status == LM_OK) status = search(r);
  if (status == LM_OK) status = snapshot(r);
  if (status != LM_OK) return status;
  const uint32_t* registers = plan->plan.step_registers + plan->search_steps;
  for (uint32_t i = 0; i < r->rate; ++i) registers += plan->search_steps + steps;
  while (r->host.step < steps) {
    status = learn(r, r->host.step, registers[r->host.step]);
    if (status != LM_OK) return status;
    ++r->host.step;
    /* Evenly spaced, the end included: whenever step * snapshots / steps grows. */
    due += plan->snapshots;
    if (due < steps) continue;
    while (due >= steps) due -= steps;
    status = snapshot(r);
    if (status != LM_OK) return status;
  }
  return lm_port_restore(port, LM_COPY_BEST) != 0 ? LM_NO_BATCH : LM_OK;
}
