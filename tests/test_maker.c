/*
 * test_maker.c - trials that a device makes are the host's.
 *
 * On the CPU device, whose memory the host can read: every element of every
 * op's trials and awkward problems.  NVRTC compiles the same texts.
 */
#include "test.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "compiler.h"
#include "fill_element.h"
#include "specs.h"
#include "spot.h"

static struct specs specs;
static struct device *device;
static struct tools host, maker; /* where trials are made */

static uint64_t state = 0x9e3779b97f4a7c15;
static uint64_t draw(void)
{
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return state * 0x2545f4914f6cdd1du;
}

/* ---- Numbers ----------------------------------------------------------- */

static void assert_stored(int64_t dtype, double value)
{
  uint64_t want = 0, got = fill_bits(dtype, value);

  dtype_store(dtype, &want, value);
  if (memcmp(&want, &got, (size_t)dtype_bytes(dtype)))
    fail_msg("%a as %s is %llx, not %llx", value, dtype_name(dtype),
             (unsigned long long)got, (unsigned long long)want);
}

/* Beside every 16-bit number, half way to the next, and anywhere. */
static void numbers_are_stored_as_always(void **unused)
{
  static const int64_t dtypes[] = {DD_BF16, DD_F16, DD_F32};
  const double special[] = {0.0, -0.0, INFINITY, -INFINITY, NAN, 65520, 1e39};

  (void)unused;
  for (size_t d = 0; d < COUNT_OF(dtypes); ++d) {
    for (uint32_t i = 0; i < 0x10000; ++i) {
      const uint32_t wide = i * 0x10001u;
      const double x = dtype_load(dtypes[d], &wide);
      const double middle = x + dtype_ulp(dtypes[d], x) / 2;
      assert_stored(dtypes[d], isnan(x) ? NAN : x);
      if (!isfinite(middle)) continue;
      assert_stored(dtypes[d], middle);
      assert_stored(dtypes[d], nextafter(middle, INFINITY));
      assert_stored(dtypes[d], nextafter(middle, -INFINITY));
    }
    for (int i = 0; i < 100000; ++i)
      assert_stored(dtypes[d], ldexp((double)(int64_t)draw(),
                                     (int)(draw() % 400) - 263));
    for (size_t i = 0; i < COUNT_OF(special); ++i)
      assert_stored(dtypes[d], special[i]);
  }
  assert_stored(DD_I32, 123456);
  assert_stored(DD_I64, 0x1p40);
}

/* ---- Trials ------------------------------------------------------------ */

static struct trial *make(const struct tools *tools, const struct problem *p,
                          enum fill_class class, uint64_t seed)
{
  struct trial *t;

  assert_ok(trial_make(device, tools, p, class, seed, true, &t));
  return t;
}

/* What double arithmetic in another order, or another libm, may make of it. */
static bool near(double a, double b, double room)
{
  return a == b || (isnan(a) && isnan(b)) || fabs(a - b) <= room;
}

static void compare_output(const char *spelling, const struct trial *h,
                           const struct trial *d, int i)
{
  const double *value = d->device_value[i];
  const float *slack = d->device_slack[i], *split = d->device_split_slack[i];

  for (size_t e = 0; e < h->reference_count[i]; ++e) {
    const double v = h->value[i][e], s = (double)h->slack[i][e];
    const double room = isfinite(s) ? 1e-6 * s : 0;
    if (!near(v, value[e], 1e-12 * fabs(v) + room) ||
        !near(s, (double)slack[e], room))
      fail_msg("%s: output %d, element %zu: %.17g and %g on the host, %.17g "
               "and %g on the device", spelling, i, e, v, s, value[e],
               (double)slack[e]);
    if (split && !near((double)h->split_slack[i][e], (double)split[e],
                       1e-6 * (double)h->split_slack[i][e]))
      fail_msg("%s: output %d, element %zu: split slack %g on the host, %g on "
               "the device", spelling, i, e, (double)h->split_slack[i][e],
               (double)split[e]);
  }
}

static void compare_trials(const struct problem *p, enum fill_class class,
                           uint64_t seed)
{
  struct trial *h = make(&host, p, class, seed);
  struct trial *d = make(&maker, p, class, seed);
  struct bytes spelling = BYTES_INIT;

  problem_print(p, &spelling);
  assert_true(d->made && !h->made);
  for (int i = 0; i < OP_MAX_TENSORS; ++i) {
    const struct trial_tensor *x = &h->tensor[i], *y = &d->tensor[i];
    assert_int_equal(x->size, y->size);
    assert_null(y->image);
    if (x->size && (memcmp(x->image, y->pristine, x->size) ||
                    memcmp(x->image, y->work, x->size)))
      fail_msg("%s: tensor %d has other bytes", bytes_string(&spelling), i);
    compare_output(bytes_string(&spelling), h, d, i);
  }
  bytes_release(&spelling);
  trial_free(h);
  trial_free(d);
}

