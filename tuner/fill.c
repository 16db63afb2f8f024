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

/* Columns [first, first + n) of a row, whose numbers are all of one kind. */
static void draw_normal(uint64_t seed, struct row_kind kind, int n, double *to)
{
  for (int i = 0; i < n; ++i)
    to[i] = kind.mean + normal(mix(seed + (uint64_t)i)) * kind.deviation;
}

static void draw_angles(uint64_t seed, int n, double *to)
{
  for (int i = 0; i < n; ++i) to[i] = 2 * uniform(mix(seed + (uint64_t)i)) - 1;
}

static void draw_positions(const struct job *job, uint64_t index, int n,
                           double *to)
{
  uint64_t limit = (uint64_t)job->limit;

  for (int i = 0; i < n; ++i) {
    uint64_t at = index + (uint64_t)i;
    to[i] = (double)((job->class == FILL_PLAIN ? at : mix(job->seed + at)) %
                     limit);
  }
}

/* Of FILL_SPECIAL: one NaN and one infinity, in rows of their own. */
static void put_special(const struct job *job, int64_t row, int64_t first,
                        int n, double *to)
{
  int64_t width = job->shape->extent[job->shape->rank - 1];
  int64_t at = row == 1 ? width / 2 : width - 1;

  if (job->class != FILL_SPECIAL || (row != 1 && row != 2)) return;
  if (at >= first && at < first + n) to[at - first] = row == 1 ? NAN : INFINITY;
}

static void draw(const struct job *job, int64_t row, int64_t first, int n,
                 double *to)
{
  int64_t width = job->shape->extent[job->shape->rank - 1];
  uint64_t index = (uint64_t)(row * width + first), seed = job->seed + index;

  switch (job->tensor->fill) {
  case FILL_WEIGHT: draw_normal(seed, (struct row_kind){0.25, 1}, n, to); break;
  case FILL_OPERAND: draw_normal(seed, (struct row_kind){0.5, 0}, n, to); break;
  case FILL_ANGLE: draw_angles(seed, n, to); break;
  case FILL_POSITION: draw_positions(job, index, n, to); break;
  default:
    draw_normal(seed, row_kind(job, row), n, to);
    put_special(job, row, first, n, to);
  }
}

/* A 16-bit float by its format, as dtype_store() rounds it, where the value is
 * well inside the normal range; false elsewhere.  Inputs have 10^8 elements. */
static inline bool store_normal(void *at, double value, int mantissa, int reach)
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

/* The formats are constants in each loop, so that the compiler sees them. */
static void store(int64_t dtype, char *at, int n, const double *value)
{
  int64_t bytes = dtype_bytes(dtype);

  if (dtype == DD_BF16) {
    for (int i = 0; i < n; ++i)
      if (!store_normal(at + 2 * i, value[i], 7, 126))
        dtype_store(dtype, at + 2 * i, value[i]);
  } else if (dtype == DD_F16) {
    for (int i = 0; i < n; ++i)
      if (!store_normal(at + 2 * i, value[i], 10, 14))
        dtype_store(dtype, at + 2 * i, value[i]);
  } else {
    for (int i = 0; i < n; ++i) dtype_store(dtype, at + bytes * i, value[i]);
  }
}

static void fill_rows(void *user, int64_t first, int64_t last)
{
  const struct job *job = user;
  const struct tensor_shape *s = job->shape;
  int64_t width = s->extent[s->rank - 1], bytes = dtype_bytes(s->dtype);
  double value[512];

  for (int64_t row = first; row < last; ++row) {
    char *at = job->base + row_offset(s, row) * bytes;
    for (int64_t c = 0; c < width; c += COUNT_OF(value)) {
      int n = (int)(width - c < 512 ? width - c : 512);
      draw(job, row, c, n, value);
      store(s->dtype, at + c * bytes, n, value);
    }
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
