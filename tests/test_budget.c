/*
 * test_budget.c - shares of a time, and what is said of it before.
 */
#include "test.h"

#include "budget.h"
#include "output.h"

static void times_are_parsed(void **state)
{
  static const struct {
    const char *text;
    double seconds;
  } good[] = {{"90", 90},      {"90s", 90},     {"5m", 300},
              {"1h30m", 5400}, {"1.5m", 90}, {"1h1m1s", 3661}};
  static const char *const bad[] = {"",   "0",        "s",  "-5s",
                                    "5x", "5s later", "1e", "m5"};
  double seconds;

  (void)state;
  for (size_t i = 0; i < COUNT_OF(good); ++i) {
    assert_ok(budget_parse(good[i].text, &seconds));
    assert_true(seconds == good[i].seconds);
  }
  for (size_t i = 0; i < COUNT_OF(bad); ++i)
    assert_fails(DD_BAD_ARGUMENT, "90s, 5m or 1h30m",
                 budget_parse(bad[i], &seconds));
}

static void without_a_budget_everything_fits(void **state)
{
  struct budget b;

  (void)state;
  budget_init(&b, seconds_now(), 0, 1);
  budget_add(&b, 1);
  assert_false(budget_is_over(&b));
  assert_int_equal(budget_fits(&b, 1, 1000), 1000);
  assert_true(budget_begin(&b, 1) == 0);
}

/* Of a thousand seconds, less 3 to store what was found. */
static void shares_follow_the_weights(void **state)
{
  struct budget b;
  double now = seconds_now();

  (void)state;
  budget_init(&b, now, 1000, 1);
  for (int i = 0; i < 4; ++i) budget_add(&b, i ? 1 : 7);
  assert_in_range(budget_fits(&b, 7, 100000), 600, 697);
  assert_in_range(budget_fits(&b, 1, 100000), 80, 99);
  assert_int_equal(budget_fits(&b, 1, 20), 20);
  assert_in_range(budget_begin(&b, 7) - now, 600, 698);
  assert_in_range(budget_begin(&b, 1) - now, 300, 333);
  budget_begin(&b, 1);
  assert_in_range(budget_begin(&b, 1) - now, 900, 997);
}

static void a_budget_that_is_spent_is_over(void **state)
{
  struct budget b;

  (void)state;
  budget_init(&b, seconds_now() - 100, 100, 1);
  budget_add(&b, 1);
  assert_true(budget_is_over(&b));
  assert_int_equal(budget_fits(&b, 1, 1000), 8);
  assert_true(budget_begin(&b, 1) <= seconds_now());
  budget_init(&b, seconds_now() - 99.5, 100, 1);
  assert_true(budget_is_over(&b));
}

static void what_was_measured_replaces_the_guess(void **state)
{
  struct budget b;
  double low, high;

  (void)state;
  budget_init(&b, seconds_now(), 0, 1);
  assert_true(budget_predict(&b, 100, &low, &high) == 100);
  assert_true(low == 50 && high == 150);
  budget_end(&b, 20, 10);
  budget_end(&b, 40, 10);
  budget_end(&b, 60, 0); /* had none: says nothing */
  assert_true(budget_predict(&b, 100, &low, &high) == 300);
  assert_in_range(low, 150, 170); /* 300 less the spread, sqrt(2) of 3 */
  assert_in_range(high, 430, 450);
}

static void no_prediction_passes_the_budget(void **state)
{
  struct budget b;
  double low, high;

  (void)state;
  budget_init(&b, seconds_now(), 60, 1);
  assert_true(budget_predict(&b, 1000, &low, &high) <= 60);
  assert_true(high <= 60);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(times_are_parsed),
      cmocka_unit_test(without_a_budget_everything_fits),
      cmocka_unit_test(shares_follow_the_weights),
      cmocka_unit_test(a_budget_that_is_spent_is_over),
      cmocka_unit_test(what_was_measured_replaces_the_guess),
      cmocka_unit_test(no_prediction_passes_the_budget),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
