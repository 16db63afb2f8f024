/*
 * reference.h - what an op's result is, in double: variants/OP/reference.c.
 *
 * A reference is exact mathematics on the inputs as they are stored; it knows
 * no kernel.  The tuner runs one call per range of tokens, on many threads; a
 * large problem has 10^9 elements, so loops over elements take no decision.
 */
#ifndef DIFFTUNE_REFERENCE_H
#define DIFFTUNE_REFERENCE_H

#include "problem.h"

/* Host memory, as it was before the launch; strides in elements. */
struct reference_tensor {
  const void *data;
  int64_t dtype;
  uint32_t rank;
  int64_t extent[4], stride[4];
  bool present;
};

struct reference_call {
  const struct problem *problem;
  const struct reference_tensor *tensor; /* in the op's order */
  const double *attr;
  int64_t first, last; /* the range of the op's items (op.lua's `items`; else of
                          the outermost dim) to compute */
};

/* For one tensor, dense, from the range's first element to its last.  `value` is NULL for
 * what is not an output.  Besides 1 ulp of the io dtype at `value`, a kernel
 * may be off by `slack`, for its fp32 arithmetic; and the split form by
 * `split_slack` on top, for what it rounds in between. */
struct reference_out {
  double *value;
  float *slack, *split_slack;
};

/* reference_OP, one out per tensor of the op. */
typedef void reference_fn(const struct reference_call *call,
                          struct reference_out *out);

#endif
