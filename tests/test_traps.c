/*
 * test_traps.c - bugs that shipped elsewhere, each a test by name.
 *
 * "Proven" means that `difftune check` compared a sample of the variants (the
 * default first, then every value of every tunable as far as the sample goes)
 * with the reference on the CPU device.
 */
#include "test.h"

#include <sys/mman.h>
#include <sys/wait.h>

#include "diffdispatch.h"
#include "specs.h"

static struct specs specs;

static int setup(void **state)
{
  (void)state;
  assert_ok(specs_load(&specs, NULL));
  return 0;
}

static int teardown(void **state)
{
  (void)state;
  specs_release(&specs);
  return 0;
}

/* The exit code of `difftune check` on one problem. */
static int check(const char *spelling, int sample)
{
  char command[1024];
  int how;

  snprintf(command, sizeof command,
           "env -u DIFFTUNE_DB '%s' check --cpu -q --batch 8 --parts 1 "
           "--sample %d --shapes '%s' >/dev/null",
           DIFFTUNE_PROGRAM, sample, spelling);
  how = system(command);
  return WIFEXITED(how) ? WEXITSTATUS(how) : -1;
}

static void proven(const char *spelling, int sample)
{
  int code = check(spelling, sample);

  if (code) fail_msg("%s: difftune check says %d", spelling, code);
}

static void refused(const char *spelling, const char *part)
{
  struct problem p;

  assert_fails(DD_BAD_ARGUMENT, part, problem_parse(&specs.ops, spelling, &p));
}

/* "D > 8192 and D % 256" raised where `or` would have fallen back. */
static void wide_rows_fall_back(void **state)
{
  (void)state;
  proven("norm_scale_shift:bf16 seq=2 hidden=16384", 6);
  proven("norm_scale_shift:bf16 seq=2 hidden=8200", 6);
  proven("residual_norm_scale_shift:bf16 seq=2 hidden=12289", 6);
}

/* S mod F was looked at only for shapes that were already wrong. */
static void frames_divide_the_sequence_in_every_form(void **state)
{
  static const char *const forms[] = {"scalar", "row", "batch", "token", "frame"};
  char spelling[256];

  (void)state;
  for (size_t i = 0; i < COUNT_OF(forms); ++i) {
    snprintf(spelling, sizeof spelling, "norm_scale_shift:bf16 seq=10 frames=3 "
             "hidden=64 scale=%s shift=%s", forms[i], forms[i]);
    refused(spelling, "frames");
    snprintf(spelling, sizeof spelling, "gate_residual:bf16 seq=10 frames=3 "
             "hidden=64 gate=%s", forms[i]);
    refused(spelling, "frames");
  }
  proven("norm_scale_shift:bf16 seq=12 frames=3 hidden=64 scale=frame shift=frame", 6);
}

/* A weight without a bias was dropped with the bias. */
static void weight_without_bias(void **state)
{
  (void)state;
  proven("norm:bf16 seq=5 hidden=256 weight=bf16", 6);
  proven("norm:bf16 seq=5 hidden=256 bias=fp32", 6);
  proven("residual_norm_scale_shift:bf16 seq=5 hidden=256 weight=fp32", 6);
}

/* ---- token * stride in 32 bits -------------------------------------------- */

enum { DIM = 64 };
static const int64_t far_away = INT64_C(2200000000); /* elements: past 2^31 */

static void fill_row(uint16_t *row, uint16_t seed)
{
  for (int i = 0; i < DIM; ++i) /* bf16 values around 1 */
    row[i] = (uint16_t)(0x3f80 + (i * 37 + seed) % 64);
}

static void launch(dd_context *ctx, const char *spelling, void *const *buffers)
{
  dd_problem problem = DD_PROBLEM_INIT;
  dd_plan *plan;

  problem.spelling = spelling;
  assert_ok(dd_plan_make(ctx, &problem, &plan));
  assert_ok(dd_plan_launch(plan, buffers, NULL, NULL));
  dd_plan_free(plan);
}

