#pragma once
#include "variants/scale/facts.cuh"

template <TinyFacts F, TinyTune P>
__device__ __forceinline__ void scale_fast(const ScaleArgs &a)
{
  const float factor = a.factor * (float)((int)F.mode + 1);
  each<P.vec>(a.x, a.out, a.x_stride, a.out_stride, a.rows, F.width,
              [&](float v) { return v * factor; });
}
