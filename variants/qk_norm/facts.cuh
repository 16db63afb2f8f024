// qk_norm: what may be compiled in, and what every kernel is handed.
#pragma once
#include "variants/common/device.cuh"

struct QkNormFacts {
  dt::Dtype io = dt::Dtype::bf16;
  int head_dim = 128;
  int segments = 1;
  dt::Dtype weight = dt::Dtype::bf16;
  dt::Rounding rounding = dt::Rounding::once;
  bool inplace = true;
};

// The `arguments` of op.lua, in order; strides are in elements, tokens those
// of the outputs.
struct QkNormArgs {
  const void *q, *k;
  void *q_out, *k_out;
  const void *q_weight, *k_weight;
  dt::i64 q_token_stride, q_head_stride;
  dt::i64 k_token_stride, k_head_stride;
  dt::i64 q_out_token_stride, q_out_head_stride;
  dt::i64 k_out_token_stride, k_out_head_stride;
  dt::i64 tokens;
  int q_heads, kv_heads, head_dim;
  int weight_dtype;
  float eps;
  // With segments = 2: the first text_tokens rows of the outputs.
  const void *text_q, *text_k, *text_q_weight, *text_k_weight;
  dt::i64 text_q_token_stride, text_q_head_stride;
  dt::i64 text_k_token_stride, text_k_head_stride;
  dt::i64 text_tokens;
};
