/* hash_table.c - things by their hash. */
#include "hash_table.h"

#include <string.h>

void hash_table_release(struct hash_table *t)
{
  mem_resize(NULL, t->slots, t->capacity * sizeof *t->slots, 0);
  memset(t, 0, sizeof *t);
}

/* The key's slot, or the free one where it would go. */
static struct hash_slot *slot_of(const struct hash_table *t,
                                 const struct hash *key)
{
  size_t at;

  memcpy(&at, key->byte, sizeof at);
  for (at &= t->capacity - 1; t->slots[at].key; at = (at + 1) & (t->capacity - 1))
    if (hash_equal(t->slots[at].key, key)) break;
  return &t->slots[at];
}

void *hash_table_find(const struct hash_table *t, const struct hash *key)
{
  return t->capacity ? slot_of(t, key)->value : NULL;
}

static dd_status grow(struct hash_table *t)
{
  struct hash_table more = {NULL, t->count, t->capacity ? t->capacity * 2 : 256};
  size_t size = more.capacity * sizeof *more.slots;

  more.slots = mem_resize(NULL, NULL, 0, size);
  if (!more.slots) return fail(DD_NO_MEMORY, "out of memory");
  memset(more.slots, 0, size);
  for (size_t i = 0; i < t->capacity; ++i)
    if (t->slots[i].key) *slot_of(&more, t->slots[i].key) = t->slots[i];
  hash_table_release(t);
  *t = more;
  return DD_OK;
}

dd_status hash_table_add(struct hash_table *t, const struct hash *key,
                         void *value)
{
  if (t->count * 2 >= t->capacity) TRY(grow(t));
  *slot_of(t, key) = (struct hash_slot){key, value};
  t->count++;
  return DD_OK;
}
