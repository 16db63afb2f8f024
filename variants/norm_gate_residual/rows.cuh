// y = x + gate * norm(h), gate or tanh(gate), compiled for a problem. The
// tunables are explained in common/rows_shape.cuh.
#pragma once
#include "variants/common/rows.cuh"
#include "variants/norm_gate_residual/facts.cuh"

using NormGateResidualRows = dt::RowsTuned;

template <NormGateResidualFacts F, NormGateResidualRows P>
__device__ __forceinline__ void
norm_gate_residual_rows(const NormGateResidualArgs &a)
{
  constexpr dt::RowsFacts facts{
      .io = F.io,
      .hidden = F.hidden,
      .add = true,
      .before = {true, F.norm, F.weight, F.bias},
      .gate = {F.gate, F.gate_dtype},
      .tanh = F.gate_tanh,
      .rounding = F.rounding,
      .inplace = F.inplace,
  };
  dt::rows<facts, P>(task_of(a));
}
