/*
 * entry.h - plans found by the arguments of a call, for entry points.
 *
 * A denoising loop calls with the same few shapes some thousand times a second;
 * a process meets some dozens of shapes in all.  So a call looks for its entry
 * in a hash table, and launches the plan that it finds there.
 */
#ifndef DIFFDISPATCH_ENTRY_H
#define DIFFDISPATCH_ENTRY_H

#include "internal.h"

struct entry;
typedef bool entry_match(struct entry *e, const void *args);

/* All that the choice depends on, and little else: a call's numbers as they
 * are, for what can be computed from them is the first call's business.  They
 * are written when an entry is made; a later call compares itself with the
 * entry, which takes less than to write a key and compare that. */
enum { KEY_WORDS = 192 };
struct key {
  entry_match *match; /* what finds the entry again, for `args` */
  const void *args;
  uint32_t words, hash;
  int64_t word[KEY_WORDS];
};

static inline bool key_word(int64_t *at, int64_t word, bool write)
{
  if (write) *at = word;
  return *at == word;
}

/* The hash is of a few numbers by which most problems differ. */
static inline uint64_t key_mix(uint64_t hash, int64_t word)
{
  return (hash ^ (uint64_t)word) * 0x9e3779b97f4a7c15u;
}

static inline uint32_t key_hash(uint64_t hash) /* the better mixed half */
{
  return (uint32_t)(hash >> 32);
}

/* A call's arguments as a plan takes them. */
struct entry {
  dd_plan *plan;      /* the context's own */
  entry_match *match; /* one entry point knows what another's words mean */
  uint32_t words, hash;
  uint32_t pointers;          /* of a plain plan, as launch_plain() takes them */
  uint8_t attr[OP_MAX_ATTRS]; /* of each attribute of the op, 1 + which of the
                                 entry point's it is; 0: none */
  uint8_t source[OP_MAX_TENSORS]; /* of each buffer, the entry point's tensor,
                                     or the place of it */
  int64_t word[]; /* then the pointers */
};

static inline struct plan_pointer *entry_pointers(const struct entry *e)
{
  return (struct plan_pointer *)(e->word + e->words);
}

/* Open addressing: at least half of the slots are empty. */
struct typed {
  struct typed *older;
  uint32_t mask, count; /* count: under the lock */
  _Atomic(struct entry *) slots[];
};

static inline bool entry_is(struct entry *e, uint32_t hash, entry_match *match,
                            const void *args)
{
  return e->hash == hash && e->match == match && match(e, args);
}

/* In the table; NULL: not there yet. */
struct entry *entry_search(struct dd_context *ctx, uint32_t hash,
                           entry_match *match, const void *args);

/* Finds without a lock; NULL: not there yet. */
static ALWAYS_INLINE struct entry *entry_find(struct dd_context *ctx,
                                              uint32_t hash, entry_match *match,
                                              const void *args)
{
  struct entry *e = atomic_load_explicit(&ctx->quick[hash % QUICK_ENTRIES],
                                         memory_order_acquire);

  /* One by one: else the way on is laid behind all the rest. */
  if (LIKELY(e) && LIKELY(e->hash == hash) && LIKELY(e->match == match) &&
      LIKELY(match(e, args)))
    return e;
  return entry_search(ctx, hash, match, args);
}

/* An entry point's tensors and attributes by name, NULL at the end. */
struct entry_names {
  const char *const *tensors, *const *attrs;
  const uint8_t *places; /* of each tensor; NULL: its number */
};

/* Makes the plan for the spelling and an entry for it.
 * DD_NOT_PREPARED in a capture. */
dd_status entry_make(struct dd_context *ctx, const struct key *key,
                     const char *spelling, const struct entry_names *names,
                     void *stream, struct entry **out);

/* Whether one is not the default, with which the plan was made: else a launch
 * takes none. */
static inline bool attrs_given(const double *given, uint32_t count)
{
  for (uint32_t i = 0; i < count; ++i)
    if (given[i] != 0) return true; /* a NaN too */
  return false;
}

/* The op's attributes of the entry point's, where 0 is the default. */
dd_status entry_attrs(const struct entry *e, const double *given,
                      double out[OP_MAX_ATTRS]);

#endif
