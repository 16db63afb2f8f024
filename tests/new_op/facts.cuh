// twice: what may be compiled in, and what every kernel is handed.
#pragma once
#include "variants/common/number.cuh"

struct TwiceFacts {
  dt::Dtype io = dt::Dtype::bf16;
  dt::Rounding rounding = dt::Rounding::once;
};

struct TwiceArgs {
  const void *x;
  void *y;
  dt::i64 x_stride, y_stride, rows;
  int width;
};
