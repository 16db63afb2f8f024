/*
 * hash_table.h - things by their hash.
 *
 * A sweep has 10^2 to 10^5 variants; the keys are SHA-256, so their first bytes
 * are as good a slot as any.  Nothing is ever taken out.
 */
#ifndef DIFFTUNE_HASH_TABLE_H
#define DIFFTUNE_HASH_TABLE_H

#include "base.h"

struct hash_table { /* all zero: empty */
  struct hash_slot {
    const struct hash *key; /* NULL: free */
    void *value;
  } *slots;
  size_t count, capacity; /* a power of two, at most half full */
};
void hash_table_release(struct hash_table *t);

void *hash_table_find(const struct hash_table *t, const struct hash *key);

/* `key` is not in the table yet and lives as long as the table does.
 * DD_NO_MEMORY leaves the table as it was. */
dd_status hash_table_add(struct hash_table *t, const struct hash *key,
                         void *value);

#endif
