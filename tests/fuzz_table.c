/*
 * fuzz_table.c - any bytes at all as a table: refused, or safe to look through.
 *
 * In a build with clang the target fuzzer_table is a libFuzzer program, and
 * fuzz_table writes what it begins with:
 *
 *     CC=clang CXX=clang++ cmake --preset asan -B build/fuzz
 *     cmake --build build/fuzz --target fuzzer_table fuzz_table
 *     mkdir corpus && build/fuzz/tests/fuzz_table corpus/seed
 *     build/fuzz/tests/fuzzer_table -runs=1000000 corpus
 *
 * As a test it mutates that table by itself, the same on every run.  It is
 * opened as the library's own, whose seals are not checked: else nothing behind
 * them would ever be reached.
 */
#include "test.h"

#include "match.h"
#include "tiny.h"

enum { TRIES = 20000, SEED_LIMIT = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a host might ask of it. */
static void choose(struct table *t)
{
  static const char *const spellings[] = {
      "affine:fp32 rows=8 width=64", "affine:fp32 rows=9 width=64 align=4",
      "affine:fp32 rows=8 width=64 mode=twice inplace=0"};
  static const struct device_info cpu = {.kind = "cpu", .name = "cpu",
                                         .sms = 1};
  struct matcher m = {.table = t, .floor = t, .device = &cpu};
  struct match found;

  for (size_t i = 0; i < COUNT_OF(spellings); ++i)
    match_find(&m, spellings[i], &found);
}

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
  table_source_read(t, "affine", "fast", &code);
  bytes_release(&code);
  choose(t);
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

#ifdef DIFFTUNE_FUZZER
/* Only the names are asked for; the devices are not linked. */
const struct device_api *device_kind_find(const char *kind)
{
  static const struct device_api any;

  return !strcmp(kind, "cpu") || !strcmp(kind, "cuda") ? &any : NULL;
}
#else
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

static void make_seed(struct bytes *seed)
{
  static const struct table_source source = {"affine", "fast", "text", 4};
  struct table_interval run;
  struct table_plan *p;
  struct tiny t;
  uint32_t fast, scale, shift;

  tiny_init(&t);
  fast = tiny_variant(&t, "fast", "affine:fp32 rows=8 width=64", 64, 4);
  scale = tiny_variant(&t, "fast", "scale:fp32 rows=8 width=64", 32, 1);
  shift = tiny_variant(&t, "fast", "shift:fp32 rows=8 width=64", 32, 1);
  for (uint32_t i = 0; i < t.writer.variant_count; ++i) {
    t.code[i].bytes = "code";
    t.code[i].size = 4;
  }
  p = tiny_plan(&t, "affine:fp32 rows=8 width=64", 1, fast, 0);
  tiny_run(&t.ops, &run, "affine", 512);
  run.steps[0] = fast;
  p->intervals = &run;
  p->interval_count = 1;
  tiny_plan(&t, "affine:fp32 rows=64 width=64", 2, scale, shift);
  tiny_plan(&t, "scale:fp32 rows=8 width=64", 1, scale, 0);
  t.writer.sources = &source;
  t.writer.source_count = 1;
  assert_ok(table_write(&t.writer, seed));
  tiny_release(&t);
  assert_true(seed->size < SEED_LIMIT);
}

static void test_mutations(void **unused)
{
  static uint8_t work[SEED_LIMIT];
  struct bytes seed = BYTES_INIT;

  (void)unused;
  make_seed(&seed);
  for (int i = 0; i < TRIES; ++i) {
    memcpy(work, seed.data, seed.size);
    LLVMFuzzerTestOneInput(work, mutate(work, seed.size));
  }
  bytes_release(&seed);
}

static int write_seed(const char *path)
{
  struct bytes seed = BYTES_INIT;
  dd_status status;

  make_seed(&seed);
  status = file_write(path, seed.data, seed.size);
  if (status) fprintf(stderr, "fuzz_table: %s\n", dd_last_error());
  bytes_release(&seed);
  return status != DD_OK;
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_mutations)};

  if (argc == 2) return write_seed(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
