/*
 * worker_inner.h - what the files of the device worker share.
 *
 * worker.c        opens, loads, serves
 * worker_check.c  proves                 worker_race.c  times
 */
#ifndef DIFFTUNE_WORKER_INNER_H
#define DIFFTUNE_WORKER_INNER_H

#include "clocks.h"
#include "corpus.h"
#include "hash_table.h"
#include "message.h"
#include "run.h"
#include "worker_check.h"

struct code { /* a loaded unit; the bytes are kept for the A/A twin */
  struct code *next;
  struct module *module;
  struct bytes bytes;
};

struct held { /* a loaded variant, and the unit it came in */
  struct loaded loaded;
  const struct code *origin;
};

struct worker {
  int out_fd; /* for notes */
  struct device *device;
  struct op_set ops;
  struct tools tools;
  struct clocks clocks; /* opened by the first race */
  struct code *codes;
  struct arena arena;       /* of the loaded variants */
  struct hash_table variants; /* struct held, by hash */
  struct checker checker; /* the trials of one problem at a time */
  struct corpora corpora;
};

/* DD_BUG where it was not loaded. */
dd_status find_variant(const struct worker *w, const struct hash *h,
                       const struct held **out);
dd_status find_steps(const struct worker *w, const struct candidate *c,
                     const struct loaded **steps);

dd_status answer_race(struct worker *w, struct wire_reader *r,
                      struct bytes *out);

#endif
