/* sample.c - which points of a space a sweep looks at. */
#include "sample.h"

#include <string.h>

enum { MAX_POINTS = 1 << 16 };

/* Appends to `points`, or counts only where that is NULL. */
static dd_status collect_scheme(const struct scheme *scheme,
                                const struct problem *p, int arch, int sms,
                                struct variant *points, uint32_t *count)
{
  struct space s;
  struct variant v;

  space_init(&s, scheme, p, arch, sms);
  while (space_next(&s, &v)) {
    if (*count == MAX_POINTS)
      return fail(DD_BAD_SPEC, "op '%s' has more than %d points for one "
                  "problem; narrow its tunables", p->op->name, MAX_POINTS);
    if (points) points[*count] = v;
    ++*count;
  }
  return DD_OK;
}

static dd_status collect(const struct problem *p, int arch, int sms,
                         struct variant *points, uint32_t *count)
{
  *count = 0;
  for (uint32_t i = 0; i < p->op->scheme_count; ++i)
    TRY(collect_scheme(&p->op->schemes[i], p, arch, sms, points, count));
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
  TRY(collect(p, arch, sms, NULL, count));
  *out = ARENA_ARRAY(a, struct variant, *count);
  if (!*out) return fail(DD_NO_MEMORY, "out of memory");
  TRY(collect(p, arch, sms, *out, count));
  if (!limit || *count <= limit) return DD_OK;
  shuffle(*out, *count, seed);
  cover(*out, *count);
  *count = limit;
  return DD_OK;
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

/* The first of `all` points, and those that show something new, to the front. */
static dd_status keep_new(struct cover *c, struct variant *points, uint32_t all,
                          struct arena *a, uint32_t *kept)
{
  for (uint32_t i = 0; i < all; ++i) {
    const struct variant v = points[i];
    if (i && !is_any_new(c, &v)) continue;
    TRY(show(c, &v, a));
    points[(*kept)++] = v;
  }
  return DD_OK;
}

dd_status cover_points(struct cover *c, const struct scheme *only,
                       const struct problem *p, int arch, int sms,
                       uint64_t seed, struct arena *a, struct variant **out,
                       uint32_t *count)
{
  uint32_t all;

  TRY(collect(p, arch, sms, NULL, &all));
  *out = ARENA_ARRAY(a, struct variant, all);
  if (!*out) return fail(DD_NO_MEMORY, "out of memory");
  *count = 0;
  for (uint32_t i = 0; i < p->op->scheme_count; ++i) {
    const struct scheme *s = &p->op->schemes[i];
    struct variant *points = *out + *count;
    uint32_t kept = 0;
    if (only && s != only) continue;
    all = 0;
    TRY(collect_scheme(s, p, arch, sms, points, &all));
    shuffle(points, all, seed);
    TRY(keep_new(c, points, all, a, &kept));
    *count += kept;
  }
  return DD_OK;
}
