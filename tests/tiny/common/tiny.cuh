// The specs of tests/: three ops small enough to be checked in the head.
#pragma once

#ifndef DT_EXPORT
#define DT_EXPORT(name, args)
#endif

namespace dt {
enum class Dtype { none = 0, fp32 = 1, fp16 = 2, bf16 = 3 };
enum class Mode { once, twice };
} // namespace dt

struct TinyFacts {
  dt::Dtype io = dt::Dtype::fp32;
  int width = 0;
  dt::Mode mode = dt::Mode::once;
};

struct TinyTune {
  int threads = 32; // of a block
  int vec = 1;      // elements that a thread does in a row
};

// Calls f(out, x) for each element that is this thread's.
template <int Vec, class F>
__device__ __forceinline__ void each(const float *x, float *out,
                                     long long x_stride, long long out_stride,
                                     long long rows, int width, F f)
{
  const long long step = (long long)gridDim.x * blockDim.x * Vec;
  const long long first = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  for (long long i = first * Vec; i < rows * width; i += step)
    for (long long j = i; j < i + Vec && j < rows * width; ++j) {
      const long long row = j / width, column = j % width;
      out[row * out_stride + column] = f(x[row * x_stride + column]);
    }
}
