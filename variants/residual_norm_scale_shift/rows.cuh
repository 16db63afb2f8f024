// r = residual + gate * x, which is an output, too; y = norm(r) * (1 + scale)
// + shift, compiled for a problem. The tunables are explained in
// common/rows_shape.cuh.
#pragma once
#include "variants/common/rows.cuh"
#include "variants/residual_norm_scale_shift/facts.cuh"

using ResidualNormScaleShiftRows = dt::RowsTuned;

template <ResidualNormScaleShiftFacts F, ResidualNormScaleShiftRows P>
__device__ __forceinline__ void
residual_norm_scale_shift_rows(const ResidualNormScaleShiftArgs &a)
{
  constexpr dt::RowsFacts facts{
      .io = F.io,
      .hidden = F.hidden,
      .add = true,
      .two_outputs = true,
      .after = {true, F.norm, F.weight, F.bias},
      .scale = {F.scale, F.scale_dtype},
      .shift = {F.shift, F.shift_dtype},
      .gate = {F.gate, F.gate_dtype},
      .rounding = F.rounding,
      .inplace = F.inplace,
  };
  dt::rows<facts, P>(task_of(a));
}
