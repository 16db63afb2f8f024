// RMSNorm and rotary embedding of the heads of q and k: the body of the
// `generic` schemes of qknorm_rope, qk_norm, rope and qknorm_rope_packed.
//
// Fits every legal problem: dims, strides, layout, dtypes of operands and
// alignment are looked at while it runs.  A group of 4 to 32 lanes has a head
// row: as few as hold it in 16-byte vectors, so that a warp has several rows on
// the way.  Where a tensor is not aligned for vectors, or a row is not whole
// ones, pairs are taken one by one.  A row is read twice, for its sum of
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

// The task of an op's argument struct: of what it has, members of these names.
template <class Args>
__device__ __forceinline__ HeadsTask heads_task(const Args &a)
{
  HeadsTask t{
      .q = a.q,
      .k = a.k,
      .q_out = a.q_out,
      .k_out = a.k_out,
      .q_token_stride = a.q_token_stride,
      .q_head_stride = a.q_head_stride,
      .k_token_stride = a.k_token_stride,
      .k_head_stride = a.k_head_stride,
      .q_out_token_stride = a.q_out_token_stride,
      .q_out_head_stride = a.q_out_head_stride,
      .k_out_token_stride = a.k_out_token_stride,
      .k_out_head_stride = a.k_out_head_stride,
      .tokens = a.tokens,
      .q_heads = a.q_heads,
      .kv_heads = a.kv_heads,
      .head_dim = a.head_dim,
  };

  if constexpr (requires { a.eps; }) {
    t.norm = true;
    t.eps = a.eps;
    t.q_weight = a.q_weight;
    t.k_weight = a.k_weight;
    t.text_q = a.text_q;
    t.text_k = a.text_k;
    t.text_q_weight = a.text_q_weight;
    t.text_k_weight = a.text_k_weight;
    t.text_q_token_stride = a.text_q_token_stride;
    t.text_q_head_stride = a.text_q_head_stride;
    t.text_k_token_stride = a.text_k_token_stride;
    t.text_k_head_stride = a.text_k_head_stride;
    t.text_tokens = a.text_tokens;
  }
  if constexpr (requires { a.weight_dtype; })
    t.weight_dtype = (Dtype)a.weight_dtype;
  if constexpr (requires { a.cos; }) {
    t.cos = a.cos;
    t.sin = a.sin;
    t.positions = a.positions;
    t.table_width = a.table_width;
    t.seq = a.seq;
    t.position_offset = a.position_offset;
    t.rope_dim = a.rope_dim;
    t.layout = (Layout)a.layout;
    t.position_type = (Positions)a.position_type;
    t.cache = (Cache)a.cache;
    t.cache_dtype = (Dtype)a.cache_dtype;
  }
  if constexpr (requires { a.table; }) t.table = (Table)a.table;
  return t;
}

// One head row of it.
struct HeadsRow {
  const char *in;
  char *out;
  const void *weight;
};

