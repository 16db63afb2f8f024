/*
 * space.h - walk the variants of a scheme that fit a problem.
 *
 * A scheme has 1 to 13 tunables and up to 10^6 points; conditions reject
 * most.  The walk keeps no list: memory does not grow with the space.  A
 * condition that fails rules out every point that agrees in the tunables it
 * names, and those that follow one another are passed over in one step:
 * tunables that conditions name should come first.  A condition that held is
 * not asked again until a tunable that it names turns, and is evaluated once
 * for each combination of the values that it can see.
 */
#ifndef DIFFTUNE_SPACE_H
#define DIFFTUNE_SPACE_H

#include "variant.h"

enum {
  SPACE_MAX_RULES = 256, /* the others are asked of every point */
  SPACE_SLOTS = OP_MAX_SYMBOLS + OP_MAX_TUNABLES + DEVICE_SLOTS,
  SPACE_TRUTHS = 16384, /* rules that find no room are asked each time */
};

struct space_rule {
  uint16_t rule;  /* of the scheme's */
  uint8_t used;   /* 1 + the last tunable it names */
  uint32_t named; /* bit t: it names tunable t */
  int32_t truth;  /* where its answers begin in space.truth; -1: nowhere */
};

struct space {
  const struct scheme *scheme;
  const struct problem *problem;
  int arch, sms;
  bool done;
  uint32_t at[OP_MAX_TUNABLES]; /* the next point, as indexes of values */
  int kept; /* that many of the first are as when they were last asked; -1 */
  int64_t slots[SPACE_SLOTS];           /* what expressions read, of it */
  struct space_rule rules[SPACE_MAX_RULES]; /* those that name least, first */
  uint32_t rule_count;
  uint16_t asked[OP_MAX_TUNABLES + 2]; /* the first rule to ask, by 1 + kept */
  uint64_t evaluated; /* expressions, until now */
  uint8_t truth[SPACE_TRUTHS]; /* of a rule, by the values it names; 0: unknown */
};
void space_init(struct space *s, const struct scheme *scheme,
                const struct problem *problem, int arch, int sms);
/* The next variant that fits (its hash is not set), or false at the end. */
bool space_next(struct space *s, struct variant *out);

#endif
