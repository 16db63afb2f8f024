/*
 * test_jury.c - the judge kernels, on the CPU device, against the host's judge.
 *
 * Device memory is host memory here, so a test plays the kernel: it writes to a
 * trial's tensors what a launch might have left.
 */
#include "test.h"

#include <math.h>

#include "jury.h"
#include "rows.h"
#include "specs.h"

static struct specs specs;
static struct device *device;
static struct tools tools;

static uint64_t state = 0x9e3779b97f4a7c15;
static uint64_t draw(void)
{
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return state * 0x2545f4914f6cdd1du;
}
static double unit(void) /* in [-1, 1) */
{
  return (double)(draw() >> 11) * 0x1p-52 - 1;
}

/* ---- Trials ----------------------------------------------------------- */

#define SMALL " tokens=3 q_heads=2 kv_heads=1 head_dim=10 rope_dim=4"
#define GAPS " q_out_stride=64,12 k_out_stride=24,12"
#define SPREAD " q_out_stride=16,48 k_out_stride=24,12" /* heads outermost */

static struct trial *make_trial(const char *spelling)
{
  struct problem p;
  struct trial *t;

  assert_ok(problem_parse(&specs.ops, spelling, &p));
  assert_ok(trial_make(device, &tools, &p, FILL_SPECIAL, 1, true, &t));
  return t;
}

static char *element(struct trial_tensor *x, int64_t index)
{
  int64_t width = x->outputs.extent[x->outputs.rank - 1];
  int64_t at = row_offset(&x->outputs, index / width) + index % width;

  return x->work + x->offset + at * dtype_bytes(x->shape.dtype);
}

/* What a right kernel leaves. */
static void write_right(struct trial *t)
{
  for (int i = 0; i < OP_MAX_TENSORS; ++i) {
    struct trial_tensor *x = &t->tensor[i];
    for (int64_t e = 0; x->written && e < x->outputs.count; ++e)
      dtype_store(x->shape.dtype, element(x, e), t->value[x->output][e]);
  }
}

static void assert_is_back(const struct trial *t)
{
  for (int i = 0; i < OP_MAX_TENSORS; ++i)
    if (t->tensor[i].image)
      assert_memory_equal(t->tensor[i].work, t->tensor[i].image,
                          t->tensor[i].size);
}

/* The host's verdict, then the jury's finding: they must be the same. */
static struct finding judge_both(struct trial *t, struct jury *jury, bool split,
                                 struct verdict *v)
{
  struct finding f[MAX_TRIALS];
  const struct judgement *j = &f[0].judgement;

  assert_ok(trial_judge(t, split, v));
  assert_ok(jury_judge(jury, split, f));
  assert_int_equal(j->elements, v->judgement.elements);
  assert_int_equal(j->wrong, v->judgement.wrong);
  assert_int_equal(j->bit_equal, v->judgement.bit_equal);
  if (!isinf(v->judgement.error))
    assert_true((float)j->error == (float)v->judgement.error);
  assert_int_equal(f[0].stray, v->reason[0] && !v->judgement.wrong);
  assert_is_back(t);
  return f[0];
}

/* ---- Tests ------------------------------------------------------------- */

static const char *const problems[] = {
    "qknorm_rope:bf16" SMALL " align=2",
    "qknorm_rope:bf16" SMALL " inplace=0 align=2",
    "qknorm_rope:fp16" SMALL " inplace=0 align=2" GAPS,
    "qknorm_rope:fp32" SMALL " inplace=0 align=4" SPREAD,
    "qknorm_rope:bf16 tokens=37 q_heads=2 kv_heads=1 head_dim=64",
    "qk_norm:bf16 tokens=37 q_heads=5 kv_heads=0 head_dim=6 align=2",
    "norm_scale_shift:bf16 seq=5 hidden=1030 align=2",
    "residual_norm_scale_shift:fp16 seq=1 hidden=3 align=2",
    "norm_scale_shift:fp32 seq=5 hidden=1032", /* of whole vectors */
    "gate_residual:fp16 seq=5 hidden=1032 inplace=0",
    "norm_gate_residual:bf16 seq=5 hidden=34 align=2",
    "qknorm_rope_packed:bf16 tokens=1 q_heads=2 kv_heads=1 head_dim=64",
    "qknorm_rope_packed:fp16 tokens=3 q_heads=2 kv_heads=1 head_dim=64",
};

