/*
 * prune.h - candidates that need not be timed, by what the compiler says.
 *
 * A rule of thumb is right until it is wrong, so some of what it refuses (one
 * in fifty) is raced all the same, and a sweep says when a rule cost a winner.
 */
#ifndef DIFFTUNE_PRUNE_H
#define DIFFTUNE_PRUNE_H

#include "variant.h"

/* What a candidate uses, and how it is launched (with one block per SM where
 * that has a say). */
struct need {
  int registers, local_bytes, shared_bytes; /* shared: static */
  struct geometry geometry;
};

/* The rule that refuses it, "spills" or such, or NULL.  `usual` is the default
 * variant's need on the same problem. */
const char *prune_rule(const struct need *n, const struct need *usual,
                       const struct device_info *info);

/* Whether it is raced all the same: by the variant's hash and the seed. */
bool prune_is_audited(const struct hash *variant, uint64_t seed);

#endif
