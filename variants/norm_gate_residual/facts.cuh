// norm_gate_residual: what may be compiled in, and what every kernel is handed.
#pragma once
#include "variants/common/rows_task.cuh"

struct NormGateResidualFacts {
  dt::Dtype io = dt::Dtype::bf16;
  int hidden = 3072;
  dt::Norm norm = dt::Norm::layer;
  dt::Dtype weight = dt::Dtype::none;
  dt::Dtype bias = dt::Dtype::none;
  dt::Form gate = dt::Form::row;
  dt::Dtype gate_dtype = dt::Dtype::bf16;
  bool gate_tanh = false;
  dt::Rounding rounding = dt::Rounding::once;
  bool inplace = false;
};

// The `arguments` of op.lua, in order; strides are in elements.
struct NormGateResidualArgs {
  const void *x, *h, *gate;
  void *y;
  const void *weight, *bias;
  dt::i64 x_batch, x_token;
  dt::i64 h_batch, h_token;
  dt::i64 gate_batch, gate_token;
  dt::i64 y_batch, y_token;
  dt::i64 batch, seq, frame_tokens;
  int hidden;
  int norm, weight_dtype, bias_dtype;
  int gate_form, gate_dtype;
  int gate_tanh;
  float eps;
};

__device__ __forceinline__ dt::RowsTask task_of(const NormGateResidualArgs &a)
{
  dt::RowsTask t{};

  t.a = {a.x, a.x_batch, a.x_token};
  t.b = {a.h, a.h_batch, a.h_token};
  t.y = {a.y, a.y_batch, a.y_token};
  t.add = true;
  t.tanh = a.gate_tanh != 0;
  t.has_before = true;
  t.before = {a.weight, a.bias, (dt::Norm)a.norm,
              (dt::Dtype)a.weight_dtype, (dt::Dtype)a.bias_dtype, a.eps};
  t.gate = {a.gate, a.gate_batch, a.gate_token, (dt::Form)a.gate_form,
            (dt::Dtype)a.gate_dtype};
  t.batch = a.batch, t.seq = a.seq, t.frame_tokens = a.frame_tokens;
  t.hidden = a.hidden;
  return t;
}
