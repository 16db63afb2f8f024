// A lane's part of head rows of a packed projection: how a row falls into
// units and units to lanes; load, norm and rope, store.
//
// A unit is one vector, or, where pairs are half a row apart (neox), two: then
// both elements of a pair are in one lane.  The rotary units come first, then
// the tail.
#pragma once
#include "variants/common/angles.cuh"
#include "variants/common/heads_math.cuh"
#include "variants/qknorm_rope_packed/facts.cuh"

namespace dt {

// `Vec` bytes per load and store, `Lanes` to a row.
template <QkNormRopePackedFacts F, int Vec, int Lanes, int Hint>
struct PackedShape {
  static constexpr Dtype io = F.io;
  static constexpr Rounding rounding = F.rounding;
  static constexpr int vec = Vec, lanes = Lanes, dim = F.head_dim;
  static constexpr int half = F.rope_dim / 2;          // pairs of a row
  static constexpr bool yarn = F.yarn;
  static constexpr bool neox = F.layout == Layout::neox;
  static constexpr int twins = neox ? 2 : 1;           // vectors of a unit
  static constexpr int count = Vec / bytes_of(F.io);   // elements of a vector
  static constexpr int pairs = neox ? count : count / 2;     // of a unit
  static constexpr int rotary = F.rope_dim / count / twins;  // units
  static constexpr int tail = F.head_dim / count - rotary * twins; // vectors
  static constexpr int half_tail = ceil_div(tail, twins);
  static constexpr int units = rotary + half_tail;
  static constexpr int slots = ceil_div(units, Lanes); // units of a lane
  static constexpr Load row_load = Hint == 1 ? Load::stream : Load::plain;
  static constexpr Store row_store = Hint > 0 ? Store::stream : Store::plain;

  static_assert(Lanes == 8 || Lanes == 16 || Lanes == 32,
                "a head row is shared by 8, 16 or 32 lanes");
  static_assert(count >= 1 && Vec <= 16, "a vector holds 1 to 16 bytes");
  static_assert(F.head_dim % count == 0, "whole vectors only: head_dim");
  static_assert(F.rope_dim % (count * twins) == 0,
                "whole vectors only: rope_dim");
  static_assert(count % 2 == 0, "elements are rounded in twos");
  static_assert(F.rounding != Rounding::each || bytes_of(F.io) == 2,
                "rounding=each of fp32 takes doubles");

  // The loops over slots are unrolled, so most of these fold to constants.
  static __device__ __forceinline__ bool rotates(int lane, int slot)
  {
    if ((slot + 1) * Lanes <= rotary) return true;
    if (slot * Lanes >= rotary) return false;
    return lane + slot * Lanes < rotary;
  }
  static __device__ __forceinline__ bool holds(int lane, int slot, int j)
  {
    const int unit = lane + slot * Lanes;
    if ((slot + 1) * Lanes <= rotary) return true;
    if (j == 0 || tail % 2 == 0)
      return (slot + 1) * Lanes <= units || unit < units;
    return unit < rotary || unit < units - 1;
  }
  // Where a vector of the lane begins in its row, in bytes.
  static __device__ __forceinline__ int place(int lane, int slot, int j)
  {
    const int jump = rotates(lane, slot) ? j * rotary
                                         : rotary * (twins - 1) +
                                               j * half_tail;
    return (lane + slot * Lanes + jump) * Vec;
  }
};

// A lane's part of a row, of a weight, of frequencies and of angles.
template <class S> struct PackedPart {
  Pack<S::vec> at[S::slots][S::twins];
};
template <class S> struct PackedFrequencies {
  float at[S::slots][S::pairs];
};
template <class S> struct PackedAngles {
  Angle at[S::slots][S::pairs];
};

template <class S, Load How>
__device__ __forceinline__ void load_part(PackedPart<S> &part, const void *row,
                                          int lane, bool live)
{
#pragma unroll
  for (int i = 0; i < S::slots; ++i)
#pragma unroll
    for (int j = 0; j < S::twins; ++j) {
      part.at[i][j] = Pack<S::vec>{};
      if (live && S::holds(lane, i, j))
        part.at[i][j] =
            load<S::vec, How>((const char *)row + S::place(lane, i, j));
    }
}

template <class S>
__device__ __forceinline__ void store_part(void *row, const PackedPart<S> &part,
                                           int lane, bool live)
{
#pragma unroll
  for (int i = 0; i < S::slots; ++i)
#pragma unroll
    for (int j = 0; j < S::twins; ++j)
      if (live && S::holds(lane, i, j))
        store<S::vec, S::row_store>((char *)row + S::place(lane, i, j),
                                    part.at[i][j]);
}

// Keeps the compiler from unpacking a row's 16-bit values once for its sum and
// its result, which would double its registers.
template <class S> __device__ __forceinline__ void keep_part(PackedPart<S> &p)
{
#pragma unroll
  for (int i = 0; i < S::slots; ++i)
#pragma unroll
    for (int j = 0; j < S::twins; ++j)
      for (u32 &word : p.at[i][j].word) opaque(word);
}

template <class S>
__device__ __forceinline__ float part_square_sum(const PackedPart<S> &part)
{
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < S::slots; ++i)
#pragma unroll
    for (int j = 0; j < S::twins; ++j)
#pragma unroll
      for (int e = 0; e < S::count; ++e) {
        const float x = get<S::io>(part.at[i][j].word, e);
        sum = fmaf(x, x, sum);
      }
  return sum;
}

