// y = x + gate * norm(h), gate or tanh(gate): everything but the io dtype and
// the rounding looked up at run time.
#pragma once
#include "variants/common/rows_generic.cuh"
#include "variants/norm_gate_residual/facts.cuh"

using NormGateResidualGeneric = dt::RowsGeneric;

template <NormGateResidualFacts F, NormGateResidualGeneric P>
__device__ __forceinline__ void
norm_gate_residual_generic(const NormGateResidualArgs &a)
{
  dt::rows_generic<F.io, F.rounding, P>(task_of(a));
}
