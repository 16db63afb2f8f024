/* test_specs.c - what the specs promise the command line. */
#include "test.h"

#include "space.h"
#include "specs.h"

static struct specs specs;

static int setup(void **state)
{
  (void)state;
  assert_ok(specs_load(&specs, NULL));
  return 0;
}

static int teardown(void **state)
{
  (void)state;
  specs_release(&specs);
  return 0;
}

/* Whether some scheme has a point that fits, on a GPU and on the CPU. */
static bool can_run(const struct problem *p, int arch, int sms)
{
  struct space space;
  struct variant v;

  for (uint32_t i = 0; i < p->op->scheme_count; ++i) {
    space_init(&space, &p->op->schemes[i], p, arch, sms);
    if (space_next(&space, &v)) return true;
  }
  return false;
}

static void every_op_has_trials_that_run(void **state)
{
  (void)state;
  assert_true(specs.ops.count > 0);
  for (uint32_t i = 0; i < specs.ops.count; ++i) {
    const struct op *op = &specs.ops.ops[i];
    struct texts ops = {0}, none = {0};
    struct problems all;
    uint32_t dtypes = 0;
    texts_add(&ops, op->name);
    assert_ok(problems_read(&specs, &none, &ops, &all));
    assert_true(all.count >= 12);
    for (size_t j = 0; j < all.count; ++j) {
      assert_ptr_equal(all.item[j].op, op);
      assert_true(can_run(&all.item[j], 90, 132));
      assert_true(can_run(&all.item[j], 0, 4));
      dtypes |= 1u << problem_get(&all.item[j], "io");
    }
    assert_int_equal(__builtin_popcount(dtypes), op->symbols[0].choice_count);
    problems_release(&all);
  }
}

static void problems_come_once_in_order(void **state)
{
  struct texts shapes = {0}, ops = {0};
  struct problems all;

  (void)state;
  texts_add(&shapes, "rope:bf16 tokens=2 q_heads=1 head_dim=64");
  texts_add(&shapes, "qk_norm:bf16 tokens=2 q_heads=1 head_dim=64");
  texts_add(&shapes, "rope:bf16 head_dim=64 tokens=2 rope_dim=64 q_heads=1");
  assert_ok(problems_read(&specs, &shapes, &ops, &all));
  assert_int_equal(all.count, 2);
  assert_string_equal(all.item[0].op->name, "rope");
  problems_release(&all);
  texts_add(&ops, "qk_norm");
  assert_ok(problems_read(&specs, &shapes, &ops, &all));
  assert_int_equal(all.count, 1);
  problems_release(&all);
  texts_add(&ops, "nothing");
  assert_fails(DD_BAD_ARGUMENT, "'nothing'",
               problems_read(&specs, &shapes, &ops, &all));
  assert_null(all.item);
}

static void targets_print_as_they_are_read(void **state)
{
  static const char *const good[] = {"cpu", "sm_80", "sm_90", "sm_100"};
  static const char *const bad[] = {"", "sm_", "sm_90x", "90a", "sm_12", "gpu"};
  char text[TARGET_TEXT];
  int arch, sms;

  (void)state;
  for (size_t i = 0; i < COUNT_OF(good); ++i) {
    assert_ok(target_parse(good[i], &arch, &sms));
    assert_true(sms > 0);
    target_print(arch, text);
    assert_string_equal(text, good[i]);
  }
  for (size_t i = 0; i < COUNT_OF(bad); ++i)
    assert_fails(DD_BAD_ARGUMENT, bad[i], target_parse(bad[i], &arch, &sms));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_op_has_trials_that_run),
      cmocka_unit_test(problems_come_once_in_order),
      cmocka_unit_test(targets_print_as_they_are_read),
  };

  return cmocka_run_group_tests(tests, setup, teardown);
}
