// RMSNorm of each head row of q and k of a packed projection, then rotary
// embedding: a block per token or few, so that cosines and sines are computed
// once for all heads of a token.
//
// The block's threads make the table of its tokens' angles in shared memory
// while the first rows are on the way; then its lane groups take the rows of
// all heads of these tokens in turn.
#pragma once
#include "variants/qknorm_rope_packed/row.cuh"

struct QkNormRopePackedBlock {
  int vec = 16;     // bytes per load and store: 4, 8 or 16
  int lanes = 16;   // that share a head row: 8, 16 or 32
  int block_tokens = 1; // tokens that a block takes at once
  int inflight = 1; // rows of a group loaded before the first is used
  bool persistent = false; // a block goes on to further tokens
  int warps = 8;    // per block
  int frequency = 0; // made from 0 pairs of floats, 1 exp2 in double
  bool keep_weight = false; // of q and k in registers, or read for each row
  int hint = 0;     // 0 none, 1 streaming loads and stores, 2 streaming stores
};

namespace dt {

template <QkNormRopePackedFacts F, QkNormRopePackedBlock P>
struct PackedBlock {
  using Shape = PackedShape<F, P.vec, P.lanes, P.hint>;
  using Part = PackedPart<Shape>;
  static constexpr int threads = P.warps * warp_size;
  static constexpr int groups = threads / P.lanes;
  static constexpr int half = Shape::half;
  static constexpr u64 head_bytes = (u64)F.head_dim * bytes_of(F.io);

  // Two tables in turn, so that one barrier per step is enough: nobody can be
  // two steps ahead.
  struct Shared {
    __align__(16) float frequency[half + 4];
    __align__(16) float cos[2][P.block_tokens][half + 4];
    __align__(16) float sin[2][P.block_tokens][half + 4];
  };

  const QkNormRopePackedArgs &a;
  Shared &shared;
  int lane, group, heads; // heads: of q and k together
  Part q_weight, k_weight;

  // The rows of a step, token after token: row `at` of the block's.
  struct Row {
    char *at;
    int token; // of the step's
    bool live, q;
  };
  __device__ __forceinline__ Row find_row(int token, int at) const
  {
    Row r;
    r.token = P.block_tokens == 1 ? 0 : at / heads;
    const int head = at - r.token * heads;
    r.live = r.token < P.block_tokens && head < heads &&
             token + r.token < a.tokens;
    r.q = head < a.q_heads;
    r.at = (char *)a.qkv + (token + r.token) * (i64)a.token_stride *
                               bytes_of(F.io) + head * head_bytes;
    if (r.token >= P.block_tokens) r.token = 0; // its angles are not used
    return r;
  }

  __device__ __forceinline__ void load_rows(Part (&part)[P.inflight],
                                            Row (&row)[P.inflight], int token,
                                            int first) const
  {
#pragma unroll
    for (int i = 0; i < P.inflight; ++i) {
      row[i] = find_row(token, first + i * groups + group);
      load_part<Shape, Shape::row_load>(part[i], row[i].at, lane, row[i].live);
    }
  }

  __device__ __forceinline__ void fill_table(int token, int turn)
  {
#pragma unroll 1
    for (int i = threadIdx.x; i < P.block_tokens * half; i += threads) {
      const int t = i / (half > 0 ? half : 1), pair = i - t * half;
      const int to = table_place<Shape>(pair);
      const float position = packed_position<F.positions>(
          a.positions, token + t, token + t < a.tokens);
      const float f = shared.frequency[to];
      const Angle x = angle_of<F.io, F.rounding>(
          position, f, F.yarn ? a.attention_factor : 1.0f);
      shared.cos[turn][t][to] = x.cos;
      shared.sin[turn][t][to] = x.sin;
    }
  }

  __device__ __forceinline__ void read_angles(PackedAngles<Shape> &to, int t,
                                              int turn) const
  {
    float cos[Shape::slots][Shape::pairs], sin[Shape::slots][Shape::pairs];
    read_table<Shape>(cos, shared.cos[turn][t], lane);
    read_table<Shape>(sin, shared.sin[turn][t], lane);
#pragma unroll
    for (int i = 0; i < Shape::slots; ++i)
#pragma unroll
      for (int e = 0; e < Shape::pairs; ++e)
        to.at[i][e] = {cos[i][e], sin[i][e]};
  }

  __device__ __forceinline__ void finish_rows(Part (&part)[P.inflight],
                                              const Row (&row)[P.inflight],
                                              int turn)
  {
    PackedAngles<Shape> angles;
    float sum[P.inflight];

#pragma unroll
    for (int i = 0; i < P.inflight; ++i)
      sum[i] = part_square_sum<Shape>(part[i]);
    sum_lanes<P.lanes>(sum);
    if constexpr (P.block_tokens == 1) read_angles(angles, 0, turn);
#pragma unroll
    for (int i = 0; i < P.inflight; ++i) {
      const float r =
          row_scale<F.io, F.rounding>(sum[i], F.head_dim, a.eps);
      Part weight;
      if constexpr (P.keep_weight)
        weight = row[i].q ? q_weight : k_weight;
      else
        load_part<Shape, Load::constant>(
            weight, row[i].q ? a.q_weight : a.k_weight, lane, true);
      if constexpr (P.block_tokens > 1) read_angles(angles, row[i].token, turn);
      keep_part<Shape>(part[i]);
      finish_part<Shape>(part[i], r, weight, angles, lane);
      store_part<Shape>(row[i].at, part[i], lane, row[i].live);
    }
  }

  __device__ __forceinline__ void walk()
  {
    const int rows = P.block_tokens * heads;
    Part part[P.inflight];
    Row row[P.inflight];
    int turn = 0;

    for (i64 token = (i64)blockIdx.x * P.block_tokens; token < a.tokens;
         token += (i64)gridDim.x * P.block_tokens) {
      load_rows(part, row, (int)token, 0);
      fill_table((int)token, turn);
      __syncthreads();
      finish_rows(part, row, turn);
#pragma unroll 1
      for (int at = groups * P.inflight; at < rows;
           at += groups * P.inflight) {
        load_rows(part, row, (int)token, at);
        finish_rows(part, row, turn);
      }
      turn ^= 1;
      if constexpr (!P.persistent) return;
    }
  }
};

} // namespace dt

template <QkNormRopePackedFacts F, QkNormRopePackedBlock P>
__device__ __forceinline__ void
qknorm_rope_packed_block(const QkNormRopePackedArgs &a)
{
  using Block = dt::PackedBlock<F, P>;
  using Shape = typename Block::Shape;
  __shared__ typename Block::Shared shared;
  Block b{a, shared, (int)threadIdx.x % P.lanes, (int)threadIdx.x / P.lanes,
          a.q_heads + a.kv_heads};

  dt::fill_frequencies<Shape, dt::FrequencyBy(P.frequency)>(
      shared.frequency, a);
  if constexpr (P.keep_weight) {
    dt::load_part<Shape, dt::Load::constant>(b.q_weight, a.q_weight, b.lane,
                                             true);
    dt::load_part<Shape, dt::Load::constant>(b.k_weight, a.k_weight, b.lane,
                                             true);
  }
  __syncthreads();
  b.walk();
}
