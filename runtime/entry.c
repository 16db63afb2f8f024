/*
 * entry.c - plans found by the arguments of a call.
 *
 * Looking takes no lock: a slot, and the table itself, change only by one
 * release store of a pointer to something that never changes again.  A table
 * that grew too small is kept until dd_close(), because a reader may still be
 * in it; all that were kept are together as large as the newest.
 */
#include "entry.h"

#include <math.h>
#include <string.h>

/* ---- The table ----------------------------------------------------------- */

enum { FIRST_SLOTS = 16 };

static size_t typed_size(uint32_t slots)
{
  return sizeof(struct typed) + slots * sizeof(_Atomic(struct entry *));
}

static void put(struct typed *t, struct entry *e)
{
  uint32_t i = e->hash;

  while (atomic_load_explicit(&t->slots[i & t->mask], memory_order_relaxed))
    ++i;
  atomic_store_explicit(&t->slots[i & t->mask], e, memory_order_release);
  t->count++;
}

struct entry *entry_search(struct dd_context *ctx, uint32_t hash,
                           entry_match *match, const void *args)
{
  struct typed *t = atomic_load_explicit(&ctx->typed, memory_order_acquire);

  for (uint32_t i = hash; t; ++i) {
    struct entry *e = atomic_load_explicit(&t->slots[i & t->mask],
                                           memory_order_acquire);
    if (!e || entry_is(e, hash, match, args)) return e;
  }
  return NULL;
}

/* Under the lock. */
static void put_quick(struct dd_context *ctx, struct entry *e)
{
  _Atomic(struct entry *) *place = &ctx->quick[e->hash % QUICK_ENTRIES];

  if (!atomic_load_explicit(place, memory_order_relaxed))
    atomic_store_explicit(place, e, memory_order_release);
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

static size_t entry_size(uint32_t words)
{
  return sizeof(struct entry) + words * sizeof(int64_t) +
         MAX_POINTERS * sizeof(struct plan_pointer);
}

static void entry_free(struct dd_context *ctx, struct entry *e)
{
  if (e) lines_free(&ctx->allocator, e, entry_size(e->words));
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
  there = entry_find(ctx, key->hash, key->match, key->args);
  t = there ? NULL : grown(ctx);
  if (t) {
    put(t, *e);
    put_quick(ctx, *e);
  } else if (!there) {
    status = fail(DD_NO_MEMORY, "out of memory");
  }
  pthread_mutex_unlock(&ctx->lock);
  if (t) return DD_OK;
  entry_free(ctx, *e);
  *e = there;
  return status;
}

/* The list's length where it has no such name. */
static uint8_t name_find(const char *const *names, const char *name)
{
  uint8_t n = 0;

  while (names[n] && strcmp(names[n], name)) n++;
  return n;
}

/* The step's, by the entry point's tensors instead of the plan's buffers. */
static void list_pointers(struct entry *e, const struct plan_step *s)
{
  struct plan_pointer *out = entry_pointers(e);

  for (uint32_t i = 0; i < s->buffer_pointers; ++i) {
    out[i].offset = s->pointers[i].offset;
    out[i].buffer = e->source[s->pointers[i].buffer - 1];
  }
  e->pointers = s->buffer_pointers;
}

static dd_status find_sources(struct entry *e, const struct entry_names *names)
{
  const struct op *op = e->plan->op;

  for (uint32_t i = 0; i < e->plan->buffer_count; ++i) {
    const char *name = e->plan->rest->buffers[i].name;
    uint8_t n = name_find(names->tensors, name);
    if (!names->tensors[n])
      return fail(DD_UNSUPPORTED, "'%s' takes a tensor '%s', which its entry "
                  "point does not have", op->name, name);
    e->source[i] = names->places ? names->places[n] : n;
  }
  if (e->plan->plain) list_pointers(e, e->plan->steps);
  for (uint32_t i = 0; i < op->attr_count; ++i) {
    uint8_t n = name_find(names->attrs, op->attrs[i].name);
    if (names->attrs[n]) e->attr[i] = (uint8_t)(n + 1);
  }
  return DD_OK;
}

dd_status entry_attrs(const struct entry *e, const double *given,
                      double out[OP_MAX_ATTRS])
{
  const double far = 9007199254740992.0; /* a double holds all below it */
  const struct op *op = e->plan->op;

  for (uint32_t i = 0; i < op->attr_count; ++i) {
    double value = e->attr[i] ? given[e->attr[i] - 1] : 0;
    if (!(fabs(value) <= far)) /* a NaN is not */
      return fail(DD_BAD_ARGUMENT, "dd_%s: %s is %g", op->name,
                  op->attrs[i].name, value);
    out[i] = value != 0 ? value : op->attrs[i].otherwise;
  }
  return DD_OK;
}

static struct entry *new_entry(struct dd_context *ctx, const struct key *key)
{
  struct entry *e = lines_new(&ctx->allocator, entry_size(key->words));

  if (!e) return NULL;
  e->match = key->match;
  e->words = key->words;
  e->hash = key->hash;
  memcpy(e->word, key->word, key->words * sizeof *key->word);
  return e;
}

dd_status entry_make(struct dd_context *ctx, const struct key *key,
                     const char *spelling, const struct entry_names *names,
                     void *stream, struct entry **out)
{
  struct entry *e = new_entry(ctx, key);
  dd_status status;

  *out = NULL;
  if (!e) return fail(DD_NO_MEMORY, "out of memory");
  status = prepared_get(ctx, spelling, stream, &e->plan);
  if (!status) status = find_sources(e, names);
  if (status) {
    entry_free(ctx, e);
    return status;
  }
  *out = e;
  return publish(ctx, key, out);
}
