/*
 * same_bits.h - which plans of a table shall agree, bit by bit.
 *
 * Under DD_OPEN_SAME_BITS a library takes, of the plans with the same static
 * fields, those that have the bits (corpus.h) of one of them.  Where a table is
 * made for that, each of its problems gets the best row that has the bits of
 * its group: those that serve the most problems, and of those the ones that
 * lose least to the best rows.
 */
#ifndef DIFFTUNE_SAME_BITS_H
#define DIFFTUNE_SAME_BITS_H

#include "base.h"

struct group; /* the problems with the same static fields */

struct same_bits { /* all zero: nothing was noted */
  struct group *groups;
  struct arena arena;
};
void same_bits_init(struct same_bits *s);
void same_bits_release(struct same_bits *s);

/* A row that could be a problem's plan.  Rows of a problem come together, the
 * best first; `fixed` are its static fields.  Rows without bits (0, or
 * BITS_DIFFER) tell what is the best.  DD_NO_MEMORY. */
dd_status same_bits_note(struct same_bits *s, const char *fixed,
                         const char *problem, uint64_t bits, double us);

/* What the plans of a group shall have; 0: no row has any. */
uint64_t same_bits_of(const struct same_bits *s, const char *fixed);

#endif
