/*
 * reference.c - qknorm_rope_packed in double.
 *
 * A range of tokens is loaded and its q and k heads normed where the results
 * go; then block after block of pairs is turned, so that frequencies are made
 * once per range, angles once per token, and nothing is allocated.
 *
 * `each` rounds where a chain of simple ops would store.  Its slack is what
 * one of these roundings gone the other way makes of the element, with the
 * rounding that follows it.
 */
#include "variants/common/reference_angles.h"

/* The tensors and attributes, in the order of op.lua. */
enum { QKV, QKV_OUT, Q_WEIGHT, K_WEIGHT, POSITIONS };
enum { EPS, BASE };

enum { BLOCK = 64 }; /* pairs, or weights */

static const double fp32_error = 8 * 0x1p-24;

struct packed {
  const struct reference_call *call;
  struct angles_reference angles;
  struct number_format io;
  bool each, neox;
  int64_t q_heads, kv_heads, width, dim, rope_dim; /* width: of q and k */
  float eps;
};

static struct packed packed_of(const struct reference_call *call)
{
  const struct problem *p = call->problem;
  const int64_t q_heads = problem_get(p, "q_heads");
  const int64_t kv_heads = problem_get(p, "kv_heads");
  const int64_t dim = problem_get(p, "head_dim");

  return (struct packed){
      .call = call,
      .angles = angles_of(call, POSITIONS, BASE),
      .io = number_format_of(problem_get(p, "io")),
      .each = problem_get(p, "rounding") == 2,
      .neox = problem_get(p, "layout") == 1,
      .q_heads = q_heads,
      .kv_heads = kv_heads,
      .width = (q_heads + kv_heads) * dim,
      .dim = dim,
      .rope_dim = problem_get(p, "rope_dim"),
      .eps = (float)call->attr[EPS], /* kernels get an fp32 */
  };
}

/* ---- Norm ------------------------------------------------------------- */

static void norm_row(const struct packed *h, double *x, float *slack,
                     const struct reference_tensor *weight)
{
  double sum = 0, r, w[BLOCK];

  for (int64_t i = 0; i < h->dim; i++) sum += x[i] * x[i];
  r = 1 / sqrt(sum / (double)h->dim + h->eps);
  for (int64_t at = 0; at < h->dim; at += BLOCK) {
    const int64_t n = h->dim - at < BLOCK ? h->dim - at : BLOCK;

    number_load(weight->dtype, weight->data, at, n, w);
    for (int64_t i = 0; i < n; i++) {
      const double y = x[at + i] * r * w[i];
      slack[at + i] = (float)(fp32_error * fabs(y));
      x[at + i] = h->each ? number_round(&h->io, y) : y;
    }
  }
}

/* Everything of a token but the rotation. */
static void norm_token(const struct packed *h, int64_t token,
                       struct reference_out *out)
{
  const struct reference_tensor *t = &h->call->tensor[QKV];
  const int64_t at = (token - h->call->first) * h->width;
  double *x = out->value + at;
  float *slack = out->slack + at;

  number_load(t->dtype, t->data, token * t->stride[0], h->width, x);
  memset(out->split_slack + at, 0, (size_t)h->width * sizeof *slack);
  for (int64_t head = 0; head < h->q_heads + h->kv_heads; head++)
    norm_row(h, x + head * h->dim, slack + head * h->dim,
             &h->call->tensor[head < h->q_heads ? Q_WEIGHT : K_WEIGHT]);
}

/* ---- Rotation --------------------------------------------------------- */

/* a cos + b sin in one piece; what a split form rounds in between are a and b. */
static double turn_once(const struct number_format *io, double a, double b,
                        double cos, double sin, double error, float *slack,
                        float *split)
{
  const double sum = fabs(a * cos) + fabs(b * sin);

  *slack = (float)(fp32_error * sum + error * (fabs(a) + fabs(b)));
  *split = (float)(0.5 * (number_ulp(io, a) * fabs(cos) +
                          number_ulp(io, b) * fabs(sin)));
  return a * cos + b * sin;
}

/* What an element of the pair that was rounded the other way does to its
 * product, and that to the sum. */
static double flip(const struct number_format *io, double x, double cos,
                   double product)
{
  return number_ulp(io, x) * fabs(cos) + number_ulp(io, product);
}

static double turn_each(const struct packed *h, double a, double b,
                        double cos, double sin, double error, float *slack)
{
  const struct number_format *io = &h->io;
  const double ac = number_round(io, a * cos), bs = number_round(io, b * sin);
  const double off = fmax(flip(io, a, cos, ac), flip(io, b, sin, bs));

  *slack = (float)(off + fp32_error * (fabs(ac) + fabs(bs)) +
                   error * (fabs(a) + fabs(b)));
  return number_round(io, ac + bs);
}

static void turn_pair(const struct packed *h, double *x, float *slack,
                      float *split, int64_t far, const struct angle *t)
{
  const double a = x[0], b = x[far];

  if (h->each) {
    x[0] = turn_each(h, a, b, t->cos, -t->sin, t->error, slack);
    x[far] = turn_each(h, b, a, t->cos, t->sin, t->error, slack + far);
  } else {
    x[0] = turn_once(&h->io, a, b, t->cos, -t->sin, t->error, slack, split);
    x[far] = turn_once(&h->io, b, a, t->cos, t->sin, t->error, slack + far,
                       split + far);
  }
}

/* Pairs [first, first + n) of all heads of a token. */
static void turn_token(const struct packed *h, int64_t token, int64_t first,
                       int64_t n, const double *f, struct reference_out *out)
{
  const int64_t at = (token - h->call->first) * h->width;
  const int64_t step = h->neox ? 1 : 2, far = h->neox ? h->rope_dim / 2 : 1;
  const int64_t position = angles_position(&h->angles, token);
  struct angle angle[BLOCK];

  for (int64_t i = 0; i < n; i++)
    angle[i] = angles_at(&h->angles, position, f[i]);
  for (int64_t head = 0; head < h->q_heads + h->kv_heads; head++)
    for (int64_t i = 0; i < n; i++) {
      const int64_t j = at + head * h->dim + (first + i) * step;
      turn_pair(h, out->value + j, out->slack + j, out->split_slack + j, far,
                &angle[i]);
    }
}

reference_fn reference_qknorm_rope_packed;

void reference_qknorm_rope_packed(const struct reference_call *call,
                                  struct reference_out *out)
{
  const struct packed h = packed_of(call);
  double f[BLOCK];

  for (int64_t token = call->first; token < call->last; token++)
    norm_token(&h, token, &out[QKV_OUT]);
  for (int64_t at = 0; at < h.rope_dim / 2; at += BLOCK) {
    const int64_t left = h.rope_dim / 2 - at, n = left < BLOCK ? left : BLOCK;

    for (int64_t i = 0; i < n; i++) f[i] = angles_frequency(&h.angles, at + i);
    for (int64_t token = call->first; token < call->last; token++)
      turn_token(&h, token, at, n, f, &out[QKV_OUT]);
  }
}
