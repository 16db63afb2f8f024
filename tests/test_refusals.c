/*
 * test_refusals.c - bad input is refused in one sentence, which names the
 * tensor or field and the value, before anything is launched.
 *
 * Each sentence is asked for three times: of the spelling alone, of a plan, and
 * of an explanation.
 */
#include "test.h"

#include "diffdispatch.h"
#include "specs.h"

static struct specs specs;
static dd_context *ctx;

static int setup(void **state)
{
  dd_open_options options = DD_OPEN_OPTIONS_INIT;

  (void)state;
  options.device = "cpu";
  assert_ok(specs_load(&specs, NULL));
  assert_ok(dd_open(&options, &ctx));
  return 0;
}

static int teardown(void **state)
{
  (void)state;
  dd_close(ctx);
  specs_release(&specs);
  return 0;
}

/* ---- Spellings -------------------------------------------------------------- */

struct refusal {
  const char *spelling, *sentence;
};

static void assert_says(const struct refusal *r, dd_status status)
{
  if (status != DD_BAD_ARGUMENT)
    fail_msg("'%s': %s: %s", r->spelling, dd_status_name(status),
             dd_last_error());
  if (strcmp(dd_last_error(), r->sentence))
    fail_msg("'%s': \"%s\", not \"%s\"", r->spelling, dd_last_error(),
             r->sentence);
}

static void refused(const struct refusal *r, size_t count)
{
  dd_problem problem = DD_PROBLEM_INIT;
  char text[64];
  size_t length;

  for (; count--; ++r) {
    struct problem p;
    dd_plan *plan = (dd_plan *)text;
    problem.spelling = r->spelling;
    assert_says(r, problem_parse(&specs.ops, r->spelling, &p));
    assert_says(r, dd_plan_make(ctx, &problem, &plan));
    assert_null(plan);
    assert_says(r, dd_explain(ctx, &problem, text, sizeof text, &length));
  }
}

static void sequences_of_whole_frames(void **state)
{
  static const struct refusal all[] = {
      {"norm_scale_shift:bf16 seq=10 frames=3 hidden=64",
       "'norm_scale_shift': seq must be a multiple of frames, not seq=10 "
       "frames=3"},
      {"norm_scale_shift:bf16 seq=10 frames=3 hidden=64 scale=frame:fp32",
       "'norm_scale_shift': seq must be a multiple of frames, not seq=10 "
       "frames=3"},
      {"gate_residual:fp16 batch=2 seq=7 frames=2 hidden=64 gate=frame",
       "'gate_residual': seq must be a multiple of frames, not seq=7 frames=2"},
      {"norm_gate_residual_norm_scale:fp32 seq=1 frames=2 hidden=64",
       "'norm_gate_residual_norm_scale': seq must be a multiple of frames, not "
       "seq=1 frames=2"},
  };

  (void)state;
  refused(all, COUNT_OF(all));
}