template <class S>
__device__ __forceinline__ void part_angles(PackedAngles<S> &to,
                                            const PackedFrequencies<S> &f,
                                            float position, float factor)
{
#pragma unroll
  for (int i = 0; i < S::slots; ++i)
#pragma unroll
    for (int e = 0; e < S::pairs; ++e)
      to.at[i][e] = angle_of<S::io, S::rounding>(position, f.at[i][e],
                                                 S::yarn ? factor : 1.0f);
}

// The pairs of a unit, in place: x[twin][element].
template <class S>
__device__ __forceinline__ void turn_unit(float (&x)[S::twins][S::count],
                                          const Angle (&t)[S::pairs])
{
#pragma unroll
  for (int e = 0; e < S::pairs; ++e) {
    float &a = S::neox ? x[0][e] : x[0][2 * e];
    float &b = S::neox ? x[S::twins - 1][e] : x[0][2 * e + 1];
    turn<S::io, S::rounding>(a, b, t[e].cos, t[e].sin, t[e].cos, t[e].sin);
  }
}

template <class S>
__device__ __forceinline__ void
finish_part(PackedPart<S> &row, float r, const PackedPart<S> &w,
            const PackedAngles<S> &t, int lane)
{
#pragma unroll
  for (int i = 0; i < S::slots; ++i) {
    float x[S::twins][S::count];
#pragma unroll
    for (int j = 0; j < S::twins; ++j) {
      const u32 *at = row.at[i][j].word, *weight = w.at[i][j].word;
#pragma unroll
      for (int e = 0; e < S::count; ++e)
        x[j][e] = get<S::io>(at, e) * (r * get<S::io>(weight, e));
      round_norm<S::io, S::rounding>(x[j]);
    }
    if (S::rotates(lane, i)) turn_unit<S>(x, t.at[i]);
#pragma unroll
    for (int j = 0; j < S::twins; ++j)
      put<S::io, S::count>(row.at[i][j].word, x[j]);
  }
}

// ---- Tables in shared memory -----------------------------------------------

// Where a table of floats, one per pair, has that of a pair: a lane reads up to
// four at once, and the lanes of a row read neighbouring vectors.
template <class S> __device__ __forceinline__ int table_place(int pair)
{
  constexpr int wide = least(S::pairs, 4);
  const int unit = pair / S::pairs, e = pair % S::pairs;
  return (e / wide * S::rotary + unit) * wide + e % wide;
}

template <class S>
__device__ __forceinline__ void
read_table(float (&to)[S::slots][S::pairs], const float *table, int lane)
{
  constexpr int wide = least(S::pairs, 4);
#pragma unroll
  for (int i = 0; i < S::slots; ++i)
#pragma unroll
    for (int e = 0; e < S::pairs; e += wide) {
      const int at = (e / wide * S::rotary + lane + i * S::lanes) * wide;
      Span<Dtype::fp32, wide> span{};
      if (S::rotates(lane, i))
        load_span<Dtype::fp32, wide, 4 * wide, Load::plain>(span, table + at);
#pragma unroll
      for (int k = 0; k < wide; ++k) to[i][e + k] = span[k];
    }
}

// The frequencies of all pairs, made by the whole block.
template <class S, FrequencyBy By>
__device__ __forceinline__ void fill_frequencies(float *table,
                                                 const QkNormRopePackedArgs &a)
{
  if ((int)threadIdx.x >= S::half) return; // back at the barrier
  const Frequencies<By> f(a.base, 2 * S::half, S::yarn, a.factor, a.low,
                          a.high);
  for (int i = threadIdx.x; i < S::half; i += blockDim.x)
    table[table_place<S>(i)] = f.of(i);
}

template <Positions Type>
__device__ __forceinline__ float packed_position(const void *positions,
                                                 i64 token, bool live)
{
  if (!live) return 0.0f;
  if constexpr (Type == Positions::i32)
    return (float)__ldg((const int *)positions + token);
  else
    return (float)__ldg((const i64 *)positions + token);
}

} // namespace dt