/* Two tokens 4.4 GB apart in memory that is mostly not there. */
static void offsets_pass_two_to_the_31(void **state)
{
  size_t size = ((size_t)far_away + DIM) * 2;
  uint16_t *wide = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  _Alignas(16) uint16_t near[2 * DIM], k[2 * DIM], k_far[2 * DIM], weight[DIM];
  _Alignas(16) float table[2 * DIM];
  int64_t positions[2] = {0, 1};
  void *buffers[] = {near, k, weight, weight, table, positions};
  dd_open_options options = DD_OPEN_OPTIONS_INIT;
  dd_context *ctx;

  (void)state;
  assert_true(wide != MAP_FAILED);
  for (int i = 0; i < 2 * DIM; ++i) table[i] = (float)(i % 7) / 7;
  fill_row(weight, 3);
  for (int t = 0; t < 2; ++t) {
    fill_row(near + t * DIM, (uint16_t)t);
    fill_row(k + t * DIM, (uint16_t)(t + 9));
    memcpy(wide + t * far_away, near + t * DIM, DIM * 2);
  }
  memcpy(k_far, k, sizeof k);
  options.device = "cpu";
  assert_ok(dd_open(&options, &ctx));
  launch(ctx, "qknorm_rope:bf16 tokens=2 q_heads=1 head_dim=64", buffers);
  buffers[0] = wide;
  buffers[1] = k_far;
  launch(ctx, "qknorm_rope:bf16 tokens=2 q_heads=1 head_dim=64 "
              "q_stride=2200000000,64", buffers);
  assert_memory_equal(wide, near, DIM * 2);
  assert_memory_equal(wide + far_away, near + DIM, DIM * 2);
  assert_memory_equal(k_far, k, sizeof k);
  dd_close(ctx);
  munmap(wide, size);
}

