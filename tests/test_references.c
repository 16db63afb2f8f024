/*
 * test_references.c - the references of the row ops, against the formulas of
 * docs/operators.md written down once more: in long double, element by element.
 *
 * The second version also plays the parts that the bounds are about: fp32
 * arithmetic, the split form's roundings, and a rounding that flips.
 */
#include "test.h"

#include <math.h>

#include "fill_element.h"
#include "judge.h"
#include "references.h"
#include "specs.h"
#include "variants/common/reference_number.h"

typedef long double real;

static struct specs specs;

static uint64_t state = 0x2545f4914f6cdd1d;
static uint64_t random_bits(void)
{
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return state * 0x2545f4914f6cdd1du;
}
static const char *one_of(const char *const *words, size_t count)
{
  return words[random_bits() % count];
}
#define ONE_OF(...)                                                            \
  one_of((const char *const[]){__VA_ARGS__},                                   \
         COUNT_OF(((const char *const[]){__VA_ARGS__})))

/* ---- A problem with inputs and its reference --------------------------- */

struct fixture {
  struct problem p;
  struct reference_tensor tensor[OP_MAX_TENSORS];
  struct reference_out out[OP_MAX_TENSORS];
  double attr[OP_MAX_ATTRS];
  int64_t io, items, width, size; /* size: of an output, in elements */
};

static void *zeroed(int64_t count, size_t size)
{
  void *p = calloc((size_t)(count ? count : 1), size);

  assert_non_null(p);
  return p;
}

static void make_tensor(struct fixture *f, uint32_t i, enum fill_class class,
                        uint64_t seed)
{
  const struct tensor_spec *spec = &f->p.op->tensors[i];
  struct reference_tensor *t = &f->tensor[i];
  struct tensor_shape s;

  assert_ok(problem_shape(&f->p, (int)i, &s));
  *t = (struct reference_tensor){.present = s.present, .dtype = s.dtype,
                                 .rank = s.rank};
  memcpy(t->extent, s.extent, sizeof t->extent);
  memcpy(t->stride, s.stride, sizeof t->stride);
  if (spec->role == TENSOR_IN && s.present) {
    const struct fill_source source =
        fill_source_of(spec, &s, 1, class, seed + i);
    t->data = zeroed(s.span, 1);
    fill_tensor(&source, &s, (void *)(uintptr_t)t->data);
  }
  if (spec->role != TENSOR_OUT) return;
  f->out[i].value = zeroed(f->size, sizeof(double));
  f->out[i].slack = zeroed(f->size, sizeof(float));
  f->out[i].split_slack = zeroed(f->size, sizeof(float));
}

static void make(struct fixture *f, const char *spelling, enum fill_class class,
                 uint64_t seed)
{
  memset(f, 0, sizeof *f);
  assert_ok(problem_parse(&specs.ops, spelling, &f->p));
  f->io = problem_get(&f->p, "io");
  f->items = problem_get(&f->p, "batch") * problem_get(&f->p, "seq");
  f->width = problem_get(&f->p, "hidden");
  f->size = f->items * f->width;
  for (uint32_t i = 0; i < f->p.op->attr_count; ++i)
    f->attr[i] = f->p.op->attrs[i].trial;
  for (uint32_t i = 0; i < f->p.op->tensor_count; ++i)
    make_tensor(f, i, class, seed);
}

static void forget(struct fixture *f)
{
  for (uint32_t i = 0; i < OP_MAX_TENSORS; ++i) {
    free((void *)(uintptr_t)f->tensor[i].data);
    free(f->out[i].value);
    free(f->out[i].slack);
    free(f->out[i].split_slack);
  }
}

static void compute_range(const struct fixture *f, int64_t first, int64_t last)
{
  const struct reference_call call = {&f->p, f->tensor, f->attr};
  const struct reference_row *row = reference_rows;
  _Alignas(16) char plan[REFERENCE_PLAN];
  struct reference_out out[OP_MAX_TENSORS] = {{0}};

  while (strcmp(row->op, f->p.op->name)) row++;
  for (int i = 0; i < OP_MAX_TENSORS; ++i) {
    if (!f->out[i].value) continue;
    out[i].value = f->out[i].value + first * f->width;
    out[i].slack = f->out[i].slack + first * f->width;
    out[i].split_slack = f->out[i].split_slack + first * f->width;
  }
  row->reference->plan(&call, plan);
  row->reference->items(plan, first, last, out);
}

static int64_t get(const struct fixture *f, const char *name)
{
  return problem_get(&f->p, name);
}

static int tensor_of(const struct fixture *f, const char *name)
{
  return op_tensor_find(f->p.op, name);
}

/* ---- The formulas once more -------------------------------------------- */

/* Where a value is stored on its way. */
enum site { NOWHERE, SITE_U, SITE_TANH, SITE_GATED, SITE_R, SITE_N, SITE_FACTOR,
            SITE_PRODUCT, SITE_COUNT };

/* How a row is evaluated, and with what accident. */
struct play {
  bool fp32;          /* every operation rounds to fp32 */
  bool stored;        /* u, r and n are rounded, as the split form does */
  enum site flip;     /* the rounding that comes out one ulp off */
  int64_t flip_at;
  int direction;
  bool flipped;       /* it was there to flip */
};

