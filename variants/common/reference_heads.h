/*
 * reference_heads.h - RMSNorm and rotary embedding of head rows, in double.
 *
 * The body of the references of qknorm_rope, qk_norm and rope.  A row is
 * computed in place in the caller's array; operands are converted in blocks,
 * so that nothing is allocated and no loop over elements looks at a dtype.
 */
#ifndef DIFFTUNE_REFERENCE_HEADS_H
#define DIFFTUNE_REFERENCE_HEADS_H

#include "variants/common/reference_number.h"

/* What the op does, and where its tensors are: indexes, or -1. */
struct heads_reference {
  struct reference_tensor tensor[REFERENCE_TENSORS];
  int q, k, q_out, k_out, q_weight, k_weight, cos, sin, positions;
  /* With two segments: the first text_tokens rows of the outputs. */
  int text_q, text_k, text_q_weight, text_k_weight;
  int64_t text_tokens;
  int64_t io, rope_dim; /* rope_dim 0: no rotary embedding */
  bool norm, neox, joint;
  bool each;     /* rounded wherever a chain of simple ops would store */
  int64_t table; /* enum heads_table, in the order of op.lua's words */
  int64_t seq, position_offset;
  double eps;
};

enum heads_table { HEADS_HALF, HEADS_REPEATED, HEADS_FULL };

static inline double heads_scale(const double *x, int64_t n, double eps)
{
  double sum = 0;

  for (int64_t i = team_rank(); i < n; i += TEAM) sum += x[i] * x[i];
  return 1 / sqrt(team_sum(sum) / (double)n + eps);
}

