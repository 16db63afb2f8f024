/*
 * test_twin.c - of candidates with the same machine code the first in the list
 * races, whichever was compiled and proven first.
 */
#include "test.h"

#include "twin.h"

enum { COUNT = 5 };

/* Entry i is the twin of old[i]; -1: it was proven itself. */
static void check(const int old[COUNT], const int settled[COUNT])
{
  struct entry entries[COUNT] = {0};
  struct outcome o = {.entries = entries, .count = COUNT};

  for (int i = 0; i < COUNT; ++i) {
    entries[i].done = entries[i].proven = true;
    entries[i].twin = old[i] < 0 ? NULL : &entries[old[i]];
  }
  twin_settle(&o);
  for (int i = 0; i < COUNT; ++i)
    assert_ptr_equal(entries[i].twin,
                     settled[i] < 0 ? NULL : &entries[settled[i]]);
}

static void the_first_of_twins_races(void **unused)
{
  (void)unused;
  check((int[]){-1, -1, -1, -1, -1}, (int[]){-1, -1, -1, -1, -1});
  check((int[]){-1, 0, 0, -1, 3}, (int[]){-1, 0, 0, -1, 3});
  check((int[]){3, -1, 3, -1, 3}, (int[]){-1, -1, 0, 0, 0});
  check((int[]){-1, 4, 3, -1, -1}, (int[]){-1, -1, -1, 2, 1});
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_first_of_twins_races),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
