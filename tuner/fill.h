/*
 * fill.h - the inputs that kernels are proven and timed on.
 *
 * Every element is a function of (seed, tensor, index): the same on every
 * machine and with any number of threads.
 */
#ifndef DIFFTUNE_FILL_H
#define DIFFTUNE_FILL_H

#include "problem.h"

enum fill_class {
  FILL_PLAIN,   /* normal values; tokens in order */
  FILL_HARD,    /* rows of many sizes, constant rows, zero rows, rows with a
                   mean of 1000 deviations; random positions */
  FILL_SPECIAL, /* as FILL_HARD, and a NaN in row 1, an Inf in row 2 */
};

/* What a tensor's elements are made from (fill_element.h).  `limit` is the
 * tensor's (FILL_POSITION). */
struct fill_source fill_source_of(const struct tensor_spec *t,
                                  const struct tensor_shape *s, int64_t limit,
                                  enum fill_class class, uint64_t seed);

/* Fills the elements of a tensor that begins at `base`; bytes between strided
 * rows are left alone. */
void fill_tensor(const struct fill_source *f, const struct tensor_shape *s,
                 void *base);

#endif
