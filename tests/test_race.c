/*
 * test_race.c - the race on simulated machines (simulation.h): it finds the
 * fastest under drift, spikes and a clock that changes, claims no gap between
 * equals, agrees with itself, and never drops on one sample.
 */
#include "test.h"

#include "simulation.h"

enum { MAX = 256 };

static const struct {
  const char *name;
  struct machine machine;
} machines[] = {
    {"quiet", {.random = 1, .noise = 0.002}},
    {"usual", {.random = 2, .noise = 0.005}},
    {"drift", {.random = 3, .noise = 0.005, .drift = 0.05}},
    {"spikes", {.random = 4, .noise = 0.005, .spike = 0.05}},
    {"two clocks", {.random = 5, .noise = 0.005, .slow = 0.01, .slow_by = 0.1}},
    {"all of it", {.random = 6, .noise = 0.005, .drift = 0.03, .spike = 0.02,
                   .slow = 0.003, .slow_by = 0.1, .place = 0.001}},
};

static void run_after(struct simulated *s, struct machine *m, const double *us,
                      int count, int incumbent)
{
  double here[MAX];
  int order[MAX];

  memcpy(here, us, sizeof *us * (size_t)count);
  assert_ok(simulate(s, m, &race_rule_default, here, count, incumbent,
                     order));
  assert_true(s->verdict.winner >= 0);
}

static void run(struct simulated *s, struct machine *m, const double *us,
                int count)
{
  run_after(s, m, us, count, -1);
}

/* As spaces of variants are: dense near the fastest, up to 60 % behind it. */
static double random_space(struct machine *m, double *us, int count)
{
  double best = 1e9;

  for (int i = 0; i < count; ++i) {
    us[i] = 5 * (1 + 0.6 * pow(uniform(m), 1.5));
    if (us[i] < best) best = us[i];
  }
  return best;
}

/* ---- Who wins ------------------------------------------------------------ */

/* A false winner is one that is more than the floor and the final's precision
 * behind the fastest: 2 % in all.  At most 1 % of 1200 races may have one. */
static void finds_the_fastest(void **unused)
{
  enum { RACES = 200, COUNT = 230 };
  int lost = 0, races = 0;

  (void)unused;
  for (size_t k = 0; k < COUNT_OF(machines); ++k) {
    struct machine m = machines[k].machine, space = {.random = 77};
    double regret = 0;
    long samples = 0;
    for (int n = 0; n < RACES; ++n, ++races) {
      double us[MAX], best = random_space(&space, us, COUNT), behind;
      struct simulated s;
      run(&s, &m, us, COUNT);
      behind = us[s.verdict.winner] / best - 1;
      regret += behind / RACES;
      lost += behind > 0.02;
      samples += s.samples;
      race_release(&s.race);
    }
    assert_true(regret < 0.003);
    assert_true((double)samples / RACES / COUNT < 6.5); /* short replays */
  }
  assert_true(lost * 100 <= races);
}

/* Three sweeps of 600 problems: a winner is inside the tie set of another sweep
 * in at least 99 % of them. */
static void agrees_with_itself(void **unused)
{
  enum { RACES = 100, COUNT = 230, SWEEPS = 3 };
  int pairs = 0, inside = 0;

  (void)unused;
  for (size_t k = 0; k < COUNT_OF(machines); ++k) {
    struct machine m = machines[k].machine, space = {.random = 78};
    for (int n = 0; n < RACES; ++n) {
      struct simulated s[SWEEPS];
      double us[MAX];
      random_space(&space, us, COUNT);
      for (int i = 0; i < SWEEPS; ++i) run(&s[i], &m, us, COUNT);
      for (int i = 1; i < SWEEPS; ++i, ++pairs)
        inside += s[0].race.entries[s[i].verdict.winner].tied;
      for (int i = 0; i < SWEEPS; ++i) race_release(&s[i].race);
    }
  }
  assert_true(inside * 100 >= pairs * 99);
}

/* Of 600 problems swept three times, each time with the winner before as the
 * incumbent, at least 99 % keep their winner, and no regret adds up. */
