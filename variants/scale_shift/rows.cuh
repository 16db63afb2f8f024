// y = x * (1 + scale) + shift, compiled for a problem. The tunables are
// explained in common/rows_shape.cuh.
#pragma once
#include "variants/common/rows.cuh"
#include "variants/scale_shift/facts.cuh"

using ScaleShiftRows = dt::RowsTuned;

template <ScaleShiftFacts F, ScaleShiftRows P>
__device__ __forceinline__ void scale_shift_rows(const ScaleShiftArgs &a)
{
  constexpr dt::RowsFacts facts{
      .io = F.io,
      .hidden = F.hidden,
      .scale = {F.scale, F.scale_dtype},
      .shift = {F.shift, F.shift_dtype},
      .rounding = F.rounding,
      .inplace = F.inplace,
  };
  dt::rows<facts, P>(task_of(a));
}
