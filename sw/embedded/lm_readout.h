// SPDX-License-Identifier: Apache-2.0
/* A run of readouts on a microcontroller: records into their places, search of the rate, run, best
 * snapshot. The weights are those of sw/trainer/readout, bit for bit. As small as lm_host: no heap,
 * no floating point, no division, no global variable.
 *
 * The step registers are a table of the plan here, too. A rate is a factor of 3 below the one before
 * it, and the cosine is rounded after both: the table has a part for every candidate, so that no
 * rounding is repeated here. The search compares sums of losses: the same examples each time, so
 * the smallest sum is the smallest mean. */
#ifndef LM_READOUT_H
#define LM_READOUT_H

#include "sw/embedded/lm_host.h"

#ifdef __cplusplus
extern "C" {
#endif

struct lm_readout_plan {
  /* forward queue: the score; update queue: the step; seed: of the rounding in step 0. The step
   * registers: per candidate those of its search, then those of the run. Not used: pairs, scaled,
   * probe_seeds. */
  struct lm_plan plan;
  uint32_t extract_address, extract_count; /* queue */
  uint32_t record_address, pitch;          /* of record 0; bytes of one */
  uint32_t record_label_address, label_bytes;
  uint32_t batch;
  uint32_t train, held;  /* records that train, and those behind them that choose; all have places */
  uint32_t rates;        /* candidates; 1: the rate is known, no search */
  uint32_t search_steps; /* of a candidate */
  uint32_t snapshots;    /* of the run */
  uint64_t epoch_seed;   /* of the order of batches */
};

/* What the board does besides lm_port_*. Nonzero results are failures.
 * Examples of records first, first + 1, ... into memory at batch_address, `batch` of them or as many
 * as there are; labels of `batch` records from there on into the records' places, all ones
 * behind the last record. `first` may be behind the last record: labels alone. */
int lm_port_records(struct lm_port* port, uint32_t first);
/* Copies of the last layer's weights, as they lie in memory. */
enum lm_copy { LM_COPY_BASE = 0, LM_COPY_BEST, LM_COPIES };
int lm_port_keep(struct lm_port* port, uint32_t copy);
int lm_port_restore(struct lm_port* port, uint32_t copy);

struct lm_readout {
  struct lm_host host;
  const struct lm_readout_plan* plan;
  uint16_t* order; /* room for train / batch numbers: the batches of an epoch */
  uint32_t batches, rest, offset, epoch, epoch_step; /* of the sampler */
  uint32_t rate;      /* the candidate that was chosen, 0 the largest */
  uint32_t best_step; /* the weights at the end are those after so many steps */
  uint64_t held_loss; /* theirs on the records held out, units of the loss sums */
};

/* Whole run; the last layer ends with the result's weights. */
int lm_readout_run(struct lm_readout* run, struct lm_port* port, const struct lm_readout_plan* plan,
                   uint16_t* order);

#ifdef __cplusplus
}
#endif

#endif
