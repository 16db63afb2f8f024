/*
 * test_statistics.c - robust numbers: their values on samples worked by hand,
 * and that intervals hold the truth as often as they say.
 */
#include "test.h"

#include <math.h>

#include "simulation.h"

/* Worked out with whole numbers: sums of binomial coefficients over 2^n. */
static void ranks_are_those_of_the_binomial(void **unused)
{
  (void)unused;
  assert_int_equal(median_rank(5, 0.95), 1); /* too few: all there is */
  assert_int_equal(median_rank(6, 0.95), 1);
  assert_int_equal(median_rank(9, 0.95), 2);
  assert_int_equal(median_rank(20, 0.95), 6);
  assert_int_equal(median_rank(24, 0.95), 7);
  assert_int_equal(median_rank(24, 0.99), 6);
  assert_int_equal(median_rank(1, 0.95), 1);
  assert_int_equal(median_rank(SAMPLES_MAX, 0.95), 234);
}

static void a_summary_is_what_it_says(void **unused)
{
  const double samples[] = {5, 1, 4, 2, 3};
  struct summary s;

  (void)unused;
  summarise(samples, 5, &s);
  assert_true(s.median == 3 && s.q1 == 2 && s.q3 == 4);
  assert_true(s.low == 1 && s.high == 5 && s.dropped == 0);
  summarise(samples, 1, &s);
  assert_true(s.median == 5 && s.low == 5 && s.high == 5);
  summarise(samples, 0, &s);
  assert_true(s.median == 0 && s.dropped == 0);
}

/* Recorded: a copy of 1 MB, us, on a machine that others use; two of the
 * replays were interrupted. */
static const double recorded[24] = {
    37.07, 1247.92, 31.72, 27.51, 21.96, 24.24, 26.01, 26.78,
    27.31, 26.80,   22.59, 21.93, 25.09, 26.16, 26.65, 25.93,
    462.0, 26.94,   27.52, 24.20, 21.76, 22.69, 25.79, 26.34};

static void outliers_are_counted(void **unused)
{
  double samples[24];
  struct summary s;

  (void)unused;
  summarise(recorded, 24, &s);
  assert_int_equal(s.dropped, 2);
  assert_true(fabs(s.median - (26.16 + 26.01) / 2) < 1e-9);
  assert_true(s.low == 24.20 && s.high == 26.94); /* the 6th of 22 */
  for (int i = 0; i < 24; ++i) samples[i] = i % 3 ? 10 : 20;
  summarise(samples, 24, &s); /* a third of them is no accident */
  assert_int_equal(s.dropped, 0);
  for (int i = 0; i < 24; ++i) samples[i] = 10 + 0.0001 * (i == 3);
  summarise(samples, 24, &s); /* nor is the last digit of a clock */
  assert_int_equal(s.dropped, 0);
}

/* The samples' distribution does not matter: a lopsided one, with spikes. */
static double lopsided(struct machine *m)
{
  double x = normal(m);

  return exp(0.01 * x * fabs(x)) * (uniform(m) < 0.05 ? 1.5 : 1);
}

static void intervals_hold_the_truth(void **unused)
{
  enum { TRIALS = 4000, ROUNDS = 24 };
  struct machine m = {.random = 11};
  int median = 0, gap = 0;

  (void)unused;
  for (int n = 0; n < TRIALS; ++n) {
    double a[ROUNDS], b[ROUNDS];
    struct summary s;
    struct comparison c;
    for (int i = 0; i < ROUNDS; ++i) {
      a[i] = 1.02 * exp(0.01 * normal(&m));
      b[i] = lopsided(&m) * a[i];
    }
    summarise(a, ROUNDS, &s);
    assert_true(s.low <= s.median && s.median <= s.high);
    assert_true(s.q1 <= s.median && s.median <= s.q3);
    median += s.low <= 1.02 && 1.02 <= s.high;
    compare(b, a, ROUNDS, &c);
    gap += c.low <= 0.0007 && c.high >= 0; /* 5 % spikes move it by 0.0004 */
  }
  assert_true(median >= TRIALS * 95 / 100 && median <= TRIALS * 99 / 100);
  assert_true(gap >= TRIALS * 99 / 100);
}

static void comparisons_are_paired(void **unused)
{
  double a[24], b[24];
  struct comparison c;

  (void)unused;
  for (int i = 0; i < 24; ++i) { /* both double; the gap between them stays */
    b[i] = 1 + i / 24.0;
    a[i] = 1.01 * b[i];
  }
  compare(a, b, 24, &c);
  assert_true(fabs(c.median - log(1.01)) < 1e-12);
  assert_true(c.high - c.low < 1e-12 && c.deviation < 1e-12);
  compare(b, a, 24, &c);
  assert_true(fabs(c.median + log(1.01)) < 1e-12);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ranks_are_those_of_the_binomial),
      cmocka_unit_test(a_summary_is_what_it_says),
      cmocka_unit_test(outliers_are_counted),
      cmocka_unit_test(intervals_hold_the_truth),
      cmocka_unit_test(comparisons_are_paired),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
