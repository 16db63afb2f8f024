/*
 * test_bench.c - how many launches a timing has and what is enqueued when, on a
 * device that only counts.
 */
#include "test.h"

#include "bench.h"

static struct {
  int records, runs, waits;
  size_t launches; /* of the last recording */
  char log[256];   /* a letter for each call; in lower case: a note */
} counted;

static void put_letter(int letter)
{
  size_t n = strlen(counted.log);

  assert_true(n + 1 < sizeof counted.log);
  counted.log[n] = (char)letter;
}

/* Where the last launch of the last recording copies, and how much. */
static struct {
  char *data;
  int64_t vectors;
} copied;

static dd_status record(struct device *d, const struct launch *l, size_t count,
                        struct recording **out)
{
  (void)d;
  memcpy(&copied, l[count - 1].args, sizeof copied);
  counted.records++;
  counted.launches = count;
  *out = (struct recording *)&counted;
  return DD_OK;
}

static double copy_us; /* how long each launch takes */

static dd_status record_start(struct device *d, struct recording *r,
                              uint32_t slot)
{
  (void)d, (void)r;
  assert_true(slot < RUN_SLOTS);
  counted.runs++;
  put_letter(slot == RUN_SLOTS - 1 ? 'L' : 'S');
  return DD_OK;
}

static dd_status record_wait(struct device *d, uint32_t slot, double *us)
{
  (void)d;
  assert_true(slot < RUN_SLOTS - 1); /* that one is not timed */
  counted.waits++;
  put_letter('W');
  *us = copy_us * (double)counted.launches * (slot < BENCH_MOST ? slot + 1 : 1);
  return DD_OK;
}

static void record_free(struct device *d, struct recording *r)
{
  (void)d, (void)r;
  counted.records--;
}

static const struct device_api counter = {
    .kind = "cuda", .record = record, .record_start = record_start,
    .record_wait = record_wait, .record_free = record_free};
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

static void a_recording_may_be_run_untimed(void **state)
{
  struct bench b = bench_of(&gpu, 5, 30 << 20);
  struct timing t;

  (void)state;
  assert_ok(bench_record(&b, NULL, 10, 0, true, &t));
  assert_int_equal(counted.launches, 10);
  assert_int_equal(counted.runs, 1);
  assert_int_equal(counted.waits, 0);
  bench_forget(&b, &t);
  assert_ok(bench_record(&b, NULL, 10, 0, false, &t));
  assert_int_equal(counted.runs, 1);
  assert_ok(bench_time(&b, &t));
  assert_int_equal(counted.runs, 2);
  bench_forget(&b, &t);
  assert_int_equal(counted.records, 0);
}

/* Half of the sets, once a turn over them takes long enough. */
static void a_short_replay_is_half_a_turn(void **state)
{
  static const struct {
    uint32_t sets;
    double us;
    uint32_t launches;
  } cases[] = {
      {64, 1, 32}, {64, 0.9, 128}, {2, 120, 1}, {2, 29, 4}, {1, 500, 1},
      {4, 25, 2},
  };

  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); ++i) {
    struct bench b = bench_of(&gpu, cases[i].sets, 1 << 20);
    double us;
    copy_us = cases[i].us;
    assert_ok(bench_choose_copy(&b, &us));
    assert_int_equal(b.halved, cases[i].launches < cases[i].sets);
    assert_int_equal(bench_short_launches(&b, 100), cases[i].launches);
    b.careful = true;
    assert_ok(bench_choose_copy(&b, &us));
    assert_int_equal(bench_short_launches(&b, 100),
                     bench_launches(&b, copy_us, 100));
  }
}

static void the_second_half_begins_in_the_middle(void **state)
{
  struct bench b = bench_of(&gpu, 6, 1 << 20);
  struct timing t;

  (void)state;
  for (int i = 0; i < 6; ++i) b.set[i].copy = (char *)(uintptr_t)(i + 1);
  assert_ok(bench_record(&b, NULL, 3, 0, false, &t));
  assert_int_equal((uintptr_t)copied.data, 3);
  bench_forget(&b, &t);
  assert_ok(bench_record(&b, NULL, 3, 1, false, &t));
  assert_int_equal((uintptr_t)copied.data, 6);
  bench_forget(&b, &t);
}

/* Each once, and no two of one half after each other. */
static void halves_take_turns(void **state)
{
  enum { COUNT = 9 };
  static const int live[COUNT] = {7, 0, 5, 2, 8, 1, 3, 6, 4};

  (void)state;
  for (unsigned halves = 0; halves < 1 << COUNT; ++halves) {
    struct bench b = {.halved = true};
    int half[COUNT], order[2 * COUNT], seen[COUNT] = {0}, n, found = 0;
    for (int i = 0; i < COUNT; ++i) half[i] = halves >> i & 1;
    n = bench_turns(&b, half, live, COUNT, order);
    assert_true(n <= 2 * COUNT && order[n - 1] != BENCH_NOBODY);
    for (int i = 0; i < n; ++i) {
      if (order[i] == BENCH_NOBODY) continue;
      assert_int_equal(half[order[i]], i % 2);
      assert_int_equal(seen[order[i]]++, 0);
      found++;
    }
    assert_int_equal(found, COUNT);
    b.halved = false;
    assert_int_equal(bench_turns(&b, half, live, COUNT, order), COUNT);
    assert_memory_equal(order, live, sizeof live);
  }
}

