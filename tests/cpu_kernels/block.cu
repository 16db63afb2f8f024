// Blocks: reductions, barriers, shared memory, and where a thread is.

__device__ float warp_sum(float v)
{
#pragma unroll
  for (int by = 16; by; by /= 2) v += __shfl_xor_sync(0xffffffff, v, by);
  return v;
}

// The sum of a block's values in every thread.  The last stage is warp 0's
// alone, which a device whose warp calls are block-wide gets wrong.
__device__ float block_sum(float v, float *part)
{
  const int warps = blockDim.x / 32, lane = threadIdx.x % 32;
  v = warp_sum(v);
  if (lane == 0) part[threadIdx.x / 32] = v;
  __syncthreads();
  if (threadIdx.x < 32) {
    v = warp_sum(lane < warps ? part[lane] : 0.0f);
    if (lane == 0) part[0] = v;
  }
  __syncthreads();
  return part[0];
}

struct Rows {
  const float *in;
  float *out; // one value per thread
  int columns;
};

__device__ void sum_row(const Rows &a, float *part)
{
  float v = 0;
  for (int c = threadIdx.x; c < a.columns; c += blockDim.x)
    v += a.in[(long long)blockIdx.x * a.columns + c];
  a.out[blockIdx.x * blockDim.x + threadIdx.x] = block_sum(v, part);
}

extern "C" __global__ void __launch_bounds__(1024)
    sum_static(const __grid_constant__ Rows a)
{
  __shared__ float part[32];
  sum_row(a, part);
}
DT_EXPORT(sum_static, Rows)

extern "C" __global__ void __launch_bounds__(1024, 2)
    sum_dynamic(const __grid_constant__ Rows a)
{
  DT_DYN_SMEM(float, part);
  sum_row(a, part);
}
DT_EXPORT(sum_dynamic, Rows)

// Threads that return early are not waited for.
extern "C" __global__ void early(const __grid_constant__ Rows a)
{
  __shared__ float half[512];
  if (threadIdx.x >= blockDim.x / 2) return;
  half[threadIdx.x] = a.in[threadIdx.x];
  __syncthreads();
  a.out[threadIdx.x] = half[blockDim.x / 2 - 1 - threadIdx.x];
}
DT_EXPORT(early, Rows)

struct Words {
  unsigned *out;
};

extern "C" __global__ void place(const __grid_constant__ Words a)
{
  const unsigned block =
      (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  a.out[block * blockDim.x + threadIdx.x] = block * 1000 + threadIdx.x;
}
DT_EXPORT(place, Words)

// Reads shared memory before anything is written, and writes it afterwards.
template <int N>
__device__ void uninitialised(const Words &a, unsigned *dynamic)
{
  __shared__ unsigned fixed[N];
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  a.out[i] = fixed[threadIdx.x] & dynamic[threadIdx.x];
  fixed[threadIdx.x] = dynamic[threadIdx.x] = 0;
}
extern "C" __global__ void poisoned(const __grid_constant__ Words a)
{
  DT_DYN_SMEM(unsigned, dynamic);
  uninitialised<64>(a, dynamic);
}
DT_EXPORT(poisoned, Words)

struct Count {
  unsigned *u;
  int *i;
  float *f;
};

extern "C" __global__ void atomics(const __grid_constant__ Count a)
{
  atomicAdd(a.u, 2u);
  atomicAdd(a.i, -1);
  atomicAdd(a.f, 0.5f);
  atomicMax(a.u + 1, threadIdx.x);
  if (threadIdx.x == 5) a.i[1] = atomicExch(a.u + 2, 9u);
}
DT_EXPORT(atomics, Count)

// The n-th thread to come takes number n.
extern "C" __global__ void ticket(const __grid_constant__ Words a)
{
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  a.out[i + 1] = atomicAdd(a.out, 1u);
}
DT_EXPORT(ticket, Words)
