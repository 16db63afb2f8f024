// Mean and deviation of a row whose threads hold any number of elements.
//
// One walk is enough: a thread measures from the mean of its first few
// elements, which is near that of all, and what the threads found is merged
// without a difference of large numbers.
#pragma once
#include "variants/common/rows_math.cuh"

namespace dt {

__device__ __forceinline__ float share_of(float count)
{
  return __fdividef(1.0f, count);
}
__device__ __forceinline__ double share_of(double count) { return 1.0 / count; }

// Of one thread: the sum of its elements' distances from `pivot`, and of their
// squares.
template <class Real> struct Spread {
  Real pivot = 0, sum = 0, squares = 0;

  template <int Size>
  __device__ __forceinline__ void centre(const float (&x)[Size], int count)
  {
    Real all = 0;
#pragma unroll
    for (int e = 0; e < Size; ++e) all += e < count ? (Real)x[e] : (Real)0;
    pivot = (float)(all * share_of((Real)least(count, Size)));
  }
  template <int Size>
  __device__ __forceinline__ void add(float (&x)[Size], int count)
  {
    Real part[2][2] = {};
    if (count < Size) { // the others count for nothing
#pragma unroll
      for (int e = 0; e < Size; ++e) x[e] = e < count ? x[e] : (float)pivot;
    }
#pragma unroll
    for (int e = 0; e < Size; ++e) {
      const Real d = (Real)x[e] - pivot;
      part[0][e % 2] += d;
      part[1][e % 2] += d * d;
    }
    sum += part[0][0] + part[0][1];
    squares += part[1][0] + part[1][1];
  }
};

// The sum over aligned groups of `width` lanes, or of the warp, in every lane.
template <class T> __device__ __forceinline__ T sum_width(T value, int width)
{
#pragma unroll
  for (int mask = 1; mask < warp_size; mask *= 2) {
    const T other = __shfl_xor_sync(full_warp, value, mask);
    if (mask < width) value += other;
  }
  return value;
}

// What a warp, or less of it, found in its part of a row.
template <class Real> struct SpreadPart {
  Real count, sum, mean, squares; // squares: of distances from `mean`
};

template <class Real>
__device__ __forceinline__ SpreadPart<Real>
part_of(const Spread<Real> &s, bool centred, int count, int width)
{
  SpreadPart<Real> p{0, 0, 0, s.squares};

  if (centred) {
    const Real mine = (Real)count;
    const Real off = count ? s.sum * share_of(mine) : (Real)0;
    const Real mean = s.pivot + off;
    p.count = sum_width(mine, width);
    p.sum = sum_width(mine * mean, width);
    p.mean = p.count > 0 ? p.sum * share_of(p.count) : (Real)0;
    p.squares -= s.sum * off;
    p.squares += mine * (mean - p.mean) * (mean - p.mean);
  }
  p.squares = sum_width(p.squares, width);
  return p;
}

// Of the row, in every thread of it; the whole block must be here.  `turn`
// alternates from call to call: nobody can be two ahead.
template <int Warps, class Real>
__device__ __forceinline__ RowsScale<Real>
settle(const Spread<Real> &spread, Norm kind, int count, int hidden, float eps,
       int threads, int &turn)
{
  __shared__ SpreadPart<Real> parts[2][Warps];
  const Real share = (Real)1 / (Real)hidden;
  const int warp = threadIdx.x / warp_size, warps = threads / warp_size;
  const bool centred = kind == Norm::layer;
  SpreadPart<Real> p = part_of(spread, centred, count, threads);

  if (warps > 1) {
    const int lane = threadIdx.x % warp_size;
    if (lane == 0) parts[turn][warp] = p;
    __syncthreads();
    p = parts[turn][(warp & -warps) + (lane & warps - 1)];
    p.sum = sum_width(p.sum, warps);
    p.mean -= p.sum * share;
    p.squares = sum_width(p.squares + p.count * p.mean * p.mean, warps);
    turn ^= 1;
  }
  return {centred ? p.sum * share : (Real)0,
          root_inverse(p.squares * share + (Real)eps)};
}

} // namespace dt
