/*
 * fuzz_table.c - any bytes at all as a table: refused, or safe to look through.
 *
 * In a build with clang the target fuzzer_table is a libFuzzer program.  As a
 * test it mutates a small table by itself, the same on every run.  It is opened
 * as the library's own, whose seals are not checked: else nothing behind them
 * would ever be reached.
 */
#include "test.h"

#include "tiny.h"

enum { TRIES = 20000, SEED_LIMIT = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_through(struct table *t)
{
  struct bytes code = BYTES_INIT;
  const struct table_variant *v;
  uint32_t first, count;

  if (table_read_plans(t)) return;
  for (uint32_t i = 0; i < t->plan_count; ++i)
    table_default(t, &t->plans[i].problem, &v);
  table_plans_like(t, "affine:fp32 width=64", &first, &count);
  for (uint32_t i = 0; i < t->variant_count; ++i)
    for (uint32_t j = 0; j < t->variants[i].code_count; ++j)
      table_code_read(t, &t->variants[i].codes[j], &code);
  bytes_release(&code);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  uint8_t *copy = malloc(size ? size : 1);
  struct table t;

  memcpy(copy, data, size);
  if (!table_open_own(&t, copy, size, NULL, false)) {
    look_through(&t);
    table_close(&t);
  }
  free(copy);
  return 0;
}

#ifndef DIFFTUNE_FUZZER
static uint64_t state = 1;

static uint32_t draw(uint32_t below)
{
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(state >> 33) % below;
}

/* A few bytes changed, and now and then the end cut off. */
static size_t mutate(uint8_t *data, size_t size)
{
  for (uint32_t n = 1 + draw(4); n; --n)
    data[draw((uint32_t)size)] = (uint8_t)draw(256);
  return draw(8) ? size : draw((uint32_t)size);
}

static void test_mutations(void **unused)
{
  static uint8_t work[SEED_LIMIT];
  struct bytes seed = BYTES_INIT;
  struct table_interval run;
  struct table_plan *p;
  struct tiny t;
  uint32_t fast;

  (void)unused;
  tiny_init(&t);
  fast = tiny_variant(&t, "fast", "affine:fp32 rows=8 width=64", 64, 4);
  p = tiny_plan(&t, "affine:fp32 rows=8 width=64", 1, fast, 0);
  tiny_run(&t.ops, &run, "affine", 512);
  run.steps[0] = fast;
  p->intervals = &run;
  p->interval_count = 1;
  assert_ok(table_write(&t.writer, &seed));
  tiny_release(&t);
  assert_true(seed.size < SEED_LIMIT);
  for (int i = 0; i < TRIES; ++i) {
    memcpy(work, seed.data, seed.size);
    LLVMFuzzerTestOneInput(work, mutate(work, seed.size));
  }
  bytes_release(&seed);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_mutations)};

  return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
