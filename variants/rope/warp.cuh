// Rotary embedding of the heads of q and k: a group of lanes per head row.
// The tunables are explained in common/heads_shape.cuh.
#pragma once
#include "variants/common/heads.cuh"
#include "variants/rope/facts.cuh"

using RopeWarp = HeadsWarp;

template <RopeFacts F, RopeWarp P>
__device__ __forceinline__ void rope_warp(const RopeArgs &a)
{
  static_assert(F.rounding != dt::Rounding::norm,
                "rounded at each step, or at the store");
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
      .table = F.table,
      .cache_dtype = F.cache_dtype,
      .rounding = F.rounding,
      .inplace = F.inplace,
  };
  dt::heads_warp<facts, P>(a);
}
