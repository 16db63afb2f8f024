/*
 * reference_rows.h - norm, gated residual and modulation of rows, in double.
 *
 * The body of the references of all row ops.  Each is a part of one chain:
 *
 *     u = norm1(h)           r = x + gate * u
 *     n = norm2(r)           y = n * (1 + scale) + shift
 *
 * A row is computed in place in the caller's arrays, stage by stage, and beside
 * each value two bounds go through the same stages:
 *
 *   noise  what fp32 arithmetic may add: 8 * 2^-24 of the terms' absolute sum
 *   step   rounding=once: how far from it the split form's value may be, that
 *          is rounded between two stages; its fp32 arithmetic included;
 *          else: what one flipped rounding of one such value can cause
 *
 * docs/numerics.md derives them.
 */
#ifndef DIFFTUNE_REFERENCE_ROWS_H
#define DIFFTUNE_REFERENCE_ROWS_H

#include "variants/common/reference_number.h"

#define ROWS_NOISE (8 * 0x1p-24)
enum rows_rounding { ROWS_ONCE, ROWS_NORM, ROWS_EACH };
enum rows_form {
  ROWS_NONE, ROWS_SCALAR, ROWS_ROW, ROWS_BATCH, ROWS_TOKEN, ROWS_FRAME
};

struct rows_norm {
  bool present, layer;
  struct reference_tensor weight, bias; /* where they are present */
  double eps;
};

struct rows_operand {
  struct reference_tensor tensor;
  int64_t form;
};

struct rows_job {
  struct reference_tensor input, residual; /* the latter where it is present */
  struct rows_norm norm1, norm2;
  struct rows_operand gate, scale, shift;
  int y, sum; /* outputs; -1: none */
  bool tanh, modulate;
  int64_t rounding, seq, per_frame, hidden;
  struct number_format io;
};

/* One row; n elements of each. */
struct row {
  double *value;
  float *noise, *step;
  int64_t n;
  bool exact; /* the input, as it is stored */
};

static inline int64_t rows_block(int64_t n, int64_t at)
{
  return n - at < TEAM_BLOCK ? n - at : TEAM_BLOCK;
}

/* ---- What a problem says ------------------------------------------------ */

#ifndef REFERENCE_DEVICE
/* The names of a norm's field, tensors and attribute; a field NULL: no norm. */
struct rows_norm_names {
  const char *field, *weight, *bias, *eps;
};

/* What an op is of the chain. */
struct rows_names {
  const char *input;            /* of the first stage */
  struct rows_norm_names norm1; /* of the input */
  const char *residual;         /* x of the chain; NULL: no gated residual */
  const char *sum;              /* r, where it is an output */
  struct rows_norm_names norm2;
  bool modulate;
};

static inline struct reference_tensor
rows_tensor(const struct reference_call *call, const char *name)
{
  const int i = name ? op_tensor_find(call->problem->op, name) : -1;

  return i >= 0 ? call->tensor[i] : (struct reference_tensor){0};
}

static inline double rows_attr(const struct reference_call *call,
                               const char *name)
{
  const struct op *op = call->problem->op;

  for (uint32_t i = 0; i < op->attr_count; i++)
    if (strcmp(op->attrs[i].name, name) == 0)
      return (float)call->attr[i]; /* kernels get an fp32 */
  return 0;
}

static inline struct rows_norm rows_norm_of(const struct reference_call *call,
                                            const struct rows_norm_names *names)
{
  struct rows_norm n = {0};

  if (!names->field) return n;
  n.present = true;
  n.layer = problem_get(call->problem, names->field) == 0;
  n.weight = rows_tensor(call, names->weight);
  if (n.layer) n.bias = rows_tensor(call, names->bias);
  n.eps = rows_attr(call, names->eps);
  return n;
}

static inline struct rows_operand
rows_operand_of(const struct reference_call *call, const char *name)
{
  return (struct rows_operand){rows_tensor(call, name),
                               problem_get(call->problem, name)};
}

