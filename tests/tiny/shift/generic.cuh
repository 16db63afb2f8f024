#pragma once
#include "variants/shift/facts.cuh"

template <TinyFacts F, TinyTune P>
__device__ __forceinline__ void shift_generic(const ShiftArgs &a)
{
  each<P.vec>(a.x, a.out, a.x_stride, a.out_stride, a.rows, a.width,
              [&](float v) { return v + a.amount; });
}
