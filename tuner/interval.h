/*
 * interval.h - one choice for many sizes, where the races say that it does.
 *
 * Problems that differ in one dynamic field stand on a line, by size.  A winner
 * of one of them serves a run of the line's sizes if it raced at each of them,
 * lost at most `loss` to the best there, and, being fused, beat the split
 * form by more than `margin`, by the bounds of their 95 % intervals.  Each line
 * is cut into the fewest such runs; a run of one size is no interval, the plan
 * itself says as much.  A run then grows to the left where its choice also
 * holds, so that the sizes between two runs belong to one.
 * Where they still belong to none, both choices may have raced at both ends of
 * the gap: the boundary is where they would take as long, times being straight
 * lines between the ends, on a log scale.
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
  double loss, margin; /* 0.02 is 2 % */
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
