// The arithmetic of a row op, and where it is rounded.
//
// rounding=once keeps fp32 up to the store.  `norm` rounds to the io dtype what
// a norm makes, and r; `each` whatever a chain of simple ops would store.
// Products that are rounded are not contracted.
#pragma once
#include "variants/common/pack.cuh"

namespace dt {

// fp32 arithmetic gives the right 16 bits but for one element in 10^4; the
// right fp32 takes double.
template <bool Wide> struct RowsRealOf { using type = float; };
template <> struct RowsRealOf<true> { using type = double; };
template <Dtype Io, Rounding How>
using RowsReal = typename RowsRealOf<Io == Dtype::fp32 &&
                                     How != Rounding::once>::type;

template <Dtype Io> __device__ __forceinline__ float round_to(float x)
{
  if constexpr (Io == Dtype::fp32) return x;
  const float two[2] = {x, 0.0f};
  u32 word;
  put<Io, 2>(&word, two);
  return get<Io>(&word, 0);
}

__device__ __forceinline__ float root_inverse(float x)
{
  return inverse_root<Dtype::fp32>(x);
}
__device__ __forceinline__ double root_inverse(double x)
{
  return 1.0 / sqrt(x);
}

// What a norm multiplies with and takes off.
template <class Real> struct RowsScale {
  Real mean, r;
};

// norm(x), times w, plus b; each where there is one.
template <Dtype Io, Rounding How, class Real>
__device__ __forceinline__ float normed(float x, RowsScale<Real> s, bool weighs,
                                        float w, bool biased, float b)
{
  Real n = ((Real)x - s.mean) * s.r;
  if (weighs) n *= (Real)w;
  if (biased) n += (Real)b;
  return How == Rounding::once ? (float)n : round_to<Io>((float)n);
}

// A gate that is computed is rounded by `each` only, to the io dtype.
template <Dtype Io, Rounding How>
using RowsGate = typename RowsRealOf<Io == Dtype::fp32 &&
                                     How == Rounding::norm>::type;

template <Dtype Io, Rounding How>
__device__ __forceinline__ RowsGate<Io, How> gate_of(float g, bool tangent)
{
  using Gate = RowsGate<Io, How>;
  if (!tangent) return g;
  if constexpr (How != Rounding::once && Io == Dtype::fp32)
    return (Gate)tanh((double)g);
  if constexpr (How == Rounding::each) return round_to<Io>(tanhf(g));
  return tanhf(g);
}

// a + g * t; in fp32 with rounding=once, else of the io dtype.
template <Dtype Io, Rounding How>
__device__ __forceinline__ float added(float a, float t, bool gates,
                                       RowsGate<Io, How> g)
{
  if constexpr (How == Rounding::each) {
    if (gates) t = round_to<Io>(__fmul_rn(g, t));
    return round_to<Io>(__fadd_rn(a, t));
  }
  if constexpr (How == Rounding::norm && Io == Dtype::fp32)
    return (float)((double)a + (gates ? g * t : (double)t));
  const float r = gates ? fmaf(g, t, a) : a + t;
  return How == Rounding::once ? r : round_to<Io>(r);
}

template <Dtype Io, Rounding How>
__device__ __forceinline__ float modulated(float n, bool scales, float scale,
                                           bool shifts, float shift)
{
  if constexpr (How == Rounding::each) {
    if (scales) n = round_to<Io>(__fmul_rn(n, round_to<Io>(1.0f + scale)));
    return shifts ? __fadd_rn(n, shift) : n; // the store rounds
  }
  if constexpr (How == Rounding::norm && Io == Dtype::fp32)
    return (float)((scales ? (double)n * (1.0 + scale) : (double)n) +
                   (shifts ? (double)shift : 0.0));
  if (scales) return fmaf(n, 1.0f + scale, shifts ? shift : 0.0f);
  return shifts ? n + shift : n;
}

} // namespace dt
