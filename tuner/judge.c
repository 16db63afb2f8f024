/* judge.c - is every element inside the tolerance? */
#include "judge.h"

#include <math.h>
#include <string.h>

#include "rows.h"

/* dtype_ulp() for finite values without calls: proofs are 10^9 elements long. */
static double fast_ulp(int64_t dtype, double value)
{
  int mantissa = dtype == DD_BF16 ? 7 : dtype == DD_F16 ? 10 : 23;
  int low = dtype == DD_F16 ? -14 : -126;
  uint64_t bits;
  int exponent;

  memcpy(&bits, &value, 8);
  exponent = (int)(bits >> 52 & 0x7ff) - 1023;
  if (exponent < low) exponent = low;
  bits = (uint64_t)(exponent - mantissa + 1023) << 52;
  memcpy(&value, &bits, 8);
  return value;
}

static double largest(int64_t dtype)
{
  return dtype == DD_BF16  ? 0x1.fep127
         : dtype == DD_F16 ? 65504
                           : 0x1.fffffep127;
}

double judge_element(int64_t dtype, double out, double value, double slack)
{
  double allowed;

  if (isnan(value) || isnan(out)) return isnan(value) && isnan(out) ? 0 : INFINITY;
  if (isinf(value)) return out == value ? 0 : INFINITY;
  allowed = fast_ulp(dtype, value) + slack;
  if (!isinf(out)) return fabs(out - value) / allowed;
  /* an infinity is right where the value rounds past the largest number */
  if (signbit(out) == signbit(value) && fabs(value) + allowed > largest(dtype))
    return 0;
  return INFINITY;
}

static double load_element(int64_t dtype, const char *at)
{
  uint32_t bits;
  uint16_t half;
  float f;

  if (dtype != DD_BF16) return dtype_load(dtype, at);
  memcpy(&half, at, 2);
  bits = (uint32_t)half << 16;
  memcpy(&f, &bits, 4);
  return f;
}

bool judge_unwritten(int64_t dtype, const void *at)
{
  uint16_t half[2] = {POISON, POISON};

  memcpy(half, at, dtype_bytes(dtype) == 2 ? 2 : 4);
  return half[0] == POISON && half[1] == POISON;
}

struct cursor {
  const struct tensor_shape *shape;
  const double *value;
  const float *slack, *split_slack;
  struct judgement *out;
};

static void judge_row(struct cursor *c, const char *at, int64_t index)
{
  int64_t width = c->shape->extent[c->shape->rank - 1];
  int64_t dtype = c->shape->dtype, bytes = dtype_bytes(dtype);

  for (int64_t i = 0; i < width; ++i, ++index) {
    double slack = (double)c->slack[index] +
                   (c->split_slack ? (double)c->split_slack[index] : 0);
    double value = c->value[index], got = load_element(dtype, at + i * bytes);
    bool unwritten = isnan(got) && judge_unwritten(dtype, at + i * bytes);
    double error =
        unwritten ? INFINITY : judge_element(dtype, got, value, slack);
    c->out->elements++;
    if (got == value || fabs(got - value) < 0.5 * fast_ulp(dtype, value))
      c->out->bit_equal++;
    else if (isnan(value) && isnan(got) && !unwritten)
      c->out->bit_equal++;
    if (error > c->out->error) c->out->error = error;
    if (!(error <= 1)) {
      c->out->wrong++;
      if (c->out->first_wrong < 0) c->out->first_wrong = index;
    }
  }
}

void judge_rows(const struct tensor_shape *s, const void *base,
                const double *value, const float *slack,
                const float *split_slack, int64_t first, int64_t last,
                struct judgement *out)
{
  struct cursor c = {s, value, slack, split_slack, out};
  int64_t bytes = dtype_bytes(s->dtype), width = s->extent[s->rank - 1];

  if (!s->count) return;
  for (int64_t row = first; row < last; ++row)
    judge_row(&c, (const char *)base + row_offset(s, row) * bytes, row * width);
}

void judge_add(struct judgement *to, const struct judgement *more)
{
  if (more->error > to->error) to->error = more->error;
  to->elements += more->elements;
  to->wrong += more->wrong;
  to->bit_equal += more->bit_equal;
  if (to->first_wrong < 0) to->first_wrong = more->first_wrong;
}
