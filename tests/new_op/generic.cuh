// Doubles rows, one block per row.
#pragma once
#include "variants/twice/facts.cuh"

struct TwiceGeneric {
  int threads = 64; // per block
};

template <TwiceFacts F, TwiceGeneric P>
__device__ void twice_generic(const TwiceArgs &a)
{
  const dt::i64 row = blockIdx.x;
  for (int i = threadIdx.x; i < a.width; i += P.threads)
    dt::write_one<F.io>(a.y, row * a.y_stride + i,
                        2.0f * dt::read_one<F.io>(a.x, row * a.x_stride + i));
}
