/* simulate.c - what other rules would have made of recorded races. */
#include "simulate.h"

#include <stdio.h>
#include <stdlib.h>

#include "command.h"
#include "output.h"
#include "replay.h"

enum { TIMES = 20 }; /* of each race, by each rule */

static const double false_winner = 0.02; /* as the tests of the race have it */

/* What a rule changes of the default; 0: nothing. */
static const struct {
  const char *name;
  int screen_rounds, finalists, final_rounds;
  double error;
} rules[] = {
    {.name = "in use"},
    {.name = "half the final", .final_rounds = 12},
    {.name = "twice the final", .final_rounds = 48},
    {.name = "half the screening", .screen_rounds = 4},
    {.name = "half the finalists", .finalists = 5},
    {.name = "twice the finalists", .finalists = 20},
    {.name = "error of a half", .error = 0.5},
};

static struct race_rule rule_of(size_t i)
{
  struct race_rule r = race_rule_default;

  if (rules[i].screen_rounds) r.screen_rounds = rules[i].screen_rounds;
  if (rules[i].finalists) r.finalists = rules[i].finalists;
  if (rules[i].final_rounds) r.final_rounds = rules[i].final_rounds;
  if (rules[i].error > 0) r.error = rules[i].error;
  return r;
}

/* ---- Sums ---------------------------------------------------------------- */

struct sums {
  double *regret; /* of every repetition, for the quantiles */
  int count;
  double timings, candidates;
  int lost, strayed, twins, recorded;
};

static void add(struct sums *s, const struct replay_race *r,
                const struct replay_result *result, int times)
{
  for (int i = 0; i < times; ++i) {
    s->regret[s->count++] = result[i].regret;
    s->lost += result[i].regret > false_winner;
    s->strayed += !result[i].tied;
    s->twins += result[i].false_twin;
    s->recorded += result[i].recorded;
    s->timings += (double)result[i].timings;
    s->candidates += r->count;
  }
}

static int by_size(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;

  return (x > y) - (x < y);
}

static double mean(const struct sums *s)
{
  double sum = 0;

  for (int i = 0; i < s->count; ++i) sum += s->regret[i];
  return s->count ? sum / s->count : 0;
}

static double percent(int part, int of)
{
  return of ? 100.0 * part / of : 0;
}

/* ---- Printing ------------------------------------------------------------ */

struct report {
  const struct replay *replay;
  bool json;
  struct json out;
  struct columns columns;
};

static const char *const race_titles[] = {
    "problem",        "policy",    ">candidates",
    ">same winner %", ">regret %", "winner"};

static void print_race(struct report *p, const struct replay_race *r,
                       const struct sums *s, const struct replay_result *last)
{
  const char *winner = r->candidates[last->winner].label;

  if (p->json) {
    json_object(&p->out, NULL);
    json_text(&p->out, "problem", r->problem);
    json_text(&p->out, "policy", r->policy);
    json_int(&p->out, "candidates", r->count);
    json_real(&p->out, "same_percent", percent(s->recorded, s->count));
    json_real(&p->out, "regret", mean(s));
    json_text(&p->out, "winner", winner);
    json_end(&p->out, '}');
    return;
  }
  columns_cell(&p->columns, "%s", r->problem);
  columns_cell(&p->columns, "%s", r->policy);
  columns_cell(&p->columns, "%d", r->count);
  columns_cell(&p->columns, "%.0f", percent(s->recorded, s->count));
  columns_cell(&p->columns, "%.2f", 100 * mean(s));
  columns_cell(&p->columns, "%s", winner);
}

