// One row on its way through rows_task.cuh's chain, in registers.
//
// The steps of the chain are compiled in or left out.  What comes from memory
// stays packed; r is kept in fp32 where it is not rounded.
#pragma once
#include "variants/common/rows_operand.cuh"
#include "variants/common/rows_sum.cuh"

namespace dt {

// A thread's part of a row, as it lies in memory.
template <RowsFacts F, RowsTuned P> struct PackedRow {
  using Shape = RowsShape<F, P>;
  Pack<P.vec> at[Shape::held];

  __device__ __forceinline__ float get(int i, int e) const
  {
    return dt::get<F.io>(at[i % Shape::held].word, e);
  }
  __device__ __forceinline__ void fetch(const char *p, int i, int thread)
  {
    if (Shape::holds(thread, i))
      at[i % Shape::held] = dt::load<P.vec, Shape::load>(
          p + (i * Shape::threads + thread) * P.vec);
  }
  __device__ __forceinline__ void load(const char *p, int thread, bool live)
  {
#pragma unroll
    for (int i = 0; i < Shape::held; ++i) at[i] = Pack<P.vec>{};
    if (!live) return;
#pragma unroll
    for (int i = 0; i < Shape::slots; ++i) fetch(p, i, thread);
  }
  // Keeps the compiler from holding 16-bit values unpacked between a sum and
  // the result, which would double their registers.
  __device__ __forceinline__ void keep_packed()
  {
    if constexpr (bytes_of(F.io) == 2) {
#pragma unroll
      for (int i = 0; i < Shape::slots; ++i)
#pragma unroll
        for (u32 &word : at[i].word) opaque(word);
    }
  }
};

template <RowsFacts F, RowsTuned P> struct WideRow {
  using Shape = RowsShape<F, P>;
  float at[Shape::slots][Shape::count];

  __device__ __forceinline__ float get(int i, int e) const { return at[i][e]; }
  __device__ __forceinline__ void keep_packed() {}
};

template <RowsFacts F, RowsTuned P>
__device__ __forceinline__ void
store_slot(const RowsTensor &t, i64 at, int i, int thread, bool live,
           const float (&value)[RowsShape<F, P>::count])
{
  using Shape = RowsShape<F, P>;
  Pack<P.vec> pack;

  put<F.io, Shape::count>(pack.word, value);
  if (live && Shape::holds(thread, i))
    store<P.vec, Shape::store>((char *)t.data + at * bytes_of(F.io) +
                                   (i * Shape::threads + thread) * P.vec,
                               pack);
}

// The row that a group is at.
struct RowsPlace {
  u32 batch, token;
  bool live;

