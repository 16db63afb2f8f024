/* test_problem.c - problems of the real specs: spelling, tensors, split. */
#include "test.h"
#include "problem.h"
#include "spec.h"

static struct op_set ops;

static uint64_t random_state = 0x13198a2e03707344u;

static uint32_t random_below(uint32_t n)
{
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (uint32_t)(random_state >> 33) % n;
}

/* ---- Random legal problems of any op ------------------------------------- */

static int64_t random_number(const struct symbol *s)
{
  static const int64_t some[] = {0,   1,   2,   3,    4,    5,    8,    24,
                                 37,  64,  96,  128,  130,  160,  256,  1536,
                                 3072, 4096, 6144, 9216, 55296, 1 << 20};
  int64_t value = some[random_below(COUNT_OF(some))];

  if (value < s->min) value = s->min;
  if (value > s->max) value = s->max;
  return value;
}

static bool may_be_given(const struct symbol *s)
{
  return s->kind != SYMBOL_LET;
}

/* A field without a default must be given; the others now and then. */
static void random_values(const struct op *op, int64_t *value, bool *given)
{
  for (uint32_t i = 0; i < op->symbol_count; ++i) {
    const struct symbol *s = &op->symbols[i];
    bool needed = !s->otherwise && !s->choice_count;
    uint32_t one_in = s->kind == SYMBOL_STRIDE ? 12 : 4;
    given[i] = may_be_given(s) && (needed || i == 0 ||
                                   random_below(one_in) == 0);
    if (!given[i]) value[i] = 0;
    else if (s->choice_count)
      value[i] = s->choices[random_below(s->choice_count)].value;
    else value[i] = random_number(s);
  }
}

static struct problem random_problem(const struct op *op)
{
  int64_t value[OP_MAX_SYMBOLS];
  bool given[OP_MAX_SYMBOLS];
  struct problem p;

  for (int tries = 0; tries < 100000; ++tries) {
    random_values(op, value, given);
    if (problem_make(op, value, given, &p) == DD_OK) return p;
  }
  fail_msg("no legal problem of %s: %s", op->name, dd_last_error());
  return p;
}

/* ---- The one spelling ---------------------------------------------------- */

static void print_to(const struct problem *p, char *text, size_t size)
{
  struct bytes b = BYTES_INIT;

  problem_print(p, &b);
  assert_ok(bytes_status(&b));
  assert_true(b.size < size);
  memcpy(text, b.data, b.size + 1);
  bytes_release(&b);
}

enum { TEXT = 2048, WORDS = 64 };

/* Cuts in place; returns how many words there are, the op first. */
static int cut(char *text, char *word[WORDS])
{
  char *save = NULL;
  int n = 0;

  for (char *at = text; (at = strtok_r(at, " ", &save)); at = NULL) {
    assert_true(n < WORDS);
    word[n++] = at;
  }
  return n;
}

/* All words but number `without` (0: none left out), from `first` on and
 * round again: another order of the same fields. */
static void join(char *word[WORDS], int n, int first, int without, char *text)
{
  size_t at = (size_t)sprintf(text, "  %s \t", word[0]);

  for (int i = 0; i < n - 1; ++i) {
    int k = 1 + (first + i) % (n - 1);
    if (k != without) at += (size_t)sprintf(text + at, "%s  ", word[k]);
  }
}

/* Every word that is printed is needed: without it, it is another problem. */
static void check_words(const struct problem *p, const char *spelling)
{
  char copy[TEXT], text[2 * TEXT], *word[WORDS];
  struct problem back;
  int n;

  strcpy(copy, spelling);
  n = cut(copy, word);
  join(word, n, (int)random_below(WORDS), 0, text);
  assert_ok(problem_parse(&ops, text, &back));
  assert_true(problem_equal(p, &back));
  for (int i = 1; i < n; ++i) {
    join(word, n, 0, i, text);
    if (problem_parse(&ops, text, &back) == DD_OK && problem_equal(p, &back))
      fail_msg("'%s' is needless in '%s'", word[i], spelling);
  }
}

static void test_round_trip(void **state)
{
  (void)state;
  for (uint32_t o = 0; o < ops.count; ++o)
    for (int i = 0; i < 2000; ++i) {
      struct problem p = random_problem(&ops.ops[o]), back;
      char text[TEXT], again[TEXT];
      print_to(&p, text, sizeof text);
      if (problem_parse(&ops, text, &back))
        fail_msg("'%s': %s", text, dd_last_error());
      assert_true(problem_equal(&p, &back));
      print_to(&back, again, sizeof again);
      assert_string_equal(text, again);
      if (i % 10 == 0) check_words(&p, text);
    }
}

