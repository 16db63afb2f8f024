// qknorm_rope: what may be compiled in, and what every kernel is handed.
#pragma once
#include "variants/common/device.cuh"

struct QkNormRopeFacts {
  dt::Dtype io = dt::Dtype::bf16;
  int head_dim = 128;
  int rope_dim = 128;
  dt::Layout layout = dt::Layout::interleaved;
  dt::Positions positions = dt::Positions::i64;
  int segments = 1;
  dt::Cache cache = dt::Cache::joint;
  dt::Dtype cache_dtype = dt::Dtype::fp32;
  dt::Rounding rounding = dt::Rounding::once;
  bool inplace = true;
};

// The `arguments` of op.lua, in order; strides are in elements, tokens those
// of the outputs.
struct QkNormRopeArgs {
  const void *q, *k;
  void *q_out, *k_out;
  const void *q_weight, *k_weight;
  const void *cos, *sin, *positions;
  dt::i64 q_token_stride, q_head_stride;
  dt::i64 k_token_stride, k_head_stride;
  dt::i64 q_out_token_stride, q_out_head_stride;
  dt::i64 k_out_token_stride, k_out_head_stride;
  dt::i64 table_width;
  dt::i64 tokens, seq, position_offset;
  int q_heads, kv_heads, head_dim, rope_dim;
  int layout, position_type, cache, cache_dtype;
  float eps;
  // With segments = 2: the first text_tokens rows of the outputs.
  const void *text_q, *text_k, *text_q_weight, *text_k_weight;
  dt::i64 text_q_token_stride, text_q_head_stride;
  dt::i64 text_k_token_stride, text_k_head_stride;
  dt::i64 text_tokens;
};
