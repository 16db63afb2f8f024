// RMSNorm of each head row of q and k, then rotary embedding: a group of lanes
// per head row.  The tunables are explained in common/heads_shape.cuh.
#pragma once
#include "variants/common/heads.cuh"
#include "variants/qknorm_rope/facts.cuh"

using QkNormRopeWarp = HeadsWarp;

template <QkNormRopeFacts F, QkNormRopeWarp P>
__device__ __forceinline__ void qknorm_rope_warp(const QkNormRopeArgs &a)
{
  static_assert(F.rounding != dt::Rounding::norm,
                "rounded at each step, or at the store");
  constexpr dt::HeadsFacts facts{
      .norm = true,
      .rope = true,
      .io = F.io,
      .weight = F.io,
      .head_dim = F.head_dim,
      .rope_dim = F.rope_dim,
      .layout = F.layout,
      .positions = F.positions,
      .cache = F.cache,
      .cache_dtype = F.cache_dtype,
      .rounding = F.rounding,
      .segments = F.segments,
      .inplace = F.inplace,
  };
  dt::heads_warp<facts, P>(a);
}
