/*
 * test_bench.c - how many launches a timing has, on a device that only counts.
 */
#include "test.h"

#include "bench.h"

static struct {
  int records, runs;
  size_t launches; /* of the last recording */
} counted;

static dd_status record(struct device *d, const struct launch *l, size_t count,
                        struct recording **out)
{
  (void)d, (void)l;
  counted.records++;
  counted.launches = count;
  *out = (struct recording *)&counted;
  return DD_OK;
}

static double copy_us; /* how long each launch takes */

static dd_status record_time(struct device *d, struct recording *r, double *us)
{
  (void)d, (void)r;
  counted.runs++;
  *us = copy_us * (double)counted.launches;
  return DD_OK;
}

static void record_free(struct device *d, struct recording *r)
{
  (void)d, (void)r;
  counted.records--;
}

static const struct device_api counter = {
    .kind = "cuda", .record = record, .record_time = record_time,
    .record_free = record_free};
static struct device gpu = {&counter, {.kind = "cuda"}};
static struct device cpu = {&counter, {.kind = "cpu"}};
static const struct tools tools;

static struct bench bench_of(struct device *d, uint32_t sets, size_t bytes)
{
  memset(&counted, 0, sizeof counted);
  return (struct bench){.device = d, .tools = &tools, .sets = sets,
                        .copy_bytes = bytes};
}

/* ---- Tests ------------------------------------------------------------- */

static void a_replay_is_whole_turns(void **state)
{
  static const struct {
    uint32_t sets;
    double us, replay_us;
    uint32_t launches;
  } cases[] = {
      {64, 3, 100, 64},   /* one turn takes more */
      {64, 1, 100, 128},  /* 1.6 turns */
      {64, 1, 90, 64},    /* 1.4 */
      {10, 10, 300, 30},
      {3, 40, 300, 9},    /* 2.5 */
      {1, 60, 300, 5},
      {1, 0, 300, 512},   /* no time: as many as there may be */
      {1, 0.1, 300, 512},
      {2, 99, 300, 4},
      {2, 100, 300, 2},   /* one launch is enough, of each set */
      {1, 900, 300, 1},
  };

  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); ++i) {
    struct bench b = bench_of(&gpu, cases[i].sets, 1 << 20);
    assert_int_equal(bench_launches(&b, cases[i].us, cases[i].replay_us),
                     cases[i].launches);
    b.device = &cpu;
    assert_int_equal(bench_launches(&b, cases[i].us, cases[i].replay_us), 1);
  }
}

static void only_short_launches_are_run_untimed(void **state)
{
  struct bench b = bench_of(&gpu, 5, 30 << 20);
  struct timing t;

  (void)state;
  assert_ok(bench_record(&b, NULL, 10, true, &t));
  assert_int_equal(counted.launches, 10);
  assert_int_equal(counted.runs, 1);
  bench_forget(&b, &t);
  assert_ok(bench_record(&b, NULL, 10, false, &t));
  assert_int_equal(counted.runs, 1);
  assert_ok(bench_time(&b, &t));
  assert_int_equal(counted.runs, 2);
  bench_forget(&b, &t);
  assert_int_equal(counted.records, 0);
}

/* Three kernels, each run once and timed thrice. */
static void choosing_the_copy_costs_little(void **state)
{
  static const struct {
    uint32_t sets;
    size_t bytes;
    double us;
    size_t launches;
    bool lengthy;
  } cases[] = {
      {64, 1 << 20, 2, 64, false},
      {2, 100 << 20, 60, 4, false},
      {1, 200 << 20, 99, 1, false},
      {1, 400 << 20, 200, 1, true},
  };

  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); ++i) {
    struct bench b = bench_of(&gpu, cases[i].sets, cases[i].bytes);
    double us;
    copy_us = cases[i].us;
    assert_ok(bench_choose_copy(&b, &us));
    assert_true(us == copy_us);
    assert_int_equal(counted.launches, cases[i].launches);
    assert_int_equal(counted.runs, 4 * COPY_KINDS);
    assert_int_equal(counted.records, 0);
    assert_int_equal(b.lengthy, cases[i].lengthy);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_replay_is_whole_turns),
      cmocka_unit_test(only_short_launches_are_run_untimed),
      cmocka_unit_test(choosing_the_copy_costs_little),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
