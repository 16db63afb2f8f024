/*
 * special.h - the specialised default: what is compiled on a miss.
 *
 * With DD_OPEN_COMPILE a problem that got its op's generic default is given the
 * first variant of a tuned scheme that fits it, with its static facts compiled
 * in: by NVRTC, or for the CPU device by the system's C++ compiler.  It was
 * never measured.  The schemes are asked in their order, and of each its first
 * point, whose tunables have their defaults as far as the conditions allow.
 * The code is kept on disk (cache.h).  Whatever is wrong, the generic default
 * stands.
 */
#ifndef DIFFDISPATCH_SPECIAL_H
#define DIFFDISPATCH_SPECIAL_H

#include "internal.h"

/* Its code's bytes are `text`, which is not compiled yet. */
struct special {
  struct table_variant variant;
  struct table_code code;
  struct bytes text;
  char target[24];
};

/* Takes it for the match, if the context may compile and there is one: then
 * m->compiled is set, and *s must outlive the match.  Compiles nothing. */
bool special_find(const struct dd_context *ctx, struct match *m,
                  struct special *s);

/* The unit, which gives the variant its hash; release it with special_end(). */
dd_status special_text(struct dd_context *ctx, struct special *s);
void special_end(struct special *s);

/* Whether there is a compiler. */
bool special_compiler(const struct special *s);

/* The code of a unit, from the cache or compiled now. */
dd_status special_compile(const struct table_code *unit, struct bytes *code);

#endif
