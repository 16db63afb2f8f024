/* test_interval.c - which winners serve which runs of sizes. */
#include "test.h"

#include "interval.h"
#include "tiny.h"

enum { SIZES = 8, CHOICES = 4 };

struct line {
  struct tiny tiny;
  struct arena arena;
  struct table_plan plans[SIZES];
  int64_t candidates[SIZES];
  double split_low_us[SIZES];
  struct raced races[SIZES * CHOICES];
  struct interval_job job;
};

static void line_init(struct line *l)
{
  memset(l, 0, sizeof *l);
  tiny_init(&l->tiny);
  arena_init(&l->arena, NULL);
  l->job = (struct interval_job){.arena = &l->arena,
                                 .loss = 0.02,
                                 .margin = 0.01,
                                 .plans = l->plans,
                                 .candidates = l->candidates,
                                 .split_low_us = l->split_low_us,
                                 .races = l->races};
}

static void line_release(struct line *l)
{
  arena_release(&l->arena);
  tiny_release(&l->tiny);
}

/* The next problem: the times of candidates 0, 1, ... (0: it did not race), the
 * fastest of which is its plan. */
static void add(struct line *l, const char *spelling, uint32_t count,
                const double *us)
{
  uint32_t n = l->job.plan_count++, best = 0;
  struct table_plan *p = &l->plans[n];

  assert_true(n < SIZES && count <= CHOICES);
  assert_ok(problem_parse(&l->tiny.ops, spelling, &p->problem));
  for (uint32_t i = 0; i < count; ++i) {
    if (!(us[i] > 0)) continue;
    if (!(us[best] > 0) || us[i] < us[best]) best = i;
    l->races[l->job.race_count++] = (struct raced){n, i, us[i], us[i]};
  }
  l->candidates[n] = best;
  p->step_count = 1;
  p->steps[0] = best;
  p->us = us[best];
}

#define ADD(l, spelling, ...)                                                  \
  add(l, "affine:fp32 " spelling,                                              \
      sizeof((double[]){__VA_ARGS__}) / sizeof(double),                        \
      (double[]){__VA_ARGS__})

static void has(const struct table_plan *p, int64_t last, uint32_t sizes,
                uint32_t choice)
{
  assert_int_equal(p->interval_count, 1);
  assert_int_equal(p->intervals[0].last, last);
  assert_int_equal(p->intervals[0].sizes, sizes);
  assert_int_equal(p->intervals[0].steps[0], choice);
}

static void test_two_choices(void **state)
{
  struct line l;

  (void)state;
  line_init(&l);
  ADD(&l, "rows=8 width=64", 1.0, 2.0);
  ADD(&l, "rows=16 width=64", 2.02, 2.0); /* 1 % behind: good enough */
  ADD(&l, "rows=64 width=64", 4.0, 2.0);
  ADD(&l, "rows=512 width=64", 0, 5.0);
  assert_ok(intervals_find(&l.job));
  assert_int_equal(l.job.interval_count, 2);
  has(&l.plans[0], 16, 2, 0);
  assert_true(l.plans[0].intervals[0].loss > 0.0099 &&
              l.plans[0].intervals[0].loss < 0.0101);
  has(&l.plans[1], 512, 3, 1); /* grown to the left: nothing is between */
  assert_true(l.plans[1].intervals[0].loss == 0);
  /* Next to its own problem: 1 % behind, as fast, and 100 % behind. */
  assert_true(l.plans[0].away > 0.99 && l.plans[0].away < 0.9902);
  assert_true(l.plans[1].away == 0.5);
  assert_true(l.plans[2].away == 1 && l.plans[3].away == 1);
  line_release(&l);
}

/* Between sizes that nothing serves together the boundary is where both choices
 * would take as long; where one did not race at both ends there is none. */
static void test_gaps(void **state)
{
  const struct table_interval *v;
  struct line l;

  (void)state;
  line_init(&l);
  ADD(&l, "rows=8 width=64", 1.0, 1.03);
  ADD(&l, "rows=16 width=64", 1.03, 1.0);
  ADD(&l, "rows=64 width=64", 1.0, 0);
  assert_ok(intervals_find(&l.job));
  assert_int_equal(l.job.interval_count, 2);
  has(&l.plans[0], 11, 1, 0); /* 8 and 16 times the root of 2 */
  has(&l.plans[1], 16, 1, 1);
  v = &l.plans[1].intervals[0];
  assert_int_equal(v->first, 12);
  assert_true(v->loss > 0.0148 && v->loss < 0.0149); /* half of 3 % */
  assert_true(l.plans[0].intervals[0].loss == v->loss);
  assert_int_equal(l.plans[2].interval_count, 0);
  assert_true(l.plans[2].away < 0.98); /* and not 0: it raced there */
  l.job.loss = 0.04;
  assert_ok(intervals_find(&l.job));
  has(&l.plans[0], 64, 3, 0);
  line_release(&l);
}

/* The boundary is nearer to the choice that loses more. */
static void test_boundary(void **state)
{
  struct line l;

  (void)state;
  line_init(&l);
  ADD(&l, "rows=1 width=64", 1.0, 1.1);
  ADD(&l, "rows=1024 width=64", 1.331, 1.0); /* 1.1 ^ 3 */
  assert_ok(intervals_find(&l.job));
  has(&l.plans[0], 5, 1, 0); /* 2 ^ (10 / 4) */
  has(&l.plans[1], 1024, 1, 1);
  l.split_low_us[1] = 1.334; /* the first hardly gains at the other end */
  assert_ok(intervals_find(&l.job));
  assert_int_equal(l.job.interval_count, 0);
  line_release(&l);
}

