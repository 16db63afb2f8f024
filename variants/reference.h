/*
 * reference.h - what an op's result is, in double: variants/OP/reference.c.
 *
 * A reference is exact mathematics on the inputs as they are stored; it knows
 * no kernel.  It has two halves.  `plan`, on the host, looks up in the problem
 * all that there is to know.  `items` computes a range of tokens from the plan
 * alone: on many threads, or on a GPU, where this text is CUDA C++ and
 * REFERENCE_DEVICE is defined.  A large problem has 10^9 elements, so loops
 * over elements take no decision.
 */
#ifndef DIFFTUNE_REFERENCE_H
#define DIFFTUNE_REFERENCE_H

#ifndef REFERENCE_DEVICE
#include <math.h>
#include <string.h>

#include "problem.h"
#endif

enum {
  REFERENCE_TENSORS = 16,
  REFERENCE_PLAN = 2560, /* bytes at most: a kernel gets it as an argument */
};

/* As it was before the launch, where `items` will run; strides in elements. */
struct reference_tensor {
  const void *data;
  int64_t dtype;
  int64_t rank, extent[4], stride[4];
  bool present;
  /* Where it is set (never on a GPU), elements come from here: n of them, from
   * element `at` on. */
  void (*read)(const struct reference_tensor *t, int64_t at, int64_t n,
               double *to);
  void *user; /* of read() */
};

/* For one tensor, dense, from the range's first element to its last.  `value`
 * is NULL for what is not an output.  Besides 1 ulp of the io dtype at `value`,
 * a kernel may be off by `slack`, for its fp32 arithmetic; and the split form
 * by `split_slack` on top, for what it rounds in between. */
struct reference_out {
  double *value;
  float *slack, *split_slack;
};

#ifndef REFERENCE_DEVICE

struct reference_call {
  const struct problem *problem;
  const struct reference_tensor *tensor; /* in the op's order */
  const double *attr;
};

/* Writes a plan, which points to nothing but the tensors' data. */
typedef void reference_plan(const struct reference_call *call, void *plan);
/* Computes items [first, last) of the op (op.lua's `items`; else of the
 * outermost dim); one `out` per tensor of the op. */
typedef void reference_items(const void *plan, int64_t first, int64_t last,
                             const struct reference_out *out);

/* reference_OP */
struct reference {
  reference_plan *plan;
  reference_items *items;
  size_t plan_size;
  const char *file;  /* where the text of `items` is */
  const char *entry; /* what it is called there */
};

#endif
#endif