static void extents_that_do_not_match(void **state)
{
  static const struct refusal all[] = {
      {"rope:bf16 tokens=4 q_heads=2 head_dim=64 rope_dim=66",
       "'rope': rope_dim must not be more than head_dim, not head_dim=64 "
       "rope_dim=66"},
      {"rope:bf16 tokens=4 q_heads=2 head_dim=64 seq=3",
       "'rope': seq goes with positions=none, not tokens=4 positions=i64 "
       "seq=3"},
      {"qk_norm:bf16 tokens=4 q_heads=2 head_dim=64 text_tokens=3",
       "'qk_norm': text_tokens goes with segments=2, not segments=1 "
       "text_tokens=3"},
      {"rope:bf16 tokens=4 q_heads=2 head_dim=64 q_stride=64,64",
       "'rope': the rows of the output for q overlap, not tokens=4 q_heads=2 "
       "head_dim=64 q_out_stride0=64 q_out_stride1=64"},
      {"rope:bf16 tokens=4 q_heads=1 head_dim=64 q_stride=32,64",
       "'rope': the rows of the output for q overlap, not tokens=4 q_heads=1 "
       "head_dim=64 q_out_stride0=32 q_out_stride1=64"},
      {"qknorm_rope:bf16 tokens=4 q_heads=1 head_dim=64 q_stride=32,64",
       "'qknorm_rope': the rows of the output for q overlap, not tokens=4 "
       "q_heads=1 head_dim=64 text_tokens=0 q_out_stride0=32 "
       "q_out_stride1=64"},
      {"norm:bf16 batch=2 seq=1 hidden=64 y_stride=32,64",
       "'norm': the rows of y overlap, not batch=2 seq=1 hidden=64 y_stride0=32 "
       "y_stride1=64"},
      {"norm:bf16 batch=2 seq=1 hidden=64 y_stride=32,640",
       "'norm': the rows of y overlap, not batch=2 seq=1 hidden=64 y_stride0=32 "
       "y_stride1=640"},
      {"norm:bf16 batch=2 seq=4 hidden=64 y_stride=64,64",
       "'norm': the rows of y overlap, not batch=2 seq=4 hidden=64 y_stride0=64 "
       "y_stride1=64"},
      {"qknorm_rope_packed:bf16 tokens=4 q_heads=2 head_dim=64 qkv_stride=128",
       "'qknorm_rope_packed': the rows of qkv overlap, not tokens=4 q_heads=2 "
       "kv_heads=2 v_heads=2 head_dim=64 qkv_stride0=128"},
  };

  (void)state;
  refused(all, COUNT_OF(all));
}

/* What is only read may repeat, and what has no neighbour may lie anywhere. */
static void rows_that_are_apart(void **state)
{
  static const char *const fine[] = {
      "norm:bf16 batch=2 seq=1 hidden=64 x_stride=32,64",
      "norm:bf16 batch=2 seq=1 hidden=64 y_stride=64,64",
      "norm:bf16 batch=1 seq=4 hidden=64 y_stride=0,64",
      "norm:bf16 batch=2 seq=4 hidden=64 y_stride=64,128",
      "norm:bf16 batch=2 seq=0 hidden=64 y_stride=0,64",
      "rope:bf16 tokens=1 q_heads=2 head_dim=64 q_stride=0,64",
      "rope:bf16 tokens=4 q_heads=2 kv_heads=0 head_dim=64 k_stride=0,64",
      "rope:bf16 tokens=4 q_heads=1 head_dim=64 q_stride=32,64 inplace=0",
  };
  struct problem p;

  (void)state;
  for (size_t i = 0; i < COUNT_OF(fine); ++i)
    assert_ok(problem_parse(&specs.ops, fine[i], &p));
}

static void forms_that_an_op_does_not_take(void **state)
{
  static const struct refusal all[] = {
      {"norm_scale_shift:bf16 seq=4 hidden=64 scale=none",
       "'norm_scale_shift': scale cannot be 'none'"},
      {"norm_scale_shift:bf16 seq=4 hidden=64 shift=column",
       "'norm_scale_shift': shift cannot be 'column'"},
      {"norm_scale_shift:bf16 seq=4 hidden=64 scale=row:i64",
       "'norm_scale_shift': scale_dtype cannot be 'i64'"},
      {"scale_shift:bf16 seq=4 hidden=64 gate=row",
       "'scale_shift' has no field 'gate'; it has batch seq frames hidden scale "
       "shift rounding inplace align"},
      {"norm_gate_residual:bf16 seq=4 hidden=64 gate=none gate_tanh=1",
       "'norm_gate_residual': gate_tanh needs a gate, not gate=none "
       "gate_tanh=1"},
      {"rope:bf16 tokens=4 q_heads=2 head_dim=64 cache=separate table=full",
       "'rope': table=full goes with layout=neox, not layout=interleaved "
       "table=full"},
      {"rope:bf16 tokens=4 q_heads=2 head_dim=64 cache_dtype=bf16",
       "'rope': a joint cache is fp32, not cache=joint cache_dtype=bf16"},
      {"qk_norm:bf16 tokens=4 q_heads=2 head_dim=64 weight=fp16",
       "'qk_norm': weight must be none, fp32 or the io dtype, not io=bf16 "
       "weight=fp16"},
      {"qknorm_rope_packed:bf16 tokens=4 q_heads=2 head_dim=64 positions=none",
       "'qknorm_rope_packed': positions cannot be 'none'"},
  };

  (void)state;
  refused(all, COUNT_OF(all));
}