/* One item: what is read, looked up once, and what comes of it. */
enum { MAX_WIDTH = 128 };
struct vector {
  bool present;
  real at[MAX_WIDTH];
};
struct naive {
  const struct fixture *f;
  struct play *play;
  struct number_format io;
  int64_t batch, token, width, rounding;
  bool rms1, rms2, tanh;
  real eps1, eps2;
  struct vector input, residual, gate, scale, shift;
  struct vector weight1, bias1, weight2, bias2;
  real y[MAX_WIDTH], r[MAX_WIDTH];
};

static real fl(const struct naive *n, real x)
{
  return n->play->fp32 ? (real)(float)x : x;
}

static real stored(struct naive *n, enum site site, int64_t i, real x)
{
  bool always = site == SITE_U || site == SITE_R || site == SITE_N;
  bool rounds = n->rounding == 2 || (always && n->rounding == 1);
  double y;

  if (!rounds && !(always && n->play->stored)) return x;
  y = number_round(&n->io, (double)x);
  if (n->play->flip != site || n->play->flip_at != i) return y;
  n->play->flipped = true;
  return y + n->play->direction * number_ulp(&n->io, y);
}

static real element(const struct reference_tensor *t, int64_t a, int64_t b,
                    int64_t c)
{
  int64_t at = t->rank == 1 ? c : a * t->stride[0] + b * t->stride[1] + c;

  return dtype_load(t->dtype,
                    (const char *)t->data + at * dtype_bytes(t->dtype));
}

/* A tensor's elements for this item, by the form if it is an operand. */
static void read(const struct naive *n, const char *name, int64_t form,
                 struct vector *out)
{
  int64_t frame = n->token / (get(n->f, "seq") / get(n->f, "frames"));
  int i = tensor_of(n->f, name);
  const struct reference_tensor *t = &n->f->tensor[i < 0 ? 0 : i];

  out->present = i >= 0 && t->present;
  for (int64_t c = 0; out->present && c < n->width; ++c)
    switch (form) {
    case 1: out->at[c] = element(t, 0, 0, 0); break;
    case 2: out->at[c] = element(t, 0, 0, c); break;
    case 3: out->at[c] = element(t, n->batch, 0, c); break;
    case 4: out->at[c] = element(t, n->batch, n->token, c); break;
    default: out->at[c] = element(t, n->batch, frame, c);
    }
}

static bool is_op(const struct fixture *f, const char *name)
{
  return strcmp(f->p.op->name, name) == 0;
}

static void prepare(struct naive *n, const struct fixture *f, int64_t item)
{
  enum { ACTIVATION = 4 }; /* as an operand per token */

  memset(n, 0, sizeof *n);
  n->f = f;
  n->io = number_format_of(f->io);
  n->width = f->width;
  n->batch = item / get(f, "seq");
  n->token = item % get(f, "seq");
  n->rounding = get(f, "rounding");
  n->tanh = get(f, "gate_tanh");
  n->rms1 = get(f, "norm") == 1;
  n->rms2 = get(f, "norm2") == 1;
  n->eps1 = (real)(float)f->attr[0];
  n->eps2 = (real)(float)f->attr[1];
  read(n, tensor_of(f, "h") >= 0 ? "h" : "x", ACTIVATION, &n->input);
  read(n, tensor_of(f, "h") >= 0 ? "x" : "residual", ACTIVATION, &n->residual);
  read(n, "gate", get(f, "gate"), &n->gate);
  read(n, "scale", get(f, "scale"), &n->scale);
  read(n, "shift", get(f, "shift"), &n->shift);
  read(n, "weight", 2, &n->weight1);
  read(n, "bias", 2, &n->bias1);
  read(n, "weight2", 2, &n->weight2);
  read(n, "bias2", 2, &n->bias2);
}

/* As a warp adds: each lane what is its own, then the lanes in pairs. */
static real sum(const struct naive *n, const real *x)
{
  real lane[32] = {0};

  for (int64_t i = 0; i < n->width; ++i)
    lane[i % 32] = fl(n, lane[i % 32] + x[i]);
  for (int step = 16; step > 0; step /= 2)
    for (int i = 0; i < step; ++i) lane[i] = fl(n, lane[i] + lane[i + step]);
  return lane[0];
}

static void naive_norm(struct naive *n, real *x, bool rms, real eps,
                       const struct vector *weight, const struct vector *bias)
{
  real mean = rms ? 0 : fl(n, sum(n, x) / (real)n->width);
  real squares[MAX_WIDTH], scale;

  for (int64_t i = 0; i < n->width; ++i) {
    x[i] = fl(n, x[i] - mean);
    squares[i] = fl(n, x[i] * x[i]);
  }
  scale = fl(n, fl(n, sum(n, squares) / (real)n->width) + eps);
  scale = fl(n, 1 / fl(n, sqrtl(scale)));
  for (int64_t i = 0; i < n->width; ++i) {
    x[i] = fl(n, x[i] * scale);
    if (weight->present) x[i] = fl(n, x[i] * weight->at[i]);
    if (bias->present && !rms) x[i] = fl(n, x[i] + bias->at[i]);
  }
}

