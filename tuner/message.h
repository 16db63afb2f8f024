/*
 * message.h - what the sweep and its device worker say to each other.
 *
 * The worker is a process of its own that holds the device: the parent never
 * loads a driver, and a kernel that hangs or faults takes only the worker.  One
 * request, one answer.  An answer begins with a status and a sentence.  Before
 * it, while it races, the worker sends notes: ANSWER_NOTE, and which candidate
 * it times next.  The last one outlives it and, of a careful race, says whom it
 * died of: in any other several are on the device at once.
 */
#ifndef DIFFTUNE_MESSAGE_H
#define DIFFTUNE_MESSAGE_H

#include "variant.h"
#include "wire.h"

enum request {
  REQUEST_LIST,    /* text kind -> list of device infos */
  REQUEST_OPEN,    /* text kind, u32 index, bytes specs -> device info */
  REQUEST_LOAD,    /* bytes code, list of variants -> list of usage */
  REQUEST_PROBLEM, /* text spelling, i64 seed -> i64 traffic bytes, f64 seconds
                      that its trials took to make, also before */
  REQUEST_PREPARE, /* text spelling, i64 seed of the problem after -> nothing */
  REQUEST_CHECK,   /* candidate -> proof */
  REQUEST_VOUCH,   /* nothing -> nothing; DD_DEVICE: checker_vouch() says no */
  REQUEST_BITS,    /* list of candidates -> list of i64, the bits of each */
  REQUEST_RACE,    /* text policy, i64 seed, u32 which of them has won before,
                      u32 1: careful, list of candidates -> results */
};

#define ANSWER_NOTE UINT32_MAX  /* in place of a status */
#define NO_CANDIDATE UINT32_MAX /* the copy kernel, or nothing of anybody's */

enum { MESSAGE_MAX = 1 << 30, CANDIDATES_MAX = 1 << 16 };

/* What races: one variant, or one per step of the split form. */
struct candidate {
  bool split;
  uint32_t step_count;
  struct hash steps[OP_MAX_STEPS];
};

/* What a check found. */
struct proof {
  bool right;
  double error, bit_equal;
  int64_t elements, cases;
  char reason[512]; /* where it is wrong: which case, which element */
};

/* What a race found of one candidate. */
struct standing {
  double median_us, q1_us, q3_us, low_us, high_us;
  bool final; /* fresh rounds; else only the screening saw it */
  bool tied;  /* cannot be told from the fastest */
  uint32_t position;  /* 1: has won */
  uint32_t registers; /* per thread, of the hungriest step; 0: unknown */
  uint32_t sample_count, dropped; /* outliers; they are among the samples */
  const double *samples; /* microseconds per launch, in a caller's arena */
  const double *ratios;  /* of each to the reference around it */
};
struct race_summary {
  double copy_us, noise; /* the A/A ratio's distance from 1 */
  double apart;          /* what it is at least, by the 99 % interval */
  double floor;          /* no gap below is claimed */
  uint32_t again;        /* blocks that were timed again */
  uint32_t sm_mhz;       /* the clock, median; 0: unknown */
  char throttle[64];     /* why it was held back; "": it was not */
};

void put_device_info(struct bytes *out, const struct device_info *info);
void get_device_info(struct wire_reader *r, struct device_info *info);
void put_variant(struct bytes *out, const struct variant *v);
/* Fails the reader where the op, scheme or counts are not of `set`. */
void get_variant(struct wire_reader *r, const struct op_set *set,
                 struct arena *a, struct variant *v);
void put_candidate(struct bytes *out, const struct candidate *c);
void get_candidate(struct wire_reader *r, struct candidate *c);
void put_proof(struct bytes *out, const struct proof *p);
void get_proof(struct wire_reader *r, struct arena *a, struct proof *p);
void put_race_summary(struct bytes *out, const struct race_summary *s);
void get_race_summary(struct wire_reader *r, struct race_summary *s);
void put_standing(struct bytes *out, const struct standing *s);
void get_standing(struct wire_reader *r, struct arena *a, struct standing *s);

#endif
