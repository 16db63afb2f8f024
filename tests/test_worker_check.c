/*
 * test_worker_check.c - proofs by the jury are the host's proofs.
 *
 * On the CPU device, with a right kernel and three that spoil it: one on every
 * launch, one on every other, and one that writes where a test tells it to.
 */
#include "test.h"

#include "compiler.h"
#include "emit.h"
#include "specs.h"
#include "worker_check.h"

static struct specs specs;
static struct device *device;
static struct tools with_jury, without;
static struct module *module;

enum { RIGHT, STRAY, FLAKY, FAR, KERNELS };
static struct loaded loaded[KERNELS];
static char *far; /* adds 1 to this byte, as STRAY does; NULL: to none */

#define PROBLEM "rope:bf16 tokens=9 q_heads=3 kv_heads=2 head_dim=64"
#define LARGER "rope:bf16 tokens=21 q_heads=4 kv_heads=2 head_dim=64"

/* Launches are counted in data that is not zero before: what is, is shared
 * memory here. */
static void add_spoilt(const char *right, struct bytes *text)
{
  static const char *const names[] = {"stray", "flaky", "far"};
  static const char *const does[] = {
      "((short *)a.q)[-1] = 1; write_far();",
      "if (runs++ % 2) ((short *)a.q)[-1] = 1;",
      "write_far();",
  };

  bytes_printf(text,
               "static int runs = 1;\n"
               "static void write_far() {\n"
               "  char *const far = *(char *const *)%lluull;\n"
               "  if (far) ++*far;\n"
               "}\n", (unsigned long long)(uintptr_t)&far);
  for (size_t i = 0; i < COUNT_OF(names); ++i)
    bytes_printf(text,
                 "extern \"C\" __global__ void %s(const RopeArgs a) {\n"
                 "  %s(a);\n"
                 "  if (blockIdx.x == 0 && threadIdx.x == 0) { %s }\n"
                 "}\n"
                 "DT_EXPORT(%s, RopeArgs)\n",
                 names[i], right, does[i], names[i]);
}

static void load_kernels(void)
{
  struct bytes text = BYTES_INIT, code = BYTES_INIT, log = BYTES_INIT;
  char entry[VARIANT_ENTRY];
  const char *const names[KERNELS] = {entry, "stray", "flaky", "far"};
  struct problem p;
  struct variant v;

  assert_ok(problem_parse(&specs.ops, PROBLEM, &p));
  variant_of(&p.op->schemes[0], &p, NULL, &v);
  assert_ok(emit_variant(&specs.tree, &v, &text));
  bytes_clear(&text);
  assert_ok(emit_unit(&specs.tree, &v, 1, &text));
  variant_entry(&v, entry);
  add_spoilt(entry, &text);
  assert_ok(bytes_status(&text));
  assert_ok(compile_unit("cpu", bytes_string(&text), &code, &log));
  assert_ok(device->api->load(device, code.data, code.size, &module));
  for (int i = 0; i < KERNELS; ++i) {
    loaded[i].variant = v;
    loaded[i].variant.hash.byte[0] ^= (uint8_t)i;
    assert_ok(device->api->kernel(device, module, names[i], &loaded[i].kernel));
  }
  bytes_release(&text);
  bytes_release(&code);
  bytes_release(&log);
}

static struct checker checker_of(const struct tools *tools)
{
  return (struct checker){
      .device = device, .ops = &specs.ops, .tools = tools};
}

static void set(struct checker *c, const char *spelling)
{
  struct problem p;

  assert_ok(problem_parse(&specs.ops, spelling, &p));
  assert_ok(checker_set(c, &p, 1));
}

static struct proof prove(struct checker *c, int kernel)
{
  const struct loaded *steps[] = {&loaded[kernel]};
  struct candidate candidate = {.step_count = 1};
  struct proof proof;

  candidate.steps[0] = loaded[kernel].variant.hash;
  assert_ok(checker_prove(c, &candidate, steps, &proof));
  return proof;
}

/* ---- Tests ------------------------------------------------------------- */

static void prove_the_same(const struct tools *tools)
{
  struct checker jury = checker_of(tools), host = checker_of(&without);

  set(&jury, PROBLEM);
  set(&host, PROBLEM);
  for (int i = RIGHT; i <= STRAY; ++i) {
    struct proof a = prove(&jury, i), b = prove(&host, i);
    assert_int_equal(a.right, i == RIGHT);
    assert_int_equal(b.right, i == RIGHT);
    assert_string_equal(a.reason, b.reason);
    assert_int_equal(a.cases, b.cases);
    assert_int_equal(a.elements, b.elements);
    assert_true((float)a.error == (float)b.error);
    assert_true(a.bit_equal == b.bit_equal);
  }
  assert_true(prove(&jury, RIGHT).right);
  checker_release(&jury);
  checker_release(&host);
}

