/*
 * entry.c - plans found by the arguments of a call.
 *
 * Looking takes no lock: a slot, and the table itself, change only by one
 * release store of a pointer to something that never changes again.  A table
 * that grew too small is kept until dd_close(), because a reader may still be
 * in it; all that were kept are together as large as the newest.
 */
#include "entry.h"

#include <string.h>

/* ---- The table ----------------------------------------------------------- */

enum { FIRST_SLOTS = 16 };

struct typed {
  struct typed *older;
  uint32_t mask, count; /* count: under the lock */
  _Atomic(struct entry *) slots[];
};

static size_t typed_size(uint32_t slots)
{
  return sizeof(struct typed) + slots * sizeof(_Atomic(struct entry *));
}

/* The lengths are even; a call of memcmp() would cost more than this. */
static bool same(const struct entry *e, uint32_t hash, const int64_t *word,
                 uint32_t words)
{
  int64_t difference = 0;

  if (e->hash != hash || e->words != words) return false;
  for (uint32_t i = 0; i < words; i += 2)
    difference |= (e->word[i] ^ word[i]) | (e->word[i + 1] ^ word[i + 1]);
  return !difference;
}

/* The slot that holds the key, or the empty one where it would go: at least
 * half of the slots are empty. */
static uint32_t slot_of(struct typed *t, uint32_t hash, const int64_t *word,
                        uint32_t words, struct entry **e)
{
  uint32_t i = hash & t->mask;

  for (;; i = (i + 1) & t->mask) {
    *e = atomic_load_explicit(&t->slots[i], memory_order_acquire);
    if (!*e || same(*e, hash, word, words)) return i;
  }
}

struct entry *entry_find(struct dd_context *ctx, const struct key *key)
{
  struct typed *t = atomic_load_explicit(&ctx->typed, memory_order_acquire);
  struct entry *e = NULL;

  if (t) slot_of(t, key->hash, key->word, key->words, &e);
  return e;
}

static void put(struct typed *t, struct entry *e)
{
  struct entry *there;
  uint32_t slot = slot_of(t, e->hash, e->word, e->words, &there);

  atomic_store_explicit(&t->slots[slot], e, memory_order_release);
  t->count++;
}

/* Room for one more, under the lock; NULL: out of memory. */
static struct typed *grown(struct dd_context *ctx)
{
  struct typed *old = atomic_load_explicit(&ctx->typed, memory_order_relaxed);
  uint32_t slots = old ? (old->mask + 1) * 2 : FIRST_SLOTS;
  struct typed *t;

  if (old && old->count * 2 < old->mask + 1) return old;
  t = mem_resize(&ctx->allocator, NULL, 0, typed_size(slots));
  if (!t) return NULL;
  memset(t, 0, typed_size(slots));
  t->older = old;
  t->mask = slots - 1;
  for (uint32_t i = 0; old && i <= old->mask; ++i) {
    struct entry *e = atomic_load_explicit(&old->slots[i],
                                           memory_order_relaxed);
    if (e) put(t, e);
  }
  atomic_store_explicit(&ctx->typed, t, memory_order_release);
  return t;
}

static void entry_free(struct dd_context *ctx, struct entry *e)
{
  if (e)
    mem_resize(&ctx->allocator, e, sizeof *e + e->words * sizeof *e->word, 0);
}

void typed_free(struct dd_context *ctx)
{
  struct typed *t = atomic_load_explicit(&ctx->typed, memory_order_acquire);

  for (uint32_t i = 0; t && i <= t->mask; ++i)
    entry_free(ctx, atomic_load_explicit(&t->slots[i], memory_order_relaxed));
  while (t) {
    struct typed *older = t->older;
    mem_resize(&ctx->allocator, t, typed_size(t->mask + 1), 0);
    t = older;
  }
}

/* Where two threads made the same plan at once, the first stays and the other
 * is freed. */
static dd_status publish(struct dd_context *ctx, const struct key *key,
                         struct entry **e)
{
  struct typed *t;
  struct entry *there;
  dd_status status = DD_OK;

  pthread_mutex_lock(&ctx->lock);
  there = entry_find(ctx, key);
  t = there ? NULL : grown(ctx);
  if (t) put(t, *e);
  else if (!there) status = fail(DD_NO_MEMORY, "out of memory");
  pthread_mutex_unlock(&ctx->lock);
  if (t) return DD_OK;
  entry_free(ctx, *e);
  *e = there;
  return status;
}

static dd_status find_sources(struct entry *e, const char *const *names)
{
  for (uint32_t i = 0; i < e->plan->buffer_count; ++i) {
    const char *name = e->plan->buffers[i].name;
    uint8_t n = 0;
    while (names[n] && strcmp(names[n], name)) n++;
    if (!names[n])
      return fail(DD_UNSUPPORTED, "'%s' takes a tensor '%s', which its entry "
                  "point does not have", e->plan->op->name, name);
    e->source[i] = n;
  }
  return DD_OK;
}

static struct entry *new_entry(struct dd_context *ctx, const struct key *key)
{
  size_t bytes = key->words * sizeof *key->word;
  struct entry *e = mem_resize(&ctx->allocator, NULL, 0, sizeof *e + bytes);

  if (!e) return NULL;
  memset(e, 0, sizeof *e);
  e->words = key->words;
  e->hash = key->hash;
  memcpy(e->word, key->word, bytes);
  return e;
}

dd_status entry_make(struct dd_context *ctx, const struct key *key,
                     const char *spelling, const char *const *names,
                     void *stream, entry_finish *finish, const void *args,
                     struct entry **out)
{
  struct entry *e = new_entry(ctx, key);
  dd_status status;

  *out = NULL;
  if (!e) return fail(DD_NO_MEMORY, "out of memory");
  status = prepared_get(ctx, spelling, stream, &e->plan);
  if (!status) status = find_sources(e, names);
  if (!status && finish) status = finish(e, args);
  if (status) {
    entry_free(ctx, e);
    return status;
  }
  *out = e;
  return publish(ctx, key, out);
}
