// RMSNorm and rotary embedding of the heads of q and k, a group of lanes per
// head row: the body of the `warp` schemes of qknorm_rope, qk_norm and rope.
//
// A lane group has a fixed chunk of heads, all of q or all of k, so that
// weights can stay in its registers, and takes one token after another.  All
// loads of a batch of rows are issued before the first is used; cos and sin
// are read once for all heads of a token.
#pragma once
#include "variants/common/heads_row.cuh"
#include "variants/common/heads_site.cuh"

namespace dt {

// The rows that are in flight together.
template <HeadsFacts F, HeadsWarp P> struct HeadBatch {
  HeadRow<F, P> row[P.inflight];
};

template <HeadsFacts F, HeadsWarp P>
__device__ __forceinline__ void load_batch(HeadBatch<F, P> &b,
                                           const HeadsRows &from, int head,
                                           int heads, int lane)
{
#pragma unroll
  for (int i = 0; i < P.inflight; ++i)
    load_row<F, P>(b.row[i], from.in + (head + i) * (u64)from.head, lane,
                   head + i < heads);
}

// Rows of tokens ahead, in shared memory.  A thread reads only what it copied
// itself, so there is no barrier: it waits for its own copies.
template <HeadsFacts F, HeadsWarp P> struct HeadStage {
  using Shape = HeadsShape<F, P>;
  static constexpr int threads = P.warps * warp_size;
  static constexpr int ring = Shape::stages + 1; // and the token in hand
  typename Word<P.vec>::type
      at[ring][P.heads][Shape::slots][Shape::twins][threads];
};

// Every call makes one group of copies, also where there is nothing to copy:
// the waits count groups.
template <HeadsFacts F, HeadsWarp P>
__device__ __forceinline__ void
fetch_rows(HeadStage<F, P> &stage, int place, const HeadsRows &from, int heads,
           int lane)
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
                            from.in + h * (u64)from.head +
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
  using Scale = Real<F.io, F.rounding>;
  Scale sum[P.inflight];

#pragma unroll
  for (int i = 0; i < P.inflight; ++i)
    sum[i] = F.norm ? square_sum<F, P>(b.row[i]) : 0;
  if constexpr (F.norm && P.lanes > warp_size)
    sum_warp_pairs<P.warps>(sum, turn);
  else if constexpr (F.norm)
    sum_lanes<P.lanes>(sum);
  turn ^= 1;
#pragma unroll
  for (int i = 0; i < P.inflight; ++i) {
    const bool live = head + i < heads;
    Scale r = 1;
    if constexpr (F.norm)
      r = row_scale<F.io, F.rounding>(sum[i], F.head_dim, a.eps);
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
  if constexpr (F.segments == 1) s.in += s.in_step;
  if constexpr (!F.inplace) s.out += s.out_step;
}

// Text has weights of its own: a group on its way from text to image takes the
// others.
template <HeadsFacts F, HeadsWarp P>
__device__ __forceinline__ void follow_weight(HeadWeight<F, P> &w,
                                              HeadsSite<F> &s, int lane)
{
  if constexpr (F.segments == 2 && HeadsShape<F, P>::weighs) {
    const void *now =
        s.token < s.text_tokens ? s.text.weight : s.image.weight;
    if (now == s.weight) return;
    s.weight = now;
    if constexpr (P.keep_weight) load_weight<F, P>(w, now, lane);
  }
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
      load_batch<F, P>(batch, rows_at(s, 0), head, heads, look.lane);
    };

    if constexpr (P.ahead == 0) position = look.position(s, 0);
    load_rows(0);
    look.table(angles, position, heads);
    if constexpr (P.ahead == 1) next = look.position(s, 1);
    follow_weight<F, P>(weight, s, look.lane);
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

  load_batch<F, P>(batch, rows_at(s, 0), 0, look.heads(s, 0), look.lane);
  look.table(angles, position, look.heads(s, 0));
  next = look.position(s, 1);
  do {
    const int heads = look.heads(s, 0), more = look.heads(s, 1);

    load_batch<F, P>(next_batch, rows_at(s, 1), 0, more, look.lane);
    look.table(next_angles, next, more);
    const i64 after = look.position(s, 2);
    follow_weight<F, P>(weight, s, look.lane);
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
    fetch_rows<F, P>(stage, i, rows_at(s, i), look.heads(s, i), look.lane);
  look.table(angles, position, look.heads(s, 0));
  next = look.position(s, 1);
  do {
    const int heads = look.heads(s, 0);
    const int last = place == 0 ? stages : place - 1;
    const auto take_rows = [&](int head) {
      take_batch<F, P>(batch, stage, place, head, heads, look.lane);
    };

    fetch_rows<F, P>(stage, last, rows_at(s, stages), look.heads(s, stages),
                     look.lane);
    look.table(next_angles, next, look.heads(s, 1));
    const i64 after = look.position(s, 2);
    follow_weight<F, P>(weight, s, look.lane);
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
