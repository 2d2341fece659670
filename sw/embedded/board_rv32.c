// SPDX-License-Identifier: Apache-2.0
/* A board of an RV32 microcontroller with the NPU on its bus: what is left to port, and what
   `make embedded` measures. */
#include <stddef.h>

#include "sw/embedded/lm_host.h"
#include "sw/embedded/lm_readout.h"

#define NPU_BASE 0xf0000000u
#define NPU_MEMORY 0x00000000u /* the NPU's memory in the core's address map */

#define MAX_BATCHES 64 /* of an epoch of readouts; 2 bytes of stack each */

/* Flash that whoever prepares the run fills: plan, then examples and labels in the order of the steps
 * (readouts: of the records, then a batch of labels that are all ones). */
struct flash {
  struct lm_plan plan;
  uint32_t chain, batch_bytes, label_bytes;
  const uint8_t* batches; /* batch_bytes and label_bytes of every step */
  const struct lm_readout_plan* readout; /* a run of readouts; null: forward gradients */
  uint32_t weights_address, weights_bytes; /* of the last layer */
};
#define FLASH ((const struct flash*)0x20010000u)
#define COPIES ((uint8_t*)0x20c00000u) /* the two copies of the last layer */
#define LOG_BASE 0x20800000u /* memory that keeps what is written to it: the journal */

struct lm_port {
  uint8_t* log;
};

void* memcpy(void* restrict to, const void* restrict from, size_t n) {
  uint8_t* t = to;
  const uint8_t* f = from;
  while (n-- != 0) *t++ = *f++;
  return to;
}

static volatile uint32_t* reg(uint32_t offset) {
  return (volatile uint32_t*)(uintptr_t)(NPU_BASE + offset);
}
uint32_t lm_port_read(struct lm_port* port, uint32_t offset) {
  (void)port;
  return *reg(offset);
}
void lm_port_write(struct lm_port* port, uint32_t offset, uint32_t value) {
  (void)port;
  *reg(offset) = value;
}
/* Sleeps; the external interrupt is enabled but not taken: it only wakes the core. */
int lm_port_wait(struct lm_port* port) {
  uint32_t pending = 0;
  (void)port;
  do {
    __asm__ volatile("wfi\n\tcsrr %0, mip" : "=r"(pending) : : "memory");
  } while ((pending & 0x800) == 0);
  return 0;
}
int lm_port_batch(struct lm_port* port, uint32_t step) {
  const struct flash* f = FLASH;
  const uint8_t* from = f->batches + step * (f->batch_bytes + f->label_bytes);
  (void)port;
  memcpy((void*)(uintptr_t)(NPU_MEMORY + f->plan.batch_address), from, f->batch_bytes);
  memcpy((void*)(uintptr_t)(NPU_MEMORY + f->plan.label_address), from + f->batch_bytes, f->label_bytes);
  return 0;
}
int lm_port_records(struct lm_port* port, uint32_t first) {
  const struct flash* f = FLASH;
  const struct lm_readout_plan* p = f->readout;
  const uint8_t* from = f->batches;
  uint32_t at = 0;
  (void)port;
  for (; at < first; at += p->batch) from += f->batch_bytes + f->label_bytes;
  if (first < p->train + p->held)
    memcpy((void*)(uintptr_t)(NPU_MEMORY + p->plan.batch_address), from, f->batch_bytes);
  memcpy((void*)(uintptr_t)(NPU_MEMORY + p->record_label_address + first * p->label_bytes),
         from + f->batch_bytes, f->label_bytes);
  return 0;
}
static uint8_t* weights(void) { return (uint8_t*)(uintptr_t)(NPU_MEMORY + FLASH->weights_address); }
static uint8_t* copy_of(uint32_t copy) { return COPIES + copy * FLASH->weights_bytes; }
int lm_port_keep(struct lm_port* port, uint32_t copy) {
  (void)port;
  memcpy(copy_of(copy), weights(), FLASH->weights_bytes);
  return 0;
}
int lm_port_restore(struct lm_port* port, uint32_t copy) {
  (void)port;
  memcpy(weights(), copy_of(copy), FLASH->weights_bytes);
  return 0;
}
int lm_port_append(struct lm_port* port, const uint8_t* record, uint32_t bytes) {
  memcpy(port->log, record, bytes);
  port->log += bytes;
  return 0;
}

/* The frames of one kind of run are gone before the other's. */
static __attribute__((noinline)) int train(void) {
  struct lm_port port = {(uint8_t*)(uintptr_t)LOG_BASE};
  struct lm_host host;
  const int status = lm_open(&host, &port, &FLASH->plan, FLASH->chain);
  return status == LM_OK ? lm_run(&host) : status;
}
static __attribute__((noinline)) int train_readout(void) {
  struct lm_port port = {(uint8_t*)(uintptr_t)LOG_BASE};
  struct lm_readout run;
  uint16_t order[MAX_BATCHES];
  const struct lm_readout_plan* plan = FLASH->readout;
  if (MAX_BATCHES * plan->batch < plan->train) return LM_NO_BATCH;
  return lm_readout_run(&run, &port, plan, order);
}

int main(void) {
  __asm__ volatile("csrs mie, %0" : : "r"(0x800));
  return FLASH->readout != NULL ? train_readout() : train();
}