static void the_incumbent_stays(void **unused)
{
  enum { RACES = 100, COUNT = 230, SWEEPS = 3 };
  int again = 0, same = 0;

  (void)unused;
  for (size_t k = 0; k < COUNT_OF(machines); ++k) {
    struct machine m = machines[k].machine, space = {.random = 80};
    double regret = 0;
    for (int n = 0; n < RACES; ++n) {
      double us[MAX], best = random_space(&space, us, COUNT);
      int winner = -1;
      for (int i = 0; i < SWEEPS; ++i) {
        struct simulated s;
        run_after(&s, &m, us, COUNT, winner);
        again += i > 0;
        same += i > 0 && s.verdict.winner == winner;
        winner = s.verdict.winner;
        race_release(&s.race);
      }
      regret += (us[winner] / best - 1) / RACES;
    }
    assert_true(regret < 0.003);
  }
  assert_true(same * 100 >= again * 99);
}

/* One that is behind by more than the floor is no longer the winner. */
static void an_incumbent_that_is_slower_goes(void **unused)
{
  struct machine m = {.random = 22, .noise = 0.003};
  double us[4] = {5, 5.1, 5.01, 5.2};
  struct simulated s;

  (void)unused;
  run_after(&s, &m, us, 4, 1);
  assert_int_equal(s.verdict.winner, 0);
  assert_false(s.race.entries[1].tied);
  assert_true(race_samples(&s.race, 1).final);
  race_release(&s.race);
  run_after(&s, &m, us, 4, 2);
  assert_int_equal(s.verdict.winner, 2);
  assert_int_equal(s.race.entries[2].position, 1);
  race_release(&s.race);
}

/* Behind the fastest by more than the floor, but not behind the one that is
 * preferred among those that are within it: it is not given up for that. */
static void an_incumbent_stays_before_another_as_slow(void **unused)
{
  struct machine m = {.random = 23, .noise = 0.0005};
  double us[3] = {5.02, 5.045, 5};
  struct simulated s;

  (void)unused;
  run(&s, &m, us, 3);
  assert_int_equal(s.verdict.winner, 0); /* preferred, and 0.4 % behind */
  assert_false(s.race.entries[1].tied);  /* 0.9 % */
  race_release(&s.race);
  run_after(&s, &m, us, 3, 1); /* 0.5 % behind the winner */
  assert_int_equal(s.verdict.winner, 1);
  assert_int_equal(s.race.entries[1].position, 1);
  assert_true(s.race.entries[1].tied);
  race_release(&s.race);
}

/* Equals: in at most 1 % of 1200 races the twin seems to differ from its
 * original by more than the floor, or any of the eight is said to be slower;
 * and the one that was preferred wins. */
static void claims_no_gap_between_equals(void **unused)
{
  enum { RACES = 200, COUNT = 8 };
  int twins = 0, slower = 0, others = 0, races = 0;

  (void)unused;
  for (size_t k = 0; k < COUNT_OF(machines); ++k) {
    struct machine m = machines[k].machine;
    for (int n = 0; n < RACES; ++n, ++races) {
      double us[COUNT] = {5, 5, 5, 5, 5, 5, 5, 5};
      struct simulated s;
      bool all = true;
      run(&s, &m, us, COUNT);
      twins += s.verdict.apart > race_rule_default.floor;
      for (int i = 0; i < COUNT; ++i) all = all && s.race.entries[i].tied;
      slower += !all;
      others += s.verdict.winner != 0;
      race_release(&s.race);
    }
  }
  assert_true(twins * 100 <= races);
  assert_true(slower * 100 <= races);
  assert_true(others * 100 <= races);
}