/* The static spelling is the spelling without dynamic fields and strides. */
static void test_static_spelling(void **state)
{
  (void)state;
  for (uint32_t o = 0; o < ops.count; ++o)
    for (int i = 0; i < 200; ++i) {
      struct problem p = random_problem(&ops.ops[o]);
      char text[TEXT], *word[WORDS], want[TEXT];
      struct bytes got = BYTES_INIT;
      int n;
      print_to(&p, text, sizeof text);
      n = cut(text, word);
      strcpy(want, word[0]);
      for (int k = 1; k < n; ++k) {
        char name[64];
        int at;
        snprintf(name, sizeof name, "%.*s", (int)strcspn(word[k], "="),
                 word[k]);
        at = op_symbol_find(p.op, name);
        if (at < 0 || p.op->symbols[at].dynamic) continue;
        strcat(strcat(want, " "), word[k]);
      }
      problem_print_static(&p, &got);
      assert_string_equal(bytes_string(&got), want);
      bytes_release(&got);
    }
}

static void test_examples(void **state)
{
  static const char text[] =
    "qknorm_rope:bf16 tokens=4096 q_heads=24 head_dim=128";
  struct problem p;
  char back[TEXT];

  (void)state;
  assert_ok(problem_parse(&ops, text, &p));
  print_to(&p, back, sizeof back);
  assert_string_equal(back, text);
  assert_int_equal(problem_get(&p, "kv_heads"), 24);
  assert_int_equal(problem_get(&p, "rope_dim"), 128);
  assert_int_equal(problem_get(&p, "seq"), 4096);
  assert_int_equal(problem_get(&p, "q_stride0"), 24 * 128);
  assert_int_equal(problem_get(&p, "q_stride1"), 128);
  assert_ok(problem_parse(&ops, "qknorm_rope:bf16 kv_heads=24 tokens=4096 "
                                "layout=interleaved q_stride=3072,128 "
                                "head_dim=128 rope_dim=128 q_heads=24", &p));
  print_to(&p, back, sizeof back); /* defaults that were spelled out */
  assert_string_equal(back, text);
}

/* ---- What is refused, and in which words --------------------------------- */

#define GOOD "qknorm_rope:bf16 tokens=8 q_heads=2 head_dim=64"

