/*
 * db.c - what the database costs at 1,000 problems of 300 variants.
 *
 *   cmake --build build/release --target bench_db
 *   build/release/tests/bench_db big.db [PROBLEMS [VARIANTS]]
 *   time build/release/tuner/difftune show --db big.db
 *
 * As a sweep does it: one transaction per problem, then who has won is asked.
 * Every variant's text is its own; in a real sweep most share one.
 */
#include <stdlib.h>
#include <time.h>

#include "db_fixture.h"

static double now(void)
{
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void find_candidates(struct db *db, struct world *w, int variants,
                            struct ids *ids, int64_t *candidates)
{
  for (int i = 0; i < variants; ++i) {
    assert_ok(try_ids(db, w, i, ids));
    candidates[i] = ids->candidate;
  }
}

static void store_problem(struct db *db, struct world *w, int number,
                          struct ids *ids, const int64_t *candidates, int count)
{
  static const double ratios[5] = {1.5, 1.25, 1.0, 1.75, 2.0};
  struct problem p = demo_problem(w, number + 1);
  struct db_race race = {.policy = "cold graph", .floor = 0.005,
                         .throttle = ""};
  struct db_standing s = {.registers = 32, .ratios = ratios, .ratio_count = 5};
  int64_t id, winner;

  assert_ok(db_batch_begin(db));
  assert_ok(db_problem(db, &p, &ids->problem));
  race.sweep = ids->sweep;
  race.problem = ids->problem;
  race.device = ids->device;
  assert_ok(db_race(db, &race, &s.race));
  for (int i = 0; i < count; ++i) {
    assert_ok(try_race(db, ids, candidates[i], 3.0 + i, &s.measurement));
    s.position = i + 1;
    s.tied = i == 0;
    assert_ok(db_standing(db, &s, &id));
  }
  assert_ok(db_winner(db, ids->sweep, ids->problem, "cold graph", false,
                      &winner));
  assert_ok(db_batch_commit(db));
}

int main(int argc, char **argv)
{
  int problems = argc > 2 ? atoi(argv[2]) : 1000;
  int variants = argc > 3 ? atoi(argv[3]) : 300;
  int64_t *candidates = calloc((size_t)variants, sizeof *candidates);
  struct ids ids = {0};
  struct world w;
  struct db *db;
  double begun;

  if (argc < 2 || !candidates) return 64;
  world_init(&w);
  assert_ok(db_open(argv[1], DB_WRITE, &db));
  assert_ok(db_batch_begin(db));
  find_candidates(db, &w, variants, &ids, candidates);
  assert_ok(db_batch_commit(db));
  begun = now();
  for (int i = 0; i < problems; ++i)
    store_problem(db, &w, i, &ids, candidates, variants);
  printf("%d problems of %d variants: %.3f ms per measurement stored\n",
         problems, variants, (now() - begun) * 1e3 / problems / variants);
  assert_ok(db_sweep_end(db, ids.sweep, "complete"));
  db_close(db);
  world_release(&w);
  free(candidates);
  return 0;
}
