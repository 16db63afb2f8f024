/*
 * test_views.c - a split form whose parts work on pieces of one tensor, through
 * the public library on the CPU device: qknorm_rope_packed.
 *
 * With rounding=each the split form and the fused kernel have the same bits.
 */
#include "test.h"

#include "device.h"
#include "tiny.h"

#define PROBLEM                                                                \
  "qknorm_rope_packed:fp32 tokens=5 q_heads=3 kv_heads=2 v_heads=1 "           \
  "head_dim=8 rope_dim=4 yarn=1 rounding=each qkv_stride=52"

enum { TOKENS = 5, STRIDE = 52, DIM = 8, OUTPUTS = 40 };

static const char *const parts[] = {
    "rope_table:fp32 tokens=5 rope_dim=4 yarn=1 rounding=each",
    "qk_norm:fp32 tokens=5 q_heads=3 kv_heads=2 head_dim=8 rounding=each "
    "q_stride=52,8 k_stride=52,8",
    "rope:fp32 tokens=5 q_heads=3 kv_heads=2 head_dim=8 rope_dim=4 "
    "positions=none cache=separate rounding=each q_stride=52,8 k_stride=52,8"};

struct data {
  _Alignas(16) float qkv[TOKENS * STRIDE];
  _Alignas(16) float q_weight[DIM], k_weight[DIM];
  int64_t positions[TOKENS];
};

static void fill(struct data *d)
{
  for (int i = 0; i < TOKENS * STRIDE; ++i)
    d->qkv[i] = ((float)(i * 37 % 101) - 50.5f) / 16;
  for (int i = 0; i < DIM; ++i) {
    d->q_weight[i] = 1 + (float)i / 8;
    d->k_weight[i] = 2 - (float)i / 8;
  }
  for (int i = 0; i < TOKENS; ++i) d->positions[i] = i * 200000;
}

/* A table with a split plan for PROBLEM and nothing else. */
static void make_table(struct bytes *out)
{
  static struct tiny t;
  struct table_plan *plan;
  struct device *cpu;

  assert_ok(cpu_device.attach(&cpu));
  memset(&t, 0, sizeof t);
  assert_ok(tree_load(&t.tree, TEST_ROOT "/variants"));
  assert_ok(spec_evaluate(&t.tree, NULL, NULL, &t.specs));
  assert_ok(op_set_read(&t.ops, t.specs.data, t.specs.size, NULL));
  t.writer = (struct table_writer){.specs = &t.specs,
                                   .device_name = "cpu",
                                   .device_kind = "cpu",
                                   .policy = "cold",
                                   .provenance = "a test",
                                   .sms = cpu->info.sms,
                                   .variants = t.variants,
                                   .plans = t.plans};
  cpu_device.close(cpu);
  plan = tiny_plan(&t, PROBLEM, 3, 0, 0);
  for (uint32_t i = 0; i < 3; ++i)
    plan->steps[i] = tiny_variant(&t, "generic", parts[i], 4, 0);
  assert_ok(table_write(&t.writer, out));
  tiny_release(&t);
}

/* Runs PROBLEM on *d; `table` NULL: the default variant. */
static void run(const struct bytes *table, dd_match how, struct data *d)
{
  _Alignas(16) static char workspace[4096];
  static const dd_attr attrs[] = {{"attention_factor", 0.9}, {"factor", 2.5},
                                  {"low", 1}, {"high", 3}};
  void *buffers[] = {d->qkv, d->q_weight, d->k_weight, d->positions};
  dd_open_options o = DD_OPEN_OPTIONS_INIT;
  dd_problem problem = DD_PROBLEM_INIT;
  dd_context *ctx;
  dd_plan *plan;

  o.device = "cpu";
  if (table) o.table_data = table->data, o.table_size = table->size;
  assert_ok(dd_open(&o, &ctx));
  problem.spelling = PROBLEM;
  problem.attrs = attrs;
  problem.attr_count = COUNT_OF(attrs);
  assert_ok(dd_plan_make(ctx, &problem, &plan));
  assert_int_equal(dd_plan_match(plan), how);
  assert_int_equal(dd_plan_is_split(plan), table != NULL);
  assert_int_equal(dd_plan_buffer_count(plan), COUNT_OF(buffers));
  assert_true(dd_plan_workspace_size(plan) <= sizeof workspace);
  assert_int_equal(dd_plan_workspace_size(plan) > 0, table != NULL);
  fill(d);
  assert_ok(dd_plan_launch(plan, buffers, workspace, NULL));
  dd_plan_free(plan);
  dd_close(ctx);
}

