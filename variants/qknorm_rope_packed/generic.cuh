// RMSNorm of each head row of q and k of a packed projection, then rotary
// embedding: everything but the io dtype and the rounding looked up at run
// time.
//
// The block makes the angles of its tokens in shared memory, once for all
// their heads; then its lane groups take the rows.  Where a row has more pairs
// than the tables hold, its lanes make each angle themselves.
#pragma once
#include "variants/common/angles.cuh"
#include "variants/common/heads_generic.cuh"
#include "variants/qknorm_rope_packed/facts.cuh"

struct QkNormRopePackedGeneric {
  int warps = 8; // per block
};

namespace dt {

using PackedFrequency = Frequencies<FrequencyBy::twins>;

// Angles of a few tokens.  Two sets in turn, so that one barrier per step is
// enough: nobody can be two steps ahead.
struct PackedTables {
  static constexpr int pairs = 1024; // that a set has room for
  static constexpr int tokens = 4;   // of a step, at most
  __align__(16) float frequency[pairs];
  __align__(16) float cos[2][pairs];
  __align__(16) float sin[2][pairs];
};

__device__ __forceinline__ float position_at(const QkNormRopePackedArgs &a,
                                             i64 token)
{
  if ((Positions)a.position_type == Positions::i64)
    return (float)((const i64 *)a.positions)[token];
  return (float)((const int *)a.positions)[token];
}

// Those of one token: `cos` and `sin` begin at its first pair, or are null.
template <Dtype Io, Rounding How> struct MadeAngles {
  const float *cos, *sin;
  const PackedFrequency &frequency;
  float position, factor;

  template <int Count>
  __device__ __forceinline__ void halves(Turns<Count> &to, int pair) const
  {
    read<Dtype::fp32, Count>(to.cos_a, cos, pair);
    read<Dtype::fp32, Count>(to.sin_a, sin, pair);
#pragma unroll
    for (int i = 0; i < Count; ++i)
      to.cos_b[i] = to.cos_a[i], to.sin_b[i] = to.sin_a[i];
  }
  template <int Count>
  __device__ __forceinline__ void neighbours(Turns<Count> &to, int pair) const
  {
    halves<Count>(to, pair);
  }
  __device__ __forceinline__ void one(Turns<1> &to, int pair) const
  {
    if (cos) {
      halves<1>(to, pair);
      return;
    }
    const Angle x = angle_of<Io, How>(position, frequency.of(pair), factor);
    to = {{x.cos}, {x.sin}, {x.cos}, {x.sin}};
  }
};

template <Dtype Io>
__device__ __forceinline__ HeadsTask packed_task(const QkNormRopePackedArgs &a)
{
  char *k = (char *)a.qkv + (i64)a.q_heads * a.head_dim * bytes_of(Io);
  return {
      .q = a.qkv,
      .k = k,
      .q_out = a.qkv,
      .k_out = k,
      .q_weight = a.q_weight,
      .k_weight = a.k_weight,
      .q_token_stride = a.token_stride,
      .q_head_stride = a.head_dim,
      .k_token_stride = a.token_stride,
      .k_head_stride = a.head_dim,
      .q_out_token_stride = a.token_stride,
      .q_out_head_stride = a.head_dim,
      .k_out_token_stride = a.token_stride,
      .k_out_head_stride = a.head_dim,
      .tokens = a.tokens,
      .q_heads = a.q_heads,
      .kv_heads = a.kv_heads,
      .head_dim = a.head_dim,
      .rope_dim = a.rope_dim,
      .layout = (Layout)a.layout,
      .cache = Cache::separate,
      .weight_dtype = Io,
      .eps = a.eps,
      .norm = true,
  };
}

template <QkNormRopePackedFacts F, QkNormRopePackedGeneric P>
struct PackedGeneric {
  static constexpr int threads = P.warps * warp_size;

  const QkNormRopePackedArgs &a;
  const HeadsTask &task;
  const PackedFrequency &frequency;
  PackedTables &tables;
  int half;   // pairs of a row
  bool made;  // the tables hold them
  int tokens; // of a step

  __device__ __forceinline__ void fill(i64 first, int turn) const
  {
#pragma unroll 1
    for (int i = threadIdx.x; i < tokens * half; i += threads) {
      const int token = i / half;
      if (first + token >= a.tokens) return;
      const Angle x = angle_of<F.io, F.rounding>(
          position_at(a, first + token), tables.frequency[i - token * half],
          a.yarn ? a.attention_factor : 1.0f);
      tables.cos[turn][i] = x.cos;
      tables.sin[turn][i] = x.sin;
    }
  }

  // All rows of tokens [first, first + tokens).
  template <int Count>
  __device__ __forceinline__ void finish(i64 first, int turn) const
  {
    const HeadsLane l = lane_of<Count>(task);
    const int heads = a.q_heads + a.kv_heads;
    const int groups = threads / l.lanes;
    const i64 left = a.tokens - first;
    const int rows = (left < tokens ? (int)left : tokens) * heads;
    const int group = threadIdx.x / l.lanes;

#pragma unroll 1
    for (int at = 0; at < rows; at += groups) {
      const bool live = at + group < rows;
      const int token = live ? (at + group) / heads : 0;
      const int head = live ? at + group - token * heads : 0;
      const int place = token * half;
      const MadeAngles<F.io, F.rounding> angles{
          made ? tables.cos[turn] + place : nullptr,
          made ? tables.sin[turn] + place : nullptr, frequency,
          made ? 0.0f : position_at(a, first + token),
          a.yarn ? a.attention_factor : 1.0f};
      finish_row<F.io, F.rounding, Count>(
          task, find_row<F.io>(task, first + token, head), angles, l, live);
    }
  }

  template <int Count> __device__ __forceinline__ void walk() const
  {
    int turn = 0;

#pragma unroll 1
    for (i64 first = (i64)blockIdx.x * tokens; first < a.tokens;
         first += (i64)gridDim.x * tokens) {
      if (made) fill(first, turn);
      __syncthreads();
      finish<Count>(first, turn);
      turn ^= 1;
    }
  }
};

// Few tokens are spread over all blocks; many are taken a few at once, so that
// most groups have a row in the last round of a step, too.
__device__ __forceinline__ int packed_step(i64 tokens, int half)
{
  const i64 each = tokens / (4 * gridDim.x);
  const int most = half > PackedTables::pairs / PackedTables::tokens
                       ? PackedTables::pairs / half
                       : PackedTables::tokens;
  if (each < 1 || most < 1) return 1;
  return each < most ? (int)each : most;
}

} // namespace dt

template <QkNormRopePackedFacts F, QkNormRopePackedGeneric P>
__device__ __forceinline__ void
qknorm_rope_packed_generic(const QkNormRopePackedArgs &a)
{
  __shared__ dt::PackedTables tables;
  const dt::HeadsTask task = dt::packed_task<F.io>(a);
  const dt::PackedFrequency frequency(a.base, a.rope_dim, a.yarn != 0,
                                      a.factor, a.low, a.high);
  const int half = a.rope_dim / 2;
  const bool made = half <= dt::PackedTables::pairs;
  const dt::PackedGeneric<F, P> block{
      a, task, frequency, tables, half, made, dt::packed_step(a.tokens, half)};

  for (int i = threadIdx.x; made && i < half; i += P.warps * dt::warp_size)
    tables.frequency[i] = frequency.of(i);
  __syncthreads();
  if (made && dt::rows_are_wide<F.io>(task))
    block.template walk<dt::heads_vector<F.io>>();
  else
    block.template walk<1>();
}
