/*
 * call.h - a call with tensors, of dd_launch() or of an op's entry point,
 * compiled into each of them: see launch.h.
 *
 * What tensors say (sizes, strides, alignment) goes into the key as numbers,
 * what they cannot say as the bytes of the op's text.  Only a call with a new
 * key looks at the specs: tensors.c.
 */
#ifndef DIFFDISPATCH_CALL_H
#define DIFFDISPATCH_CALL_H

#include "entry.h"
#include "launch.h"

enum { DL_INT = 0, DL_FLOAT = 2, DL_BFLOAT = 4, TEXT_WORDS = 32 };

/* An op's own entry point, by the list in diffdispatch.h; NULL ends a list. */
struct entry_point {
  const char *op;
  uint32_t tensor_count, attr_count;
  const char *tensors[OP_MAX_TENSORS + 1], *attrs[OP_MAX_ATTRS + 1];
};

struct call {
  const struct entry_point *entry; /* NULL: the text begins with the op */
  const double *given; /* the entry's attributes; NULL: all are the default */
  const dd_attr *attrs;            /* those of a call without an entry */
  size_t attr_count;
  const char *text;                /* what tensors cannot say */
  const dd_tensor *const *tensors; /* in the entry's order, or else the op's */
  size_t count;
  void *workspace;
  size_t workspace_size, *workspace_needed;
  size_t length; /* of the text */
};

int64_t tensor_dtype(const dd_tensor *t); /* a dd_dtype; 0: none of them */

/* ---- The key ------------------------------------------------------------ */

static inline char *tensor_data(const dd_tensor *t)
{
  return (char *)t->data + t->byte_offset;
}

enum { GIVEN = 1 << 28, STRIDED = 1 << 29 }; /* bits that no rank has */

static inline int64_t rank_and_type(const dd_tensor *t)
{
  int64_t word;

  _Static_assert(offsetof(dd_tensor, shape) ==
                     offsetof(dd_tensor, rank) + sizeof word,
                 "rank, type and lanes are one word");
  memcpy(&word, &t->rank, sizeof word);
  return word;
}

/* Writing and comparing are made of them apart. */
#define WALK static ALWAYS_INLINE int64_t *

/* The walks return where the next word is; NULL: one is another. */
WALK walk_sizes(const int64_t *size, int rank, int64_t *at, bool write)
{
  int64_t away = 0;

#pragma GCC unroll 4
  for (int d = 0; d < OP_MAX_RANK; ++d) {
    if (d >= rank) break;
    if (write) at[d] = size[d];
    away |= at[d] ^ size[d];
  }
  return away ? NULL : at + rank;
}

WALK walk_tensor(const dd_tensor *t, int64_t *at, uint64_t *bits, bool write)
{
  int64_t word = rank_and_type(t) | GIVEN | (t->strides ? STRIDED : 0);

  if (!LIKELY((uint32_t)t->rank <= OP_MAX_RANK)) return NULL; /* no flag is one */
  if (!key_word(at++, word, write) || (t->rank && !t->shape)) return NULL;
  at = walk_sizes(t->shape, t->rank, at, write);
  if (at && t->strides) at = walk_sizes(t->strides, t->rank, at, write);
  if (t->type_code != DL_INT) *bits |= (uintptr_t)tensor_data(t);
  return at;
}

/* By words, the last of which may overlap. */
static inline bool same_text(const char *a, const char *b, size_t length)
{
  uint64_t x, y;

  if (LIKELY(!length)) return true;
  if (length < sizeof x) return !memcmp(a, b, length);
  for (size_t i = 0;; i += sizeof x) {
    if (i + sizeof x > length) i = length - sizeof x;
    memcpy(&x, a + i, sizeof x);
    memcpy(&y, b + i, sizeof y);
    if (x != y || i + sizeof x == length) return x == y;
  }
}

