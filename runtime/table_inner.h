/*
 * table_inner.h - what the files of a table share and nobody else sees.
 *
 * table.c          the root, opening, closing
 * table_section.c  bytes, verified           table_page.c  pages to structs
 * table_look.c     what is asked of a table that is open
 */
#ifndef DIFFTUNE_TABLE_INNER_H
#define DIFFTUNE_TABLE_INNER_H

#include "table.h"

/* The fewest bytes each takes, so that a count is bounded by what is left. */
enum {
  TABLE_CODE_BYTES = 4 + 3 * 4,
  TABLE_VARIANT_BYTES = 4 + 4 + 4 + 4 + 32 + 4,
  TABLE_PLAN_BYTES = 4 + 4 + 7 * 8 + 4 + 3 * 8 + 4,
  TABLE_INTERVAL_BYTES = 4 + 8 + 8 + 4 + 4 + 3 * 8,
  TABLE_SECTION_BYTES = 4 + 4 + 32,
  TABLE_SOURCE_BYTES = 3 * 4,
};

static inline dd_status no_memory(void)
{
  return fail(DD_NO_MEMORY, "out of memory");
}

/* ---- Sections ----------------------------------------------------------- */

/* The bytes as they are in the file: a view where the table is in memory, else
 * they go into `buffer`. */
dd_status table_stored_bytes(const struct table *t, uint64_t offset,
                             size_t size, struct bytes *buffer,
                             const void **out);
dd_status table_check_seal(const struct table *t, const void *data, size_t size,
                           const struct hash *seal);
/* The section, verified, in place of what was in `out`. */
dd_status table_section_read(const struct table *t,
                             const struct table_section *s, struct bytes *out);

/* A count of things of at least so many bytes. */
uint32_t table_count_of(struct wire_reader *r, size_t least, const char *what);
/* wire_text(), but a lack of memory is told apart from a damaged text. */
dd_status table_read_text(struct wire_reader *r, struct arena *a,
                          const char *what, const char **out);

/* ---- Pages -------------------------------------------------------------- */

/* Reads the page if nobody has yet; any thread may. */
dd_status table_use_variants(struct table *t, struct table_page *page);
dd_status table_use_plans(struct table *t, struct table_page *page);

/* By static fields, then by spelling: plans that may serve each other stand
 * together. */
int table_plan_order(const char *fixed, const char *spelling,
                     const char *other_fixed, const char *other_spelling);

#endif