/* Whoever made the trials. */
static void both_prove_the_same(void **unused)
{
  struct tools maker = with_jury;

  (void)unused;
  prove_the_same(&with_jury);
  maker.make_from = 0;
  prove_the_same(&maker);
  assert_ok(maker_open(device, "#error no\n", &maker.maker)); /* on the host */
  prove_the_same(&maker);
  assert_true(maker_has_failed(maker.maker));
  maker_close(maker.maker);
}

static void two_runs_that_differ_are_wrong(void **unused)
{
  struct checker c = checker_of(&with_jury);
  struct proof proof;

  (void)unused;
  set(&c, PROBLEM);
  assert_int_equal(c.count, 5); /* so that the sixth launch is right */
  proof = prove(&c, FLAKY);
  assert_false(proof.right);
  if (!strstr(proof.reason, "two runs differ")) fail_msg("%s", proof.reason);
  assert_true(prove(&c, RIGHT).right);
  checker_release(&c);
}

/* Problems of the same statics have their small trials in common. */
static void what_is_known_is_not_launched(void **unused)
{
  const struct tools *tools[] = {&with_jury, &without};

  (void)unused;
  for (int i = 0; i < 2; ++i) {
    struct checker c = checker_of(tools[i]);
    struct proof first, next;
    set(&c, PROBLEM);
    first = prove(&c, RIGHT);
    assert_int_equal(c.phases.launches, first.cases);
    set(&c, LARGER);
    next = prove(&c, RIGHT);
    assert_true(first.right && next.right);
    assert_int_equal(next.cases, first.cases);
    assert_true(next.elements > first.elements);
    assert_int_equal(c.phases.launches, 1);
    assert_int_equal(c.phases.known, first.cases - 1);
    assert_false(prove(&c, STRAY).right); /* another variant is not known */
    assert_false(prove(&c, STRAY).right); /* and what is wrong, never */
    checker_release(&c);
  }
}

static void prepare(struct checker *c, const char *spelling)
{
  struct problem p;

  assert_ok(problem_parse(&specs.ops, spelling, &p));
  checker_prepare(c, &p, 1);
}

/* Made on the host while another problem is proven, and the same trials. */
static void trials_are_made_ahead(void **unused)
{
  struct checker c = checker_of(&with_jury), other = checker_of(&with_jury);
  struct proof ahead, now;

  (void)unused;
  set(&c, PROBLEM);
  assert_true(c.phases.ahead == 0);
  prepare(&c, LARGER);
  assert_true(prove(&c, RIGHT).right);
  assert_false(prove(&c, STRAY).right);
  set(&c, LARGER);
  assert_true(c.phases.ahead > 0);
  assert_true(c.phases.ahead <= checker_effort(&c));
  assert_int_equal(c.count, 5); /* the small ones were at hand */
  assert_null(c.ahead.exams);
  set(&other, LARGER);
  ahead = prove(&c, RIGHT);
  now = prove(&other, RIGHT);
  assert_true(ahead.right && now.right);
  assert_int_equal(ahead.elements, now.elements);
  assert_true(ahead.error == now.error && ahead.bit_equal == now.bit_equal);
  assert_false(prove(&c, STRAY).right);
  checker_release(&c);
  checker_release(&other);
}

/* Of what the device makes only code can be. */
static void code_is_made_ahead(void **unused)
{
  struct tools maker = with_jury;
  struct checker c = checker_of(&maker);

  (void)unused;
  maker.make_from = 0;
  set(&c, PROBLEM);
  prepare(&c, LARGER);
  assert_true(prove(&c, RIGHT).right);
  set(&c, LARGER);
  assert_true(c.phases.ahead > 0);
  assert_true(checker_own(&c)->made);
  assert_null(checker_own(&c)->tensor[0].image);
  assert_true(prove(&c, RIGHT).right);
  assert_null(checker_own(&c)->tensor[0].image);
  assert_false(prove(&c, STRAY).right);
  checker_release(&c);
}

