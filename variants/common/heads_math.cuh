// The arithmetic of a head row, and where it is rounded.
//
// rounding=once keeps fp32 up to the store.  rounding=each rounds to the io
// dtype wherever a chain of simple ops would store: the norm's result, each
// product of the rotation, its sums; nothing may be contracted there, and the
// bits must be the reference's.
#pragma once
#include "variants/common/pack.cuh"

namespace dt {

template <bool Wide> struct RealOf { using type = float; };
template <> struct RealOf<true> { using type = double; };

// What a norm is computed in.  fp32 arithmetic gives the right 16 bits but for
// one element in 10^4; the right fp32 takes double.
template <Dtype Io, Rounding How>
using Real =
    typename RealOf<Io == Dtype::fp32 && How == Rounding::each>::type;

// 1/sqrt(sum/dim + eps).
template <Dtype Io, Rounding How, class T>
__device__ __forceinline__ T row_scale(T sum, int dim, float eps)
{
  if constexpr (sizeof(T) == 8)
    return 1.0 / sqrt(sum / dim + eps);
  else if constexpr (How == Rounding::each)
    return inverse_root<Dtype::fp32>(sum / dim + eps);
  else
    return inverse_root<Io>(fmaf(sum, 1.0f / dim, eps));
}

// The pair (a, b) turned by an angle; the two have tables of their own where
// a table is full.
template <Dtype Io, Rounding How>
__device__ __forceinline__ void turn(float &a, float &b, float cos_a,
                                     float sin_a, float cos_b, float sin_b)
{
  const float x = a, y = b;

  if constexpr (How == Rounding::once) {
    a = fmaf(x, cos_a, -(y * sin_a));
    b = fmaf(y, cos_b, x * sin_b);
  } else {
    float xc = __fmul_rn(x, cos_a), ys = __fmul_rn(y, sin_a);
    float yc = __fmul_rn(y, cos_b), xs = __fmul_rn(x, sin_b);
    round_two<Io>(xc, ys);
    round_two<Io>(yc, xs);
    a = __fsub_rn(xc, ys);
    b = __fadd_rn(yc, xs);
  }
}

// Norms are rounded in twos, and a rotation follows.
template <Dtype Io, Rounding How, int Count>
__device__ __forceinline__ void round_norm(float (&x)[Count])
{
  if constexpr (How == Rounding::each && Count == 1) {
    float unused = 0.0f;
    round_two<Io>(x[0], unused);
  } else if constexpr (How == Rounding::each) {
#pragma unroll
    for (int i = 0; i < Count; i += 2) round_two<Io>(x[i], x[i + 1]);
  }
}

} // namespace dt
