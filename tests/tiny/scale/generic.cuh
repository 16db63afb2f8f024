#pragma once
#include "variants/scale/facts.cuh"

template <TinyFacts F, TinyTune P>
__device__ __forceinline__ void scale_generic(const ScaleArgs &a)
{
  const float factor = a.factor * (float)(a.mode + 1);
  each<P.vec>(a.x, a.out, a.x_stride, a.out_stride, a.rows, a.width,
              [&](float v) { return v * factor; });
}
