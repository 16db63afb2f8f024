/*
 * test_race.c - the race on simulated clocks: it finds the fastest under drift
 * and spikes, keeps what must be kept, and never drops on one sample.
 */
#include "test.h"

#include <math.h>

#include "race.h"

struct simulation {
  uint64_t random;
  double drift, spike; /* of the machine; the chance of a slow sample */
  double noise;        /* relative, per sample */
};

static double uniform(struct simulation *s)
{
  s->random = s->random * 6364136223846793005u + 1442695040888963407u;
  return (double)(s->random >> 11) * 0x1p-53;
}

static double normal(struct simulation *s)
{
  return uniform(s) + uniform(s) + uniform(s) + uniform(s) - 2;
}

/* One timing at this moment of the machine. */
static double time_of(struct simulation *s, double true_us, int moment)
{
  double us = true_us * (1 + s->drift * sin(moment * 0.01));

  us *= 1 + s->noise * normal(s);
  if (uniform(s) < s->spike) us *= 2;
  return us;
}

/* Runs a whole race; the entry with the best final median. */
static int run(struct race *r, struct simulation *s, const double *us, int count)
{
  int order[512], live, moment = 0, best = -1;
  double best_us = INFINITY;

  assert_ok(race_make(r, &race_rule_default, count, s->random));
  while ((live = race_round(r, order)) > 0) {
    double before = time_of(s, 10, moment);
    double t[512], after;
    for (int i = 0; i < live; ++i) t[i] = time_of(s, us[order[i]], ++moment);
    after = time_of(s, 10, ++moment);
    for (int i = 0; i < live; ++i)
      assert_ok(race_sample(r, order[i], t[i], (before + after) / 2));
    race_round_end(r);
  }
  for (int i = 0; i < count; ++i) {
    struct summary sum;
    bool final;
    int n;
    const double *samples = race_samples(r, i, &n, &final);
    assert_true(n >= race_rule_default.screen_rounds); /* never on one sample */
    assert_ok(summarise(samples, n, &sum));
    if (final && sum.median < best_us) best_us = sum.median, best = i;
  }
  return best;
}

enum { CANDIDATES = 100, RACES = 100 };

/* Gaps of 1 %: the winner is the fastest, or within 1 % of it. */
static void finds_the_fastest(void **unused)
{
  struct simulation kinds[] = {
      {1, 0, 0, 0.002}, {2, 0.05, 0, 0.005}, {3, 0.02, 0.05, 0.005}};

  (void)unused;
  for (size_t k = 0; k < COUNT_OF(kinds); ++k) {
    int regrets = 0;
    for (int n = 0; n < RACES; ++n) {
      double us[CANDIDATES];
      struct race r;
      int best;
      for (int i = 0; i < CANDIDATES; ++i)
        us[i] = 5 * (1 + 0.01 * ((i * 37 + n) % CANDIDATES));
      best = run(&r, &kinds[k], us, CANDIDATES);
      assert_true(best >= 0);
      regrets += us[best] > 5 * 1.0101;
      race_release(&r);
    }
    assert_true(regrets <= 1); /* of 100 */
  }
}

static void keeps_what_must_be_kept(void **unused)
{
  double us[CANDIDATES];
  struct simulation s = {5, 0, 0, 0.001};
  int order[CANDIDATES], live;
  struct race r;
  bool final;
  int n;

  (void)unused;
  for (int i = 0; i < CANDIDATES; ++i) us[i] = i == 7 ? 50 : 5 + 0.1 * i;
  assert_ok(race_make(&r, &race_rule_default, CANDIDATES, 1));
  race_keep(&r, 7);
  while ((live = race_round(&r, order)) > 0) {
    for (int i = 0; i < live; ++i)
      assert_ok(race_sample(&r, order[i], time_of(&s, us[order[i]], 0), 10));
    race_round_end(&r);
  }
  race_samples(&r, 7, &n, &final);
  assert_true(final);
  assert_int_equal(n, race_rule_default.final_rounds);
  race_release(&r);
}

/* Identical candidates: which one wins is chance, and the gap that is shown is
 * small, so nobody would claim it. */
static void equals_are_a_tie(void **unused)
{
  struct simulation s = {9, 0.02, 0.01, 0.005};

  (void)unused;
  for (int n = 0; n < 50; ++n) {
    double us[8] = {5, 5, 5, 5, 5, 5, 5, 5}, low = INFINITY, high = 0;
    struct race r;
    run(&r, &s, us, 8);
    for (int i = 0; i < 8; ++i) {
      struct summary sum;
      bool final;
      int count;
      const double *samples = race_samples(&r, i, &count, &final);
      assert_ok(summarise(samples, count, &sum));
      if (sum.median < low) low = sum.median;
      if (sum.median > high) high = sum.median;
    }
    assert_true(high / low < 1.05);
    race_release(&r);
  }
}

/* The same order from the same seed, another from another. */
static void order_follows_the_seed(void **unused)
{
  int order[3][64];

  (void)unused;
  for (int i = 0; i < 3; ++i) {
    struct race r;
    assert_ok(race_make(&r, &race_rule_default, 64, i == 2 ? 4 : 3));
    assert_int_equal(race_round(&r, order[i]), 64);
    race_release(&r);
  }
  assert_memory_equal(order[0], order[1], sizeof order[0]);
  assert_memory_not_equal(order[0], order[2], sizeof order[0]);
}

/* The 95 % interval of the median holds the truth about as often as it says. */
static void intervals_are_honest(void **unused)
{
  struct simulation s = {11, 0, 0, 0.01};
  int held = 0;

  (void)unused;
  for (int n = 0; n < 2000; ++n) {
    double samples[24];
    struct summary sum;
    for (int i = 0; i < 24; ++i) samples[i] = 1 + s.noise * normal(&s);
    assert_ok(summarise(samples, 24, &sum));
    assert_true(sum.low <= sum.median && sum.median <= sum.high);
    assert_true(sum.q1 <= sum.median && sum.median <= sum.q3);
    held += sum.low <= 1 && 1 <= sum.high;
  }
  assert_in_range(held, 1800, 1990);
}

static void memory_fails_cleanly(void **unused)
{
  struct allocator kept = default_allocator;

  (void)unused;
  for (long n = 1;; ++n) {
    struct test_memory m;
    struct race r;
    dd_status status;
    test_memory_init(&m);
    m.fail_at = n;
    default_allocator = m.allocator;
    status = race_make(&r, &race_rule_default, 3, 1);
    for (int i = 0; i < 20 && !status; ++i) status = race_sample(&r, i % 3, 1, 1);
    if (r.entries) race_release(&r);
    default_allocator = kept;
    assert_int_equal(m.live, 0);
    if (m.calls < n) {
      assert_int_equal(status, DD_OK);
      break;
    }
    assert_int_equal(status, DD_NO_MEMORY);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(finds_the_fastest),
      cmocka_unit_test(keeps_what_must_be_kept),
      cmocka_unit_test(equals_are_a_tie),
      cmocka_unit_test(order_follows_the_seed),
      cmocka_unit_test(intervals_are_honest),
      cmocka_unit_test(memory_fails_cleanly),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
