// y = norm(x), LayerNorm or RMSNorm of each row: everything but the io dtype
// and the rounding looked up at run time.
#pragma once
#include "variants/common/rows_generic.cuh"
#include "variants/norm/facts.cuh"

using NormGeneric = dt::RowsGeneric;

template <NormFacts F, NormGeneric P>
__device__ __forceinline__ void norm_generic(const NormArgs &a)
{
  dt::rows_generic<F.io, F.rounding, P>(task_of(a));
}
