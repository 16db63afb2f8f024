/* weigh.c - which problems of a sweep with a budget come first. */
#include "weigh.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "spec.h"

/* What models run, parsed once. */
struct sites {
  struct arena arena;
  struct problem *problem;
  double *calls;
  uint32_t count;
};

static dd_status read_sites(const struct specs *specs, struct sites *s)
{
  struct zoo_site *sites;
  uint32_t count;

  TRY(spec_zoo(&specs->tree, &s->arena, &sites, &count));
  s->problem = ARENA_ARRAY(&s->arena, struct problem, count + 1);
  s->calls = ARENA_ARRAY(&s->arena, double, count + 1);
  if (!s->problem || !s->calls) return fail(DD_NO_MEMORY, "out of memory");
  for (uint32_t i = 0; i < count; ++i) {
    if (problem_parse(&specs->ops, sites[i].spelling, &s->problem[s->count]))
      continue;
    s->calls[s->count++] = (double)sites[i].calls;
  }
  return DD_OK;
}

static double calls_of(const struct sites *s, const struct problem *wanted)
{
  double calls = 0;

  for (uint32_t i = 0; i < s->count; ++i)
    if (problem_equal(&s->problem[i], wanted)) calls += s->calls[i];
  return calls > 0 ? calls : 1;
}

dd_status weigh_step(const struct specs *specs, struct weighed *w,
                     size_t count)
{
  struct sites sites = {.count = 0};
  dd_status status;

  arena_init(&sites.arena, NULL);
  status = read_sites(specs, &sites);
  for (size_t i = 0; i < count && !status; ++i) {
    int64_t reads, writes;
    status = problem_traffic(w[i].problem, &reads, &writes);
    if (status) break;
    w[i].weight =
        sqrt((double)(reads + writes) * calls_of(&sites, w[i].problem));
  }
  arena_release(&sites.arena);
  return status;
}

/* ---- What is left to gain ------------------------------------------------ */

struct gaps {
  const struct op_set *ops;
  const struct device_info *info;
  const char *policy;
  struct weighed *item;
  size_t count;
};

/* As fast as a copy is no reason to leave it out: the copy is one of three. */
static double gap_of(const struct db_row *row)
{
  double gap = 1 - row->copy_us / row->median_us;

  return gap > 0.05 ? gap : 0.05;
}

static dd_status take_gap(void *user, const struct db_row *row)
{
  struct gaps *g = user;
  struct problem p;

  if (!db_row_is_of(row, g->info, g->policy) || row->copy_us <= 0 ||
      problem_parse(g->ops, row->problem, &p))
    return DD_OK;
  for (size_t i = 0; i < g->count; ++i)
    if (problem_equal(&p, g->item[i].problem))
      g->item[i].weight *= sqrt(gap_of(row));
  return DD_OK;
}

dd_status weigh_gaps(struct db *db, const struct op_set *ops,
                     const struct device_info *info, const char *policy,
                     struct weighed *w, size_t count)
{
  struct db_filter filter = {.device_kind = info->kind, .device = info->name,
                             .best_only = true};
  struct gaps gaps = {ops, info, policy, w, count};

  return db_each(db, &filter, take_gap, &gaps);
}

/* ---- The order ----------------------------------------------------------- */

static int heavier(const void *a, const void *b)
{
  const struct weighed *x = a, *y = b;

  if (x->weight != y->weight) return x->weight < y->weight ? 1 : -1;
  return (x->problem > y->problem) - (x->problem < y->problem);
}

void weigh_sort(struct weighed *w, size_t count)
{
  qsort(w, count, sizeof *w, heavier);
}
