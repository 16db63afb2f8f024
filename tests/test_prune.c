/*
 * test_prune.c - rules of thumb, and what is raced in spite of them.
 */
#include "test.h"

#include "prune.h"

static const struct device_info h200 = {.kind = "cuda", .arch = 90, .sms = 132};

static struct need usual(void)
{
  return (struct need){.registers = 40,
                       .geometry = {.grid = {4096, 1, 1}, .block = 128}};
}

static void check_rule(const char *rule, const struct need *n)
{
  const struct need u = usual();
  const char *found = prune_rule(n, &u, &h200);

  if (!rule) assert_null(found);
  else assert_string_equal(found ? found : "none", rule);
}

static void each_rule_has_its_limit(void **state)
{
  struct need n = usual();

  (void)state;
  check_rule(NULL, &n);
  n.geometry.block = 512;
  n.registers = 128;
  check_rule(NULL, &n);
  n.registers = 129; /* 136 of 65536 / 512 */
  check_rule("registers", &n);
  n = usual();
  n.shared_bytes = 100 << 10;
  n.geometry.shared_bytes = 127 << 10;
  check_rule(NULL, &n);
  n.geometry.shared_bytes++;
  check_rule("shared memory", &n);
  n = usual();
  n.local_bytes = 127;
  check_rule(NULL, &n);
  n.local_bytes = 128;
  check_rule("spills", &n);
  n = usual();
  n.geometry.grid[0] = 33; /* of four warps each: one per SM */
  check_rule(NULL, &n);
  n.geometry.grid[0] = 32;
  check_rule("waves", &n);
}

/* What the default variant does as well is the problem's, not the variant's. */
static void the_default_is_the_measure(void **state)
{
  struct need n = usual(), u = usual();

  (void)state;
  n.local_bytes = u.local_bytes = 500;
  n.geometry.grid[0] = u.geometry.grid[0] = 2;
  assert_null(prune_rule(&n, &u, &h200));
  n.local_bytes = 628;
  assert_string_equal(prune_rule(&n, &u, &h200), "spills");
}

static void one_in_fifty_is_audited(void **state)
{
  int audited = 0, moved = 0;

  (void)state;
  for (int i = 0; i < 20000; ++i) {
    struct hash h = hash_of(&i, sizeof i);
    bool is = prune_is_audited(&h, 1);
    assert_true(is == prune_is_audited(&h, 1));
    audited += is;
    moved += is != prune_is_audited(&h, 2);
  }
  assert_in_range(audited, 320, 480);
  assert_true(moved > 400); /* another seed, others */
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_rule_has_its_limit),
      cmocka_unit_test(the_default_is_the_measure),
      cmocka_unit_test(one_in_fifty_is_audited),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
