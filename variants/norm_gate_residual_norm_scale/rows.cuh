// r = x + gate * norm(h), gate or tanh(gate), which is an output, too; y =
// norm2(r) * (1 + scale) + shift, compiled for a problem. The tunables are
// explained in common/rows_shape.cuh.
#pragma once
#include "variants/common/rows.cuh"
#include "variants/norm_gate_residual_norm_scale/facts.cuh"

using NormGateResidualNormScaleRows = dt::RowsTuned;

template <NormGateResidualNormScaleFacts F, NormGateResidualNormScaleRows P>
__device__ __forceinline__ void
norm_gate_residual_norm_scale_rows(const NormGateResidualNormScaleArgs &a)
{
  constexpr dt::RowsFacts facts{
      .io = F.io,
      .hidden = F.hidden,
      .add = true,
      .two_outputs = true,
      .before = {true, F.norm, F.weight, F.bias},
      .after = {true, F.norm2, F.weight2, F.bias2},
      .scale = {F.scale, F.scale_dtype},
      .shift = {F.shift, F.shift_dtype},
      .gate = {F.gate, F.gate_dtype},
      .tanh = F.gate_tanh,
      .rounding = F.rounding,
      .inplace = F.inplace,
  };
  dt::rows<facts, P>(task_of(a));
}
