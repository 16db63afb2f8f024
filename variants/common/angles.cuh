// Rotary angles made in a kernel: the frequency of a pair, and the sine and
// cosine of position times frequency, both in fp32 arithmetic.
//
// An angle of 2^20 rad has an ulp of 1/8, so fp32 alone is not enough: the
// frequency is the fp32 value nearest to the exact one (powf may be 2 ulps
// off, which is a quarter of a turn there), its product with the position is
// kept exactly, in two floats, and what is taken off it are whole quarters of
// a turn.  Pairs of floats do that everywhere; doubles are 64 times slower
// than floats on most GPUs.
#pragma once
#include "variants/common/device.cuh"

namespace dt {

// ---- Numbers of twice the precision ---------------------------------------

// The sum of two floats, the second below half an ulp of the first.  The
// intrinsics keep the compiler from contracting a product into a sum.
struct Twin {
  float high, low;
};

__device__ __forceinline__ Twin twin(float high, float low = 0.0f)
{
  return {high, low};
}

// The exact sum of two floats; `ordered`: |a| >= |b| or a is 0.
__device__ __forceinline__ Twin exact_sum(float a, float b)
{
  const float sum = __fadd_rn(a, b), part = __fadd_rn(sum, -a);
  return {sum, __fadd_rn(__fadd_rn(a, -__fadd_rn(sum, -part)),
                         __fadd_rn(b, -part))};
}
__device__ __forceinline__ Twin ordered_sum(float a, float b)
{
  const float sum = __fadd_rn(a, b);
  return {sum, __fadd_rn(b, -__fadd_rn(sum, -a))};
}

__device__ __forceinline__ Twin add(Twin a, Twin b)
{
  const Twin sum = exact_sum(a.high, b.high);
  return ordered_sum(sum.high,
                     __fadd_rn(sum.low, __fadd_rn(a.low, b.low)));
}

__device__ __forceinline__ Twin multiply(Twin a, Twin b)
{
  const float product = __fmul_rn(a.high, b.high);
  float rest = fmaf(a.high, b.high, -product);
  rest = fmaf(a.high, b.low, rest);
  rest = fmaf(a.low, b.high, rest);
  return ordered_sum(product, rest);
}

__device__ __forceinline__ Twin divide(Twin a, Twin b)
{
  const float quotient = a.high / b.high;
  float rest = fmaf(-quotient, b.high, a.high);
  rest = fmaf(-quotient, b.low, __fadd_rn(rest, a.low));
  return ordered_sum(quotient, rest / b.high);
}

// By a power of two, which is exact.
__device__ __forceinline__ Twin times_power(Twin a, float power)
{
  return {__fmul_rn(a.high, power), __fmul_rn(a.low, power)};
}

// The logarithm to base 2 of a normal number, to 2^-36: with s = (m - 1) /
// (m + 1), ln m = 2 (s + s^3/3 + s^5/5 + ...).
__device__ __forceinline__ Twin log2_twin(float x)
{
  const u32 bits = __float_as_uint(x);
  const int exponent = (int)(bits - 0x3f3504f3u) >> 23; // m in [0.71, 1.41)
  const float m = __uint_as_float(bits - ((u32)exponent << 23));
  const Twin s = divide(twin(m - 1.0f), exact_sum(m, 1.0f));
  const Twin square = multiply(s, s);
  const float q = square.high;
  float rest = fmaf(q, 1.0f / 15, 1.0f / 13);

  rest = fmaf(q, rest, 1.0f / 11);
  rest = fmaf(q, rest, 1.0f / 9);
  rest = fmaf(q, rest, 1.0f / 7);
  rest = fmaf(q, rest, 1.0f / 5);
  Twin sum = multiply(square, twin(0x1.555556p-2f, -0x1.555556p-27f)); // 1/3
  sum = add(sum, twin(__fmul_rn(q, __fmul_rn(q, rest))));
  sum = multiply(s, add(twin(1.0f), sum));
  sum = multiply(sum, twin(0x1.715476p+1f, 0x1.4ae0cp-25f)); // 2 / ln 2
  return add(twin((float)exponent), sum);
}

// 2^y to 2^-36 of itself, for |y| < 126.
__device__ __forceinline__ Twin exp2_twin(Twin y)
{
  const float whole = rintf(y.high);
  const Twin part = add(twin(-whole), y);
  // 2^part = e^u to the 16th, with |u| < 0.022; x = e^u - 1.
  const Twin u = times_power(
      multiply(part, twin(0x1.62e43p-1f, -0x1.05c61p-29f)), 0x1p-4f);
  const float cube = __fmul_rn(u.high, __fmul_rn(u.high, u.high));
  const float rest =
      fmaf(u.high, fmaf(u.high, 1.0f / 120, 1.0f / 24), 1.0f / 6);
  Twin x = add(u, times_power(multiply(u, u), 0.5f));

  x = add(x, twin(__fmul_rn(cube, rest)));
#pragma unroll
  for (int i = 0; i < 4; ++i)
    x = add(times_power(x, 2.0f), multiply(x, x)); // (1 + x)^2 - 1
  return times_power(add(twin(1.0f), x),
                     __uint_as_float((u32)((int)whole + 127) << 23));
}

// ---- Frequencies -----------------------------------------------------------

// In which arithmetic they are made: pairs of floats, or doubles, which are
// shorter to write and as fast where a GPU has them.
enum class FrequencyBy { twins, doubles };

// base^(-2i / rope_dim), and what YaRN makes of it: of() is the fp32 value
// nearest to the frequency of a pair.
template <FrequencyBy By> struct Frequencies;

template <> struct Frequencies<FrequencyBy::twins> {
  Twin octaves; // log2 of the base
  int rope_dim;
  bool yarn;
  Twin span{}, loss{}; // of the ramp; what a frequency behind it loses
  float low;

  __device__ __forceinline__ Frequencies(float base, int dim, bool is_yarn,
                                         float factor, float first, float high)
      : octaves(log2_twin(base)), rope_dim(dim), yarn(is_yarn), low(first)
  {
    if (!yarn) return;
    span = exact_sum(high, -low);
    if (fabsf(span.high) <= 1e-6f) // a step, one thousandth wide
      span = add(span, twin(0x1.0624dep-10f, -0x1.a1cacp-35f));
    loss = divide(twin(1.0f), twin(factor));
    loss = add(twin(1.0f), twin(-loss.high, -loss.low));
  }

  // How much YaRN leaves: 1 before the ramp, 1/factor behind it.
  __device__ __forceinline__ Twin share(int pair) const
  {
    Twin ramp = divide(exact_sum((float)pair, -low), span);

    if (!(ramp.high > 0.0f)) ramp = twin(0.0f);
    if (ramp.high > 1.0f || (ramp.high == 1.0f && ramp.low > 0.0f))
      ramp = twin(1.0f);
    ramp = multiply(ramp, loss);
    return add(twin(1.0f), twin(-ramp.high, -ramp.low));
  }

  __device__ __forceinline__ float of(int pair) const
  {
    const Twin part = divide(twin((float)(2 * pair)), twin((float)rope_dim));
    const Twin turns = multiply(part, octaves);
    Twin f = exp2_twin({-turns.high, -turns.low});

    if (yarn) f = multiply(f, share(pair));
    return f.high;
  }
};

template <> struct Frequencies<FrequencyBy::doubles> {
  double octaves, span, loss, low;
  int rope_dim;
  bool yarn;

  __device__ __forceinline__ Frequencies(float base, int dim, bool is_yarn,
                                         float factor, float first, float high)
      : octaves(log2((double)base)), span((double)high - first),
        loss(1.0 - 1.0 / factor), low(first), rope_dim(dim), yarn(is_yarn)
  {
    if (fabs(span) <= 1e-6) span += 0.001; // a step
  }

  __device__ __forceinline__ float of(int pair) const
  {
    const double f = exp2(-2.0 * pair / rope_dim * octaves);

    if (!yarn) return (float)f;
    return (float)(f * (1.0 - loss * fmin(fmax((pair - low) / span, 0.0), 1.0)));
  }
};

// ---- Sine and cosine -------------------------------------------------------

struct Angle {
  float cos, sin;
};

// position * frequency less n quarters of a turn, to 2^-24, for products up to
// 2^22.  A quarter stands here in two floats; the product less n times the
// first has no more than 24 bits and is exact.
__device__ __forceinline__ float angle_rest(float position, float frequency,
                                            u32 &n)
{
  constexpr float round = 0x1.8p23f; // adding it leaves whole numbers
  constexpr float first = 0x1.921fb6p+0f, second = -0x1.777a5cp-25f;
  const float product = __fmul_rn(position, frequency);
  const float missing = fmaf(position, frequency, -product);
  const float counted = fmaf(product, 0x1.45f306p-1f, round);
  const float count = __fadd_rn(counted, -round);

  n = __float_as_uint(counted);
  return fmaf(-count, second,
              __fadd_rn(fmaf(-count, first, product), missing));
}

// Polynomials on an eighth of a turn either way (and the 0.05 that rounding n
// to it may miss), fitted there: sine to 2^-27 of itself, cosine to 2^-32.
// The special function unit is no choice: it is off by 2^-21, which is all that
// a pair's terms may be, and more than that where they nearly cancel.
__device__ __forceinline__ Angle angle_exact(float position, float frequency)
{
  u32 n;
  const float x = angle_rest(position, frequency, n);
  const float q = __fmul_rn(x, x);
  float sin = fmaf(q, -0x1.9856b4p-13f, 0x1.110468p-7f);
  float cos = fmaf(q, 0x1.9923c4p-16f, -0x1.6c096ap-10f);

  sin = fmaf(q, sin, -0x1.55553ep-3f);
  sin = fmaf(__fmul_rn(x, q), sin, x);
  cos = fmaf(q, cos, 0x1.555546p-5f);
  cos = fmaf(q, cos, -0.5f);
  cos = fmaf(q, cos, 1.0f);
  Angle a{n & 1 ? sin : cos, n & 1 ? cos : sin};
  if ((n + 1) & 2) a.cos = -a.cos;
  if (n & 2) a.sin = -a.sin;
  return a;
}

// The nearest fp32 values, by way of doubles.
__device__ __forceinline__ Angle angle_nearest(float position, float frequency,
                                               float factor)
{
  double sin, cos;

  sincos((double)position * frequency, &sin, &cos);
  return {(float)(cos * factor), (float)(sin * factor)};
}

// Cosine and sine times the attention factor, as rows of dtype Io want them:
// rounding=each of fp32 has no error that a later rounding could hide.
template <Dtype Io, Rounding How>
__device__ __forceinline__ Angle angle_of(float position, float frequency,
                                          float factor)
{
  if constexpr (Io == Dtype::fp32 && How == Rounding::each)
    return angle_nearest(position, frequency, factor);
  Angle a = angle_exact(position, frequency);
  a.cos *= factor, a.sin *= factor;
  return a;
}

} // namespace dt
