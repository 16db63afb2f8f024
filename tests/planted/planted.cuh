// Kernels that are wrong on purpose: what the check must refuse, and one
// (fault 0) that it must accept.  One block per head row, plain loops.
#pragma once
#include "variants/common/number.cuh"
#include "variants/qknorm_rope/facts.cuh"

struct QkNormRopePlanted {
  int fault = 0; // see planted.py, which names them
};

template <QkNormRopeFacts F, QkNormRopePlanted P>
__device__ void qknorm_rope_planted(const QkNormRopeArgs &a)
{
  __shared__ float part[64];
  const int heads = a.q_heads + a.kv_heads;
  const long long token = blockIdx.x / heads;
  const int at = blockIdx.x % heads, lane = threadIdx.x;
  const bool q = at < a.q_heads;
  const int head = q ? at : at - a.q_heads, half = a.rope_dim / 2;
  // 13: an output that is no longer fresh: only a race launches a kernel twice
  if (P.fault == 13 && blockIdx.x == 0 && lane == 0 && a.q_out != a.q) {
    const float old = dt::read_one<F.io>(a.q_out, 0);
    if (old == old) *(volatile int *)16 = 1;
  }
  const bool last_row = blockIdx.x + 1 == gridDim.x;
  const long long in_row = q ? token * a.q_token_stride + head * a.q_head_stride
                             : token * a.k_token_stride + head * a.k_head_stride;
  const long long out_row =
      q ? token * a.q_out_token_stride + head * a.q_out_head_stride
        : token * a.k_out_token_stride + head * a.k_out_head_stride;
  const void *in = q ? a.q : a.k;
  void *out = q ? a.q_out : a.k_out;
  const void *weight = (P.fault == 11 ? !q : q) ? a.q_weight : a.k_weight;

  float sum = 0;
  for (int i = lane; i < a.head_dim; i += 64) {
    const float x = dt::read_one<F.io>(in, in_row + i);
    sum += x * x;
  }
  const dt::i64 stride = q ? a.q_head_stride : a.k_head_stride;
  if (P.fault == 15 && lane == 0 && stride > a.head_dim) { // what is in a gap
    const float x = dt::read_one<F.io>(in, in_row + a.head_dim);
    sum += x * x;
  }
  part[lane] = sum;
  if (P.fault != 5) __syncthreads(); // 5: the missing barrier
  sum = 0;
  for (int i = 0; i < 64; ++i) sum += part[i];
  const float r = rsqrtf(sum / a.head_dim + (P.fault == 8 ? 0.f : a.eps));

  const dt::i64 position =
      P.fault == 9 ? token
      : a.position_type == (int)dt::Positions::none
          ? a.position_offset + token % a.seq
      : a.position_type == (int)dt::Positions::i32
          ? ((const int *)a.positions)[token]
          : ((const dt::i64 *)a.positions)[token];
  if (P.fault == 1 && last_row) return; // off by one
  for (int i = lane; i < half; i += 64) {
    const bool neox = a.layout == (int)dt::Layout::neox;
    const int e0 = neox ? i : 2 * i, e1 = neox ? i + half : 2 * i + 1;
    const dt::i64 angle = position * a.table_width + i;
    const dt::Dtype t = (dt::Dtype)a.cache_dtype;
    const bool joint = a.cache == (int)dt::Cache::joint;
    const float c = dt::read_any(t, a.cos, angle);
    const float s = joint ? dt::read_any(t, a.cos, angle + half)
                          : dt::read_any(t, a.sin, angle);
    const float w0 = dt::read_one<F.io>(weight, e0);
    const float w1 = dt::read_one<F.io>(weight, e1);
    const float x0 = dt::read_one<F.io>(in, in_row + e0) * r * w0;
    const float x1 = dt::read_one<F.io>(in, in_row + e1) * r * w1;
    float y0 = x0 * c - x1 * s, y1 = x1 * c + x0 * s;
    if (P.fault == 2 && last_row && i == half - 1) y1 *= 1.0625f; // one element
    if (P.fault == 12) y0 = x0 * c + x1 * s, y1 = x1 * c - x0 * s; // other way
    dt::write_one<F.io>(out, out_row + e0, y0);
    dt::write_one<F.io>(out, out_row + e1, y1);
  }
  for (int i = a.rope_dim + lane; i < a.head_dim; i += 64)
    dt::write_one<F.io>(out, out_row + i,
                        dt::read_one<F.io>(in, in_row + i) * r *
                            dt::read_one<F.io>(weight, i));
  __syncthreads(); // what lane 0 spoils below stays spoilt
  if (lane != 0) return;
  if (P.fault == 3 && last_row) // NaN in a tail
    dt::write_one<F.io>(out, out_row + a.head_dim - 1, __uint_as_float(0x7fffffffu));
  if (P.fault == 4 && last_row) // a write one past the end
    dt::write_one<F.io>(out, out_row + a.head_dim, 1.f);
  if (P.fault == 6 && at == 0 && token == 0) // one before the start
    dt::write_one<F.io>(out, out_row - 1, 1.f);
  if (P.fault == 7 && last_row) // an input
    dt::write_one<F.io>((void *)a.q_weight, 0, 3.f);
  if (P.fault == 10 && token == 0 && a.q_out_head_stride > a.head_dim) // a gap
    dt::write_one<F.io>(a.q_out, a.head_dim, 1.f);
}
