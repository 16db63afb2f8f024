/*
 * sample.h - which points of a space a sweep looks at.
 */
#ifndef DIFFTUNE_SAMPLE_H
#define DIFFTUNE_SAMPLE_H

#include "space.h"

/* All variants of the op's schemes that fit, in the order of the space, the
 * default variant first; or with `limit` > 0 at most so many: the default, then
 * points that each show a value of a tunable not seen before, until every value
 * was (as far as the limit allows), then random ones.  The same seed gives the
 * same sample.  *out lives in the arena. */
dd_status sample_points(const struct problem *p, int arch, int sms,
                        uint32_t limit, uint64_t seed, struct arena *a,
                        struct variant **out, uint32_t *count);

/* What a run over many problems has shown so far; begins as {NULL}. */
struct cover {
  struct shown *newest;
};

/* Of each scheme (or of `only`, if it is not NULL): the first variant that fits
 * the problem, and those that show a value of a tunable that no problem before
 * has, in an order that `seed` mixes.  Over the problems of an op, every value
 * that fits one of them is shown.  *out and what the cover keeps live in the
 * arena. */
dd_status cover_points(struct cover *c, const struct scheme *only,
                       const struct problem *p, int arch, int sms,
                       uint64_t seed, struct arena *a, struct variant **out,
                       uint32_t *count);

#endif
