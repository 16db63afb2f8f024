// Who am I: the heads and tokens of a lane group.
#pragma once
#include "variants/common/heads_shape.cuh"

namespace dt {

// Where the chunk is in one segment's tensor.
struct HeadsSegment {
  const char *base; // this lane's first vector of the first head, at row 0
  i64 row;          // bytes to the next token
  u32 head;         // and to the next head
  const void *weight;
};

// A token's rows of the chunk.
struct HeadsRows {
  const char *in; // of the first head
  u32 head;       // bytes to the next
};

// Where a lane group works.
template <HeadsFacts F> struct HeadsSite {
  const char *in;         // this lane's first vector of the chunk's first
  char *out;              // head, at `token`
  i64 in_step, out_step;  // bytes to the group's next token
  u32 in_head, out_head;  // bytes to the next head
  const void *weight;     // of the token's segment
  HeadsSegment text, image; // where segments are two: instead of `in`
  int text_tokens;          // rows before these are text
  int heads;              // of this chunk; 0: the group has no work
  int token, step; // schemes ask for tokens <= 2^30, so 32 bits are enough
  int first; // the first token of the warp (of the block where lanes are 64):
             // all of it goes on while this is in range
};

// The rows of the group's token `steps` steps on.
template <HeadsFacts F>
__device__ __forceinline__ HeadsRows rows_at(const HeadsSite<F> &s, int steps)
{
  if constexpr (F.segments == 1) {
    return {s.in + steps * s.in_step, s.in_head};
  } else {
    const int token = s.token + steps * s.step;
    const bool text = token < s.text_tokens;
    const HeadsSegment &from = text ? s.text : s.image;
    const i64 row = text ? token : token - s.text_tokens;
    return {from.base + row * from.row, from.head};
  }
}

template <HeadsFacts F, HeadsWarp P>
__device__ __forceinline__ HeadsSegment
take_segment(const void *base, i64 token_stride, i64 head_stride, int head,
             const void *weight, int lane)
{
  return {(const char *)base + head * head_stride * bytes_of(F.io) +
              lane * P.vec,
          token_stride * bytes_of(F.io), (u32)(head_stride * bytes_of(F.io)),
          weight};
}

template <HeadsFacts F, HeadsWarp P, class Args>
__device__ __forceinline__ void take_segments(HeadsSite<F> &s, const Args &a,
                                              bool q, int head, int lane)
{
  s.text_tokens = (int)a.text_tokens;
  s.image = take_segment<F, P>(q ? a.q : a.k,
                               q ? a.q_token_stride : a.k_token_stride,
                               q ? a.q_head_stride : a.k_head_stride, head,
                               q ? a.q_weight : a.k_weight, lane);
  s.text = take_segment<F, P>(
      q ? a.text_q : a.text_k,
      q ? a.text_q_token_stride : a.text_k_token_stride,
      q ? a.text_q_head_stride : a.text_k_head_stride, head,
      q ? a.text_q_weight : a.text_k_weight, lane);
  s.weight = s.token < s.text_tokens ? s.text.weight : s.image.weight;
}

template <HeadsFacts F, HeadsWarp P, class Args>
__device__ __forceinline__ void take_chunk(HeadsSite<F> &s, const Args &a,
                                           int chunk, int q_chunks, int lane)
{
  const bool q = chunk < q_chunks;
  const int head = (q ? chunk : chunk - q_chunks) * P.heads;
  const int left = (q ? a.q_heads : a.kv_heads) - head;

  s.heads = left < P.heads ? left : P.heads;
  if constexpr (F.segments == 2) {
    take_segments<F, P>(s, a, q, head, lane);
  } else {
    const i64 token_bytes =
        (q ? a.q_token_stride : a.k_token_stride) * bytes_of(F.io);
    const i64 head_bytes =
        (q ? a.q_head_stride : a.k_head_stride) * bytes_of(F.io);
    s.in = (const char *)(q ? a.q : a.k) + s.token * token_bytes +
           head * head_bytes + lane * P.vec;
    s.in_step = s.step * token_bytes;
    s.in_head = (u32)head_bytes;
  }
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
  if constexpr (F.norm && F.weight != Dtype::none && F.segments == 1)
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

} // namespace dt
