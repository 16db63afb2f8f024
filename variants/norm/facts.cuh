// norm: what may be compiled in, and what every kernel is handed.
#pragma once
#include "variants/common/rows_task.cuh"

struct NormFacts {
  dt::Dtype io = dt::Dtype::bf16;
  int hidden = 3072;
  dt::Norm norm = dt::Norm::layer;
  dt::Dtype weight = dt::Dtype::none;
  dt::Dtype bias = dt::Dtype::none;
  dt::Rounding rounding = dt::Rounding::once;
  bool inplace = false;
};

// The `arguments` of op.lua, in order; strides are in elements.
struct NormArgs {
  const void *x;
  void *y;
  const void *weight, *bias;
  dt::i64 x_batch, x_token;
  dt::i64 y_batch, y_token;
  dt::i64 batch, seq, frame_tokens;
  int hidden;
  int norm, weight_dtype, bias_dtype;
  float eps;
};

__device__ __forceinline__ dt::RowsTask task_of(const NormArgs &a)
{
  dt::RowsTask t{};

  t.b = {a.x, a.x_batch, a.x_token};
  t.y = {a.y, a.y_batch, a.y_token};
  t.has_after = true;
  t.after = {a.weight, a.bias, (dt::Norm)a.norm,
              (dt::Dtype)a.weight_dtype, (dt::Dtype)a.bias_dtype, a.eps};
  t.batch = a.batch, t.seq = a.seq, t.frame_tokens = a.frame_tokens;
  t.hidden = a.hidden;
  return t;
}
