// The tunables of the `rows` schemes, and what follows from them.
//
// A group of `warps` warps, or of part of one, has a row: thread t of the group
// has vectors t, t + threads, t + 2 threads, ...: its slots.  `rows` groups are
// a block.
#pragma once
#include "variants/common/rows_math.cuh"
#include "variants/common/rows_task.cuh"

namespace dt {

struct RowsTuned {
  int vec = 16;            // bytes of a vector
  int warps = 4;           // of a row
  int rows = 1;            // of a block, side by side
  bool persistent = false; // as many blocks as run at once, row after row
  int operands = 0;        // loaded behind the reductions, 0: a slot ahead,
                           // 1: all at once; 2: with the row; 3: kept from row
                           // to row while they are the same
  bool ahead = false;      // the next row is on its way while this one is done
  bool one_pass = false;   // mean and variance in one reduction, by merging
                           // those of the threads
  int hint = 0;            // 1: rows are streamed, 2: and kept out of L1
  int registers = 0;       // of a thread at most; 0: as the compiler likes
  int keep = 0;            // the row from pass to pass, 0: in registers, 1: in
                           // shared memory, 2: nowhere, it is read again
  int lanes = 32;          // of a warp; 8 or 16 for short rows
};

// What is compiled in.
struct RowsNormFacts {
  bool present = false;
  Norm kind = Norm::layer;
  Dtype weight = Dtype::none, bias = Dtype::none;
};
struct RowsOperandFacts {
  Form form = Form::none;
  Dtype dtype = Dtype::none;
};
struct RowsFacts {
  Dtype io = Dtype::bf16;
  int hidden = 3072;
  bool add = false, two_outputs = false;
  RowsNormFacts before{}, after{};
  RowsOperandFacts scale{}, shift{}, gate{};
  bool tanh = false;
  Rounding rounding = Rounding::once;
  bool inplace = false;
};

template <RowsFacts F, RowsTuned P> struct RowsShape {
  static constexpr int count = P.vec / bytes_of(F.io); // elements of a vector
  static constexpr int threads = P.warps * P.lanes;    // of a row
  static constexpr int vectors = F.hidden / count;
  static constexpr int slots = ceil_div(vectors, threads);
  static constexpr bool even = slots * threads == vectors;
  static constexpr int held = P.keep == 0 ? slots : 2; // in registers at once
  using Real = RowsReal<F.io, F.rounding>;

  static constexpr bool by_slot = P.operands == 0;
  static constexpr bool early = P.operands >= 2, keeps = P.operands == 3;

  static_assert(F.hidden % count == 0, "a row is whole vectors");
  static_assert(!P.one_pass || even, "all threads have as much");
  static_assert(!P.ahead || P.persistent, "there is a next row");
  static_assert(!keeps || P.persistent, "there is a next row");
  static_assert(P.lanes == warp_size || P.warps == 1, "part of one warp");
  static_assert(P.rows * threads % warp_size == 0, "a block is whole warps");
  static_assert(P.keep == 0 || (by_slot && !P.ahead), "a slot at a time");

  // Whether slot i of thread t of the group is in the row.
  __device__ static __forceinline__ bool holds(int t, int i)
  {
    return (i + 1) * threads <= vectors || i * threads + t < vectors;
  }

  static constexpr Load load = P.hint == 0   ? Load::plain
                               : P.hint == 1 ? Load::stream
                                             : Load::once;
  static constexpr Store store = P.hint == 0 ? Store::plain : Store::stream;
};

} // namespace dt
