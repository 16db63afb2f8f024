// A table of cosines and sines: a thread has one pair and goes from token to
// token, so that it makes the pair's frequency once.  Everything but the
// rounding is looked up at run time.
#pragma once
#include "variants/rope_table/table.cuh"

struct RopeTableGeneric {
  int warps = 4; // per block
};

template <RopeTableFacts F, RopeTableGeneric P>
__device__ __forceinline__ void rope_table_generic(const RopeTableArgs &a)
{
  const dt::Frequencies<dt::FrequencyBy::twins> frequencies(
      a.base, a.rope_dim, a.yarn != 0, a.factor, a.low, a.high);
  const dt::u32 pairs = a.rope_dim / 2;
  const dt::u32 threads = gridDim.x * P.warps * dt::warp_size;
  const dt::u32 at = blockIdx.x * P.warps * dt::warp_size + threadIdx.x;
  const dt::u32 step = threads / pairs; // tokens that all threads do at once
  const dt::u32 pair = at % pairs;
  const float frequency = frequencies.of(pair);
  const float factor = a.yarn ? a.attention_factor : 1.0f;

  if (at / pairs >= step) return;
  for (dt::i64 token = at / pairs; token < a.tokens; token += step)
    dt::write_angle<F.rounding>(
        a, token * pairs + pair,
        dt::table_position(a, (dt::Positions)a.position_type, token), frequency,
        factor);
}