/* The tie is decided by preference, a gap is not. */
static void preference_decides_ties_alone(void **unused)
{
  struct machine m = {.random = 21, .noise = 0.003};
  double us[4] = {5.2, 5.001, 5, 5.002}, here[MAX];
  int order[MAX], live;
  struct race_verdict v;
  struct race r;

  (void)unused;
  memcpy(here, us, sizeof us);
  assert_ok(race_make(&r, &race_rule_default, 4, 1));
  race_prefer(&r, 3, 1);
  race_prefer(&r, 1, 3);
  while ((live = race_round(&r, order)) > 0) {
    for (int i = 0; i < live; ++i)
      assert_ok(race_sample(&r, order[i], time_of(&m, here[order[i]]), 10));
    race_round_end(&r);
  }
  race_judge(&r, &v);
  assert_int_equal(v.winner, 3);
  assert_int_equal(r.entries[3].position, 1);
  assert_int_equal(r.entries[2].position, 2);
  assert_int_equal(r.entries[1].position, 3);
  assert_int_equal(r.entries[0].position, 4);
  assert_true(r.entries[1].tied && r.entries[2].tied && !r.entries[0].tied);
  assert_true(v.noise == 0);
  race_release(&r);
}

/* ---- What a race does ---------------------------------------------------- */

/* One bad sample of the fastest, then of its reference, in whatever round. */
static void never_drops_on_one_sample(void **unused)
{
  (void)unused;
  for (int bad = 0; bad < race_rule_default.screen_rounds; ++bad)
    for (int kind = 0; kind < 2; ++kind) {
      struct machine m = {.random = 31, .noise = 0.003};
      int order[MAX], live, round = 0;
      struct race r;
      assert_ok(race_make(&r, &race_rule_default, 64, 1));
      for (; (live = race_round(&r, order)) > 0; ++round) {
        for (int i = 0; i < live; ++i) {
          int at = order[i];
          double us = time_of(&m, 5 + 0.05 * at), reference = 10;
          if (round == bad && kind == 0 && at == 0) us *= 3;
          if (round == bad && kind == 1 && at != 0) reference *= 3;
          assert_ok(race_sample(&r, at, us, reference));
        }
        race_round_end(&r);
      }
      assert_true(race_samples(&r, 0).final);
      for (int i = 0; i < 64; ++i)
        assert_true(r.entries[i].count >= race_rule_default.first_look);
      race_release(&r);
    }
}

static void keeps_what_must_be_kept(void **unused)
{
  struct machine m = {.random = 5, .noise = 0.001};
  double us[MAX];
  int order[MAX], live;
  struct race r;

  (void)unused;
  for (int i = 0; i < 100; ++i) us[i] = i == 7 ? 50 : 5 + 0.1 * i;
  assert_ok(race_make(&r, &race_rule_default, 100, 1));
  race_keep(&r, 7);
  while ((live = race_round(&r, order)) > 0) {
    for (int i = 0; i < live; ++i)
      assert_ok(race_sample(&r, order[i], time_of(&m, us[order[i]]), 10));
    race_round_end(&r);
  }
  assert_true(race_samples(&r, 7).final);
  assert_int_equal(race_samples(&r, 7).count, race_rule_default.final_rounds);
  assert_false(race_samples(&r, 99).final);
  race_release(&r);
}

/* What is reported is in the order that was found: both are the ratio. */
static void scores_are_fresh(void **unused)
{
  struct machine m = {.random = 41, .noise = 0.005};
  double us[MAX];
  struct simulated s;

  (void)unused;
  for (int i = 0; i < 40; ++i) us[i] = 5 * (1 + 0.002 * i);
  run(&s, &m, us, 40);
  for (int i = 0; i < 40; ++i) {
    const struct race_entry *e = &s.race.entries[i];
    struct race_view v = race_samples(&s.race, i);
    assert_int_equal(v.final, e->final_from >= 0);
    if (!v.final) assert_int_equal(v.count, e->count);
    else assert_true(v.count >= race_rule_default.final_look);
    if (e->equal) /* nobody who may win is spared a round; a tie is wider */
      assert_int_equal(v.count, race_rule_default.final_rounds);
    assert_true(v.us == e->us + (v.final ? e->final_from : 0));
  }
  race_release(&s.race);
}

/* Few enough from the start: all are in the final, and the slow ones leave it
 * at the first look, with fresh samples to show. */