/* A spelling has strides for the outer dims only: the last is contiguous. */
static void strides_of_the_last_dim(void **state)
{
  static const struct refusal all[] = {
      {"norm:bf16 seq=4 hidden=64 x_stride=256,64,2",
       "x_stride takes 2 numbers, not more: ',2'"},
      {"gate_residual:bf16 seq=4 hidden=64 gate=token gate_stride=256,64,2",
       "gate_stride takes 2 numbers, not more: ',2'"},
      {"rope:bf16 tokens=4 q_heads=2 head_dim=64 k_stride=128,64,2",
       "k_stride takes 2 numbers, not more: ',2'"},
      {"norm:bf16 seq=4 hidden=64 weight=bf16 weight_stride=2",
       "'norm' has no field 'weight_stride'; it has batch seq frames hidden "
       "norm weight bias rounding inplace align"},
  };

  (void)state;
  refused(all, COUNT_OF(all));
}

static void rows_that_are_too_wide(void **state)
{
  static const struct refusal all[] = {
      {"norm:bf16 seq=4 hidden=65537",
       "'norm': hidden=65537 is not in 1..65536"},
      {"norm:bf16 seq=4 hidden=0", "'norm': hidden=0 is not in 1..65536"},
      {"qk_norm:bf16 tokens=4 q_heads=1 head_dim=65537",
       "'qk_norm': head_dim=65537 is not in 1..65536"},
      {"rope:bf16 tokens=4 q_heads=1 head_dim=65536 rope_dim=65538",
       "'rope': rope_dim=65538 is not in 0..65536"},
  };

  (void)state;
  refused(all, COUNT_OF(all));
}

/* The same limits hold for every op that has the field. */
static void no_op_takes_wider_rows(void **state)
{
  static const char *const fields[] = {"hidden", "head_dim"};
  char spelling[128];

  (void)state;
  for (uint32_t i = 0; i < specs.ops.count; ++i) {
    const struct op *op = &specs.ops.ops[i];
    bool rows = op_symbol_find(op, "hidden") >= 0;
    struct problem p;
    if (op_symbol_find(op, fields[!rows]) < 0) continue; /* rope_table */
    snprintf(spelling, sizeof spelling, "%s:bf16 %s %s=65537", op->name,
             rows ? "seq=1" : "tokens=1 q_heads=1", fields[!rows]);
    assert_fails(DD_BAD_ARGUMENT, "=65537 is not in 1..65536",
                 problem_parse(&specs.ops, spelling, &p));
  }
}

/* ---- Pointers and typed arguments -------------------------------------------- */

enum { DIM = 64 };

/* One token of one head; `q` is launched on. */
struct call {
  _Alignas(16) uint16_t q[DIM + 8], k[DIM], weight[DIM];
  float table[DIM];
  int64_t position;
  dd_qknorm_rope_args args;
};

static void call_init(struct call *c)
{
  memset(c, 0, sizeof *c);
  for (int i = 0; i < DIM; ++i) c->q[i] = c->k[i] = 0x3f80; /* 1 */
  for (int i = 0; i < DIM; ++i) c->table[i] = 0.5f;
  c->args = (dd_qknorm_rope_args){
      .struct_size = sizeof c->args, .io = DD_BF16, .tokens = 1, .q_heads = 1,
      .kv_heads = 1, .head_dim = DIM, .q = c->q, .k = c->k,
      .q_weight = c->weight, .k_weight = c->weight, .cos = c->table,
      .positions = &c->position};
}

