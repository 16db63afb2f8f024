// y = x + gate * h, gate or tanh(gate), compiled for a problem. The tunables
// are explained in common/rows_shape.cuh.
#pragma once
#include "variants/common/rows.cuh"
#include "variants/gate_residual/facts.cuh"

using GateResidualRows = dt::RowsTuned;

template <GateResidualFacts F, GateResidualRows P>
__device__ __forceinline__ void gate_residual_rows(const GateResidualArgs &a)
{
  constexpr dt::RowsFacts facts{
      .io = F.io,
      .hidden = F.hidden,
      .add = true,
      .gate = {F.gate, F.gate_dtype},
      .tanh = F.gate_tanh,
      .rounding = F.rounding,
      .inplace = F.inplace,
  };
  dt::rows<facts, P>(task_of(a));
}