static inline void rows_plan(const struct reference_call *call,
                             const struct rows_names *names, void *plan)
{
  const struct problem *p = call->problem;
  struct rows_job j = {
      .input = rows_tensor(call, names->input),
      .residual = rows_tensor(call, names->residual),
      .norm1 = rows_norm_of(call, &names->norm1),
      .norm2 = rows_norm_of(call, &names->norm2),
      .y = op_tensor_find(p->op, "y"),
      .sum = names->sum ? op_tensor_find(p->op, names->sum) : -1,
      .tanh = problem_get(p, "gate_tanh"),
      .rounding = problem_get(p, "rounding"),
      .seq = problem_get(p, "seq"),
      .hidden = problem_get(p, "hidden"),
      .io = number_format_of(problem_get(p, "io")),
  };

  if (names->residual) j.gate = rows_operand_of(call, "gate");
  if (names->modulate) j.scale = rows_operand_of(call, "scale");
  if (names->modulate) j.shift = rows_operand_of(call, "shift");
  j.modulate = j.scale.tensor.present || j.shift.tensor.present;
  j.per_frame = j.seq / problem_get(p, "frames");
  memcpy(plan, &j, sizeof j);
}

#define ROWS_REFERENCE(PLAN)                                                   \
  {                                                                            \
    PLAN, rows_items, sizeof(struct rows_job),                                 \
        "variants/common/reference_rows.h", "rows_items"                       \
  }
#endif

/* ---- Reading ----------------------------------------------------------- */

static inline int64_t rows_start(const struct rows_job *j,
                                 const struct reference_tensor *t, int64_t item)
{
  return item / j->seq * t->stride[0] + item % j->seq * t->stride[1];
}

/* Of elements [at, at + n) of the operand's row for this item, this member's;
 * or all `none`. */
static inline void rows_operand_load(const struct rows_job *j,
                                     const struct rows_operand *o, int64_t item,
                                     int64_t at, int64_t n, double none,
                                     double *to)
{
  const struct reference_tensor *t = &o->tensor;
  const int64_t token = item % j->seq;
  int64_t from = 0;

  if (t->present && o->form >= ROWS_BATCH)
    from = item / j->seq * t->stride[0];
  if (o->form == ROWS_TOKEN) from += token * t->stride[1];
  if (o->form == ROWS_FRAME) from += token / j->per_frame * t->stride[1];
  if (t->present && o->form != ROWS_SCALAR) {
    number_load(t, from + at, n, to);
    return;
  }
  if (t->present) none = number_get(t, 0);
  for (int64_t k = 0; k < team_share(n); k++) to[k] = none;
}

static inline void rows_vector_load(const struct reference_tensor *t,
                                    int64_t at, int64_t n, double none,
                                    double *to)
{
  if (t->present)
    number_load(t, at, n, to);
  else
    for (int64_t k = 0; k < team_share(n); k++) to[k] = none;
}

static inline void rows_load(const struct rows_job *j, int64_t item,
                             struct row *r)
{
  number_load_row(&j->input, rows_start(j, &j->input, item), r->n, r->value);
  for (int64_t i = team_rank(); i < r->n; i += TEAM) {
    r->noise[i] = (float)(ROWS_NOISE * fabs(r->value[i]));
    r->step[i] = j->rounding == ROWS_ONCE ? r->noise[i] : 0;
  }
  r->exact = true;
}

/* ---- Rounding ---------------------------------------------------------- */

/* How far round(x) may move when x does by `step` (and by fp32's noise, which
 * matters only where a step is near the next rounding boundary already). */
static inline double rows_moved(const struct number_format *f, double x,
                                double step, double noise)
{
  const double reach = step + noise, at = number_round(f, x);
  const double up = number_round(f, x + reach) - at;
  const double down = at - number_round(f, x - reach);

  if (!(step > 0)) return 0;
  return up > down ? up : down;
}

/* x is rounded where others use it: besides what moved it before, it may
 * itself be the one that flips. */
static inline double rows_flip(const struct number_format *f, double x,
                               double step, double noise, double *rounded)
{
  const double moved = rows_moved(f, x, step, noise);
  double own;

  *rounded = number_round(f, x);
  own = number_ulp(f, *rounded);
  return moved > own ? moved : own;
}

/* The row is stored between two stages.  In `once` only the split form does,
 * and its next launch begins with what is stored. */
