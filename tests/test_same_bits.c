/* test_same_bits.c - which bits the plans of a group shall have. */
#include "test.h"

#include "same_bits.h"
#include "table.h"

struct note {
  const char *fixed, *problem;
  uint64_t bits;
  double us;
};

static void wants(const struct note *notes, size_t count, const char *fixed,
                  uint64_t want)
{
  struct same_bits s;

  same_bits_init(&s);
  for (size_t i = 0; i < count; ++i)
    assert_ok(same_bits_note(&s, notes[i].fixed, notes[i].problem,
                             notes[i].bits, notes[i].us));
  assert_int_equal(same_bits_of(&s, fixed), want);
  same_bits_release(&s);
}

#define WANTS(fixed, want, ...)                                                \
  do {                                                                         \
    const struct note notes_[] = {__VA_ARGS__};                                \
    wants(notes_, COUNT_OF(notes_), fixed, want);                              \
  } while (0)

static void most_problems_go_before_least_time(void **unused)
{
  (void)unused;
  WANTS("a", 2, {"a", "a1", 1, 10}, {"a", "a1", 2, 30}, {"a", "a2", 2, 10});
  WANTS("a", 1, {"a", "a1", 1, 10}, {"a", "a1", 2, 11}, {"a", "a2", 2, 10},
        {"a", "a2", 1, 10.5});
  WANTS("a", 2, {"a", "a1", 1, 10}, {"a", "a1", 2, 10.1}, {"a", "a2", 2, 10},
        {"a", "a2", 1, 10.5});
}

/* The first row with some bits is the best with them. */
static void a_problem_counts_once(void **unused)
{
  (void)unused;
  WANTS("a", 2, {"a", "a1", 1, 10}, {"a", "a1", 2, 10.1}, {"a", "a1", 1, 11},
        {"a", "a1", 1, 12}, {"a", "a2", 2, 10});
}

static void groups_are_apart(void **unused)
{
  (void)unused;
  WANTS("a", 1, {"a", "a1", 1, 10}, {"b", "b1", 2, 10}, {"b", "b2", 2, 10});
  WANTS("c", 0, {"a", "a1", 1, 10});
}

/* They tell what is the best, and are nobody's choice. */
static void rows_without_bits_are_not_chosen(void **unused)
{
  (void)unused;
  WANTS("a", 0, {"a", "a1", 0, 10});
  WANTS("a", 0, {"a", "a1", BITS_DIFFER, 10});
  WANTS("a", 2, {"a", "a1", 0, 10}, {"a", "a1", 2, 12}, {"a", "a1", 1, 13});
}

static void any_order_of_problems_gives_the_same(void **unused)
{
  (void)unused;
  WANTS("a", 1, {"a", "a1", 1, 10}, {"a", "a2", 2, 10});
  WANTS("a", 1, {"a", "a2", 2, 10}, {"a", "a1", 1, 10});
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(most_problems_go_before_least_time),
      cmocka_unit_test(a_problem_counts_once),
      cmocka_unit_test(groups_are_apart),
      cmocka_unit_test(rows_without_bits_are_not_chosen),
      cmocka_unit_test(any_order_of_problems_gives_the_same)};

  return cmocka_run_group_tests(tests, NULL, NULL);
}
