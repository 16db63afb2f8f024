/*
 * race.c - how often the race errs on simulated machines, and what it costs.
 *
 * usage: race [RACES]     (scripts/bench/race.sh builds and runs it)
 *
 * Each space of 230 variants, dense near the fastest, is raced three times, as
 * three sweeps would; so are eight equal candidates.  Then once more, with the
 * first race's winner as the incumbent.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diffdispatch.h"
#include "simulation.h"

enum { SPACE = 230, EQUALS = 8, SWEEPS = 3 };

static const struct {
  const char *name;
  struct machine machine;
} machines[] = {
    {"noise 0.2 %", {.random = 1, .noise = 0.002}},
    {"noise 0.5 %", {.random = 2, .noise = 0.005}},
    {"and drift of 5 %", {.random = 3, .noise = 0.005, .drift = 0.05}},
    {"and spikes in 5 %", {.random = 4, .noise = 0.005, .spike = 0.05}},
    {"and two clocks", {.random = 5, .noise = 0.005, .slow = 0.01,
                        .slow_by = 0.1}},
    {"and places of 0.2 %", {.random = 6, .noise = 0.005, .place = 0.002}},
    {"some of each", {.random = 7, .noise = 0.005, .drift = 0.03, .spike = 0.02,
                      .slow = 0.003, .slow_by = 0.1, .place = 0.001}},
    {"noise 2 %", {.random = 8, .noise = 0.02}},
};

struct tally {
  double regret, worst;
  long samples, races, lost, twins, untied, same, inside, pairs, stayed;
  double stayed_regret;
};

static void count_race(struct tally *t, const struct simulated *s,
                       const double *us, double best, int count)
{
  double behind = us[s->verdict.winner] / best - 1;

  t->races++;
  t->samples += s->samples;
  t->regret += behind;
  if (behind > t->worst) t->worst = behind;
  t->lost += behind > 0.02;
  t->twins += s->verdict.apart > race_rule_default.floor;
  for (int i = 0; i < count; ++i) t->untied += !s->race.entries[i].tied;
}

static void count_agreement(struct tally *t, const struct simulated *s)
{
  for (int i = 1; i < SWEEPS; ++i, ++t->pairs) {
    t->same += s[i].verdict.winner == s[0].verdict.winner;
    t->inside += s[0].race.entries[s[i].verdict.winner].tied;
  }
}

static void race_once(struct simulated *s, struct machine *m, const double *us,
                      int count, int incumbent)
{
  double here[SPACE + 1];
  int order[SPACE + 1];

  memcpy(here, us, sizeof *us * (size_t)count);
  if (!simulate(s, m, &race_rule_default, here, count, incumbent, order))
    return;
  fprintf(stderr, "%s\n", dd_last_error());
  exit(1);
}

static void race_again(struct tally *t, struct machine *m, const double *us,
                       double best, int count, int incumbent)
{
  struct simulated s;

  race_once(&s, m, us, count, incumbent);
  t->stayed += s.verdict.winner == incumbent;
  t->stayed_regret += us[s.verdict.winner] / best - 1;
  race_release(&s.race);
}

static void race_space(struct tally *t, struct machine *m, const double *us,
                       int count)
{
  struct simulated s[SWEEPS];
  double best = us[0];

  for (int i = 0; i < count; ++i) best = us[i] < best ? us[i] : best;
  for (int k = 0; k < SWEEPS; ++k) {
    race_once(&s[k], m, us, count, -1);
    count_race(t, &s[k], us, best, count);
  }
  count_agreement(t, s);
  race_again(t, m, us, best, count, s[0].verdict.winner);
  for (int k = 0; k < SWEEPS; ++k) race_release(&s[k].race);
}

static double percent(double part, double of)
{
  return 100 * part / of;
}

static void print(const char *name, const struct tally *t,
                  const struct tally *equals)
{
  double spaces = (double)t->races / SWEEPS;

  printf("| %s | %.2f | %.2f | %.2f | %.1f | %.1f | %.1f | %.2f | %.2f | %.2f |"
         " %.1f |\n",
         name, percent(t->regret, (double)t->races), 100 * t->worst,
         percent((double)t->lost, (double)t->races),
         percent((double)t->same, (double)t->pairs),
         percent((double)t->inside, (double)t->pairs),
         percent((double)t->stayed, spaces), percent(t->stayed_regret, spaces),
         percent((double)equals->twins, (double)equals->races),
         percent((double)equals->untied, (double)equals->races * EQUALS),
         (double)t->samples / (double)t->races / SPACE);
}

int main(int argc, char **argv)
{
  int races = argc > 1 ? atoi(argv[1]) : 500;

  printf("| machine | regret %% | worst %% | > 2 %% | same winner %% | "
         "inside the tie set %% | incumbent stays %% | and its regret %% | "
         "false twins %% | equals untied %% | "
         "timings each |\n|---|---|---|---|---|---|---|---|---|---|---|\n");
  for (size_t k = 0; k < COUNT_OF(machines); ++k) {
    struct machine m = machines[k].machine, space = {.random = 79};
    struct tally t = {0}, equals = {0};
    double us[SPACE];
    for (int n = 0; n < races; ++n) {
      for (int i = 0; i < SPACE; ++i)
        us[i] = 5 * (1 + 0.6 * pow(uniform(&space), 1.5));
      race_space(&t, &m, us, SPACE);
      for (int i = 0; i < EQUALS; ++i) us[i] = 5;
      race_space(&equals, &m, us, EQUALS);
    }
    print(machines[k].name, &t, &equals);
  }
  return 0;
}
