/*
 * test_replay.c - recorded races run again: true winners win, better rules are
 * seen to be better, and a seed says it all.
 */
#include "test.h"

#include "db_fixture.h"
#include "replay.h"
#include "simulation.h"

enum { CANDIDATES = 40, ROUNDS = 24, TIMES = 50 };

static double ratios[CANDIDATES][ROUNDS];
static struct replay_candidate candidates[CANDIDATES];

/* A race in which each candidate is `gap` slower than the one before. */
static struct replay_race recorded(double gap, double noise)
{
  struct machine m = {.random = 5, .noise = noise};
  struct replay_race r = {.candidates = candidates, .count = CANDIDATES};

  for (int i = 0; i < CANDIDATES; ++i) {
    struct summary s;
    for (int j = 0; j < ROUNDS; ++j)
      ratios[i][j] = time_of(&m, 1.1 * (1 + gap * i));
    summarise(ratios[i], ROUNDS, &s);
    candidates[i] = (struct replay_candidate){
        .label = "a", .ratio = ratios[i], .count = ROUNDS, .final = true,
        .preferred = CANDIDATES - i, .truth = s.median};
    if (i == 0 || s.median < r.best) r.best = s.median;
  }
  return r;
}

static void the_fastest_wins(void **unused)
{
  struct replay_race r = recorded(0.02, 0.004);
  struct replay_result result[TIMES];

  (void)unused;
  assert_ok(replay_run(&r, &race_rule_default, 1, TIMES, result));
  for (int i = 0; i < TIMES; ++i) {
    assert_int_equal(result[i].winner, 0);
    assert_true(result[i].recorded && result[i].tied && !result[i].false_twin);
    assert_true(result[i].regret == 0);
    assert_true(result[i].timings >= 2 * CANDIDATES + 24);
  }
}

/* Without a gap preference decides, whatever is drawn. */
static void equals_follow_preference(void **unused)
{
  struct replay_race r = recorded(0, 0.001);
  struct replay_result result[TIMES];

  (void)unused;
  assert_ok(replay_run(&r, &race_rule_default, 1, TIMES, result));
  for (int i = 0; i < TIMES; ++i) {
    assert_int_equal(result[i].winner, CANDIDATES - 1);
    assert_true(result[i].tied && !result[i].recorded);
    assert_true(result[i].regret < 0.002);
  }
}

static long timings(const struct replay_result *result)
{
  long sum = 0;

  for (int i = 0; i < TIMES; ++i) sum += result[i].timings;
  return sum;
}

static void rules_can_be_compared(void **unused)
{
  struct replay_race r = recorded(0.002, 0.01);
  struct replay_result usual[TIMES], again[TIMES], hasty[TIMES];
  struct race_rule rule = race_rule_default;

  (void)unused;
  rule.screen_rounds = 2;
  rule.final_rounds = 3;
  assert_ok(replay_run(&r, &race_rule_default, 1, TIMES, usual));
  assert_ok(replay_run(&r, &race_rule_default, 1, TIMES, again));
  assert_ok(replay_run(&r, &rule, 1, TIMES, hasty));
  for (int i = 0; i < TIMES; ++i) {
    assert_int_equal(usual[i].winner, again[i].winner);
    assert_int_equal(usual[i].timings, again[i].timings);
    assert_true(usual[i].regret == again[i].regret);
  }
  assert_true(timings(hasty) < timings(usual) / 2);
}

/* The original may be dropped before the twin is: what both ran tells. */
static void a_twin_needs_its_original(void **unused)
{
  struct replay_race r = recorded(0, 0.05);
  struct replay_result result[TIMES];
  struct race_rule rule = race_rule_default;

  (void)unused;
  rule.floor = 0;
  rule.error = 1000; /* whoever is behind by one deviation is out */
  for (rule.final_look = 1; rule.final_look < rule.final_rounds;
       rule.final_look++) {
    assert_ok(replay_run(&r, &rule, 1, TIMES, result));
    for (int i = 0; i < TIMES; ++i) assert_true(result[i].timings > 0);
  }
}

/* Only what has a standing; the others' ratios are not known. */
static void a_database_is_read(void **unused)
{
  struct ids ids = {0};
  struct replay replay;
  struct world w;
  struct db *db;
  int64_t id;

  (void)unused;
  world_init(&w);
  assert_ok(db_open(w.path, DB_WRITE, &db));
  store(db, &w, 3);
  assert_ok(try_ids(db, &w, 0, &ids));
  assert_ok(try_race(db, &ids, ids.candidate, 3, &id));
  assert_ok(replay_load(db, &replay));
  assert_int_equal(replay.count, 3);
  assert_int_equal(replay.most, 2);
  for (int i = 0; i < 3; ++i) {
    const struct replay_race *r = &replay.races[i];
    assert_int_equal(r->count, 2);
    assert_string_equal(r->policy, "cold graph");
    assert_true(r->best == 1.5 && r->candidates[0].truth == 1.5);
    assert_true(!r->candidates[0].split && r->candidates[1].split);
    assert_int_equal(r->candidates[0].count, 5);
    assert_int_equal(r->candidates[0].preferred, 0); /* one launch, not two */
  }
  replay_release(&replay);
  db_close(db);
  world_release(&w);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_fastest_wins),
      cmocka_unit_test(equals_follow_preference),
      cmocka_unit_test(rules_can_be_compared),
      cmocka_unit_test(a_twin_needs_its_original),
      cmocka_unit_test(a_database_is_read),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
