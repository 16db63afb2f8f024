/*
 * expr.h - the little expression language of conditions and launch shapes.
 *
 * Specs write "ceil_div(tokens * heads, warps)"; the generator, the tuner and
 * the library evaluate it with the same code, so a constraint is said once.
 *
 * Values are int64.  Operators, as in C and with its precedence:
 *     ?:  ||  &&  ==  !=  <  <=  >  >=  +  -  *  /  %  !  unary -  ( )
 * Names may hold dots (layout.neox).  Functions: ceil_div(a, b)  min(a, b)  max(a, b)  pow2(a) (the largest power
 * of two that divides a; 2^62 for 0)  bytes_of(dtype).
 * A division by zero or an overflow is an error, never undefined.
 *
 * A text is compiled once against a list of names; evaluation is a loop over a
 * few words, needs no memory, and is safe on any thread.
 */
#ifndef DIFFTUNE_EXPR_H
#define DIFFTUNE_EXPR_H

#include "base.h"

/* What a name in an expression means: a slot of the value array, or a number.
 * Returns false for a name that does not exist. */
struct expr_name {
  bool constant;
  int64_t value; /* the number, or the slot */
};
typedef bool expr_resolve(void *scope, const char *name, struct expr_name *out);

struct expr; /* immutable; lives in the arena it was compiled into */

/* The text must live as long as the arena.
 * Fails with DD_BAD_SPEC and a sentence that shows the text and the place. */
dd_status expr_compile(struct arena *a, const char *text, expr_resolve *resolve,
                       void *scope, const struct expr **out);
const char *expr_text(const struct expr *e); /* as it was written */

/* Whether the value depends on this slot. */
bool expr_uses(const struct expr *e, int64_t slot);

/* Fails with DD_BAD_ARGUMENT on division by zero or overflow. */
dd_status expr_eval(const struct expr *e, const int64_t *values, int64_t *out);

#endif
