// residual_norm_scale_shift:
// what may be compiled in, and what every kernel is handed.
#pragma once
#include "variants/common/rows_task.cuh"

struct ResidualNormScaleShiftFacts {
  dt::Dtype io = dt::Dtype::bf16;
  int hidden = 3072;
  dt::Norm norm = dt::Norm::layer;
  dt::Dtype weight = dt::Dtype::none;
  dt::Dtype bias = dt::Dtype::none;
  dt::Form scale = dt::Form::row;
  dt::Dtype scale_dtype = dt::Dtype::bf16;
  dt::Form shift = dt::Form::row;
  dt::Dtype shift_dtype = dt::Dtype::bf16;
  dt::Form gate = dt::Form::row;
  dt::Dtype gate_dtype = dt::Dtype::bf16;
  dt::Rounding rounding = dt::Rounding::once;
  bool inplace = false;
};

// The `arguments` of op.lua, in order; strides are in elements.
struct ResidualNormScaleShiftArgs {
  const void *residual, *x, *scale, *shift, *gate;
  void *y, *r_out;
  const void *weight, *bias;
  dt::i64 residual_batch, residual_token;
  dt::i64 x_batch, x_token;
  dt::i64 scale_batch, scale_token;
  dt::i64 shift_batch, shift_token;
  dt::i64 gate_batch, gate_token;
  dt::i64 y_batch, y_token;
  dt::i64 r_out_batch, r_out_token;
  dt::i64 batch, seq, frame_tokens;
  int hidden;
  int norm, weight_dtype, bias_dtype;
  int scale_form, scale_dtype;
  int shift_form, shift_dtype;
  int gate_form, gate_dtype;
  float eps;
};

__device__ __forceinline__ dt::RowsTask
task_of(const ResidualNormScaleShiftArgs &a)
{
  dt::RowsTask t{};

  t.a = {a.residual, a.residual_batch, a.residual_token};
  t.b = {a.x, a.x_batch, a.x_token};
  t.y = {a.y, a.y_batch, a.y_token};
  t.r = {a.r_out, a.r_out_batch, a.r_out_token};
  t.add = true;
  t.has_after = true;
  t.after = {a.weight, a.bias, (dt::Norm)a.norm,
              (dt::Dtype)a.weight_dtype, (dt::Dtype)a.bias_dtype, a.eps};
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
