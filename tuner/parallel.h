/*
 * parallel.h - run a range on all cores: filling, references, comparing.
 */
#ifndef DIFFTUNE_PARALLEL_H
#define DIFFTUNE_PARALLEL_H

#include "base.h"

/* Works on [first, last); called on several threads, on disjoint ranges. */
typedef void parallel_work(void *user, int64_t first, int64_t last);

/* Splits [0, count) into pieces of at least `grain`; uses as many threads as
 * there are processors.  Runs on the calling thread where none can be had. */
void parallel_for(int64_t count, int64_t grain, parallel_work *work, void *user);

#endif
