/*
 * run.h - a candidate, ready to be launched on a problem.
 */
#ifndef DIFFTUNE_RUN_H
#define DIFFTUNE_RUN_H

#include "device.h"
#include "variant.h"

/* A variant that is on the device. */
struct loaded {
  struct variant variant;
  struct kernel kernel;
};

struct run_step {
  struct problem problem; /* the whole problem, or a step of its split form */
  int bind[OP_MAX_TENSORS]; /* its tensors, as tensors of the whole problem */
  int64_t skip[OP_MAX_TENSORS]; /* bytes of those that stand before them */
  struct kernel kernel;
  struct geometry geometry;
  double attr[OP_MAX_ATTRS];
  uint8_t args[OP_MAX_ARGS_SIZE]; /* but for the tensors */
};

struct run {
  const struct op *whole;
  uint32_t step_count;
  struct run_step steps[OP_MAX_STEPS];
};

/* `steps` are the loaded variants: one, or with `split` one per step of p's
 * split form.  `attr` are the values of p's op; steps take those of the same
 * name.  DD_UNSUPPORTED with the condition where a variant does not fit. */
dd_status run_make(struct device *d, const struct op_set *set,
                   const struct problem *p, bool split, uint32_t step_count,
                   const struct loaded *const *steps, const double *attr,
                   struct run *out);

/* Fills one launch per step for these buffers (one per tensor of p's op).
 * `args` has OP_MAX_ARGS_SIZE bytes per step and must outlive the launches. */
dd_status run_launches(const struct run *r, void *const *buffer, uint8_t *args,
                       struct launch *out);

#endif
