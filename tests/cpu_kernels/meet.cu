// Every call in which the lanes of a warp meet, with masks and distances that
// the test makes up; one warp, a group of lanes per mask.

struct Shuffle {
  const unsigned *mask; // per lane; the lanes of a mask all have that mask
  const void *in;       // per lane, 4 or 8 bytes
  const int *by;        // per lane: the lane, distance or bits
  void *out;
  int op, width;
};

template <class T>
__device__ T shuffle(const Shuffle &a, unsigned mask, T v, int by)
{
  if (a.op == 0) return __shfl_sync(mask, v, by, a.width);
  if (a.op == 1) return __shfl_up_sync(mask, v, by, a.width);
  if (a.op == 2) return __shfl_down_sync(mask, v, by, a.width);
  return __shfl_xor_sync(mask, v, by, a.width);
}

template <class T> __device__ void shuffle_all(const Shuffle &a)
{
  const int lane = threadIdx.x;
  ((T *)a.out)[lane] =
      shuffle(a, a.mask[lane], ((const T *)a.in)[lane], a.by[lane]);
}

extern "C" __global__ void shuffle_f32(const __grid_constant__ Shuffle a)
{
  shuffle_all<float>(a);
}
extern "C" __global__ void shuffle_i32(const __grid_constant__ Shuffle a)
{
  shuffle_all<int>(a);
}
extern "C" __global__ void shuffle_u64(const __grid_constant__ Shuffle a)
{
  shuffle_all<unsigned long long>(a);
}
extern "C" __global__ void shuffle_f64(const __grid_constant__ Shuffle a)
{
  shuffle_all<double>(a);
}
DT_EXPORT(shuffle_f32, Shuffle)
DT_EXPORT(shuffle_i32, Shuffle)
DT_EXPORT(shuffle_u64, Shuffle)
DT_EXPORT(shuffle_f64, Shuffle)

struct Vote {
  const unsigned *mask;
  const int *in;
  unsigned *ballot;
  int *any, *all;
};

extern "C" __global__ void vote(const __grid_constant__ Vote a)
{
  const int lane = threadIdx.x;
  a.ballot[lane] = __ballot_sync(a.mask[lane], a.in[lane]);
  a.any[lane] = __any_sync(a.mask[lane], a.in[lane]);
  __syncwarp(a.mask[lane]);
  a.all[lane] = __all_sync(a.mask[lane], a.in[lane]);
}
DT_EXPORT(vote, Vote)

// Half the warp meets three times on its own before all of it meets.
struct Diverge {
  int *out;
};

extern "C" __global__ void diverge(const __grid_constant__ Diverge a)
{
  int v = threadIdx.x;
  if (v < 16)
    for (int by = 1; by < 8; by *= 2) v += __shfl_xor_sync(0xffff, v, by);
  a.out[threadIdx.x] = __shfl_sync(0xffffffff, v, threadIdx.x ^ 31);
}
DT_EXPORT(diverge, Diverge)
