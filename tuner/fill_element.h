/*
 * fill_element.h - one element of an input, as a function of the seed and its
 * index: the same text on the host and on a GPU, and the same bits.
 *
 * Compiled for a GPU (FILL_DEVICE) it includes nothing; tuner/kernels/words.cuh
 * stands in front of it.
 */
#ifndef DIFFTUNE_FILL_ELEMENT_H
#define DIFFTUNE_FILL_ELEMENT_H

#ifdef FILL_DEVICE
enum { FILL_NORMAL, FILL_WEIGHT, FILL_ANGLE, FILL_POSITION, FILL_OPERAND };
enum { FILL_PLAIN, FILL_HARD, FILL_SPECIAL };
#else
#include <math.h>
#include <string.h>

#include "fill.h"
#endif

struct fill_source { /* of a tensor's elements */
  int32_t kind, special; /* FILL_NORMAL, ...; FILL_PLAIN, ... */
  int64_t dtype, width, limit;
  uint64_t seed;
};

/* splitmix64: every bit of the index reaches every bit of the result. */
static inline uint64_t fill_mix(uint64_t x)
{
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

/* The sum of four uniforms: mean 0, deviation 1, never beyond 3.5. */
static inline double fill_normal(uint64_t bits)
{
  const uint64_t sum = (bits & 0xffff) + (bits >> 16 & 0xffff) +
                       (bits >> 32 & 0xffff) + (bits >> 48);

  return ((double)sum - 2 * 65535.0) * (1 / 37837.0);
}

static inline double fill_uniform(uint64_t bits)
{
  return (double)(bits >> 11) * 0x1p-53;
}

struct fill_row {
  double deviation, mean;
};

/* Rows of very different sizes find kernels that mix rows up or lose eps; a
 * mean of 1000 deviations, those that square before they subtract it; constant
 * rows, those whose variance comes out below zero. */
static inline struct fill_row fill_row_of(const struct fill_source *f,
                                          int64_t row)
{
  const struct fill_row plain = {1, 0}, weight = {0.25, 1}, operand = {0.5, 0};
  static const struct fill_row hard[] = {
      {1, 0},    {1, 0}, {1, 0},    {1, 0},  {1, 0},     {1, 0},
      {1e-3, 0}, {0, 0}, {100, 0}, {0, 1.7}, {1, 1000}, {1e-3, -1},
  };

  if (f->kind == FILL_WEIGHT) return weight;
  if (f->kind == FILL_OPERAND) return operand;
  if (f->kind != FILL_NORMAL || f->special == FILL_PLAIN) return plain;
  return hard[fill_mix(f->seed ^ 0x5eed ^ (uint64_t)row) %
              (sizeof hard / sizeof hard[0])];
}

/* Of FILL_SPECIAL: one NaN and one infinity, in rows of their own. */
static inline bool fill_is_special(const struct fill_source *f, int64_t row,
                                   int64_t column)
{
  if (f->special != FILL_SPECIAL || f->kind != FILL_NORMAL) return false;
  return (row == 1 && column == f->width / 2) ||
         (row == 2 && column == f->width - 1);
}

static inline double fill_number(const struct fill_source *f,
                                 const struct fill_row *r, int64_t row,
                                 int64_t column)
{
  const uint64_t index = (uint64_t)(row * f->width + column);
  const uint64_t bits = fill_mix(f->seed + index);

  if (f->kind == FILL_ANGLE) return 2 * fill_uniform(bits) - 1;
  if (f->kind == FILL_POSITION)
    return (double)((f->special == FILL_PLAIN ? index : bits) %
                    (uint64_t)f->limit);
  if (fill_is_special(f, row, column))
    return row == 1 ? (double)NAN : (double)INFINITY;
  return r->mean + fill_normal(bits) * r->deviation;
}

/* A 16-bit float: to the nearest, ties to even.  `reach` is the bias less one;
 * `step` is 1 over the smallest subnormal number. */
static inline uint16_t fill_half(double value, int mantissa, int reach,
                                 double step)
{
  const int cut = 52 - mantissa; /* bits that are rounded off */
  uint64_t bits;
  uint16_t sign;
  int exponent;

  memcpy(&bits, &value, 8);
  sign = (uint16_t)(bits >> 63 << 15);
  exponent = (int)(bits >> 52 & 0x7ff) - 1023;
  if (value != value) return 0x7fff;
  if (exponent > reach + 1)
    return (uint16_t)(sign | 0x7fff >> mantissa << mantissa);
  if (exponent <= -reach)
    return (uint16_t)(sign | (uint16_t)rint(fabs(value) * step));
  bits &= ~(uint64_t)0 >> 1;
  bits += ((uint64_t)1 << (cut - 1)) - 1 + (bits >> cut & 1);
  bits -= (uint64_t)(1022 - reach) << 52;
  return (uint16_t)(sign | (uint16_t)(bits >> cut));
}

/* The bits in the dtype, as dtype_store() has them: a GPU has a NaN of its own,
 * but not here. */
static inline uint64_t fill_bits(int64_t dtype, double value)
{
  const float single = (float)value;
  uint32_t bits;

  if (dtype == DD_BF16) return fill_half(value, 7, 126, 0x1p133);
  if (dtype == DD_F16) return fill_half(value, 10, 14, 0x1p24);
  if (dtype != DD_F32) return (uint64_t)(int64_t)value;
  if (value != value) return 0x7fc00000;
  memcpy(&bits, &single, 4);
  return bits;
}

#endif
