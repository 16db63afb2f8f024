// 16-bit numbers without their headers: to fp32 exactly, from fp32 rounded to
// nearest even; a NaN stays a NaN.
#pragma once
#include "variants/common/device.cuh"

namespace dt {

#ifdef DT_CPU
__device__ __forceinline__ float half_to_float(u16 h)
{
  return dt_cpu_f16_to_f32(h);
}
__device__ __forceinline__ u32 floats_to_halves(float low, float high)
{
  return (u32)dt_cpu_f32_to_f16(low) | (u32)dt_cpu_f32_to_f16(high) << 16;
}
__device__ __forceinline__ u32 floats_to_bfloats(float low, float high)
{
  return (u32)dt_cpu_f32_to_bf16(low) | (u32)dt_cpu_f32_to_bf16(high) << 16;
}
#else
__device__ __forceinline__ float half_to_float(u16 h)
{
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
  return f;
}
// The second source of these two instructions goes to the low half.
__device__ __forceinline__ u32 floats_to_halves(float low, float high)
{
  u32 w;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(w) : "f"(high), "f"(low));
  return w;
}
__device__ __forceinline__ u32 floats_to_bfloats(float low, float high)
{
  u32 w;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(w) : "f"(high), "f"(low));
  return w;
}
#endif

// Value `i` of an array of T that is kept in 32-bit words.
template <Dtype T> __device__ __forceinline__ float get(const u32 *word, int i)
{
  if constexpr (T == Dtype::fp32)
    return __uint_as_float(word[i]);
  else if constexpr (T == Dtype::fp16)
    return half_to_float((u16)(word[i / 2] >> (i % 2 * 16)));
  else // a bf16 is the upper half of its fp32
    return __uint_as_float(i % 2 ? word[i / 2] & 0xffff0000u
                                 : word[i / 2] << 16);
}

// Packs Count floats as T into words; Count is even for 16-bit types.
template <Dtype T, int Count>
__device__ __forceinline__ void put(u32 *word, const float *value)
{
  if constexpr (T == Dtype::fp32) {
#pragma unroll
    for (int i = 0; i < Count; ++i) word[i] = __float_as_uint(value[i]);
  } else {
    static_assert(Count % 2 == 0, "16-bit values are packed in twos");
#pragma unroll
    for (int i = 0; i < Count / 2; ++i)
      if constexpr (T == Dtype::fp16)
        word[i] = floats_to_halves(value[2 * i], value[2 * i + 1]);
      else
        word[i] = floats_to_bfloats(value[2 * i], value[2 * i + 1]);
  }
}

// Two values rounded to T; together, because one instruction converts both.
template <Dtype T> __device__ __forceinline__ void round_two(float &a, float &b)
{
  if constexpr (T != Dtype::fp32) {
    const float two[2] = {a, b};
    u32 word;
    put<T, 2>(&word, two);
    a = get<T>(&word, 0), b = get<T>(&word, 1);
  }
}

// One value in memory, at element alignment.
template <Dtype T>
__device__ __forceinline__ float read_one(const void *base, i64 at)
{
  if constexpr (T == Dtype::fp32) return ((const float *)base)[at];
  const u32 word = ((const u16 *)base)[at];
  return get<T>(&word, 0);
}

template <Dtype T>
__device__ __forceinline__ void write_one(void *base, i64 at, float value)
{
  if constexpr (T == Dtype::fp32) {
    ((float *)base)[at] = value;
  } else {
    const float two[2] = {value, 0.0f};
    u32 word;
    put<T, 2>(&word, two);
    ((u16 *)base)[at] = (u16)word;
  }
}

// The same where the dtype is known at run time only.
__device__ __forceinline__ float read_any(Dtype t, const void *base, i64 at)
{
  if (t == Dtype::fp32) return read_one<Dtype::fp32>(base, at);
  if (t == Dtype::fp16) return read_one<Dtype::fp16>(base, at);
  return read_one<Dtype::bf16>(base, at);
}

} // namespace dt
