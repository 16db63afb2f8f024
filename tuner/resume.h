/*
 * resume.h - what an earlier run of this sweep has done already.
 *
 * A problem is stored in one transaction, so after a kill it is there as a
 * whole or not at all: what is there is taken over, what is not is swept again.
 */
#ifndef DIFFTUNE_RESUME_H
#define DIFFTUNE_RESUME_H

#include "sweep.h"

/* Marks the sweep's outcomes that the recorder's database has as restored, with
 * the standings of their winners and split forms, or of `all` candidates; their
 * entries have labels, but no parts. */
dd_status resume_load(struct sweep *s, bool all);
/* Whether that would be so of this one. */
dd_status resume_is_stored(struct sweep *s, const struct outcome *o,
                           bool *stored);
/* The same as resume_load(s, false) for one problem, which nobody has proven
 * here. */
dd_status resume_outcome(struct sweep *s, struct outcome *o);

#endif
