/*
 * coverage.h - what a table has for each problem of the zoo.
 */
#ifndef DIFFTUNE_COVERAGE_H
#define DIFFTUNE_COVERAGE_H

#include "base.h"

/* Prints, for every site of variants/zoo.lua, the plan that the library would
 * take with this .ddt file (NULL: with none) and by which rule.  *missing is
 * how many sites have no legal plan.
 * Fails with DD_BAD_TABLE, DD_BAD_SPEC, DD_NO_MEMORY. */
dd_status coverage_print(const char *table, const char *variants, bool as_json,
                         uint32_t *missing);

#endif
