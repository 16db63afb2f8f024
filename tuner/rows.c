/* rows.c - a strided tensor, row by row. */
#include "rows.h"

int64_t row_offset(const struct tensor_shape *s, int64_t row)
{
  int64_t at = 0;

  for (int d = (int)s->rank - 2; d >= 0; --d) {
    at += row % s->extent[d] * s->stride[d];
    row /= s->extent[d];
  }
  return at;
}
