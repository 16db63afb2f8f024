/*
 * bench.h - buffers and recordings for timing one problem.
 *
 * With the L2 cold, launches rotate over enough sets of buffers that a set is
 * out of the cache when its turn comes again: the working set passes 300 MB, or
 * five times the L2.  With the L2 warm there is one set.  A recording (a CUDA
 * graph) holds many launches, so that its two events cost nothing per launch;
 * what is reported is its time divided by them, gaps between launches included.
 * Eager, the same launches are enqueued one by one instead, as a host without
 * graphs does: where they are short, that is the time of launching.
 */
#ifndef DIFFTUNE_BENCH_H
#define DIFFTUNE_BENCH_H

#include "run.h"
#include "trial.h"

enum { BENCH_MAX_SETS = 64 };

struct timing {
  struct recording *recording; /* NULL: eager */
  struct launch *burst;        /* then one per step and launch */
  uint8_t *args;               /* of those */
  uint32_t steps, launches; /* of the whole candidate, all its steps as one */
  uint32_t first;    /* the set that the first launch is on */
  double us;         /* the last replay's, per launch */
};

struct bench {
  struct device *device;
  const struct tools *tools;
  const struct op *op;
  uint32_t sets;
  void *memory; /* of all sets: one allocation costs less than hundreds */
  struct {
    void *buffer[OP_MAX_TENSORS];
    char *copy; /* as many bytes as the problem reads and writes, halved */
  } set[BENCH_MAX_SETS];
  size_t size[OP_MAX_TENSORS];
  size_t copy_bytes;
  int copy_kind; /* which of tools->copy, and how long a launch of it takes */
  double copy_us;
  bool halved;   /* a turn over the sets is long enough for two short replays */
  bool eager;
  bool careful; /* nothing is enqueued before what is ahead of it has run */
  struct timing lead; /* what is ahead of the first of several */
};

struct bench_policy {
  bool warm, eager;
};
/* Of "cold graph", "warm eager", ... */
struct bench_policy bench_policy_of(const char *name);

/* The sets are copies of the trial's inputs. */
dd_status bench_make(const struct trial *t, struct bench_policy policy,
                     struct bench *out);
void bench_release(struct bench *b);

/* How many launches of `us` each make about a replay of `replay_us`: whole
 * turns over the sets, so that every replay does the same work.  One turn is
 * enough of launches of 0.1 ms: there a longer replay only costs time. */
uint32_t bench_launches(const struct bench *b, double us, double replay_us);
/* The same of a short replay, by the copy's time: no candidate is much faster.
 * It is half a turn where the bench is halved, and the data is only cold if the
 * replay before it takes the other half. */
uint32_t bench_short_launches(const struct bench *b, double replay_us);

/* Who is timed when, of those that each have a half of the sets: where the
 * bench is halved, one of either in turn, so that a set is out of the cache
 * when it is used again, and BENCH_NOBODY where one half has none left.
 * order[] has room for twice as many; returns how many it has then. */
enum { BENCH_NOBODY = -1 };
int bench_turns(const struct bench *b, const int *half, const int *live,
                int count, int *order);

/* Records a candidate, from the first set or, with half 1, that in the middle;
 * and with `warm` runs it once, untimed, for what may not be on the chip yet.
 * Only a careful bench waits for it. */
dd_status bench_record(struct bench *b, const struct run *run,
                       uint32_t launches, int half, bool warm,
                       struct timing *out);
/* The same of the copy kernel that moves the problem's bytes fastest, warm;
 * which one that is, bench_choose_copy() found, and how long it takes. */
dd_status bench_choose_copy(struct bench *b, double *us);
dd_status bench_record_copy(struct bench *b, uint32_t launches, int half,
                            struct timing *out);
dd_status bench_time(struct bench *b, struct timing *t); /* one replay */

/* One replay of each, up to BENCH_MOST, one after the other; us[i] is list[i]'s
 * time per launch.  All are enqueued before the first is waited for, behind
 * some work that is not timed, so that the device never idles between them and
 * nobody's time has in it what the host was late.  A careful bench, and an
 * eager one, waits for each before the next.  `note` is called with i before
 * whatever may not come back of list[i], `beside` once while the device works;
 * it may record. */
enum { BENCH_MOST = RUN_SLOTS - 2 };
struct bench_hooks {
  dd_status (*note)(void *user, int i);
  dd_status (*beside)(void *user);
  void *user;
};
dd_status bench_time_all(struct bench *b, struct timing *const *list, int count,
                         const struct bench_hooks *hooks, double *us);
void bench_forget(struct bench *b, struct timing *t);

#endif
