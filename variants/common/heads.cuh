// RMSNorm and rotary embedding of the heads of q and k, a group of lanes per
// head row: the body of the `warp` schemes of qknorm_rope, qk_norm and rope.
//
// A lane group has a fixed chunk of heads, all of q or all of k, so that
// weights can stay in its registers, and takes one token after another.  All
// loads of a batch of rows are issued before the first is used; cos and sin
// are read once for all heads of a token.
#pragma once
#include "variants/common/pack.cuh"

// In the order in which the specs list them.
struct HeadsWarp {
  int vec = 4;      // bytes per load and store: 4, 8 or 16
  int lanes = 32;   // that share a head row: 8, 16, 32, or 64 (two warps)
  int heads = 1;    // rows a lane group takes per token, one after another
  int inflight = 1; // rows loaded before the first is used; divides heads
  bool persistent = false; // a group goes on to further tokens
  int ahead = 0;      // fetched before a token is computed: 1 the next token's
                      // position; 2 its rows, cos and sin as well; 3 and 4 the
                      // rows of the next 1 and 2 tokens into shared memory
  int warps = 4;      // per block
  bool grid2d = false;     // x tokens and y chunks of heads, or x for both
  bool keep_table = true;  // cos and sin in registers for all heads of a
                           // token, or read again for each
  bool keep_weight = true; // weights in registers, or read again for each head
  int hint = 0;       // 0 none, 1 streaming loads and stores, 2 streaming
                      // stores, 3 loads that bypass L1 and streaming stores
  int min_blocks = 0; // per SM that registers must allow; 0: no limit
};

