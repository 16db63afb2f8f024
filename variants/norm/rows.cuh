// y = norm(x), LayerNorm or RMSNorm of each row, compiled for a problem. The
// tunables are explained in common/rows_shape.cuh.
#pragma once
#include "variants/common/rows.cuh"
#include "variants/norm/facts.cuh"

using NormRows = dt::RowsTuned;

template <NormFacts F, NormRows P>
__device__ __forceinline__ void norm_rows(const NormArgs &a)
{
  constexpr dt::RowsFacts facts{
      .io = F.io,
      .hidden = F.hidden,
      .after = {true, F.norm, F.weight, F.bias},
      .rounding = F.rounding,
      .inplace = F.inplace,
  };
  dt::rows<facts, P>(task_of(a));
}
