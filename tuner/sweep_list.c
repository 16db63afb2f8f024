/* sweep_list.c - the problems of a sweep, and which variants it looks at. */
#include "sweep_inner.h"

#include <string.h>

struct outcome *sweep_find(const struct sweep *s, const struct problem *p)
{
  for (uint32_t i = 0; i < s->count; ++i)
    if (problem_equal(&s->outcomes[i].problem, p)) return &s->outcomes[i];
  return NULL;
}

static dd_status new_outcome(struct sweep *s, const struct problem *p,
                             bool is_part, struct outcome **out)
{
  struct bytes text = BYTES_INIT;
  struct outcome *o;

  if (s->count == s->capacity) {
    uint32_t more = s->capacity ? s->capacity * 2 : 64;
    void *bigger = mem_resize(NULL, s->outcomes, s->capacity * sizeof *o,
                              more * sizeof *o);
    if (!bigger) return fail(DD_NO_MEMORY, "out of memory");
    s->outcomes = bigger;
    s->capacity = more;
  }
  o = &s->outcomes[s->count++];
  *o = (struct outcome){.problem = *p, .is_part = is_part, .best = -1,
                        .best_fused = -1};
  arena_init(&o->arena, NULL);
  problem_print(p, &text);
  o->spelling = arena_text(&s->arena, bytes_string(&text), text.size);
  bytes_release(&text);
  *out = o;
  return o->spelling ? DD_OK : fail(DD_NO_MEMORY, "out of memory");
}

/* ---- Which variants are wanted ------------------------------------------- */

/* A word of a label: "op.scheme", "scheme" or "tunable=value". */
static bool label_has(const char *label, const char *word, size_t size)
{
  while (*label) {
    size_t n = strcspn(label, " ");
    const char *dot = memchr(label, '.', n);
    if (n == size && !memcmp(label, word, n)) return true;
    if (dot && n - (size_t)(dot + 1 - label) == size &&
        !memcmp(dot + 1, word, size))
      return true;
    label += n + strspn(label + n, " ");
  }
  return false;
}

/* How many of the words the label has; *all: each of them. */
static uint32_t count_words(const char *label, const char *words, bool *all)
{
  uint32_t n = 0;

  *all = true;
  for (words += strspn(words, " "); *words; words += strspn(words, " ")) {
    size_t size = strcspn(words, " ");
    bool has = label_has(label, words, size);
    n += has;
    *all = *all && has;
    words += size;
  }
  return n;
}

static bool wants_split_only(const struct sweep *s)
{
  return s->options.only && strcmp(s->options.only, "split") == 0;
}

static bool is_wanted(const struct sweep *s, const char *label)
{
  bool all;

  count_words(label, s->options.only, &all);
  return all && !wants_split_only(s);
}

/* For the sentence that says that nothing was wanted. */
static void keep_nearest(struct sweep *s, const char *label)
{
  bool all;
  uint32_t words = count_words(label, s->options.only, &all);

  if (s->near && words <= s->near_words) return;
  s->near = arena_text(&s->arena, label, strlen(label));
  s->near_words = words;
}

dd_status sweep_wants_any(const struct sweep *s)
{
  if (!s->options.only || s->wanted) return DD_OK;
  if (wants_split_only(s))
    return fail(DD_BAD_ARGUMENT, "no problem that was asked for has a split "
                "form");
  return fail(DD_BAD_ARGUMENT, "no variant has the label '%s'; the nearest is "
              "'%s'", s->options.only, s->near ? s->near : "none");
}

/* ---- Adding -------------------------------------------------------------- */

bool sweep_may_split(const struct outcome *o)
{
  return o->problem.op->step_count > 0;
}

/* Those of the first `count` points that options.only wants; of a part all. */
static void keep_wanted(struct sweep *s, struct outcome *o, uint32_t count,
                        bool is_part)
{
  struct bytes label = BYTES_INIT;

  for (uint32_t i = 0; i < count; ++i) {
    bytes_clear(&label);
    variant_print(&o->points[i], &label);
    if (is_part || is_wanted(s, bytes_string(&label)))
      o->points[o->point_count++] = o->points[i];
    if (!is_part) keep_nearest(s, bytes_string(&label));
  }
  bytes_release(&label);
}

