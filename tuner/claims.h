/*
 * claims.h - which units the boards of a sweep have begun to compile.
 *
 * Problems on different boards share units, and the boards are at the same ones
 * at the same time, so that none finds them in the cache.  Each claims a unit
 * when one of its workers is free, and leaves what another has claimed for
 * later, when the cache has it.  Claims are hints: nobody waits for one, so that
 * what a board that died has claimed costs order and nothing else.
 */
#ifndef DIFFTUNE_CLAIMS_H
#define DIFFTUNE_CLAIMS_H

#include <stdatomic.h>

#include "base.h"

enum { CLAIMS_MAX = 1 << 16 }; /* of a whole sweep */

struct claims { /* all zero: no table, and nobody to share it with */
  _Atomic uint64_t *slot; /* CLAIMS_MAX; 0: free */
};

/* An empty table as a descriptor, closed by exec; -1 where there can be none,
 * which costs time and nothing else. */
int claims_make(void);
/* Maps the table and closes the descriptor; -1: there is none. */
void claims_open(struct claims *c, int fd);
void claims_close(struct claims *c);

/* True: it is ours now, or the table is full or there is none.  False: somebody
 * has claimed it before. */
bool claims_take(const struct claims *c, const struct hash *key);

#endif