/* The same of a row op: x and y. */
static void row_offsets_pass_two_to_the_31(void **state)
{
  static const char spelling[] = "norm:bf16 seq=2 hidden=64";
  size_t size = ((size_t)far_away + DIM) * 2;
  _Alignas(16) uint16_t x[2 * DIM], y[2 * DIM];
  uint16_t *wide[2];
  void *buffers[] = {x, y};
  dd_open_options options = DD_OPEN_OPTIONS_INIT;
  char far_spelling[160];
  dd_context *ctx;

  (void)state;
  for (int i = 0; i < 2; ++i) {
    wide[i] = mmap(NULL, size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(wide[i] != MAP_FAILED);
  }
  for (int t = 0; t < 2; ++t) {
    fill_row(x + t * DIM, (uint16_t)(5 * t));
    memcpy(wide[0] + t * far_away, x + t * DIM, DIM * 2);
  }
  options.device = "cpu";
  assert_ok(dd_open(&options, &ctx));
  launch(ctx, spelling, buffers);
  buffers[0] = wide[0];
  buffers[1] = wide[1];
  snprintf(far_spelling, sizeof far_spelling, "%s x_stride=0,%lld "
           "y_stride=0,%lld", spelling, (long long)far_away,
           (long long)far_away);
  launch(ctx, far_spelling, buffers);
  assert_memory_equal(wide[1], y, DIM * 2);
  assert_memory_equal(wide[1] + far_away, y + DIM, DIM * 2);
  dd_close(ctx);
  for (int i = 0; i < 2; ++i) munmap(wide[i], size);
}

/* ---- Lanes ------------------------------------------------------------------ */

/* A full-mask shuffle in a divergent branch: partial neox, lanes that idle.
 * The CPU device refuses such a launch, whatever it computes. */
static void partial_neox_keeps_warps_together(void **state)
{
  (void)state;
  proven("qknorm_rope:bf16 tokens=5 q_heads=3 head_dim=128 rope_dim=48 layout=neox", 24);
  proven("rope:bf16 tokens=5 q_heads=3 head_dim=128 rope_dim=48 layout=neox", 12);
}

/* (1u << 32) - 1 as the mask of a group of 32 lanes. */
static void groups_of_a_whole_warp(void **state)
{
  (void)state;
  proven("qknorm_rope:fp32 tokens=5 q_heads=3 head_dim=128", 24);
}

/* Two heads per warp rotated all 128 dims with rope_dim 64. */
static void two_heads_per_warp_rotate_a_part(void **state)
{
  (void)state;
  proven("qknorm_rope:bf16 tokens=5 q_heads=4 head_dim=128 rope_dim=64", 24);
}

/* ---- Values ------------------------------------------------------------------- */

/* Fast sincos was checked to position 127 only; trials go to 2^20. */
static void sincos_at_large_positions(void **state)
{
  (void)state;
  proven("qknorm_rope_packed:bf16 tokens=37 q_heads=4 kv_heads=2 head_dim=128 layout=neox", 16);
  proven("qknorm_rope_packed:fp32 tokens=37 q_heads=4 kv_heads=2 head_dim=128", 16);
}

/* A vector kernel on a view that starts at an odd element faults later. */
static void unaligned_views(void **state)
{
  _Alignas(16) uint16_t data[2 * DIM + 8] = {0}, weight[DIM] = {0};
  float table[DIM] = {0};
  int64_t position = 0;
  void *buffers[] = {data + 1, data + DIM + 4, weight, weight, table, &position};
  dd_open_options options = DD_OPEN_OPTIONS_INIT;
  dd_problem problem = DD_PROBLEM_INIT;
  dd_context *ctx;
  dd_plan *plan;

  (void)state;
  proven("qknorm_rope:bf16 tokens=5 q_heads=3 head_dim=128 align=2", 4);
  proven("norm_scale_shift:bf16 seq=5 hidden=96 align=2", 4);
  options.device = "cpu";
  problem.spelling = "qknorm_rope:bf16 tokens=1 q_heads=1 head_dim=64";
  assert_ok(dd_open(&options, &ctx));
  assert_ok(dd_plan_make(ctx, &problem, &plan));
  assert_fails(DD_BAD_ARGUMENT, "'q'", dd_plan_launch(plan, buffers, NULL, NULL));
  dd_plan_free(plan);
  dd_close(ctx);
}

/* [3, T] positions were read as [T]: here there is one list, and its kind is
 * part of the spelling. */
static void positions_have_one_rank(void **state)
{
  struct problem p;
  struct tensor_shape shape;

  (void)state;
  refused("qknorm_rope:bf16 tokens=4 q_heads=1 head_dim=64 positions=i64x3", "positions");
  assert_ok(problem_parse(&specs.ops, "qknorm_rope:bf16 tokens=4 q_heads=1 head_dim=64", &p));
  assert_ok(problem_shape(&p, op_tensor_find(p.op, "positions"), &shape));
  assert_int_equal(shape.rank, 1);
  assert_int_equal(shape.extent[0], 4);
}

/* A gate of one row was read per element, past its end: guard zones, and ASan
 * in sanitizer builds, stand behind it. */
static void gate_of_one_row(void **state)
{
  (void)state;
  proven("residual_norm_scale_shift:bf16 seq=9 hidden=256 gate=row", 8);
  proven("norm_gate_residual_norm_scale:bf16 seq=9 hidden=256 gate=row gate_tanh=1", 8);
}

/* Statistics were taken of the sum before it was rounded: it shows in one
 * element of ten thousand where rows are wide, of thirty where they are not. */
static void statistics_of_the_rounded_sum(void **state)
{
  (void)state;
  proven("residual_norm_scale_shift:bf16 seq=37 hidden=1536 rounding=each", 8);
  proven("residual_norm_scale_shift:bf16 seq=37 hidden=1536 rounding=norm", 8);
  proven("residual_norm_scale_shift:bf16 seq=333 hidden=64 rounding=each", 8);
  proven("residual_norm_scale_shift:bf16 seq=333 hidden=64 rounding=norm", 8);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(wide_rows_fall_back),
      cmocka_unit_test(frames_divide_the_sequence_in_every_form),
      cmocka_unit_test(weight_without_bias),
      cmocka_unit_test(offsets_pass_two_to_the_31),
      cmocka_unit_test(row_offsets_pass_two_to_the_31),
      cmocka_unit_test(partial_neox_keeps_warps_together),
      cmocka_unit_test(groups_of_a_whole_warp),
      cmocka_unit_test(two_heads_per_warp_rotate_a_part),
      cmocka_unit_test(sincos_at_large_positions),
      cmocka_unit_test(unaligned_views),
      cmocka_unit_test(positions_have_one_rank),
      cmocka_unit_test(gate_of_one_row),
      cmocka_unit_test(statistics_of_the_rounded_sum),
  };

  return cmocka_run_group_tests(tests, setup, teardown);
}
