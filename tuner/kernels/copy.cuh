// The copy ceiling: what no kernel with the same traffic can beat.
#ifndef DT_EXPORT
#define DT_EXPORT(name, args)
#endif

// In place, 16 bytes at a time.  One vector a thread is the fastest way to move
// many bytes on an H200, four the fastest for few (docs/results/), so there are
// three, and bench.c takes the best for each problem.
struct CopyArgs {
  uint4 *data;
  long long vectors;
};

template <int Each> __device__ inline void copy_in_place(const CopyArgs &a)
{
  const long long first = (long long)blockIdx.x * blockDim.x * Each + threadIdx.x;
  uint4 v[Each];
#pragma unroll
  for (int i = 0; i < Each; ++i)
    if (first + i * blockDim.x < a.vectors) v[i] = a.data[first + i * blockDim.x];
#pragma unroll
  for (int i = 0; i < Each; ++i)
    if (first + i * blockDim.x < a.vectors) {
      v[i].x ^= 1; // a store the compiler cannot leave out
      a.data[first + i * blockDim.x] = v[i];
    }
}

extern "C" __global__ void __launch_bounds__(256) dt_copy1(const __grid_constant__ CopyArgs a)
{
  copy_in_place<1>(a);
}
DT_EXPORT(dt_copy1, CopyArgs)
extern "C" __global__ void __launch_bounds__(256) dt_copy2(const __grid_constant__ CopyArgs a)
{
  copy_in_place<2>(a);
}
DT_EXPORT(dt_copy2, CopyArgs)
extern "C" __global__ void __launch_bounds__(256) dt_copy4(const __grid_constant__ CopyArgs a)
{
  copy_in_place<4>(a);
}
DT_EXPORT(dt_copy4, CopyArgs)