/* Not an element was written: weights of 0 would make all of them 0. */
static void assert_not_launched(const struct call *c)
{
  for (int i = 0; i < DIM; ++i) {
    assert_int_equal(c->q[i], 0x3f80);
    assert_int_equal(c->k[i], 0x3f80);
  }
}

static void typed_arguments(void **state)
{
  struct call c;

  (void)state;
  call_init(&c);
  c.args.rope_dim = 66;
  assert_fails(DD_BAD_ARGUMENT, "'qknorm_rope': rope_dim must not be more than "
               "head_dim, not head_dim=64 rope_dim=66",
               dd_qknorm_rope(ctx, &c.args, NULL));
  assert_not_launched(&c);
  call_init(&c);
  c.args.head_dim = 65537;
  assert_fails(DD_BAD_ARGUMENT, "'qknorm_rope': head_dim=65537 is not in "
               "1..65536", dd_qknorm_rope(ctx, &c.args, NULL));
  assert_not_launched(&c);
  call_init(&c);
  c.args.tokens = c.args.q_heads = 2;
  c.args.q_stride[0] = 64;
  c.args.q_stride[1] = 64;
  assert_fails(DD_BAD_ARGUMENT, "'qknorm_rope': the rows of the output for q "
               "overlap", dd_qknorm_rope(ctx, &c.args, NULL));
  assert_not_launched(&c);
  call_init(&c);
  c.args.k = NULL;
  assert_fails(DD_BAD_ARGUMENT, "'qknorm_rope': buffer 1, 'k', is NULL",
               dd_qknorm_rope(ctx, &c.args, NULL));
  assert_not_launched(&c);
  call_init(&c); /* all is well, and the weights make all of it 0 */
  assert_ok(dd_qknorm_rope(ctx, &c.args, NULL));
  assert_int_equal(c.q[0] | c.k[0], 0);
}

static void pointers(void **state)
{
  static const char spelling[] =
      "qknorm_rope:bf16 tokens=1 q_heads=1 head_dim=64";
  struct call c;
  dd_problem problem = DD_PROBLEM_INIT;
  dd_plan *plan;

  (void)state;
  call_init(&c);
  problem.spelling = spelling;
  assert_ok(dd_plan_make(ctx, &problem, &plan));
  {
    void *buffers[] = {c.q + 1, c.k, c.weight, c.weight, c.table, &c.position};
    char sentence[128];
    snprintf(sentence, sizeof sentence, "'qknorm_rope': buffer 0, 'q', is at "
             "%p, which is not a multiple of 16", buffers[0]);
    assert_fails(DD_BAD_ARGUMENT, sentence,
                 dd_plan_launch(plan, buffers, NULL, NULL));
    buffers[0] = c.q;
    buffers[4] = NULL;
    assert_fails(DD_BAD_ARGUMENT, "'qknorm_rope': buffer 4, 'cos', is NULL",
                 dd_plan_launch(plan, buffers, NULL, NULL));
  }
  assert_not_launched(&c);
  dd_plan_free(plan);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sequences_of_whole_frames),
      cmocka_unit_test(extents_that_do_not_match),
      cmocka_unit_test(rows_that_are_apart),
      cmocka_unit_test(forms_that_an_op_does_not_take),
      cmocka_unit_test(strides_of_the_last_dim),
      cmocka_unit_test(rows_that_are_too_wide),
      cmocka_unit_test(no_op_takes_wider_rows),
      cmocka_unit_test(typed_arguments),
      cmocka_unit_test(pointers),
  };

  return cmocka_run_group_tests(tests, setup, teardown);
}
