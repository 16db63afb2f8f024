/*
 * farm.h - compile units in worker processes.
 *
 * NVRTC is 100 MB of somebody else's C++ that is fed generated text: it takes
 * milliseconds as a rule, sometimes crashes, sometimes never comes back, and
 * obeys #include "/etc/passwd".  So it runs in processes that see only the
 * compiler's own folders (Landlock, where the kernel has it) and that may die:
 * a crash, a kill or a missed deadline costs the unit in hand and nothing else.
 *
 * A sweep submits 10^2 to 10^4 units of 20 to 2000 ms each to 1 to 64 workers.
 * The parent is single-threaded: farm_next() does all the moving of bytes.
 */
#ifndef DIFFTUNE_FARM_H
#define DIFFTUNE_FARM_H

#include <poll.h>

#include "base.h"

struct farm;

struct farm_result {
  int64_t id;
  dd_status status; /* DD_OK, or DD_COMPILE, or why it could not be tried */
  struct bytes code, log;
  struct bytes error; /* the sentence where status is not DD_OK */
  double seconds;     /* from the hand-over to the worker to the answer */
  bool kept;          /* the peers have the code: found there, or given them */
};
void farm_result_release(struct farm_result *r);

/* 0 workers: one per processor that this process may use.  Ignores SIGPIPE
 * from here on: a worker may die while it is written to.  Workers start when
 * there is work.  Fails with DD_IO, DD_NO_MEMORY. */
dd_status farm_open(int workers, struct farm **out);
void farm_close(struct farm *f); /* kills what still runs; NULL is fine */
int farm_workers(const struct farm *f);

/* How long one unit may take; 120 s unless set. */
void farm_set_deadline(struct farm *f, double seconds);

/* farm_next() waits until this moment of seconds_now() at most; 0: for ever. */
void farm_set_end(struct farm *f, double end);
bool farm_is_over(const struct farm *f);

/* Other farms that compile the same units, for other devices.  A unit that
 * cannot be claimed is another's: it stays in the queue, and farm_turn() looks
 * whether it can be found.  Nothing depends on what became of the other farm:
 * before farm_next() waits with idle workers, one of them compiles the first
 * such unit all the same, and after `patience` seconds it is one like others. */
struct farm_peers {
  bool (*claim)(void *user, int64_t id); /* once, when a worker is idle */
  bool (*find)(void *user, int64_t id, struct bytes *code);
  void (*keep)(void *user, int64_t id, const struct bytes *code);
  void *user;
  double patience;
};
void farm_set_peers(struct farm *f, const struct farm_peers *peers);

/* Queues a unit; the text is copied.  `id` is the caller's and comes back. */
dd_status farm_submit(struct farm *f, int64_t id, const char *target,
                      const char *text);
/* The same, before all that wait for a worker, and though it is another's. */
dd_status farm_submit_first(struct farm *f, int64_t id, const char *target,
                            const char *text);
size_t farm_pending(const struct farm *f); /* not yet given by farm_next() */
/* Not yet given to a worker, and not another's. */
size_t farm_queued(const struct farm *f);

/* Gives the next finished unit, in the order in which they finish; the caller
 * releases it.  False: nothing is pending, or `wait` is false and nothing has
 * finished yet, or a signal or the farm's end came while it waited. */
bool farm_next(struct farm *f, struct farm_result *out, bool wait);

/* Moves bytes and hands queued units to idle workers, without waiting; what
 * finishes stays for farm_next(). */
void farm_turn(struct farm *f);

/* What to poll for, together with other things: fills at most `capacity` rows
 * and returns how many.  When one is ready call farm_turn(). */
size_t farm_poll(const struct farm *f, struct pollfd *fds, size_t capacity);

/* The process id of the worker that compiles unit `id`, or 0: for tests. */
int farm_worker_of(const struct farm *f, int64_t id);

/* ---- The other side ---------------------------------------------------- */

/* Until the pipe closes: reads a unit, compiles it, answers. */
typedef dd_status farm_compile(const char *target, const char *text,
                               struct bytes *code, struct bytes *log);
int farm_worker_serve(int in_fd, int out_fd, farm_compile *compile);

/* The worker's main: sandbox, then serve with compile_unit(). */
int farm_worker_main(int in_fd, int out_fd);

#endif
