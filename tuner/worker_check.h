/*
 * worker_check.h - the trials of the worker's problem, and proofs on them.
 *
 * Problems that differ only in their dynamic fields have their small trials in
 * common, and their variants.  So small trials outlive their problem, and a
 * variant that was right on one is not launched on it again.
 */
#ifndef DIFFTUNE_WORKER_CHECK_H
#define DIFFTUNE_WORKER_CHECK_H

#include <pthread.h>
#include <stdatomic.h>

#include "hash_table.h"
#include "jury.h"
#include "message.h"
#include "run.h"
#include "seal.h"

struct paper { /* what a trial is made from */
  struct problem problem;
  enum fill_class class;
  uint64_t seed;
  bool attrs;
};

struct exam { /* a trial, and who was right on it */
  struct exam *next;
  struct paper paper;
  struct trial *trial; /* NULL: not made yet */
  char *key;            /* everything that it is made from, as text */
  const char *spelling; /* in the key */
  size_t bytes;         /* of its tensors */
  bool sealed;          /* `sum` was taken when it was made */
  struct seal_sum sum;
  struct arena arena;
  struct hash_table passed; /* struct pass, by the variant's hash */
};

/* Seconds of the worker's, since its problem was set. */
struct check_phases {
  struct trial_phases set_up;
  double ahead;  /* of fill and reference: in the turn of another problem */
  double waited; /* for the end of that */
  double jury, launch, judge, again, seal;
  int64_t candidates, launches, known;
};

/* The host's side of the next problem's trials, made by a thread of its own
 * that calls no device: a race must not be disturbed. */
struct ahead {
  struct exam *exams;
  pthread_t thread;
  bool running;
  atomic_bool enough; /* what is not begun yet need not be */
};

struct checker { /* all zero: none */
  struct device *device;
  const struct op_set *ops;
  const struct tools *tools;
  struct exam *exams[MAX_TRIALS]; /* the problem itself last */
  int count;
  struct jury jury;
  struct seal seal;
  struct seal_sum jury_sum;
  struct exam *kept; /* of earlier problems, the latest first */
  struct ahead ahead;
  struct check_phases phases;
};

/* Makes the trials of a problem in place of the last one's. */
dd_status checker_set(struct checker *c, const struct problem *p,
                      uint64_t seed);
/* The problem is likely to be set next: begins with its trials, as far as there
 * is room for them, and returns.  What fails is made again when it is set. */
void checker_prepare(struct checker *c, const struct problem *p, uint64_t seed);
void checker_release(struct checker *c);
/* Seconds that making the trials took, whenever that was. */
double checker_effort(const struct checker *c);

/* The trial of the problem itself, on plain inputs. */
const struct trial *checker_own(const struct checker *c);

/* `steps` are the candidate's variants.  DD_OK with !proof->right where it is
 * wrong; DD_UNSUPPORTED where it does not fit the problem. */
dd_status checker_prove(struct checker *c, const struct candidate *candidate,
                        const struct loaded *const *steps, struct proof *proof);
/* DD_OK: what the proofs since the problem was set rest on is as it was made.
 * DD_DEVICE: somebody has overwritten it, and no proof since the last time that
 * this was DD_OK is worth anything, nor is the checker. */
dd_status checker_vouch(struct checker *c);

#endif
