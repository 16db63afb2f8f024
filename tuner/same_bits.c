/* same_bits.c - which plans of a table shall agree, bit by bit. */
#include "same_bits.h"

#include <math.h>
#include <string.h>

#include "table.h"

struct class { /* rows with the same bits */
  struct class *next;
  uint64_t bits;
  uint32_t problems; /* that have such a row */
  uint32_t last;     /* of them, by the group's count */
  double cost; /* sum over them of ln(its time / the best row's) */
};

struct group {
  struct group *next;
  const char *fixed, *problem; /* problem: whose rows are being noted */
  uint32_t count;              /* of problems */
  double best_us;              /* of that problem */
  struct class *classes;
};

void same_bits_init(struct same_bits *s)
{
  s->groups = NULL;
  arena_init(&s->arena, NULL);
}

void same_bits_release(struct same_bits *s)
{
  arena_release(&s->arena);
  s->groups = NULL;
}

static struct group *find_group(const struct same_bits *s, const char *fixed)
{
  struct group *g = s->groups;

  while (g && strcmp(g->fixed, fixed)) g = g->next;
  return g;
}

static struct class *find_class(const struct group *g, uint64_t bits)
{
  struct class *c = g->classes;

  while (c && c->bits != bits) c = c->next;
  return c;
}

static dd_status no_memory(void)
{
  return fail(DD_NO_MEMORY, "out of memory");
}

static dd_status need_group(struct same_bits *s, const char *fixed,
                            struct group **out)
{
  struct group *g = find_group(s, fixed);

  *out = g;
  if (g) return DD_OK;
  *out = g = ARENA_NEW(&s->arena, struct group);
  if (!g) return no_memory();
  *g = (struct group){.next = s->groups, .problem = ""};
  g->fixed = arena_text(&s->arena, fixed, strlen(fixed));
  if (!g->fixed) return no_memory();
  s->groups = g;
  return DD_OK;
}

static dd_status need_class(struct same_bits *s, struct group *g, uint64_t bits,
                            struct class **out)
{
  struct class *c = find_class(g, bits);

  *out = c;
  if (c) return DD_OK;
  *out = c = ARENA_NEW(&s->arena, struct class);
  if (!c) return no_memory();
  *c = (struct class){.next = g->classes, .bits = bits};
  g->classes = c;
  return DD_OK;
}

static dd_status begin_problem(struct same_bits *s, struct group *g,
                               const char *problem, double us)
{
  g->problem = arena_text(&s->arena, problem, strlen(problem));
  if (!g->problem) return no_memory();
  g->count++;
  g->best_us = us;
  return DD_OK;
}

dd_status same_bits_note(struct same_bits *s, const char *fixed,
                         const char *problem, uint64_t bits, double us)
{
  struct group *g;
  struct class *c;

  TRY(need_group(s, fixed, &g));
  if (strcmp(g->problem, problem)) TRY(begin_problem(s, g, problem, us));
  if (!bits || bits == BITS_DIFFER) return DD_OK;
  TRY(need_class(s, g, bits, &c));
  if (c->last == g->count) return DD_OK; /* a better row of it was noted */
  c->last = g->count;
  c->problems++;
  if (us > 0 && g->best_us > 0) c->cost += log(us / g->best_us);
  return DD_OK;
}

/* The last resort, so that the same rows in any order give the same: the
 * smaller bits. */
static bool is_better(const struct class *a, const struct class *b)
{
  if (!b) return true;
  if (a->problems != b->problems) return a->problems > b->problems;
  if (a->cost < b->cost || a->cost > b->cost) return a->cost < b->cost;
  return a->bits < b->bits;
}

uint64_t same_bits_of(const struct same_bits *s, const char *fixed)
{
  const struct group *g = find_group(s, fixed);
  const struct class *best = NULL;

  for (const struct class *c = g ? g->classes : NULL; c; c = c->next)
    if (is_better(c, best)) best = c;
  return best ? best->bits : 0;
}