static void naive_residual(struct naive *n, real *x)
{
  for (int64_t i = 0; i < n->width; ++i) {
    if (n->gate.present) {
      real g = n->gate.at[i];
      if (n->tanh) g = stored(n, SITE_TANH, i, fl(n, tanhl(g)));
      x[i] = stored(n, SITE_GATED, i, fl(n, x[i] * g));
    }
    x[i] = fl(n, n->residual.at[i] + x[i]);
  }
}

static void naive_modulate(struct naive *n, real *x)
{
  for (int64_t i = 0; i < n->width; ++i) {
    if (n->scale.present) {
      real factor = stored(n, SITE_FACTOR, i, fl(n, 1 + n->scale.at[i]));
      x[i] = fl(n, x[i] * factor);
      if (n->shift.present) x[i] = stored(n, SITE_PRODUCT, i, x[i]);
    }
    if (n->shift.present) x[i] = fl(n, x[i] + n->shift.at[i]);
  }
}

static void store_all(struct naive *n, enum site site, real *x)
{
  for (int64_t i = 0; i < n->width; ++i) x[i] = stored(n, site, i, x[i]);
}

/* The parts of the op, in their order. */
static void naive_parts(struct naive *n, real *x)
{
  const struct fixture *f = n->f;
  bool one = is_op(f, "norm_gate_residual"), add = is_op(f, "gate_residual");
  bool two = is_op(f, "norm_gate_residual_norm_scale");
  bool head = is_op(f, "residual_norm_scale_shift");

  if (one || two)
    naive_norm(n, x, n->rms1, n->eps1, &n->weight1, &n->bias1);
  if (one || two) store_all(n, SITE_U, x);
  if (one || two || add || head) naive_residual(n, x);
  if (two || head) {
    memcpy(n->r, x, sizeof n->r);
    store_all(n, SITE_R, x);
  }
  if (one || add) return;
  if (two) naive_norm(n, x, n->rms2, n->eps2, &n->weight2, &n->bias2);
  if (!two && !is_op(f, "scale_shift"))
    naive_norm(n, x, n->rms1, n->eps1, &n->weight1, &n->bias1);
  if (!n->scale.present && !n->shift.present) return;
  if (!is_op(f, "scale_shift")) store_all(n, SITE_N, x);
  naive_modulate(n, x);
}

/* Both outputs of the row, before the rounding at the store in `once`. */
static void evaluate(struct naive *n, struct play *play)
{
  n->play = play;
  memcpy(n->y, n->input.at, sizeof n->y);
  naive_parts(n, n->y);
  for (int64_t i = 0; i < n->width && n->rounding; ++i) {
    n->y[i] = number_round(&n->io, (double)n->y[i]);
    n->r[i] = number_round(&n->io, (double)n->r[i]);
  }
}

/* ---- Problems at random ------------------------------------------------ */

static const char *const row_ops[] = {
    "norm", "norm_scale_shift", "residual_norm_scale_shift",
    "norm_gate_residual_norm_scale", "norm_gate_residual", "gate_residual",
    "scale_shift",
};
static const char *const io_names[] = {"bf16", "fp16", "fp32"};
static const char *const rounding_names[] = {"once", "norm", "each"};

/* A form that the op allows. */
static const char *random_form(const struct op *op, int symbol)
{
  const struct symbol *s = &op->symbols[symbol];

  return s->choices[random_bits() % s->choice_count].word;
}

static void spell_operands(const struct op *op, struct bytes *out)
{
  static const char *const names[] = {"scale", "shift", "gate"};

  for (size_t i = 0; i < COUNT_OF(names); ++i) {
    int s = op_symbol_find(op, names[i]);
    const char *form;
    if (s < 0) continue;
    form = random_form(op, s);
    bytes_printf(out, " %s=%s", names[i], form);
    if (strcmp(form, "none")) bytes_printf(out, ":%s", one_of(io_names, 3));
    if (i == 2 && strcmp(form, "none") && op_symbol_find(op, "gate_tanh") >= 0)
      bytes_printf(out, " gate_tanh=%s", ONE_OF("0", "1"));
  }
}

static void spell_norms(const struct op *op, struct bytes *out)
{
  static const char *const names[] = {"weight", "bias", "weight2", "bias2"};

  if (op_symbol_find(op, "norm") >= 0)
    bytes_printf(out, " norm=%s", ONE_OF("layer", "rms"));
  if (op_symbol_find(op, "norm2") >= 0)
    bytes_printf(out, " norm2=%s", ONE_OF("layer", "rms"));
  for (size_t i = 0; i < COUNT_OF(names); ++i)
    if (op_symbol_find(op, names[i]) >= 0)
      bytes_printf(out, " %s=%s", names[i],
                   ONE_OF("none", "fp32", "fp16", "bf16"));
}

/* Every op, dtype and rounding in turn; the rest at random. */
static void random_problem(int turn, const char *width, struct bytes *out)
{
  const char *name = row_ops[turn % 7];
  const struct op *op = op_find(&specs.ops, name);
  int64_t d = strtoll(width, NULL, 10);

  bytes_clear(out);
  bytes_printf(out, "%s:%s rounding=%s %s hidden=%s", name,
               io_names[turn / 7 % 3], rounding_names[turn / 21 % 3],
               ONE_OF("batch=1 seq=4", "batch=2 seq=3",
                      "batch=2 seq=6 frames=3"), width);
  spell_norms(op, out);
  spell_operands(op, out);
  if (random_bits() % 2) return;
  bytes_printf(out, " x_stride=%lld,%lld", (long long)(6 * (d + 3) + 1),
               (long long)(d + 3));
}

