// r = x + gate * norm(h), gate or tanh(gate), which is an output, too; y =
// norm2(r) * (1 + scale) + shift: everything but the io dtype and the rounding
// looked up at run time.
#pragma once
#include "variants/common/rows_generic.cuh"
#include "variants/norm_gate_residual_norm_scale/facts.cuh"

using NormGateResidualNormScaleGeneric = dt::RowsGeneric;

template <NormGateResidualNormScaleFacts F, NormGateResidualNormScaleGeneric P>
__device__ __forceinline__ void
norm_gate_residual_norm_scale_generic(const NormGateResidualNormScaleArgs &a)
{
  dt::rows_generic<F.io, F.rounding, P>(task_of(a));
}
