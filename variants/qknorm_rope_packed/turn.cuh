// The arithmetic of a head row of qknorm_rope_packed, and where it is rounded.
//
// rounding=each rounds to the io dtype wherever a chain of simple ops would
// store, and the bits must be the reference's.  fp32 arithmetic gives the right
// 16 bits but for one element in some thousands; the right fp32 takes doubles,
// which only the generic scheme has.
#pragma once
#include "variants/common/angles.cuh"
#include "variants/common/number.cuh"

namespace dt {

// rounding=once: the attention factor is part of the cosine and the sine.
template <Rounding How>
__device__ __forceinline__ Angle scaled_angle(Angle a, float factor)
{
  if constexpr (How == Rounding::once) a.cos *= factor, a.sin *= factor;
  return a;
}

struct WideAngle {
  double cos, sin;
};

// What a row is computed in, and its angles.
template <Dtype Io, Rounding How> struct RowMath {
  using Real = float;
  using Angle = dt::Angle;
};
template <> struct RowMath<Dtype::fp32, Rounding::each> {
  using Real = double;
  using Angle = WideAngle;
};

// x r w of two elements.
template <Dtype Io, Rounding How>
__device__ __forceinline__ void norm_pair(float &a, float &b, float r,
                                          float weight_a, float weight_b)
{
  a *= r * weight_a;
  b *= r * weight_b;
  if constexpr (How == Rounding::each) round_two<Io>(a, b);
}

// The pair (a, b) turned by the angle.
template <Dtype Io, Rounding How>
__device__ __forceinline__ void turn_pair(float &a, float &b, Angle t,
                                          bool scales, float factor)
{
  const float x = a, y = b;

  if constexpr (How == Rounding::once) {
    a = fmaf(x, t.cos, -(y * t.sin));
    b = fmaf(y, t.cos, x * t.sin);
  } else {
    float xc = __fmul_rn(x, t.cos), ys = __fmul_rn(y, t.sin);
    float yc = __fmul_rn(y, t.cos), xs = __fmul_rn(x, t.sin);
    round_two<Io>(xc, ys);
    round_two<Io>(yc, xs);
    a = __fsub_rn(xc, ys);
    b = __fadd_rn(yc, xs);
    if (!scales) return;
    round_two<Io>(a, b);
    a = __fmul_rn(a, factor);
    b = __fmul_rn(b, factor);
  }
}

__device__ __forceinline__ void norm_pair_wide(float &a, float &b, double r,
                                               float weight_a, float weight_b)
{
  a = (float)(a * (r * weight_a));
  b = (float)(b * (r * weight_b));
}

__device__ __forceinline__ void turn_pair_wide(float &a, float &b, WideAngle t,
                                               bool scales, float factor)
{
  const float xc = (float)(a * t.cos), ys = (float)(b * t.sin);
  const float yc = (float)(b * t.cos), xs = (float)(a * t.sin);

  a = __fsub_rn(xc, ys);
  b = __fadd_rn(yc, xs);
  if (!scales) return;
  a = __fmul_rn(a, factor);
  b = __fmul_rn(b, factor);
}

// 1/sqrt(sum/dim + eps).
template <Dtype Io, Rounding How>
__device__ __forceinline__ float root_scale(float sum, float dim, float eps)
{
  constexpr Dtype to = How == Rounding::each ? Dtype::fp32 : Io;
  return inverse_root<to>(sum / dim + eps);
}

} // namespace dt
