/* table_write.h - write .ddt files, for `difftune emit` and for the build. */
#ifndef DIFFTUNE_TABLE_WRITE_H
#define DIFFTUNE_TABLE_WRITE_H

#include "table.h"

/* Writes a table.  Plans are given by spelling; everything but the sources is
 * sorted, so that the same content gives the same bytes.  `specs` is the message that the
 * variants' ops came from. */
struct table_source {
  const char *op, *scheme;
  const void *text; /* emit_source()'s */
  size_t size;
};
struct table_writer {
  const struct bytes *specs;
  const char *device_name, *device_kind, *policy, *provenance;
  int arch, sms;
  uint32_t variant_count;
  const struct table_variant *variants;
  uint32_t plan_count;
  const struct table_plan *plans; /* problem need not be set */
  uint32_t source_count;
  const struct table_source *sources; /* in this order */
};
dd_status table_write(const struct table_writer *w, struct bytes *out);

#endif