TEAM_CALL void rows_settle(const struct rows_job *j, struct row *r)
{
  const struct number_format f = j->io;
  int64_t i;

  if (j->rounding != ROWS_ONCE) {
    for (i = team_rank(); i < r->n; i += TEAM)
      r->step[i] = (float)rows_flip(&f, r->value[i], (double)r->step[i],
                                    (double)r->noise[i], &r->value[i]);
    return;
  }
  for (i = team_rank(); i < r->n; i += TEAM) {
    const double size = fabs(r->value[i]), before = (double)r->step[i];
    const double step = before + number_ulp(&f, size + before) / 2;

    r->step[i] = (float)(step + ROWS_NOISE * (size + step));
  }
}

/* What the tolerance lacks where a value within `step` of x is rounded: the
 * ulp that it has is that of x, which may have cancelled. */
static inline double rows_lacking(const struct number_format *f, double x,
                                  double noise, double step)
{
  const double reach = step + number_ulp(f, fabs(x) + step) / 2;
  const double has = number_ulp(f, x) + noise;

  return reach > has ? reach - has : 0;
}

/* The row is an output. */
TEAM_CALL void rows_finish(const struct rows_job *j, const struct row *r,
                           double *value, float *slack, float *split_slack)
{
  const struct number_format f = j->io;
  const bool once = j->rounding == ROWS_ONCE;

  for (int64_t i = team_rank(); i < r->n; i += TEAM) {
    const double x = r->value[i], noise = (double)r->noise[i];
    const double step = (double)r->step[i];

    value[i] = once ? x : number_round(&f, x);
    slack[i] = (float)(once ? noise : noise + rows_moved(&f, x, step, noise));
    split_slack[i] = once ? (float)rows_lacking(&f, x, noise, step) : 0;
  }
}

static inline void rows_add(const struct rows_job *j, struct row *r, int64_t k,
                            double x)
{
  const float noise = (float)(ROWS_NOISE * fabs(x));

  r->value[k] += x;
  r->noise[k] += noise;
  if (j->rounding == ROWS_ONCE) r->step[k] += noise;
}

/* ---- Norm -------------------------------------------------------------- */

/* (value - mean) * scale; sigma = 1 / scale. */
struct rows_statistics {
  double mean, scale, sigma;
};

/* The sums of x - mean and of its square; in four lanes, since a chain of
 * additions waits for each. */
static inline void rows_sums(const double *x, int64_t n, double mean,
                             double *sum, double *squares)
{
  double s0 = 0, s1 = 0, s2 = 0, s3 = 0, q0 = 0, q1 = 0, q2 = 0, q3 = 0;
  int64_t i = team_rank();

  for (; i + 3 * TEAM < n; i += 4 * TEAM) {
    const double a = x[i] - mean, b = x[i + TEAM] - mean;
    const double c = x[i + 2 * TEAM] - mean, d = x[i + 3 * TEAM] - mean;
    s0 += a, s1 += b, s2 += c, s3 += d;
    q0 += a * a, q1 += b * b, q2 += c * c, q3 += d * d;
  }
  for (; i < n; i += TEAM) {
    s0 += x[i] - mean;
    q0 += (x[i] - mean) * (x[i] - mean);
  }
  *sum = team_sum(s0 + s1 + (s2 + s3));
  *squares = team_sum(q0 + q1 + (q2 + q3));
}

/* The second pass also sums what the first left of the mean, so that it is
 * exact where |mean| is 1000 deviations. */
static inline struct rows_statistics
rows_statistics_of(const struct row *r, const struct rows_norm *norm)
{
  const double n = (double)r->n;
  double sum = 0, rest, squares, mean;
  struct rows_statistics s;

  if (norm->layer) rows_sums(r->value, r->n, 0, &sum, &squares);
  mean = sum / n;
  rows_sums(r->value, r->n, mean, &rest, &squares);
  if (!norm->layer) rest = 0;
  s.mean = mean + rest / n;
  s.sigma = sqrt((squares - rest * rest / n) / n + norm->eps);
  s.scale = 1 / s.sigma;
  return s;
}

/* What bounds d_i of a row's elements come to behind a norm: of element i
 *     (d_i + mean + |normed_i| * sigma) * scale */
struct rows_reach {
  double mean, sigma, scale;
};

/* With an infinity in the row, what is finite becomes 0, exactly. */
static inline bool rows_is_infinite(const struct rows_statistics *s)
{
  return !(s->sigma < (double)INFINITY);
}

/* All elements may be off: sigma by at most the root mean square of d.  A row
 * that is exact has the deviation that it has; d stands for its terms. */
