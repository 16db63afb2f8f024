// Eight elements of a row at a time, where dtypes and alignment are known at
// run time only: what the `generic` schemes load and store.
#pragma once
#include "variants/common/rows_math.cuh"
#include "variants/common/rows_task.cuh"

namespace dt {

constexpr int slot_bits = 3, slot_size = 1 << slot_bits;

// Which columns of the row: at, at + step, ..., as many as `count`.  Side by
// side they are vectors of 16 bytes; else neighbours go to other lanes, which
// loads one element at a time like better.
struct SlotColumns {
  u32 at, step;
  int count;
  bool vectors;

  // Keeps the compiler from working out every address of every tensor ahead of
  // a loop, which takes all registers.
  __device__ __forceinline__ void forget() { opaque(at), opaque(step); }
};

// Whether an address, and the strides that lead to others, may be loaded from
// 16 bytes at a time: what has to be a multiple of 16.
__device__ __forceinline__ u64 vector_bits(const RowsTensor &x, int bytes)
{
  return x.data ? (u64)x.data | (u64)((x.batch | x.token) * bytes) : 0;
}
__device__ __forceinline__ u64 vector_bits(const RowsOperand &o)
{
  i64 strides = 0;

  if (o.form == Form::none || o.form == Form::scalar) return 0;
  if (o.form != Form::row) strides = o.batch;
  if (o.form == Form::token || o.form == Form::frame) strides |= o.token;
  return (u64)o.data | (u64)(strides * bytes_of(o.dtype));
}

// A norm's weight or bias is an operand, too.
__device__ __forceinline__ RowsOperand affine_operand(const void *data, Dtype t)
{
  return {data, 0, 0, t == Dtype::none ? Form::none : Form::row, t};
}

// What lies in a slot: packed after load(), fp32 after widen().
struct SlotValues {
  u32 word[slot_size] = {}; // or what was there before would be kept alive

  __device__ __forceinline__ float operator[](int e) const
  {
    return __uint_as_float(word[e]);
  }
  __device__ __forceinline__ void set(int e, float x)
  {
    word[e] = __float_as_uint(x);
  }
  __device__ __forceinline__ void load_vector(const char *p, int from)
  {
    const Pack<16> pack = dt::load<16, Load::plain>(p);
#pragma unroll
    for (int i = 0; i < 4; ++i) word[from + i] = pack.word[i];
  }
  __device__ __forceinline__ void load_halves(const u16 *p, SlotColumns c)
  {
#pragma unroll
    for (int e = 0; e < slot_size; ++e) {
      const u32 half = e < c.count ? p[c.at + e * c.step] : 0;
      word[e / 2] = e % 2 ? word[e / 2] | half << 16 : half;
    }
  }
  __device__ __forceinline__ void load_singles(const u32 *p, SlotColumns c)
  {
#pragma unroll
    for (int e = 0; e < slot_size; ++e)
      word[e] = e < c.count ? p[c.at + e * c.step] : 0;
  }
  __device__ __forceinline__ void load(Dtype t, const void *row, SlotColumns c)
  {
    c.forget();
    if (c.vectors) {
      const char *p = (const char *)row + c.at * (t == Dtype::fp32 ? 4 : 2);
      load_vector(p, 0);
      if (t == Dtype::fp32) load_vector(p + 16, 4);
    } else if (t == Dtype::fp32) {
      load_singles((const u32 *)row, c);
    } else {
      load_halves((const u16 *)row, c);
    }
  }
  template <Dtype T> __device__ __forceinline__ void widen()
  {
#pragma unroll
    for (int e = slot_size - 1; e >= 0; --e)
      word[e] = __float_as_uint(get<T>(word, e));
  }
  __device__ __forceinline__ void widen(Dtype t)
  {
    if (t == Dtype::bf16) widen<Dtype::bf16>();
    if (t == Dtype::fp16) widen<Dtype::fp16>();
  }
  // An operand's row; nothing if it has none.
  __device__ __forceinline__ void load(const RowsOperand &o, const void *row,
                                       SlotColumns c)
  {
    if (o.form > Form::scalar) load(o.dtype, row, c);
  }
  // Where there is no operand, `none` stands for it.
  __device__ __forceinline__ void widen(const RowsOperand &o, float none)
  {
    if (o.form > Form::scalar) {
      widen(o.dtype);
    } else {
      const float one =
          o.form == Form::scalar ? read_any(o.dtype, o.data, 0) : none;
#pragma unroll
      for (int e = 0; e < slot_size; ++e) set(e, one);
    }
  }
};

template <Dtype T>
__device__ __forceinline__ void store_slot(void *row, SlotColumns c,
                                           const float (&x)[slot_size])
{
  constexpr int words = slot_size * bytes_of(T) / 4;
  u32 word[words];

  c.forget();
  put<T, slot_size>(word, x);
  if (c.vectors) {
#pragma unroll
    for (int i = 0; i < words; i += 4)
      store<16, Store::plain>((char *)row + c.at * bytes_of(T) + 4 * i,
                              Pack<16>{word[i], word[i + 1], word[i + 2],
                                       word[i + 3]});
    return;
  }
#pragma unroll
  for (int e = 0; e < slot_size; ++e) {
    if (e >= c.count) continue;
    if constexpr (T == Dtype::fp32)
      ((u32 *)row)[c.at + e * c.step] = word[e];
    else
      ((u16 *)row)[c.at + e * c.step] = (u16)(word[e / 2] >> (e % 2 * 16));
  }
}

} // namespace dt
