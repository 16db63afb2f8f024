/*
 * weigh.h - which problems of a sweep with a budget come first.
 *
 * A problem's weight is its share of a model's step and what is left to gain of
 * it: the root of calls times traffic times gap.  The root, because a small
 * problem is not swept in no time.  A tenth of the time that its best takes
 * beyond a copy of the same traffic is a gap of a tenth; of a problem that the
 * database does not have, all is to be gained.
 */
#ifndef DIFFTUNE_WEIGH_H
#define DIFFTUNE_WEIGH_H

#include "db.h"
#include "specs.h"

struct weighed {
  const struct problem *problem;
  double weight;
};

/* By calls (of the zoo's sites; 1 where it has none) and traffic alone. */
dd_status weigh_step(const struct specs *specs, struct weighed *w,
                     size_t count);
/* Takes in the gaps that the newest races of this model of device have under
 * this policy. */
dd_status weigh_gaps(struct db *db, const struct op_set *ops,
                     const struct device_info *info, const char *policy,
                     struct weighed *w, size_t count);
/* The heaviest first; equals as they were. */
void weigh_sort(struct weighed *w, size_t count);

#endif
