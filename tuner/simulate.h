/*
 * simulate.h - difftune sweep --simulate: what other rules of elimination would
 * have made of the races in a database.
 */
#ifndef DIFFTUNE_SIMULATE_H
#define DIFFTUNE_SIMULATE_H

#include <stdbool.h>
#include <stdint.h>

/* Prints each race under the rule in use, then every rule; the exit code. */
int simulate(const char *db_path, uint64_t seed, bool json);

#endif
