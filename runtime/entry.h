/*
 * entry.h - plans found by the arguments of a call, for entry points.
 *
 * A denoising loop calls with the same few shapes some thousand times a second;
 * a process meets some dozens of shapes in all.  So a call makes a key of its
 * arguments, finds the plan in a hash table and launches it.
 */
#ifndef DIFFDISPATCH_ENTRY_H
#define DIFFDISPATCH_ENTRY_H

#include "internal.h"

/* An even number of words; all that the choice depends on, and nothing else. */
enum { KEY_WORDS = 192 };
struct key {
  uint32_t words, hash; /* hash: key_end() sets it */
  int64_t word[KEY_WORDS];
};

/* A call's arguments as a plan takes them. */
struct entry {
  dd_plan *plan;                  /* the context's own */
  uint8_t source[OP_MAX_TENSORS]; /* of each buffer, the entry point's tensor */
  uint8_t attr[OP_MAX_ATTRS];     /* of each attribute of the op, what it is */
  uint32_t words, hash;
  int64_t word[];
};

/* By two words: their products do not wait for each other.  The upper half is
 * the better mixed one. */
static inline void key_end(struct key *key)
{
  uint64_t h = key->words, place = 0x9e3779b97f4a7c15u;

  if (key->words % 2) key->word[key->words++] = 0;
  for (uint32_t i = 0; i < key->words; i += 2) {
    h += ((uint64_t)key->word[i] ^ place) *
         ((uint64_t)key->word[i + 1] + 0xe7037ed1a0b428dbu);
    place += 0xa0761d6478bd642fu;
  }
  h = (h ^ h >> 32) * 0x9e3779b97f4a7c15u;
  key->hash = (uint32_t)(h >> 32);
}

/* Finds without a lock; NULL: not there yet. */
struct entry *entry_find(struct dd_context *ctx, const struct key *key);

/* Makes the plan for the spelling and an entry for it; `names` are the entry
 * point's tensors, NULL at the end.  `finish` (or NULL) completes the entry
 * before others can see it.
 * DD_NOT_PREPARED in a capture. */
typedef dd_status entry_finish(struct entry *e, const void *args);
dd_status entry_make(struct dd_context *ctx, const struct key *key,
                     const char *spelling, const char *const *names,
                     void *stream, entry_finish *finish, const void *args,
                     struct entry **out);

#endif
