/*
 * interval.h - one choice for many sizes, where the races say that it does.
 *
 * Problems that differ in one dynamic field stand on a line, by size, and a gap
 * lies between each two neighbours.  A winner of the line may serve a gap if it
 * raced at both ends and, being fused, beat the split form there by more than
 * `margin`, by the bounds of their 95 % intervals.  What it will lose in the gap
 * is expected from what it lost to the best at the two sizes on each side.  The
 * gaps of each line are cut into the fewest runs that one winner serves, losing
 * in each gap at most `loss` more than the best winner would.
 */
#ifndef DIFFTUNE_INTERVAL_H
#define DIFFTUNE_INTERVAL_H

#include "table.h"

/* One candidate in the race of one plan's problem. */
struct raced {
  uint32_t plan;
  int64_t candidate;
  double us, high_us; /* high: the upper bound */
};

struct interval_job {
  struct arena *arena;
  double loss, margin; /* 0.005 is 0.5 % */
  uint32_t plan_count;
  struct table_plan *plans;     /* with problems, steps and times */
  const int64_t *candidates;    /* what each plan has chosen */
  const double *split_low_us;   /* the split form's lower bound; 0: unknown */
  uint32_t race_count;
  const struct raced *races;    /* in the order of plans */
  uint32_t interval_count;      /* out: how many there are */
};

/* Gives each plan the intervals that begin at its problem, and its `away`.
 * DD_NO_MEMORY. */
dd_status intervals_find(struct interval_job *job);

#endif
