// A thread's part of the vectors that a row meets: weight, bias, scale, shift
// and gate, packed as in memory.  `load` says where they are and, unless they
// come slot by slot, fetches them.
#pragma once
#include "variants/common/rows_shape.cuh"

namespace dt {

template <RowsFacts F, RowsTuned P, Form How, Dtype T> struct RowsTerms {
  using Shape = RowsShape<F, P>;
  static constexpr bool single = How == Form::scalar;
  static constexpr Dtype dtype = T == Dtype::none ? Dtype::fp32 : T;
  static constexpr int bytes = Shape::count * bytes_of(dtype);

  Span<dtype, Shape::count> at[single ? 1 : Shape::held];
  float one;
  const char *from = nullptr; // what is in here

  __device__ __forceinline__ float get(int i, int e) const
  {
    if constexpr (single)
      return one;
    else
      return at[i % Shape::held][e];
  }
  // Whether the row that begins at `p` has to be fetched.
  __device__ __forceinline__ bool aim(const char *p)
  {
    if (Shape::keeps && from == p) return false;
    from = p;
    if constexpr (single) one = read_one<dtype>(p, 0);
    return !single;
  }
  __device__ __forceinline__ void fetch(int i, int thread)
  {
    constexpr Load how = Shape::keeps ? Load::constant : Load::plain;
    if constexpr (!single)
      if (Shape::holds(thread, i))
        load_span<dtype, Shape::count, P.vec, how>(
            at[i % Shape::held],
            from + (i * Shape::threads + thread) * bytes);
  }
  __device__ __forceinline__ void load(const char *p, int thread)
  {
    if (!aim(p)) return;
    if constexpr (!Shape::by_slot) {
#pragma unroll
      for (int i = 0; i < Shape::slots; ++i) fetch(i, thread);
    }
  }
};

// Where there is no operand.  One type for all variants, because a compiler
// charges for each that it makes of a template.
struct RowsNoTerms {
  __device__ __forceinline__ float get(int, int) const { return 0.0f; }
  __device__ __forceinline__ void fetch(int, int) {}
  __device__ __forceinline__ void load(const char *, int) {}
};

template <RowsFacts F, RowsTuned P, Form How, Dtype T> struct RowsTermsOf {
  using type = RowsTerms<F, P, How, T>;
};
template <RowsFacts F, RowsTuned P, Dtype T>
struct RowsTermsOf<F, P, Form::none, T> {
  using type = RowsNoTerms;
};

// Where the operand's row for a token begins.
template <RowsOperandFacts O>
__device__ __forceinline__ const char *
operand_start(const RowsOperand &o, u32 batch, u32 token, u32 frame_tokens)
{
  i64 at = 0;

  if constexpr (O.form == Form::batch) at = batch * o.batch;
  if constexpr (O.form == Form::token)
    at = batch * o.batch + token * o.token;
  if constexpr (O.form == Form::frame)
    at = batch * o.batch + token / frame_tokens * o.token;
  return (const char *)o.data + at * bytes_of(O.dtype);
}

// Weight and bias of a norm.
template <RowsFacts F, RowsTuned P, RowsNormFacts N> struct RowsAffine {
  static constexpr bool weighs = N.present && N.weight != Dtype::none;
  static constexpr bool biased =
      N.present && N.kind == Norm::layer && N.bias != Dtype::none;
  typename RowsTermsOf<F, P, weighs ? Form::row : Form::none, N.weight>::type
      weight;
  typename RowsTermsOf<F, P, biased ? Form::row : Form::none, N.bias>::type
      bias;

  __device__ __forceinline__ void load(const RowsNorm &n, int thread)
  {
    weight.load((const char *)n.weight, thread);
    bias.load((const char *)n.bias, thread);
  }
  __device__ __forceinline__ void fetch(int i, int thread)
  {
    weight.fetch(i, thread);
    bias.fetch(i, thread);
  }
  template <class Real>
  __device__ __forceinline__ float apply(float x, RowsScale<Real> s, int i,
                                         int e) const
  {
    return normed<F.io, F.rounding>(x, s, weighs, weight.get(i, e), biased,
                                    bias.get(i, e));
  }
};

} // namespace dt
