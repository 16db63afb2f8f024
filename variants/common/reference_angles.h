/*
 * reference_angles.h - cosines and sines of positions, in double: what
 * rope_table computes and qknorm_rope_packed turns by.
 */
#ifndef DIFFTUNE_REFERENCE_ANGLES_H
#define DIFFTUNE_REFERENCE_ANGLES_H

#include "variants/common/reference_number.h"

/* Kernels get the attributes as fp32: kept as that, because gcc 12 takes a cast
 * to float and back for nothing when it makes vectors of several. */
struct angles_reference {
  bool each, yarn; /* each: angles are fp32, as in a chain's table of them */
  int64_t rope_dim;
  struct reference_tensor positions;
  float base, factor, low, high, attention_factor;
};

#ifndef REFERENCE_DEVICE
/* `first` is the index of the attribute base; the others follow it. */
static inline struct angles_reference
angles_of(const struct reference_call *call, int positions, int first)
{
  const struct problem *p = call->problem;
  const double *attr = call->attr + first;

  return (struct angles_reference){
      .each = problem_get(p, "rounding") == 2,
      .yarn = problem_get(p, "yarn") != 0,
      .rope_dim = problem_get(p, "rope_dim"),
      .positions = call->tensor[positions],
      .base = (float)attr[0],
      .factor = (float)attr[1],
      .low = (float)attr[2],
      .high = (float)attr[3],
      .attention_factor = (float)attr[4],
  };
}
#endif

/* The fp32 value nearest to the frequency of a pair. */
static inline double angles_frequency(const struct angles_reference *a,
                                      int64_t pair)
{
  double f = pow((double)a->base, -2.0 * (double)pair / (double)a->rope_dim);
  const double low = a->low;
  double high = a->high, ramp;

  if (!a->yarn) return (float)f;
  if (fabs(low - high) <= 1e-6) high += 0.001;
  ramp = ((double)pair - low) / (high - low);
  ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
  return (float)(f / a->factor * ramp + f * (1 - ramp));
}

static inline int64_t angles_position(const struct angles_reference *a,
                                      int64_t token)
{
  return (int64_t)number_get(&a->positions, token);
}

struct angle {
  double cos, sin; /* times the attention factor */
  double error;    /* what fp32 may be off in them, for the angle's sake */
};

static inline struct angle angles_at(const struct angles_reference *a,
                                     int64_t position, double frequency)
{
  const struct number_format single = number_format_of(DD_F32);
  const double theta = (double)position * frequency;
  const double factor = a->yarn ? (double)a->attention_factor : 1;
  struct angle t = {cos(theta) * factor, sin(theta) * factor,
                    0x1p-23 * fabs(theta * factor)};

  if (!a->each) return t;
  t.cos = number_round(&single, t.cos);
  t.sin = number_round(&single, t.sin);
  return t;
}

#endif
