// rope_table: what may be compiled in, and what every kernel is handed.
#pragma once
#include "variants/common/device.cuh"

struct RopeTableFacts {
  dt::Dtype io = dt::Dtype::fp32;
  int rope_dim = 128;
  dt::Positions positions = dt::Positions::i64;
  bool yarn = false;
  dt::Rounding rounding = dt::Rounding::once;
};

// The `arguments` of op.lua, in order.
struct RopeTableArgs {
  const void *positions;
  void *cos, *sin;
  dt::i64 tokens;
  int rope_dim, position_type, yarn;
  float base, factor, low, high, attention_factor;
};