static void what_is_right_is_right(void **unused)
{
  (void)unused;
  for (size_t i = 0; i < COUNT_OF(problems); ++i) {
    struct trial *t = make_trial(problems[i]);
    struct jury jury;
    struct verdict v;
    assert_ok(jury_make(&t, 1, &jury));
    for (int times = 0; times < 2; ++times) {
      struct finding f;
      write_right(t);
      f = judge_both(t, &jury, times, &v);
      if (f.judgement.wrong || f.stray || f.judgement.error > 0.5)
        fail_msg("%s: %s", problems[i], v.reason);
      /* but for those half way between two */
      assert_true(100 * f.judgement.bit_equal > 99 * f.judgement.elements);
    }
    /* Nothing was launched: outputs are poison, or still the input. */
    judge_both(t, &jury, false, &v);
    jury_release(&jury);
    trial_free(t);
  }
}

static double any_value(int64_t dtype)
{
  const double largest = dtype == DD_F16 ? 65504 : 0x1.fep127;
  const double special[] = {0,       -0.0,     NAN,           INFINITY,
                            -INFINITY, largest, -largest,     1.01 * largest,
                            1e39,    -1e300,   0x1p-130,      -0x1p-24,
                            1e-300,  0x1.fp-15, 0x1.fffffep127, 1};
  int exponent = (int)(draw() % 60) - 30;

  if (draw() % 3 == 0) return special[draw() % COUNT_OF(special)];
  return ldexp(unit(), exponent);
}

static float any_slack(double ulp)
{
  const float special[] = {0, 0, INFINITY, NAN, 3e38f, 1e-30f};

  if (draw() % 4 == 0) return special[draw() % COUNT_OF(special)];
  return (float)(fabs(unit()) * ulp);
}

/* Near the edge of what is allowed, or anything. */
static double any_output(int64_t dtype, double value, double allowed)
{
  if (draw() % 4 == 0) return any_value(dtype);
  return value + 1.5 * unit() * allowed;
}

static void set_reference(struct trial *t, int o, int64_t e, double value,
                          float slack, float split_slack)
{
  t->value[o][e] = value;
  t->slack[o][e] = slack;
  t->split_slack[o][e] = split_slack;
  ((double *)t->device_value[o])[e] = value;
  ((float *)t->device_slack[o])[e] = slack;
  if (t->device_split_slack[o])
    ((float *)t->device_split_slack[o])[e] = split_slack;
}

static void spoil_element(struct trial *t, struct trial_tensor *x, int64_t e)
{
  double value = any_value(x->shape.dtype);
  double ulp = dtype_ulp(x->shape.dtype, value);
  float slack = any_slack(ulp);

  set_reference(t, x->output, e, value, slack, any_slack(ulp));
  dtype_store(x->shape.dtype, element(x, e),
              any_output(x->shape.dtype, value, ulp + slack));
}

static void spoil_any(struct trial *t, struct trial_tensor *x)
{
  uint64_t count = (uint64_t)x->outputs.count;

  if (count) spoil_element(t, x, (int64_t)(draw() % count));
}

/* The values, their slacks and the outputs are anything at all; a few of them
 * only, so that a rule that is wrong for one kind is not hidden by others. */
static void both_have_one_rule(void **unused)
{
  (void)unused;
  for (size_t i = 0; i < COUNT_OF(problems); ++i) {
    struct trial *t = make_trial(problems[i]);
    int64_t right = 0, wrong = 0;
    for (int times = 0; times < 60; ++times) {
      bool split = times % 2 && t->problem.op->step_count;
      struct jury jury;
      struct verdict v;
      struct finding f;
      write_right(t);
      for (int k = 0; k < 1 << times % 8; ++k)
        for (int n = 0; n < OP_MAX_TENSORS; ++n)
          if (t->tensor[n].written) spoil_any(t, &t->tensor[n]);
      assert_ok(jury_make(&t, 1, &jury));
      f = judge_both(t, &jury, split, &v);
      jury_release(&jury);
      wrong += f.judgement.wrong;
      right += f.judgement.elements - f.judgement.wrong;
    }
    assert_true(right > 60 && wrong > 60);
    trial_free(t);
  }
}

