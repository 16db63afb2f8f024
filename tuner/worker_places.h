/*
 * worker_places.h - the code of a race at more addresses than one.
 *
 * A unit that is loaded again lies elsewhere.  Each such load has a number; 0 is
 * the one that the worker loaded first, and nobody's here to unload.
 */
#ifndef DIFFTUNE_WORKER_PLACES_H
#define DIFFTUNE_WORKER_PLACES_H

#include "worker_inner.h"

struct reload;
struct places {
  const struct worker *w;
  struct reload *loads; /* all that a race has loaded */
};

/* One more place of a candidate's run: that of its units' loads with this
 * number, which are made unless they are there.  After a failure the run has
 * as many places as before. */
dd_status places_add(struct places *p, const struct candidate *c,
                     uint32_t number, struct run *run);
/* Unloads them; whatever was recorded of them is forgotten before. */
void places_release(struct places *p);

#endif
