/* test_sweep_list.c - the problems of a sweep: listed, forgotten, opened. */
#include "test.h"

#include <stdlib.h>
#include <unistd.h>

#include "command.h"
#include "farm.h"
#include "specs.h"
#include "sweep_inner.h"

static const char *const spellings[] = {
    "qknorm_rope:bf16 tokens=37 q_heads=4 head_dim=128",
    "norm_scale_shift:bf16 seq=16 hidden=128",
    "rope:bf16 tokens=3 q_heads=1 head_dim=64"};

struct fixture {
  struct specs specs;
  struct client client; /* never opened */
  struct sweep sweep;
};

static void open_fixture(struct fixture *f, const char *only)
{
  *f = (struct fixture){.sweep = {.specs = &f->specs, .client = &f->client}};
  arena_init(&f->sweep.arena, NULL);
  assert_ok(specs_load(&f->specs, NULL));
  f->client.info = (struct device_info){.arch = 90, .sms = 132};
  f->sweep.options.only = only;
}

static void close_fixture(struct fixture *f)
{
  sweep_release(&f->sweep);
  specs_release(&f->specs);
}

static void add_all(struct fixture *f)
{
  for (size_t i = 0; i < COUNT_OF(spellings); ++i) {
    struct problem p;
    assert_ok(problem_parse(&f->specs.ops, spellings[i], &p));
    assert_ok(sweep_add(&f->sweep, &p, false, (double)(i + 1)));
  }
}

static void what_was_forgotten_is_added_as_before(void **state)
{
  struct fixture f;
  uint32_t count;
  double total, weight;

  (void)state;
  open_fixture(&f, NULL);
  add_all(&f);
  count = f.sweep.count;
  total = f.sweep.total;
  weight = f.sweep.budget.weight;
  assert_true(count > COUNT_OF(spellings)); /* parts, too */
  assert_true(total > 100);
  sweep_forget(&f.sweep);
  assert_int_equal(f.sweep.count, 0);
  assert_float_equal(f.sweep.total, 0, 0);
  assert_float_equal(f.sweep.budget.weight, 0, 1e-9);
  add_all(&f);
  assert_int_equal(f.sweep.count, count);
  assert_float_equal(f.sweep.total, total, 0);
  assert_float_equal(f.sweep.budget.weight, weight, 1e-9);
  close_fixture(&f);
}

static void nothing_wanted_is_still_told_with_the_nearest(void **state)
{
  struct fixture f;

  (void)state;
  open_fixture(&f, "warp lanes=5");
  add_all(&f);
  sweep_forget(&f.sweep);
  add_all(&f);
  assert_fails(DD_BAD_ARGUMENT, "the nearest is 'qknorm_rope.warp ",
               sweep_wants_any(&f.sweep));
  close_fixture(&f);
}

/* The first two points, one after the other, as a split form's are. */
static void make_fixed(struct fixture *f, struct fixed *fixed)
{
  struct problem p;
  struct variant *points;
  uint32_t count;

  assert_ok(problem_parse(&f->specs.ops, spellings[2], &p));
  assert_ok(sample_points(&p, 0, 4, 0, 1, &f->sweep.arena, &points, &count));
  assert_true(count >= 2);
  fixed[0] = (struct fixed){.step_count = 1, .step = {points[1]}};
  fixed[1] = (struct fixed){.split = true, .step_count = 2,
                            .step = {points[0], points[1]}};
  assert_ok(sweep_add_fixed(&f->sweep, &p, fixed, 2));
}

/* A database's tens of thousands of candidates would be as many texts. */
static void what_is_given_is_built_when_its_turn_is_near(void **state)
{
  struct fixture f;
  struct build build;
  struct fixed fixed[2];
  const struct outcome *o;

  (void)state;
  open_fixture(&f, NULL);
  assert_ok(build_open(&build, &f.specs, "cpu", 1, 16));
  f.sweep.build = &build;
  make_fixed(&f, fixed);
  o = &f.sweep.outcomes[0];
  assert_float_equal(f.sweep.total, 2, 0);
  assert_false(o->opened);
  assert_int_equal(build.part_count, 0);
  assert_ok(sweep_turn(&f.sweep, 0));
  sweep_open_ahead(&f.sweep);
  assert_ok(f.sweep.ahead_status);
  assert_true(o->opened);
  assert_int_equal(o->count, 2);
  assert_int_equal(build.part_count, 2);
  assert_int_equal(build.queued_count, 0); /* units that are not full, too */
  assert_string_equal(o->entries[0].label, build.parts[0]->label);
  assert_int_equal(o->entries[1].candidate.step_count, 2);
  assert_int_equal(o->entries[1].part[1], o->entries[0].part[0]);
  assert_true(hash_equal(&o->entries[1].candidate.steps[1],
                         &build.parts[0]->variant.hash));
  assert_memory_equal(o->entries[1].label, "split: rope.", 12);
  build_close(&build);
  close_fixture(&f);
}