/* Three kernels, each run once and timed thrice. */
static void choosing_the_copy_costs_little(void **state)
{
  static const struct {
    uint32_t sets;
    size_t bytes;
    double us;
    size_t launches;
  } cases[] = {
      {64, 1 << 20, 2, 64},
      {2, 100 << 20, 60, 4},
      {1, 200 << 20, 99, 1},
      {1, 400 << 20, 200, 1},
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
  }
}

static dd_status write_note(void *user, int i)
{
  assert_ptr_equal(user, &counted);
  put_letter('a' + i);
  return DD_OK;
}

static dd_status be_beside(void *user)
{
  assert_ptr_equal(user, &counted);
  put_letter('+');
  return DD_OK;
}

static const struct bench_hooks hooks = {write_note, be_beside, &counted};

/* All are on the device before anybody is waited for, behind some work that is
 * nobody's; and what is said last before a wait is whom it is for. */
static void several_are_enqueued_at_once(void **state)
{
  struct bench b = bench_of(&gpu, 1, 1 << 20);
  struct timing t[3], *list[3] = {&t[0], &t[1], &t[2]};
  double us[3];

  (void)state;
  for (int i = 0; i < 3; ++i)
    assert_ok(bench_record(&b, NULL, 5, 0, false, &t[i]));
  copy_us = 2;
  b.copy_us = 2;
  for (int turn = 0; turn < 2; ++turn) {
    memset(counted.log, 0, sizeof counted.log);
    assert_ok(bench_time_all(&b, list, 3, &hooks, us));
    assert_string_equal(counted.log, "LaSbScS+aWbWcW");
  }
  assert_int_equal(counted.launches, 16); /* the lead's, of 30 us */
  for (int i = 0; i < 3; ++i)
    assert_true(us[i] == 2.0 * 16 * (i + 1) / 5 && us[i] == t[i].us);
  for (int i = 0; i < 3; ++i) bench_forget(&b, &t[i]);
  bench_release(&b);
  assert_int_equal(counted.records, 0);
}

/* What is not timed copies the end of the last set, where the reference comes
 * last, and a little of it alone. */
static void the_lead_warms_nothing(void **state)
{
  static const struct {
    size_t bytes;
    double us;
    size_t launches, copied;
  } cases[] = {{1 << 20, 2, 16, 1 << 20}, {160 << 20, 60, 6, 16 << 20}};
  const uintptr_t at[2] = {1 << 12, 1 << 30};

  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); ++i) {
    struct bench b = bench_of(&gpu, 2, cases[i].bytes);
    struct timing t, *list[1] = {&t};
    double us;
    b.copy_us = cases[i].us;
    for (int k = 0; k < 2; ++k) b.set[k].copy = (char *)at[k];
    assert_ok(bench_record(&b, NULL, 2, 0, false, &t));
    assert_ok(bench_time_all(&b, list, 1, &hooks, &us));
    assert_int_equal(counted.launches, cases[i].launches);
    assert_int_equal(copied.vectors * 16, cases[i].copied);
    assert_int_equal((uintptr_t)copied.data,
                     at[1] + cases[i].bytes - cases[i].copied);
    bench_forget(&b, &t);
    bench_release(&b);
    assert_int_equal(counted.records, 0);
  }
}

/* Then whoever fails is the one that was named last. */
static void a_careful_bench_waits_for_each(void **state)
{
  struct bench b = bench_of(&gpu, 1, 1 << 20);
  struct timing t[2], *list[2] = {&t[0], &t[1]};
  double us[2];

  (void)state;
  b.careful = true;
  assert_ok(bench_record(&b, NULL, 5, 0, true, &t[0]));
  assert_ok(bench_record(&b, NULL, 5, 0, false, &t[1]));
  assert_string_equal(counted.log, "SW");
  memset(counted.log, 0, sizeof counted.log);
  assert_ok(bench_time_all(&b, list, 2, &hooks, us));
  assert_string_equal(counted.log, "aS+aWbSbW");
  for (int i = 0; i < 2; ++i) bench_forget(&b, &t[i]);
  assert_int_equal(counted.records, 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_replay_is_whole_turns),
      cmocka_unit_test(a_recording_may_be_run_untimed),
      cmocka_unit_test(a_short_replay_is_half_a_turn),
      cmocka_unit_test(the_second_half_begins_in_the_middle),
      cmocka_unit_test(halves_take_turns),
      cmocka_unit_test(choosing_the_copy_costs_little),
      cmocka_unit_test(several_are_enqueued_at_once),
      cmocka_unit_test(the_lead_warms_nothing),
      cmocka_unit_test(a_careful_bench_waits_for_each),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