static const char *random_width(void)
{
  return ONE_OF("1", "2", "3", "16", "37", "96");
}

typedef void case_fn(struct fixture *f, const char *spelling);

static void for_problems(int count, enum fill_class class, case_fn *run)
{
  struct bytes spelling = BYTES_INIT;

  for (int turn = 0; turn < count; ++turn) {
    struct fixture f;
    random_problem(turn, random_width(), &spelling);
    make(&f, bytes_string(&spelling), class, (uint64_t)turn * 977 + 1);
    compute_range(&f, 0, f.items);
    run(&f, bytes_string(&spelling));
    forget(&f);
  }
  bytes_release(&spelling);
}

/* The outputs of a fixture and of a naive row, side by side. */
struct pair {
  const struct reference_out *out;
  const real *naive;
  const char *name;
};
static int pairs_of(const struct fixture *f, const struct naive *n,
                    struct pair pair[2])
{
  int r = tensor_of(f, "r_out");

  pair[0] = (struct pair){&f->out[tensor_of(f, "y")], n->y, "y"};
  if (r >= 0) pair[1] = (struct pair){&f->out[r], n->r, "r_out"};
  return r >= 0 ? 2 : 1;
}

/* ---- Numbers ----------------------------------------------------------- */

static bool same(double a, double b)
{
  if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
  return a == b && signbit(a) == signbit(b);
}

static void check_number(int64_t dtype, double x)
{
  const struct number_format f = number_format_of(dtype);

  if (!same(number_round(&f, x), dtype_round(dtype, x)))
    fail_msg("%s: %a rounds to %a, not %a", dtype_name(dtype), x,
             number_round(&f, x), dtype_round(dtype, x));
  if (isfinite(x) && fabs(x) < f.overflow)
    assert_true(number_ulp(&f, x) == dtype_ulp(dtype, x));
}

/* Every 16-bit pattern loads right, and it, the middle between it and the next
 * and what lies beside the middle round right. */
static void numbers_load_and_round(void **unused)
{
  static const int64_t dtypes[] = {DD_BF16, DD_F16, DD_F32};

  (void)unused;
  for (size_t d = 0; d < COUNT_OF(dtypes); ++d) {
    for (uint32_t i = 0; i < 0x10000; ++i) {
      uint16_t bits = (uint16_t)i;
      uint32_t wide = i * 0x10001u;
      const void *at = d == 2 ? (const void *)&wide : &bits;
      const struct reference_tensor t = {.data = at, .dtype = dtypes[d]};
      double x = dtype_load(dtypes[d], at), middle;
      assert_true(same(number_get(&t, 0), x));
      check_number(dtypes[d], x);
      if (!isfinite(x)) continue;
      middle = x + dtype_ulp(dtypes[d], x) / 2;
      check_number(dtypes[d], middle);
      check_number(dtypes[d], nextafter(middle, INFINITY));
      check_number(dtypes[d], nextafter(middle, -INFINITY));
    }
    for (int i = 0; i < 200000; ++i) {
      double x = number_of(random_bits());
      check_number(dtypes[d], x);
      if (isfinite(x) && x != 0)
        check_number(dtypes[d], ldexp(x, -ilogb(x) - 150 + i % 300));
    }
  }
}

/* ---- Values ------------------------------------------------------------ */

static int64_t compared, different;

/* In `once` to double's accuracy; else the very same, but where a double falls
 * on the other side of a tie than a long double. */
static void values_are_those(struct fixture *f, const char *spelling)
{
  for (int64_t item = 0; item < f->items; ++item) {
    struct play play = {0};
    struct naive n;
    struct pair pair[2];
    prepare(&n, f, item);
    evaluate(&n, &play);
    for (int k = 0, count = pairs_of(f, &n, pair); k < count; ++k)
      for (int64_t i = 0; i < f->width; ++i) {
        int64_t at = item * f->width + i;
        double want = (double)pair[k].naive[i], got = pair[k].out->value[at];
        double slack = (double)pair[k].out->slack[at];
        compared++;
        if (same(got, want) || got == want) continue;
        if (get(f, "rounding")) different++;
        if (get(f, "rounding") ? fabs(got - want) <= slack
                               : fabs(got - want) <= 1e-6 * slack) continue;
        fail_msg("%s: %s[%lld] is %.17g, not %.17g (slack %g)", spelling,
                 pair[k].name, (long long)at, got, want, slack);
      }
  }
}

static void values_are_right(void **unused)
{
  (void)unused;
  compared = different = 0;
  for_problems(63 * 20, FILL_HARD, values_are_those);
  for_problems(63 * 4, FILL_SPECIAL, values_are_those);
  assert_true(compared > 100000);
  assert_true(different * 100000 <= compared);
}