/* What comes next was another problem, or nothing, or the same again. */
static void trials_that_nobody_wants_are_dropped(void **unused)
{
  struct checker c = checker_of(&with_jury);

  (void)unused;
  prepare(&c, LARGER);
  set(&c, PROBLEM);
  assert_null(c.ahead.exams);
  assert_true(prove(&c, RIGHT).right);
  prepare(&c, PROBLEM);
  assert_null(c.ahead.exams);
  set(&c, PROBLEM);
  assert_true(prove(&c, RIGHT).right);
  prepare(&c, LARGER);
  prepare(&c, LARGER);
  checker_release(&c);
  assert_null(c.ahead.exams);
}

/* ---- Far from its tensors ---------------------------------------------- */

static struct proof prove_far(struct checker *c, int kernel, const void *at)
{
  struct proof proof;

  far = (char *)(uintptr_t)at;
  proof = prove(c, kernel);
  far = NULL;
  return proof;
}

/* Whatever a verdict rests on: any byte of it. */
static void notice_each(struct checker *c, const struct trial *t)
{
  struct span spans[TRIAL_SPANS];
  uint32_t n = trial_spans(t, spans);

  assert_true(n > 0);
  for (uint32_t i = 0; i < n; ++i) {
    char *at = (char *)(uintptr_t)spans[i].at + spans[i].size * i / n;
    const char before = *at;
    prove_far(c, STRAY, at); /* never known, so launched */
    assert_int_not_equal(*at, before);
    assert_fails(DD_DEVICE, "a kernel wrote to what results on rope:",
                 checker_vouch(c));
    *at = before;
    assert_ok(checker_vouch(c));
  }
}

static void what_is_overwritten_is_noticed(void **unused)
{
  struct tools maker = with_jury;
  const struct tools *tools[] = {&with_jury, &maker, &without};

  (void)unused;
  maker.make_from = 0;
  for (size_t i = 0; i < COUNT_OF(tools); ++i) {
    struct checker c = checker_of(tools[i]);
    set(&c, PROBLEM);
    assert_true(prove(&c, RIGHT).right);
    assert_false(prove(&c, STRAY).right);
    assert_ok(checker_vouch(&c));
    for (int e = 0; e < c.count; ++e) notice_each(&c, c.exams[e]->trial);
    checker_release(&c);
  }
}

/* A bit of a list or of the rounded reference, or of two words. */
static void the_jury_is_sealed(void **unused)
{
  struct checker c = checker_of(&with_jury);
  struct span spans[JURY_SPANS];

  (void)unused;
  set(&c, PROBLEM);
  assert_int_equal(jury_spans(&c.jury, spans), JURY_SPANS);
  for (int i = 0; i < JURY_SPANS; ++i) {
    uint32_t *words = (uint32_t *)(uintptr_t)spans[i].at;
    const size_t last = spans[i].size / 4 - 1;
    for (uint32_t bit = 1; bit; bit <<= 8) {
      words[last] ^= bit;
      assert_fails(DD_DEVICE, "the judge kernels go by", checker_vouch(&c));
      words[last] ^= bit;
    }
    words[0] ^= 1, words[1] ^= 1;
    assert_fails(DD_DEVICE, "the judge kernels go by", checker_vouch(&c));
    words[0] ^= 1, words[1] ^= 1;
  }
  assert_ok(checker_vouch(&c));
  c.seal.blocks--;
  assert_fails(DD_DEVICE, "the seal kernel looked at", checker_vouch(&c));
  checker_release(&c);
}

/* The device's sums are the host's, and other ones for another order. */
static void sums_are_the_same_anywhere(void **unused)
{
  struct checker c = checker_of(&with_jury);
  struct seal_sum there[SEAL_SUMS], here[SEAL_SUMS];
  struct seal host;
  uint32_t *words, kept;

  (void)unused;
  set(&c, LARGER);
  host = c.seal;
  host.device_sums = NULL;
  assert_ok(seal_take(&c.seal, there));
  assert_ok(seal_take(&host, here));
  for (int i = 0; i < SEAL_SUMS; ++i)
    assert_true(seal_equal(&there[i], &here[i]));
  assert_true(here[0].words && here[MAX_TRIALS].words);
  assert_false(seal_equal(&here[0], &here[1]));
  words = (uint32_t *)(uintptr_t)host.parts[host.count - 1].words;
  kept = words[0];
  assert_int_not_equal(kept, words[5]);
  words[0] = words[5], words[5] = kept;
  assert_fails(DD_DEVICE, "the judge kernels go by", checker_vouch(&c));
  checker_release(&c);
}

