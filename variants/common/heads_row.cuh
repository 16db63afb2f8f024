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
  Span<F.cache_dtype, Shape::angles> cos[Shape::slots], sin[Shape::slots];
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
  constexpr int width = F.cache == Cache::joint ? 2 * half : half;
  constexpr int piece = Shape::angles * bytes_of(F.cache_dtype);
  const char *cos = (const char *)a.cos + position * width + lane * piece;
  const char *sin = cos + half;

  if constexpr (F.cache == Cache::separate)
    sin = (const char *)a.sin + position * width + lane * piece;
#pragma unroll
  for (int i = 0; i < Shape::slots; ++i) {
    if (!live || !Shape::rotates(lane, i)) continue;
    const int at = i * P.lanes * piece;
    load_span<F.cache_dtype, Shape::angles, P.vec, how>(t.cos[i], cos + at);
    load_span<F.cache_dtype, Shape::angles, P.vec, how>(t.sin[i], sin + at);
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
__device__ __forceinline__ float square_sum(const HeadRow<F, P> &row)
{
  using Shape = HeadsShape<F, P>;
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < Shape::slots; ++i)
#pragma unroll
    for (int j = 0; j < Shape::twins; ++j)
#pragma unroll
      for (int e = 0; e < Shape::count; ++e) {
        const float x = get<F.io>(row.at[i][j].word, e);
        sum = fmaf(x, x, sum);
      }
  return sum;
}

// One pair: (a, b) turned by the angle.
__device__ __forceinline__ void rotate(float &a, float &b, float cos,
                                       float sin)
{
  const float x = a, y = b;
  a = fmaf(x, cos, -(y * sin));
  b = fmaf(y, cos, x * sin);
}

// Norm and rope of one unit, in place: x[twin][element].
template <HeadsFacts F, HeadsWarp P, int Twins, int Count>
__device__ __forceinline__ void
finish_unit(float (&x)[Twins][Count], int slot, bool rotates, float r,
            const HeadWeight<F, P> &w, const HeadAngles<F, P> &t)
{
  if constexpr (F.norm) {
#pragma unroll
    for (int j = 0; j < Twins; ++j)
#pragma unroll
      for (int e = 0; e < Count; ++e) {
        float scale = r;
        if constexpr (HeadsShape<F, P>::weighs) scale *= w.at[slot][j][e];
        x[j][e] *= scale;
      }
  }
  if constexpr (HeadsShape<F, P>::turns) {
    if (!rotates) return;
#pragma unroll
    for (int e = 0; e < HeadsShape<F, P>::angles; ++e) {
      if constexpr (Twins == 2)
        rotate(x[0][e], x[1][e], t.cos[slot][e], t.sin[slot][e]);
      else
        rotate(x[0][2 * e], x[0][2 * e + 1], t.cos[slot][e], t.sin[slot][e]);
    }
  }
}

template <HeadsFacts F, HeadsWarp P>
__device__ __forceinline__ void
finish_row(HeadRow<F, P> &row, float r, const HeadWeight<F, P> &w,
           const HeadAngles<F, P> &t, int lane)
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