/* What else a problem says must be the same, but for what follows the size. */
static void test_lines(void **state)
{
  struct line l;

  (void)state;
  line_init(&l);
  ADD(&l, "rows=8 width=64", 1.0);
  ADD(&l, "rows=16 width=63", 1.0);
  ADD(&l, "rows=16 width=64 mode=twice", 1.0);
  ADD(&l, "rows=16 width=64 x_stride=80", 1.0);
  ADD(&l, "rows=32 width=64 align=4", 1.0);
  ADD(&l, "rows=32 width=64", 1.0);
  assert_ok(intervals_find(&l.job));
  assert_int_equal(l.job.interval_count, 2);
  has(&l.plans[0], 32, 2, 0);
  has(&l.plans[4], 16, 2, 0); /* align 4 to 16 */
  line_release(&l);
}

/* Fused, and hardly faster than the split form at one size: not there. */
static void test_never_slower(void **state)
{
  struct line l;

  (void)state;
  line_init(&l);
  ADD(&l, "rows=8 width=64", 1.0);
  ADD(&l, "rows=16 width=64", 1.0);
  ADD(&l, "rows=64 width=64", 1.0);
  l.split_low_us[0] = 1.5;
  l.split_low_us[1] = 1.25;
  l.split_low_us[2] = 1.009;
  assert_ok(intervals_find(&l.job));
  has(&l.plans[0], 16, 2, 0);
  assert_true(l.plans[0].intervals[0].gain == 0.25);
  for (int i = 0; i < 3; ++i) l.plans[i].split = true;
  assert_ok(intervals_find(&l.job));
  has(&l.plans[0], 64, 3, 0);
  for (int i = 0; i < 3; ++i) l.plans[i].split = false;
  l.races[1].high_us = 1.24; /* the bound counts, not the median */
  assert_ok(intervals_find(&l.job));
  assert_int_equal(l.job.interval_count, 0);
  line_release(&l);
}

/* ---- The fewest --------------------------------------------------------- */

static uint32_t draw(uint64_t *seed, uint32_t below)
{
  *seed = *seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(*seed >> 33) % below;
}

/* Whether some winner of the line serves all of first..last. */
static bool can(const double us[SIZES][CHOICES], const struct line *l,
                int first, int last)
{
  for (int c = 0; c < SIZES; ++c) {
    bool all = true;
    for (int i = first; i <= last; ++i)
      all &= us[i][l->candidates[c]] <= 1.02 * l->plans[i].us;
    if (all) return true;
  }
  return false;
}

/* By trying every cut. */
static int fewest(const double us[SIZES][CHOICES], const struct line *l)
{
  int best[SIZES + 1] = {0};

  for (int end = 1; end <= SIZES; ++end) {
    best[end] = best[end - 1] + 1;
    for (int begin = 0; begin < end; ++begin)
      if (can(us, l, begin, end - 1) && best[begin] + 1 < best[end])
        best[end] = best[begin] + 1;
  }
  return best[SIZES];
}

/* Above the bound nothing is known but by what is between the ends. */
static bool is_bridge(const struct table_interval *v)
{
  return v->sizes == 1;
}

static void check_interval(const double us[SIZES][CHOICES],
                           const struct line *l, int at,
                           const struct table_interval *v, bool *covered)
{
  uint32_t sizes = 0;

  for (int i = at; i < SIZES; ++i) {
    double loss = us[i][v->steps[0]] / l->plans[i].us - 1;
    if (problem_get(&l->plans[i].problem, "rows") > v->last) break;
    assert_true(loss <= 0.02 && loss <= v->loss);
    covered[i] = true;
    sizes++;
  }
  assert_int_equal(sizes, v->sizes);
}

/* It stays between its plan's size and the next, which it does not reach. */
static void check_bridge(const struct line *l, int at,
                         const struct table_interval *v)
{
  int64_t size = problem_get(&l->plans[at].problem, "rows");

  assert_true(v->first < v->last && (v->first == size || v->last == size));
  assert_true(v->first > size / 2 && v->last < 2 * size);
  assert_true(v->loss > 0 && v->loss < 0.5);
}

static void test_fewest(void **state)
{
  uint64_t seed = 1;

  (void)state;
  for (int round = 0; round < 300; ++round) {
    double us[SIZES][CHOICES];
    bool covered[SIZES] = {false};
    struct line l;
    int runs;
    line_init(&l);
    for (int i = 0; i < SIZES; ++i) {
      char spelling[64];
      for (int c = 0; c < CHOICES; ++c)
        us[i][c] = draw(&seed, 3) ? 1 + draw(&seed, 20) / 1000.0 : 1.5;
      snprintf(spelling, sizeof spelling, "affine:fp32 rows=%d width=64",
               8 << i);
      add(&l, spelling, CHOICES, us[i]);
    }
    assert_ok(intervals_find(&l.job));
    runs = 0;
    for (int i = 0; i < SIZES; ++i)
      for (uint32_t j = 0; j < l.plans[i].interval_count; ++j) {
        const struct table_interval *v = &l.plans[i].intervals[j];
        if (is_bridge(v)) check_bridge(&l, i, v);
        else check_interval(us, &l, i, v, covered);
        runs += !is_bridge(v);
      }
    for (int i = 0; i < SIZES; ++i) runs += !covered[i];
    assert_int_equal(runs, fewest(us, &l));
    line_release(&l);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_two_choices),  cmocka_unit_test(test_gaps),
      cmocka_unit_test(test_lines),        cmocka_unit_test(test_never_slower),
      cmocka_unit_test(test_boundary),     cmocka_unit_test(test_fewest),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
