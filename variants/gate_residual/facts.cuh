// gate_residual: what may be compiled in, and what every kernel is handed.
#pragma once
#include "variants/common/rows_task.cuh"

struct GateResidualFacts {
  dt::Dtype io = dt::Dtype::bf16;
  int hidden = 3072;
  dt::Form gate = dt::Form::row;
  dt::Dtype gate_dtype = dt::Dtype::bf16;
  bool gate_tanh = false;
  dt::Rounding rounding = dt::Rounding::once;
  bool inplace = false;
};

// The `arguments` of op.lua, in order; strides are in elements.
struct GateResidualArgs {
  const void *x, *h, *gate;
  void *y;
  dt::i64 x_batch, x_token;
  dt::i64 h_batch, h_token;
  dt::i64 gate_batch, gate_token;
  dt::i64 y_batch, y_token;
  dt::i64 batch, seq, frame_tokens;
  int hidden;
  int gate_form, gate_dtype;
  int gate_tanh;
};

__device__ __forceinline__ dt::RowsTask task_of(const GateResidualArgs &a)
{
  dt::RowsTask t{};

  t.a = {a.x, a.x_batch, a.x_token};
  t.b = {a.h, a.h_batch, a.h_token};
  t.y = {a.y, a.y_batch, a.y_token};
  t.add = true;
  t.tanh = a.gate_tanh != 0;
  t.gate = {a.gate, a.gate_batch, a.gate_token, (dt::Form)a.gate_form,
            (dt::Dtype)a.gate_dtype};
  t.batch = a.batch, t.seq = a.seq, t.frame_tokens = a.frame_tokens;
  t.hidden = a.hidden;
  return t;
}
