// All row ops, one block per row: the body of the `generic` schemes.
//
// Fits every legal problem: extents, strides, kinds of norm, forms and dtypes
// of operands and alignment are looked at while it runs.  The row is read for
// each statistic and for the result; only the first time from far away.  A
// thread has the same columns every time, so that a row may be its own output.
#pragma once
#include "variants/common/rows_math.cuh"
#include "variants/common/rows_task.cuh"

namespace dt {

struct RowsGeneric {
  int warps = 4; // per block, which has one row at a time
};

// The sum over the block, in every thread; everybody must be here.  `turn`
// alternates from call to call: nobody can be two calls ahead.
template <int Warps, class Real>
__device__ __forceinline__ Real sum_block(Real value, int &turn)
{
  __shared__ Real part[2][Warps];
  Real sum[1] = {value};

  sum_lanes<warp_size>(sum);
  if (threadIdx.x % warp_size == 0)
    part[turn][threadIdx.x / warp_size] = sum[0];
  __syncthreads();
  sum[0] = part[turn][0];
#pragma unroll
  for (int i = 1; i < Warps; ++i) sum[0] += part[turn][i];
  turn ^= 1;
  return sum[0];
}

// Both are below 2^40; 64-bit division is slow, and rarely needed.
__device__ __forceinline__ i64 divided(i64 a, i64 b)
{
  if (((u64)a | (u64)b) >> 32 == 0) return (u32)a / (u32)b;
  return a / b;
}

// Where the operand's row for this token begins, in elements.
__device__ __forceinline__ i64 operand_row(const RowsOperand &o, i64 batch,
                                           i64 token, i64 frame)
{
  switch (o.form) {
  case Form::batch: return batch * o.batch;
  case Form::token: return batch * o.batch + token * o.token;
  case Form::frame: return batch * o.batch + frame * o.token;
  default: return 0;
  }
}
__device__ __forceinline__ float operand_at(const RowsOperand &o, i64 row,
                                            int at)
{
  if (o.form == Form::none) return 0.0f;
  return read_any(o.dtype, o.data, row + (o.form == Form::scalar ? 0 : at));
}

// One row of the task, in elements of each tensor.
template <Dtype Io, Rounding How> struct GenericRow {
  using Real = RowsReal<Io, How>;
  const RowsTask &t;
  i64 a, b, y, r, gate, scale, shift;
  RowsScale<Real> first, second;

  __device__ __forceinline__ float norm_at(const RowsNorm &n, float x,
                                           RowsScale<Real> s, int at) const
  {
    const bool weighs = n.weight_dtype != Dtype::none;
    const bool biased = n.bias_dtype != Dtype::none && n.kind == Norm::layer;
    return normed<Io, How>(
        x, s, weighs, weighs ? read_any(n.weight_dtype, n.weight, at) : 1.0f,
        biased, biased ? read_any(n.bias_dtype, n.bias, at) : 0.0f);
  }
  __device__ __forceinline__ float branch(int at) const
  {
    return read_one<Io>(t.b.data, b + at);
  }
  // r of the chain.
  __device__ __forceinline__ float stream(int at) const
  {
    float x = branch(at);
    if (t.has_before) x = norm_at(t.before, x, first, at);
    if (!t.add) return x;
    const bool gates = t.gate.form != Form::none;
    const float g = gate_of<Io, How>(operand_at(t.gate, gate, at), t.tanh);
    return added<Io, How>(read_one<Io>(t.a.data, a + at), x, gates, g);
  }
  __device__ __forceinline__ void finish(int at) const
  {
    float x = stream(at);
    if (t.r.data) write_one<Io>((void *)t.r.data, r + at, x);
    if (t.has_after) x = norm_at(t.after, x, second, at);
    x = modulated<Io, How>(x, t.scale.form != Form::none,
                           operand_at(t.scale, scale, at),
                           t.shift.form != Form::none,
                           operand_at(t.shift, shift, at));
    write_one<Io>((void *)t.y.data, y + at, x);
  }
};

// Mean and 1/sqrt(variance + eps) of what `value` gives.  The second pass also
// sums what the mean is off by.
template <int Warps, class Real, class Value>
__device__ __forceinline__ RowsScale<Real>
generic_scale(const RowsNorm &n, int hidden, int &turn, Value value)
{
  RowsScale<Real> s{0, 0};
  Real sum = 0, off = 0;

  if (n.kind == Norm::layer) {
    for (int at = threadIdx.x; at < hidden; at += Warps * warp_size)
      sum += (Real)value(at);
    s.mean = sum_block<Warps>(sum, turn) / (Real)hidden;
  }
  sum = 0;
  for (int at = threadIdx.x; at < hidden; at += Warps * warp_size) {
    const Real x = (Real)value(at) - s.mean;
    sum += x * x;
    off += x;
  }
  sum = sum_block<Warps>(sum, turn) / (Real)hidden;
  off = sum_block<Warps>(off, turn) / (Real)hidden;
  if (n.kind == Norm::layer) s.mean += off, sum -= off * off;
  s.r = root_inverse(sum + (Real)n.eps);
  return s;
}

template <Dtype Io, Rounding How>
__device__ __forceinline__ GenericRow<Io, How> find_row(const RowsTask &t,
                                                        i64 at)
{
  const i64 batch = divided(at, t.seq), token = at - batch * t.seq;
  const i64 frame = divided(token, t.frame_tokens);
  return {.t = t,
          .a = batch * t.a.batch + token * t.a.token,
          .b = batch * t.b.batch + token * t.b.token,
          .y = batch * t.y.batch + token * t.y.token,
          .r = batch * t.r.batch + token * t.r.token,
          .gate = operand_row(t.gate, batch, token, frame),
          .scale = operand_row(t.scale, batch, token, frame),
          .shift = operand_row(t.shift, batch, token, frame),
          .first = {},
          .second = {}};
}

template <Dtype Io, Rounding How, RowsGeneric P>
__device__ __forceinline__ void rows_generic(const RowsTask &t)
{
  using Real = RowsReal<Io, How>;
  const i64 rows = t.batch * t.seq;
  int turn = 0;

  for (i64 at = blockIdx.x; at < rows; at += gridDim.x) {
    auto row = find_row<Io, How>(t, at);
    if (t.has_before)
      row.first = generic_scale<P.warps, Real>(
          t.before, t.hidden, turn, [&](int i) { return row.branch(i); });
    if (t.has_after)
      row.second = generic_scale<P.warps, Real>(
          t.after, t.hidden, turn, [&](int i) { return row.stream(i); });
    for (int i = threadIdx.x; i < t.hidden; i += P.warps * warp_size)
      row.finish(i);
  }
}

} // namespace dt
