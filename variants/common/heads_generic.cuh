// RMSNorm and rotary embedding of the heads of q and k, one warp per head row:
// the body of the `generic` schemes of qknorm_rope, qk_norm and rope.
//
// Fits every legal problem: dims, strides, layout, dtypes of operands and
// alignment are looked at while it runs.  A row is read twice, for its sum of
// squares and for its result; the second time it is in L1.  Both elements of a
// pair are read and written by one lane, so that a row may be its own output.
#pragma once
#include "variants/common/heads_math.cuh"

struct HeadsGeneric {
  int warps = 4; // per block
};

namespace dt {

// One problem, made from the argument struct of the op.  Strides in elements;
// what an op does not have stays zero.
struct HeadsTask {
  const void *q, *k;
  void *q_out, *k_out;
  const void *q_weight, *k_weight;
  const void *cos, *sin, *positions;
  i64 q_token_stride, q_head_stride, k_token_stride, k_head_stride;
  i64 q_out_token_stride, q_out_head_stride;
  i64 k_out_token_stride, k_out_head_stride;
  i64 table_width, tokens, seq, position_offset;
  int q_heads, kv_heads, head_dim;
  int rope_dim; // 0: no rotary embedding
  Layout layout;
  Positions position_type;
  Cache cache;
  Table table;
  Dtype cache_dtype, weight_dtype; // weight_dtype none: no weight
  float eps;
  bool norm;
  // Rows before text_tokens are read from these instead; q and k begin after.
  const void *text_q, *text_k, *text_q_weight, *text_k_weight;
  i64 text_q_token_stride, text_q_head_stride;
  i64 text_k_token_stride, text_k_head_stride;
  i64 text_tokens;
};

// One head row of it.
struct HeadsRow {
  const char *in;
  char *out;
  const void *weight;
  i64 cos, sin; // where the token's angles begin, in elements of the tables
};

// Both are below 2^40; 64-bit division is slow, and rarely needed.
__device__ __forceinline__ i64 quotient(i64 a, i64 b)
{
  if (((u64)a | (u64)b) >> 32 == 0) return (u32)a / (u32)b;
  return a / b;
}

__device__ __forceinline__ i64 task_position(const HeadsTask &t, i64 token)
{
  switch (t.position_type) {
  case Positions::i64: return ((const i64 *)t.positions)[token];
  case Positions::i32: return ((const int *)t.positions)[token];
  default:
    return t.position_offset + token - quotient(token, t.seq) * t.seq;
  }
}

template <Dtype Io>
__device__ __forceinline__ const char *row_in(const HeadsTask &t, i64 token,
                                              i64 head, bool q)
{
  if (token < t.text_tokens)
    return q ? (const char *)t.text_q + (token * t.text_q_token_stride +
                                         head * t.text_q_head_stride) *
                                            bytes_of(Io)
             : (const char *)t.text_k + (token * t.text_k_token_stride +
                                         head * t.text_k_head_stride) *
                                            bytes_of(Io);
  token -= t.text_tokens;
  return q ? (const char *)t.q + (token * t.q_token_stride +
                                  head * t.q_head_stride) * bytes_of(Io)
           : (const char *)t.k + (token * t.k_token_stride +
                                  head * t.k_head_stride) * bytes_of(Io);
}

template <Dtype Io>
__device__ __forceinline__ HeadsRow find_row(const HeadsTask &t, i64 row)
{
  const int heads = t.q_heads + t.kv_heads;
  const i64 token = quotient(row, heads);
  const int at = (int)(row - token * heads);
  const bool q = at < t.q_heads;
  const i64 head = q ? at : at - t.q_heads;
  HeadsRow r{};

  r.in = row_in<Io>(t, token, head, q);
  r.out = q ? (char *)t.q_out + (token * t.q_out_token_stride +
                                 head * t.q_out_head_stride) * bytes_of(Io)
            : (char *)t.k_out + (token * t.k_out_token_stride +
                                 head * t.k_out_head_stride) * bytes_of(Io);
  r.weight = q ? t.q_weight : t.k_weight;
  if (token < t.text_tokens) r.weight = q ? t.text_q_weight : t.text_k_weight;
  if (t.rope_dim > 0) {
    r.cos = task_position(t, token) * t.table_width;
    r.sin = r.cos + (t.cache == Cache::joint ? t.rope_dim / 2 : 0);
  }
  return r;
}

// Count neighbouring elements: a vector, or one by one where the row is not
// aligned for it.
template <Dtype Io, int Count>
__device__ __forceinline__ void read(float (&x)[Count], const char *row, int at)
{
  if constexpr (Count == 4) {
    const auto pack =
        load<4 * bytes_of(Io), Load::plain>(row + at * bytes_of(Io));
#pragma unroll
    for (int i = 0; i < 4; ++i) x[i] = get<Io>(pack.word, i);
  } else {
#pragma unroll
    for (int i = 0; i < Count; ++i) x[i] = read_one<Io>(row, at + i);
  }
}

template <Dtype Io, int Count>
__device__ __forceinline__ void write(const float (&x)[Count], char *row,
                                      int at)
{
  if constexpr (Count == 4) {
    Pack<4 * bytes_of(Io)> pack;
    put<Io, 4>(pack.word, x);
    store<4 * bytes_of(Io), Store::plain>(row + at * bytes_of(Io), pack);
  } else {
#pragma unroll
    for (int i = 0; i < Count; ++i) write_one<Io>(row, at + i, x[i]);
  }
}

template <Dtype Io, Rounding How, int Count>
__device__ __forceinline__ Real<Io, How>
row_square_sum(const HeadsTask &t, const HeadsRow &row, int lane)
{
  Real<Io, How> part[Count] = {}, total[1] = {0};

  for (int at = lane * Count; at < t.head_dim; at += warp_size * Count) {
    float x[Count];
    read<Io, Count>(x, row.in, at);
#pragma unroll
    for (int i = 0; i < Count; ++i) {
      if constexpr (sizeof part[0] == 8)
        part[i] += (double)x[i] * x[i];
      else
        part[i] = fmaf(x[i], x[i], part[i]);
    }
  }
#pragma unroll
  for (int i = 0; i < Count; ++i) total[0] += part[i];
  sum_lanes<warp_size>(total);
  __syncwarp(); // other lanes may now write what this one has read
  return total[0];
}

template <Dtype Io, Rounding How, int Count>
__device__ __forceinline__ void scale(float (&x)[Count], const HeadsTask &t,
                                      const HeadsRow &row, Real<Io, How> r,
                                      int at)
{
  if (!t.norm) return;
#pragma unroll
  for (int i = 0; i < Count; ++i) {
    auto s = r;
    if (t.weight_dtype != Dtype::none)
      s *= read_any(t.weight_dtype, row.weight, at + i);
    x[i] = (float)(x[i] * s);
  }
  round_norm<Io, How>(x);
}

template <Dtype Io, Rounding How>
__device__ __forceinline__ void turn_pair(float &a, float &b,
                                          const HeadsTask &t,
                                          const HeadsRow &row, int pair)
{
  const void *sines = t.cache == Cache::joint ? t.cos : t.sin;
  const int at = t.table == Table::repeated ? 2 * pair : pair;
  const float cos = read_any(t.cache_dtype, t.cos, row.cos + at);
  const float sin = read_any(t.cache_dtype, sines, row.sin + at);
  float cos_b = cos, sin_b = sin;

  if (t.table == Table::full) {
    const int far = at + t.rope_dim / 2;
    cos_b = read_any(t.cache_dtype, t.cos, row.cos + far);
    sin_b = read_any(t.cache_dtype, sines, row.sin + far);
  }
  turn<Io, How>(a, b, cos, sin, cos_b, sin_b);
}

// Pairs (2i, 2i + 1); Count is 2 or 4, whole pairs.
template <Dtype Io, Rounding How, int Count>
__device__ __forceinline__ void
finish_interleaved(const HeadsTask &t, const HeadsRow &row, Real<Io, How> r,
                   int lane)
{
  for (int at = lane * Count; at < t.rope_dim; at += warp_size * Count) {
    float x[Count];
    read<Io, Count>(x, row.in, at);
    scale<Io, How>(x, t, row, r, at);
#pragma unroll
    for (int i = 0; i < Count; i += 2)
      turn_pair<Io, How>(x[i], x[i + 1], t, row, (at + i) / 2);
    write<Io, Count>(x, row.out, at);
  }
}

// Pairs (i, i + rope_dim/2).
template <Dtype Io, Rounding How, int Count>
__device__ __forceinline__ void
finish_neox(const HeadsTask &t, const HeadsRow &row, Real<Io, How> r, int lane)
{
  const int half = t.rope_dim / 2;

  for (int at = lane * Count; at < half; at += warp_size * Count) {
    float x[Count], y[Count];
    read<Io, Count>(x, row.in, at);
    read<Io, Count>(y, row.in, at + half);
    scale<Io, How>(x, t, row, r, at);
    scale<Io, How>(y, t, row, r, at + half);
#pragma unroll
    for (int i = 0; i < Count; ++i)
      turn_pair<Io, How>(x[i], y[i], t, row, at + i);
    write<Io, Count>(x, row.out, at);
    write<Io, Count>(y, row.out, at + half);
  }
}

// What is not rotated.  Without a norm it only moves, as it is.
template <Dtype Io, Rounding How, int Count>
__device__ __forceinline__ void
finish_tail(const HeadsTask &t, const HeadsRow &row, Real<Io, How> r, int lane)
{
  if (!t.norm && row.in == row.out) return;
  for (int at = t.rope_dim + lane * Count; at < t.head_dim;
       at += warp_size * Count) {
    float x[Count];
    read<Io, Count>(x, row.in, at);
    scale<Io, How>(x, t, row, r, at);
    write<Io, Count>(x, row.out, at);
  }
}

// Vector is 4, or 1 where rows are not aligned or not whole vectors.
template <Dtype Io, Rounding How, int Vector>
__device__ __forceinline__ void finish(const HeadsTask &t, const HeadsRow &row,
                                       int lane)
{
  constexpr int pairs = Vector < 2 ? 2 : Vector; // elements, at least a pair
  Real<Io, How> r = 1;

  if (t.norm)
    r = row_scale<Io, How>(row_square_sum<Io, How, Vector>(t, row, lane),
                           t.head_dim, t.eps);
  if (t.layout == Layout::neox)
    finish_neox<Io, How, Vector>(t, row, r, lane);
  else
    finish_interleaved<Io, How, pairs>(t, row, r, lane);
  finish_tail<Io, How, Vector>(t, row, r, lane);
}

// Whether vectors of four elements fit the row: the same for all its lanes.
template <Dtype Io>
__device__ __forceinline__ bool row_is_wide(const HeadsTask &t,
                                            const HeadsRow &row)
{
  const int whole = t.layout == Layout::neox ? t.rope_dim / 2 : t.rope_dim;
  return (((u64)row.in | (u64)row.out) % (4 * bytes_of(Io))) == 0 &&
         ((t.head_dim | whole) % 4) == 0;
}

template <Dtype Io, Rounding How, HeadsGeneric P>
__device__ __forceinline__ void heads_generic(const HeadsTask &t)
{
  const int lane = threadIdx.x % warp_size;
  const i64 rows = t.tokens * (t.q_heads + t.kv_heads);
  const i64 step = (i64)gridDim.x * P.warps;

  for (i64 at = (i64)blockIdx.x * P.warps + threadIdx.x / warp_size; at < rows;
       at += step) {
    const HeadsRow row = find_row<Io>(t, at);
    if (row_is_wide<Io>(t, row))
      finish<Io, How, 4>(t, row, lane);
    else
      finish<Io, How, 1>(t, row, lane);
  }
}

} // namespace dt