/* While it was kept, others ran. */
static void what_was_kept_is_looked_at(void **unused)
{
  struct checker c = checker_of(&with_jury);
  struct trial *t;
  struct problem p;

  (void)unused;
  set(&c, PROBLEM);
  assert_true(prove(&c, RIGHT).right);
  t = c.exams[0]->trial;
  set(&c, "rope:fp16 tokens=9 q_heads=3 kv_heads=2 head_dim=64");
  for (int i = 0; i < OP_MAX_TENSORS; ++i)
    if (t->tensor[i].size) ++*t->tensor[i].work, ++t->tensor[i].work[8192];
  set(&c, LARGER);
  assert_ptr_equal(c.exams[0]->trial, t);
  assert_true(prove(&c, FAR).right); /* it has not been proven on `t` */
  ++*t->tensor[0].pristine;
  assert_ok(problem_parse(&specs.ops, PROBLEM, &p));
  assert_fails(DD_DEVICE, "a kernel wrote to what", checker_set(&c, &p, 1));
  assert_int_equal(c.count, 0);
  checker_release(&c);
}

/* Of a problem that could not be set. */
static void what_has_no_sum_is_not_kept(void **unused)
{
  struct checker c = checker_of(&with_jury);

  (void)unused;
  set(&c, PROBLEM);
  c.exams[0]->sealed = c.exams[2]->sealed = false;
  set(&c, "rope:fp16 tokens=9 q_heads=3 kv_heads=2 head_dim=64");
  assert_non_null(c.kept);
  for (const struct exam *e = c.kept; e; e = e->next) assert_true(e->sealed);
  checker_release(&c);
}

/* Nor does anybody answer for the strays of another. */
static void strays_of_a_second_run_are_put_back(void **unused)
{
  struct checker c = checker_of(&with_jury);

  (void)unused;
  set(&c, PROBLEM);
  assert_false(prove_far(&c, STRAY, c.exams[4]->trial->tensor[0].work).right);
  assert_ok(checker_vouch(&c));
  assert_true(prove(&c, RIGHT).right);
  checker_release(&c);
}

static void strays_into_other_trials_are_wrong(void **unused)
{
  struct checker c = checker_of(&with_jury);
  struct proof proof;

  (void)unused;
  set(&c, PROBLEM);
  assert_true(prove(&c, FAR).right);
  set(&c, LARGER); /* it is launched on the last trial alone */
  proof = prove_far(&c, FAR, c.exams[0]->trial->tensor[0].work);
  assert_false(proof.right);
  if (!strstr(proof.reason, "which it was not given"))
    fail_msg("%s", proof.reason);
  assert_true(prove(&c, FAR).right);
  checker_release(&c);
}

/* A jury stops at the first trial that a candidate is wrong on. */
static void what_was_not_judged_is_not_known(void **unused)
{
  const struct tools *tools[] = {&with_jury, &without};

  (void)unused;
  for (size_t i = 0; i < COUNT_OF(tools); ++i) {
    struct checker c = checker_of(tools[i]);
    set(&c, PROBLEM);
    assert_false(prove(&c, STRAY).right);
    for (int e = 0; e < c.count; ++e)
      assert_null(hash_table_find(&c.exams[e]->passed,
                                  &loaded[STRAY].variant.hash));
    checker_release(&c);
  }
}

/* ---- Set-up -------------------------------------------------------------- */

static int set_up(void **unused)
{
  (void)unused;
  assert_ok(specs_load(&specs, NULL));
  assert_ok(cpu_device.open(0, &device));
  assert_ok(tools_load(device, true, &with_jury));
  assert_ok(tools_load(device, false, &without));
  load_kernels();
  return 0;
}

static int tear_down(void **unused)
{
  (void)unused;
  device->api->unload(device, module);
  tools_release(device, &with_jury);
  tools_release(device, &without);
  cpu_device.close(device);
  specs_release(&specs);
  return 0;
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(both_prove_the_same),
      cmocka_unit_test(two_runs_that_differ_are_wrong),
      cmocka_unit_test(what_is_known_is_not_launched),
      cmocka_unit_test(trials_are_made_ahead),
      cmocka_unit_test(code_is_made_ahead),
      cmocka_unit_test(trials_that_nobody_wants_are_dropped),
      cmocka_unit_test(what_is_overwritten_is_noticed),
      cmocka_unit_test(the_jury_is_sealed),
      cmocka_unit_test(sums_are_the_same_anywhere),
      cmocka_unit_test(what_was_kept_is_looked_at),
      cmocka_unit_test(what_has_no_sum_is_not_kept),
      cmocka_unit_test(strays_of_a_second_run_are_put_back),
      cmocka_unit_test(strays_into_other_trials_are_wrong),
      cmocka_unit_test(what_was_not_judged_is_not_known),
  };

  return cmocka_run_group_tests(tests, set_up, tear_down);
}
