/*
 * rows.h - a strided tensor, row by row: all dims but the last counted as one.
 */
#ifndef DIFFTUNE_ROWS_H
#define DIFFTUNE_ROWS_H

#include "problem.h"

/* Elements from the tensor's first to the row's first. */
int64_t row_offset(const struct tensor_shape *s, int64_t row);

#endif