/* x = x r w */
static inline void heads_norm(double *x, int64_t n, double eps,
                              const struct reference_tensor *weight)
{
  const double r = heads_scale(x, n, eps);
  double w[TEAM_MINE];

  for (int64_t at = 0; at < n; at += TEAM_BLOCK) {
    const int64_t m = n - at < TEAM_BLOCK ? n - at : TEAM_BLOCK;

    for (int64_t k = 0; k < team_share(m); k++) w[k] = 1;
    if (weight) number_load(weight, at, m, w);
    for (int64_t k = 0; k < team_share(m); k++) {
      double *y = &x[at + team_place(k)];
      *y = *y * r * w[k];
    }
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

/* The factors of a pair: (a cos_a - b sin_a, b cos_b + a sin_b). */
struct heads_turn {
  double cos_a, sin_a, cos_b, sin_b;
};
/* What one element of the pair may be off by. */
struct heads_room {
  float *slack, *split;
};

static inline void heads_rotate(double *a, double *b,
                                const struct heads_turn *t,
                                struct heads_room room_a,
                                struct heads_room room_b,
                                const struct heads_slack *s)
{
  const double ac = *a * t->cos_a, bs = *b * t->sin_a;
  const double bc = *b * t->cos_b, as = *a * t->sin_b;
  const double sum_a = fabs(ac) + fabs(bs), sum_b = fabs(bc) + fabs(as);

  *a = ac - bs;
  *b = bc + as;
  *room_a.slack = (float)(s->fp32 * sum_a);
  *room_b.slack = (float)(s->fp32 * sum_b);
  *room_a.split = (float)(s->half_ulp * sum_a +
                          s->smallest * (fabs(t->cos_a) + fabs(t->sin_a)));
  *room_b.split = (float)(s->half_ulp * sum_b +
                          s->smallest * (fabs(t->cos_b) + fabs(t->sin_b)));
}

/* One product of the rotation as fp32 makes it and the io dtype keeps it; and
 * what comes of it when `value` was rounded to its other neighbour, or the
 * product was. */
struct heads_product {
  double value, flip;
};
static inline struct heads_product heads_multiply(const struct number_format *f,
                                                  double value, double by,
                                                  bool computed)
{
  const double product = number_round(f, (float)(value * by));
  const double in = computed ? number_ulp(f, value) * fabs(by) : 0;

  const struct heads_product p = {product, in + number_ulp(f, product)};

  return p;
}

static inline void heads_add(const struct number_format *f, double *to,
                             const struct heads_product *a,
                             const struct heads_product *b, double sign,
                             struct heads_room room)
{
  const double size = fabs(a->value) + fabs(b->value);
  const double flip = a->flip > b->flip ? a->flip : b->flip;

  *to = number_round(f, (float)(a->value + sign * b->value));
  *room.slack = (float)(8 * 0x1p-24 * size + flip);
  *room.split = 0;
}

/* `computed`: the pair is a norm's rounded result, else an input. */
static inline void heads_rotate_each(double *a, double *b,
                                     const struct heads_turn *t,
                                     struct heads_room room_a,
                                     struct heads_room room_b,
                                     const struct number_format *f,
                                     bool computed)
{
  const struct heads_product ac = heads_multiply(f, *a, t->cos_a, computed);
  const struct heads_product bs = heads_multiply(f, *b, t->sin_a, computed);
  const struct heads_product bc = heads_multiply(f, *b, t->cos_b, computed);
  const struct heads_product as = heads_multiply(f, *a, t->sin_b, computed);

  heads_add(f, a, &ac, &bs, -1, room_a);
  heads_add(f, b, &bc, &as, 1, room_b);
}

/* The factors of the token's pairs [at, at + n), of those of this member. */
static inline void heads_load_turns(const struct heads_reference *h,
                                    int64_t position, int64_t at, int64_t n,
                                    struct heads_turn *turn)
{
  const struct reference_tensor *ct = &h->tensor[h->cos];
  const struct reference_tensor *st = h->joint ? ct : &h->tensor[h->sin];
  const int64_t half = h->rope_dim / 2;
  const int64_t step = h->table == HEADS_REPEATED ? 2 : 1;
  const int last = h->table == HEADS_FULL; /* b's own angles, or a's */
  const int64_t cos_at = position * ct->stride[0] + at * step;
  const int64_t sin_at =
      position * st->stride[0] + (h->joint ? half : 0) + at * step;

  for (int64_t k = 0; k < team_share(n); k++) {
    const int64_t i = team_place(k) * step;

    turn[k].cos_a = number_get(ct, cos_at + i);
    turn[k].sin_a = number_get(st, sin_at + i);
    turn[k].cos_b = last ? number_get(ct, cos_at + i + half) : turn[k].cos_a;
    turn[k].sin_b = last ? number_get(st, sin_at + i + half) : turn[k].sin_a;
  }
}

static inline void heads_rope(const struct heads_reference *h, double *x,
                              float *slack, float *split, int64_t position)
{
  const int64_t half = h->rope_dim / 2;
  const int64_t far = h->neox ? half : 1, step = h->neox ? 1 : 2;
  const struct heads_slack s = heads_slack_of(h->io, h->norm);
  const struct number_format f = number_format_of(h->io);
  struct heads_turn turn[TEAM_MINE];

  for (int64_t at = 0; at < half; at += TEAM_BLOCK) {
    const int64_t m = half - at < TEAM_BLOCK ? half - at : TEAM_BLOCK;

    heads_load_turns(h, position, at, m, turn);
    for (int64_t i = 0; i < team_share(m); i++) {
      const int64_t j = (at + team_place(i)) * step, k = j + far;
      const struct heads_room a = {slack + j, split + j};
      const struct heads_room b = {slack + k, split + k};

      if (h->each)
        heads_rotate_each(x + j, x + k, &turn[i], a, b, &f, h->norm);
      else
        heads_rotate(x + j, x + k, &turn[i], a, b, &s);
    }
  }
}

static inline int64_t heads_position(const struct heads_reference *h,
                                     int64_t token)
{
  const struct reference_tensor *p =
      h->positions < 0 ? NULL : &h->tensor[h->positions];

  if (!p || !p->present) return h->position_offset + token % h->seq;
  return (int64_t)number_get(p, token);
}

/* One head row.  What nothing is done to must come out as it went in. */
static inline void heads_row(const struct heads_reference *h,
                             const struct reference_tensor *weight, int64_t dim,
                             int64_t token, double *x, float *slack,
                             float *split)
{
  const struct number_format f = number_format_of(h->io);
  const double own = h->norm ? 8 * 0x1p-24 : 0;
  int64_t i;

  if (h->norm) heads_norm(x, dim, h->eps, weight);
  for (i = team_rank(); i < dim; i += TEAM)
    slack[i] = (float)(own * fabs(x[i]));
  for (i = team_rank(); i < dim; i += TEAM) split[i] = 0;
  for (i = team_rank(); i < dim && h->norm && h->each; i += TEAM)
    x[i] = number_round(&f, x[i]);
  team_meet();
  if (h->rope_dim) heads_rope(h, x, slack, split, heads_position(h, token));
}

/* Where the head rows of one of q and k come from in one segment. */
struct heads_source {
  const struct reference_tensor *rows, *weight;
};
static inline struct heads_source
heads_source_of(const struct heads_reference *h, int rows, int weight)
{
  const struct reference_tensor *t = h->tensor;
  const struct heads_source s = {
      &t[rows], weight >= 0 && t[weight].present ? &t[weight] : NULL};

  return s;
}

/* All head rows of one of q and k. */
static inline void heads_tensor(const struct heads_reference *h, int64_t first,
                                int64_t last, struct heads_source text,
                                struct heads_source image,
                                const struct reference_out *out)
{
  const int64_t heads = image.rows->extent[1], dim = image.rows->extent[2];
  int64_t at = 0;

  for (int64_t token = first; token < last; token++) {
    const bool is_text = token < h->text_tokens;
    const struct heads_source *from = is_text ? &text : &image;
    const struct reference_tensor *t = from->rows;
    const int64_t row = is_text ? token : token - h->text_tokens;

    for (int64_t head = 0; head < heads; head++, at += dim) {
      number_load_row(t, row * t->stride[0] + head * t->stride[1], dim,
                      out->value + at);
      heads_row(h, from->weight, dim, token, out->value + at, out->slack + at,
                out->split_slack + at);
    }
  }
}

/* In place, the output is the input's tensor. */
static inline void heads_items(const void *plan, int64_t first, int64_t last,
                               const struct reference_out *out)
{
  const struct heads_reference *h = (const struct heads_reference *)plan;
  const struct reference_out *q =
      &out[out[h->q_out].value ? h->q_out : h->q];
  const struct reference_out *k =
      &out[out[h->k_out].value ? h->k_out : h->k];

  if (q->value)
    heads_tensor(h, first, last,
                 heads_source_of(h, h->text_q, h->text_q_weight),
                 heads_source_of(h, h->q, h->q_weight), q);
  if (k->value)
    heads_tensor(h, first, last,
                 heads_source_of(h, h->text_k, h->text_k_weight),
                 heads_source_of(h, h->k, h->k_weight), k);
}

#ifndef REFERENCE_DEVICE
/* The plan, but for its tensors, is *h. */
static inline void heads_plan(const struct reference_call *call,
                              const struct heads_reference *h, void *plan)
{
  struct heads_reference *p = plan;

  *p = *h;
  memcpy(p->tensor, call->tensor,
         call->problem->op->tensor_count * sizeof *p->tensor);
}

#define HEADS_REFERENCE(PLAN)                                                  \
  {                                                                            \
    PLAN, heads_items, sizeof(struct heads_reference),                         \
        "variants/common/reference_heads.h", "heads_items"                     \
  }
#endif
#endif
