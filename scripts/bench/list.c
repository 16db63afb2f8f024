/*
 * list.c - what a sweep of the zoo does before a device has anything to do.
 *
 *   cmake --build build/release --target bench_list
 *   build/release/tests/bench_list [SHAPES [TARGET [TIMES]]]
 *
 * The milliseconds of CPU time of each step, its children's too, the median of
 * TIMES (5), which other work disturbs less than wall time; no GPU is used.
 * Variants are hashed as a sweep does when a problem's turn is near, all at
 * once here; nothing is compiled.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "emit.h"
#include "specs.h"
#include "sweep.h"

enum step { LOAD, READ, LIST, HASH, STEPS };
static const char *const step_words[STEPS] = {
    "specs to structs", "problems read", "points listed", "variants hashed"};

struct listing {
  struct specs specs;
  struct problems problems;
  struct client client;
  struct build build; /* for its texts alone: it is never opened */
  struct sweep sweep;
};

static double spent_by(int who)
{
  struct rusage use;

  getrusage(who, &use);
  return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
         1e-6 * (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

static double cpu_seconds(void)
{
  return spent_by(RUSAGE_SELF) + spent_by(RUSAGE_CHILDREN);
}

static dd_status list(struct listing *l)
{
  for (size_t i = 0; i < l->problems.count; ++i)
    TRY(sweep_add(&l->sweep, &l->problems.item[i], false, 1));
  return DD_OK;
}

static dd_status hash_points(struct listing *l, struct outcome *o)
{
  const struct emit_scheme *text;

  for (uint32_t i = 0; i < o->point_count; ++i) {
    TRY(build_source(&l->build, &o->points[i], &text));
    TRY(emit_hash(text, &o->points[i]));
  }
  return DD_OK;
}

static dd_status hash_all(struct listing *l)
{
  for (uint32_t i = 0; i < l->sweep.count; ++i)
    TRY(hash_points(l, &l->sweep.outcomes[i]));
  return DD_OK;
}

static dd_status take_steps(struct listing *l, const char *shapes, double *at)
{
  struct texts wanted = {0}, any = {0};

  texts_add(&wanted, shapes);
  at[LOAD] = cpu_seconds();
  TRY(specs_load(&l->specs, NULL));
  at[READ] = cpu_seconds();
  TRY(problems_read(&l->specs, &wanted, &any, &l->problems));
  at[LIST] = cpu_seconds();
  TRY(list(l));
  at[HASH] = cpu_seconds();
  TRY(hash_all(l));
  at[STEPS] = cpu_seconds();
  return DD_OK;
}

static dd_status list_once(const char *shapes, int arch, int sms,
                           double ms[STEPS], bool last)
{
  struct listing l = {0};
  double at[STEPS + 1] = {0};
  dd_status status;

  l.sweep.specs = l.build.specs = &l.specs;
  l.sweep.build = &l.build;
  l.sweep.client = &l.client;
  l.client.info.arch = arch;
  l.client.info.sms = sms;
  arena_init(&l.sweep.arena, NULL);
  arena_init(&l.build.arena, NULL);
  status = take_steps(&l, shapes, at);
  for (int i = 0; i < STEPS; ++i) ms[i] = 1e3 * (at[i + 1] - at[i]);
  if (last && !status)
    printf("%u problems, %.0f candidates\n", l.sweep.count, l.sweep.total);
  sweep_release(&l.sweep);
  build_close(&l.build);
  problems_release(&l.problems);
  specs_release(&l.specs);
  return status;
}

static int by_size(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;

  return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
  const char *shapes = argc > 1 ? argv[1] : "zoo";
  const char *target = argc > 2 ? argv[2] : "sm_90";
  int times = argc > 3 ? atoi(argv[3]) : 5, arch, sms;
  double ms[STEPS], all[STEPS][99];

  if (times < 1 || times > 99 || target_parse(target, &arch, &sms)) return 64;
  for (int i = 0; i < times; ++i) {
    if (list_once(shapes, arch, sms, ms, i == times - 1)) {
      fprintf(stderr, "%s\n", dd_last_error());
      return 1;
    }
    for (int k = 0; k < STEPS; ++k) all[k][i] = ms[k];
  }
  for (int k = 0; k < STEPS; ++k) {
    qsort(all[k], (size_t)times, sizeof all[k][0], by_size);
    printf("%-18s %8.1f ms\n", step_words[k], all[k][times / 2]);
  }
  return 0;
}
