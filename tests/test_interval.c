/* test_interval.c - which winners serve which runs of sizes. */
#include "test.h"

#include <math.h>

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
                                 .loss = 0.005,
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

/* Half a percent more than the best of a gap is good enough, and makes one run. */
static void test_two_choices(void **state)
{
  struct line l;

  (void)state;
  line_init(&l);
  ADD(&l, "rows=8 width=64", 1.0, 2.0);
  ADD(&l, "rows=16 width=64", 2.0, 2.008);
  ADD(&l, "rows=32 width=64", 3.0, 2.995);
  ADD(&l, "rows=64 width=64", 4.0, 2.0);
  ADD(&l, "rows=512 width=64", 0, 5.0);
  assert_ok(intervals_find(&l.job));
  assert_int_equal(l.job.interval_count, 2);
  has(&l.plans[0], 32, 3, 0);
  has(&l.plans[2], 512, 3, 1);
  /* Next to its own problem: as fast nearly, and 100 % behind. */
  assert_true(l.plans[0].away == 1);
  assert_true(l.plans[3].away > 0.99 && l.plans[4].away == 1);
  line_release(&l);
}

/* The mean of what was lost around, by the square of one over the distance: the
 * ends are half an octave from the middle of their gap, those beside one and a half. */
static void test_expected_loss(void **state)
{
  struct line l;
  double want;

  (void)state;
  line_init(&l);
  ADD(&l, "rows=8 width=64", 1.0, 1.2);
  ADD(&l, "rows=16 width=64", 1.0, 1.2);
  ADD(&l, "rows=32 width=64", 1.1, 1.0);
  ADD(&l, "rows=64 width=64", 1.3, 1.0);
  l.job.loss = 0;
  assert_ok(intervals_find(&l.job));
  assert_int_equal(l.job.interval_count, 2);
  has(&l.plans[0], 32, 3, 0); /* from 16 to 32 by its loss alone */
  want = exp((9 * log(1.1) + log(1.3)) / 20) - 1;
  assert_true(fabs(l.plans[0].intervals[0].loss - want) < 1e-9);
  has(&l.plans[2], 64, 2, 1);
  want = exp(log(1.2) / 19) - 1; /* at 16; 8 is too far away */
  assert_true(fabs(l.plans[2].intervals[0].loss - want) < 1e-9);
  line_release(&l);
}

/* Who wins neither end may be the best for the gap; who did not race at both ends
 * is not for it. */
static void test_third_choice(void **state)
{
  struct line l;

  (void)state;
  line_init(&l);
  ADD(&l, "rows=8 width=64", 1.0, 1.3, 1.01);
  ADD(&l, "rows=16 width=64", 1.3, 1.0, 1.01);
  ADD(&l, "rows=32 width=64", 0, 1.2, 1.0);
  assert_ok(intervals_find(&l.job));
  assert_int_equal(l.job.interval_count, 1);
  has(&l.plans[0], 32, 3, 2);
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

/* Every size is an octave from the next, so that the weights of the four around a
 * gap are 1, 9, 9 and 1.  INFINITY: it did not race at both ends. */
static double expected(double us[SIZES][CHOICES], const struct line *l,
                       int64_t choice, int gap)
{
  double sum = 0, weights = 0;

  for (int i = gap - 1; i <= gap + 2; ++i) {
    bool is_end = i == gap || i == gap + 1;
    if (i < 0 || i >= SIZES) continue;
    if (!(us[i][choice] > 0) && is_end) return INFINITY;
    if (!(us[i][choice] > 0)) continue;
    sum += (is_end ? 9 : 1) * log(us[i][choice] / l->plans[i].us);
    weights += is_end ? 9 : 1;
  }
  return exp(sum / weights) - 1;
}

static double least(double us[SIZES][CHOICES], const struct line *l, int gap)
{
  double best = INFINITY;

  for (int c = 0; c < SIZES; ++c)
    best = fmin(best, expected(us, l, l->candidates[c], gap));
  return best;
}

/* Whether this choice serves the gaps from first on, before last. */
static bool serves(double us[SIZES][CHOICES], const struct line *l,
                   int64_t choice, int first, int last)
{
  for (int gap = first; gap < last; ++gap) {
    double loss = expected(us, l, choice, gap);
    if (!isfinite(loss) || loss > least(us, l, gap) + 0.005 + 1e-12)
      return false;
  }
  return true;
}

/* By trying every cut; a gap that nothing serves is one by itself. */
static int fewest(double us[SIZES][CHOICES], const struct line *l)
{
  int best[SIZES] = {0};

  for (int end = 1; end < SIZES; ++end) {
    best[end] = best[end - 1] + 1;
    for (int begin = 0; begin < end; ++begin)
      for (int c = 0; c < SIZES; ++c)
        if (serves(us, l, l->candidates[c], begin, end) &&
            best[begin] + 1 < best[end])
          best[end] = best[begin] + 1;
  }
  return best[SIZES - 1];
}

static void check_interval(double us[SIZES][CHOICES], const struct line *l,
                           int at, const struct table_interval *v,
                           bool *covered)
{
  int last = at + (int)v->sizes - 1;

  assert_int_equal(problem_get(&l->plans[at].problem, "rows"), v->first);
  assert_int_equal(problem_get(&l->plans[last].problem, "rows"), v->last);
  assert_true(serves(us, l, v->steps[0], at, last));
  for (int gap = at; gap < last; ++gap) {
    assert_true(expected(us, l, v->steps[0], gap) <= v->loss + 1e-12);
    assert_false(covered[gap]);
    covered[gap] = true;
  }
}

static void test_fewest(void **state)
{
  uint64_t seed = 1;

  (void)state;
  for (int round = 0; round < 300; ++round) {
    double us[SIZES][CHOICES];
    bool covered[SIZES] = {false};
    struct line l;
    int runs = 0;
    line_init(&l);
    for (int i = 0; i < SIZES; ++i) {
      char spelling[64];
      for (int c = 0; c < CHOICES; ++c)
        us[i][c] = draw(&seed, 4) ? 1 + draw(&seed, 20) * 0.00107 : 0;
      us[i][draw(&seed, CHOICES)] = 1;
      snprintf(spelling, sizeof spelling, "affine:fp32 rows=%d width=64",
               8 << i);
      add(&l, spelling, CHOICES, us[i]);
    }
    assert_ok(intervals_find(&l.job));
    for (int i = 0; i < SIZES; ++i)
      for (uint32_t j = 0; j < l.plans[i].interval_count; ++j, ++runs)
        check_interval(us, &l, i, &l.plans[i].intervals[j], covered);
    for (int gap = 0; gap + 1 < SIZES; ++gap) {
      runs += !covered[gap];
      assert_int_equal(covered[gap], isfinite(least(us, &l, gap)));
    }
    assert_int_equal(runs, fewest(us, &l));
    line_release(&l);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_two_choices),  cmocka_unit_test(test_expected_loss),
      cmocka_unit_test(test_third_choice), cmocka_unit_test(test_lines),
      cmocka_unit_test(test_never_slower), cmocka_unit_test(test_fewest),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
