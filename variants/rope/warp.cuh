// Rotary embedding of the heads of q and k: a group of lanes per head row.
// The tunables are explained in common/heads_shape.cuh.
#pragma once
#include "variants/common/heads.cuh"
#include "variants/rope/facts.cuh"

using RopeWarp = HeadsWarp;

template <RopeFacts F, RopeWarp P>
__device__ __forceinline__ void rope_warp(const RopeArgs &a)
{
  static_assert(F.rounding == dt::Rounding::once, "one rounding, at the store");
  constexpr dt::HeadsFacts facts{
      .norm = false,
      .rope = true,
      .io = F.io,
      .weight = dt::Dtype::none,
      .head_dim = F.head_dim,
      .rope_dim = F.rope_dim,
      .layout = F.layout,
      .positions = F.positions,
      .cache = F.cache,
      .cache_dtype = F.cache_dtype,
      .inplace = F.inplace,
  };
  dt::heads_warp<facts, P>(a);
}