/* A mean of 1000 deviations and more is nothing to a double. */
static void far_means_are_exact(void **unused)
{
  struct fixture f;
  enum { WIDTH = 128 };
  float *x;

  (void)unused;
  make(&f, "norm_scale_shift:fp32 seq=1 hidden=128", FILL_PLAIN, 5);
  x = (void *)(uintptr_t)f.tensor[tensor_of(&f, "x")].data;
  for (int k = 0; k < 40; ++k) {
    struct play play = {0};
    struct naive n;
    for (int i = 0; i < WIDTH; ++i)
      x[i] = (float)(ldexp(1, k % 14) + (double)(random_bits() % 997) * 1e-3);
    compute_range(&f, 0, 1);
    prepare(&n, &f, 0);
    evaluate(&n, &play);
    for (int i = 0; i < WIDTH; ++i)
      assert_true(fabs(f.out[tensor_of(&f, "y")].value[i] - (double)n.y[i]) <
                  1e-11);
  }
  forget(&f);
}

/* With one column, x - mean is 0 and the result is what is added. */
static void one_column_is_its_mean(void **unused)
{
  struct fixture f;

  (void)unused;
  make(&f, "norm:bf16 seq=9 hidden=1 bias=fp32", FILL_HARD, 3);
  compute_range(&f, 0, f.items);
  for (int64_t i = 0; i < f.size; ++i)
    assert_true(f.out[tensor_of(&f, "y")].value[i] ==
                dtype_load(DD_F32, f.tensor[tensor_of(&f, "bias")].data));
  forget(&f);
}

/* In pieces, backwards: the same bits as at once. */
static void is_the_same_in_pieces(struct fixture *f, const char *spelling)
{
  struct reference_out whole[OP_MAX_TENSORS];
  size_t n = (size_t)f->size;

  memcpy(whole, f->out, sizeof whole);
  for (int i = 0; i < OP_MAX_TENSORS; ++i) {
    if (!whole[i].value) continue;
    f->out[i].value = zeroed(f->size, sizeof(double));
    f->out[i].slack = zeroed(f->size, sizeof(float));
    f->out[i].split_slack = zeroed(f->size, sizeof(float));
  }
  for (int64_t item = f->items; item-- > 0;) compute_range(f, item, item + 1);
  for (int i = 0; i < OP_MAX_TENSORS; ++i) {
    if (!whole[i].value) continue;
    if (memcmp(whole[i].value, f->out[i].value, n * sizeof(double)) ||
        memcmp(whole[i].slack, f->out[i].slack, n * sizeof(float)) ||
        memcmp(whole[i].split_slack, f->out[i].split_slack, n * sizeof(float)))
      fail_msg("%s: differs row by row", spelling);
    free(whole[i].value);
    free(whole[i].slack);
    free(whole[i].split_slack);
  }
}

static void rows_stand_alone(void **unused)
{
  (void)unused;
  for_problems(63 * 4, FILL_HARD, is_the_same_in_pieces);
}

/* Rows in another order come out in that order. */
static void order_of_rows_is_free(void **unused)
{
  enum { ROWS = 11, WIDTH = 37 };
  struct fixture f, g;

  (void)unused;
  for (size_t k = 0; k < COUNT_OF(row_ops); ++k) {
    char spelling[100];
    snprintf(spelling, sizeof spelling, "%s:fp16 seq=11 hidden=37 rounding=%s",
             row_ops[k], rounding_names[k % 3]);
    make(&f, spelling, FILL_HARD, k);
    make(&g, spelling, FILL_HARD, k);
    for (uint32_t t = 0; t < f.p.op->tensor_count; ++t) {
      const struct reference_tensor *from = &f.tensor[t], *to = &g.tensor[t];
      if (!from->data || from->extent[1] != ROWS) continue;
      for (int64_t i = 0; i < ROWS; ++i)
        memcpy((char *)(uintptr_t)to->data + i * WIDTH * 2,
               (const char *)from->data + i * 7 % ROWS * WIDTH * 2, WIDTH * 2);
    }
    compute_range(&f, 0, f.items);
    compute_range(&g, 0, g.items);
    for (int64_t i = 0; i < ROWS; ++i)
      assert_memory_equal(
          g.out[tensor_of(&g, "y")].value + i * WIDTH,
          f.out[tensor_of(&f, "y")].value + i * 7 % ROWS * WIDTH,
          WIDTH * sizeof(double));
    forget(&f);
    forget(&g);
  }
}

static void set_all(struct fixture *f, const char *name, double even,
                    double odd)
{
  struct reference_tensor *t = &f->tensor[tensor_of(f, name)];
  int64_t count = t->extent[0];

  for (uint32_t d = 1; d < t->rank; ++d) count *= t->extent[d];
  for (int64_t i = 0; i < count; ++i)
    dtype_store(t->dtype,
                (char *)(uintptr_t)t->data + i * dtype_bytes(t->dtype),
                i % 2 ? odd : even);
}