/* Chooses the variants that its sweep looks at, of a part all that its sample
 * has; they become entries when its turn is near. */
static dd_status choose_points(struct sweep *s, struct outcome *o, bool is_part)
{
  const struct device_info *info = &s->client->info;
  uint32_t limit = is_part ? s->options.parts : s->options.sample, count;

  if (s->options.cover && !is_part)
    TRY(cover_points(&s->shown, NULL, &o->problem, info->arch, info->sms,
                     s->options.seed, &s->arena, &o->points, &count));
  else
    TRY(sample_points(&o->problem, info->arch, info->sms, limit,
                      s->options.seed, &o->arena, &o->points, &count));
  if (s->options.only) keep_wanted(s, o, count, is_part);
  else o->point_count = count;
  s->total += o->point_count + sweep_may_split(o);
  if (!is_part)
    s->wanted += o->point_count + (wants_split_only(s) && sweep_may_split(o));
  return DD_OK;
}

/* A step that is no legal problem (rows of an input that overlap) leaves the
 * problem without a split plan; make_split() says so. */
/* A part has half of the weight: its best only serves the split plan. */
static dd_status add_parts(struct sweep *s, const struct problem *p,
                           double weight)
{
  for (uint32_t i = 0; i < p->op->step_count; ++i) {
    struct problem step;
    int bind[OP_MAX_TENSORS];
    if (problem_step(&s->specs->ops, p, i, &step, bind)) continue;
    TRY(sweep_add(s, &step, true, weight / 2));
  }
  return DD_OK;
}

/* Somebody's part, and now asked for itself, or the other way about: then
 * options.only may have left it nothing to serve as a part with. */
static dd_status add_again(struct sweep *s, struct outcome *o, bool is_part)
{
  bool is_bare = is_part && !o->is_part && !o->point_count;

  o->is_part = o->is_part && is_part;
  if (!is_bare) return DD_OK;
  s->total -= sweep_may_split(o);
  return choose_points(s, o, true);
}

dd_status sweep_add(struct sweep *s, const struct problem *p, bool is_part,
                    double weight)
{
  struct outcome *o = sweep_find(s, p);

  if (o) return add_again(s, o, is_part);
  TRY(add_parts(s, p, weight));
  TRY(new_outcome(s, p, is_part, &o));
  o->weight = weight;
  budget_add(&s->budget, weight);
  return choose_points(s, o, is_part);
}

dd_status sweep_add_fixed(struct sweep *s, const struct problem *p,
                          const struct fixed *candidates, uint32_t count)
{
  struct outcome *o;

  TRY(new_outcome(s, p, false, &o));
  o->fixed = candidates;
  o->fixed_count = count;
  s->total += count;
  return DD_OK;
}

void sweep_forget(struct sweep *s)
{
  for (uint32_t i = 0; i < s->count; ++i) {
    budget_add(&s->budget, -s->outcomes[i].weight);
    arena_release(&s->outcomes[i].arena);
  }
  s->shown = (struct cover){NULL};
  s->near = NULL;
  s->total = 0;
  s->count = s->wanted = s->near_words = 0;
}

void sweep_release(struct sweep *s)
{
  for (uint32_t i = 0; i < s->count; ++i) arena_release(&s->outcomes[i].arena);
  mem_resize(NULL, s->outcomes, s->capacity * sizeof *s->outcomes, 0);
  arena_release(&s->arena);
  s->outcomes = NULL;
  s->count = s->capacity = 0;
}

uint32_t sweep_left(const struct sweep *s)
{
  uint32_t n = 0;

  for (uint32_t i = 0; i < s->count; ++i)
    n += !s->outcomes[i].begun && !s->outcomes[i].is_part;
  return n;
}