/* A board of several: it knows what comes, to whomever it is given. */
static void open_board(struct fixture *f, struct build *b,
                       const uint32_t *coming, uint32_t given)
{
  open_fixture(f, NULL);
  assert_ok(build_open(b, &f->specs, "cpu", 1, 16));
  f->sweep.build = b;
  f->sweep.options.sample = f->sweep.options.parts = 8;
  add_all(f);
  f->sweep.turns = (struct sweep_turns){.coming = coming,
                                        .coming_count = f->sweep.count,
                                        .coming_at = given};
}

static void close_board(struct fixture *f, struct build *b)
{
  build_close(b);
  close_fixture(f);
}

static void boards_make_the_same_units(void **state)
{
  static const uint32_t coming[] = {2, 1, 0, 3, 4, 5, 6, 7, 8, 9};
  struct fixture ahead, late, alone;
  struct build builds[3];
  struct outcome *wanted;

  (void)state;
  open_board(&ahead, &builds[0], coming, 0);
  assert_in_range(ahead.sweep.count, 4, COUNT_OF(coming));
  sweep_open_ahead(&ahead.sweep); /* nothing has a turn here */
  assert_ok(ahead.sweep.ahead_status);
  assert_true(ahead.sweep.outcomes[2].opened);
  open_board(&late, &builds[1], coming, 4);
  wanted = &late.sweep.outcomes[3];
  assert_ok(sweep_turn(&late.sweep, 3));
  assert_ok(sweep_open_now(&late.sweep, wanted));
  assert_true(wanted->opened && late.sweep.outcomes[0].opened);
  assert_in_range(builds[0].unit_count, 1, builds[1].unit_count);
  for (size_t i = 0; i < builds[0].unit_count; ++i)
    assert_true(hash_equal(&builds[0].units[i].key, &builds[1].units[i].key));
  open_board(&alone, &builds[2], coming, 0); /* its turn comes first */
  assert_ok(sweep_turn(&alone.sweep, 3));
  assert_ok(sweep_open_now(&alone.sweep, &alone.sweep.outcomes[3]));
  assert_false(hash_equal(&builds[2].units[0].key, &builds[0].units[0].key));
  close_board(&ahead, &builds[0]);
  close_board(&late, &builds[1]);
  close_board(&alone, &builds[2]);
}

/* Others may wait for what it has claimed. */
static void an_idle_board_compiles(void **state)
{
  static const uint32_t coming[] = {2, 1, 0, 3, 4, 5, 6, 7, 8, 9};
  struct fixture f;
  struct build build;
  int ends[2];

  (void)state;
  open_board(&f, &build, coming, 0);
  f.sweep.turns.coming_count = 1;
  assert_int_equal(pipe(ends), 0);
  do assert_true(sweep_idle(&f.sweep, ends[0]));
  while (farm_pending(build.farm));
  assert_true(f.sweep.outcomes[2].opened);
  assert_true(build.compiled > 0);
  assert_int_equal(build.compiled + build.failed, build.part_count);
  assert_int_equal(write(ends[1], "x", 1), 1);
  assert_true(sweep_idle(&f.sweep, ends[0]));
  close(ends[0]);
  close(ends[1]);
  close_board(&f, &build);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_was_forgotten_is_added_as_before),
      cmocka_unit_test(nothing_wanted_is_still_told_with_the_nearest),
      cmocka_unit_test(what_is_given_is_built_when_its_turn_is_near),
      cmocka_unit_test(boards_make_the_same_units),
      cmocka_unit_test(an_idle_board_compiles),
  };

  if (argc > 1 && !strcmp(argv[1], WORKER_COMPILE))
    return farm_worker_main(WORKER_IN, WORKER_OUT);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
