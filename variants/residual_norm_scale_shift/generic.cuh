// r = residual + gate * x, which is an output, too; y = norm(r) * (1 + scale)
// + shift: everything but the io dtype and the rounding looked up at run time.
#pragma once
#include "variants/common/rows_generic.cuh"
#include "variants/residual_norm_scale_shift/facts.cuh"

using ResidualNormScaleShiftGeneric = dt::RowsGeneric;

template <ResidualNormScaleShiftFacts F, ResidualNormScaleShiftGeneric P>
__device__ __forceinline__ void
residual_norm_scale_shift_generic(const ResidualNormScaleShiftArgs &a)
{
  dt::rows_generic<F.io, F.rounding, P>(task_of(a));
}
