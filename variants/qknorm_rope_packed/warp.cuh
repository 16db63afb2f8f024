// RMSNorm of each head row of q and k of a packed projection, then rotary
// embedding: a group of lanes per head row.
//
// A lane group has a fixed chunk of heads, all of q or all of k, so that
// weights can stay in its registers, and takes one token after another.
// Frequencies are made once per block, in shared memory; cosines and sines
// once for all heads of a chunk, while their rows are on the way.
#pragma once
#include "variants/qknorm_rope_packed/row.cuh"

struct QkNormRopePackedWarp {
  int vec = 16;     // bytes per load and store: 4, 8 or 16
  int lanes = 16;   // that share a head row: 8, 16 or 32
  int heads = 1;    // rows a lane group takes per token, one after another
  int inflight = 1; // rows loaded before the first is used; divides heads
  bool persistent = false; // a group goes on to further tokens
  int ahead = 0;    // fetched before a token is computed: 1 the next token's
                    // position, 2 its rows as well
  int warps = 8;    // per block
  int frequency = 0; // made from 0 pairs of floats, 1 exp2 in double
  bool keep_angles = true;    // in registers for all heads of a token, or made
                              // again for each
  bool keep_frequency = true; // in registers, or read for each token
  bool keep_weight = true;    // in registers, or read for each row
  int hint = 0;     // 0 none, 1 streaming loads and stores, 2 streaming stores
  int min_blocks = 0; // per SM that registers must allow; 0: no limit
};