/* The awkward problems on top of the first trials: the rest are the same shapes
 * in other dtypes. */
enum { AWKWARD = 4 };

static void compare_awkward(const struct problem *p)
{
  struct problem q;

  for (uint32_t i = 0; i < p->op->awkward_count; ++i)
    if (!problem_override(p, p->op->awkward[i], &q))
      compare_trials(&q, i % 2 ? FILL_SPECIAL : FILL_HARD, 1 + i);
}

static void both_make_the_same(void **unused)
{
  const struct texts none = {0};
  struct problems all = {0};

  (void)unused;
  assert_ok(problems_read(&specs, &none, &none, &all));
  for (size_t i = 0, nth = 0; i < all.count; ++i, ++nth) {
    if (i && all.item[i].op != all.item[i - 1].op) nth = 0;
    for (int class = FILL_PLAIN; class <= FILL_SPECIAL; ++class)
      compare_trials(&all.item[i], (enum fill_class)class, i);
    if (nth < AWKWARD) compare_awkward(&all.item[i]);
  }
  problems_release(&all);
}

/* A kernel is not launched: the host's judge gets what the device made. */
static void the_host_gets_what_it_judges(void **unused)
{
  struct problem p;
  struct trial *t;
  struct verdict v;

  (void)unused;
  assert_ok(problem_parse(&specs.ops, "norm:bf16 seq=5 hidden=64", &p));
  t = make(&maker, &p, FILL_HARD, 1);
  assert_ok(trial_judge(t, false, &v));
  assert_int_equal(v.judgement.wrong, 5 * 64);
  if (!strstr(v.reason, "should be")) fail_msg("%s", v.reason);
  for (int i = 0; i < OP_MAX_TENSORS; ++i)
    if (t->tensor[i].size)
      assert_memory_equal(t->tensor[i].image, t->tensor[i].pristine,
                          t->tensor[i].size);
  trial_free(t);
}

/* ---- Faults ------------------------------------------------------------ */

#define ROWS "norm_scale_shift:bf16 seq=40 hidden=64 scale=batch:fp32"
#define EACH "norm_scale_shift:fp32 seq=40 hidden=64 rounding=each"
#define HEADS "qknorm_rope:fp16 tokens=40 q_heads=2 head_dim=64"

static const struct {
  const char *fault, *problem, *says;
} faults[] = {
    {"#define sqrt(x) (1.0000001 * sqrt(x))\n", ROWS, "the value of element"},
    {"#define sqrt(x) (1.0000001 * sqrt(x))\n", HEADS, "the value of element"},
    {"#define fabs(x) (1.001 * fabs(x))\n", ROWS, "the slack of element"},
    {"#define fmax fmin\n", "qknorm_rope_packed:bf16 tokens=40 q_heads=2 "
     "kv_heads=1 head_dim=64 rounding=each", "the slack of element"},
    {"#define pow(x, y) pow(y, x)\n", "rope_table:fp32 tokens=40 rope_dim=64",
     "the value of element"},
};

static void a_fault_in_the_text_is_noticed(void **unused)
{
  (void)unused;
  for (size_t i = 0; i < COUNT_OF(faults); ++i) {
    struct tools faulty = maker;
    struct problem p;
    struct trial *t;
    assert_ok(problem_parse(&specs.ops, faults[i].problem, &p));
    assert_ok(maker_open(device, faults[i].fault, &faulty.maker));
    assert_fails(DD_DEVICE, faults[i].says,
                 trial_make(device, &faulty, &p, FILL_PLAIN, 1, true, &t));
    assert_null(t);
    maker_close(faulty.maker);
  }
}

/* What has been said on stderr while it was there instead. */
static int count_said(FILE *file, const char *words)
{
  char line[1024];
  int n = 0;

  rewind(file);
  while (fgets(line, sizeof line, file)) n += strstr(line, words) != NULL;
  return n;
}