/* Behind the text lie zeros up to a whole word. */
WALK walk_text(const struct call *c, int64_t *at, bool write)
{
  if (write) {
    at[c->length / 8] = 0;
    memcpy(at, c->text, c->length);
  }
  if (!same_text((const char *)at, c->text, c->length)) return NULL;
  return at + c->length / 8 + 1;
}

/* What is compared is what was written: it ends before an entry's end. */
WALK call_walk(const struct call *c, int64_t *at, bool write)
{
  int64_t counts = (int64_t)c->count | (int64_t)c->length << 32;
  uint64_t bits = 16;

  if (!key_word(at++, (int64_t)(uintptr_t)c->entry, write)) return NULL;
  if (!key_word(at++, counts, write)) return NULL;
  at = walk_text(c, at, write);
  for (size_t i = 0; at && i < c->count; ++i) {
    const dd_tensor *t = c->tensors[i];
    if (t) at = walk_tensor(t, at, &bits, write);
    else at = key_word(at, 0, write) ? at + 1 : NULL;
  }
  if (!at || !key_word(at, (int64_t)(bits & -bits), write)) return NULL;
  return at + 1;
}

static ALWAYS_INLINE bool call_is_made_for(struct entry *e, const void *call)
{
  return call_walk(call, e->word, false);
}

static inline bool has_rank(const dd_tensor *t)
{
  return (uint32_t)t->rank <= OP_MAX_RANK && (!t->rank || t->shape);
}

/* Three of the first tensor's sizes, and the end of the text: "norm:bf16". */
static ALWAYS_INLINE uint32_t call_hash(const struct call *c)
{
  const dd_tensor *t = c->count ? c->tensors[0] : NULL;
  uint64_t hash = key_mix(c->length, (int64_t)(uintptr_t)c->entry);
  int64_t end;

  if (!LIKELY(c->length < sizeof end)) {
    memcpy(&end, c->text + c->length - sizeof end, sizeof end);
    hash = key_mix(hash, end);
  }
  if (LIKELY(t) && LIKELY(has_rank(t)) && LIKELY(t->rank)) {
    const uint64_t *size = (const uint64_t *)t->shape;
    hash = key_mix(hash, (int64_t)(size[0] ^ size[t->rank / 2] << 21 ^
                                   size[t->rank - 1] << 42));
  }
  return key_hash(hash);
}

/* ---- Launching ---------------------------------------------------------- */

/* A new key's plan; `match` finds the entry again. */
dd_status call_make(struct dd_context *ctx, const struct call *c, uint32_t hash,
                    entry_match *match, void *stream, struct entry **out);
/* Of each attribute of the op, the call's or the default. */
dd_status call_attrs(const struct entry *e, const struct call *c,
                     double attr[OP_MAX_ATTRS]);
/* A plan that is not plain, or tensors that are to be looked at. */
dd_status call_closer(const struct entry *e, const struct call *c,
                      const double *attr, void *stream);

static ALWAYS_INLINE void *data_at(const void *from, uint32_t number)
{
  return tensor_data(((const dd_tensor *const *)from)[number]);
}

/* Finds the plan for these arguments without a lock, or makes it, and launches
 * it. */
static ALWAYS_INLINE dd_status call_run(struct dd_context *ctx,
                                        const struct call *c, void *stream)
{
  double values[OP_MAX_ATTRS], *attr = NULL;
  dd_status status;
  struct entry *e;
  uint32_t hash = call_hash(c);

  e = entry_find(ctx, hash, call_is_made_for, c);
  if (!LIKELY(e)) TRY(call_make(ctx, c, hash, call_is_made_for,
                                  stream, &e));
  if (!LIKELY(!c->given && !c->attr_count))
    TRY(call_attrs(e, c, attr = values));
  if (!LIKELY(!c->workspace_needed)) {
    *c->workspace_needed = e->plan->workspace_size;
    return plan_check(e->plan);
  }
  status = launch_plain(e->plan, entry_pointers(e), e->pointers, data_at,
                        c->tensors, attr, stream);
  if (LIKELY(status != LOOK_CLOSER)) return status;
  return call_closer(e, c, attr, stream);
}

#endif
