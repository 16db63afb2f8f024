/*
 * spot.h - a trial that a device made, held against the host in some items.
 *
 * Whatever these items read must have the bits that fill.h says, and what
 * comes of them the host's value and slacks.  A device's exp and tanh differ
 * from libm's in a double's last bits, and a warp adds in another order: so a
 * value may be off by 10^-12 of it and a millionth of its slack, which moves
 * no judgement, and a slack by a millionth.  Where references round, up to four
 * elements may be as far off as a kernel's, because a rounding went the other
 * way.
 */
#ifndef DIFFTUNE_SPOT_H
#define DIFFTUNE_SPOT_H

#include "references.h"
#include "trial.h"

/* Fails with DD_DEVICE and the first value that is wrong. */
dd_status spot_check(const struct trial *t, const struct reference *r,
                     const struct reference_out device[OP_MAX_TENSORS]);

#endif
