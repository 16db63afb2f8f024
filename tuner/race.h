/*
 * race.h - who is fastest, and how sure that is.  Knows no device.
 *
 * A race has 2 to 1000 candidates.  In each round every live candidate is timed
 * once, in random order, between two timings of a reference; the ratio to that
 * reference cancels drift.  Rounds of three phases:
 *   screening   3 rounds for all, then those within 1.25 of the best median
 *   narrowing   5 more, then those whose paired difference to the best is
 *               within 2 standard errors, or 2 %; at most 8, the kept besides
 *   final       24 fresh rounds for those left: only these are reported
 * Nobody is dropped on one sample.  The A/A twin and the split form are `kept`:
 * they are never eliminated.
 */
#ifndef DIFFTUNE_RACE_H
#define DIFFTUNE_RACE_H

#include "base.h"

struct race_rule {
  int screen_rounds;
  double screen_ratio;
  int narrow_rounds;
  double narrow_errors, narrow_ratio;
  int finalists, final_rounds;
};
extern const struct race_rule race_rule_default;

enum race_phase { RACE_SCREEN, RACE_NARROW, RACE_FINAL, RACE_OVER };

struct race_entry {
  bool kept, alive;
  double *us, *ratio; /* samples, in rounds' order; ratio to the reference */
  int count, capacity;
  int final_from; /* the first sample of the final phase; -1: not reached */
};

struct race {
  struct race_rule rule;
  uint64_t random;
  enum race_phase phase;
  int round; /* of the phase */
  int count;
  struct race_entry *entries;
};

dd_status race_make(struct race *r, const struct race_rule *rule, int count,
                    uint64_t seed);
void race_release(struct race *r);
void race_keep(struct race *r, int entry);

/* Lets an entry in that waits until now; the A/A twin enters the final. */
void race_wait(struct race *r, int entry);
void race_enter(struct race *r, int entry);
int race_best(const struct race *r); /* the live entry with the best median */

/* The live entries in this round's random order (room for r->count); 0 when
 * the race is over. */
int race_round(struct race *r, int *order);
/* One timing: microseconds, and the reference's around it. */
dd_status race_sample(struct race *r, int entry, double us, double reference_us);
/* After the round's last sample: counts it, and eliminates at a phase's end. */
void race_round_end(struct race *r);

/* Robust numbers of samples: quartiles, and a 95 % interval for the median
 * from the spread (median absolute deviation). */
struct summary {
  double median, q1, q3, low, high;
};
dd_status summarise(const double *samples, int count, struct summary *out);

/* The reported samples of an entry: the final ones, or all where it was
 * eliminated. */
const double *race_samples(const struct race *r, int entry, int *count,
                           bool *final);

#endif
