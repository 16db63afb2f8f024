/* test_fleet.c - when two boards disagree. */
#include "test.h"

#include "fleet.h"

static const struct anchor calm = {10, 9.9, 10.1, 5, 0.005};

/* Half of both intervals, 1 % each, and both floors, 0.5 % each. */
static void noise_is_intervals_and_floors(void **state)
{
  double noise;

  (void)state;
  assert_true(anchor_slower(&calm, &calm, &noise) == 0);
  assert_float_equal(noise, 0.03, 1e-9);
}

static void a_slower_board_is_not_noise(void **state)
{
  struct anchor near = {10.2, 10.1, 10.3, 5, 0.005};
  struct anchor slow = {10.5, 10.4, 10.6, 5, 0.005};
  double noise, slower = anchor_slower(&near, &calm, &noise);

  (void)state;
  assert_true(slower < noise);
  slower = anchor_slower(&slow, &calm, &noise);
  assert_float_equal(slower, 0.05, 1e-9);
  assert_true(slower > noise);
}

static void a_noisy_board_is_not_slower(void **state)
{
  struct anchor noisy = {11, 8, 14, 5, 0.02};
  double noise;

  (void)state;
  assert_true(anchor_slower(&noisy, &calm, &noise) < noise);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(noise_is_intervals_and_floors),
      cmocka_unit_test(a_slower_board_is_not_noise),
      cmocka_unit_test(a_noisy_board_is_not_slower),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
