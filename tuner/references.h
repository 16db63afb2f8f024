/* references.h - the reference of every op, by name. */
#ifndef DIFFTUNE_REFERENCES_H
#define DIFFTUNE_REFERENCES_H

#include "variants/reference.h"

struct reference_row {
  const char *op; /* NULL at the end */
  const struct reference *reference;
};
extern const struct reference_row reference_rows[];

#endif