/* No number is within a NaN of a value, not even the value's own rounding; how
 * far that one is off says nothing about what the kernel left. */
static void a_wrong_rounding_is_nobodys_error(void **unused)
{
  (void)unused;
  for (size_t i = 0; i < COUNT_OF(problems); ++i) {
    struct trial *t = make_trial(problems[i]);
    struct jury jury;
    struct verdict v;
    int wrong = 0;
    write_right(t);
    for (int n = 0; n < OP_MAX_TENSORS; ++n) {
      struct trial_tensor *x = &t->tensor[n];
      if (!x->written || x->outputs.count < 2) continue;
      set_reference(t, x->output, 0, 1e39, NAN, NAN);
      dtype_store(x->shape.dtype, element(x, 0), 1);
      set_reference(t, x->output, 1, 1, 0, 0);
      dtype_store(x->shape.dtype, element(x, 1), 100);
      wrong += 2;
    }
    assert_ok(jury_make(&t, 1, &jury));
    assert_int_equal(judge_both(t, &jury, false, &v).judgement.wrong, wrong);
    assert_false(isinf(v.judgement.error));
    jury_release(&jury);
    trial_free(t);
  }
}

/* Spoils a byte of a trial that is right otherwise. */
static struct finding spoil_byte(struct trial *t, struct jury *jury,
                                 struct trial_tensor *x, size_t at,
                                 struct verdict *v)
{
  write_right(t);
  x->work[at] ^= 0x55;
  return judge_both(t, jury, false, v);
}

static void every_byte_is_guarded(void **unused)
{
  (void)unused;
  for (size_t i = 0; i < COUNT_OF(problems); ++i) {
    struct trial *t = make_trial(problems[i]);
    struct jury jury;
    struct verdict v;
    assert_ok(jury_make(&t, 1, &jury));
    for (int n = 0; n < OP_MAX_TENSORS; ++n) {
      struct trial_tensor *x = &t->tensor[n];
      size_t end = x->offset + (size_t)x->shape.span;
      const size_t edges[] = {0, x->offset - 1, end, x->size - 1};
      if (!x->image) continue;
      for (size_t k = 0; k < COUNT_OF(edges); ++k)
        assert_true(spoil_byte(t, &jury, x, edges[k], &v).stray);
      for (int k = 0; k < 40 && end > x->offset; ++k)
        spoil_byte(t, &jury, x, x->offset + draw() % (end - x->offset), &v);
      if (!x->written && x->shape.count &&
          t->problem.op->tensors[n].role == TENSOR_IN)
        assert_true(spoil_byte(t, &jury, x, x->offset, &v).stray);
    }
    jury_release(&jury);
    trial_free(t);
  }
}

static bool is_poisoned(const struct trial *t, int n)
{
  return t->problem.op->tensors[n].role != TENSOR_IN;
}

/* Also where a NaN is right, which poison is too: by kernels that leave out
 * what is not a number, or a row that begins with one. */
static void what_was_not_written_is_wrong(void **unused)
{
  int64_t missing = 0;

  (void)unused;
  for (size_t i = 0; i < COUNT_OF(problems); ++i) {
    struct trial *t = make_trial(problems[i]);
    struct jury jury;
    struct verdict v;
    int64_t left = 0;
    for (int n = 0; n < OP_MAX_TENSORS; ++n) {
      struct trial_tensor *x = &t->tensor[n];
      for (int64_t e = 0; x->written && e < x->outputs.count; ++e) {
        const double value = t->value[x->output][e];
        if (isnan(value) && is_poisoned(t, n)) left++;
        else dtype_store(x->shape.dtype, element(x, e), value);
      }
    }
    assert_ok(jury_make(&t, 1, &jury));
    assert_int_equal(judge_both(t, &jury, false, &v).judgement.wrong, left);
    assert_int_equal(v.judgement.error > 1, left > 0);
    missing += left;
    jury_release(&jury);
    trial_free(t);
  }
  assert_true(missing > 1000);
}

