/*
 * test_record.c - how a problem and a sweep's end are written down.
 *
 * The compile workers are this program again.
 */
#include "test.h"

#include "command.h"
#include "record.h"
#include "sample.h"
#include "sweep.h"

static void open_database(struct recorder *r, const char *folder)
{
  char path[128];

  memset(r, 0, sizeof *r);
  snprintf(path, sizeof path, "%s/tuning.db", folder);
  assert_ok(db_open(path, DB_WRITE, &r->db));
}

/* What went wrong first is what is said, whatever the database says after. */
static void the_first_failure_is_kept(void **state)
{
  struct recorder r;
  char folder[64];

  (void)state;
  test_folder(folder, sizeof folder);
  open_database(&r, folder);
  r.sweep = 12345; /* no such row: writing its end fails */
  assert_int_not_equal(record_end(&r, DD_OK), DD_OK);
  open_database(&r, folder);
  r.sweep = 12345;
  fail(DD_DEVICE, "the device fell off the bus");
  assert_fails(DD_DEVICE, "the device fell off the bus",
               record_end(&r, DD_DEVICE));
  assert_null(r.db);
  test_folder_remove(folder);
}

static void a_sweep_that_never_began_has_no_end(void **state)
{
  struct recorder r, none = {0};
  char folder[64];

  (void)state;
  test_folder(folder, sizeof folder);
  open_database(&r, folder);
  assert_ok(record_end(&r, DD_OK));
  assert_ok(record_end(&none, DD_OK));
  test_folder_remove(folder);
}

static void check_word(const char *word, const char *quoted)
{
  struct bytes out = BYTES_INIT;

  put_shell_word(&out, word);
  assert_string_equal(bytes_string(&out), quoted);
  bytes_release(&out);
}

static void words_are_quoted_where_a_shell_would_split_them(void **state)
{
  (void)state;
  check_word("--cpu", "--cpu");
  check_word("rope:bf16", "rope:bf16");
  check_word("a b", "'a b'");
  check_word("it's", "'it'\\''s'");
  check_word("$HOME", "'$HOME'");
  check_word("", "''");
}

/* ---- A problem ----------------------------------------------------------- */

/* Six variants as if they had raced on an H200; of all but the first, the
 * default one, some share a unit. */
enum { POINTS = 6, SAMPLES = 8 };

struct raced {
  struct specs specs;
  struct build build;
  struct recorder recorder;
  struct arena arena;
  struct outcome outcome;
  struct entry entries[POINTS + 1];
  double us[SAMPLES];
  char folder[64];
};

static const struct device_info h200 = {
    .kind = "cuda", .name = "NVIDIA H200", .arch = 90, .sms = 132,
    .driver = "580", .l2_bytes = 60 << 20, .memory_bytes = 1 << 30};

static void compile_points(struct raced *r)
{
  struct variant *points;
  uint32_t count, part;

  assert_ok(sample_points(&r->outcome.problem, 90, 132, 0, 1, &r->arena,
                          &points, &count));
  assert_true(count >= POINTS);
  for (uint32_t i = 0; i < POINTS; ++i) {
    assert_ok(build_add(&r->build, &points[i], &part));
    r->entries[i] = (struct entry){
        .candidate = {.step_count = 1, .steps = {points[i].hash}},
        .part = {part}, .label = r->build.parts[part]->label};
  }
  assert_ok(build_submit(&r->build));
  while (farm_pending(r->build.farm)) assert_ok(build_pump(&r->build, true));
}

static void race_all(struct raced *r, uint32_t winner)
{
  for (int i = 0; i < SAMPLES; ++i) r->us[i] = 10 + i % 3;
  for (uint32_t i = 0; i < POINTS; ++i) {
    struct entry *e = &r->entries[i];
    e->done = e->proven = e->raced = true;
    e->proof = (struct proof){.right = true, .error = 0.5, .bit_equal = 1,
                              .elements = 100, .cases = 3};
    e->standing = (struct standing){
        .median_us = 11, .q1_us = 10, .q3_us = 12, .low_us = 10, .high_us = 12,
        .final = true, .position = i == winner ? 1 : i + 2,
        .sample_count = SAMPLES, .samples = r->us, .ratios = r->us};
  }
  r->outcome.entries = r->entries;
  r->outcome.count = POINTS;
  r->outcome.best = r->outcome.best_fused = (int)winner;
  r->outcome.race = (struct race_summary){.copy_us = 9, .floor = 0.005};
}

