/*
 * reference_heads.h - RMSNorm and rotary embedding of head rows, in double.
 *
 * The body of the references of qknorm_rope, qk_norm and rope.  A row is
 * computed in place in the caller's array; operands are converted in blocks,
 * so that nothing is allocated and no loop over elements looks at a dtype.
 */
#ifndef DIFFTUNE_REFERENCE_HEADS_H
#define DIFFTUNE_REFERENCE_HEADS_H

#include <math.h>
#include <string.h>
#include "variants/reference.h"

/* What the op does, and where its tensors are: indexes, or -1. */
struct heads_reference {
  const struct reference_call *call;
  int q, k, q_out, k_out, q_weight, k_weight, cos, sin, positions;
  int64_t io, rope_dim; /* rope_dim 0: no rotary embedding */
  bool norm, neox, joint;
  int64_t seq, position_offset;
  double eps;
};

enum { HEADS_BLOCK = 64 };

static inline float heads_float(uint32_t bits)
{
  float f;

  memcpy(&f, &bits, sizeof f);
  return f;
}

static inline float heads_half(uint16_t h)
{
  const uint32_t sign = (h & 0x8000u) << 16, size = h & 0x7fffu;

  if (size >= 0x7c00) return heads_float(sign | 0x7f800000 | size << 13);
  return heads_float(sign | size << 13) * 0x1p112f; /* subnormals too */
}

/* Converts n elements, exactly. */
static inline void heads_load(int64_t dtype, const void *base, int64_t at,
                              int64_t n, double *to)
{
  const uint16_t *half = (const uint16_t *)base + at;
  const float *single = (const float *)base + at;
  int64_t i;

  switch (dtype) {
  case DD_BF16:
    for (i = 0; i < n; i++) to[i] = heads_float((uint32_t)half[i] << 16);
    break;
  case DD_F16:
    for (i = 0; i < n; i++) to[i] = heads_half(half[i]);
    break;
  default:
    for (i = 0; i < n; i++) to[i] = single[i];
  }
}

static inline double heads_scale(const double *x, int64_t n, double eps)
{
  double sum = 0;

  for (int64_t i = 0; i < n; i++) sum += x[i] * x[i];
  return 1 / sqrt(sum / (double)n + eps);
}

/* x = x r w */
static inline void heads_norm(double *x, int64_t n, double eps,
                              const struct reference_tensor *weight)
{
  const double r = heads_scale(x, n, eps);
  double w[HEADS_BLOCK];

  for (int64_t at = 0; at < n; at += HEADS_BLOCK) {
    const int64_t m = n - at < HEADS_BLOCK ? n - at : HEADS_BLOCK;

    for (int64_t i = 0; i < m; i++) w[i] = 1;
    if (weight) heads_load(weight->dtype, weight->data, at, m, w);
    for (int64_t i = 0; i < m; i++) x[at + i] = x[at + i] * r * w[i];
  }
}

/* What fp32 may add: 8 * 2^-24 of the terms' absolute sum; and what half an
 * ulp of the io dtype in each element of the pair may add in a split form. */
struct heads_slack {
  double fp32, half_ulp, smallest;
};
static inline struct heads_slack heads_slack_of(int64_t io, bool split)
{
  struct heads_slack s = {8 * 0x1p-24, 0x1p-24, 0x1p-150};

  if (io == DD_BF16) s.half_ulp = 0x1p-8, s.smallest = 0x1p-134;
  if (io == DD_F16) s.half_ulp = 0x1p-11, s.smallest = 0x1p-25;
  if (!split) s.half_ulp = s.smallest = 0;
  return s;
}

