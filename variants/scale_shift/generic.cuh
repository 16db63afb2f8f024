// y = x * (1 + scale) + shift: everything but the io dtype and the rounding
// looked up at run time.
#pragma once
#include "variants/common/rows_generic.cuh"
#include "variants/scale_shift/facts.cuh"

using ScaleShiftGeneric = dt::RowsGeneric;

template <ScaleShiftFacts F, ScaleShiftGeneric P>
__device__ __forceinline__ void scale_shift_generic(const ScaleShiftArgs &a)
{
  dt::rows_generic<F.io, F.rounding, P>(task_of(a));
}