static void test_same_bits(void **state)
{
  static struct data before, fused, split;
  struct bytes table = BYTES_INIT;

  (void)state;
  make_table(&table);
  fill(&before);
  run(NULL, DD_MATCH_DEFAULT, &fused);
  run(&table, DD_MATCH_EXACT, &split);
  for (int i = 0; i < TOKENS * STRIDE; ++i) {
    bool output = i % STRIDE < OUTPUTS;
    if (output == (split.qkv[i] == before.qkv[i]))
      fail_msg("element %d of token %d is %g, and was %g", i % STRIDE,
               i / STRIDE, split.qkv[i], before.qkv[i]);
  }
  assert_memory_equal(&split, &fused, sizeof fused);
  bytes_release(&table);
}

/* The same through the op's entry point, which says how much workspace its plan
 * takes, and refuses less. */
static void test_entry_point(void **state)
{
  _Alignas(16) static char workspace[4096];
  static const int64_t rows[] = {TOKENS, OUTPUTS + DIM}, width[] = {DIM};
  static const int64_t tokens[] = {TOKENS}, stride[] = {STRIDE, 1};
  static struct data plain, d;
  dd_tensor qkv = {d.qkv, 1, 0, 2, 2, 32, 1, rows, stride, 0};
  dd_tensor q_weight = {d.q_weight, 1, 0, 1, 2, 32, 1, width, NULL, 0};
  dd_tensor k_weight = {d.k_weight, 1, 0, 1, 2, 32, 1, width, NULL, 0};
  dd_tensor positions = {d.positions, 1, 0, 1, 0, 64, 1, tokens, NULL, 0};
  size_t needed = 0;
  dd_qknorm_rope_packed_args args = {
      .struct_size = sizeof args, .qkv = &qkv, .q_weight = &q_weight,
      .k_weight = &k_weight, .positions = &positions,
      .attention_factor = 0.9, .factor = 2.5, .low = 1, .high = 3,
      .options = "q_heads=3 kv_heads=2 v_heads=1 head_dim=8 rope_dim=4 yarn=1 "
                 "rounding=each", .workspace_needed = &needed};
  dd_open_options o = DD_OPEN_OPTIONS_INIT;
  struct bytes table = BYTES_INIT;
  dd_context *ctx;

  (void)state;
  make_table(&table);
  run(&table, DD_MATCH_EXACT, &plain);
  o.device = "cpu";
  o.table_data = table.data;
  o.table_size = table.size;
  assert_ok(dd_open(&o, &ctx));
  fill(&d);
  assert_ok(dd_qknorm_rope_packed(ctx, &args, NULL));
  assert_memory_not_equal(&d, &plain, sizeof d); /* it was only asked */
  assert_in_range(needed, 1, sizeof workspace);
  args.workspace_needed = NULL;
  args.workspace = workspace;
  args.workspace_size = needed - 1;
  assert_fails(DD_BAD_ARGUMENT, "takes a workspace of",
               dd_qknorm_rope_packed(ctx, &args, NULL));
  args.workspace_size = needed;
  assert_ok(dd_qknorm_rope_packed(ctx, &args, NULL));
  assert_memory_equal(&d, &plain, sizeof d);
  dd_close(ctx);
  bytes_release(&table);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_bits),
                                     cmocka_unit_test(test_entry_point)};

  return cmocka_run_group_tests(tests, NULL, NULL);
}