static inline void heads_rotate(double *a, double *b, double cos, double sin,
                                float *slack_a, float *slack_b,
                                float *split_a, float *split_b,
                                const struct heads_slack *s)
{
  const double ac = *a * cos, bs = *b * sin, bc = *b * cos, as = *a * sin;
  const double sum_a = fabs(ac) + fabs(bs), sum_b = fabs(bc) + fabs(as);
  const double least = s->smallest * (fabs(cos) + fabs(sin));

  *a = ac - bs;
  *b = bc + as;
  *slack_a = (float)(s->fp32 * sum_a);
  *slack_b = (float)(s->fp32 * sum_b);
  *split_a = (float)(s->half_ulp * sum_a + least);
  *split_b = (float)(s->half_ulp * sum_b + least);
}

/* The token's angles are at `cos_at` and `sin_at` of their tables. */
static inline void heads_rope(const struct heads_reference *h, double *x,
                              float *slack, float *split, int64_t position)
{
  const struct reference_tensor *ct = &h->call->tensor[h->cos];
  const struct reference_tensor *st =
      h->joint ? ct : &h->call->tensor[h->sin];
  const int64_t half = h->rope_dim / 2;
  const int64_t cos_at = position * ct->stride[0];
  const int64_t sin_at = position * st->stride[0] + (h->joint ? half : 0);
  const int64_t far = h->neox ? half : 1, step = h->neox ? 1 : 2;
  const struct heads_slack s = heads_slack_of(h->io, h->norm);
  double cos[HEADS_BLOCK], sin[HEADS_BLOCK];

  for (int64_t at = 0; at < half; at += HEADS_BLOCK) {
    const int64_t m = half - at < HEADS_BLOCK ? half - at : HEADS_BLOCK;

    heads_load(ct->dtype, ct->data, cos_at + at, m, cos);
    heads_load(st->dtype, st->data, sin_at + at, m, sin);
    for (int64_t i = 0; i < m; i++) {
      const int64_t j = (at + i) * step;

      heads_rotate(x + j, x + j + far, cos[i], sin[i], slack + j,
                   slack + j + far, split + j, split + j + far, &s);
    }
  }
}

static inline int64_t heads_position(const struct heads_reference *h,
                                     int64_t token)
{
  const struct reference_tensor *p =
      h->positions < 0 ? NULL : &h->call->tensor[h->positions];

  if (!p || !p->present) return h->position_offset + token % h->seq;
  if (p->dtype == DD_I32) return ((const int32_t *)p->data)[token];
  return ((const int64_t *)p->data)[token];
}

/* All head rows of one of q and k. */
static inline void heads_tensor(const struct heads_reference *h, int in,
                                int weight, struct reference_out *out)
{
  const struct reference_tensor *t = &h->call->tensor[in];
  const struct reference_tensor *w =
      weight < 0 ? NULL : &h->call->tensor[weight];
  const int64_t heads = t->extent[1], dim = t->extent[2];
  /* A value that nothing is done to must come out as it went in. */
  const double own = h->norm ? 8 * 0x1p-24 : 0;

  for (int64_t token = h->call->first; token < h->call->last; token++)
    for (int64_t head = 0; head < heads; head++) {
      const int64_t at = ((token - h->call->first) * heads + head) * dim;
      double *x = out->value + at;

      heads_load(t->dtype, t->data,
                 token * t->stride[0] + head * t->stride[1], dim, x);
      if (h->norm) heads_norm(x, dim, h->eps, w && w->present ? w : NULL);
      for (int64_t i = 0; i < dim; i++)
        out->slack[at + i] = (float)(own * fabs(x[i]));
      memset(out->split_slack + at, 0, (size_t)dim * sizeof(float));
      if (h->rope_dim)
        heads_rope(h, x, out->slack + at, out->split_slack + at,
                   heads_position(h, token));
    }
}

/* In place, the output is the input's tensor. */
static inline void heads_compute(const struct heads_reference *h,
                                 struct reference_out *out)
{
  struct reference_out *q = &out[out[h->q_out].value ? h->q_out : h->q];
  struct reference_out *k = &out[out[h->k_out].value ? h->k_out : h->k];

  if (q->value) heads_tensor(h, h->q, h->q_weight, q);
  if (k->value) heads_tensor(h, h->k, h->k_weight, k);
}

#endif
