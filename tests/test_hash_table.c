/* test_hash_table.c - things by their hash, also when memory ends. */
#include "test.h"

#include "hash_table.h"

enum { MANY = 3000 };
static struct hash keys[MANY];

static void make_keys(void)
{
  for (uint32_t i = 0; i < MANY; ++i) {
    keys[i] = hash_of(&i, sizeof i);
    if (i % 3 == 0) memset(keys[i].byte, 7, 8); /* they begin alike */
  }
}

static void check_holds(const struct hash_table *t, uint32_t count)
{
  for (uint32_t i = 0; i < count; ++i)
    assert_ptr_equal(hash_table_find(t, &keys[i]), &keys[i]);
  for (uint32_t i = count; i < MANY; ++i)
    assert_null(hash_table_find(t, &keys[i]));
}

static void what_was_added_is_found(void **state)
{
  struct hash_table t = {0};

  (void)state;
  make_keys();
  check_holds(&t, 0);
  for (uint32_t i = 0; i < MANY / 2; ++i)
    assert_ok(hash_table_add(&t, &keys[i], &keys[i]));
  check_holds(&t, MANY / 2);
  hash_table_release(&t);
}

/* A table that could not grow is as it was, and grows when it can. */
static void a_failure_leaves_it_as_it_was(void **state)
{
  struct allocator before = default_allocator;
  struct hash_table t = {0};
  struct test_memory m;
  uint32_t n = 0, refused = 0;

  (void)state;
  make_keys();
  test_memory_init(&m);
  default_allocator = m.allocator;
  for (; n < 1500; ++n) {
    dd_status status;
    m.fail_at = m.calls + 1;
    status = hash_table_add(&t, &keys[n], &keys[n]);
    if (!status) continue;
    refused++;
    assert_int_equal(status, DD_NO_MEMORY);
    check_holds(&t, n);
    m.fail_at = 0;
    assert_ok(hash_table_add(&t, &keys[n], &keys[n]));
  }
  check_holds(&t, n);
  hash_table_release(&t);
  default_allocator = before;
  assert_in_range(refused, 3, 20);
  assert_int_equal(m.live, 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_was_added_is_found),
      cmocka_unit_test(a_failure_leaves_it_as_it_was),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
