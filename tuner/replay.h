/*
 * replay.h - races run again from the samples of a database, without a GPU.
 *
 * What a candidate's ratios were is taken for what they are: its median is its
 * true time, and a simulated round draws from its samples, in blocks of rounds
 * that candidates share, so that what they had in common stays.  A rule is
 * judged by how far its winners are behind the fastest, whether they stay
 * inside the tie set of another race, and how many timings it took.
 */
#ifndef DIFFTUNE_REPLAY_H
#define DIFFTUNE_REPLAY_H

#include "db.h"
#include "race.h"

struct replay_candidate {
  const char *label;
  const double *ratio;
  int count, preferred;
  bool split, final;
  uint32_t step_count;
  int64_t registers, id;
  double truth; /* the median ratio */
};

struct replay_race {
  int64_t id;
  const char *problem, *policy;
  struct replay_candidate *candidates; /* the recorded winner first */
  int count, capacity;
  double best; /* the truth of the fastest that was in the final */
};

struct replay {
  struct arena arena;
  struct replay_race *races;
  int count, capacity;
  int most; /* candidates of a race */
};

/* Those races of a database that have a standing; the others' ratios are not
 * known. */
dd_status replay_load(struct db *db, struct replay *out);
void replay_release(struct replay *r);

struct replay_result {
  int winner;      /* a candidate */
  double regret;   /* its truth behind the best's, 0 or more */
  bool recorded;   /* the winner is the recorded one */
  bool tied;       /* the winner of the time before is in this tie set */
  bool false_twin; /* the A/A twin was told from its original */
  long timings;
};
/* Runs a race `times` times; one result each. */
dd_status replay_run(const struct replay_race *r, const struct race_rule *rule,
                     uint64_t seed, int times, struct replay_result *out);

#endif
