/*
 * emit.h - the text that makes a variant a kernel.
 *
 * With variant_text.h the only code that prints CUDA: a stamp, one include, one
 * entry, about ten lines.  A unit holds several variants of the same scheme, because a compiler
 * charges for each unit; folding puts the included files in, with #line marks,
 * so that the text is self-contained and its messages name the real file.
 * Same input, same bytes: no date, no absolute path.
 */
#ifndef DIFFTUNE_EMIT_H
#define DIFFTUNE_EMIT_H

#include "tree.h"
#include "variant.h"

/* The text of one variant, with its #include line.  Sets v->hash: SHA-256 of
 * the folded text of this variant alone, with the entry's name left out. */
dd_status emit_variant(const struct tree *tree, struct variant *v,
                       struct bytes *out);

/* The folded text of a unit with `count` variants (hashes set); each variant's
 * entry is variant_entry(). */
dd_status emit_unit(const struct tree *tree, const struct variant *v,
                    size_t count, struct bytes *out);

/* What the units of a scheme begin with, folded and hashed once. */
struct emit_scheme {
  const struct scheme *scheme;
  struct bytes source; /* emit_source()'s */
  struct hasher hasher;
};
dd_status emit_scheme_make(const struct tree *tree, const struct variant *v,
                           struct emit_scheme *out);
void emit_scheme_release(struct emit_scheme *s);
/* Sets v->hash, as emit_variant() does. */
dd_status emit_hash(const struct emit_scheme *s, struct variant *v);

/* The first half of a unit, which all variants of v's scheme share: the folded
 * files.  With variant_text() behind it, it is the unit of one variant alone. */
dd_status emit_source(const struct tree *tree, const struct variant *v,
                      struct bytes *out);

#endif