namespace dt {

// What the op does, and the facts of the problem it is compiled for.
struct HeadsFacts {
  bool norm = true, rope = true;
  Dtype io = Dtype::bf16, weight = Dtype::bf16;
  int head_dim = 128, rope_dim = 128;
  Layout layout = Layout::interleaved;
  Positions positions = Positions::i64;
  Cache cache = Cache::joint;
  Dtype cache_dtype = Dtype::fp32;
  bool inplace = true;
};

// How a row falls into units, and units to lanes.  A unit is one vector, or,
// where pairs are half a row apart (neox), two: then both elements of a pair
// are in one lane.  The rotary units come first, then the tail.
template <HeadsFacts F, HeadsWarp P> struct HeadsShape {
  static constexpr int count = P.vec / bytes_of(F.io); // elements of a vector
  static constexpr bool neox = F.rope && F.layout == Layout::neox;
  static constexpr int twins = neox ? 2 : 1; // vectors of a unit
  static constexpr int rotary = F.rope ? F.rope_dim / count / twins : 0;
  // What neither norm nor rope changes need not be touched in place.
  static constexpr bool skip_tail = !F.norm && F.inplace;
  static constexpr int tail =
      skip_tail ? 0 : F.head_dim / count - rotary * twins;
  static constexpr int half_tail = ceil_div(tail, twins);
  static constexpr int units = rotary + half_tail;
  static constexpr int slots = ceil_div(units, P.lanes); // units of a lane
  static constexpr int angles = neox ? count : count / 2; // pairs of a unit
  static constexpr bool turns = rotary > 0;
  static constexpr bool weighs = F.norm && F.weight != Dtype::none;
  static constexpr int stages = P.ahead > 2 ? P.ahead - 2 : 0;

  static_assert(P.lanes == 8 || P.lanes == 16 || P.lanes == 32 ||
                    P.lanes == 64,
                "a head row is shared by 8, 16, 32 or 64 lanes");
  static_assert(P.lanes <= 32 || P.warps % 2 == 0,
                "two warps per head need an even number of warps");
  static_assert(P.heads % P.inflight == 0, "inflight must divide heads");
  static_assert(P.ahead != 2 || P.inflight == P.heads,
                "registers hold all heads of the token ahead");
  static_assert(count >= 1 && P.vec <= 16, "a vector holds 1 to 16 bytes");
  static_assert(F.head_dim % count == 0, "whole vectors only: head_dim");
  static_assert(!F.rope || F.rope_dim % (count * twins) == 0,
                "whole vectors only: rope_dim");
  static_assert(!turns || neox || count % 2 == 0,
                "an interleaved pair is in one vector");

  // The loops over slots are unrolled, so most of these fold to constants.
  static __device__ __forceinline__ bool rotates(int lane, int slot)
  {
    if ((slot + 1) * P.lanes <= rotary) return true;
    if (slot * P.lanes >= rotary) return false;
    return lane + slot * P.lanes < rotary;
  }
  static __device__ __forceinline__ bool holds(int lane, int slot, int twin)
  {
    const int unit = lane + slot * P.lanes;
    if ((slot + 1) * P.lanes <= rotary) return true;
    if (twin == 0 || tail % 2 == 0)
      return (slot + 1) * P.lanes <= units || unit < units;
    return unit < rotary || unit < units - 1;
  }
  // In vectors, from the lane's first.
  static __device__ __forceinline__ int place(int lane, int slot, int twin)
  {
    const int jump = rotates(lane, slot) ? twin * rotary
                                         : rotary * (twins - 1) +
                                               twin * half_tail;
    return slot * P.lanes + jump;
  }
  static constexpr Load row_load = P.hint == 1   ? Load::stream
                                   : P.hint == 3 ? Load::once
                                                 : Load::plain;
  static constexpr Store row_store =
      P.hint == 0 ? Store::plain : Store::stream;
};

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

// Where a lane group works.
template <HeadsFacts F> struct HeadsSite {
  const char *in;         // this lane's first vector of the chunk's first
  char *out;              // head, at `token`
  i64 in_step, out_step;  // bytes to the group's next token
  u32 in_head, out_head;  // bytes to the next head
  const void *weight;
  int heads;              // of this chunk; 0: the group has no work
  int token, step; // schemes ask for tokens <= 2^30, so 32 bits are enough
  int first; // the first token of the warp (of the block where lanes are 64):
             // all of it goes on while this is in range
};

template <HeadsFacts F, HeadsWarp P, class Args>
__device__ __forceinline__ void take_chunk(HeadsSite<F> &s, const Args &a,
                                           int chunk, int q_chunks, int lane)
{
  const bool q = chunk < q_chunks;
  const int head = (q ? chunk : chunk - q_chunks) * P.heads;
  const int left = (q ? a.q_heads : a.kv_heads) - head;
  const i64 token_bytes =
      (q ? a.q_token_stride : a.k_token_stride) * bytes_of(F.io);
  const i64 head_bytes =
      (q ? a.q_head_stride : a.k_head_stride) * bytes_of(F.io);

  s.heads = left < P.heads ? left : P.heads;
  s.in = (const char *)(q ? a.q : a.k) + s.token * token_bytes +
         head * head_bytes + lane * P.vec;
  s.in_step = s.step * token_bytes;
  s.in_head = (u32)head_bytes;
  if constexpr (!F.inplace) {
    const i64 out_token =
        (q ? a.q_out_token_stride : a.k_out_token_stride) * bytes_of(F.io);
    const i64 out_head =
        (q ? a.q_out_head_stride : a.k_out_head_stride) * bytes_of(F.io);
    s.out = (char *)(q ? a.q_out : a.k_out) + s.token * out_token +
            head * out_head + lane * P.vec;
    s.out_step = s.step * out_token;
    s.out_head = (u32)out_head;
  }
  if constexpr (F.norm && F.weight != Dtype::none)
    s.weight = q ? a.q_weight : a.k_weight;
}

// Who am I.  In one dim, group g of all groups takes chunk g mod chunks; the
// up to chunks - 1 groups past the last whole step stay idle, so that each
// keeps its chunk from token to token.
template <HeadsFacts F, HeadsWarp P, class Args>
__device__ __forceinline__ HeadsSite<F> find_site(const Args &a, int lane)
{
  constexpr int groups = P.warps * warp_size / P.lanes; // of a block
  const u32 group = threadIdx.x / P.lanes;
  const u32 lead = P.lanes > warp_size
                       ? 0
                       : threadIdx.x / warp_size * (warp_size / P.lanes);
  const u32 q_chunks = ((u32)a.q_heads + P.heads - 1) / P.heads;
  HeadsSite<F> s;

  if constexpr (P.grid2d) {
    s.token = blockIdx.x * groups + group;
    s.first = blockIdx.x * groups + lead;
    s.step = gridDim.x * groups;
    take_chunk<F, P>(s, a, blockIdx.y, q_chunks, lane);
  } else {
    const u32 chunks = q_chunks + ((u32)a.kv_heads + P.heads - 1) / P.heads;
    const u32 at = blockIdx.x * groups + group;
    const u32 token = at / chunks;
    u32 step = 0, first = 0;
    if constexpr (P.persistent) {
      step = gridDim.x * groups / chunks;
      first = (blockIdx.x * groups + lead) / chunks;
      if (first >= step) first = (u32)a.tokens;
    }
    s.token = token;
    s.first = first;
    s.step = step;
    take_chunk<F, P>(s, a, at - token * chunks, q_chunks, lane);
    if (P.persistent && token >= step) s.heads = 0;
  }
  return s;
}

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

// The rows that are in flight together.
template <HeadsFacts F, HeadsWarp P> struct HeadBatch {
  HeadRow<F, P> row[P.inflight];
};

template <HeadsFacts F, HeadsWarp P>
__device__ __forceinline__ void load_batch(HeadBatch<F, P> &b,
                                           const HeadsSite<F> &s,
                                           const char *in, int head, int heads,
                                           int lane)
{
#pragma unroll
  for (int i = 0; i < P.inflight; ++i)
    load_row<F, P>(b.row[i], in + (head + i) * (u64)s.in_head, lane,
                   head + i < heads);
}

// Rows of tokens ahead, in shared memory.  A thread reads only what it copied
// itself, so there is no barrier: it waits for its own copies.
template <HeadsFacts F, HeadsWarp P> struct HeadStage {
  using Shape = HeadsShape<F, P>;
  static constexpr int threads = P.warps * warp_size;
  static constexpr int ring = Shape::stages + 1; // the token in hand is one more
  typename Word<P.vec>::type
      at[ring][P.heads][Shape::slots][Shape::twins][threads];
};

// Every call makes one group of copies, also where there is nothing to copy:
// the waits count groups.
template <HeadsFacts F, HeadsWarp P>
__device__ __forceinline__ void
fetch_rows(HeadStage<F, P> &stage, int place, const HeadsSite<F> &s,
           const char *in, int heads, int lane)
{
  using Shape = HeadsShape<F, P>;
#pragma unroll
  for (int h = 0; h < P.heads; ++h)
#pragma unroll
    for (int i = 0; i < Shape::slots; ++i)
#pragma unroll
      for (int j = 0; j < Shape::twins; ++j)
        if (h < heads && Shape::holds(lane, i, j))
          copy_ahead<P.vec>(&stage.at[place][h][i][j][threadIdx.x],
                            in + h * (u64)s.in_head +
                                Shape::place(lane, i, j) * P.vec);
  close_copies();
}

template <HeadsFacts F, HeadsWarp P>
__device__ __forceinline__ void take_batch(HeadBatch<F, P> &b,
                                           const HeadStage<F, P> &stage,
                                           int place, int head, int heads,
                                           int lane)
{
  using Shape = HeadsShape<F, P>;
#pragma unroll
  for (int h = 0; h < P.inflight; ++h)
#pragma unroll
    for (int i = 0; i < Shape::slots; ++i)
#pragma unroll
      for (int j = 0; j < Shape::twins; ++j) {
        b.row[h].at[i][j] = Pack<P.vec>{};
        if (head + h < heads && Shape::holds(lane, i, j))
          b.row[h].at[i][j] = load<P.vec, Load::plain>(
              &stage.at[place][head + h][i][j][threadIdx.x]);
      }
}

// Everything between the loads and the stores of a batch.
template <HeadsFacts F, HeadsWarp P, class Args>
__device__ __forceinline__ void
finish_batch(HeadBatch<F, P> &b, const Args &a, const HeadsSite<F> &s,
             int head, int heads, HeadWeight<F, P> &w, HeadAngles<F, P> &t,
             i64 position, int lane, int &turn)
{
  float sum[P.inflight];

#pragma unroll
  for (int i = 0; i < P.inflight; ++i)
    sum[i] = F.norm ? square_sum<F, P>(b.row[i]) : 0.0f;
  if constexpr (F.norm && P.lanes > warp_size)
    sum_warp_pairs<P.warps>(sum, turn);
  else if constexpr (F.norm)
    sum_lanes<P.lanes>(sum);
  turn ^= 1;
#pragma unroll
  for (int i = 0; i < P.inflight; ++i) {
    const bool live = head + i < heads;
    float r = 1.0f;
    if constexpr (F.norm)
      r = inverse_root<F.io>(fmaf(sum[i], 1.0f / F.head_dim, a.eps));
    if constexpr (HeadsShape<F, P>::weighs && !P.keep_weight)
      load_weight<F, P>(w, s.weight, lane);
    if constexpr (HeadsShape<F, P>::turns && !P.keep_table)
      load_angles<F, P>(t, a, position, lane, live);
    if constexpr (F.norm) keep_packed<F, P>(b.row[i]);
    finish_row<F, P>(b.row[i], r, w, t, lane);
    char *out = F.inplace ? (char *)s.in : s.out;
    u32 pitch = F.inplace ? s.in_head : s.out_head;
    opaque(pitch); // or the addresses of all rows are kept from their loads
    store_row<F, P>(out + (head + i) * (u64)pitch, b.row[i], lane, live);
  }
}

// A token of the group: the heads of the chunk, batch after batch.
template <HeadsFacts F, HeadsWarp P, class Args, class LoadBatch>
__device__ __forceinline__ void
finish_token(HeadBatch<F, P> &batch, const Args &a, const HeadsSite<F> &s,
             int heads, HeadWeight<F, P> &weight, HeadAngles<F, P> &angles,
             i64 position, int lane, int &turn, LoadBatch load_next)
{
  finish_batch<F, P>(batch, a, s, 0, heads, weight, angles, position, lane,
                     turn);
#pragma unroll 1
  for (int head = P.inflight; head < P.heads; head += P.inflight) {
    load_next(head);
    finish_batch<F, P>(batch, a, s, head, heads, weight, angles, position,
                       lane, turn);
  }
}

// What the loop over tokens needs besides its state.
template <HeadsFacts F, HeadsWarp P, class Args> struct HeadsLook {
  using Shape = HeadsShape<F, P>;
  const Args &a;
  int lane, tokens;

  __device__ __forceinline__ int heads(const HeadsSite<F> &s, int steps) const
  {
    return s.token + steps * s.step < tokens ? s.heads : 0;
  }
  __device__ __forceinline__ i64 position(const HeadsSite<F> &s,
                                          int steps) const
  {
    if constexpr (Shape::turns)
      return position_of<F>(a, s.token + steps * s.step, heads(s, steps) > 0);
    else
      return 0;
  }
  __device__ __forceinline__ void table(HeadAngles<F, P> &to, i64 at,
                                        int heads) const
  {
    if constexpr (Shape::turns && P.keep_table)
      load_angles<F, P>(to, a, at, lane, heads > 0);
  }
};

template <HeadsFacts F>
__device__ __forceinline__ void go_on(HeadsSite<F> &s)
{
  s.token += s.step;
  s.first += s.step;
  s.in += s.in_step;
  if constexpr (!F.inplace) s.out += s.out_step;
}

// One token after another; of the next, its position at most is known.
template <HeadsFacts F, HeadsWarp P, class Args>
__device__ __forceinline__ void
walk(const HeadsLook<F, P, Args> &look, HeadsSite<F> &s,
     HeadWeight<F, P> &weight, i64 position)
{
  HeadBatch<F, P> batch;
  HeadAngles<F, P> angles;
  i64 next = 0;
  int turn = 0;

  do {
    const int heads = look.heads(s, 0);
    const auto load_rows = [&](int head) {
      load_batch<F, P>(batch, s, s.in, head, heads, look.lane);
    };

    if constexpr (P.ahead == 0) position = look.position(s, 0);
    load_rows(0);
    look.table(angles, position, heads);
    if constexpr (P.ahead == 1) next = look.position(s, 1);
    finish_token<F, P>(batch, look.a, s, heads, weight, angles, position,
                       look.lane, turn, load_rows);
    position = next;
    go_on(s);
  } while (P.persistent && s.first < look.tokens);
}

// The rows and the angles of the next token are on their way while this one is
// computed, in registers.
template <HeadsFacts F, HeadsWarp P, class Args>
__device__ __forceinline__ void
walk_ahead(const HeadsLook<F, P, Args> &look, HeadsSite<F> &s,
           HeadWeight<F, P> &weight, i64 position)
{
  HeadBatch<F, P> batch, next_batch;
  HeadAngles<F, P> angles, next_angles;
  i64 next;
  int turn = 0;

  load_batch<F, P>(batch, s, s.in, 0, look.heads(s, 0), look.lane);
  look.table(angles, position, look.heads(s, 0));
  next = look.position(s, 1);
  do {
    const int heads = look.heads(s, 0), more = look.heads(s, 1);

    load_batch<F, P>(next_batch, s, s.in + s.in_step, 0, more, look.lane);
    look.table(next_angles, next, more);
    const i64 after = look.position(s, 2);
    finish_token<F, P>(batch, look.a, s, heads, weight, angles, position,
                       look.lane, turn, [](int) {});
    batch = next_batch;
    angles = next_angles;
    position = next;
    next = after;
    go_on(s);
  } while (P.persistent && s.first < look.tokens);
}

// The same with the rows of several tokens, in shared memory.
template <HeadsFacts F, HeadsWarp P, class Args>
__device__ __forceinline__ void
walk_stages(const HeadsLook<F, P, Args> &look, HeadsSite<F> &s,
            HeadWeight<F, P> &weight, i64 position)
{
  constexpr int stages = HeadsShape<F, P>::stages;
  __shared__ HeadStage<F, P> stage;
  HeadBatch<F, P> batch;
  HeadAngles<F, P> angles, next_angles;
  i64 next;
  int turn = 0, place = 0;

#pragma unroll
  for (int i = 0; i < stages; ++i)
    fetch_rows<F, P>(stage, i, s, s.in + i * s.in_step, look.heads(s, i),
                     look.lane);
  look.table(angles, position, look.heads(s, 0));
  next = look.position(s, 1);
  do {
    const int heads = look.heads(s, 0);
    const int last = place == 0 ? stages : place - 1;
    const auto take_rows = [&](int head) {
      take_batch<F, P>(batch, stage, place, head, heads, look.lane);
    };

    fetch_rows<F, P>(stage, last, s, s.in + stages * s.in_step,
                     look.heads(s, stages), look.lane);
    look.table(next_angles, next, look.heads(s, 1));
    const i64 after = look.position(s, 2);
    wait_copies<stages>();
    take_rows(0);
    finish_token<F, P>(batch, look.a, s, heads, weight, angles, position,
                       look.lane, turn, take_rows);
    angles = next_angles;
    position = next;
    next = after;
    place = place == stages ? 0 : place + 1;
    go_on(s);
  } while (P.persistent && s.first < look.tokens);
}

template <HeadsFacts F, HeadsWarp P, class Args>
__device__ __forceinline__ void heads_warp(const Args &a)
{
  using Shape = HeadsShape<F, P>;
  const int lane = threadIdx.x % P.lanes;
  const HeadsLook<F, P, Args> look{a, lane, (int)a.tokens};
  HeadsSite<F> s = find_site<F, P>(a, lane);
  HeadWeight<F, P> weight;
  i64 position = 0;

  if (s.first >= look.tokens) return; // with all of its warp, or of its block
  if constexpr (P.ahead > 0) position = look.position(s, 0);
  if constexpr (Shape::weighs && P.keep_weight)
    load_weight<F, P>(weight, s.weight, lane);
  if constexpr (P.ahead < 2)
    walk<F, P>(look, s, weight, position);
  else if constexpr (P.ahead == 2)
    walk_ahead<F, P>(look, s, weight, position);
  else
    walk_stages<F, P>(look, s, weight, position);
}

} // namespace dt
