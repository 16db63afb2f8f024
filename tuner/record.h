/*
 * record.h - what a sweep tells the database, problem by problem.
 */
#ifndef DIFFTUNE_RECORD_H
#define DIFFTUNE_RECORD_H

#include "build.h"
#include "db.h"

struct outcome;

struct recorder {
  struct db *db;
  struct build *build;
  int64_t sweep, device, toolchain; /* rows */
  const struct device_info *info;
  uint64_t seed;
  const char *policy;
  bool joined;   /* the sweep is another process's to end */
  bool resumed;  /* the sweep is one that an earlier run began */
  bool complete; /* and ended: there is nothing left to do */
  bool cut;      /* the budget was spent before the end */
};

/* Opens (or makes) the database and begins a sweep in it, or with `resume` goes
 * on with the newest one of the same command, device, seed and specs. */
dd_status record_begin(struct recorder *r, const char *path, struct build *b,
                       const struct device_info *info, const char *command,
                       uint64_t seed, const char *policy, bool resume);
/* Takes part in a sweep that another process has begun and will end. */
dd_status record_join(struct recorder *r, const char *path, struct build *b,
                      const struct device_info *info, int64_t sweep,
                      uint64_t seed, const char *policy);
/* Asks for what record_outcome() would wait for: the winner's code alone. */
dd_status record_prepare(struct recorder *r, const struct outcome *o);
/* Whether it need not wait. */
bool record_is_ready(const struct recorder *r, const struct outcome *o);
/* All of one problem's candidates, proofs, measurements and failures, as one
 * transaction: after DD_OK they survive kill -9. */
dd_status record_outcome(struct recorder *r, struct outcome *o);
/* The time of a problem's first candidate, as the board's anchor. */
dd_status record_anchor(struct recorder *r, struct outcome *o);
/* Writes down how it ended and closes the database, if there is one.  Returns
 * `status` with its sentence; where that is DD_OK, what became of the writing. */
dd_status record_end(struct recorder *r, dd_status status);

/* One word of a command line, quoted where a shell would read it otherwise. */
void put_shell_word(struct bytes *out, const char *word);
/* "difftune sweep --cpu", kept until the end. */
const char *command_line(int argc, char **argv);

#endif
