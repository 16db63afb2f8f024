/*
 * judge.h - is every element inside the tolerance?  Knows no device.
 *
 * Of an element with reference value v, |out - v| may be 1 ulp of the io dtype
 * at v, plus the slack that the reference gives.  The error of a tensor is its
 * worst element's, in units of that; above 1 it is wrong.  NaN must meet NaN
 * and an infinity the same infinity.  An element that still is the poison was
 * not written, and is wrong whatever its value is.
 */
#ifndef DIFFTUNE_JUDGE_H
#define DIFFTUNE_JUDGE_H

#include "problem.h"

/* What outputs and scratch hold before a launch, every 16 bits of them: in each
 * dtype a NaN, but none that arithmetic or a conversion leaves. */
enum { POISON = 0xffb7 };

struct judgement {
  double error;             /* <= 1: right */
  int64_t elements, wrong, bit_equal;
  int64_t first_wrong;      /* the dense index of one, -1: none */
};
#define JUDGEMENT_INIT {0, 0, 0, 0, -1}

/* Whether an element still is the poison; and the error of one that is not. */
bool judge_unwritten(int64_t dtype, const void *at);
double judge_element(int64_t dtype, double out, double value, double slack);

/* Rows [first, last) of a tensor at `base`, all dims but the last counted as
 * one; value and the slacks are dense and begin at the tensor's first element.
 * split_slack may be NULL.  Adds to *out. */
void judge_rows(const struct tensor_shape *s, const void *base,
                const double *value, const float *slack,
                const float *split_slack, int64_t first, int64_t last,
                struct judgement *out);

void judge_add(struct judgement *to, const struct judgement *more);

#endif
