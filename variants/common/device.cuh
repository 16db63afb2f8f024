// What every kernel here stands on: dtypes, choices of a problem, warps.
//
// Header-free on purpose: NVRTC compiles these files about four times as fast
// as with <cuda_bf16.h>.  The CPU device (DT_CPU) supplies threadIdx, shuffles
// and the intrinsics from runtime/cpu_shim.h.
#pragma once

#ifndef DT_EXPORT
#define DT_EXPORT(name, args) // the CPU device registers the entry here
#endif

namespace dt {

using i64 = long long;
using u64 = unsigned long long;
using u32 = unsigned int;
using u16 = unsigned short;

// The numbers are those of dd_dtype and of DTYPE_MAP.
enum class Dtype { none = 0, fp32 = 1, fp16 = 2, bf16 = 3, i32 = 6, i64 = 7 };

// Choices of a problem, in the order in which its op.lua lists the words.
enum class Layout { interleaved, neox };
enum class Positions { i64, i32, none };
enum class Cache { joint, separate };
enum class Table { half, repeated, full };
enum class Rounding { once, norm, each };
enum class Norm { layer, rms };
using Norm2 = Norm;

// Which element of a modulation operand goes with token s of batch b: the same
// one everywhere, row [D], batch [B, D], token [B, S, D], frame [B, F, D].
enum class Form { none, scalar, row, batch, token, frame };

__device__ constexpr int bytes_of(Dtype t)
{
  switch (t) {
  case Dtype::none: return 0;
  case Dtype::fp16:
  case Dtype::bf16: return 2;
  case Dtype::i64: return 8;
  default: return 4;
  }
}

__device__ constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }
__device__ constexpr int least(int a, int b) { return a < b ? a : b; }

constexpr int warp_size = 32;
constexpr u32 full_warp = 0xffffffffu;

// The sum over each aligned group of `Lanes` lanes, in every lane of it; the
// rows are summed side by side so that their shuffles overlap.  All 32 lanes
// of the warp must be here.
template <int Lanes, int Rows, class T>
__device__ __forceinline__ void sum_lanes(T (&sum)[Rows])
{
  static_assert(Lanes <= warp_size, "a shuffle stays inside a warp");
#pragma unroll
  for (int mask = Lanes / 2; mask > 0; mask /= 2) {
#pragma unroll
    for (int i = 0; i < Rows; ++i)
      sum[i] += __shfl_xor_sync(full_warp, sum[i], mask);
  }
}

// The same over groups of two warps, through shared memory.  Every thread of
// the block must be here; `turn` alternates between 0 and 1 from call to call,
// so that one barrier is enough: nobody can be two calls ahead.
template <int Warps, int Rows, class T>
__device__ __forceinline__ void sum_warp_pairs(T (&sum)[Rows], int turn)
{
  static_assert(Warps % 2 == 0, "warps come in pairs");
  __shared__ T part[2][Rows][Warps];
  const int warp = threadIdx.x / warp_size;

  sum_lanes<warp_size>(sum);
  if (threadIdx.x % warp_size == 0) {
#pragma unroll
    for (int i = 0; i < Rows; ++i) part[turn][i][warp] = sum[i];
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < Rows; ++i)
    sum[i] = part[turn][i][warp & ~1] + part[turn][i][warp | 1];
}

// 1/sqrt(x).  rsqrtf is within 2 ulp, which is enough in front of a rounding
// to 16 bits; one Newton step brings it under 1 ulp for fp32 outputs.
template <Dtype Io> __device__ __forceinline__ float inverse_root(float x)
{
  const float r = rsqrtf(x);
  if constexpr (bytes_of(Io) == 2) return r;
  const float error = fmaf(-x * r, r, 1.0f);
  const float better = fmaf(0.5f * r, error, r);
  return x > 0.0f && r > 0.0f && r < 1e30f ? better : r; // not 0, Inf, NaN
}

} // namespace dt
