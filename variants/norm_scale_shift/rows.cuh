// y = norm(x) * (1 + scale) + shift, compiled for a problem. The tunables are
// explained in common/rows_shape.cuh.
#pragma once
#include "variants/common/rows.cuh"
#include "variants/norm_scale_shift/facts.cuh"

using NormScaleShiftRows = dt::RowsTuned;

template <NormScaleShiftFacts F, NormScaleShiftRows P>
__device__ __forceinline__ void
norm_scale_shift_rows(const NormScaleShiftArgs &a)
{
  constexpr dt::RowsFacts facts{
      .io = F.io,
      .hidden = F.hidden,
      .after = {true, F.norm, F.weight, F.bias},
      .scale = {F.scale, F.scale_dtype},
      .shift = {F.shift, F.shift_dtype},
      .rounding = F.rounding,
      .inplace = F.inplace,
  };
  dt::rows<facts, P>(task_of(a));
}
