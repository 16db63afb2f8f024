// One row on its way through rows_task.cuh's chain, too long for registers:
// every pass walks through it slot by slot.  Between the passes it is kept in
// shared memory, or nowhere: then it is read, and r computed, once more.
#pragma once
#include "variants/common/rows_chain.cuh"

namespace dt {

// What a group keeps of its row: of r fp32, since it may not be rounded yet.
template <RowsFacts F, RowsTuned P> struct SharedRow {
  using Shape = RowsShape<F, P>;
  static constexpr Dtype dtype = F.add ? Dtype::fp32 : F.io;
  static constexpr int words = Shape::count * bytes_of(dtype) / 4;
  static constexpr int parts = words / 4; // vectors of 16 bytes
  static_assert(words % 4 == 0, "a slot is whole vectors");

  __device__ __forceinline__ static u32 *at(int i, int part)
  {
    __shared__ __align__(16) u32 row[Shape::slots * parts * Shape::threads *
                                     P.rows * 4];
    return row +
           ((i * parts + part) * Shape::threads * P.rows + threadIdx.x) * 4;
  }
  __device__ __forceinline__ static void put(int i,
                                             const float (&x)[Shape::count])
  {
    u32 word[words];
    dt::put<dtype, Shape::count>(word, x);
#pragma unroll
    for (int p = 0; p < parts; ++p)
      store<16, Store::plain>(at(i, p),
                              Pack<16>{word[4 * p], word[4 * p + 1],
                                       word[4 * p + 2], word[4 * p + 3]});
  }
  __device__ __forceinline__ static void get(int i, float (&x)[Shape::count])
  {
    u32 word[words];
#pragma unroll
    for (int p = 0; p < parts; ++p) {
      const Pack<16> pack = load<16, Load::plain>(at(i, p));
#pragma unroll
      for (int w = 0; w < 4; ++w) word[4 * p + w] = pack.word[w];
    }
#pragma unroll
    for (int e = 0; e < Shape::count; ++e) x[e] = dt::get<dtype>(word, e);
  }
};

// What a pass wants, and what is in shared memory when it begins.
enum class Part { none, branch, stream };

template <RowsFacts F, RowsTuned P> struct RowsWalk {
  using Shape = RowsShape<F, P>;
  using Real = typename Shape::Real;
  using Scale = RowsScale<Real>;
  using Slot = float[Shape::count];
  // Kept behind each of the norms.
  static constexpr Part had =
      P.keep == 1 && F.before.present ? Part::branch : Part::none;
  static constexpr Part has = P.keep == 1 && F.after.present ? Part::stream
                                                             : had;

  const RowsTask &t;
  RowsPlace place;
  int thread;
  RowsInputs<F, P> in{};
  RowsOperands<F, P> operands{};
  Scale first{0, 0}, second{0, 0};

  __device__ __forceinline__ RowsChain<F, P> chain() const
  {
    return {t, place, thread};
  }
  __device__ __forceinline__ const char *start(const RowsTensor &x) const
  {
    return (const char *)x.data + place.in(x) * bytes_of(F.io);
  }

  // Sends for slot i.
  template <Part Want, Part Have> __device__ __forceinline__ void fetch(int i)
  {
    if (i >= Shape::slots || !place.live) return;
    if constexpr (Have == Part::none) in.b.fetch(start(t.b), i, thread);
    if constexpr (Want == Part::stream && Have != Part::stream) {
      if constexpr (F.add) in.a.fetch(start(t.a), i, thread);
      operands.fetch_first(i, thread);
    }
  }
  template <Part Want, Part Have>
  __device__ __forceinline__ void take(int i, Slot &x)
  {
    if constexpr (Have != Part::none) SharedRow<F, P>::get(i, x);
    if constexpr (Have == Want) return;
    if constexpr (Have == Part::branch)
      put<F.io, Shape::count>(in.b.at[i % Shape::held].word, x);
    if constexpr (Want == Part::stream) {
      chain().stream(x, in, operands, first, i);
    } else {
#pragma unroll
      for (int e = 0; e < Shape::count; ++e) x[e] = in.b.get(i, e);
    }
  }
  // Calls use(i, x) for each slot of the thread; a slot is on its way while the
  // one before is used.
  template <Part Want, Part Have, class Use>
  __device__ __forceinline__ void pass(Use use)
  {
    fetch<Want, Have>(0);
#pragma unroll 4
    for (int i = 0; i < Shape::slots; ++i) {
      Slot x;
      fetch<Want, Have>(i + 1);
      if (!Shape::holds(thread, i)) continue;
      take<Want, Have>(i, x);
      use(i, x);
    }
  }

  __device__ __forceinline__ static Real sum_slot(const Slot &x, Real mean,
                                                  bool square)
  {
    constexpr int chains = Shape::count < 4 ? Shape::count : 4;
    Real sum[chains] = {};
#pragma unroll
    for (int e = 0; e < Shape::count; ++e) {
      const Real d = (Real)x[e] - mean;
      sum[e % chains] += square ? d * d : d;
    }
#pragma unroll
    for (int i = 1; i < chains; ++i) sum[0] += sum[i];
    return sum[0];
  }

  // Mean and sum of squares from it in one pass: those of each slot, merged
  // into those of the slots before.
  template <Part Want, Part Have, Part Keep>
  __device__ __forceinline__ Real merge(Real &mean, int &turn)
  {
    Real squares = 0;
    mean = 0;
    pass<Want, Have>([&](int i, const Slot &x) {
      const Real share = (Real)1 / (Real)(i + 1);
      const Real here = sum_slot(x, 0, false) * ((Real)1 / Shape::count);
      const Real apart = here - mean;
      if constexpr (Keep != Part::none) SharedRow<F, P>::put(i, x);
      mean += apart * share;
      squares += sum_slot(x, here, true) +
                 apart * apart * ((Real)(Shape::count * i) * share);
    });
    merge_group<P>(mean, squares, Shape::slots * Shape::count, turn);
    return squares;
  }
  template <Part Want, Part Have, Part Keep>
  __device__ __forceinline__ Real sum(Real mean, bool square, int &turn)
  {
    Real sum = 0;
    pass<Want, Have>([&](int i, const Slot &x) {
      if constexpr (Keep != Part::none) SharedRow<F, P>::put(i, x);
      sum += sum_slot(x, mean, square);
    });
    return sum_group<P>(sum, turn);
  }
  template <Norm Kind, Part Want, Part Have, Part Keep>
  __device__ __forceinline__ Scale scale(float eps, int &turn)
  {
    constexpr Real share = (Real)1 / F.hidden;
    Scale s{0, 0};
    Real squares;

    if constexpr (Kind == Norm::rms) {
      squares = sum<Want, Have, Keep>(0, true, turn);
    } else if constexpr (P.one_pass) {
      squares = merge<Want, Have, Keep>(s.mean, turn);
    } else {
      s.mean = sum<Want, Have, Keep>(0, false, turn) * share;
      squares = sum<Want, Keep, Part::none>(s.mean, true, turn);
    }
    s.r = root_inverse(squares * share + (Real)eps);
    return s;
  }

  __device__ __forceinline__ void finish()
  {
    operands.fetch_second(0, thread);
    pass<Part::stream, has>([&](int i, Slot &x) {
      if (i + 1 < Shape::slots) operands.fetch_second(i + 1, thread);
      if constexpr (F.two_outputs)
        store_slot<F, P>(t.r, place.in(t.r), i, thread, place.live, x);
      chain().modulate(x, operands, second, i);
      store_slot<F, P>(t.y, place.in(t.y), i, thread, place.live, x);
    });
  }
  __device__ __forceinline__ void run(int &turn)
  {
    operands.load_first(t, place, thread);
    operands.load_second(t, place, thread);
    if constexpr (F.before.present)
      first = scale<F.before.kind, Part::branch, Part::none, had>(t.before.eps,
                                                                  turn);
    if constexpr (F.after.present)
      second = scale<F.after.kind, Part::stream, had, has>(t.after.eps, turn);
    finish();
  }
};

} // namespace dt
