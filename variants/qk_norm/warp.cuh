// RMSNorm of each head row of q and k: a group of lanes per head row.  The
// tunables are explained in common/heads_shape.cuh.
#pragma once
#include "variants/common/heads.cuh"
#include "variants/qk_norm/facts.cuh"

using QkNormWarp = HeadsWarp;

template <QkNormFacts F, QkNormWarp P>
__device__ __forceinline__ void qk_norm_warp(const QkNormArgs &a)
{
  static_assert(F.rounding != dt::Rounding::norm,
                "rounded at each step, or at the store");
  constexpr dt::HeadsFacts facts{
      .norm = true,
      .rope = false,
      .io = F.io,
      .weight = F.weight,
      .head_dim = F.head_dim,
      .rope_dim = 0,
      .rounding = F.rounding,
      .segments = F.segments,
      .inplace = F.inplace,
  };
  dt::heads_warp<facts, P>(a);
}
