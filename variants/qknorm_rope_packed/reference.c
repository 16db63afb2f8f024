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

#define FP32_ERROR (8 * 0x1p-24)

struct packed {
  struct reference_tensor qkv, q_weight, k_weight;
  struct angles_reference angles;
  struct number_format io;
  bool each, neox;
  int64_t q_heads, kv_heads, width, dim, rope_dim; /* width: of q and k */
  float eps;
};

/* ---- Norm ------------------------------------------------------------- */

static void norm_row(const struct packed *h, double *x, float *slack,
                     const struct reference_tensor *weight)
{
  double sum = 0, r, w[TEAM_MINE];

  for (int64_t i = team_rank(); i < h->dim; i += TEAM) sum += x[i] * x[i];
  r = 1 / sqrt(team_sum(sum) / (double)h->dim + h->eps);
  for (int64_t at = 0; at < h->dim; at += TEAM_BLOCK) {
    const int64_t n = h->dim - at < TEAM_BLOCK ? h->dim - at : TEAM_BLOCK;

    number_load(weight, at, n, w);
    for (int64_t k = 0; k < team_share(n); k++) {
      const int64_t i = at + team_place(k);
      const double y = x[i] * r * w[k];
      slack[i] = (float)(FP32_ERROR * fabs(y));
      x[i] = h->each ? number_round(&h->io, y) : y;
    }
  }
}

/* Everything of a token but the rotation. */
static void norm_token(const struct packed *h, int64_t token, int64_t at,
                       const struct reference_out *out)
{
  double *x = out->value + at;
  float *slack = out->slack + at;

  for (int64_t i = team_rank(); i < h->width; i += TEAM)
    out->split_slack[at + i] = 0;
  for (int64_t head = 0; head < h->q_heads + h->kv_heads; head++) {
    const int64_t from = head * h->dim;

    number_load_row(&h->qkv, token * h->qkv.stride[0] + from, h->dim, x + from);
    norm_row(h, x + from, slack + from,
             head < h->q_heads ? &h->q_weight : &h->k_weight);
  }
}

/* ---- Rotation --------------------------------------------------------- */

/* a cos + b sin in one piece; what a split form rounds in between are a and b. */
static double turn_once(const struct number_format *io, double a, double b,
                        double cos, double sin, double error, float *slack,
                        float *split)
{
  const double sum = fabs(a * cos) + fabs(b * sin);

  *slack = (float)(FP32_ERROR * sum + error * (fabs(a) + fabs(b)));
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

  *slack = (float)(off + FP32_ERROR * (fabs(ac) + fabs(bs)) +
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

/* Pairs [first, first + n) of all heads of a token, whose elements are from
 * `at` on; f has this member's frequencies. */
static void turn_token(const struct packed *h, int64_t token, int64_t at,
                       int64_t first, int64_t n, const double *f,
                       const struct reference_out *out)
{
  const int64_t step = h->neox ? 1 : 2, far = h->neox ? h->rope_dim / 2 : 1;
  const int64_t position = angles_position(&h->angles, token);
  struct angle angle[TEAM_MINE];

  for (int64_t i = 0; i < team_share(n); i++)
    angle[i] = angles_at(&h->angles, position, f[i]);
  for (int64_t head = 0; head < h->q_heads + h->kv_heads; head++)
    for (int64_t i = 0; i < team_share(n); i++) {
      const int64_t j = at + head * h->dim + (first + team_place(i)) * step;
      turn_pair(h, out->value + j, out->slack + j, out->split_slack + j, far,
                &angle[i]);
    }
}

static void packed_items(const void *plan, int64_t first, int64_t last,
                         const struct reference_out *out)
{
  const struct packed *h = (const struct packed *)plan;
  double f[TEAM_MINE];

  for (int64_t token = first; token < last; token++)
    norm_token(h, token, (token - first) * h->width, &out[QKV_OUT]);
  team_meet();
  for (int64_t at = 0; at < h->rope_dim / 2; at += TEAM_BLOCK) {
    const int64_t left = h->rope_dim / 2 - at, n = left < TEAM_BLOCK ? left : TEAM_BLOCK;

    for (int64_t i = 0; i < team_share(n); i++)
      f[i] = angles_frequency(&h->angles, at + team_place(i));
    for (int64_t token = first; token < last; token++)
      turn_token(h, token, (token - first) * h->width, at, n, f, &out[QKV_OUT]);
  }
}

#ifndef REFERENCE_DEVICE
static void packed_plan(const struct reference_call *call, void *out)
{
  const struct problem *p = call->problem;
  const int64_t q_heads = problem_get(p, "q_heads");
  const int64_t kv_heads = problem_get(p, "kv_heads");
  const int64_t dim = problem_get(p, "head_dim");
  const struct packed plan = {
      .qkv = call->tensor[QKV],
      .q_weight = call->tensor[Q_WEIGHT],
      .k_weight = call->tensor[K_WEIGHT],
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

  memcpy(out, &plan, sizeof plan);
}

const struct reference reference_qknorm_rope_packed = {
    packed_plan, packed_items, sizeof(struct packed),
    "variants/qknorm_rope_packed/reference.c", "packed_items"};
#endif