/* Where no rounding rounds, the modes are one. */
static void exact_values_have_one_rounding(void **unused)
{
  static const struct {
    const char *op, *input, *other;
    double even, odd; /* what y is */
  } rows[] = {
      {"norm", "x", NULL, 1, -1},
      {"norm_scale_shift", "x", NULL, 1.5, 0.5},
      {"residual_norm_scale_shift", "x", "residual", 1.5, 0.5},
      {"norm_gate_residual_norm_scale", "h", "x", 0.5, -0.5},
      {"norm_gate_residual", "h", "x", 2, -2},
      {"gate_residual", "h", "x", 2, -2},
      {"scale_shift", "x", NULL, 1.5, 0.5},
  };

  (void)unused;
  for (int k = 0; k < 7 * 9; ++k) {
    char spelling[100];
    struct fixture f;
    snprintf(spelling, sizeof spelling, "%s:%s seq=3 hidden=16 rounding=%s",
             rows[k % 7].op, io_names[k / 7 % 3], rounding_names[k / 21]);
    make(&f, spelling, FILL_PLAIN, 1);
    memset(f.attr, 0, sizeof f.attr); /* eps = 0 */
    set_all(&f, rows[k % 7].input, 1, -1);
    if (rows[k % 7].other) set_all(&f, rows[k % 7].other, 1.5, -1.5);
    if (tensor_of(&f, "gate") >= 0) set_all(&f, "gate", 0.5, 0.5);
    if (tensor_of(&f, "scale") >= 0) set_all(&f, "scale", -0.5, -0.5);
    if (tensor_of(&f, "shift") >= 0 && f.tensor[tensor_of(&f, "shift")].present)
      set_all(&f, "shift", 1, 1);
    compute_range(&f, 0, f.items);
    for (int64_t i = 0; i < f.size; ++i)
      assert_true(f.out[tensor_of(&f, "y")].value[i] ==
                  (i % 2 ? rows[k % 7].odd : rows[k % 7].even));
    forget(&f);
  }
}

/* ---- Bounds ------------------------------------------------------------ */

/* x = residual + gate * x = 0: the result is 0, what fp32 may be off is not. */
static void cancelling_terms_have_slack(void **unused)
{
  struct fixture f;

  (void)unused;
  for (int k = 0; k < 9; ++k) {
    char spelling[100];
    snprintf(spelling, sizeof spelling,
             "residual_norm_scale_shift:%s seq=2 hidden=16 rounding=%s",
             io_names[k % 3], rounding_names[k / 3]);
    make(&f, spelling, FILL_PLAIN, 1);
    set_all(&f, "residual", 1, 3);
    set_all(&f, "x", -2, -6);
    set_all(&f, "gate", 0.5, 0.5);
    set_all(&f, "shift", 0, 0);
    compute_range(&f, 0, f.items);
    for (int64_t i = 0; i < f.size; ++i) {
      const struct reference_out *r = &f.out[tensor_of(&f, "r_out")];
      const struct reference_out *y = &f.out[tensor_of(&f, "y")];
      assert_true(r->value[i] == 0 && y->value[i] == 0);
      double terms = i % 2 ? 6 : 2;
      assert_true((double)r->slack[i] >= 8 * 0x1p-24 * terms * 0.9999);
      assert_true((double)y->slack[i] > 0);
    }
    forget(&f);
  }
}

static void stays_in_its_row(struct fixture *f, const char *spelling)
{
  for (uint32_t t = 0; t < f->p.op->tensor_count; ++t)
    for (int64_t i = 0; f->out[t].value && i < f->size; ++i) {
      int64_t row = i / f->width;
      if (row == 1 || row == 2) continue;
      if (isfinite(f->out[t].value[i]) && isfinite(f->out[t].slack[i]) &&
          isfinite(f->out[t].split_slack[i])) continue;
      fail_msg("%s: %g +- %g, %g in row %lld", spelling, f->out[t].value[i],
               (double)f->out[t].slack[i], (double)f->out[t].split_slack[i],
               (long long)row);
    }
  assert_true(isnan(f->out[tensor_of(f, "y")].value[f->width + f->width / 2]));
}

static void nan_stays_in_its_row(void **unused)
{
  (void)unused;
  for_problems(63 * 8, FILL_SPECIAL, stays_in_its_row);
}

/* A plain evaluation in fp32, rounded at the store, is inside the tolerance. */
static int64_t bits[2][3]; /* elements; those with other bits */
static double worst;

static void fp32_is_right(struct fixture *f, const char *spelling)
{
  for (int64_t item = 0; item < f->items; ++item) {
    struct play play = {.fp32 = true};
    struct naive n;
    struct pair pair[2];
    prepare(&n, f, item);
    evaluate(&n, &play);
    for (int k = 0, count = pairs_of(f, &n, pair); k < count; ++k)
      for (int64_t i = 0; i < f->width; ++i) {
        int64_t at = item * f->width + i;
        double got = dtype_round(f->io, (double)pair[k].naive[i]);
        double want = pair[k].out->value[at];
        double error = judge_element(f->io, got, want,
                                     (double)pair[k].out->slack[at]);
        if (error > worst) worst = error;
        bits[0][f->io - 1]++;
        bits[1][f->io - 1] += get(f, "rounding") && got != want && !isnan(want);
        if (error <= 1) continue;
        fail_msg("%s: %s[%lld] is %.9g, not %.9g (slack %g)", spelling,
                 pair[k].name, (long long)at, got, want,
                 (double)pair[k].out->slack[at]);
      }
  }
}

static void fp32_arithmetic_is_inside(void **unused)
{
  (void)unused;
  memset(bits, 0, sizeof bits);
  for_problems(63 * 40, FILL_HARD, fp32_is_right);
  print_message("worst %.3f; other bits: fp32 %lld of %lld, fp16 %lld of %lld, "
                "bf16 %lld of %lld\n", worst,
                (long long)bits[1][0], (long long)bits[0][0],
                (long long)bits[1][1], (long long)bits[0][1],
                (long long)bits[1][2], (long long)bits[0][2]);
  for_problems(63 * 20, FILL_SPECIAL, fp32_is_right);
}

