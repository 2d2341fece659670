// SPDX-License-Identifier: Apache-2.0
/* The host of a training run on a microcontroller: it seeds, compares losses, scales, and writes
 * the journal. Freestanding C11: no heap, no floating point, no library but memcpy, no global
 * variable. The journal has the bits of sw/trainer.
 *
 * What a bigger machine prepares is the plan: the NPU's memory image is loaded, the queues'
 * addresses are known, the journal's header is written. The step registers are a table of the plan,
 * 4 bytes a step: the schedule is known when the run is planned, as the command stream is, and
 * computing a cosine here would only repeat that (a step's journal record is seven times as big).
 * The rules of seeds and of coefficients are CONTRACT.md's, section Host's rule: additions, shifts,
 * comparisons, and four products of 64 bits a seed. */
#ifndef LM_HOST_H
#define LM_HOST_H

#include <stdint.h> /* NOLINT(modernize-deprecated-headers): C */

#include "cmodel/spec/npu_spec.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LM_PROBES 16
#define LM_RECORD_BYTES(pairs) (28u + (pairs))

struct lm_plan {
  uint32_t hw0, hw1; /* registers HW0 and HW1 that the program was compiled for */
  uint32_t memory_limit;
  uint32_t forward_address, forward_count; /* queues */
  uint32_t update_address, update_count;
  uint32_t batch_address, label_address, out_address;
  uint32_t distribution;
  uint32_t pairs; /* 1..LM_MAX_PAIRS */
  uint32_t steps;
  uint32_t scaled; /* estimator: 0 sign, 1 scaled */
  uint64_t mask_seed;
  uint64_t seed;                  /* of the run: those of its pairs follow */
  const uint32_t* step_registers; /* steps of them */
  const uint64_t* probe_seeds;    /* LM_PROBES, which set the scale; only of the scaled estimator */
};

enum lm_status {
  LM_OK = 0,
  LM_WRONG_DEVICE, /* ID, SPEC or hardware parameters */
  LM_NO_INTERRUPT, /* the board gave up waiting */
  LM_DEVICE_ERROR, /* see error_code, error_command, error_info */
  LM_NO_BATCH,     /* the board has no examples for this step */
  LM_NO_JOURNAL,   /* the board could not keep a record; the step is not done */
  LM_WRONG_RECORD  /* a record to replay is not the next one, or damaged */
};

/* The board: what is different on every machine. Nonzero results are failures. */
struct lm_port;
uint32_t lm_port_read(struct lm_port* port, uint32_t offset);
void lm_port_write(struct lm_port* port, uint32_t offset, uint32_t value);
int lm_port_wait(struct lm_port* port);                 /* until the interrupt line is high */
int lm_port_batch(struct lm_port* port, uint32_t step); /* its examples and labels into memory */
int lm_port_append(struct lm_port* port, const uint8_t* record, uint32_t bytes);

struct lm_host {
  struct lm_port* port;
  const struct lm_plan* plan;
  uint32_t chain; /* checksum of the journal so far */
  uint32_t step;  /* the next one */
  uint64_t scale; /* D of the scaled estimator, units of the loss sums */
  uint32_t error_code, error_command, error_info;
};

/* chain: the last four bytes of the journal's header. If a queue may have been under way, memory must not have been
   written before STATUS.DRAINING was 0 (rtl/README.md). */
int lm_open(struct lm_host* host, struct lm_port* port, const struct lm_plan* plan, uint32_t chain);
/* Applies a record of the journal, without a forward pass; all of them, in order, resume a run. */
int lm_replay(struct lm_host* host, const uint8_t* record);
/* One step: 2 * pairs passes, a record, an update. */
int lm_step(struct lm_host* host);
/* The steps that are left. */
int lm_run(struct lm_host* host);
/* Runs a queue to its interrupt; what every kind of run is made of. */
int lm_queue(struct lm_host* host, uint32_t address, uint32_t count);
/* Register LOSS: the sum of the batch's losses. */
uint64_t lm_loss(struct lm_host* host);

#ifdef __cplusplus
}
#endif

#endif
