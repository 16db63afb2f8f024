// y = norm(x) * (1 + scale) + shift: everything but the io dtype and the
// rounding looked up at run time.
#pragma once
#include "variants/common/rows_generic.cuh"
#include "variants/norm_scale_shift/facts.cuh"

using NormScaleShiftGeneric = dt::RowsGeneric;

template <NormScaleShiftFacts F, NormScaleShiftGeneric P>
__device__ __forceinline__ void
norm_scale_shift_generic(const NormScaleShiftArgs &a)
{
  dt::rows_generic<F.io, F.rounding, P>(task_of(a));
}
