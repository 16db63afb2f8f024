// y = x + gate * h, gate or tanh(gate): everything but the io dtype and the
// rounding looked up at run time.
#pragma once
#include "variants/common/rows_generic.cuh"
#include "variants/gate_residual/facts.cuh"

using GateResidualGeneric = dt::RowsGeneric;

template <GateResidualFacts F, GateResidualGeneric P>
__device__ __forceinline__ void gate_residual_generic(const GateResidualArgs &a)
{
  dt::rows_generic<F.io, F.rounding, P>(task_of(a));
}
