/*
 * test_weigh.c - what a database says before a sweep: what is left to gain of a
 * problem, and who has won it.
 */
#include "test.h"

#include <math.h>

#include "db_fixture.h"
#include "incumbent.h"
#include "weigh.h"

enum { STORED = 3, COUNT = 4 }; /* of tokens=1 to 4 the last is not there */

static struct world world;
static struct db *db;

/* Problem i has a best of 3 + i us in the newest race, and a copy of 2.5. */
static int open_world(void **state)
{
  (void)state;
  world_init(&world);
  assert_ok(db_open(world.path, DB_WRITE, &db));
  store(db, &world, STORED);
  return 0;
}

static int close_world(void **state)
{
  (void)state;
  db_close(db);
  world_release(&world);
  return 0;
}

/* ---- What is left to gain ------------------------------------------------ */

static void weigh(const struct device_info *info, const char *policy,
                  double weight[COUNT])
{
  struct problem p[COUNT];
  struct weighed w[COUNT];

  for (int i = 0; i < COUNT; ++i) {
    p[i] = demo_problem(&world, i + 1);
    w[i] = (struct weighed){&p[i], 2};
  }
  assert_ok(weigh_gaps(db, &world.ops, info, policy, w, COUNT));
  for (int i = 0; i < COUNT; ++i) weight[i] = w[i].weight;
}

static void a_gap_is_what_the_best_takes_beyond_a_copy(void **state)
{
  struct device_info info = demo_device();
  double weight[COUNT];

  (void)state;
  weigh(&info, "cold graph", weight);
  for (int i = 0; i < STORED; ++i)
    assert_true(fabs(weight[i] - 2 * sqrt(1 - 2.5 / (3 + i))) < 1e-9);
  assert_true(weight[STORED] == 2);
}

static void other_devices_and_policies_say_nothing(void **state)
{
  struct device_info others[] = {demo_device(), demo_device(), demo_device()};
  struct device_info info = demo_device();
  double weight[COUNT];

  (void)state;
  snprintf(others[0].name, sizeof others[0].name, "NVIDIA H20");
  others[1].sms = 78;
  others[2].arch = 100;
  for (size_t k = 0; k < COUNT_OF(others); ++k) {
    weigh(&others[k], "cold graph", weight);
    for (int i = 0; i < COUNT; ++i) assert_true(weight[i] == 2);
  }
  weigh(&info, "warm graph", weight);
  for (int i = 0; i < COUNT; ++i) assert_true(weight[i] == 2);
}

static void the_heaviest_comes_first_and_equals_stay(void **state)
{
  struct problem p[COUNT];
  struct weighed w[COUNT] = {{p, 1}, {p + 1, 3}, {p + 2, 1}, {p + 3, 2}};

  (void)state;
  weigh_sort(w, COUNT);
  assert_ptr_equal(w[0].problem, p + 1);
  assert_ptr_equal(w[1].problem, p + 3);
  assert_ptr_equal(w[2].problem, p);
  assert_ptr_equal(w[3].problem, p + 2);
}

/* ---- Who has won --------------------------------------------------------- */

static void load(struct sweep *s, struct outcome *outcomes, bool incumbent,
                 const char *policy)
{
  static char spelling[COUNT][80];
  static struct recorder recorder;
  static struct client client;

  recorder.db = db;
  client.info = demo_device();
  memset(outcomes, 0, COUNT * sizeof *outcomes);
  for (int i = 0; i < COUNT; ++i) {
    snprintf(spelling[i], sizeof spelling[i], "demo:bf16 tokens=%d width=128",
             i + 1);
    outcomes[i].spelling = spelling[i];
  }
  *s = (struct sweep){.outcomes = outcomes, .count = COUNT, .client = &client,
                      .recorder = &recorder};
  s->options.incumbent = incumbent;
  s->options.policy = policy;
  assert_ok(incumbent_load(s));
}

static void the_incumbent_is_the_newest_races_winner(void **state)
{
  struct outcome outcomes[COUNT];
  struct sweep s;

  (void)state;
  load(&s, outcomes, true, "cold graph");
  for (int i = 0; i < STORED; ++i) {
    struct variant v = demo_variant(&world, i);
    assert_int_equal(outcomes[i].incumbent.step_count, 1);
    assert_false(outcomes[i].incumbent.split);
    assert_true(hash_equal(&outcomes[i].incumbent.steps[0], &v.hash));
  }
  assert_int_equal(outcomes[STORED].incumbent.step_count, 0);
}

static void without_the_option_or_the_policy_there_is_none(void **state)
{
  struct outcome outcomes[COUNT];
  struct sweep s;

  (void)state;
  load(&s, outcomes, false, "cold graph");
  for (int i = 0; i < COUNT; ++i)
    assert_int_equal(outcomes[i].incumbent.step_count, 0);
  load(&s, outcomes, true, "warm graph");
  for (int i = 0; i < COUNT; ++i)
    assert_int_equal(outcomes[i].incumbent.step_count, 0);
}

#define IN_WORLD(test)                                                         \
  cmocka_unit_test_setup_teardown(test, open_world, close_world)

int main(void)
{
  const struct CMUnitTest tests[] = {
      IN_WORLD(a_gap_is_what_the_best_takes_beyond_a_copy),
      IN_WORLD(other_devices_and_policies_say_nothing),
      cmocka_unit_test(the_heaviest_comes_first_and_equals_stay),
      IN_WORLD(the_incumbent_is_the_newest_races_winner),
      IN_WORLD(without_the_option_or_the_policy_there_is_none),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
