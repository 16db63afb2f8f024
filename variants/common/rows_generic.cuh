// All row ops, everything looked up at run time: the body of the `generic`
// schemes.
//
// Fits every legal problem: extents, strides, kinds of norm, forms and dtypes
// of operands and alignment are arguments.  Short rows share a block, down to
// half a warp each; where there are blocks enough for each, a row has as many
// threads as it has vectors.  The row is walked through once per norm and once for the
// result, slot by slot; a thread has the same columns every time, so that a row
// may be its own output.  What is not too long is kept in shared memory from
// walk to walk: registers would need the loop unrolled, and with it all that
// may be in it.  Such a row, if it is whole vectors, is sent for at once.
#pragma once
#include "variants/common/rows_slot.cuh"
#include "variants/common/rows_spread.cuh"

namespace dt {

struct RowsGeneric {
  int warps = 8; // per block: of one row, or of as many as fit side by side
};

constexpr int kept_slots = 4;     // of a thread
constexpr int least_threads = 16; // of a row

// How the launch is divided; the same for all threads.
struct GenericShape {
  int bits, threads; // of a row: 2 to the power of `bits`
  int rows;          // of a block
  bool vectors, kept;
};

template <Dtype Io>
__device__ __forceinline__ bool all_vectors(const RowsTask &t)
{
  constexpr int bytes = bytes_of(Io);
  u64 bits = vector_bits(t.a, bytes) | vector_bits(t.b, bytes) |
             vector_bits(t.y, bytes) | vector_bits(t.r, bytes) |
             vector_bits(t.gate) | vector_bits(t.scale) | vector_bits(t.shift);

  if (t.before.weight_dtype != Dtype::none) bits |= (u64)t.before.weight;
  if (t.before.bias_dtype != Dtype::none) bits |= (u64)t.before.bias;
  if (t.after.weight_dtype != Dtype::none) bits |= (u64)t.after.weight;
  if (t.after.bias_dtype != Dtype::none) bits |= (u64)t.after.bias;
  return bits % 16 == 0 && t.hidden % slot_size == 0;
}

template <Dtype Io, RowsGeneric P>
__device__ __forceinline__ GenericShape shape_of(const RowsTask &t)
{
  constexpr int most = P.warps * warp_size, held = kept_slots * slot_size;
  const int each = (i64)gridDim.x >= t.batch * t.seq ? slot_size : held;
  int bits = 0;

#pragma unroll 1
  while (1 << bits < least_threads ||
         (1 << bits < most && each << bits < t.hidden))
    ++bits;
  return {bits, 1 << bits, most >> bits, all_vectors<Io>(t),
          t.hidden <= held << bits};
}

// Both are below 2^40; 64-bit division is slow, and rarely needed.
__device__ __forceinline__ i64 divided(i64 a, i64 b)
{
  if (((u64)a | (u64)b) >> 32 == 0) return (u32)a / (u32)b;
  return a / b;
}

// Where a row begins in each tensor, in bytes.  It waits in shared memory, as
// it would take a quarter of the registers.
struct GenericPlace {
  i64 a, b, y, r, gate, scale, shift;
};

template <Dtype Io>
__device__ __forceinline__ i64 start_of(const RowsTensor &x, i64 batch,
                                        i64 token)
{
  return (batch * x.batch + token * x.token) * bytes_of(Io);
}
// The operand's row for this token.
__device__ __forceinline__ i64 start_of(const RowsOperand &o, i64 batch,
                                        i64 token, i64 frame)
{
  i64 at = 0;

  if (o.form >= Form::batch) at = batch * o.batch;
  if (o.form == Form::token) at += token * o.token;
  if (o.form == Form::frame) at += frame * o.token;
  return at * bytes_of(o.dtype);
}

template <Dtype Io>
__device__ __forceinline__ void find_place(volatile GenericPlace &p,
                                           const RowsTask &t, i64 at)
{
  const i64 batch = at < t.seq ? 0 : divided(at, t.seq);
  const i64 token = at - batch * t.seq;
  const bool frames = t.gate.form == Form::frame ||
                      t.scale.form == Form::frame ||
                      t.shift.form == Form::frame;
  const i64 frame = frames ? divided(token, t.frame_tokens) : 0;

  p.a = start_of<Io>(t.a, batch, token);
  p.b = start_of<Io>(t.b, batch, token);
  p.y = start_of<Io>(t.y, batch, token);
  p.r = start_of<Io>(t.r, batch, token);
  p.gate = start_of(t.gate, batch, token, frame);
  p.scale = start_of(t.scale, batch, token, frame);
  p.shift = start_of(t.shift, batch, token, frame);
}

// The walks through a row, in their order: those that are not needed are left
// out.
enum class Walk { branch, stream, result };

// What is in shared memory of a slot.  `sent`: the inputs, as they lie in
// memory; with 16-bit dtypes there is room for both.
enum class Kept { nothing, sent, stream };

template <Dtype Io, Rounding How, RowsGeneric P> struct GenericRow {
  using Real = RowsReal<Io, How>;
  static constexpr bool both = bytes_of(Io) == 2; // are sent for
  static constexpr int block = P.warps * warp_size;
  const RowsTask &t;
  GenericShape shape;
  const volatile GenericPlace &place;
  int thread, slots; // slots: of this thread, 0: no row
  Kept kept = Kept::nothing;
  RowsScale<Real> first{}, second{};

  __device__ __forceinline__ SlotColumns columns(int slot) const
  {
    const int at = (slot << shape.bits) * slot_size;
    if (shape.vectors)
      return {(u32)(at + thread * slot_size), 1, slot_size, true};
    return {(u32)(at + thread), (u32)shape.threads,
            (t.hidden - at - thread + shape.threads - 1) >> shape.bits, false};
  }
  __device__ __forceinline__ void find_slots(bool live)
  {
    const int mine = shape.vectors ? thread * slot_size : thread;
    const int per = slot_size << shape.bits;
    slots = live ? (t.hidden - mine + per - 1) >> shape.bits + slot_bits : 0;
  }
  // How many elements those are.
  __device__ __forceinline__ int count() const
  {
    if (shape.vectors || slots == 0) return slots * slot_size;
    return (t.hidden - thread + shape.threads - 1) >> shape.bits;
  }

  // A tensor's or an operand's row.
  template <class T>
  __device__ __forceinline__ static char *row(const T &x, i64 at)
  {
    return (char *)x.data + at;
  }

  // The halves of a slot that is kept: 16 bytes each.
  __device__ __forceinline__ static float *half(int slot, int i)
  {
    __shared__ __align__(16) float all[kept_slots * slot_size * block];
    return all + ((slot * 2 + i) * block + threadIdx.x) * 4;
  }
  __device__ __forceinline__ static void keep(int slot,
                                              const float (&x)[slot_size])
  {
    Pack<32> pack;
    put<Dtype::fp32, slot_size>(pack.word, x);
#pragma unroll
    for (int i = 0; i < 2; ++i)
      store<16, Store::plain>(
          half(slot, i), Pack<16>{pack.word[4 * i], pack.word[4 * i + 1],
                                  pack.word[4 * i + 2], pack.word[4 * i + 3]});
  }
  __device__ __forceinline__ void send() const
  {
    constexpr int halves = both ? 1 : 2;
#pragma unroll 1
    for (int slot = 0; slot < slots; ++slot) {
      const u32 at = columns(slot).at * bytes_of(Io);
#pragma unroll
      for (int i = 0; i < halves; ++i)
        copy_ahead<16>(half(slot, i), row(t.b, place.b) + at + 16 * i);
      if (both && t.add) copy_ahead<16>(half(slot, 1), row(t.a, place.a) + at);
    }
    close_copies();
    wait_copies<0>();
  }

  // The inputs of a slot, or what has become of them.
  __device__ __forceinline__ void fetch_branch(SlotValues &b, int slot,
                                               SlotColumns c) const
  {
    if (kept == Kept::nothing) {
      b.load(Io, row(t.b, place.b), c);
    } else {
      b.load_vector((const char *)half(slot, 0), 0);
      if (!both || kept == Kept::stream)
        b.load_vector((const char *)half(slot, 1), 4);
    }
    if (kept != Kept::stream) b.widen(Io);
  }
  __device__ __forceinline__ void fetch_residual(SlotValues &a, int slot,
                                                 SlotColumns c) const
  {
    if (both && kept == Kept::sent)
      a.load_vector((const char *)half(slot, 1), 0);
    else
      a.load(Io, row(t.a, place.a), c);
  }

  // norm(x), with its weight and bias.
  __device__ __forceinline__ void normalise(float (&x)[slot_size],
                                            const RowsNorm &n,
                                            RowsScale<Real> s,
                                            SlotColumns c) const
  {
    const RowsOperand w = affine_operand(n.weight, n.weight_dtype);
    const RowsOperand b = affine_operand(n.bias, n.bias_dtype);
    const bool weighs = w.form != Form::none;
    const bool biased = b.form != Form::none && n.kind == Norm::layer;

    if (!weighs && !biased) {
#pragma unroll
      for (int e = 0; e < slot_size; ++e)
        x[e] = normed<Io, How>(x[e], s, false, 0.0f, false, 0.0f);
      return;
    }
    SlotValues weight, bias;
    weight.load(w, n.weight, c), bias.load(b, n.bias, c);
    weight.widen(w, 1.0f), bias.widen(b, 0.0f);
#pragma unroll
    for (int e = 0; e < slot_size; ++e)
      x[e] = normed<Io, How>(x[e], s, true, weight[e], biased, bias[e]);
  }

  // From x of the branch, r of the chain.
  __device__ __forceinline__ void stream(float (&x)[slot_size], int slot,
                                         SlotColumns c) const
  {
    SlotValues a, gate;

    if (t.add) {
      fetch_residual(a, slot, c);
      gate.load(t.gate, row(t.gate, place.gate), c);
    }
    if (t.has_before) normalise(x, t.before, first, c);
    if (!t.add) return;
    gate.widen(t.gate, 1.0f), a.widen(Io);
    if (t.tanh) {
#pragma unroll
      for (int e = 0; e < slot_size; ++e)
        x[e] =
            added<Io, How>(a[e], x[e], true, gate_of<Io, How>(gate[e], true));
      return;
    }
#pragma unroll
    for (int e = 0; e < slot_size; ++e)
      x[e] = added<Io, How>(a[e], x[e], true, gate[e]);
  }

  // From r of the chain, the outputs.
  __device__ __forceinline__ void finish(float (&x)[slot_size],
                                         SlotColumns c) const
  {
    if (t.r.data) store_slot<Io>(row(t.r, place.r), c, x);
    if (t.has_after) normalise(x, t.after, second, c);
    if (t.scale.form != Form::none || t.shift.form != Form::none) {
      SlotValues scale, shift;
      scale.load(t.scale, row(t.scale, place.scale), c);
      shift.load(t.shift, row(t.shift, place.shift), c);
      scale.widen(t.scale, 0.0f), shift.widen(t.shift, 0.0f);
#pragma unroll
      for (int e = 0; e < slot_size; ++e)
        x[e] = modulated<Io, How>(x[e], true, scale[e], true, shift[e]);
    }
    store_slot<Io>(row(t.y, place.y), c, x);
  }

  __device__ __forceinline__ void take(Walk walk, bool centred,
                                       Spread<Real> &spread)
  {
    const bool fresh = walk != Walk::branch && kept != Kept::stream;
    const bool keeps = walk == Walk::stream && shape.kept &&
                       (t.add || t.has_before); // else it is the branch

#pragma unroll 1
    for (int slot = 0; slot < slots; ++slot) {
      const SlotColumns c = columns(slot);
      SlotValues b;
      float x[slot_size];
      fetch_branch(b, slot, c);
#pragma unroll
      for (int e = 0; e < slot_size; ++e) x[e] = b[e];
      if (fresh) stream(x, slot, c);
      if (walk == Walk::result) {
        finish(x, c);
        continue;
      }
      if (keeps) keep(slot, x);
      if (centred && slot == 0) spread.centre(x, c.count);
      spread.add(x, c.count);
    }
    if (keeps) kept = Kept::stream;
  }

  __device__ __forceinline__ bool is_needed(Walk walk) const
  {
    if (walk == Walk::branch) return t.has_before;
    return walk == Walk::result || t.has_after;
  }
  __device__ __forceinline__ void run(int &turn)
  {
    if (shape.vectors && shape.kept) send(), kept = Kept::sent;
#pragma unroll 1
    for (int at = 0; at <= (int)Walk::result; ++at) {
      const Walk walk = (Walk)at;
      const bool branch = walk == Walk::branch;
      const Norm kind = branch ? t.before.kind : t.after.kind;
      Spread<Real> spread;
      if (!is_needed(walk)) continue;
      take(walk, kind == Norm::layer, spread);
      if (walk == Walk::result) return;
      const RowsScale<Real> scale = settle<P.warps>(
          spread, kind, count(), t.hidden, branch ? t.before.eps : t.after.eps,
          shape.threads, turn);
      if (branch)
        first = scale;
      else
        second = scale;
    }
  }
};

template <Dtype Io, Rounding How, RowsGeneric P>
__device__ __forceinline__ void rows_generic(const RowsTask &t)
{
  constexpr int most = P.warps * warp_size / least_threads;
  __shared__ volatile GenericPlace places[most]; // of a row, for each warp
  const GenericShape shape = shape_of<Io, P>(t);
  const int sharing = least(shape.threads, warp_size);
  const int group = threadIdx.x >> shape.bits;
  const i64 rows = t.batch * t.seq, step = (i64)gridDim.x * shape.rows;
  volatile GenericPlace &place = places[threadIdx.x / sharing];
  int turn = 0;

#pragma unroll 1
  for (i64 at = (i64)blockIdx.x * shape.rows; at < rows; at += step) {
    const bool live = at + group < rows;
    GenericRow<Io, How, P> row{t, shape, place,
                               (int)threadIdx.x & shape.threads - 1, 0};
    __syncwarp();
    if (threadIdx.x % sharing == 0)
      find_place<Io>(place, t, live ? at + group : at);
    __syncwarp();
    row.find_slots(live);
    row.run(turn);
  }
}

} // namespace dt

using RowsDefault = dt::RowsGeneric;

// What the specs of all row ops name; task_of() is in the op's facts.cuh.
template <auto F, RowsDefault P, class Args>
__device__ __forceinline__ void rows_default(const Args &a)
{
  dt::rows_generic<F.io, F.rounding, P>(task_of(a));
}
