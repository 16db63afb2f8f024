// All row ops, compiled for a problem: the body of the `rows` schemes.
#pragma once
#include "variants/common/rows_walk.cuh"

namespace dt {

template <RowsFacts F, RowsTuned P>
__device__ __forceinline__ void rows(const RowsTask &t)
{
  using Shape = RowsShape<F, P>;
  const int group = threadIdx.x / Shape::threads;
  const int thread = threadIdx.x - group * Shape::threads;
  const u32 rows = (u32)(t.batch * t.seq), step = gridDim.x * P.rows;
  RowsOperands<F, P> operands;
  RowsInputs<F, P> in, next;
  RowsPlace place = place_of<P>(t, blockIdx.x * P.rows + group);
  int turn = 0;

  if constexpr (P.keep != 0) {
#pragma unroll 1
    for (u32 first = blockIdx.x * P.rows; first < rows; first += step)
      RowsWalk<F, P>{t, place_of<P>(t, first + group), thread}.run(turn);
  } else if constexpr (!P.persistent) {
    in.load(t, place, thread);
    RowsChain<F, P>{t, place, thread}.run(in, operands, turn);
  } else {
    if constexpr (P.ahead) next.load(t, place, thread);
    // `first` is the block's first row: all its groups stay together.
#pragma unroll 1
    for (u32 first = blockIdx.x * P.rows; first < rows; first += step) {
      const RowsPlace after = place_of<P>(t, first + step + group);
      if constexpr (P.ahead) {
        in = next;
        if (first + step < rows) next.load(t, after, thread);
      } else {
        in.load(t, place, thread);
      }
      RowsChain<F, P>{t, place, thread}.run(in, operands, turn);
      place = after;
    }
  }
}

} // namespace dt
