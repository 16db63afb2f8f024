// A lane's part of head rows: load, norm and rope, store.
#pragma once
#include "variants/common/heads_shape.cuh"

namespace dt {

// A lane's part of one head row, packed as in memory.
template <HeadsFacts F, HeadsWarp P> struct HeadRow {
  using Shape = HeadsShape<F, P>;
  Pack<P.vec> at[Shape::slots][Shape::twins];
};

// Its part of a token's cos and sin; its part of the weight.
template <HeadsFacts F, HeadsWarp P> struct HeadAngles {
  using Shape = HeadsShape<F, P>;
  Span<F.cache_dtype, Shape::span> cos[Shape::slots][Shape::copies];
  Span<F.cache_dtype, Shape::span> sin[Shape::slots][Shape::copies];
};
template <HeadsFacts F, HeadsWarp P> struct HeadWeight {
  using Shape = HeadsShape<F, P>;
  Span<F.weight, Shape::count> at[Shape::slots][Shape::twins];
};

// The row of cos and sin of a token.
template <HeadsFacts F, class Args>
__device__ __forceinline__ i64 position_of(const Args &a, int token, bool live)
{
  if constexpr (F.positions == Positions::none) {
    if (token < a.seq) return a.position_offset + token; // the usual case
    return a.position_offset + (u32)token % (u32)a.seq;
  } else if (!live) {
    return 0;
  } else if constexpr (F.positions == Positions::i32) {
    return __ldg((const int *)a.positions + token);
  } else {
    return __ldg((const i64 *)a.positions + token);
  }
}

template <HeadsFacts F, HeadsWarp P, class Args>
__device__ __forceinline__ void
load_angles(HeadAngles<F, P> &t, const Args &a, i64 position, int lane,
            bool live)
{
  using Shape = HeadsShape<F, P>;
  constexpr Load how = P.keep_table ? Load::constant : Load::plain;
  constexpr int half = F.rope_dim / 2 * bytes_of(F.cache_dtype);
  constexpr bool wide = F.cache == Cache::joint || F.table != Table::half;
  constexpr int width = wide ? 2 * half : half;
  constexpr int piece = Shape::span * bytes_of(F.cache_dtype);
  const char *cos = (const char *)a.cos + position * width + lane * piece;
  const char *sin = cos + half;

  if constexpr (F.cache == Cache::separate)
    sin = (const char *)a.sin + position * width + lane * piece;
#pragma unroll
  for (int i = 0; i < Shape::slots; ++i) {
    if (!live || !Shape::rotates(lane, i)) continue;
#pragma unroll
    for (int j = 0; j < Shape::copies; ++j) {
      const int at = i * P.lanes * piece + j * half;
      load_span<F.cache_dtype, Shape::span, P.vec, how>(t.cos[i][j], cos + at);
      load_span<F.cache_dtype, Shape::span, P.vec, how>(t.sin[i][j], sin + at);
    }
  }
}

template <HeadsFacts F, HeadsWarp P>
__device__ __forceinline__ void load_weight(HeadWeight<F, P> &w,
                                            const void *weight, int lane)
{
  using Shape = HeadsShape<F, P>;
  constexpr Load how = P.keep_weight ? Load::constant : Load::plain;
  constexpr int piece = Shape::count * bytes_of(F.weight);
#pragma unroll
  for (int i = 0; i < Shape::slots; ++i)
#pragma unroll
    for (int j = 0; j < Shape::twins; ++j)
      if (Shape::holds(lane, i, j))
        load_span<F.weight, Shape::count, P.vec, how>(
            w.at[i][j], (const char *)weight +
                            (lane + Shape::place(lane, i, j)) * piece);
}

// Keeps the compiler from unpacking a row's 16-bit values once for its sum and
// its result, which would double its registers.
template <HeadsFacts F, HeadsWarp P>
__device__ __forceinline__ void keep_packed(HeadRow<F, P> &row)
{
  using Shape = HeadsShape<F, P>;
#pragma unroll
  for (int i = 0; i < Shape::slots; ++i)
#pragma unroll
    for (int j = 0; j < Shape::twins; ++j)
      for (u32 &word : row.at[i][j].word) opaque(word);
}

template <HeadsFacts F, HeadsWarp P>
__device__ __forceinline__ void load_row(HeadRow<F, P> &row, const char *p,
                                         int lane, bool live)
{
  using Shape = HeadsShape<F, P>;
#pragma unroll
  for (int i = 0; i < Shape::slots; ++i)
#pragma unroll
    for (int j = 0; j < Shape::twins; ++j) {
      row.at[i][j] = Pack<P.vec>{};
      if (live && Shape::holds(lane, i, j))
        row.at[i][j] = load<P.vec, Shape::row_load>(
            p + Shape::place(lane, i, j) * P.vec);
    }
}

template <HeadsFacts F, HeadsWarp P>
__device__ __forceinline__ void store_row(char *p, const HeadRow<F, P> &row,
                                          int lane, bool live)
{
  using Shape = HeadsShape<F, P>;
#pragma unroll
  for (int i = 0; i < Shape::slots; ++i)
#pragma unroll
    for (int j = 0; j < Shape::twins; ++j)
      if (live && Shape::holds(lane, i, j))
        store<P.vec, Shape::row_store>(p + Shape::place(lane, i, j) * P.vec,
                                       row.at[i][j]);
}

template <HeadsFacts F, HeadsWarp P>
__device__ __forceinline__ Real<F.io, F.rounding>
square_sum(const HeadRow<F, P> &row)
{
  using Shape = HeadsShape<F, P>;
  Real<F.io, F.rounding> sum = 0;
#pragma unroll
  for (int i = 0; i < Shape::slots; ++i)
#pragma unroll
    for (int j = 0; j < Shape::twins; ++j)
#pragma unroll
      for (int e = 0; e < Shape::count; ++e) {
        const float x = get<F.io>(row.at[i][j].word, e);
        if constexpr (sizeof sum == 8)
          sum += (double)x * x;
        else
          sum = fmaf(x, x, sum);
      }
  return sum;
}

// Pair `e` of a unit turned by its angle.
template <HeadsFacts F, HeadsWarp P>
__device__ __forceinline__ void turn_pair(float &a, float &b,
                                          const HeadAngles<F, P> &t, int slot,
                                          int e)
{
  constexpr int last = HeadsShape<F, P>::copies - 1;
  const int at = F.table == Table::repeated ? 2 * e : e;
  const auto &cos = t.cos[slot], &sin = t.sin[slot];

  turn<F.io, F.rounding>(a, b, cos[0][at], sin[0][at], cos[last][at],
                         sin[last][at]);
}

// Norm and rope of one unit, in place: x[twin][element].
template <HeadsFacts F, HeadsWarp P, int Twins, int Count>
__device__ __forceinline__ void
finish_unit(float (&x)[Twins][Count], int slot, bool rotates,
            Real<F.io, F.rounding> r,
            const HeadWeight<F, P> &w, const HeadAngles<F, P> &t)
{
  if constexpr (F.norm) {
#pragma unroll
    for (int j = 0; j < Twins; ++j) {
#pragma unroll
      for (int e = 0; e < Count; ++e) {
        auto scale = r;
        if constexpr (HeadsShape<F, P>::weighs) scale *= w.at[slot][j][e];
        x[j][e] = (float)(x[j][e] * scale);
      }
      if constexpr (HeadsShape<F, P>::turns)
        round_norm<F.io, F.rounding>(x[j]);
    }
  }
  if constexpr (HeadsShape<F, P>::turns) {
    if (!rotates) return;
#pragma unroll
    for (int e = 0; e < HeadsShape<F, P>::angles; ++e) {
      if constexpr (Twins == 2)
        turn_pair<F, P>(x[0][e], x[1][e], t, slot, e);
      else
        turn_pair<F, P>(x[0][2 * e], x[0][2 * e + 1], t, slot, e);
    }
  }
}

template <HeadsFacts F, HeadsWarp P>
__device__ __forceinline__ void
finish_row(HeadRow<F, P> &row, Real<F.io, F.rounding> r,
           const HeadWeight<F, P> &w, const HeadAngles<F, P> &t, int lane)
{
  using Shape = HeadsShape<F, P>;
#pragma unroll
  for (int i = 0; i < Shape::slots; ++i) {
    const bool rotates = Shape::rotates(lane, i);
    if (!F.norm && !rotates) continue; // bits pass through
    float x[Shape::twins][Shape::count];
#pragma unroll
    for (int j = 0; j < Shape::twins; ++j)
#pragma unroll
      for (int e = 0; e < Shape::count; ++e)
        x[j][e] = get<F.io>(row.at[i][j].word, e);
    finish_unit<F, P>(x, i, rotates, r, w, t);
#pragma unroll
    for (int j = 0; j < Shape::twins; ++j)
      put<F.io, Shape::count>(row.at[i][j].word, x[j]);
  }
}

} // namespace dt
