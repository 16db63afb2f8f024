// qknorm_rope_packed: what may be compiled in, and what every kernel is handed.
#pragma once
#include "variants/common/device.cuh"

struct QkNormRopePackedFacts {
  dt::Dtype io = dt::Dtype::bf16;
  int head_dim = 128;
  int rope_dim = 128;
  dt::Layout layout = dt::Layout::interleaved;
  dt::Positions positions = dt::Positions::i64;
  bool yarn = false;
  dt::Rounding rounding = dt::Rounding::once;
};

// The `arguments` of op.lua, in order; the stride is in elements.
struct QkNormRopePackedArgs {
  void *qkv;
  const void *q_weight, *k_weight, *positions;
  dt::i64 token_stride, tokens;
  int q_heads, kv_heads, head_dim, rope_dim;
  int layout, position_type, yarn;
  float eps, base, factor, low, high, attention_factor;
};
