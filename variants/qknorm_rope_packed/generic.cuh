// RMSNorm of each head row of q and k of a packed projection, then rotary
// embedding: one warp per head row, everything but the io dtype and the
// rounding looked up at run time.
//
// A row is read twice, for its sum of squares and for its result; the second
// time it is in L1.  Both elements of a pair are read and written by one lane,
// because a row is its own output; that lane makes the pair's frequency, too.
#pragma once
#include "variants/qknorm_rope_packed/facts.cuh"
#include "variants/qknorm_rope_packed/turn.cuh"

struct QkNormRopePackedGeneric {
  int warps = 4; // per block
};

namespace dt {

struct PackedRow {
  char *at;
  const void *weight;
  float position;
};

template <Dtype Io>
__device__ __forceinline__ PackedRow packed_row(const QkNormRopePackedArgs &a,
                                                i64 row)
{
  const i64 heads = (i64)a.q_heads + a.kv_heads;
  const i64 token = (u64)row >> 32 ? row / heads : (u32)row / (u32)heads;
  const i64 head = row - token * heads;
  const bool wide = (Positions)a.position_type == Positions::i64;

  return {(char *)a.qkv +
              (token * a.token_stride + head * a.head_dim) * bytes_of(Io),
          head < a.q_heads ? a.q_weight : a.k_weight,
          wide ? (float)((const i64 *)a.positions)[token]
               : (float)((const int *)a.positions)[token]};
}

// 1/sqrt(mean of squares + eps) of a row.
template <Dtype Io, Rounding How>
__device__ __forceinline__ auto packed_scale(const PackedRow &row, int dim,
                                             float eps, int lane)
{
  using Real = typename RowMath<Io, How>::Real;
  Real total = 0;

  for (int i = lane; i < dim; i += warp_size) {
    const Real x = read_one<Io>(row.at, i);
    total += x * x;
  }
#pragma unroll
  for (int mask = warp_size / 2; mask > 0; mask /= 2)
    total += __shfl_xor_sync(full_warp, total, mask);
  __syncwarp(); // other lanes may now write what this one has read
  if constexpr (sizeof(Real) == 8)
    return 1.0 / sqrt(total / dim + eps);
  else
    return root_scale<Io, How>(total, (float)dim, eps);
}

// The angle of a pair, with the attention factor where it belongs to it.
template <Dtype Io, Rounding How>
__device__ __forceinline__ auto packed_angle(float position, float frequency,
                                             float factor)
{
  typename RowMath<Io, How>::Angle t;

  if constexpr (sizeof t == sizeof(WideAngle))
    sincos((double)position * frequency, &t.sin, &t.cos);
  else
    t = scaled_angle<How>(angle_exact(position, frequency), factor);
  return t;
}

// Elements i and j of the row normed, turned where there is an angle, stored.
template <Dtype Io, Rounding How, class Real, class Turn>
__device__ __forceinline__ void finish_pair(const QkNormRopePackedArgs &a,
                                            const PackedRow &row, int i, int j,
                                            Real r, bool turns, Turn angle)
{
  float x = read_one<Io>(row.at, i), y = read_one<Io>(row.at, j);
  const float u = read_one<Io>(row.weight, i), v = read_one<Io>(row.weight, j);
  const bool scales = a.yarn != 0;

  if constexpr (sizeof(Real) == 8) {
    norm_pair_wide(x, y, r, u, v);
    if (turns) turn_pair_wide(x, y, angle, scales, a.attention_factor);
  } else {
    norm_pair<Io, How>(x, y, r, u, v);
    if (turns) turn_pair<Io, How>(x, y, angle, scales, a.attention_factor);
  }
  write_one<Io>(row.at, i, x);
  write_one<Io>(row.at, j, y);
}

template <Dtype Io, Rounding How>
__device__ __forceinline__ void
finish_packed_row(const QkNormRopePackedArgs &a, const Frequencies &f,
                  const PackedRow &row, int lane)
{
  const auto r = packed_scale<Io, How>(row, a.head_dim, a.eps, lane);
  const bool neox = (Layout)a.layout == Layout::neox;
  const float factor = a.yarn ? a.attention_factor : 1.0f;
  const int half = a.rope_dim / 2;

  for (int pair = lane; pair < half; pair += warp_size) {
    const auto angle =
        packed_angle<Io, How>(row.position, frequency(f, pair), factor);
    const int i = neox ? pair : 2 * pair;
    finish_pair<Io, How>(a, row, i, neox ? i + half : i + 1, r, true, angle);
  }
  for (int i = a.rope_dim + 2 * lane; i < a.head_dim; i += 2 * warp_size)
    finish_pair<Io, How>(a, row, i, i + 1, r, false,
                         typename RowMath<Io, How>::Angle{1, 0});
}

} // namespace dt

template <QkNormRopePackedFacts F, QkNormRopePackedGeneric P>
__device__ __forceinline__ void
qknorm_rope_packed_generic(const QkNormRopePackedArgs &a)
{
  const dt::Frequencies f = dt::frequencies(a.base, a.rope_dim, a.yarn != 0,
                                            a.factor, a.low, a.high);
  const int lane = threadIdx.x % dt::warp_size;
  const dt::i64 rows = a.tokens * ((dt::i64)a.q_heads + a.kv_heads);
  const dt::i64 step = (dt::i64)gridDim.x * P.warps;

  for (dt::i64 at =
           (dt::i64)blockIdx.x * P.warps + threadIdx.x / dt::warp_size;
       at < rows; at += step)
    dt::finish_packed_row<F.io, F.rounding>(a, f, dt::packed_row<F.io>(a, at),
                                            lane);
}
