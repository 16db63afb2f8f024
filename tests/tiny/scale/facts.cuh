#pragma once
#include "variants/common/tiny.cuh"

struct ScaleArgs {
  const float *x;
  float *out;
  long long x_stride, out_stride, rows;
  int width, mode;
  float factor;
};
