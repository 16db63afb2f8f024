/* fill.c - inputs, as a function of the seed and the index alone. */
#include "fill.h"

#include <math.h>
#include <string.h>

#include "parallel.h"
#include "rows.h"

struct job {
  const struct tensor_spec *tensor;
  const struct tensor_shape *shape;
  int64_t limit;
  enum fill_class class;
  uint64_t seed;
  char *base;
};

/* splitmix64: every bit of the index reaches every bit of the result. */
static uint64_t mix(uint64_t x)
{
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

/* The sum of four uniforms: mean 0, deviation 1, never beyond 3.5. */
static double normal(uint64_t bits)
{
  uint64_t sum = (bits & 0xffff) + (bits >> 16 & 0xffff) +
                 (bits >> 32 & 0xffff) + (bits >> 48);

  return ((double)sum - 2 * 65535.0) * (1 / 37837.0);
}

static double uniform(uint64_t bits)
{
  return (double)(bits >> 11) * 0x1p-53;
}

/* Rows of very different sizes find kernels that mix rows up or lose eps; a
 * mean of 1000 deviations, those that square before they subtract it; constant
 * rows, those whose variance comes out below zero. */
struct row_kind {
  double deviation, mean;
};

static struct row_kind row_kind(const struct job *job, int64_t row)
{
  static const struct row_kind plain = {1, 0};
  static const struct row_kind kinds[] = {
      {1, 0},    {1, 0}, {1, 0},    {1, 0},  {1, 0},     {1, 0},
      {1e-3, 0}, {0, 0}, {100, 0}, {0, 1.7}, {1, 1000}, {1e-3, -1},
  };

  if (job->class == FILL_PLAIN) return plain;
  return kinds[mix(job->seed ^ 0x5eed ^ (uint64_t)row) % COUNT_OF(kinds)];
}

static double activation(const struct job *job, int64_t row, int64_t column,
                         uint64_t bits)
{
  int64_t width = job->shape->extent[job->shape->rank - 1];
  struct row_kind kind = row_kind(job, row);

  if (job->class == FILL_SPECIAL && row == 1 && column == width / 2) return NAN;
  if (job->class == FILL_SPECIAL && row == 2 && column == width - 1)
    return INFINITY;
  return kind.mean + normal(bits) * kind.deviation;
}

static double value_at(const struct job *job, int64_t row, int64_t column)
{
  int64_t width = job->shape->extent[job->shape->rank - 1];
  uint64_t index = (uint64_t)(row * width + column);
  uint64_t bits = mix(job->seed + index);

  switch (job->tensor->fill) {
  case FILL_WEIGHT: return 1 + 0.25 * normal(bits);
  case FILL_OPERAND: return 0.5 * normal(bits);
  case FILL_ANGLE: return 2 * uniform(bits) - 1;
  case FILL_POSITION:
    if (job->class == FILL_PLAIN) return (double)((int64_t)index % job->limit);
    return (double)(bits % (uint64_t)job->limit);
  default: return activation(job, row, column, bits);
  }
}

/* A 16-bit float by its format, as dtype_store() rounds it, where the value is
 * well inside the normal range; false elsewhere.  Inputs have 10^8 elements. */
static bool store_normal(void *at, double value, int mantissa, int reach)
{
  int cut = 52 - mantissa; /* bits that are rounded off, to nearest even */
  uint64_t bits;
  uint16_t half;
  int exponent;

  memcpy(&bits, &value, 8);
  exponent = (int)(bits >> 52 & 0x7ff) - 1023;
  if (exponent <= -reach || exponent >= reach) return false;
  half = (uint16_t)(bits >> 63 << 15);
  bits &= UINT64_MAX >> 1;
  bits += ((uint64_t)1 << (cut - 1)) - 1 + (bits >> cut & 1);
  bits -= (uint64_t)(1022 - reach) << 52; /* the bias is reach + 1 */
  half |= (uint16_t)(bits >> cut);
  memcpy(at, &half, 2);
  return true;
}

static void store(int64_t dtype, void *at, double value)
{
  if (dtype == DD_BF16 && store_normal(at, value, 7, 126)) return;
  if (dtype == DD_F16 && store_normal(at, value, 10, 14)) return;
  dtype_store(dtype, at, value);
}

static void fill_rows(void *user, int64_t first, int64_t last)
{
  const struct job *job = user;
  const struct tensor_shape *s = job->shape;
  int64_t width = s->extent[s->rank - 1], bytes = dtype_bytes(s->dtype);

  for (int64_t row = first; row < last; ++row) {
    char *at = job->base + row_offset(s, row) * bytes;
    for (int64_t c = 0; c < width; ++c)
      store(s->dtype, at + c * bytes, value_at(job, row, c));
  }
}

void fill_tensor(const struct tensor_spec *t, const struct tensor_shape *s,
                 int64_t limit, enum fill_class class, uint64_t seed,
                 void *base)
{
  struct job job = {t, s, limit > 0 ? limit : 1, class, mix(seed), base};
  int64_t width;

  if (!s->count) return;
  width = s->extent[s->rank - 1];
  parallel_for(s->count / width, 1 + 65536 / width, fill_rows, &job);
}
