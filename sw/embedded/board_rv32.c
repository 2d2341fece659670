// SPDX-License-Identifier: Apache-2.0
/* A board of an RV32 microcontroller with the NPU on its bus: what is left to port, and what
   `make embedded` measures. */
#include <stddef.h>

#include "sw/embedded/lm_host.h"

#define NPU_BASE 0xf0000000u
#define NPU_MEMORY 0x00000000u /* the NPU's memory in the core's address map */

/* Flash that whoever prepares the run fills: plan, then examples and labels in the order of the steps. */
struct flash {
  struct lm_plan plan;
  uint32_t chain, batch_bytes, label_bytes;
  const uint8_t* batches; /* batch_bytes and label_bytes of every step */
};
#define FLASH ((const struct flash*)0x20010000u)
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
int lm_port_append(struct lm_port* port, const uint8_t* record, uint32_t bytes) {
  memcpy(port->log, record, bytes);
  port->log += bytes;
  return 0;
}

int main(void) {
  struct lm_port port = {(uint8_t*)(uintptr_t)LOG_BASE};
  struct lm_host host;
  __asm__ volatile("csrs mie, %0" : : "r"(0x800));
  int status = lm_open(&host, &port, &FLASH->plan, FLASH->chain);
  if (status == LM_OK) status = lm_run(&host);
  return status;
}