static void make_raced(struct raced *r, uint32_t winner)
{
  char path[128];

  memset(r, 0, sizeof *r);
  arena_init(&r->arena, NULL);
  test_folder(r->folder, sizeof r->folder);
  snprintf(path, sizeof path, "%s/tuning.db", r->folder);
  assert_ok(specs_load(&r->specs, NULL));
  assert_ok(build_open(&r->build, &r->specs, "sm_90", 1, POINTS));
  assert_ok(problem_parse(&r->specs.ops, "rope:bf16 tokens=64 q_heads=8 "
                          "head_dim=128", &r->outcome.problem));
  compile_points(r);
  race_all(r, winner);
  assert_ok(record_begin(&r->recorder, path, &r->build, &h200, "test", 1,
                         "cold graph", false));
}

static void release_raced(struct raced *r)
{
  assert_ok(record_end(&r->recorder, DD_OK));
  build_close(&r->build);
  specs_release(&r->specs);
  arena_release(&r->arena);
  test_folder_remove(r->folder);
}

static bool have_nvrtc(void)
{
  struct bytes identity = BYTES_INIT;
  bool have = !compiler_identity("sm_90", &identity);

  bytes_release(&identity);
  return have;
}

static size_t stored_code_size(struct raced *r, const struct part *p)
{
  struct db_variant_row v;

  assert_ok(db_variant_read(r->recorder.db, p->row, "sm_90",
                            r->recorder.toolchain, &r->arena, &v));
  return v.code_size;
}

/* Its unit has others: what is stored was compiled alone, and nobody waited. */
static void a_winner_is_stored_with_code_of_its_own(void **state)
{
  enum { WINNER = 4 };
  struct raced r;
  const struct part *p;

  (void)state;
  if (!have_nvrtc()) skip();
  make_raced(&r, WINNER);
  p = r.build.parts[r.entries[WINNER].part[0]];
  assert_true(r.build.units[p->unit].count > 1);
  assert_false(record_is_ready(&r.recorder, &r.outcome));
  assert_ok(record_prepare(&r.recorder, &r.outcome));
  assert_false(record_is_ready(&r.recorder, &r.outcome));
  while (!record_is_ready(&r.recorder, &r.outcome))
    assert_ok(build_pump(&r.build, true));
  assert_ok(record_outcome(&r.recorder, &r.outcome));
  assert_int_equal(r.outcome.best_fused, WINNER);
  assert_true(p->row && p->code_row);
  assert_int_equal(stored_code_size(&r, p), r.build.units[p->alone].code.size);
  for (uint32_t i = 0; i < POINTS; ++i) {
    p = r.build.parts[r.entries[i].part[0]];
    assert_true(p->row);
    assert_int_equal(p->code_row != 0, i == WINNER);
  }
  assert_true(record_is_ready(&r.recorder, &r.outcome)); /* it has its row */
  release_raced(&r);
}

/* Nobody asked for it in time: it is waited for. */
static void a_winner_that_was_not_prepared_is_stored_too(void **state)
{
  struct raced r;

  (void)state;
  if (!have_nvrtc()) skip();
  make_raced(&r, 3);
  assert_ok(record_outcome(&r.recorder, &r.outcome));
  assert_true(r.build.parts[r.entries[3].part[0]]->code_row != 0);
  release_raced(&r);
}

/* One that is alone in its unit already, and a problem without a winner. */
static void what_needs_no_compiler_is_ready(void **state)
{
  struct raced r;

  (void)state;
  if (!have_nvrtc()) skip();
  make_raced(&r, 0);
  assert_true(record_is_ready(&r.recorder, &r.outcome));
  assert_ok(record_prepare(&r.recorder, &r.outcome));
  assert_int_equal(farm_pending(r.build.farm), 0);
  r.outcome.best_fused = -1;
  assert_true(record_is_ready(&r.recorder, &r.outcome));
  assert_ok(record_prepare(&r.recorder, &r.outcome));
  release_raced(&r);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_first_failure_is_kept),
      cmocka_unit_test(a_sweep_that_never_began_has_no_end),
      cmocka_unit_test(words_are_quoted_where_a_shell_would_split_them),
      cmocka_unit_test(a_winner_is_stored_with_code_of_its_own),
      cmocka_unit_test(a_winner_that_was_not_prepared_is_stored_too),
      cmocka_unit_test(what_needs_no_compiler_is_ready),
  };

  if (argc > 1 && !strcmp(argv[1], WORKER_COMPILE))
    return farm_worker_main(WORKER_IN, WORKER_OUT);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