  __device__ __forceinline__ i64 in(const RowsTensor &t) const
  {
    return batch * t.batch + token * t.token;
  }
};
// A block with one row at a time always has one.
template <RowsTuned P>
__device__ __forceinline__ RowsPlace place_of(const RowsTask &t, u32 row)
{
  const u32 seq = (u32)t.seq;
  RowsPlace p{0, row, P.rows == 1 || row < (u32)(t.batch * t.seq)};

  if (t.batch > 1 && p.live) // division is slow, and rarely needed
    p.batch = row / seq, p.token = row - p.batch * seq;
  if (!p.live) p.token = 0; // operands are there, too
  return p;
}

template <RowsFacts F, RowsTuned P> struct RowsInputs {
  PackedRow<F, P> a, b;

  __device__ __forceinline__ void load(const RowsTask &t, RowsPlace p,
                                       int thread)
  {
    b.load((const char *)t.b.data + p.in(t.b) * bytes_of(F.io), thread, p.live);
    if constexpr (F.add)
      a.load((const char *)t.a.data + p.in(t.a) * bytes_of(F.io), thread,
             p.live);
  }
};

template <RowsFacts F, RowsTuned P> struct RowsOperands {
  typename RowsTermsOf<F, P, F.gate.form, F.gate.dtype>::type gate;
  typename RowsTermsOf<F, P, F.scale.form, F.scale.dtype>::type scale;
  typename RowsTermsOf<F, P, F.shift.form, F.shift.dtype>::type shift;
  RowsAffine<F, P, F.before> before;
  RowsAffine<F, P, F.after> after;

  __device__ __forceinline__ void load_first(const RowsTask &t, RowsPlace p,
                                             int thread)
  {
    const u32 frame = (u32)t.frame_tokens;
    if constexpr (F.before.present) before.load(t.before, thread);
    gate.load(operand_start<F.gate>(t.gate, p.batch, p.token, frame), thread);
  }
  __device__ __forceinline__ void load_second(const RowsTask &t, RowsPlace p,
                                              int thread)
  {
    const u32 frame = (u32)t.frame_tokens;
    if constexpr (F.after.present) after.load(t.after, thread);
    scale.load(operand_start<F.scale>(t.scale, p.batch, p.token, frame),
               thread);
    shift.load(operand_start<F.shift>(t.shift, p.batch, p.token, frame),
               thread);
  }
  __device__ __forceinline__ void fetch_first(int i, int thread)
  {
    if constexpr (F.before.present) before.fetch(i, thread);
    gate.fetch(i, thread);
  }
  __device__ __forceinline__ void fetch_second(int i, int thread)
  {
    if constexpr (F.after.present) after.fetch(i, thread);
    scale.fetch(i, thread);
    shift.fetch(i, thread);
  }
  __device__ __forceinline__ float modulate(float n, int i, int e) const
  {
    return modulated<F.io, F.rounding>(n, F.scale.form != Form::none,
                                       scale.get(i, e),
                                       F.shift.form != Form::none,
                                       shift.get(i, e));
  }
};

// One row on its way through the chain.
template <RowsFacts F, RowsTuned P> struct RowsChain {
  using Shape = RowsShape<F, P>;
  using Scale = RowsScale<typename Shape::Real>;
  const RowsTask &t;
  RowsPlace place;
  int thread;

  // r of slot i.
  __device__ __forceinline__ void stream(float (&r)[Shape::count],
                                         const RowsInputs<F, P> &in,
                                         const RowsOperands<F, P> &o, Scale s,
                                         int i) const
  {
#pragma unroll
    for (int e = 0; e < Shape::count; ++e) {
      r[e] = in.b.get(i, e);
      if constexpr (F.before.present) r[e] = o.before.apply(r[e], s, i, e);
      if constexpr (F.add)
        r[e] = added<F.io, F.rounding>(
            in.a.get(i, e), r[e], F.gate.form != Form::none,
            gate_of<F.io, F.rounding>(o.gate.get(i, e), F.tanh));
    }
  }
  // From r, y of slot i.
  __device__ __forceinline__ void modulate(float (&r)[Shape::count],
                                           const RowsOperands<F, P> &o,
                                           Scale s, int i) const
  {
#pragma unroll
    for (int e = 0; e < Shape::count; ++e) {
      if constexpr (F.after.present) r[e] = o.after.apply(r[e], s, i, e);
      r[e] = o.modulate(r[e], i, e);
    }
  }

  // Operands that come slot by slot: before slot i is computed (-1: before the
  // first), those of the next are on their way.
  __device__ __forceinline__ void fetch_first(RowsOperands<F, P> &o,
                                              int i) const
  {
    if (Shape::by_slot && i + 1 < Shape::slots)
      o.fetch_first(i + 1, thread);
  }
  __device__ __forceinline__ void fetch_second(RowsOperands<F, P> &o,
                                               int i) const
  {
    if (Shape::by_slot && i + 1 < Shape::slots)
      o.fetch_second(i + 1, thread);
  }

  // No norm behind the sum: slot by slot to the end.
  __device__ __forceinline__ void finish(const RowsInputs<F, P> &in,
                                         RowsOperands<F, P> &o, Scale s) const
  {
    fetch_first(o, -1);
    fetch_second(o, -1);
#pragma unroll
    for (int i = 0; i < Shape::slots; ++i) {
      float y[Shape::count];
      fetch_first(o, i);
      fetch_second(o, i);
      stream(y, in, o, s, i);
      modulate(y, o, s, i);
      store_slot<F, P>(t.y, place.in(t.y), i, thread, place.live, y);
    }
  }

  // The norm of a row that is kept, then y.
  template <class Row>
  __device__ __forceinline__ void normalise(Row &row, RowsOperands<F, P> &o,
                                            int &turn) const
  {
    const Scale s = scale_of<F, P, F.after.kind>(row, thread, t.after.eps,
                                                 turn);
    if constexpr (!Shape::early) o.load_second(t, place, thread);
    row.keep_packed();
    fetch_second(o, -1);
#pragma unroll
    for (int i = 0; i < Shape::slots; ++i) {
      float y[Shape::count];
      fetch_second(o, i);
#pragma unroll
      for (int e = 0; e < Shape::count; ++e) y[e] = row.get(i, e);
      modulate(y, o, s, i);
      store_slot<F, P>(t.y, place.in(t.y), i, thread, place.live, y);
    }
  }

  // Slot i of r, which is stored where it is an output, and kept.
  __device__ __forceinline__ void sum_slot(const RowsInputs<F, P> &in,
                                           const RowsOperands<F, P> &o,
                                           Scale s, int i, PackedRow<F, P> &row,
                                           WideRow<F, P> &wide) const
  {
    const bool mine = Shape::holds(thread, i); // else it counts as 0
    float r[Shape::count];

    stream(r, in, o, s, i);
#pragma unroll
    for (int e = 0; e < Shape::count; ++e)
      wide.at[i][e] = r[e] = mine ? r[e] : 0.0f;
    put<F.io, Shape::count>(row.at[i].word, r);
    if constexpr (F.two_outputs)
      store_slot<F, P>(t.r, place.in(t.r), i, thread, place.live, r);
  }

  // r and its norm.
  __device__ __forceinline__ void sum_and_normalise(const RowsInputs<F, P> &in,
                                                    RowsOperands<F, P> &o,
                                                    Scale s, int &turn) const
  {
    PackedRow<F, P> row;
    WideRow<F, P> wide;

    fetch_first(o, -1);
#pragma unroll
    for (int i = 0; i < Shape::slots; ++i) {
      fetch_first(o, i);
      sum_slot(in, o, s, i, row, wide);
    }
    if constexpr (F.rounding == Rounding::once && bytes_of(F.io) == 2)
      normalise(wide, o, turn);
    else
      normalise(row, o, turn);
  }

  __device__ __forceinline__ void run(RowsInputs<F, P> &in,
                                      RowsOperands<F, P> &o, int &turn) const
  {
    Scale s{0, 0};

    if constexpr (Shape::early) {
      o.load_first(t, place, thread);
      o.load_second(t, place, thread);
    }
    if constexpr (F.before.present) {
      s = scale_of<F, P, F.before.kind>(in.b, thread, t.before.eps, turn);
      in.b.keep_packed();
    }
    if constexpr (!Shape::early) o.load_first(t, place, thread);
    if constexpr (!F.after.present) {
      if constexpr (!Shape::early) o.load_second(t, place, thread);
      finish(in, o, s);
    } else if constexpr (F.add) {
      sum_and_normalise(in, o, s, turn);
    } else {
      normalise(in.b, o, turn);
    }
  }
};

} // namespace dt