/* It is then the host's, and said once. */
static void what_does_not_compile_is_made_on_the_host(void **unused)
{
  static const char *const problems[] = {ROWS, EACH}; /* of one reference */
  const int before = dup(STDERR_FILENO);
  FILE *said = tmpfile();
  struct tools faulty = maker;

  (void)unused;
  assert_ok(maker_open(device, "#error no doubles\n", &faulty.maker));
  dup2(fileno(said), STDERR_FILENO);
  for (size_t i = 0; i < COUNT_OF(problems); ++i) {
    struct problem p;
    struct trial *t, *h;
    assert_ok(problem_parse(&specs.ops, problems[i], &p));
    assert_ok(trial_make(device, &faulty, &p, FILL_HARD, 1, true, &t));
    h = make(&host, &p, FILL_HARD, 1);
    assert_false(t->made);
    for (int k = 0; k < OP_MAX_TENSORS; ++k) {
      const size_t size = h->reference_count[k] * sizeof(double);
      if (size) assert_memory_equal(t->device_value[k], h->value[k], size);
    }
    trial_free(t);
    trial_free(h);
  }
  dup2(before, STDERR_FILENO);
  close(before);
  assert_int_equal(count_said(said, "does not compile for the device"), 1);
  assert_int_equal(count_said(said, "no doubles"), 1);
  assert_true(maker_has_failed(faulty.maker));
  assert_false(maker_has_failed(maker.maker));
  fclose(said);
  maker_close(faulty.maker);
}

static const struct reference *reference_of(const struct trial *t)
{
  const struct reference_row *r = reference_rows;

  while (strcmp(r->op, t->problem.op->name)) r++;
  return r->reference;
}

static dd_status check(const struct trial *t)
{
  struct reference_out out[OP_MAX_TENSORS] = {{0}};

  for (int i = 0; i < OP_MAX_TENSORS; ++i)
    out[i] = (struct reference_out){t->device_value[i], t->device_slack[i],
                                    t->device_split_slack[i]};
  return spot_check(t, reference_of(t), out);
}

/* One bit of each input, in the first item and in the last. */
static void a_wrong_input_is_noticed(void **unused)
{
  static const char *const problems[] = {
      "residual_norm_scale_shift:bf16 seq=40 hidden=64 gate=row:fp16", HEADS,
      "qknorm_rope:fp32 tokens=9 q_heads=2 head_dim=64 positions=i32"};

  (void)unused;
  for (size_t n = 0; n < COUNT_OF(problems); ++n) {
    struct problem p;
    struct trial *t;
    assert_ok(problem_parse(&specs.ops, problems[n], &p));
    t = make(&maker, &p, FILL_HARD, 1);
    assert_ok(check(t));
    for (int i = 0; i < OP_MAX_TENSORS; ++i) {
      struct trial_tensor *x = &t->tensor[i];
      char *first, *last;
      if (!x->size || p.op->tensors[i].role != TENSOR_IN) continue;
      if (p.op->tensors[i].fill == FILL_ANGLE) continue; /* read by position */
      first = x->pristine + x->offset;
      last = first + x->shape.span - 1;
      *first ^= 1;
      assert_fails(DD_DEVICE, p.op->tensors[i].name, check(t));
      *first ^= 1, *last ^= 1;
      assert_fails(DD_DEVICE, "the device made", check(t));
      *last ^= 1;
    }
    assert_ok(check(t));
    trial_free(t);
  }
}

static void a_value_that_is_missing_is_noticed(void **unused)
{
  struct problem p;
  struct trial *t;

  (void)unused;
  assert_ok(problem_parse(&specs.ops, ROWS, &p));
  t = make(&maker, &p, FILL_PLAIN, 1);
  for (int i = 0; i < OP_MAX_TENSORS; ++i)
    if (t->reference_count[i])
      ((double *)t->device_value[i])[t->reference_count[i] - 1] = NAN;
  assert_fails(DD_DEVICE, "as the value of element 2559 of 'y'", check(t));
  trial_free(t);
}

/* Elements that lie in one place have the value that was written last, which is
 * the host's to say: a tensor that is broadcast, and rows that overlap. */
static void what_overlaps_is_made_on_the_host(void **unused)
{
  static const char *const overlapping[] = {
      "norm:bf16 batch=2 seq=3 hidden=64 x_stride=0,64",
      "norm:bf16 batch=2 seq=3 hidden=64 x_stride=192,0",
      "norm:bf16 batch=2 seq=3 hidden=64 x_stride=192,32",
  };
  static const char apart[] =
      "norm:bf16 batch=2 seq=3 hidden=64 x_stride=64,128";
  struct problem p;
  struct trial *t;

  (void)unused;
  for (size_t i = 0; i < COUNT_OF(overlapping); ++i) {
    assert_ok(problem_parse(&specs.ops, overlapping[i], &p));
    t = make(&maker, &p, FILL_HARD, 1);
    assert_false(t->made);
    trial_free(t);
  }
  assert_ok(problem_parse(&specs.ops, apart, &p));
  compare_trials(&p, FILL_HARD, 1);
}