/* Between the rows of an output, byte by byte. */
static void gaps_are_guarded(void **unused)
{
  struct trial *t = make_trial(problems[2]);
  struct trial_tensor *x = NULL;
  struct jury jury;
  struct verdict v;
  int64_t strays = 0;

  (void)unused;
  for (int n = 0; n < OP_MAX_TENSORS && !x; ++n)
    if (t->tensor[n].written) x = &t->tensor[n];
  assert_ok(jury_make(&t, 1, &jury));
  for (int64_t b = 0; b < x->shape.span; ++b)
    strays += spoil_byte(t, &jury, x, x->offset + (size_t)b, &v).stray;
  assert_int_equal(strays, x->shape.span - 2 * x->shape.count);
  jury_release(&jury);
  trial_free(t);
}

/* One of many is wrong, and another writes where it should not. */
static void findings_are_told_apart(void **unused)
{
  struct trial *t[COUNT_OF(problems)];
  struct finding f[MAX_TRIALS];
  struct jury jury;
  const int wrong = 1, stray = 4;

  (void)unused;
  for (size_t i = 0; i < COUNT_OF(problems); ++i) {
    t[i] = make_trial(problems[i]);
    write_right(t[i]);
  }
  for (int n = 0; n < OP_MAX_TENSORS; ++n)
    if (t[wrong]->tensor[n].written)
      dtype_store(DD_BF16, element(&t[wrong]->tensor[n], 0), 1e30);
  t[stray]->tensor[0].work[0] = 1;
  assert_ok(jury_make(t, COUNT_OF(problems), &jury));
  assert_ok(jury_judge(&jury, false, f));
  for (int i = 0; i < (int)COUNT_OF(problems); ++i) {
    assert_int_equal(f[i].judgement.wrong, i == wrong ? 2 : 0);
    assert_int_equal(f[i].stray, i == stray);
    assert_is_back(t[i]);
  }
  jury_release(&jury);
  for (size_t i = 0; i < COUNT_OF(problems); ++i) trial_free(t[i]);
}

/* Nobody is acquitted where a judge did not come to work. */
static void absent_judges_are_noticed(void **unused)
{
  struct finding f[MAX_TRIALS];

  (void)unused;
  for (int i = 0; i < 2; ++i) {
    struct trial *t = make_trial(problems[4]);
    struct jury jury;
    assert_ok(jury_make(&t, 1, &jury));
    write_right(t);
    *(i ? &jury.range_blocks : &jury.part_blocks) -= 1;
    assert_fails(DD_DEVICE, "looked at", jury_judge(&jury, false, f));
    jury_release(&jury);
    trial_free(t);
  }
}

/* ---- Set-up -------------------------------------------------------------- */

static int set_up(void **unused)
{
  (void)unused;
  assert_ok(specs_load(&specs, NULL));
  assert_ok(cpu_device.open(0, &device));
  assert_ok(tools_load(device, true, &tools));
  return 0;
}

static int tear_down(void **unused)
{
  (void)unused;
  tools_release(device, &tools);
  cpu_device.close(device);
  specs_release(&specs);
  return 0;
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_right_is_right),
      cmocka_unit_test(both_have_one_rule),
      cmocka_unit_test(a_wrong_rounding_is_nobodys_error),
      cmocka_unit_test(every_byte_is_guarded),
      cmocka_unit_test(what_was_not_written_is_wrong),
      cmocka_unit_test(gaps_are_guarded),
      cmocka_unit_test(findings_are_told_apart),
      cmocka_unit_test(absent_judges_are_noticed),
  };

  return cmocka_run_group_tests(tests, set_up, tear_down);
}
