/*
 * seal.h - whether what proofs rest on is still as it was made.
 *
 * A wrong kernel may write anywhere: also into a reference, into the copies
 * that inputs are put back from, or into what the jury goes by.  Its own proof
 * and all later ones would then rest on what it left there.  So these bytes
 * have a sum per trial, and one for the jury, taken before a candidate ran on
 * them; any word that differs makes another.  The sums are taken where the
 * bytes are: on the device where it judges, else on the host.
 */
#ifndef DIFFTUNE_SEAL_H
#define DIFFTUNE_SEAL_H

#include "jury.h"

struct seal_sum { /* as tuner/kernels/seal.cuh has it */
  uint32_t low, high;
  uint64_t words;
};

enum { SEAL_SUMS = MAX_TRIALS + 1 }; /* one per trial; the last, the jury's */

struct seal_part { /* the same */
  const void *words;
  int64_t count;
  uint32_t first_block;
  int32_t sum;
};

struct seal { /* all zero: none */
  struct device *device;
  const struct tools *tools;
  struct seal_part parts[MAX_TRIALS * TRIAL_SPANS + JURY_SPANS];
  uint32_t count, blocks;
  void *device_parts, *device_sums; /* NULL: the host takes them */
};

/* For bytes on the device, all in the first sum. */
dd_status seal_make_of(struct device *d, const struct tools *tools,
                       const struct span *spans, uint32_t count,
                       struct seal *out);
/* For trials that outlive it, on the device, and their jury. */
dd_status seal_make(struct trial *const *trials, int count,
                    const struct jury *jury, struct seal *out);
void seal_release(struct seal *s);

/* Waits for all work.  DD_DEVICE where not every word was looked at. */
dd_status seal_take(struct seal *s, struct seal_sum sums[SEAL_SUMS]);
bool seal_equal(const struct seal_sum *a, const struct seal_sum *b);

#endif
