/*
 * coverage.h - what a table has for problems, those of the zoo for a start.
 */
#ifndef DIFFTUNE_COVERAGE_H
#define DIFFTUNE_COVERAGE_H

#include "options.h"

/* Prints, for each of the spellings (none: every site of variants/zoo.lua), the
 * plan that the library would take with this .ddt file (NULL: with none) on the
 * device that it was made on, and by which rule.  *missing is how many have no
 * legal plan.
 * Fails with DD_BAD_TABLE, DD_BAD_SPEC, DD_NO_MEMORY. */
dd_status coverage_print(const char *table, const char *variants,
                         const struct texts *spellings, bool as_json,
                         uint32_t *missing);

#endif
