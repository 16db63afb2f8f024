// What both schemes of rope_table do for one pair of one token.
#pragma once
#include "variants/common/angles.cuh"
#include "variants/rope_table/facts.cuh"

namespace dt {

__device__ __forceinline__ float table_position(const RopeTableArgs &a,
                                                Positions type, i64 token)
{
  if (type == Positions::i64) return (float)((const i64 *)a.positions)[token];
  return (float)((const int *)a.positions)[token];
}

template <Rounding How>
__device__ __forceinline__ void write_angle(const RopeTableArgs &a, i64 at,
                                            float position, float frequency,
                                            float factor)
{
  const Angle x = angle_of<Dtype::fp32, How>(position, frequency, factor);

  ((float *)a.cos)[at] = x.cos;
  ((float *)a.sin)[at] = x.sin;
}

} // namespace dt
