/*
 * cache_limit.h - how large the folder of compiled units may become.
 */
#ifndef DIFFTUNE_CACHE_LIMIT_H
#define DIFFTUNE_CACHE_LIMIT_H

#include "base.h"

/* $DIFFTUNE_CACHE_MB in bytes; 2 GB where it is not set or, DD_BAD_ARGUMENT, no
 * number; 0: no limit. */
dd_status cache_limit(int64_t *limit);

/* How many bytes the entries have.  Where that is more than the limit, those
 * go that were not used for the longest time, until a tenth of it is free.
 * Other processes may do the same meanwhile, or use what is removed. */
int64_t cache_trim(const char *folder, int64_t limit);

#endif