/* The split form: u, r and n are stored in the io dtype. */
static double split_worst;
static void split_is_right(struct fixture *f, const char *spelling)
{
  for (int64_t item = 0; item < f->items; ++item) {
    struct play play = {.fp32 = true, .stored = true};
    struct naive n;
    struct pair pair[2];
    prepare(&n, f, item);
    evaluate(&n, &play);
    for (int k = 0, count = pairs_of(f, &n, pair); k < count; ++k)
      for (int64_t i = 0; i < f->width; ++i) {
        int64_t at = item * f->width + i;
        double got = dtype_round(f->io, (double)pair[k].naive[i]);
        double want = pair[k].out->value[at];
        double slack = (double)pair[k].out->slack[at] +
                       (double)pair[k].out->split_slack[at];
        double error = judge_element(f->io, got, want, slack);
        if (get(f, "rounding")) assert_true(pair[k].out->split_slack[at] == 0);
        if (error > split_worst) split_worst = error;
        if (error <= 1) continue;
        fail_msg("%s: %s[%lld] is %.9g, not %.9g (slack %g)", spelling,
                 pair[k].name, (long long)at, got, want, slack);
      }
  }
}

static void split_form_is_inside(void **unused)
{
  (void)unused;
  for_problems(63 * 40, FILL_HARD, split_is_right);
  for_problems(63 * 10, FILL_PLAIN, split_is_right);
}

/* A shift that takes off all of the product: what is left is what the rounding
 * of n did, and the rounding of that is coarse beside an ulp of the result. */
static void cancel_product(struct fixture *f)
{
  const struct reference_out *y = &f->out[tensor_of(f, "y")];
  float *shift = (void *)(uintptr_t)f->tensor[tensor_of(f, "shift")].data;

  memset(shift, 0, (size_t)f->size * sizeof *shift);
  compute_range(f, 0, f->items);
  for (int64_t i = 0; i < f->size; ++i) shift[i] = -(float)y->value[i];
  compute_range(f, 0, f->items);
}

static void split_form_is_inside_where_it_cancels(void **unused)
{
  static const char *const ops[] = {"norm_scale_shift",
                                    "residual_norm_scale_shift",
                                    "norm_gate_residual_norm_scale"};

  (void)unused;
  for (int k = 0; k < 3 * 4; ++k) {
    char spelling[120];
    struct fixture f;
    snprintf(spelling, sizeof spelling,
             "%s:%s seq=300 hidden=96 norm=%s scale=row shift=token:fp32",
             ops[k % 3], io_names[k / 3 % 2], k < 6 ? "layer" : "rms");
    make(&f, spelling, FILL_PLAIN, (uint64_t)k);
    cancel_product(&f);
    split_worst = 0;
    split_is_right(&f, spelling);
    if (k % 3 == 0 && split_worst < 0.99)
      fail_msg("%s: the bound is wide: %g", spelling, split_worst);
    forget(&f);
  }
}

/* Terms of a mean that cancel leave their error in it.  An fp32 kernel that is
 * as right as fp32 lets it be would be refused if |mean| stood for them. */
static void means_have_the_error_of_their_terms(void **unused)
{
  enum { WIDTH = 128 };
  struct play play = {.fp32 = true};
  struct fixture f;
  struct naive n;
  double mean = 0, squares = 0, got, narrow, deviation;
  const struct reference_out *y;
  float *x;

  (void)unused;
  make(&f, "norm:fp32 seq=1 hidden=128", FILL_PLAIN, 5);
  x = (void *)(uintptr_t)f.tensor[0].data;
  for (int i = 2; i < WIDTH; i += 2) {
    x[i] = 100 + (float)(random_bits() % 100000) * 1e-3f;
    x[i + 1] = 1e-3f - x[i];
    mean += ((double)x[i] + (double)x[i + 1]) / (WIDTH - 2);
  }
  x[0] = x[1] = (float)mean; /* they come out as next to nothing */
  for (int i = 0; i < WIDTH; ++i)
    squares += ((double)x[i] - mean) * ((double)x[i] - mean);
  deviation = sqrt(squares / WIDTH + f.attr[0]);
  compute_range(&f, 0, 1);
  prepare(&n, &f, 0);
  evaluate(&n, &play);
  got = (double)(float)n.y[0];
  y = &f.out[tensor_of(&f, "y")];
  narrow = 8 * 0x1p-24 * (fabs((double)x[0]) + fabs(mean)) / deviation;
  assert_true(judge_element(DD_F32, got, y->value[0], narrow) > 10);
  assert_true(judge_element(DD_F32, got, y->value[0], (double)y->slack[0]) < 1);
  forget(&f);
}

/* Beside an infinity what is finite becomes 0, and 0 * Inf is no bound. */
static void slack_is_a_number(struct fixture *f, const char *spelling)
{
  for (uint32_t t = 0; t < f->p.op->tensor_count; ++t)
    for (int64_t i = 0; f->out[t].value && i < f->size; ++i) {
      if (!isfinite(f->out[t].value[i]) ||
          (isfinite(f->out[t].slack[i]) && isfinite(f->out[t].split_slack[i])))
        continue;
      fail_msg("%s: %g +- %g, %g in row %lld", spelling, f->out[t].value[i],
               (double)f->out[t].slack[i], (double)f->out[t].split_slack[i],
               (long long)(i / f->width));
    }
}