namespace dt {

template <QkNormRopePackedFacts F, QkNormRopePackedWarp P> struct PackedWarp {
  using Shape = PackedShape<F, P.vec, P.lanes, P.hint>;
  using Part = PackedPart<Shape>;
  static constexpr int groups = P.warps * warp_size / P.lanes;
  static constexpr u64 head_bytes = (u64)F.head_dim * bytes_of(F.io);

  static_assert(P.heads % P.inflight == 0, "inflight must divide heads");
  static_assert(P.ahead < 2 || P.inflight == P.heads,
                "registers hold all heads of the token ahead");

  const QkNormRopePackedArgs &a;
  const float *table; // frequencies
  int lane;
  char *at;           // the chunk's first head, at `token`
  const void *weight_at;
  i64 step_bytes;     // to the group's next token
  int token, step, first, heads;
  PackedFrequencies<Shape> frequency;
  PackedAngles<Shape> angles;
  Part weight;

  // Group g of all groups takes chunk g mod chunks; the up to chunks - 1
  // groups past the last whole step stay idle, so that each keeps its chunk.
  // `first` is the least token of the warp, which goes on while it is in range.
  __device__ __forceinline__ void find_site()
  {
    const u32 q_chunks = ((u32)a.q_heads + P.heads - 1) / P.heads;
    const u32 chunks = q_chunks + ((u32)a.kv_heads + P.heads - 1) / P.heads;
    const u32 warp = threadIdx.x / warp_size;
    const u32 lead = blockIdx.x * groups + warp * (warp_size / P.lanes);
    const u32 group = blockIdx.x * groups + threadIdx.x / P.lanes;
    const u32 steps = P.persistent ? gridDim.x * groups / chunks : 0;

    token = group / chunks;
    first = lead / chunks;
    step = steps;
    take_chunk(group - token * chunks, q_chunks);
    if (!P.persistent) return;
    if (token >= step) heads = 0;
    if (first >= step) first = (int)a.tokens;
  }

  __device__ __forceinline__ void take_chunk(u32 chunk, u32 q_chunks)
  {
    const bool q = chunk < q_chunks;
    const int head = (q ? chunk : chunk - q_chunks) * P.heads;
    const int left = (q ? a.q_heads : a.kv_heads) - head;
    const i64 token_bytes = a.token_stride * bytes_of(F.io);

    heads = left < P.heads ? left : P.heads;
    at = (char *)a.qkv + token * token_bytes +
         (q ? head : a.q_heads + head) * head_bytes;
    step_bytes = step * token_bytes;
    weight_at = q ? a.q_weight : a.k_weight;
  }

  // Of the token `steps` further on; 0 past the end.
  __device__ __forceinline__ int heads_of(int steps) const
  {
    return token + (i64)steps * step < a.tokens ? heads : 0;
  }
  __device__ __forceinline__ float position_of(int steps) const
  {
    return packed_position<F.positions>(
        a.positions, token + (i64)steps * step, heads_of(steps) > 0);
  }

  __device__ __forceinline__ void load_rows(Part (&rows)[P.inflight],
                                            const char *from, int head,
                                            int live) const
  {
#pragma unroll
    for (int i = 0; i < P.inflight; ++i)
      load_part<Shape, Shape::row_load>(
          rows[i], from + (head + i) * head_bytes, lane, head + i < live);
  }

  __device__ __forceinline__ void make_angles(float position)
  {
    if constexpr (!P.keep_frequency)
      read_table<Shape>(frequency.at, table, lane);
    part_angles<Shape>(angles, frequency, position, a.attention_factor);
  }

  __device__ __forceinline__ void finish_rows(Part (&rows)[P.inflight],
                                              int head, int live,
                                              float position)
  {
    float sum[P.inflight];

#pragma unroll
    for (int i = 0; i < P.inflight; ++i)
      sum[i] = part_square_sum<Shape>(rows[i]);
    sum_lanes<P.lanes>(sum);
#pragma unroll
    for (int i = 0; i < P.inflight; ++i) {
      const float r =
          row_scale<F.io, F.rounding>(sum[i], F.head_dim, a.eps);
      if constexpr (!P.keep_weight)
        load_part<Shape, Load::plain>(weight, weight_at, lane, true);
      if constexpr (!P.keep_angles) make_angles(position);
      keep_part<Shape>(rows[i]);
      finish_part<Shape>(rows[i], r, weight, angles, lane);
      store_part<Shape>(at + (head + i) * head_bytes, rows[i], lane,
                        head + i < live);
    }
  }

  // One token after another.
  __device__ __forceinline__ void walk(float position)
  {
    Part rows[P.inflight], next_rows[P.inflight];
    float next = 0.0f;

    if constexpr (P.ahead == 2) load_rows(rows, at, 0, heads_of(0));
    do {
      const int live = heads_of(0);
      if constexpr (P.ahead == 0) position = position_of(0);
      if constexpr (P.ahead == 2)
        load_rows(next_rows, at + step_bytes, 0, heads_of(1));
      else
        load_rows(rows, at, 0, live);
      if constexpr (P.ahead > 0) next = position_of(1);
      if constexpr (P.keep_angles) make_angles(position);
      finish_rows(rows, 0, live, position);
#pragma unroll 1
      for (int head = P.inflight; head < P.heads; head += P.inflight) {
        load_rows(rows, at, head, live);
        finish_rows(rows, head, live, position);
      }
      if constexpr (P.ahead == 2)
#pragma unroll
        for (int i = 0; i < P.inflight; ++i) rows[i] = next_rows[i];
      position = next;
      token += step, first += step, at += step_bytes;
    } while (P.persistent && first < a.tokens);
  }
};

} // namespace dt

template <QkNormRopePackedFacts F, QkNormRopePackedWarp P>
__device__ __forceinline__ void
qknorm_rope_packed_warp(const QkNormRopePackedArgs &a)
{
  using Warp = dt::PackedWarp<F, P>;
  using Shape = typename Warp::Shape;
  __shared__ __align__(16) float table[F.rope_dim / 2 + 4];
  Warp w{a, table, (int)threadIdx.x % P.lanes};
  float position = 0.0f;

  dt::fill_frequencies<Shape, dt::FrequencyBy(P.frequency)>(
      table, a);
  __syncthreads();
  w.find_site();
  if (w.first >= a.tokens) return; // with all of its warp
  if constexpr (P.ahead > 0) position = w.position_of(0);
  if constexpr (P.keep_weight)
    dt::load_part<Shape, dt::Load::constant>(w.weight, w.weight_at, w.lane,
                                             true);
  if constexpr (P.keep_frequency)
    dt::read_table<Shape>(w.frequency.at, table, w.lane);
  w.walk(position);
}