static inline struct rows_reach rows_reach_all(const struct row *r,
                                               const float *d,
                                               const struct rows_norm *norm,
                                               const struct rows_statistics *s)
{
  double s0 = 0, s1 = 0, squares = 0, low = sqrt(norm->eps);
  struct rows_reach x = {0, 0, 0};
  int64_t i = team_rank();

  if (rows_is_infinite(s)) return x;
  for (; i + TEAM < r->n && norm->layer; i += 2 * TEAM)
    s0 += (double)d[i], s1 += (double)d[i + TEAM];
  if (norm->layer && i < r->n) s0 += (double)d[i];
  x.mean = team_sum(s0 + s1) / (double)r->n;
  x.scale = s->scale;
  if (r->exact) return x;
  for (i = team_rank(); i < r->n; i += TEAM)
    squares += (double)d[i] * (double)d[i];
  x.sigma = sqrt(team_sum(squares) / (double)r->n);
  if (s->sigma - x.sigma > low) low = s->sigma - x.sigma;
  x.scale = 1 / low;
  return x;
}

/* One element j may be off by d_j: sigma^2 by (2 |c_j| d_j + d_j^2) / n. */
static inline struct rows_reach rows_reach_one(const struct row *r,
                                               const float *d,
                                               const struct rows_norm *norm,
                                               const struct rows_statistics *s)
{
  double most = 0, change = 0, low = sqrt(norm->eps), n = (double)r->n;
  struct rows_reach x = {0, 0, 0};

  if (rows_is_infinite(s)) return x;
  for (int64_t i = team_rank(); i < r->n; i += TEAM) {
    const double c = fabs(r->value[i] - s->mean), di = (double)d[i];
    const double ci = (2 * c + di) * di;
    most = di > most ? di : most;
    change = ci > change ? ci : change;
  }
  most = team_most(most);
  change = team_most(change);
  if (s->sigma - most / sqrt(n) > low) low = s->sigma - most / sqrt(n);
  x.mean = norm->layer ? most / n : 0;
  x.sigma = change / n / (s->sigma + low);
  x.scale = 1 / low;
  return x;
}

static inline double rows_reached(const struct rows_reach *x, double d,
                                  double normed)
{
  return (d + x->mean + fabs(normed) * x->sigma) * x->scale;
}

static inline void rows_norm_block(const struct rows_job *j, struct row *r,
                                   int64_t at, int64_t m,
                                   const struct rows_norm *norm,
                                   const struct rows_statistics *s,
                                   const struct rows_reach *noise,
                                   const struct rows_reach *step)
{
  double w[TEAM_MINE], b[TEAM_MINE];

  rows_vector_load(&norm->weight, at, m, 1, w);
  rows_vector_load(&norm->bias, at, m, 0, b);
  for (int64_t i = 0; i < team_share(m); i++) {
    const int64_t k = at + team_place(i);
    const double x = (r->value[k] - s->mean) * s->scale, size = fabs(w[i]);
    const double n = rows_reached(noise, (double)r->noise[k], x);
    const double d = rows_reached(step, (double)r->step[k], x);

    r->value[k] = x * w[i];
    r->noise[k] = (float)(size * n);
    r->step[k] = (float)(size * d);
    rows_add(j, r, k, b[i]);
  }
}

TEAM_CALL void rows_norm(const struct rows_job *j, const struct rows_norm *norm,
                         struct row *r)
{
  const struct rows_statistics s = rows_statistics_of(r, norm);
  const struct rows_reach noise = rows_reach_all(r, r->noise, norm, &s);
  struct rows_reach step = {0, 0, s.scale};

  if (j->rounding == ROWS_ONCE)
    step = rows_reach_all(r, r->step, norm, &s);
  else if (!r->exact)
    step = rows_reach_one(r, r->step, norm, &s);
  for (int64_t at = 0; at < r->n; at += TEAM_BLOCK)
    rows_norm_block(j, r, at, rows_block(r->n, at), norm, &s, &noise, &step);
  r->exact = false;
}

/* ---- Products and sums ------------------------------------------------- */

