/*
 * child.h - this program again, as a worker at the other end of two pipes.
 *
 * Compilers and devices live in such workers, because they crash and hang.
 */
#ifndef DIFFTUNE_CHILD_H
#define DIFFTUNE_CHILD_H

#include <sys/types.h>

#include "base.h"

struct child {
  pid_t pid; /* 0: none */
  int to, from;
};

/* Starts it with `word` (command.h) as its argument and its ends of the pipes
 * as WORKER_IN and WORKER_OUT.  It has a process group of its own, signals as
 * they are by default, an empty stdin, and stderr for stdout.  `environment`
 * NULL: ours.  Fails with DD_IO and leaves nothing behind. */
dd_status child_start(struct child *c, const char *word,
                      char *const *environment);
/* The same, and it gets `shared` as WORKER_SHARED, which its own children
 * inherit unless it closes it; -1: nothing. */
dd_status child_start_sharing(struct child *c, const char *word, int shared,
                              char *const *environment);

/* It has ended: child_stop() will not wait. */
bool child_has_ended(const struct child *c);

/* Closes the pipe to it, gives it `seconds` to end by itself, then kills it
 * and all of its group.  Returns what wait() says of its end; 0 for none. */
int child_stop(struct child *c, double seconds);

#endif