// Both are below 2^40; 64-bit division is slow, and rarely needed.
__device__ __forceinline__ i64 quotient(i64 a, i64 b)
{
  if (((u64)a | (u64)b) >> 32 == 0) return (u32)a / (u32)b;
  return a / b;
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

// Head `at` of a token's, those of k after those of q.
template <Dtype Io>
__device__ __forceinline__ HeadsRow find_row(const HeadsTask &t, i64 token,
                                             int at)
{
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
  return r;
}

// ---- Vectors ---------------------------------------------------------------

// Count neighbouring elements: vectors, or the one there is.
template <Dtype T, int Count>
__device__ __forceinline__ void read(float (&x)[Count], const void *row, i64 at)
{
  if constexpr (Count == 1) {
    x[0] = read_one<T>(row, at);
  } else {
    Span<T, Count> span;
    load_span<T, Count, 16, Load::plain>(span,
                                         (const char *)row + at * bytes_of(T));
#pragma unroll
    for (int i = 0; i < Count; ++i) x[i] = span[i];
  }
}

// The same of an operand, whose dtype is the rows' or fp32.
template <Dtype Io, int Count>
__device__ __forceinline__ void read_operand(float (&x)[Count], Dtype type,
                                             const void *base, i64 at)
{
  if (type == Io)
    read<Io, Count>(x, base, at);
  else
    read<Dtype::fp32, Count>(x, base, at);
}

template <Dtype Io, int Count>
__device__ __forceinline__ void write(const float (&x)[Count], char *row,
                                      int at)
{
  if constexpr (Count == 1) {
    write_one<Io>(row, at, x[0]);
  } else {
    Pack<Count * bytes_of(Io)> pack;
    put<Io, Count>(pack.word, x);
    store<Count * bytes_of(Io), Store::plain>(row + at * bytes_of(Io), pack);
  }
}

// ---- Angles ----------------------------------------------------------------

// Cosines and sines of pairs; the second elements have some of their own where
// a table is full.
template <int Count> struct Turns {
  float cos_a[Count], sin_a[Count], cos_b[Count], sin_b[Count];
};

// Those of a token, from tables in memory.
template <Dtype Io> struct TableAngles {
  const HeadsTask &t;
  i64 cos, sin; // where they begin, in elements of the tables
  const void *sines;

  __device__ __forceinline__ TableAngles(const HeadsTask &task, i64 token)
      : t(task), cos(0), sin(0), sines(task.sin)
  {
    if (t.rope_dim == 0) return;
    cos = sin = position(token) * t.table_width;
    if (t.cache != Cache::joint) return;
    sin += t.rope_dim / 2;
    sines = t.cos;
  }
  __device__ __forceinline__ i64 position(i64 token) const
  {
    switch (t.position_type) {
    case Positions::i64: return ((const i64 *)t.positions)[token];
    case Positions::i32: return ((const int *)t.positions)[token];
    default:
      return t.position_offset + token - quotient(token, t.seq) * t.seq;
    }
  }
  template <int Count>
  __device__ __forceinline__ void at(float (&c)[Count], float (&s)[Count],
                                     int place) const
  {
    read_operand<Io, Count>(c, t.cache_dtype, t.cos, cos + place);
    read_operand<Io, Count>(s, t.cache_dtype, sines, sin + place);
  }
  // Of pairs (2i, 2i + 1).
  template <int Count>
  __device__ __forceinline__ void neighbours(Turns<Count> &to, int pair) const
  {
    if (t.table == Table::repeated) {
      float c[2 * Count], s[2 * Count];
      at<2 * Count>(c, s, 2 * pair);
#pragma unroll
      for (int i = 0; i < Count; ++i)
        to.cos_a[i] = c[2 * i], to.sin_a[i] = s[2 * i];
    } else {
      at<Count>(to.cos_a, to.sin_a, pair);
    }
    same<Count>(to);
  }
  // Of pairs (i, i + rope_dim/2).
  template <int Count>
  __device__ __forceinline__ void halves(Turns<Count> &to, int pair) const
  {
    at<Count>(to.cos_a, to.sin_a, pair);
    if (t.table == Table::full)
      at<Count>(to.cos_b, to.sin_b, pair + t.rope_dim / 2);
    else
      same<Count>(to);
  }
  __device__ __forceinline__ void one(Turns<1> &to, int pair) const
  {
    const int place = t.table == Table::repeated ? 2 * pair : pair;

    at<1>(to.cos_a, to.sin_a, place);
    same<1>(to);
    if (t.table == Table::full)
      at<1>(to.cos_b, to.sin_b, place + t.rope_dim / 2);
  }
  template <int Count>
  static __device__ __forceinline__ void same(Turns<Count> &to)
  {
#pragma unroll
    for (int i = 0; i < Count; ++i)
      to.cos_b[i] = to.cos_a[i], to.sin_b[i] = to.sin_a[i];
  }
};

// ---- A row -----------------------------------------------------------------

// A group of lanes that shares a row, and where in it one is.
struct HeadsLane {
  int lanes, lane;
};

// The sum of squares, and of these over the group.  All lanes of the warp must
// be here; those without a row have dim 0.
template <Dtype Io, Rounding How, int Count>
__device__ __forceinline__ Real<Io, How>
row_square_sum(const HeadsRow &row, int dim, HeadsLane l)
{
  Real<Io, How> part[Count] = {}, total = 0;

#pragma unroll 1
  for (int at = l.lane * Count; at < dim; at += l.lanes * Count) {
    float x[Count];
    read<Io, Count>(x, row.in, at);
#pragma unroll
    for (int i = 0; i < Count; ++i) {
      if constexpr (sizeof total == 8)
        part[i] += (double)x[i] * x[i];
      else
        part[i] = fmaf(x[i], x[i], part[i]);
    }
  }
#pragma unroll
  for (int i = 0; i < Count; ++i) total += part[i];
#pragma unroll 1
  for (int mask = l.lanes / 2; mask > 0; mask /= 2)
    total += __shfl_xor_sync(full_warp, total, mask);
  __syncwarp(); // other lanes may now write what this one has read
  return total;
}

template <Dtype Io, Rounding How, int Count>
__device__ __forceinline__ void scale(float (&x)[Count], const HeadsTask &t,
                                      const HeadsRow &row, Real<Io, How> r,
                                      int at)
{
  if (!t.norm) return;
  if (t.weight_dtype != Dtype::none) {
    float w[Count];
    read_operand<Io, Count>(w, t.weight_dtype, row.weight, at);
#pragma unroll
    for (int i = 0; i < Count; ++i) x[i] = (float)(x[i] * (r * w[i]));
  } else {
#pragma unroll
    for (int i = 0; i < Count; ++i) x[i] = (float)(x[i] * r);
  }
  round_norm<Io, How>(x);
}

template <Dtype Io, Rounding How, int Count>
__device__ __forceinline__ void turn_pair(float &a, float &b,
                                          const Turns<Count> &t, int i)
{
  turn<Io, How>(a, b, t.cos_a[i], t.sin_a[i], t.cos_b[i], t.sin_b[i]);
}

// Pairs (2i, 2i + 1), a vector at once.
template <Dtype Io, Rounding How, int Count, class Angles>
__device__ __forceinline__ void
finish_neighbours(const HeadsTask &t, const HeadsRow &row, const Angles &angles,
                  Real<Io, How> r, HeadsLane l)
{
#pragma unroll 1
  for (int at = l.lane * Count; at < t.rope_dim; at += l.lanes * Count) {
    Turns<Count / 2> turns;
    float x[Count];
    read<Io, Count>(x, row.in, at);
    angles.template neighbours<Count / 2>(turns, at / 2);
    scale<Io, How>(x, t, row, r, at);
#pragma unroll
    for (int i = 0; i < Count; i += 2)
      turn_pair<Io, How>(x[i], x[i + 1], turns, i / 2);
    write<Io, Count>(x, row.out, at);
  }
}

// Pairs (i, i + rope_dim/2), two vectors at once.
template <Dtype Io, Rounding How, int Count, class Angles>
__device__ __forceinline__ void
finish_halves(const HeadsTask &t, const HeadsRow &row, const Angles &angles,
              Real<Io, How> r, HeadsLane l)
{
  const int half = t.rope_dim / 2;

#pragma unroll 1
  for (int at = l.lane * Count; at < half; at += l.lanes * Count) {
    Turns<Count> turns;
    float x[Count], y[Count];
    read<Io, Count>(x, row.in, at);
    read<Io, Count>(y, row.in, at + half);
    angles.template halves<Count>(turns, at);
    scale<Io, How>(x, t, row, r, at);
    scale<Io, How>(y, t, row, r, at + half);
#pragma unroll
    for (int i = 0; i < Count; ++i)
      turn_pair<Io, How>(x[i], y[i], turns, i);
    write<Io, Count>(x, row.out, at);
    write<Io, Count>(y, row.out, at + half);
  }
}

// Pairs of either kind, one by one.
template <Dtype Io, Rounding How, class Angles>
__device__ __forceinline__ void
finish_pairs(const HeadsTask &t, const HeadsRow &row, const Angles &angles,
             Real<Io, How> r, HeadsLane l)
{
  const int half = t.rope_dim / 2;
  const bool neox = t.layout == Layout::neox;

#pragma unroll 1
  for (int pair = l.lane; pair < half; pair += l.lanes) {
    const int i = neox ? pair : 2 * pair, j = neox ? pair + half : i + 1;
    Turns<1> turns;
    float x[1], y[1];
    read<Io, 1>(x, row.in, i);
    read<Io, 1>(y, row.in, j);
    angles.one(turns, pair);
    scale<Io, How>(x, t, row, r, i);
    scale<Io, How>(y, t, row, r, j);
    turn_pair<Io, How>(x[0], y[0], turns, 0);
    write<Io, 1>(x, row.out, i);
    write<Io, 1>(y, row.out, j);
  }
}

// What is not rotated.  Without a norm it only moves, as it is.
template <Dtype Io, Rounding How, int Count>
__device__ __forceinline__ void finish_tail(const HeadsTask &t,
                                            const HeadsRow &row,
                                            Real<Io, How> r, HeadsLane l)
{
  if (!t.norm && row.in == row.out) return;
#pragma unroll 1
  for (int at = t.rope_dim + l.lane * Count; at < t.head_dim;
       at += l.lanes * Count) {
    float x[Count];
    read<Io, Count>(x, row.in, at);
    scale<Io, How>(x, t, row, r, at);
    write<Io, Count>(x, row.out, at);
  }
}

// Count is 1, or the elements of a vector.  A group that is not live comes
// along for the sum.
template <Dtype Io, Rounding How, int Count, class Angles>
__device__ __forceinline__ void finish_row(const HeadsTask &t,
                                           const HeadsRow &row,
                                           const Angles &angles, HeadsLane l,
                                           bool live)
{
  Real<Io, How> r = 1;

  if (t.norm)
    r = row_scale<Io, How>(
        row_square_sum<Io, How, Count>(row, live ? t.head_dim : 0, l),
        t.head_dim, t.eps);
  if (!live) return;
  if constexpr (Count == 1)
    finish_pairs<Io, How>(t, row, angles, r, l);
  else if (t.layout == Layout::neox)
    finish_halves<Io, How, Count>(t, row, angles, r, l);
  else
    finish_neighbours<Io, How, Count>(t, row, angles, r, l);
  finish_tail<Io, How, Count>(t, row, r, l);
}

// ---- All rows --------------------------------------------------------------

// Elements of a vector.
template <Dtype Io> constexpr int heads_vector = 16 / bytes_of(Io);

// Whether vectors fit all rows and operands: the same for all threads.
template <Dtype Io>
__device__ __forceinline__ bool rows_are_wide(const HeadsTask &t)
{
  const i64 strides = t.q_token_stride | t.q_head_stride | t.k_token_stride |
                      t.k_head_stride | t.q_out_token_stride |
                      t.q_out_head_stride | t.k_out_token_stride |
                      t.k_out_head_stride | t.text_q_token_stride |
                      t.text_q_head_stride | t.text_k_token_stride |
                      t.text_k_head_stride;
  const u64 places = (u64)t.q | (u64)t.k | (u64)t.q_out | (u64)t.k_out |
                     (u64)t.text_q | (u64)t.text_k | (u64)t.q_weight |
                     (u64)t.k_weight | (u64)t.text_q_weight |
                     (u64)t.text_k_weight | (u64)t.cos | (u64)t.sin;
  const int part = t.layout == Layout::neox ? t.rope_dim / 2 : t.rope_dim;
  const i64 table = t.table_width * bytes_of(t.cache_dtype);

  return ((strides | t.head_dim | part) % heads_vector<Io>) == 0 &&
         ((places | table) % 16) == 0 &&
         (t.cache != Cache::joint || t.rope_dim % 8 == 0);
}

// A power of two: no more lanes than the row has units of work.
template <int Count>
__device__ __forceinline__ HeadsLane lane_of(const HeadsTask &t)
{
  const bool twins = t.rope_dim > 0 && t.layout == Layout::neox;
  const int units = t.head_dim / (twins ? 2 * Count : Count);
  int lanes = warp_size;

  while (lanes > 4 && lanes / 2 >= units) lanes /= 2;
  return {lanes, (int)threadIdx.x & (lanes - 1)};
}

template <Dtype Io, Rounding How, int Count, HeadsGeneric P>
__device__ __forceinline__ void walk_rows(const HeadsTask &t)
{
  const HeadsLane l = lane_of<Count>(t);
  const int heads = t.q_heads + t.kv_heads;
  const int warp = P.warps * blockIdx.x + threadIdx.x / warp_size;
  const int groups = warp_size / l.lanes; // of a warp
  const i64 rows = t.tokens * heads;

#pragma unroll 1
  for (i64 first = (i64)warp * groups; first < rows;
       first += (i64)gridDim.x * P.warps * groups) {
    const i64 at = first + threadIdx.x % warp_size / l.lanes;
    const bool live = at < rows;
    const i64 token = quotient(live ? at : first, heads);
    const int head = (int)((live ? at : first) - token * heads);
    finish_row<Io, How, Count>(t, find_row<Io>(t, token, head),
                               TableAngles<Io>(t, token), l, live);
  }
}

template <Dtype Io, Rounding How, HeadsGeneric P>
__device__ __forceinline__ void heads_generic(const HeadsTask &t)
{
  static_assert(How != Rounding::norm, "rounded at each step, or at the store");
  if (rows_are_wide<Io>(t))
    walk_rows<Io, How, heads_vector<Io>, P>(t);
  else
    walk_rows<Io, How, 1, P>(t);
}

} // namespace dt
