/*
 * reference_number.h - the io dtypes as grids of doubles: loading, rounding,
 * neighbours.
 *
 * dtype_round() and its like in runtime/base.h are calls and take a decision
 * per element; a reference rounds up to ten times per element, so here a dtype
 * is looked up once and a double's own bits do the rest.
 */
#ifndef DIFFTUNE_REFERENCE_NUMBER_H
#define DIFFTUNE_REFERENCE_NUMBER_H

#include "variants/common/reference_team.h"

/* A format with `drop` bits less than a double has. */
struct number_format {
  int drop;
  double normal;    /* the smallest normal number */
  double relative;  /* one ulp of 1 */
  double overflow;  /* what rounds to this or more is an infinity */
  double magic;     /* x + magic - magic rounds a subnormal x */
};

static inline struct number_format number_format_of(int64_t dtype)
{
  const struct number_format bf16 = {45, 0x1p-126, 0x1p-7, 0x1p128, 0x1.8p-81};
  const struct number_format fp16 = {42, 0x1p-14, 0x1p-10, 0x1p16, 0x1.8p28};
  const struct number_format fp32 = {29, 0x1p-126, 0x1p-23, 0x1p128, 0x1.8p-97};

  return dtype == DD_BF16 ? bf16 : dtype == DD_F16 ? fp16 : fp32;
}

static inline uint64_t number_bits(double x)
{
  uint64_t bits;

  memcpy(&bits, &x, sizeof bits);
  return bits;
}

static inline double number_of(uint64_t bits)
{
  double x;

  memcpy(&x, &bits, sizeof x);
  return x;
}

/* To the nearest, ties to even, in one step: by way of an fp32 it would round
 * twice. */
static inline double number_round(const struct number_format *f, double x)
{
  const uint64_t bits = number_bits(x);
  const uint64_t half = ((uint64_t)1 << (f->drop - 1)) - 1;
  const uint64_t odd = bits >> f->drop & 1;
  double y = number_of((bits + half + odd) >> f->drop << f->drop);

  if (fabs(x) < f->normal) y = copysign(x + f->magic - f->magic, x);
  if (fabs(y) >= f->overflow) y = copysign(INFINITY, x);
  return fabs(x) < INFINITY ? y : x;
}

/* The distance of neighbours at x; an infinity at what is not finite. */
static inline double number_ulp(const struct number_format *f, double x)
{
  const double power = number_of(number_bits(x) & (uint64_t)0x7ff << 52);

  return (power > f->normal ? power : f->normal) * f->relative;
}

static inline float number_single(uint32_t bits)
{
  float f;

  memcpy(&f, &bits, sizeof f);
  return f;
}

static inline float number_half(uint16_t h)
{
  const uint32_t sign = (h & 0x8000u) << 16, size = h & 0x7fffu;

  if (size >= 0x7c00) return number_single(sign | 0x7f800000 | size << 13);
  return number_single(sign | size << 13) * 0x1p112f; /* subnormals too */
}

/* Converts n elements, exactly: from element `at` on, each TEAM apart, to
 * places that are `step` apart. */
TEAM_CALL void number_convert(const struct reference_tensor *t, int64_t at,
                              int64_t n, int64_t step, double *to)
{
  const uint16_t *half = (const uint16_t *)t->data + at;
  const float *single = (const float *)t->data + at;
  const int32_t *i32 = (const int32_t *)t->data + at;
  const int64_t *i64 = (const int64_t *)t->data + at;
  int64_t i;

  if (TEAM == 1 && t->read) {
    t->read(t, at, n, to);
    return;
  }
  switch (t->dtype) {
  case DD_BF16:
    for (i = 0; i < n; i++)
      to[i * step] = number_single((uint32_t)half[i * TEAM] << 16);
    break;
  case DD_F16:
    for (i = 0; i < n; i++) to[i * step] = number_half(half[i * TEAM]);
    break;
  case DD_I32:
    for (i = 0; i < n; i++) to[i * step] = i32[i * TEAM];
    break;
  case DD_I64:
    for (i = 0; i < n; i++) to[i * step] = (double)i64[i * TEAM];
    break;
  default:
    for (i = 0; i < n; i++) to[i * step] = single[i * TEAM];
  }
}

/* This member's of n elements from element `at` on: its k-th to to[k]. */
static inline void number_load(const struct reference_tensor *t, int64_t at,
                               int64_t n, double *to)
{
  number_convert(t, at + team_rank(), team_share(n), 1, to);
}

/* The same, each to its own place in a row that the team shares. */
static inline void number_load_row(const struct reference_tensor *t,
                                   int64_t at, int64_t n, double *to)
{
  number_convert(t, at + team_rank(), team_share(n), TEAM, to + team_rank());
}

/* One element, for all members. */
static inline double number_get(const struct reference_tensor *t, int64_t at)
{
  double x;

  number_convert(t, at, 1, 1, &x);
  return x;
}

#endif