static void the_final_spares_the_slow(void **unused)
{
  enum { COUNT = 9 }; /* and the twin */
  struct machine m = {.random = 43, .noise = 0.003};
  double us[COUNT];
  struct simulated s;

  (void)unused;
  for (int i = 0; i < COUNT; ++i) us[i] = 5 * (1 + 0.05 * i);
  run(&s, &m, us, COUNT);
  assert_int_equal(s.verdict.winner, 0);
  assert_int_equal(race_samples(&s.race, 0).count,
                   race_rule_default.final_rounds);
  assert_int_equal(race_samples(&s.race, s.race.twin).count,
                   race_rule_default.final_rounds);
  for (int i = 1; i < COUNT; ++i) {
    assert_true(race_samples(&s.race, i).final);
    assert_int_equal(race_samples(&s.race, i).count,
                     race_rule_default.final_look);
    assert_int_equal(s.race.entries[i].position, i + 1);
    assert_false(s.race.entries[i].tied);
  }
  race_release(&s.race);
}

/* One that was spared has fewer samples: what both have is compared, whoever is
 * named first. */
static void fewer_rounds_are_compared_as_far_as_they_go(void **unused)
{
  enum { FEW = 9, MANY = 24 };
  struct comparison c;
  struct race r;

  (void)unused;
  assert_ok(race_make(&r, &race_rule_default, 2, 1));
  for (int i = 0; i < MANY; ++i) {
    assert_ok(race_sample(&r, 0, i < FEW ? 2 : 1000, 1));
    if (i < FEW) assert_ok(race_sample(&r, 1, 1, 1));
  }
  race_compare(&r, 0, 1, &c);
  assert_true(fabs(c.low - log(2)) < 1e-9 && fabs(c.high - log(2)) < 1e-9);
  race_compare(&r, 1, 0, &c);
  assert_true(fabs(c.low + log(2)) < 1e-9 && fabs(c.high + log(2)) < 1e-9);
  race_release(&r);
}

/* Two that are alike and the twin of the first; `twin_us` of each turn of the
 * final.  The rounds that its finalists had. */
static int rounds_of_final(const double *twin_us, struct race_verdict *v)
{
  const int turn = race_rule_default.final_rounds;
  int order[3], live, rounds = 0;
  struct race r;

  assert_ok(race_make(&r, &race_rule_default, 3, 1));
  race_twin(&r, 2);
  while ((live = race_round(&r, order)) > 0) {
    for (int i = 0; i < live; ++i)
      assert_ok(race_sample(&r, order[i],
                            order[i] == 2 ? twin_us[r.round / turn] : 5, 5));
    race_round_end(&r);
    if (r.phase == RACE_FINAL && r.twin_of < 0) race_enter_twin(&r, 0);
  }
  race_judge(&r, v);
  rounds = race_samples(&r, 0).count;
  assert_int_equal(race_samples(&r, 1).count, rounds);
  race_release(&r);
  return rounds;
}

/* The same code with another time: the final goes on, but not for ever. */
static void the_final_goes_on_while_the_twin_is_apart(void **unused)
{
  const int turn = race_rule_default.final_rounds;
  const int most = turn * (1 + race_rule_default.final_more);
  const double alike[] = {5.02, 5.02, 5.02, 5.02};
  const double apart[] = {5.05, 5.05, 5.05, 5.05}; /* 1 % */
  const double before[] = {4.95, 4.95, 4.95, 4.95};
  const double at_first[] = {5.05, 5, 5, 5};
  struct race_verdict v;

  (void)unused;
  assert_int_equal(rounds_of_final(alike, &v), turn);
  assert_true(v.noise > 0.003 && v.apart <= v.noise);
  assert_int_equal(rounds_of_final(apart, &v), most);
  assert_true(v.noise > 0.009 && v.apart > race_rule_default.floor);
  assert_int_equal(rounds_of_final(before, &v), most);
  assert_true(v.noise > 0.009 && v.apart > race_rule_default.floor);
  /* Half of the rounds say so, and half do not: a median lies between. */
  assert_int_equal(rounds_of_final(at_first, &v), 2 * turn);
  assert_true(v.apart == 0);
}

/* Three, the second of which is the incumbent and 1 % slower than the first; its
 * twin takes `twin_us`.  Who wins. */
