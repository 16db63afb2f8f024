/*
 * test_corpus.c - variants that add up in the same order have the same bits, those
 * that do not have others, and one whose rows depend on how many there are has
 * none.  On the CPU device.
 */
#include "test.h"

#include "compiler.h"
#include "emit.h"
#include "sample.h"
#include "specs.h"
#include "corpus.h"

static struct specs specs;
static struct device *device;
static struct tools tools;
static const struct tools *used = &tools;
static struct corpora corpora;

/* ---- Kernels ------------------------------------------------------------- */

enum { MOST = 6 };

struct kernels { /* of one problem and scheme, compiled together */
  struct problem problem;
  struct arena arena;
  uint32_t count;
  struct variant variants[MOST];
  struct module *module;
  struct loaded loaded[MOST];
};

static void find_point(struct kernels *k, const char *tunables)
{
  struct variant *points;
  uint32_t n;

  assert_ok(sample_points(&k->problem, 0, 4, 0, 1, &k->arena, &points, &n));
  for (uint32_t i = 0; i < n; ++i) {
    struct bytes text = BYTES_INIT;
    bool found;
    variant_print(&points[i], &text);
    found = !strcmp(bytes_string(&text), tunables);
    bytes_release(&text);
    if (!found) continue;
    k->variants[k->count++] = points[i];
    return;
  }
  fail_msg("no point is '%s'", tunables);
}

static void compile(struct kernels *k, const char *more)
{
  struct bytes text = BYTES_INIT, code = BYTES_INIT, log = BYTES_INIT;

  for (uint32_t i = 0; i < k->count; ++i)
    assert_ok(emit_variant(&specs.tree, &k->variants[i], &text));
  bytes_clear(&text);
  assert_ok(emit_unit(&specs.tree, k->variants, k->count, &text));
  bytes_text(&text, more);
  assert_ok(bytes_status(&text));
  assert_ok(compile_unit("cpu", bytes_string(&text), &code, &log));
  assert_ok(device->api->load(device, code.data, code.size, &k->module));
  bytes_release(&text);
  bytes_release(&code);
  bytes_release(&log);
}

static void load(struct kernels *k, uint32_t i, const char *entry)
{
  k->loaded[i].variant = k->variants[i];
  assert_ok(
      device->api->kernel(device, k->module, entry, &k->loaded[i].kernel));
}

static void make(struct kernels *k, const char *spelling,
                 const char *const *tunables)
{
  memset(k, 0, sizeof *k);
  arena_init(&k->arena, NULL);
  assert_ok(problem_parse(&specs.ops, spelling, &k->problem));
  for (; *tunables; ++tunables) find_point(k, *tunables);
}

static void make_loaded(struct kernels *k, const char *spelling,
                        const char *const *tunables)
{
  make(k, spelling, tunables);
  compile(k, "");
  for (uint32_t i = 0; i < k->count; ++i) {
    char entry[VARIANT_ENTRY];
    variant_entry(&k->variants[i], entry);
    load(k, i, entry);
  }
}

static void release(struct kernels *k)
{
  device->api->unload(device, k->module);
  arena_release(&k->arena);
}

static uint64_t bits_of(const struct kernels *k, uint32_t i,
                        const struct problem *p)
{
  const struct loaded *steps[] = {&k->loaded[i]};
  struct candidate c = {.step_count = 1};
  uint64_t bits;

  c.steps[0] = k->loaded[i].variant.hash;
  assert_ok(corpora_bits(&corpora, device, &specs.ops, used, p, &c, steps,
                         &bits));
  return bits;
}

/* ---- Tests ------------------------------------------------------------- */

/* The first two of each list differ in who does a row, the others add it up in
 * another order each. */
static const char *const rows[] = {
    "norm.rows vec=16 warps=1 rows=2 persistent=0 operands=0 ahead=0 "
    "one_pass=0 hint=0 registers=0 keep=0 lanes=32",
    "norm.rows vec=16 warps=1 rows=4 persistent=1 operands=0 ahead=0 "
    "one_pass=0 hint=1 registers=0 keep=0 lanes=32",
    "norm.rows vec=16 warps=2 rows=1 persistent=0 operands=0 ahead=0 "
    "one_pass=0 hint=0 registers=0 keep=0 lanes=32",
    "norm.rows vec=8 warps=4 rows=1 persistent=0 operands=0 ahead=0 "
    "one_pass=0 hint=0 registers=0 keep=0 lanes=32", NULL};