static void test_refusals(void **state)
{
  static const struct {
    const char *text, *why, *also;
  } cases[] = {
    {"", "no op is named ''", "qknorm_rope"},
    {"conv3d:bf16 n=1", "no op is named 'conv3d'", "known ops: "},
    {"qknorm_rope tokens=1", "'qknorm_rope' needs an io dtype", ":bf16"},
    {"qknorm_rope:fp8 tokens=1", "io cannot be 'fp8'", "qknorm_rope"},
    {"qknorm_rope:i64 tokens=1", "io cannot be 'i64'", ""},
    {"qknorm_rope: tokens=1", "io cannot be ''", ""},
    {"qknorm_rope:bf16 tokens=8 q_heads=2", "needs head_dim=", "qknorm_rope"},
    {"qknorm_rope:bf16 q_heads=2 head_dim=64", "needs tokens=", ""},
    {"qknorm_rope:bf16 tokens=8 q_heads=2 head_dim=0", "head_dim=0", "1.."},
    {"qknorm_rope:bf16 tokens=8 q_heads=0 head_dim=64", "q_heads=0", ""},
    {"qknorm_rope:bf16 tokens=-1 q_heads=2 head_dim=64", "tokens=-1", "0.."},
    {"qknorm_rope:bf16 tokens=8 q_heads=2 head_dim=63",
     "head_dim must be even", "head_dim=63"},
    {GOOD " rope_dim=66", "rope_dim must not be more", "rope_dim=66"},
    {GOOD " rope_dim=31", "rope_dim must be even", "rope_dim=31"},
    {GOOD " tokens=9", "'tokens' is given twice", ""},
    {GOOD " layout=neox layout=neox", "'layout' is given twice", ""},
    {GOOD " q_stride=128,64 q_stride=128,64", "is given twice", "q_stride"},
    {GOOD " colour=red", "has no field 'colour'", "rope_dim"},
    {GOOD " heads=4", "has no field 'heads'", ""}, /* a let is not a field */
    {GOOD " io=fp16", "has no field 'io'", ""},
    {GOOD " q_stride0=4", "has no field 'q_stride0'", ""},
    {GOOD " layout=spiral", "layout cannot be 'spiral'", ""},
    {GOOD " layout=", "layout cannot be ''", ""},
    {GOOD " seq=", "seq= is not a number", ""},
    {GOOD " seq=x", "seq=x is not a number", ""},
    {GOOD " seq=8x", "seq=8x is not a number", ""},
    {GOOD " seq=8.0", "seq=8.0 is not a number", ""},
    {GOOD " seq=0x8", "seq=0x8 is not a number", ""},
    {GOOD " seq=9223372036854775808", "seq=9223372036854775808 is not a", ""},
    {GOOD " seq=99999999999999999999999", "is not a number that fits", "seq="},
    {GOOD " seq=1099511627777", "seq=1099511627777 is not in", ""},
    {GOOD " seq=9", "seq goes with positions=none", "seq=9"},
    {GOOD " neox", "'neox' is not name=value", ""},
    {GOOD " =5", "has no field ''", ""},
    {GOOD " tokens", "'tokens' is not name=value", ""},
    {GOOD " q_stride=128", "q_stride takes 2 numbers", ""},
    {GOOD " q_stride=128,64,1", "q_stride takes 2 numbers, not more", ",1"},
    {GOOD " q_stride=128,", "q_stride= is not a number", ""},
    {GOOD " q_stride=,64", "q_stride=,64 is not a number", ""},
    {GOOD " q_stride=a,b", "q_stride=a,b is not a number", ""},
    {GOOD " q_stride=128;64", "q_stride takes 2 numbers", ""},
    {GOOD " cos_stride=64", "has no field 'cos_stride'", ""},
    {GOOD " positions_stride=1", "has no field 'positions_stride'", ""},
    {GOOD " cache_dtype=bf16", "a joint cache is fp32", "cache_dtype=bf16"},
    {GOOD " rounding=norm", "rounding=norm is not defined", ""},
  };

  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); ++i) {
    struct problem p;
    assert_fails(DD_BAD_ARGUMENT, cases[i].why,
                 problem_parse(&ops, cases[i].text, &p));
    if (!strstr(dd_last_error(), cases[i].also))
      fail_msg("'%s': \"%s\" does not say \"%s\"", cases[i].text,
               dd_last_error(), cases[i].also);
  }
}

/* The same for every op: each of its fields repeated, out of range, garbled. */
static void test_refusals_of_every_field(void **state)
{
  (void)state;
  for (uint32_t o = 0; o < ops.count; ++o) {
    struct problem p = random_problem(&ops.ops[o]), q;
    char text[TEXT], bad[2 * TEXT];
    print_to(&p, text, sizeof text);
    for (uint32_t i = 1; i < p.op->symbol_count; ++i) {
      const struct symbol *s = &p.op->symbols[i];
      if (s->kind != SYMBOL_INT) continue;
      snprintf(bad, sizeof bad, "%s %s=1 %s=1", text, s->name, s->name);
      assert_fails(DD_BAD_ARGUMENT, "is given twice",
                   problem_parse(&ops, bad, &q));
      snprintf(bad, sizeof bad, "%s=1e3", s->name);
      assert_fails(DD_BAD_ARGUMENT, bad, problem_override(&p, bad, &q));
      if (s->min == INT64_MIN || s->max == INT64_MAX) continue;
      snprintf(bad, sizeof bad, "%s=%lld", s->name, (long long)s->max + 1);
      assert_fails(DD_BAD_ARGUMENT, bad, problem_override(&p, bad, &q));
      snprintf(bad, sizeof bad, "%s=%lld", s->name, (long long)s->min - 1);
      assert_fails(DD_BAD_ARGUMENT, bad, problem_override(&p, bad, &q));
    }
  }
}

static void test_long_and_hostile_text(void **state)
{
  static const char alphabet[] = "qknorm_rope:bf16 tokens=8,-\t\n\1\377%s";
  char text[6000];
  struct problem p;

  (void)state;
  memset(text, 'a', sizeof text - 1);
  text[sizeof text - 1] = 0;
  assert_fails(DD_BAD_ARGUMENT, "5999 bytes is too long",
               problem_parse(&ops, text, &p));
  for (int i = 0; i < 20000; ++i) {
    size_t at = random_below(40) ? (size_t)sprintf(text, GOOD " ") : 0;
    size_t n = random_below(50);
    for (size_t j = 0; j < n; ++j)
      text[at++] = alphabet[random_below(sizeof alphabet - 1)];
    text[at] = 0;
    if (problem_parse(&ops, text, &p) == DD_OK)
      assert_string_equal(p.op->name, "qknorm_rope");
    else
      assert_true(*dd_last_error());
  }
}

