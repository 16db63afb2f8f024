/*
 * incumbent.h - who has won before, by the database that a sweep goes into.
 *
 * Of a dozen candidates within half a percent another one leads in each sweep,
 * and nothing is gained by following it: where the winner so far is tied it
 * stays, so that sweeping again changes a table only where it should.
 */
#ifndef DIFFTUNE_INCUMBENT_H
#define DIFFTUNE_INCUMBENT_H

#include "sweep.h"

/* Fills in the outcomes' incumbents from the newest race of each problem on
 * this model of device, under this policy.  A variant is known by its text: of
 * another source there is none.  Nothing where options.incumbent is off. */
dd_status incumbent_load(struct sweep *s);

#endif
