// A table of cosines and sines: a thread has one pair and some tokens, whose
// positions are all on the way before the first is used.
#pragma once
#include "variants/rope_table/table.cuh"

struct RopeTablePairs {
  int rounds = 4;    // tokens of a thread
  int warps = 4;     // per block
  int frequency = 0; // made from 0 pairs of floats, 1 exp2 in double
};

template <RopeTableFacts F, RopeTablePairs P>
__device__ __forceinline__ void rope_table_pairs(const RopeTableArgs &a)
{
  constexpr dt::u32 pairs = F.rope_dim / 2;
  const dt::Frequencies<dt::FrequencyBy(P.frequency)> frequencies(
      a.base, F.rope_dim, F.yarn, a.factor, a.low, a.high);
  const dt::u32 at = blockIdx.x * P.warps * dt::warp_size + threadIdx.x;
  const dt::u32 pair = at % pairs;
  const dt::i64 first = (dt::i64)(at / pairs) * P.rounds;
  float position[P.rounds];

  static_assert(F.rope_dim > 0, "a row has pairs");
#pragma unroll
  for (int i = 0; i < P.rounds; ++i)
    position[i] = first + i < a.tokens
                      ? dt::table_position(a, F.positions, first + i)
                      : 0.0f;
  const float frequency = frequencies.of(pair);
#pragma unroll
  for (int i = 0; i < P.rounds; ++i)
    if (first + i < a.tokens)
      dt::write_angle<F.rounding>(a, (first + i) * pairs + pair, position[i],
                                  frequency,
                                  F.yarn ? a.attention_factor : 1.0f);
}
