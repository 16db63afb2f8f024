/*
 * call.h - a call with tensors: of dd_launch(), or of an op's entry point.
 *
 * tensors.c finds its plan and launches it; ops.c makes one of the arguments
 * of each op.
 */
#ifndef DIFFDISPATCH_CALL_H
#define DIFFDISPATCH_CALL_H

#include "entry.h"

/* An op's own entry point, by the list in diffdispatch.h; NULL ends a list. */
struct entry_point {
  const char *op;
  uint32_t tensor_count, attr_count;
  const char *tensors[OP_MAX_TENSORS + 1], *attrs[OP_MAX_ATTRS + 1];
};

struct call {
  const struct entry_point *entry; /* NULL: the text begins with the op */
  const double *given; /* the entry's attributes; NULL: all are the default */
  const dd_attr *attrs;            /* those of a call without an entry */
  size_t attr_count;
  const char *text;                /* what tensors cannot say */
  const dd_tensor *const *tensors; /* in the entry's order, or else the op's */
  size_t count;
  void *workspace;
  size_t workspace_size, *workspace_needed;
  size_t length; /* of the text */
};

/* Finds the plan for these arguments without a lock, or makes it, and launches
 * it. */
dd_status call_run(struct dd_context *ctx, const struct call *c, void *stream);

int64_t tensor_dtype(const dd_tensor *t); /* a dd_dtype; 0: none of them */

#endif