/* value = value * factor, where the factor may be off by `factor_step`. */
static inline void rows_multiply(const struct rows_job *j, struct row *r,
                                 int64_t k, double factor, double factor_step,
                                 bool rounded)
{
  const double x = r->value[k], size = fabs(factor);
  const double noise = (double)r->noise[k] * size;
  const double of_x = (double)r->step[k] * size, of_f = fabs(x) * factor_step;
  double step = of_x > of_f ? of_x : of_f;

  r->value[k] = x * factor;
  if (rounded)
    step = rows_flip(&j->io, r->value[k], step, noise, &r->value[k]);
  r->noise[k] = (float)noise;
  r->step[k] = (float)step;
}

/* Rounds a factor that was computed, in `each`; returns what it may be off. */
static inline double rows_factor(const struct rows_job *j, bool computed,
                                 double *factor)
{
  if (j->rounding != ROWS_EACH || !computed) return 0;
  return rows_flip(&j->io, *factor, 0, 0, factor);
}

/* value = x + gate * value */
static inline void rows_residual(const struct rows_job *j, int64_t item,
                                 struct row *r)
{
  const int64_t start = rows_start(j, &j->residual, item);
  const bool rounded = j->rounding == ROWS_EACH && j->gate.tensor.present;
  double gate[TEAM_MINE], x[TEAM_MINE];

  for (int64_t at = 0; at < r->n; at += TEAM_BLOCK) {
    const int64_t m = rows_block(r->n, at);

    rows_operand_load(j, &j->gate, item, at, m, 1, gate);
    number_load(&j->residual, start + at, m, x);
    for (int64_t i = 0; i < team_share(m) && j->gate.tensor.present; i++) {
      double g = j->tanh ? tanh(gate[i]) : gate[i];
      const double step = rows_factor(j, j->tanh, &g);

      rows_multiply(j, r, at + team_place(i), g, step, rounded);
    }
    for (int64_t i = 0; i < team_share(m); i++)
      rows_add(j, r, at + team_place(i), x[i]);
  }
  r->exact = false;
}

/* value = value * (1 + scale) + shift.  A product that is the result is rounded
 * as the output, not here. */
static inline void rows_modulate(const struct rows_job *j, int64_t item,
                                 struct row *r)
{
  const bool rounded = j->rounding == ROWS_EACH && j->shift.tensor.present;
  double scale[TEAM_MINE], shift[TEAM_MINE];

  for (int64_t at = 0; at < r->n; at += TEAM_BLOCK) {
    const int64_t m = rows_block(r->n, at);

    rows_operand_load(j, &j->scale, item, at, m, 0, scale);
    rows_operand_load(j, &j->shift, item, at, m, 0, shift);
    for (int64_t i = 0; i < team_share(m) && j->scale.tensor.present; i++) {
      double factor = 1 + scale[i];
      const double step = rows_factor(j, true, &factor);

      rows_multiply(j, r, at + team_place(i), factor, step, rounded);
    }
    for (int64_t i = 0; i < team_share(m) && j->shift.tensor.present; i++)
      rows_add(j, r, at + team_place(i), shift[i]);
  }
  r->exact = false;
}

/* ---- The chain --------------------------------------------------------- */

/* Its elements are from `at` on in each array. */
static inline void rows_item(const struct rows_job *j, int64_t item, int64_t at,
                             struct row *r, const struct reference_out *sum)
{
  rows_load(j, item, r);
  if (j->norm1.present) rows_norm(j, &j->norm1, r);
  if (j->norm1.present) rows_settle(j, r);
  if (j->residual.present) rows_residual(j, item, r);
  if (sum)
    rows_finish(j, r, sum->value + at, sum->slack + at, sum->split_slack + at);
  if (j->residual.present && j->norm2.present) rows_settle(j, r);
  if (j->norm2.present) rows_norm(j, &j->norm2, r);
  if (j->norm2.present && j->modulate) rows_settle(j, r);
  if (j->modulate) rows_modulate(j, item, r);
  rows_finish(j, r, r->value, r->noise, r->step);
}

static inline void rows_items(const void *plan, int64_t first, int64_t last,
                              const struct reference_out *out)
{
  const struct rows_job *j = (const struct rows_job *)plan;
  const struct reference_out *y = &out[j->y];

  if (!y->value) return;
  for (int64_t item = first; item < last; item++) {
    const int64_t at = (item - first) * j->hidden;
    struct row r = {y->value + at, y->slack + at, y->split_slack + at,
                    j->hidden, false};

    rows_item(j, item, at, &r, j->sum < 0 ? NULL : &out[j->sum]);
  }
}

#endif