/* ---- Overriding ---------------------------------------------------------- */

static void test_override(void **state)
{
  struct problem base, p;
  char text[TEXT];

  (void)state;
  assert_ok(problem_parse(&ops, "qknorm_rope:fp16 tokens=4096 q_heads=24 "
                                "head_dim=128 rope_dim=64", &base));
  assert_ok(problem_override(&base, "tokens=3 q_heads=5", &p));
  print_to(&p, text, sizeof text); /* kv_heads, seq and strides follow */
  assert_string_equal(text, "qknorm_rope:fp16 tokens=3 q_heads=5 head_dim=128 "
                            "rope_dim=64");
  assert_ok(problem_override(&base, "kv_heads=8", &p));
  assert_ok(problem_override(&p, "q_heads=16", &p)); /* onto itself */
  assert_int_equal(problem_get(&p, "kv_heads"), 8);
  assert_fails(DD_BAD_ARGUMENT, "rope_dim=64",
               problem_override(&base, "head_dim=32", &p));
  assert_fails(DD_BAD_ARGUMENT, "has no field 'size'",
               problem_override(&base, "size=1", &p));
}

static void test_override_of_every_op(void **state)
{
  (void)state;
  for (uint32_t o = 0; o < ops.count; ++o)
    for (int i = 0; i < 300; ++i) {
      struct problem p = random_problem(&ops.ops[o]), same;
      char text[TEXT];
      assert_ok(problem_override(&p, "", &same));
      assert_true(problem_equal(&p, &same));
      print_to(&p, text, sizeof text);
      assert_ok(problem_override(&p, strchr(text, ' '), &same));
      assert_true(problem_equal(&p, &same));
    }
}

/* ---- Tensors ------------------------------------------------------------- */

/* The farthest element, found by walking the corners of the index space. */
static int64_t farthest(const struct tensor_shape *s)
{
  int64_t best = 0;

  for (uint32_t corner = 0; corner < 1u << s->rank; ++corner) {
    int64_t at = 0;
    for (uint32_t d = 0; d < s->rank; ++d)
      if (corner >> d & 1) at += (s->extent[d] - 1) * s->stride[d];
    if (at > best) best = at;
  }
  return best;
}

static void check_shape(const struct problem *p, uint32_t t)
{
  const struct tensor_spec *spec = &p->op->tensors[t];
  struct tensor_shape s;
  int64_t count = 1, inner = 1;

  assert_ok(problem_shape(p, (int)t, &s));
  assert_int_equal(s.rank, spec->rank);
  for (uint32_t d = 0; d < s.rank; ++d) count *= s.extent[d];
  assert_true(s.count == count);
  if (s.present) assert_true(dtype_bytes(s.dtype) > 0);
  if (count == 0) assert_true(s.span == 0);
  else assert_true(s.span == (farthest(&s) + 1) * dtype_bytes(s.dtype));
  assert_true(s.stride[s.rank - 1] == 1);
  for (uint32_t d = s.rank; d-- > 0;) {
    if (spec->stride[d] >= 0)
      assert_true(s.stride[d] == p->value[spec->stride[d]]);
    else assert_true(s.stride[d] == inner);
    inner *= s.extent[d];
  }
  if (!spec->when) assert_true(s.present);
  else assert_true(spec->alias < (int)t);
}

static void test_shapes(void **state)
{
  (void)state;
  for (uint32_t o = 0; o < ops.count; ++o)
    for (int i = 0; i < 300; ++i) {
      struct problem p = random_problem(&ops.ops[o]);
      int64_t reads, writes;
      for (uint32_t t = 0; t < p.op->tensor_count; ++t) check_shape(&p, t);
      assert_ok(problem_traffic(&p, &reads, &writes));
      assert_true(reads >= 0 && writes >= 0);
    }
}

