/*
 * worker_check.h - the trials of the worker's problem, and proofs on them.
 *
 * Problems that differ only in their dynamic fields have their small trials in
 * common, and their variants.  So small trials outlive their problem, and a
 * variant that was right on one is not launched on it again.
 */
#ifndef DIFFTUNE_WORKER_CHECK_H
#define DIFFTUNE_WORKER_CHECK_H

#include "hash_table.h"
#include "jury.h"
#include "message.h"
#include "run.h"

struct exam { /* a trial, and who was right on it */
  struct exam *next;
  struct trial *trial;
  char *key;            /* everything that it is made from, as text */
  const char *spelling; /* in the key */
  size_t bytes;         /* of its tensors */
  struct arena arena;
  struct hash_table passed; /* struct pass, by the variant's hash */
};

/* Seconds of the worker's, since its problem was set. */
struct check_phases {
  struct trial_phases set_up;
  double jury, launch, judge, again;
  int64_t candidates, launches, known;
};

struct checker { /* all zero: none */
  struct device *device;
  const struct op_set *ops;
  const struct tools *tools;
  struct exam *exams[MAX_TRIALS]; /* the problem itself last */
  int count;
  struct jury jury;
  struct exam *kept; /* of earlier problems, the latest first */
  struct check_phases phases;
};

/* Makes the trials of a problem in place of the last one's. */
dd_status checker_set(struct checker *c, const struct problem *p,
                      uint64_t seed);
void checker_release(struct checker *c);

/* The trial of the problem itself, on plain inputs. */
const struct trial *checker_own(const struct checker *c);

/* `steps` are the candidate's variants.  DD_OK with !proof->right where it is
 * wrong; DD_UNSUPPORTED where it does not fit the problem. */
dd_status checker_prove(struct checker *c, const struct candidate *candidate,
                        const struct loaded *const *steps, struct proof *proof);

#endif