static const char float_rows[] =
    "norm.rows vec=16 warps=1 rows=2 persistent=0 operands=0 ahead=0 "
    "one_pass=0 hint=0 registers=0 keep=0 lanes=32";
static const char *const heads[] = {
    "qk_norm.warp vec=16 lanes=8 heads=1 inflight=1 persistent=0 ahead=0 "
    "warps=8 grid2d=0 hint=0",
    "qk_norm.warp vec=16 lanes=8 heads=2 inflight=2 persistent=1 ahead=0 "
    "warps=8 grid2d=0 hint=0",
    "qk_norm.warp vec=8 lanes=16 heads=1 inflight=1 persistent=1 ahead=0 "
    "warps=8 grid2d=0 hint=0", NULL};

static void begin_with(int64_t count)
{
  corpora_release(&corpora);
  corpora.rows = count;
}

static void tell_apart(const char *spelling, const char *const *tunables)
{
  struct kernels k;
  uint64_t bits[MOST];

  make_loaded(&k, spelling, tunables);
  for (uint32_t i = 0; i < k.count; ++i) {
    bits[i] = bits_of(&k, i, &k.problem);
    assert_true(bits[i] != 0 && bits[i] != BITS_DIFFER);
    assert_true(bits[i] == bits_of(&k, i, &k.problem)); /* is known */
    for (uint32_t j = 0; j < i; ++j)
      if ((bits[i] == bits[j]) != (i == 1))
        fail_msg("%s: %u and %u", spelling, i, j);
  }
  release(&k);
}

static void the_order_of_sums_tells(void **unused)
{
  (void)unused;
  begin_with(4096);
  tell_apart("norm:bf16 seq=900 hidden=512 norm=rms", rows);
  tell_apart("norm:bf16 seq=900 hidden=512", rows);
  tell_apart("norm:fp16 seq=900 hidden=512 norm=rms rounding=each", rows);
  begin_with(1024);
  tell_apart("qk_norm:bf16 tokens=900 q_heads=4 head_dim=64", heads);
}

/* The last bit of a row depends on how many there are, on nothing, or on when
 * it is launched. */
static void add_dependent(const char *right, struct bytes *text)
{
  static const char *const names[] = {"few", "any", "odd"}, *const when[] = {
      "a.seq < 10", "true", "++launches % 2"};

  bytes_text(text, "static int launches = 1;\n"); /* what is 0 is shared */

  for (size_t i = 0; i < COUNT_OF(names); ++i)
    bytes_printf(text,
                 "extern \"C\" __global__ void %s(const NormArgs a) {\n"
                 "  %s(a);\n"
                 "  if (blockIdx.x == 0 && threadIdx.x == 0 && %s)\n"
                 "    *(short *)a.y ^= 1;\n"
                 "}\n"
                 "DT_EXPORT(%s, NormArgs)\n", names[i], right, when[i],
                 names[i]);
}

static void a_row_that_depends_on_others_differs(void **unused)
{
  struct kernels k;
  struct bytes more = BYTES_INIT;
  char entry[VARIANT_ENTRY];
  uint64_t right;

  (void)unused;
  begin_with(64);
  make(&k, "norm:bf16 seq=900 hidden=512 norm=rms", rows);
  for (uint32_t i = 0; i < k.count; ++i)
    assert_ok(emit_variant(&specs.tree, &k.variants[i], &more));
  bytes_clear(&more);
  variant_entry(&k.variants[0], entry);
  add_dependent(entry, &more);
  compile(&k, bytes_string(&more));
  load(&k, 0, entry);
  load(&k, 1, "few");
  load(&k, 2, "any");
  load(&k, 3, "odd");
  right = bits_of(&k, 0, &k.problem);
  assert_true(right != 0 && right != BITS_DIFFER);
  assert_true(bits_of(&k, 1, &k.problem) == BITS_DIFFER);
  assert_true(bits_of(&k, 2, &k.problem) != 0);
  assert_true(bits_of(&k, 2, &k.problem) != right);
  assert_true(bits_of(&k, 3, &k.problem) == BITS_DIFFER);
  bytes_release(&more);
  release(&k);
}

