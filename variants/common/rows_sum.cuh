// Statistics of a row that lies in the registers of a group of warps.
//
// Everybody in the block must be here: what crosses warps goes through shared
// memory, in one of two places in turn, so that one barrier per reduction is
// enough: nobody can be two reductions ahead.
#pragma once
#include "variants/common/rows_shape.cuh"

namespace dt {

// Each warp's value, in every thread of its group.
template <RowsTuned P, int Values, class Real>
__device__ __forceinline__ void
gather_warps(const Real (&value)[Values], Real (&all)[Values][P.warps],
             int &turn)
{
  constexpr int padded = ceil_div(P.warps, 4) * 4; // read as vectors
  __shared__ __align__(16) Real part[2][P.rows][Values][padded];
  const int warp = threadIdx.x / warp_size;
  const int group = warp / P.warps;

  if (threadIdx.x % warp_size == 0) {
#pragma unroll
    for (int v = 0; v < Values; ++v)
      part[turn][group][v][warp - group * P.warps] = value[v];
  }
  __syncthreads();
#pragma unroll
  for (int v = 0; v < Values; ++v)
#pragma unroll
    for (int i = 0; i < P.warps; ++i) all[v][i] = part[turn][group][v][i];
  turn ^= 1;
}

template <RowsTuned P, class Real>
__device__ __forceinline__ Real sum_group(Real value, int &turn)
{
  Real sum[1] = {value};

  sum_lanes<P.lanes>(sum);
  if constexpr (P.warps > 1) {
    Real all[1][P.warps];
    gather_warps<P>(sum, all, turn);
    sum[0] = all[0][0];
#pragma unroll
    for (int i = 1; i < P.warps; ++i) sum[0] += all[0][i];
  }
  return sum[0];
}

// Of each thread: the mean of its values, and the sum of their squared
// distances from it.  Of the group: those of all, merged without a difference
// of large numbers.
template <RowsTuned P, class Real>
__device__ __forceinline__ void merge_group(Real &mean, Real &squares,
                                            int count, int &turn)
{
#pragma unroll
  for (int mask = 1; mask < P.lanes; mask *= 2) {
    const Real other = __shfl_xor_sync(full_warp, mean, mask);
    const Real apart = other - mean;
    squares += __shfl_xor_sync(full_warp, squares, mask);
    squares += apart * apart * ((Real)0.5 * (Real)(count * mask));
    mean = (Real)0.5 * (mean + other); // the same in both lanes
  }
  if constexpr (P.warps > 1) {
    const Real value[2] = {mean, squares};
    Real all[2][P.warps], between = 0;
    gather_warps<P>(value, all, turn);
    mean = all[0][0], squares = all[1][0];
#pragma unroll
    for (int i = 1; i < P.warps; ++i) mean += all[0][i], squares += all[1][i];
    mean *= (Real)1 / P.warps;
#pragma unroll
    for (int i = 0; i < P.warps; ++i)
      between += (all[0][i] - mean) * (all[0][i] - mean);
    squares += between * (Real)(count * warp_size);
  }
}

// A thread's sum over the slots it holds of what `value` gives for an element;
// a few sums side by side, because an addition has to wait for the one before.
template <RowsFacts F, RowsTuned P, class Value>
__device__ __forceinline__ typename RowsShape<F, P>::Real
sum_slots(int thread, Value value)
{
  using Shape = RowsShape<F, P>;
  using Real = typename Shape::Real;
  constexpr int chains = Shape::count < 4 ? Shape::count : 4;
  Real sum[chains] = {};

#pragma unroll
  for (int i = 0; i < Shape::slots; ++i)
    if (Shape::holds(thread, i)) {
#pragma unroll
      for (int e = 0; e < Shape::count; ++e) value(i, e, sum[e % chains]);
    }
#pragma unroll
  for (int i = 1; i < chains; ++i) sum[0] += sum[i];
  return sum[0];
}

template <RowsFacts F, RowsTuned P, Norm Kind, class Row>
__device__ __forceinline__ RowsScale<typename RowsShape<F, P>::Real>
scale_of(Row &row, int thread, float eps, int &turn)
{
  using Shape = RowsShape<F, P>;
  using Real = typename Shape::Real;
  constexpr int mine = Shape::slots * Shape::count;
  constexpr Real share = (Real)1 / F.hidden;
  RowsScale<Real> s{0, 0};
  Real squares;

  if constexpr (Kind == Norm::layer) {
    s.mean = sum_slots<F, P>(thread, [&](int i, int e, Real &sum) {
      sum += (Real)row.get(i, e);
    });
    row.keep_packed();
    s.mean = P.one_pass ? s.mean * ((Real)1 / mine)
                        : sum_group<P>(s.mean, turn) * share;
  }
  squares = sum_slots<F, P>(thread, [&](int i, int e, Real &sum) {
    const Real x = (Real)row.get(i, e) - s.mean;
    sum += x * x;
  });
  if constexpr (P.one_pass && Kind == Norm::layer)
    merge_group<P>(s.mean, squares, mine, turn);
  else
    squares = sum_group<P>(squares, turn);
  s.r = root_inverse(squares * share + (Real)eps);
  return s;
}

} // namespace dt
