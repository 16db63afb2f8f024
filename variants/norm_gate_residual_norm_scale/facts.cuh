// norm_gate_residual_norm_scale:
// what may be compiled in, and what every kernel is handed.
#pragma once
#include "variants/common/rows_task.cuh"

struct NormGateResidualNormScaleFacts {
  dt::Dtype io = dt::Dtype::bf16;
  int hidden = 3072;
  dt::Norm norm = dt::Norm::layer;
  dt::Norm2 norm2 = dt::Norm2::layer;
  dt::Dtype weight = dt::Dtype::none;
  dt::Dtype bias = dt::Dtype::none;
  dt::Dtype weight2 = dt::Dtype::none;
  dt::Dtype bias2 = dt::Dtype::none;
  dt::Form scale = dt::Form::row;
  dt::Dtype scale_dtype = dt::Dtype::bf16;
  dt::Form shift = dt::Form::row;
  dt::Dtype shift_dtype = dt::Dtype::bf16;
  dt::Form gate = dt::Form::row;
  dt::Dtype gate_dtype = dt::Dtype::bf16;
  bool gate_tanh = false;
  dt::Rounding rounding = dt::Rounding::once;
  bool inplace = false;
};

// The `arguments` of op.lua, in order; strides are in elements.
struct NormGateResidualNormScaleArgs {
  const void *x, *h, *scale, *shift, *gate;
  void *y, *r_out;
  const void *weight, *bias;
  const void *weight2, *bias2;
  dt::i64 x_batch, x_token;
  dt::i64 h_batch, h_token;
  dt::i64 scale_batch, scale_token;
  dt::i64 shift_batch, shift_token;
  dt::i64 gate_batch, gate_token;
  dt::i64 y_batch, y_token;
  dt::i64 r_out_batch, r_out_token;
  dt::i64 batch, seq, frame_tokens;
  int hidden;
  int norm, weight_dtype, bias_dtype;
  int norm2, weight2_dtype, bias2_dtype;
  int scale_form, scale_dtype;
  int shift_form, shift_dtype;
  int gate_form, gate_dtype;
  int gate_tanh;
  float eps;
  float eps2;
};

__device__ __forceinline__ dt::RowsTask
task_of(const NormGateResidualNormScaleArgs &a)
{
  dt::RowsTask t{};

  t.a = {a.x, a.x_batch, a.x_token};
  t.b = {a.h, a.h_batch, a.h_token};
  t.y = {a.y, a.y_batch, a.y_token};
  t.r = {a.r_out, a.r_out_batch, a.r_out_token};
  t.add = true;
  t.tanh = a.gate_tanh != 0;
  t.has_before = true;
  t.before = {a.weight, a.bias, (dt::Norm)a.norm,
              (dt::Dtype)a.weight_dtype, (dt::Dtype)a.bias_dtype, a.eps};
  t.has_after = true;
  t.after = {a.weight2, a.bias2, (dt::Norm)a.norm2,
              (dt::Dtype)a.weight2_dtype, (dt::Dtype)a.bias2_dtype, a.eps2};
  t.scale = {a.scale, a.scale_batch, a.scale_token, (dt::Form)a.scale_form,
            (dt::Dtype)a.scale_dtype};
  t.shift = {a.shift, a.shift_batch, a.shift_token, (dt::Form)a.shift_form,
            (dt::Dtype)a.shift_dtype};
  t.gate = {a.gate, a.gate_batch, a.gate_token, (dt::Form)a.gate_form,
            (dt::Dtype)a.gate_dtype};
  t.batch = a.batch, t.seq = a.seq, t.frame_tokens = a.frame_tokens;
  t.hidden = a.hidden;
  return t;
}