/* Wherever the sums are taken and the inputs are made; with no room for it, it
 * has none. */
static void any_device_finds_the_same(void **unused)
{
  struct tools there, maker;
  struct kernels k;
  uint64_t want;

  (void)unused;
  assert_ok(tools_load(device, true, &there));
  maker = there;
  maker.make_from = 0;
  make_loaded(&k, "norm:fp32 seq=900 hidden=512",
              (const char *[]){float_rows, NULL});
  begin_with(16);
  want = bits_of(&k, 0, &k.problem);
  assert_true(want != 0 && want != BITS_DIFFER);
  for (int i = 0; i < 2; ++i) {
    begin_with(16);
    used = i ? &maker : &there;
    assert_true(bits_of(&k, 0, &k.problem) == want);
  }
  begin_with((int64_t)1 << 38);
  assert_true(bits_of(&k, 0, &k.problem) == 0);
  begin_with(16);
  used = &tools;
  release(&k);
  tools_release(device, &there);
}

/* Sizes, strides and alignment are not in a corpus; static fields are. */
static void problems_share_a_corpus(void **unused)
{
  static const char *const same[] = {
      "norm:bf16 seq=900 hidden=512", "norm:bf16 batch=3 seq=1 hidden=512",
      "norm:bf16 seq=7 hidden=512 align=2"};
  struct bytes want = BYTES_INIT, text = BYTES_INIT;
  struct problem p;

  (void)unused;
  for (size_t i = 0; i < COUNT_OF(same); ++i) {
    assert_ok(problem_parse(&specs.ops, same[i], &p));
    bytes_clear(&text);
    assert_ok(corpus_spell(&p, 16, &text));
    if (!i) bytes_add(&want, text.data, text.size);
    assert_string_equal(bytes_string(&text), bytes_string(&want));
  }
  assert_string_equal(bytes_string(&want), "norm:bf16 hidden=512 seq=16");
  bytes_release(&want);
  bytes_release(&text);
}

/* Of every op, on each of its trials. */
static void every_op_has_a_legal_corpus(void **unused)
{
  struct texts none = {0};
  struct problems all = {0};

  (void)unused;
  for (uint32_t i = 0; i < specs.ops.count; ++i)
    assert_int_equal(specs.ops.ops[i].corpus_count, 2);
  assert_ok(problems_read(&specs, &none, &none, &all));
  assert_true(all.count > specs.ops.count);
  for (size_t i = 0; i < all.count; ++i) {
    struct bytes text = BYTES_INIT;
    struct problem p;
    assert_ok(corpus_spell(&all.item[i], corpus_rows("cuda"), &text));
    assert_ok(problem_parse(&specs.ops, bytes_string(&text), &p));
    bytes_release(&text);
  }
  problems_release(&all);
}

/* What cannot run it, and an op that has none. */
static void nothing_to_compare_is_no_failure(void **unused)
{
  struct kernels k;
  struct op *op;

  (void)unused;
  begin_with(16);
  make_loaded(&k, "norm:bf16 seq=900 hidden=512", (const char *[]){rows[0], NULL});
  k.loaded[0].variant.fact[1]++; /* another width */
  assert_true(bits_of(&k, 0, &k.problem) == 0);
  op = (struct op *)(uintptr_t)k.problem.op;
  op->corpus_count = 0;
  k.loaded[0].variant.hash.byte[0] ^= 1;
  assert_true(bits_of(&k, 0, &k.problem) == 0);
  op->corpus_count = 2;
  release(&k);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_order_of_sums_tells),
      cmocka_unit_test(a_row_that_depends_on_others_differs),
      cmocka_unit_test(any_device_finds_the_same),
      cmocka_unit_test(problems_share_a_corpus),
      cmocka_unit_test(every_op_has_a_legal_corpus),
      cmocka_unit_test(nothing_to_compare_is_no_failure)};
  int failed;

  assert_ok(specs_load(&specs, NULL));
  assert_ok(cpu_device.open(0, &device));
  assert_ok(tools_load(device, false, &tools));
  failed = cmocka_run_group_tests(tests, NULL, NULL);
  corpora_release(&corpora);
  tools_release(device, &tools);
  cpu_device.close(device);
  specs_release(&specs);
  return failed;
}