static void finite_values_have_finite_slack(void **unused)
{
  const char *spelling = "residual_norm_scale_shift:fp16 seq=19 hidden=1536 "
                         "norm=rms weight=fp16 gate=none";
  const struct reference_out *y;
  struct fixture f;

  (void)unused;
  make(&f, spelling, FILL_SPECIAL, 1);
  compute_range(&f, 0, f.items);
  y = &f.out[tensor_of(&f, "y")];
  assert_true(isfinite(y->value[2 * f.width])); /* the row of the infinity */
  assert_true(isnan(y->value[3 * f.width - 1]));
  slack_is_a_number(&f, spelling);
  forget(&f);
  for_problems(63 * 8, FILL_SPECIAL, slack_is_a_number);
}

static int64_t flips, moved;

/* Flip one rounding and look at the whole row. */
static void one_flip(const struct fixture *f, const char *spelling,
                     int64_t item, struct naive *n, struct play *play)
{
  struct pair pair[2];

  evaluate(n, play);
  flips += play->flipped;
  for (int k = 0, count = pairs_of(f, n, pair); k < count; ++k)
    for (int64_t i = 0; i < f->width && play->flipped; ++i) {
      int64_t at = item * f->width + i;
      double change = fabs((double)pair[k].naive[i] - pair[k].out->value[at]);
      moved += change > 0;
      if (change <= (double)pair[k].out->slack[at]) continue;
      fail_msg("%s: site %d of column %lld moves %s[%lld] by %g, slack %g",
               spelling, (int)play->flip, (long long)play->flip_at,
               pair[k].name, (long long)at, change,
               (double)pair[k].out->slack[at]);
    }
}

static void every_flip(struct fixture *f, const char *spelling)
{
  for (int64_t item = 0; item < f->items; ++item) {
    struct naive n;
    prepare(&n, f, item);
    for (enum site s = SITE_U; s < SITE_COUNT; ++s)
      for (int64_t i = 0; i < f->width; ++i)
        for (int d = -1; d <= 1; d += 2) {
          struct play play = {.flip = s, .flip_at = i, .direction = d};
          one_flip(f, spelling, item, &n, &play);
        }
  }
}

static void one_flip_is_inside(void **unused)
{
  (void)unused;
  flips = moved = 0;
  for_problems(63 * 20, FILL_HARD, every_flip);
  for_problems(63 * 4, FILL_PLAIN, every_flip);
  assert_true(flips > 100000 && moved > 100000);
}

/* ---- Inputs ------------------------------------------------------------ */

static void statistics(const float *x, int n, double *mean, double *deviation)
{
  double sum = 0, squares = 0;

  for (int i = 0; i < n; ++i) sum += x[i];
  *mean = sum / n;
  for (int i = 0; i < n; ++i) squares += (x[i] - *mean) * (x[i] - *mean);
  *deviation = sqrt(squares / n);
}

/* Hard rows are of every kind that the references speak of. */
static void hard_rows_are_there(void **unused)
{
  int far = 0, constant = 0, tiny = 0, large = 0, zero = 0, plain = 0;
  struct fixture f;

  (void)unused;
  make(&f, "norm:fp32 seq=400 hidden=64", FILL_HARD, 11);
  for (int64_t i = 0; i < f.items; ++i) {
    double mean, deviation;
    statistics((const float *)f.tensor[0].data + i * 64, 64, &mean, &deviation);
    far += deviation > 0 && fabs(mean) > 500 * deviation;
    constant += deviation < 1e-12 && mean != 0;
    zero += deviation == 0 && mean == 0;
    tiny += deviation > 0 && deviation < 0.01 && fabs(mean) < 0.01;
    large += deviation > 50;
    plain += deviation > 0.5 && deviation < 1.5 && fabs(mean) < 1;
  }
  assert_true(far > 20 && constant > 10 && tiny > 10);
  assert_true(large > 10 && zero > 10 && plain > 100);
  forget(&f);
}

static int setup(void **unused)
{
  (void)unused;
  assert_ok(specs_load(&specs, NULL));
  return 0;
}

static int teardown(void **unused)
{
  (void)unused;
  specs_release(&specs);
  return 0;
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(numbers_load_and_round),
      cmocka_unit_test(values_are_right),
      cmocka_unit_test(far_means_are_exact),
      cmocka_unit_test(one_column_is_its_mean),
      cmocka_unit_test(rows_stand_alone),
      cmocka_unit_test(order_of_rows_is_free),
      cmocka_unit_test(exact_values_have_one_rounding),
      cmocka_unit_test(cancelling_terms_have_slack),
      cmocka_unit_test(nan_stays_in_its_row),
      cmocka_unit_test(fp32_arithmetic_is_inside),
      cmocka_unit_test(split_form_is_inside),
      cmocka_unit_test(split_form_is_inside_where_it_cancels),
      cmocka_unit_test(means_have_the_error_of_their_terms),
      cmocka_unit_test(finite_values_have_finite_slack),
      cmocka_unit_test(one_flip_is_inside),
      cmocka_unit_test(hard_rows_are_there),
  };

  return cmocka_run_group_tests(tests, setup, teardown);
}