/* A device that gives another infinity, or a number for one, is noticed. */
static void an_infinity_is_compared(void **unused)
{
  static const char spelling[] =
      "residual_norm_scale_shift:bf16 seq=9 hidden=64 gate=none";
  struct problem p;
  struct trial *t;
  double *value;

  (void)unused;
  assert_ok(problem_parse(&specs.ops, spelling, &p));
  t = make(&maker, &p, FILL_SPECIAL, 1);
  value = t->device_value[op_tensor_find(p.op, "r_out")];
  value += 2 * 64 + 63; /* an infinity went in here */
  assert_true(isinf(*value));
  assert_ok(check(t));
  *value = -*value;
  assert_fails(DD_DEVICE, "as the value of element 191 of 'r_out'", check(t));
  *value = 1;
  assert_fails(DD_DEVICE, "as the value of element 191 of 'r_out'", check(t));
  trial_free(t);
}

/* A rounding or two may go the other way, but not half of them. */
static void few_roundings_may_flip(void **unused)
{
  struct problem p;
  struct trial *t;
  double *value;

  (void)unused;
  assert_ok(problem_parse(&specs.ops, EACH, &p));
  t = make(&maker, &p, FILL_PLAIN, 1);
  value = t->device_value[op_tensor_find(p.op, "y")];
  for (int i = 0; i < 4; ++i) {
    assert_ok(check(t));
    value[i] += dtype_ulp(DD_F32, value[i]);
  }
  assert_ok(check(t));
  value[4] += dtype_ulp(DD_F32, value[4]);
  assert_fails(DD_DEVICE, "as the value of element", check(t));
  value[4] -= dtype_ulp(DD_F32, value[4]);
  value[0] += 0.01;
  assert_fails(DD_DEVICE, "as the value of element 0 of 'y'", check(t));
  trial_free(t);
}

/* ---- NVRTC ------------------------------------------------------------- */

static void compile_for(const char *target, const struct bytes *text)
{
  struct bytes code = BYTES_INIT, log = BYTES_INIT;

  assert_ok(bytes_status(text));
  if (compile_exact(target, text->data, &code, &log))
    fail_msg("%s: %s", target, bytes_string(&log));
  assert_true(code.size > 0);
  bytes_release(&code);
  bytes_release(&log);
}

static void texts_compile_for_gpus(void **unused)
{
  static const char *const targets[] = {"sm_80", "sm_90", "sm_100"};
  struct bytes text = BYTES_INIT;

  (void)unused;
  if (compiler_identity(targets[0], &text)) skip();
  for (size_t i = 0; i < COUNT_OF(targets); ++i) {
    bytes_clear(&text);
    assert_ok(tools_text(true, &text));
    compile_for(targets[i], &text);
    bytes_clear(&text);
    assert_ok(maker_fill_text(&text));
    compile_for(targets[i], &text);
    for (const struct reference_row *r = reference_rows; r->op; ++r) {
      if (r != reference_rows && r->reference->file == r[-1].reference->file)
        continue;
      bytes_clear(&text);
      assert_ok(maker_reference_text(r->reference, "", &text));
      compile_for(targets[i], &text);
    }
  }
  bytes_release(&text);
}

/* ---- Set-up ------------------------------------------------------------ */

static int set_up(void **unused)
{
  (void)unused;
  assert_ok(specs_load(&specs, NULL));
  assert_ok(cpu_device.open(0, &device));
  assert_ok(tools_load(device, true, &host));
  assert_ok(tools_load(device, true, &maker));
  host.make_from = SIZE_MAX;
  maker.make_from = 0;
  return 0;
}

static int tear_down(void **unused)
{
  (void)unused;
  tools_release(device, &host);
  tools_release(device, &maker);
  cpu_device.close(device);
  specs_release(&specs);
  return 0;
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(numbers_are_stored_as_always),
      cmocka_unit_test(both_make_the_same),
      cmocka_unit_test(the_host_gets_what_it_judges),
      cmocka_unit_test(a_fault_in_the_text_is_noticed),
      cmocka_unit_test(what_does_not_compile_is_made_on_the_host),
      cmocka_unit_test(a_wrong_input_is_noticed),
      cmocka_unit_test(a_value_that_is_missing_is_noticed),
      cmocka_unit_test(what_overlaps_is_made_on_the_host),
      cmocka_unit_test(an_infinity_is_compared),
      cmocka_unit_test(few_roundings_may_flip),
      cmocka_unit_test(texts_compile_for_gpus),
  };

  return cmocka_run_group_tests(tests, set_up, tear_down);
}
