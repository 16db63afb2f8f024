// A launch of a row op: all row ops are parts of one chain,
//     t = before ? norm(b) : b        the norm of the branch
//     r = add ? a + gate * t : t      onto the stream; an output if there is y
//     n = after ? norm(r) : r
//     y = modulate ? n * (1 + scale) + shift : n
#pragma once
#include "variants/common/pack.cuh"

namespace dt {

// [batch, seq, hidden], strides in elements.
struct RowsTensor {
  const void *data;
  i64 batch, token;
};

// The form and dtype of an operand where they are known at run time only.
struct RowsOperand {
  const void *data;
  i64 batch, token; // strides; token is that of frames, too
  Form form;
  Dtype dtype;
};

struct RowsNorm {
  const void *weight, *bias;
  Norm kind;
  Dtype weight_dtype, bias_dtype;
  float eps;
};

struct RowsTask {
  RowsTensor a, b, y, r; // r: {} where only one is an output, and that is y
  bool add, tanh;
  bool has_before, has_after;
  RowsNorm before, after;
  RowsOperand gate, scale, shift;
  i64 batch, seq, frame_tokens;
  int hidden;
};

} // namespace dt
