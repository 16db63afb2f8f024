// Vectors of 4, 8 and 16 bytes: load and store with a cache policy.
#pragma once
#include "variants/common/number.cuh"

namespace dt {

// How a load treats the caches.  `once` keeps the line out of L1; `constant`
// may use the read-only path, so nothing may write there during the kernel.
enum class Load { plain, stream, once, constant };
enum class Store { plain, stream };

template <int Bytes> struct Word;
template <> struct Word<2> { using type = u16; };
template <> struct Word<4> { using type = u32; };
template <> struct Word<8> { using type = uint2; };
template <> struct Word<16> { using type = uint4; };

__device__ __forceinline__ void words_of(u16 v, u32 *w) { w[0] = v; }
__device__ __forceinline__ void words_of(u32 v, u32 *w) { w[0] = v; }
__device__ __forceinline__ void words_of(uint2 v, u32 *w)
{
  w[0] = v.x, w[1] = v.y;
}
__device__ __forceinline__ void words_of(uint4 v, u32 *w)
{
  w[0] = v.x, w[1] = v.y, w[2] = v.z, w[3] = v.w;
}

__device__ __forceinline__ void of_words(u32 &v, const u32 *w) { v = w[0]; }
__device__ __forceinline__ void of_words(uint2 &v, const u32 *w)
{
  v.x = w[0], v.y = w[1];
}
__device__ __forceinline__ void of_words(uint4 &v, const u32 *w)
{
  v.x = w[0], v.y = w[1], v.z = w[2], v.w = w[3];
}

#ifdef DT_CPU
template <class T> __device__ __forceinline__ T load_once(const T *p)
{
  return *p;
}
#else
__device__ __forceinline__ u32 load_once(const u32 *p)
{
  u32 v;
  asm volatile("ld.global.L1::no_allocate.u32 %0, [%1];" : "=r"(v) : "l"(p));
  return v;
}
__device__ __forceinline__ uint2 load_once(const uint2 *p)
{
  uint2 v;
  asm volatile("ld.global.L1::no_allocate.v2.u32 {%0, %1}, [%2];"
               : "=r"(v.x), "=r"(v.y)
               : "l"(p));
  return v;
}
__device__ __forceinline__ uint4 load_once(const uint4 *p)
{
  uint4 v;
  asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p));
  return v;
}
#endif

template <Load How, class T> __device__ __forceinline__ T load_as(const T *p)
{
  if constexpr (How == Load::stream)
    return __ldcs(p);
  else if constexpr (How == Load::once)
    return load_once(p);
  else if constexpr (How == Load::constant)
    return __ldg(p);
  else
    return *p;
}

// One vector, as it lies in memory.
template <int Bytes> struct Pack {
  u32 word[Bytes / 4];
};

template <int Bytes, Load How>
__device__ __forceinline__ Pack<Bytes> load(const void *p)
{
  using T = typename Word<Bytes>::type;
  Pack<Bytes> pack;
  words_of(load_as<How>((const T *)p), pack.word);
  return pack;
}

template <int Bytes, Store How>
__device__ __forceinline__ void store(void *p, const Pack<Bytes> &pack)
{
  using T = typename Word<Bytes>::type;
  T v;
  of_words(v, pack.word);
  if constexpr (How == Store::stream)
    __stcs((T *)p, v);
  else
    *(T *)p = v;
}

// Count values of T kept packed: a piece of a weight or of a cos/sin row.
// `Align` is what the address is sure to be a multiple of, in bytes.
template <Dtype T, int Count> struct Span {
  static constexpr int bytes = Count * bytes_of(T);
  u32 word[bytes < 4 ? 1 : bytes / 4];
  __device__ __forceinline__ float operator[](int i) const
  {
    return get<T>(word, i);
  }
};

template <Dtype T, int Count, int Align, Load How>
__device__ __forceinline__ void load_span(Span<T, Count> &span, const void *p)
{
  constexpr int step = least(least(Align, 16), Span<T, Count>::bytes);
  using W = typename Word<step>::type;
  static_assert(step >= 4 || Span<T, Count>::bytes == step,
                "pieces of a span are whole words");
#pragma unroll
  for (int at = 0; at < Span<T, Count>::bytes; at += step)
    words_of(load_as<How>((const W *)((const char *)p + at)),
             span.word + at / 4);
}

// Copies of one vector from global to shared memory that go on in the
// background, in groups: wait_copies<N> waits for all groups but the last N of
// this thread.  Other threads do not see the copies without a barrier.
#ifdef DT_CPU
template <int Bytes>
__device__ __forceinline__ void copy_ahead(void *shared, const void *global)
{
  using T = typename Word<Bytes>::type;
  *(T *)shared = *(const T *)global;
}
__device__ __forceinline__ void close_copies() {}
template <int Groups> __device__ __forceinline__ void wait_copies() {}
#else
template <int Bytes>
__device__ __forceinline__ void copy_ahead(void *shared, const void *global)
{
  u64 to;
  asm("cvta.to.shared.u64 %0, %1;" : "=l"(to) : "l"(shared));
  if constexpr (Bytes == 16) // past L1
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;"
                 :: "r"((u32)to), "l"(global) : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2;"
                 :: "r"((u32)to), "l"(global), "n"(Bytes) : "memory");
}
__device__ __forceinline__ void close_copies()
{
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int Groups> __device__ __forceinline__ void wait_copies()
{
  asm volatile("cp.async.wait_group %0;" :: "n"(Groups) : "memory");
}
#endif

// Makes the compiler forget what it knows of a register.
__device__ __forceinline__ void opaque(u32 &word)
{
#ifndef DT_CPU
  asm volatile("" : "+r"(word));
#endif
}

} // namespace dt
