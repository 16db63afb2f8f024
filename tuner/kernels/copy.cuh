// The copy ceiling: what no kernel with the same traffic can beat.
#ifndef DT_EXPORT
#define DT_EXPORT(name, args)
#endif

// In place, 16 bytes a thread, one vector a thread: the fastest way to move bytes
// on an H200 (docs/results/).
struct CopyArgs {
    uint4* data;
    long long vectors;
};

extern "C" __global__ void __launch_bounds__(256) dt_copy(const __grid_constant__ CopyArgs a)
{
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= a.vectors) return;
    uint4 v = a.data[i];
    v.x ^= 1; // a store the compiler cannot leave out
    a.data[i] = v;
}
DT_EXPORT(dt_copy, CopyArgs)
