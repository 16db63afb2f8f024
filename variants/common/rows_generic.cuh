// All row ops, everything looked up at run time: the body of the `generic`
// schemes.
//
// Fits every legal problem: extents, strides, kinds of norm, forms and dtypes
// of operands and alignment are arguments.  Short rows share a block.  The row
// is walked through once per statistic and once for the result, slot by slot;
// a thread has the same columns every time, so that a row may be its own
// output.  What is not too long is kept in shared memory from walk to walk:
// registers would need the loop unrolled, and with it all that may be in it.
#pragma once
#include "variants/common/rows_slot.cuh"

namespace dt {

struct RowsGeneric {
  int warps = 8; // per block: of one row, or of as many as fit side by side
};

constexpr int kept_slots = 4; // of a thread

// How the launch is divided; the same for all threads.
struct GenericShape {
  int threads; // of a row; a power of 2
  int rows;    // of a block
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
  constexpr int held = warp_size * kept_slots * slot_size; // by a warp
  int warps = 1;

  while (warps < P.warps && warps * held < t.hidden) warps *= 2;
  return {warps * warp_size, P.warps / warps, all_vectors<Io>(t),
          t.hidden <= warps * held};
}

// Both sums over the threads of a row, in every one of them; the whole block
// must be here.  `turn` alternates from call to call: nobody can be two ahead.
template <int Warps, class Real>
__device__ __forceinline__ void sum_threads(Real (&sum)[2], int threads,
                                            int &turn)
{
  __shared__ Real part[2][Warps][2];
  const int warp = threadIdx.x / warp_size, warps = threads / warp_size;
  const int first = warp & -warps;

  sum_lanes<warp_size>(sum);
  if (warps == 1) return;
  if (threadIdx.x % warp_size == 0)
    part[turn][warp][0] = sum[0], part[turn][warp][1] = sum[1];
  __syncthreads();
  sum[0] = part[turn][first][0], sum[1] = part[turn][first][1];
#pragma unroll 1
  for (int i = first + 1; i < first + warps; ++i)
    sum[0] += part[turn][i][0], sum[1] += part[turn][i][1];
  turn ^= 1;
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

// Where a row begins in each tensor, in elements.  It waits in shared memory,
// as it would take a quarter of the registers.
struct GenericPlace {
  i64 a, b, y, r, gate, scale, shift;
};

__device__ __forceinline__ void find_place(volatile GenericPlace &p,
                                           const RowsTask &t, i64 at)
{
  const i64 batch = divided(at, t.seq), token = at - batch * t.seq;
  const i64 frame = divided(token, t.frame_tokens);

  p.a = batch * t.a.batch + token * t.a.token;
  p.b = batch * t.b.batch + token * t.b.token;
  p.y = batch * t.y.batch + token * t.y.token;
  p.r = batch * t.r.batch + token * t.r.token;
  p.gate = operand_row(t.gate, batch, token, frame);
  p.scale = operand_row(t.scale, batch, token, frame);
  p.shift = operand_row(t.shift, batch, token, frame);
}

// The walks through a row, in their order: those that are not needed are left
// out.  A mean is corrected by the walk behind it.
enum class Walk { branch_mean, branch_squares, mean, squares, result };

template <Dtype Io, Rounding How, RowsGeneric P> struct GenericRow {
  using Real = RowsReal<Io, How>;
  const RowsTask &t;
  GenericShape shape;
  const volatile GenericPlace &place;
  int thread, slots; // slots: of this thread, 0: no row
  RowsScale<Real> first{}, second{};
  bool has_branch = false, has_stream = false; // what is kept of the row

  __device__ __forceinline__ SlotColumns columns(int slot) const
  {
    const int at = slot * shape.threads * slot_size;
    if (shape.vectors)
      return {(u32)(at + thread * slot_size), 1, slot_size, true};
    return {(u32)(at + thread), (u32)shape.threads,
            (t.hidden - at - thread + shape.threads - 1) / shape.threads,
            false};
  }
  __device__ __forceinline__ void find_slots(bool live)
  {
    const int per = shape.threads * slot_size;
    const int mine = shape.vectors ? thread * slot_size : thread;
    slots = live ? (t.hidden - mine + per - 1) / per : 0;
  }
  __device__ __forceinline__ const void *input(const RowsTensor &x,
                                               i64 row) const
  {
    return (const char *)x.data + row * bytes_of(Io);
  }

  // A slot that is kept: two vectors of fp32.
  __device__ __forceinline__ static float *kept(int slot)
  {
    constexpr int threads = P.warps * warp_size;
    __shared__ __align__(16) float row[kept_slots * slot_size * threads];
    return row + (slot * 2 * threads + threadIdx.x) * 4;
  }
  __device__ __forceinline__ static void keep(int slot,
                                              const float (&x)[slot_size])
  {
    constexpr int half = P.warps * warp_size * 4;
    Pack<32> pack;
    put<Dtype::fp32, slot_size>(pack.word, x);
#pragma unroll
    for (int i = 0; i < 2; ++i)
      store<16, Store::plain>(kept(slot) + i * half,
                              Pack<16>{pack.word[4 * i], pack.word[4 * i + 1],
                                       pack.word[4 * i + 2],
                                       pack.word[4 * i + 3]});
  }
  __device__ __forceinline__ static void recall(int slot, float (&x)[slot_size])
  {
    constexpr int half = P.warps * warp_size * 4;
    SlotValues v;
    v.load_vector((const char *)kept(slot), 0);
    v.load_vector((const char *)(kept(slot) + half), 4);
#pragma unroll
    for (int e = 0; e < slot_size; ++e) x[e] = v[e];
  }

  // The inputs of a slot, which is computed while those of the next come.
  __device__ __forceinline__ void fetch_branch(SlotValues &b, int slot) const
  {
    if (slot < slots && !has_branch && !has_stream)
      b.load(Io, input(t.b, place.b), columns(slot));
  }
  __device__ __forceinline__ void fetch_residual(SlotValues &a, int slot) const
  {
    if (t.add && slot < slots) a.load(Io, input(t.a, place.a), columns(slot));
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
    SlotValues weight, bias;

    weight.load(w, 0, c), bias.load(b, 0, c);
    weight.widen(w), bias.widen(b);
#pragma unroll
    for (int e = 0; e < slot_size; ++e)
      x[e] = normed<Io, How>(x[e], s, weighs, weight[e], biased, bias[e]);
  }

  // From x of the branch, r of the chain.
  __device__ __forceinline__ void stream(float (&x)[slot_size], SlotValues &a,
                                         SlotColumns c) const
  {
    const bool gates = t.gate.form != Form::none;
    SlotValues gate;

    if (t.has_before) normalise(x, t.before, first, c);
    if (!t.add) return;
    gate.load(t.gate, place.gate, c);
    gate.widen(t.gate), a.widen(Io);
#pragma unroll
    for (int e = 0; e < slot_size; ++e)
      x[e] = added<Io, How>(a[e], x[e], gates,
                            gate_of<Io, How>(gate[e], t.tanh));
  }

  // From r of the chain, the outputs.
  __device__ __forceinline__ void finish(float (&x)[slot_size],
                                         SlotColumns c) const
  {
    const bool scales = t.scale.form != Form::none;
    const bool shifts = t.shift.form != Form::none;
    SlotValues scale, shift;

    if (t.r.data) store_slot<Io>((void *)input(t.r, place.r), c, x);
    if (t.has_after) normalise(x, t.after, second, c);
    scale.load(t.scale, place.scale, c), shift.load(t.shift, place.shift, c);
    scale.widen(t.scale), shift.widen(t.shift);
#pragma unroll
    for (int e = 0; e < slot_size; ++e)
      x[e] = modulated<Io, How>(x[e], scales, scale[e], shifts, shift[e]);
    store_slot<Io>((void *)input(t.y, place.y), c, x);
  }

  // Adds x - mean and its square.
  __device__ __forceinline__ static void add_up(const float (&x)[slot_size],
                                                Real mean, int count,
                                                Real (&sum)[2])
  {
    Real part[2][4] = {};
#pragma unroll
    for (int e = 0; e < slot_size; ++e) {
      const Real d = e < count ? (Real)x[e] - mean : (Real)0;
      part[0][e % 4] += d;
      part[1][e % 4] += d * d;
    }
#pragma unroll
    for (int i = 0; i < 2; ++i)
      sum[i] += part[i][0] + part[i][1] + (part[i][2] + part[i][3]);
  }

  __device__ __forceinline__ void take(Walk walk, Real (&sum)[2])
  {
    const bool streams = walk >= Walk::mean;
    const bool fresh = !(streams ? has_stream : has_branch);
    const Real mean = walk == Walk::branch_squares ? first.mean
                      : walk == Walk::squares      ? second.mean
                                                   : (Real)0;
    SlotValues a, b;

    fetch_branch(b, 0);
    if (streams && fresh) fetch_residual(a, 0);
#pragma unroll 1
    for (int slot = 0; slot < slots; ++slot) {
      const SlotColumns c = columns(slot);
      float x[slot_size];
      if (has_branch || has_stream) {
        recall(slot, x);
      } else {
        b.widen(Io);
#pragma unroll
        for (int e = 0; e < slot_size; ++e) x[e] = b[e];
        fetch_branch(b, slot + 1);
      }
      if (streams && fresh) {
        stream(x, a, c);
        fetch_residual(a, slot + 1);
      }
      if (walk == Walk::result) {
        finish(x, c);
        continue;
      }
      if (shape.kept && fresh) keep(slot, x);
      add_up(x, mean, c.count, sum);
    }
    if (shape.kept) has_branch = !streams, has_stream = streams;
  }

  // What a walk's sums say of the norm.
  __device__ __forceinline__ void settle(RowsScale<Real> &s, const RowsNorm &n,
                                         bool squares, Real (&sum)[2]) const
  {
    const Real share = (Real)1 / (Real)t.hidden;
    const Real off = sum[0] * share;

    if (n.kind == Norm::layer) s.mean += off;
    if (!squares) return;
    sum[1] *= share;
    if (n.kind == Norm::layer) sum[1] -= off * off;
    s.r = root_inverse(sum[1] + (Real)n.eps);
  }

  __device__ __forceinline__ bool is_needed(Walk walk) const
  {
    switch (walk) {
    case Walk::branch_mean: return t.before.kind == Norm::layer;
    case Walk::mean: return t.has_after && t.after.kind == Norm::layer;
    case Walk::squares: return t.has_after;
    default: return true;
    }
  }
  __device__ __forceinline__ void run(int &turn)
  {
    const Walk from = t.has_before  ? Walk::branch_mean
                      : t.has_after ? Walk::mean
                                    : Walk::result;
#pragma unroll 1
    for (int at = (int)from; at <= (int)Walk::result; ++at) {
      const Walk walk = (Walk)at;
      const bool branch = walk < Walk::mean;
      Real sum[2] = {0, 0};
      if (!is_needed(walk)) continue;
      take(walk, sum);
      if (walk == Walk::result) return;
      sum_threads<P.warps>(sum, shape.threads, turn);
      if (branch)
        settle(first, t.before, walk == Walk::branch_squares, sum);
      else
        settle(second, t.after, walk == Walk::squares, sum);
    }
  }
};

template <Dtype Io, Rounding How, RowsGeneric P>
__device__ __forceinline__ void rows_generic(const RowsTask &t)
{
  __shared__ volatile GenericPlace places[P.warps]; // a row's, for each warp
  const GenericShape shape = shape_of<Io, P>(t);
  const int group = threadIdx.x / shape.threads;
  const i64 rows = t.batch * t.seq, step = (i64)gridDim.x * shape.rows;
  int turn = 0;

  for (i64 at = (i64)blockIdx.x * shape.rows; at < rows; at += step) {
    const bool live = at + group < rows;
    volatile GenericPlace &place = places[threadIdx.x / warp_size];
    GenericRow<Io, How, P> row{t, shape, place,
                               (int)threadIdx.x - group * shape.threads, 0};
    __syncwarp();
    if (threadIdx.x % warp_size == 0)
      find_place(place, t, live ? at + group : at);
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
