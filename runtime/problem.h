/*
 * problem.h - an op plus everything its kernels may depend on.
 *
 * The one place that reads and writes the spelling
 *     qknorm_rope:bf16 tokens=4096 q_heads=24 head_dim=128
 * names in the op's order, defaults left out when printed, any order when read.
 * A problem is a value: copy it freely; it points only at its op.
 */
#ifndef DIFFTUNE_PROBLEM_H
#define DIFFTUNE_PROBLEM_H

#include "op.h"

struct problem {
  const struct op *op;
  int64_t value[OP_MAX_SYMBOLS]; /* one per symbol of the op */
};

/* Reads a spelling and checks it against the op's rules.  Fails with
 * DD_BAD_ARGUMENT and a sentence that names the field and the value. */
dd_status problem_parse(const struct op_set *set, const char *spelling,
                        struct problem *out);

/* Reads "tokens=1 q_heads=3" on top of `base`: the named fields are set, and
 * every field that `base` had at its default takes its default anew. */
dd_status problem_override(const struct problem *base, const char *fields,
                           struct problem *out);

/* Builds a problem from values instead of text: `given[i]` says whether
 * `value[i]` was set for symbol i; the rest take their defaults. */
dd_status problem_make(const struct op *op, const int64_t *value,
                       const bool *given, struct problem *out);

void problem_print(const struct problem *p, struct bytes *out);

/* The same fields but the dynamic ones: problems with equal static spelling can
 * share variants.  "qknorm_rope:bf16 head_dim=128". */
void problem_print_static(const struct problem *p, struct bytes *out);

/* All but one field: two problems that read alike differ in nothing but that
 * field and in what takes its default from it. */
void problem_print_but(const struct problem *p, uint32_t field,
                       struct bytes *out);

bool problem_equal(const struct problem *a, const struct problem *b);

/* What two sets of specs make of one spelling: the name of a field, tensor or
 * attribute that `b` has otherwise than `a`, which is what a caller of a's
 * would pass; NULL: none.  Fields at their defaults that only one has are
 * none. */
const char *problem_difference(const struct problem *a,
                               const struct problem *b);

/* The value of a symbol by name; the name must exist. */
int64_t problem_get(const struct problem *p, const char *name);

/* ---- What a problem says of its tensors ------------------------------ */

struct tensor_shape {
  bool present; /* false: the op's `when` is false here; see alias */
  int64_t dtype;
  uint32_t rank;
  int64_t extent[OP_MAX_RANK];
  int64_t stride[OP_MAX_RANK]; /* elements */
  int64_t count;               /* elements */
  int64_t span;                /* from the first byte to past the last; 0 if
                                  an extent is 0 */
};
dd_status problem_shape(const struct problem *p, int tensor,
                        struct tensor_shape *out);

/* Compulsory traffic in bytes: each tensor once. */
dd_status problem_traffic(const struct problem *p, int64_t *read_bytes,
                          int64_t *write_bytes);

/* ---- Split form ------------------------------------------------------- */

/* The problem of step `i` of p's split form.  `bind[j]` is the tensor of p's op
 * that the step's tensor j stands on, or -1 where the step has none. */
dd_status problem_step(const struct op_set *set, const struct problem *p,
                       uint32_t i, struct problem *out,
                       int bind[OP_MAX_TENSORS]);

/* Where tensor `inner` of step `i` begins: bytes from the start of the tensor
 * that it stands on. */
dd_status problem_step_offset(const struct problem *p, uint32_t i,
                              const char *inner, int64_t *bytes);

#endif
