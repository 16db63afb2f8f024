/*
 * stored.h - a variant of the database as the specs at hand see it.
 */
#ifndef DIFFTUNE_STORED_H
#define DIFFTUNE_STORED_H

#include "build.h"
#include "db.h"
#include "specs.h"

/* Its op, scheme, tunables and facts; the hash is the stored one.  False: the
 * specs have no such point, so that nobody could hand it its arguments. */
bool stored_parse(const struct specs *specs, const struct db_variant_row *row,
                  struct variant *v);
/* The same, and the specs would write the very same text. */
bool stored_is_current(const struct specs *specs,
                       const struct db_variant_row *row, struct variant *v);
/* For many: a build folds the text of a scheme once. */
bool stored_is_current_in(struct build *b, const struct db_variant_row *row,
                          struct variant *v);

#endif