static void test_shape_examples(void **state)
{
  struct problem p;
  struct tensor_shape s;
  int64_t reads, writes;

  (void)state;
  assert_ok(problem_parse(&ops, "qknorm_rope:bf16 tokens=10 q_heads=3 "
                                "kv_heads=2 head_dim=64 q_stride=1000,100", &p));
  assert_ok(problem_shape(&p, op_tensor_find(p.op, "q"), &s));
  assert_true(s.present && s.dtype == DD_BF16 && s.count == 10 * 3 * 64);
  assert_int_equal(s.span, (9 * 1000 + 2 * 100 + 63 + 1) * 2);
  assert_ok(problem_shape(&p, op_tensor_find(p.op, "k"), &s));
  assert_int_equal(s.span, 10 * 2 * 64 * 2);
  assert_ok(problem_shape(&p, op_tensor_find(p.op, "q_out"), &s));
  assert_false(s.present);
  assert_ok(problem_shape(&p, op_tensor_find(p.op, "positions"), &s));
  assert_true(s.present && s.dtype == DD_I64 && s.span == 80);
  assert_ok(problem_traffic(&p, &reads, &writes));
  assert_int_equal(writes, 10 * 5 * 64 * 2);
  assert_int_equal(reads, writes + 10 * (64 * 4 + 8));
  assert_ok(problem_override(&p, "tokens=0", &p));
  assert_ok(problem_shape(&p, op_tensor_find(p.op, "q"), &s));
  assert_true(s.count == 0 && s.span == 0);
}

/* Extents whose product passes 2^63 are refused, never wrapped. */
static void test_overflow(void **state)
{
  struct problem p;
  struct tensor_shape s;
  dd_status status =
    problem_parse(&ops, "qknorm_rope:fp32 tokens=1099511627776 q_heads=65535 "
                        "head_dim=65536", &p);

  (void)state;
  if (!status) status = problem_shape(&p, op_tensor_find(p.op, "q"), &s);
  assert_int_equal(status, DD_BAD_ARGUMENT);
  assert_ok(problem_parse(&ops, "qknorm_rope:bf16 tokens=1000000 q_heads=64 "
                                "head_dim=128 q_stride=55296,128", &p));
  assert_ok(problem_shape(&p, op_tensor_find(p.op, "q"), &s));
  assert_true(s.span == (INT64_C(999999) * 55296 + 64 * 128) * 2);
}

/* ---- Split form ---------------------------------------------------------- */

static bool written(const struct problem *p, uint32_t t)
{
  struct tensor_shape s;

  if (p->op->tensors[t].role == TENSOR_OUT) {
    assert_ok(problem_shape(p, (int)t, &s));
    if (s.present) return true;
  }
  for (uint32_t u = 0; u < p->op->tensor_count; ++u) {
    if (p->op->tensors[u].role != TENSOR_OUT) continue;
    if (p->op->tensors[u].alias != (int)t) continue;
    assert_ok(problem_shape(p, (int)u, &s));
    if (!s.present) return true;
  }
  return false;
}

/* Where an outer tensor really lies: its own memory, or its alias's. */
static int home_of(const struct problem *p, int t)
{
  struct tensor_shape s;

  assert_ok(problem_shape(p, t, &s));
  return s.present || p->op->tensors[t].alias < 0 ? t
                                                  : p->op->tensors[t].alias;
}

/* A tensor of the step that is a view of the outer one: of as many rows, at
 * the same distance, each inside the outer one's. */
static void check_view(const struct tensor_shape *a,
                       const struct tensor_shape *b, int64_t at)
{
  int64_t last = at;

  assert_true(a->extent[0] == b->extent[0] && a->stride[0] == b->stride[0]);
  for (uint32_t d = 1; d < b->rank && b->count; ++d)
    last += (b->extent[d] - 1) * b->stride[d];
  assert_true(at >= 0 && (!b->count || last < a->extent[1]));
}

/* A tensor of the step is the outer one it stands on, element for element, or
 * a view of it.  Of scratch rows, there are those that the step will use. */
static void check_bound(const struct problem *outer, uint32_t i, int t,
                        const struct problem *inner, uint32_t j)
{
  bool scratch = outer->op->tensors[t].role == TENSOR_SCRATCH;
  const char *name = inner->op->tensors[j].name;
  struct tensor_shape a, b;
  int64_t skip;

  assert_ok(problem_shape(outer, t, &a));
  assert_ok(problem_shape(inner, (int)j, &b));
  assert_ok(problem_step_offset(outer, i, name, &skip));
  if (!b.present) return;
  assert_int_equal(a.dtype, b.dtype);
  if (a.rank != b.rank) {
    check_view(&a, &b, skip / dtype_bytes(a.dtype));
    return;
  }
  assert_true(skip == 0);
  for (uint32_t d = 0; d < a.rank; ++d) {
    assert_true(a.extent[d] == b.extent[d] || (scratch && d == 0));
    assert_true(a.stride[d] == b.stride[d]);
  }
}

