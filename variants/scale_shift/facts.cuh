// scale_shift: what may be compiled in, and what every kernel is handed.
#pragma once
#include "variants/common/rows_task.cuh"

struct ScaleShiftFacts {
  dt::Dtype io = dt::Dtype::bf16;
  int hidden = 3072;
  dt::Form scale = dt::Form::row;
  dt::Dtype scale_dtype = dt::Dtype::bf16;
  dt::Form shift = dt::Form::row;
  dt::Dtype shift_dtype = dt::Dtype::bf16;
  dt::Rounding rounding = dt::Rounding::once;
  bool inplace = false;
};

// The `arguments` of op.lua, in order; strides are in elements.
struct ScaleShiftArgs {
  const void *x, *scale, *shift;
  void *y;
  dt::i64 x_batch, x_token;
  dt::i64 scale_batch, scale_token;
  dt::i64 shift_batch, shift_token;
  dt::i64 y_batch, y_token;
  dt::i64 batch, seq, frame_tokens;
  int hidden;
  int scale_form, scale_dtype;
  int shift_form, shift_dtype;
};

__device__ __forceinline__ dt::RowsTask task_of(const ScaleShiftArgs &a)
{
  dt::RowsTask t{};

  t.b = {a.x, a.x_batch, a.x_token};
  t.y = {a.y, a.y_batch, a.y_token};
  t.scale = {a.scale, a.scale_batch, a.scale_token, (dt::Form)a.scale_form,
            (dt::Dtype)a.scale_dtype};
  t.shift = {a.shift, a.shift_batch, a.shift_token, (dt::Form)a.shift_form,
            (dt::Dtype)a.shift_dtype};
  t.batch = a.batch, t.seq = a.seq, t.frame_tokens = a.frame_tokens;
  t.hidden = a.hidden;
  return t;
}
