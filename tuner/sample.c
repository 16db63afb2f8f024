/* sample.c - which points of a space a sweep looks at. */
#include "sample.h"

#include <string.h>

enum { MAX_POINTS = 1 << 16 };

/* Points whose number is not known before the walk. */
struct points {
  struct variant *item;
  uint32_t count, capacity;
};

static void points_release(struct points *p)
{
  mem_resize(NULL, p->item, p->capacity * sizeof *p->item, 0);
}

static dd_status points_add(struct points *p, const struct variant *v)
{
  if (p->count == MAX_POINTS)
    return fail(DD_BAD_SPEC, "op '%s' has more than %d points for one "
                "problem; narrow its tunables", v->op->name, MAX_POINTS);
  if (p->count == p->capacity) {
    uint32_t more = p->capacity ? p->capacity * 2 : 256;
    struct variant *bigger =
        mem_resize(NULL, p->item, p->capacity * sizeof *bigger,
                   more * sizeof *bigger);
    if (!bigger) return fail(DD_NO_MEMORY, "out of memory");
    p->item = bigger;
    p->capacity = more;
  }
  p->item[p->count++] = *v;
  return DD_OK;
}

static dd_status collect_scheme(struct points *points,
                                const struct scheme *scheme,
                                const struct problem *p, int arch, int sms)
{
  struct space s;
  struct variant v;

  space_init(&s, scheme, p, arch, sms);
  while (space_next(&s, &v)) TRY(points_add(points, &v));
  return DD_OK;
}

static dd_status collect(struct points *points, const struct problem *p,
                         int arch, int sms)
{
  for (uint32_t i = 0; i < p->op->scheme_count; ++i)
    TRY(collect_scheme(points, &p->op->schemes[i], p, arch, sms));
  return DD_OK;
}

/* The first `count` of them. */
static dd_status keep_points(const struct points *p, uint32_t count,
                             struct arena *a, struct variant **out)
{
  *out = ARENA_ARRAY(a, struct variant, count);
  if (!*out) return fail(DD_NO_MEMORY, "out of memory");
  if (count) memcpy(*out, p->item, count * sizeof **out);
  return DD_OK;
}

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
  uint64_t x = *state += 0x9e3779b97f4a7c15u;

  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

/* All but the first, which is the default variant. */
static void shuffle(struct variant *points, uint32_t count, uint64_t seed)
{
  for (uint32_t i = count; i > 2; --i) {
    uint32_t j = 1 + (uint32_t)(next_random(&seed) % (i - 1));
    struct variant t = points[i - 1];
    points[i - 1] = points[j];
    points[j] = t;
  }
}

static bool shows_new_value(const struct variant *points, uint32_t chosen,
                            const struct variant *v)
{
  for (uint32_t t = 0; t < v->scheme->tunable_count; ++t) {
    bool seen = false;
    for (uint32_t i = 0; i < chosen && !seen; ++i)
      seen = points[i].scheme == v->scheme &&
             points[i].tunable[t] == v->tunable[t];
    if (!seen) return true;
  }
  return v->scheme->tunable_count == 0;
}

/* Moves the points that show a value nobody showed before to the front. */
static void cover(struct variant *points, uint32_t count)
{
  uint32_t chosen = count ? 1 : 0;

  for (uint32_t i = chosen; i < count; ++i) {
    struct variant v = points[i];
    if (!shows_new_value(points, chosen, &v)) continue;
    points[i] = points[chosen];
    points[chosen++] = v;
  }
}

dd_status sample_points(const struct problem *p, int arch, int sms,
                        uint32_t limit, uint64_t seed, struct arena *a,
                        struct variant **out, uint32_t *count)
{
  struct points all = {0};
  dd_status status = collect(&all, p, arch, sms);

  *count = all.count;
  if (limit && all.count > limit) {
    shuffle(all.item, all.count, seed);
    cover(all.item, all.count);
    *count = limit;
  }
  if (!status) status = keep_points(&all, *count, a, out);
  points_release(&all);
  return status;
}

/* ---- Over many problems ---------------------------------------------------- */

struct shown { /* a variant that was taken */
  struct shown *before;
  const struct scheme *scheme;
  int64_t tunable[OP_MAX_TUNABLES];
};

static bool is_new(const struct cover *c, const struct variant *v, uint32_t t)
{
  for (const struct shown *s = c->newest; s; s = s->before)
    if (s->scheme == v->scheme && s->tunable[t] == v->tunable[t]) return false;
  return true;
}

static bool is_any_new(const struct cover *c, const struct variant *v)
{
  for (uint32_t t = 0; t < v->scheme->tunable_count; ++t)
    if (is_new(c, v, t)) return true;
  return false;
}

static dd_status show(struct cover *c, const struct variant *v, struct arena *a)
{
  struct shown *s = ARENA_NEW(a, struct shown);

  if (!s) return fail(DD_NO_MEMORY, "out of memory");
  s->before = c->newest;
  s->scheme = v->scheme;
  memcpy(s->tunable, v->tunable, sizeof s->tunable);
  c->newest = s;
  return DD_OK;
}

/* The first point since `from`, and those that show something new; the others
 * are gone. */
static dd_status keep_new(struct cover *c, struct points *points, uint32_t from,
                          struct arena *a)
{
  uint32_t all = points->count;

  points->count = from;
  for (uint32_t i = from; i < all; ++i) {
    const struct variant v = points->item[i];
    if (i > from && !is_any_new(c, &v)) continue;
    TRY(show(c, &v, a));
    points->item[points->count++] = v;
  }
  return DD_OK;
}

static dd_status cover_scheme(struct cover *c, const struct scheme *s,
                              const struct problem *p, int arch, int sms,
                              uint64_t seed, struct points *points,
                              struct arena *a)
{
  uint32_t from = points->count;

  TRY(collect_scheme(points, s, p, arch, sms));
  shuffle(points->item + from, points->count - from, seed);
  return keep_new(c, points, from, a);
}

dd_status cover_points(struct cover *c, const struct scheme *only,
                       const struct problem *p, int arch, int sms,
                       uint64_t seed, struct arena *a, struct variant **out,
                       uint32_t *count)
{
  struct points kept = {0};
  dd_status status = DD_OK;

  for (uint32_t i = 0; i < p->op->scheme_count && !status; ++i) {
    const struct scheme *s = &p->op->schemes[i];
    if (!only || s == only)
      status = cover_scheme(c, s, p, arch, sms, seed, &kept, a);
  }
  *count = kept.count;
  if (!status) status = keep_points(&kept, *count, a, out);
  points_release(&kept);
  return status;
}
