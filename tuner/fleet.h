/*
 * fleet.h - several boards of one model share a sweep.
 *
 * The parent begins the sweep in the database and hands out problems; each
 * board has a process of its own, this program again, that sweeps what it is
 * given and writes it into the same file and the same sweep: a problem is one
 * transaction, and SQLite has the writers wait for each other.  All of them add
 * the same problems in the same order, so that an outcome is known by its
 * number; and all at once: the boards' processes start before the parent lists
 * its problems, open their devices meanwhile, and then hear which sweep it is.
 *
 * What belongs together, a problem and the parts of its split form, is handed
 * out together, the longest first, one piece ahead of the device.  All boards
 * know the order, and compile together what will be handed out next to any of
 * them (claims.h), if they have a cache and no budget.  What a board has not told
 * done when its process ends goes to the others, who look first what is stored.
 */
#ifndef DIFFTUNE_FLEET_H
#define DIFFTUNE_FLEET_H

#include "claims.h"
#include "sweep.h"

/* What a board's process is told when it starts. */
struct fleet_task {
  int in, out; /* its ends of the pipes */
  struct arena arena;
  int argc;
  char **argv; /* of the parent's command */
  struct device_info info;
  int64_t sweep; /* the database's row; 0 until fleet_join() */
  int64_t jobs;  /* compile workers */
  uint32_t boards;
  double began; /* the parent, for its budget */
  struct claims claims; /* all boards'; a board's own to close */
  uint32_t *coming; /* outcomes as they are handed out; after fleet_join() */
  uint32_t coming_count;
};

/* ---- The parent --------------------------------------------------------- */

struct fleet {
  struct sweep *sweep;
  struct member *members;
  uint32_t member_count;
  struct piece *pieces;
  uint32_t piece_count, undone;
  uint32_t *outcome;  /* piece after piece */
  uint32_t *piece_of; /* of an outcome; before that, its root */
  bool *stored;       /* an outcome */
  bool stopping;
  dd_status status; /* the last member's that failed */
  char sentence[600];
};

/* Starts the boards' processes; `task` has what all are told.  Stop the fleet
 * also after a failure. */
dd_status fleet_start(struct fleet *f, struct sweep *s,
                      const struct fleet_task *task,
                      const struct device_info *infos, size_t count);
/* s has a recorder, and its outcomes.  Returns when all problems are stored, or
 * the sweep is stopped, or no board is left: that is a failure, and the last
 * one's. */
dd_status fleet_run(struct fleet *f);
void fleet_stop(struct fleet *f);

/* ---- A board ------------------------------------------------------------ */

dd_status fleet_task_read(struct fleet_task *t, int in_fd, int out_fd);
/* Waits until the parent has begun the sweep. */
dd_status fleet_join(struct fleet_task *t);
/* Times the anchor, then sweeps what it is given until there is no more. */
dd_status fleet_serve(struct sweep *s, const struct fleet_task *t);
/* The last word to the parent: what became of it. */
void fleet_task_end(struct fleet_task *t, const struct sweep *s,
                    dd_status status);

/* ---- Do they agree? ----------------------------------------------------- */

/* One candidate's time on one board; median_us 0: it was not timed. */
struct anchor {
  double median_us, low_us, high_us, copy_us, floor;
};
/* How much longer `a` took than `b`, 0.01 is 1 %, and how much of that noise
 * explains: half of both intervals and both floors. */
double anchor_slower(const struct anchor *a, const struct anchor *b,
                     double *noise);

#endif
