/*
 * simulation.h - a machine that exists as numbers: what a race is tried on.
 */
#ifndef DIFFTUNE_SIMULATION_H
#define DIFFTUNE_SIMULATION_H

#include <math.h>
#include <string.h>

#include "race.h"

struct machine {
  uint64_t random;
  double noise;         /* relative, per sample */
  double drift;         /* slow and periodic, relative */
  double spike;         /* chance that a sample takes 1 to 3 times its time */
  double slow, slow_by; /* chance per sample that the clock changes; how much */
  double place;         /* what a candidate's address costs, per race */
  bool is_slow;
  int moment;
};

static inline double uniform(struct machine *m)
{
  m->random = m->random * 6364136223846793005u + 1442695040888963407u;
  return (double)(m->random >> 11) * 0x1p-53;
}

static inline double normal(struct machine *m)
{
  return sqrt(-2 * log(1 - uniform(m))) * cos(6.2831853 * uniform(m));
}

/* One timing at this moment of the machine. */
static inline double time_of(struct machine *m, double true_us)
{
  double us = true_us * (1 + m->drift * sin(++m->moment * 0.003));

  if (m->slow > 0 && uniform(m) < m->slow) m->is_slow = !m->is_slow;
  if (m->is_slow) us *= 1 + m->slow_by;
  us *= exp(m->noise * normal(m));
  if (m->spike > 0 && uniform(m) < m->spike) us *= 1 + 2 * uniform(m);
  return us;
}

enum { BLOCK = 28, BLOCK_TRIES = 3, SIMULATED_MOST = 256 };

struct simulated {
  struct race race;
  struct race_verdict verdict;
  long samples;  /* of candidates: what the race cost */
  long again;    /* blocks that were timed again */
  double true_us[SIMULATED_MOST]; /* of each, whatever its address costs */
};

static inline dd_status simulate_block(struct simulated *s, struct machine *m,
                                       const double *us, const int *order,
                                       int count)
{
  double t[BLOCK], before, after;

  for (int tries = 1;; ++tries) {
    before = time_of(m, 10);
    for (int i = 0; i < count; ++i) t[i] = time_of(m, us[order[i]]);
    after = time_of(m, 10);
    s->samples += count;
    if (tries == BLOCK_TRIES || race_calm(&s->race, before, after)) break;
    s->again++;
  }
  for (int i = 0; i < count; ++i)
    TRY(race_sample(&s->race, order[i], t[i], (before + after) / 2));
  return DD_OK;
}

/* The same code at an address of its own. */
static inline void enter_twin(struct simulated *s, struct machine *m, double *us)
{
  int of = race_original(&s->race);

  us[s->race.twin] = s->true_us[of] * (1 + m->place * normal(m));
  race_enter_twin(&s->race, of);
}

static inline dd_status simulate_rounds(struct simulated *s, struct machine *m,
                                        double *us, int *order)
{
  int live;

  while ((live = race_round(&s->race, order)) > 0) {
    for (int from = 0; from < live; from += BLOCK)
      TRY(simulate_block(s, m, us, order + from,
                         live - from < BLOCK ? live - from : BLOCK));
    race_round_end(&s->race);
    if (s->race.phase == RACE_FINAL && s->race.twin_of < 0)
      enter_twin(s, m, us);
  }
  return DD_OK;
}

/* A whole race of `count` candidates and an A/A twin; us[] has room for it.
 * `incumbent` has won before; -1: nobody has. */
static inline dd_status simulate(struct simulated *s, struct machine *m,
                                 const struct race_rule *rule, double *us,
                                 int count, int incumbent, int *order)
{
  s->samples = s->again = 0;
  if (count > SIMULATED_MOST) return fail(DD_BUG, "too many are simulated");
  memcpy(s->true_us, us, sizeof *us * (size_t)count);
  for (int i = 0; i < count; ++i) us[i] *= 1 + m->place * normal(m);
  TRY(race_make(&s->race, rule, count + 1, m->random));
  race_twin(&s->race, count);
  if (incumbent >= 0) race_favour(&s->race, incumbent);
  TRY(simulate_rounds(s, m, us, order));
  race_judge(&s->race, &s->verdict);
  return DD_OK;
}

#endif
