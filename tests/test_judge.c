/* test_judge.c - the tolerance, at its edges, for every io dtype. */
#include "test.h"

#include <math.h>

#include "judge.h"

static const int64_t io_dtypes[] = {DD_BF16, DD_F16, DD_F32};

static uint64_t state = 0x1234567;
static double random_value(void)
{
  state = state * 6364136223846793005u + 1442695040888963407u;
  return ((double)(state >> 11) * 0x1p-53 - 0.5) * ldexp(1, (int)(state >> 7) % 24 - 12);
}

/* One ulp is allowed, and not more; slack adds to it. */
static void one_ulp_is_the_edge(void **unused)
{
  (void)unused;
  for (size_t d = 0; d < COUNT_OF(io_dtypes); ++d)
    for (int i = 0; i < 20000; ++i) {
      double value = random_value(), ulp = dtype_ulp(io_dtypes[d], value);
      double slack = fabs(random_value()) * ulp;
      assert_true(judge_element(io_dtypes[d], value + 0.999 * ulp, value, 0) <= 1);
      assert_true(judge_element(io_dtypes[d], value - 1.001 * ulp, value, 0) > 1);
      assert_true(judge_element(io_dtypes[d], value + 0.999 * (ulp + slack), value, slack) <= 1);
      assert_true(judge_element(io_dtypes[d], value - ulp - 1.001 * slack - ulp * 1e-3, value,
                                slack) > 1);
    }
}

/* The right rounding of a value is always inside, at half of the tolerance. */
static void rounding_is_right(void **unused)
{
  (void)unused;
  for (size_t d = 0; d < COUNT_OF(io_dtypes); ++d)
    for (int i = 0; i < 20000; ++i) {
      double value = random_value();
      assert_true(judge_element(io_dtypes[d], dtype_round(io_dtypes[d], value), value, 0) <=
                  0.5);
    }
}

static void special_values_meet_their_like(void **unused)
{
  const double huge[] = {0, 3.5e38, 70000, 3.5e38};

  (void)unused;
  for (size_t d = 0; d < COUNT_OF(io_dtypes); ++d) {
    int64_t t = io_dtypes[d];
    assert_true(judge_element(t, NAN, NAN, 0) == 0);
    assert_true(judge_element(t, NAN, 1, 1e9) > 1);
    assert_true(judge_element(t, 1, NAN, 1e9) > 1);
    assert_true(judge_element(t, INFINITY, INFINITY, 0) == 0);
    assert_true(judge_element(t, -INFINITY, INFINITY, 0) > 1);
    assert_true(judge_element(t, 1, INFINITY, 0) > 1);
    assert_true(judge_element(t, INFINITY, 1, 0) > 1);
    /* what rounds past the largest number is an infinity of its sign */
    assert_true(judge_element(t, INFINITY, huge[t], 0) == 0);
    assert_true(judge_element(t, -INFINITY, huge[t], 0) > 1);
    assert_true(judge_element(t, 0, 0, 0) == 0);
    assert_true(judge_element(t, -0.0, 0, 0) == 0);
  }
}

enum { TOKENS = 7, HEADS = 3, WIDTH = 10, TOKEN = 64, HEAD = 16 };

static struct tensor_shape strided_shape(int64_t dtype)
{
  return (struct tensor_shape){.present = true, .dtype = dtype, .rank = 3,
                               .extent = {TOKENS, HEADS, WIDTH},
                               .stride = {TOKEN, HEAD, 1},
                               .count = TOKENS * HEADS * WIDTH};
}

/* Every single element of a strided tensor is looked at: spoil each in turn. */
static void every_element_counts(void **unused)
{
  (void)unused;
  for (size_t d = 0; d < COUNT_OF(io_dtypes); ++d) {
    struct tensor_shape s = strided_shape(io_dtypes[d]);
    int64_t bytes = dtype_bytes(s.dtype);
    char data[TOKENS * TOKEN * 4];
    double value[TOKENS * HEADS * WIDTH];
    float slack[TOKENS * HEADS * WIDTH] = {0};
    memset(data, 0xff, sizeof data); /* NaN in the gaps */
    for (int64_t i = 0; i < s.count; ++i) {
      int64_t at = i / (HEADS * WIDTH) * TOKEN + i / WIDTH % HEADS * HEAD + i % WIDTH;
      value[i] = random_value();
      dtype_store(s.dtype, data + at * bytes, value[i]);
    }
    for (int64_t i = -1; i < s.count; ++i) {
      struct judgement j = JUDGEMENT_INIT;
      double kept = i < 0 ? 0 : value[i];
      if (i >= 0) value[i] += 3 * dtype_ulp(s.dtype, value[i]);
      judge_rows(&s, data, value, slack, NULL, 0, TOKENS * HEADS, &j);
      assert_int_equal(j.elements, s.count);
      assert_int_equal(j.wrong, i >= 0);
      assert_int_equal(j.first_wrong, i);
      assert_true((j.error > 1) == (i >= 0));
      assert_int_equal(j.bit_equal, s.count - (i >= 0));
      if (i >= 0) value[i] = kept;
    }
  }
}

/* Ranges add up to the whole. */
static void ranges_add_up(void **unused)
{
  struct tensor_shape s = strided_shape(DD_BF16);
  char data[TOKENS * TOKEN * 2];
  double value[TOKENS * HEADS * WIDTH];
  float slack[TOKENS * HEADS * WIDTH] = {0};
  struct judgement whole = JUDGEMENT_INIT, parts = JUDGEMENT_INIT;

  (void)unused;
  memset(data, 0, sizeof data);
  for (int i = 0; i < TOKENS * HEADS * WIDTH; ++i) value[i] = i % 5 ? 0 : 1;
  judge_rows(&s, data, value, slack, NULL, 0, TOKENS * HEADS, &whole);
  for (int i = 0; i < TOKENS * HEADS; ++i) {
    struct judgement one = JUDGEMENT_INIT;
    judge_rows(&s, data, value, slack, NULL, i, i + 1, &one);
    judge_add(&parts, &one);
  }
  assert_memory_equal(&whole, &parts, sizeof whole);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_ulp_is_the_edge),
      cmocka_unit_test(rounding_is_right),
      cmocka_unit_test(special_values_meet_their_like),
      cmocka_unit_test(every_element_counts),
      cmocka_unit_test(ranges_add_up),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