/* Sorts the regrets. */
static void print_rule(struct report *p, const char *name, struct sums *s)
{
  const struct {
    const char *key;
    double value;
  } cell[] = {
      {"false_percent", percent(s->lost, s->count)},
      {"regret_mean", 100 * mean(s)},
      {"regret_p95", 100 * s->regret[(int)(0.95 * (s->count - 1))]},
      {"regret_worst", 100 * s->regret[s->count - 1]},
      {"outside_tie_percent", percent(s->strayed, s->count)},
      {"false_twin_percent", percent(s->twins, s->count)},
      {"same_percent", percent(s->recorded, s->count)},
      {"timings_per_candidate", s->timings / s->candidates},
  };

  if (p->json) json_object(&p->out, NULL);
  if (p->json) json_text(&p->out, "rule", name);
  else columns_cell(&p->columns, "%s", name);
  for (size_t i = 0; i < COUNT_OF(cell); ++i)
    if (p->json) json_real(&p->out, cell[i].key, cell[i].value);
    else columns_cell(&p->columns, "%.2f", cell[i].value);
  if (p->json) json_end(&p->out, '}');
}

/* ---- Running ------------------------------------------------------------- */

/* The rule in use prints its races on the way. */
static dd_status run_rule(struct report *p, size_t rule, uint64_t seed,
                          double *regret, struct sums *all)
{
  struct race_rule r = rule_of(rule);
  struct replay_result result[TIMES];

  *all = (struct sums){.regret = regret};
  for (int i = 0; i < p->replay->count; ++i) {
    const struct replay_race *race = &p->replay->races[i];
    struct sums own = {.regret = regret + all->count};
    TRY(replay_run(race, &r, seed + (uint64_t)i, TIMES, result));
    add(&own, race, result, TIMES);
    if (rule == 0) print_race(p, race, &own, &result[TIMES - 1]);
    add(all, race, result, TIMES);
  }
  qsort(regret, (size_t)all->count, sizeof *regret, by_size);
  return DD_OK;
}

static void begin_races(struct report *p)
{
  if (!p->json) {
    columns_init(&p->columns, race_titles[0], race_titles[1], race_titles[2],
                 race_titles[3], race_titles[4], race_titles[5], NULL);
    return;
  }
  json_init(&p->out, stdout);
  json_object(&p->out, NULL);
  json_array(&p->out, "races");
}

static void begin_rules(struct report *p)
{
  if (p->json) {
    json_end(&p->out, ']');
    json_array(&p->out, "rules");
    return;
  }
  columns_print(&p->columns, stdout, "");
  columns_release(&p->columns);
  putchar('\n');
  columns_init(&p->columns, "rule", ">false winners %", ">regret % mean",
               ">p95", ">worst", ">outside the tie set %", ">false twins %",
               ">same winner %", ">timings each", NULL);
}

static void end_rules(struct report *p)
{
  if (p->json) {
    json_end(&p->out, ']');
    json_end(&p->out, '}');
    json_finish(&p->out);
    return;
  }
  columns_print(&p->columns, stdout, "");
  columns_release(&p->columns);
}

static dd_status run_rules(struct report *p, uint64_t seed, double *regret)
{
  dd_status status = DD_OK;

  begin_races(p);
  for (size_t i = 0; i < COUNT_OF(rules) && !status; ++i) {
    struct sums s;
    status = run_rule(p, i, seed, regret, &s);
    if (i == 0) begin_rules(p);
    if (!status) print_rule(p, rules[i].name, &s);
  }
  end_rules(p);
  return status;
}

static dd_status run(const struct replay *replay, uint64_t seed, bool json)
{
  struct report p = {.replay = replay, .json = json};
  size_t size = sizeof(double) * TIMES * (size_t)replay->count;
  double *regret;
  dd_status status;

  if (!replay->count)
    return fail(DD_BAD_ARGUMENT, "the database has no race whose ratios are "
                "known; run difftune sweep with this version");
  regret = mem_resize(NULL, NULL, 0, size);
  if (!regret) return fail(DD_NO_MEMORY, "out of memory");
  status = run_rules(&p, seed, regret);
  mem_resize(NULL, regret, size, 0);
  return status;
}

int simulate(const char *db_path, uint64_t seed, bool json)
{
  struct replay replay = {0};
  struct db *db = NULL;
  dd_status status;
  int code = say_missing(db_path);

  if (code) return code;
  status = db_open(db_path, DB_READ, &db);
  if (!status) status = replay_load(db, &replay);
  db_close(db);
  if (!status) status = run(&replay, seed, json);
  replay_release(&replay);
  return status ? say_failure(status) : 0;
}
