/*
 * variant_text.h - the lines of one variant: the entry of its kernel.
 *
 * Behind the folded source of its scheme (generator/emit.h), which all variants
 * of the scheme share, they are a unit that a compiler takes.
 */
#ifndef DIFFTUNE_VARIANT_TEXT_H
#define DIFFTUNE_VARIANT_TEXT_H

#include "variant.h"

/* An empty line, its name, and the entry, called variant_entry(): the hash is
 * set. */
dd_status variant_text(const struct variant *v, struct bytes *out);

/* Sets v->hash: SHA-256 of the source, which the hasher has taken already, and
 * of these lines with the entry's name left out. */
dd_status variant_text_hash(struct variant *v, const struct hasher *source);

/* Their parts: "// op.scheme tunable=1 | fact=2", and the entry. */
void variant_text_name(const struct variant *v, struct bytes *out);
dd_status variant_text_entry(const struct variant *v, const char *entry,
                             struct bytes *out);

#endif