static void check_step(const struct problem *p, uint32_t i, bool *done)
{
  struct problem inner, back;
  int bind[OP_MAX_TENSORS];
  char text[TEXT];

  if (problem_step(&ops, p, i, &inner, bind)) {
    print_to(p, text, sizeof text);
    fail_msg("step %u of '%s': %s", i, text, dd_last_error());
  }
  assert_string_equal(inner.op->name, p->op->steps[i].op);
  print_to(&inner, text, sizeof text);
  assert_ok(problem_parse(&ops, text, &back));
  assert_true(problem_equal(&inner, &back));
  for (uint32_t j = 0; j < inner.op->tensor_count; ++j) {
    assert_true(bind[j] >= -1 && bind[j] < (int)p->op->tensor_count);
    if (bind[j] < 0) continue;
    check_bound(p, i, bind[j], &inner, j);
    if (written(&inner, j)) done[home_of(p, bind[j])] = true;
  }
}

static void test_steps(void **state)
{
  int with_split = 0;

  (void)state;
  for (uint32_t o = 0; o < ops.count; ++o) {
    with_split += ops.ops[o].step_count > 0;
    for (int i = 0; i < 500 && ops.ops[o].step_count; ++i) {
      struct problem p = random_problem(&ops.ops[o]);
      bool done[OP_MAX_TENSORS] = {false};
      for (uint32_t s = 0; s < p.op->step_count; ++s) check_step(&p, s, done);
      for (uint32_t t = 0; t < p.op->tensor_count; ++t)
        if (written(&p, t) && !done[t])
          fail_msg("no step of %s writes %s", p.op->name,
                   p.op->tensors[t].name);
    }
  }
  assert_true(with_split > 0);
}

static void test_step_example(void **state)
{
  struct problem p, step;
  int bind[OP_MAX_TENSORS];
  char text[TEXT];

  (void)state;
  assert_ok(problem_parse(&ops, "qknorm_rope:bf16 tokens=8 q_heads=2 "
                                "head_dim=64 layout=neox inplace=0 "
                                "q_stride=4096,64", &p));
  assert_ok(problem_step(&ops, &p, 0, &step, bind));
  print_to(&step, text, sizeof text);
  assert_string_equal(text, "qk_norm:bf16 tokens=8 q_heads=2 head_dim=64 "
                            "inplace=0 q_stride=4096,64");
  assert_ok(problem_step(&ops, &p, 1, &step, bind));
  print_to(&step, text, sizeof text); /* on the output of the first, in place */
  assert_string_equal(text, "rope:bf16 tokens=8 q_heads=2 head_dim=64 "
                            "layout=neox");
  assert_int_equal(bind[op_tensor_find(step.op, "q")],
                   op_tensor_find(p.op, "q_out"));
}

/* ---- The small hard cases of every op ------------------------------------ */

static void test_awkward(void **state)
{
  (void)state;
  for (uint32_t o = 0; o < ops.count; ++o) {
    struct problem p = random_problem(&ops.ops[o]), q;
    int legal = 0;
    assert_true(p.op->awkward_count > 0);
    for (uint32_t i = 0; i < p.op->awkward_count; ++i)
      for (int tries = 0; tries < 20; ++tries) {
        p = random_problem(&ops.ops[o]);
        legal += problem_override(&p, p.op->awkward[i], &q) == DD_OK;
      }
    assert_true(legal > 0);
  }
}

static int load_ops(void **state)
{
  struct tree tree;

  (void)state;
  assert_ok(tree_load(&tree, TEST_ROOT "/variants"));
  assert_ok(spec_load(&tree, &ops));
  tree_release(&tree);
  assert_true(ops.count > 0);
  return 0;
}

static int release_ops(void **state)
{
  (void)state;
  op_set_release(&ops);
  return 0;
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_round_trip),
    cmocka_unit_test(test_static_spelling),
    cmocka_unit_test(test_examples),
    cmocka_unit_test(test_refusals),
    cmocka_unit_test(test_refusals_of_every_field),
    cmocka_unit_test(test_long_and_hostile_text),
    cmocka_unit_test(test_override),
    cmocka_unit_test(test_override_of_every_op),
    cmocka_unit_test(test_shapes),
    cmocka_unit_test(test_shape_examples),
    cmocka_unit_test(test_overflow),
    cmocka_unit_test(test_steps),
    cmocka_unit_test(test_step_example),
    cmocka_unit_test(test_awkward),
  };

  return cmocka_run_group_tests(tests, load_ops, release_ops);
}