static int winner_by_twin(double twin_us)
{
  const double us[] = {5, 5.05, 5.3, twin_us};
  struct race_verdict v;
  int order[4], live;
  struct race r;

  assert_ok(race_make(&r, &race_rule_default, 4, 1));
  race_twin(&r, 3);
  race_favour(&r, 1);
  while ((live = race_round(&r, order)) > 0) {
    for (int i = 0; i < live; ++i)
      assert_ok(race_sample(&r, order[i], us[order[i]], 5));
    race_round_end(&r);
    if (r.phase == RACE_FINAL && r.twin_of < 0)
      race_enter_twin(&r, race_original(&r));
  }
  assert_int_equal(r.twin_of, 1);
  race_judge(&r, &v);
  race_release(&r);
  return v.winner;
}

/* Another load of the same code says whether it is the code that is slower. */
static void a_slow_load_does_not_cost_the_incumbent_its_place(void **unused)
{
  (void)unused;
  assert_int_equal(winner_by_twin(5.05), 0);
  assert_int_equal(winner_by_twin(5.01), 1);
}

static void a_block_is_calm_or_not(void **unused)
{
  struct race r = {0};

  (void)unused;
  assert_true(race_calm(&r, 10, 10.5)); /* the noise is not known yet */
  assert_false(race_calm(&r, 10, 10.7));
  assert_false(race_calm(&r, 10.7, 10));
  r.noise = 0.001;
  assert_true(race_calm(&r, 10, 10.2));
  assert_false(race_calm(&r, 10, 10.5));
  assert_false(race_calm(&r, 10.5, 10));
  r.noise = 0.02; /* a noisy machine is not thrown away */
  assert_true(race_calm(&r, 10, 10.5));
}

/* A GPU that is always held back is measured all the same. */
static void rounds_are_not_repeated_for_ever(void **unused)
{
  const struct race_rule *rule = &race_rule_default;
  struct race r = {.rule = *rule, .phase = RACE_SCREEN};

  (void)unused;
  for (int i = 0; i < rule->screen_repeats; ++i) assert_true(race_repeats(&r));
  assert_false(race_repeats(&r));
  r.phase = RACE_FINAL;
  for (int i = rule->screen_repeats; i < rule->repeats; ++i)
    assert_true(race_repeats(&r));
  assert_false(race_repeats(&r));
}

static void a_clock_that_stands_is_an_error(void **unused)
{
  struct race r;

  (void)unused;
  assert_ok(race_make(&r, &race_rule_default, 2, 1));
  assert_fails(DD_DEVICE, "clock", race_sample(&r, 0, 0, 10));
  assert_fails(DD_DEVICE, "clock", race_sample(&r, 0, 5, 0));
  assert_fails(DD_DEVICE, "clock", race_sample(&r, 0, NAN, 10));
  race_release(&r);
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
    for (int i = 0; i < 40 && !status; ++i)
      status = race_sample(&r, i % 3, 1, 1);
    race_release(&r);
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
      cmocka_unit_test(agrees_with_itself),
      cmocka_unit_test(the_incumbent_stays),
      cmocka_unit_test(an_incumbent_that_is_slower_goes),
      cmocka_unit_test(an_incumbent_stays_before_another_as_slow),
      cmocka_unit_test(claims_no_gap_between_equals),
      cmocka_unit_test(preference_decides_ties_alone),
      cmocka_unit_test(never_drops_on_one_sample),
      cmocka_unit_test(keeps_what_must_be_kept),
      cmocka_unit_test(scores_are_fresh),
      cmocka_unit_test(the_final_spares_the_slow),
      cmocka_unit_test(fewer_rounds_are_compared_as_far_as_they_go),
      cmocka_unit_test(the_final_goes_on_while_the_twin_is_apart),
      cmocka_unit_test(a_slow_load_does_not_cost_the_incumbent_its_place),
      cmocka_unit_test(a_block_is_calm_or_not),
      cmocka_unit_test(rounds_are_not_repeated_for_ever),
      cmocka_unit_test(a_clock_that_stands_is_an_error),
      cmocka_unit_test(order_follows_the_seed),
      cmocka_unit_test(memory_fails_cleanly),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
