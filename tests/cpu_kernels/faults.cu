// One fault each.  The test knows the lines of the calls by their #line marks.

struct Fault {
  const float *in;
  float *out;
  int n;
};

__device__ float warp_sum(float v)
{
  for (int by = 16; by; by /= 2) v += __shfl_xor_sync(0xffffffff, v, by);
  return v;
}

extern "C" __global__ void harmless(const __grid_constant__ Fault a)
{
  a.out[threadIdx.x] = warp_sum(a.in[threadIdx.x]);
}
DT_EXPORT(harmless, Fault)

// Warp 0 reads the parts before the others have written them.
extern "C" __global__ void no_barrier_before(const __grid_constant__ Fault a)
{
  __shared__ float part[32];
  const int warps = blockDim.x / 32, lane = threadIdx.x % 32;
  const float v = warp_sum(a.in[threadIdx.x]);
  if (lane == 0) part[threadIdx.x / 32] = v;
  if (threadIdx.x < 32) a.out[0] = warp_sum(lane < warps ? part[lane] : 0.0f);
}
DT_EXPORT(no_barrier_before, Fault)

// A thread overwrites what its neighbour has not read yet.
extern "C" __global__ void no_barrier_after(const __grid_constant__ Fault a)
{
  __shared__ float line[1024];
  const int i = threadIdx.x, n = blockDim.x;
  line[i] = a.in[i];
  __syncthreads();
  const float left = line[(i + n - 1) % n];
  line[i] = left;
  a.out[i] = left;
}
DT_EXPORT(no_barrier_after, Fault)

// Within a warp: lane 0 writes, the others read without __syncwarp().
extern "C" __global__ void no_syncwarp(const __grid_constant__ Fault a)
{
  __shared__ float word;
  if (threadIdx.x == 0) word = a.in[0];
  a.out[threadIdx.x] = word;
}
DT_EXPORT(no_syncwarp, Fault)

extern "C" __global__ void divergent_shuffle(const __grid_constant__ Fault a)
{
  float v = a.in[threadIdx.x];
  if (threadIdx.x % 32 < 7)
#line 40 "variants/x.cuh"
    v = __shfl_xor_sync(0xffffffff, v, 1);
#line 52 "variants/x.cuh"
  __syncthreads();
  a.out[threadIdx.x] = v;
}
DT_EXPORT(divergent_shuffle, Fault)

extern "C" __global__ void divergent_barrier(const __grid_constant__ Fault a)
{
  if (threadIdx.x < 40)
#line 60 "variants/x.cuh"
    __syncthreads();
  else
#line 62 "variants/x.cuh"
    __syncthreads();
}
DT_EXPORT(divergent_barrier, Fault)

extern "C" __global__ void
barrier_against_shuffle(const __grid_constant__ Fault a)
{
  if (threadIdx.x < 32)
#line 70 "variants/x.cuh"
    __syncthreads();
  else
#line 72 "variants/x.cuh"
    a.out[0] = __shfl_sync(threadIdx.x == 32 ? 0x3 : 0xffffffff, 1.0f, 0);
}
DT_EXPORT(barrier_against_shuffle, Fault)

extern "C" __global__ void exited_lane(const __grid_constant__ Fault a)
{
  if (threadIdx.x == 9) return;
#line 80 "variants/x.cuh"
  a.out[threadIdx.x] = __any_sync(0xffffffff, 1);
}
DT_EXPORT(exited_lane, Fault)

extern "C" __global__ void left_out(const __grid_constant__ Fault a)
{
#line 90 "variants/x.cuh"
  __syncwarp(threadIdx.x == 4 ? 0x1 : ~0x10);
}
DT_EXPORT(left_out, Fault)

extern "C" __global__ void short_warp(const __grid_constant__ Fault a)
{
#line 100 "variants/x.cuh"
  a.out[threadIdx.x] = __ballot_sync(0xffffffff, 1);
}
DT_EXPORT(short_warp, Fault)

extern "C" __global__ void overrun_read(const __grid_constant__ Fault a)
{
  a.out[threadIdx.x] = a.in[threadIdx.x + 1];
}
DT_EXPORT(overrun_read, Fault)

extern "C" __global__ void overrun_dynamic(const __grid_constant__ Fault a)
{
  DT_DYN_SMEM(float, line);
  line[threadIdx.x + a.n] = 1.0f;
}
DT_EXPORT(overrun_dynamic, Fault)

extern "C" __global__ void overrun_static(const __grid_constant__ Fault a)
{
  __shared__ float line[32];
  line[threadIdx.x + a.n] = 1.0f;
  a.out[0] = line[31];
}
DT_EXPORT(overrun_static, Fault)

extern "C" __global__ void misaligned_load(const __grid_constant__ Fault a)
{
#line 110 "variants/x.cuh"
  a.out[threadIdx.x] = __ldg((const float4 *)(a.in + 1)).x;
}
DT_EXPORT(misaligned_load, Fault)

extern "C" __global__ void misaligned_store(const __grid_constant__ Fault a)
{
#line 120 "variants/x.cuh"
  if (threadIdx.x == 5) __stcs((uint2 *)(a.out + 1), make_uint2(1, 2));
}
DT_EXPORT(misaligned_store, Fault)

extern "C" __global__ void misaligned(const __grid_constant__ Fault a)
{
  a.out[threadIdx.x] = ((const float4 *)(a.in + 1))->x;
}
DT_EXPORT(misaligned, Fault)

__device__ __noinline__ float dig(volatile float *from, int depth)
{
  volatile float local[256];
  local[depth % 256] = *from;
  return depth ? dig(local + depth % 256, depth - 1) + local[0] : *from;
}

extern "C" __global__ void deep_stack(const __grid_constant__ Fault a)
{
  float v = a.in[0];
  a.out[threadIdx.x] = dig(&v, 1 << 20);
}
DT_EXPORT(deep_stack, Fault)
