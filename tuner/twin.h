/*
 * twin.h - candidates that a device would run in the very same way.
 *
 * Tunables often make no difference to the compiler.  Of variants with the same
 * machine code and the same launch one is proven and raced; its proof is that
 * of the others, because their bytes are the same.
 */
#ifndef DIFFTUNE_TWIN_H
#define DIFFTUNE_TWIN_H

#include "sweep.h"

/* The first of the problem's candidates that is done and has `e`'s machine code
 * and launch; NULL: none. */
struct entry *twin_find(const struct build *b, const struct device_info *info,
                        const struct outcome *o, const struct entry *e);

/* Of each set of twins the first in the list races: who was compiled first
 * would be another one in another sweep. */
void twin_settle(struct outcome *o);

#endif
