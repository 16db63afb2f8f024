/* test_sweep_list.c - the problems of a sweep, listed and forgotten. */
#include "test.h"

#include "specs.h"
#include "sweep.h"

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

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_was_forgotten_is_added_as_before),
      cmocka_unit_test(nothing_wanted_is_still_told_with_the_nearest),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
