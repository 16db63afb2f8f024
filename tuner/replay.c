/* replay.c - races run again from the samples of a database. */
#include "replay.h"

#include <stdlib.h>
#include <string.h>

/* ---- Loading ------------------------------------------------------------- */

struct loading {
  struct db *db;
  struct replay *out;
};

static const char *keep(struct arena *a, const char *text)
{
  return arena_text(a, text, strlen(text));
}

/* Arrays in the arena that double: what they leave behind is little. */
static void *grow(struct arena *a, void *old, int count, int *capacity,
                  size_t size)
{
  void *more = old;

  if (count < *capacity) return old;
  *capacity = *capacity ? 2 * *capacity : 16;
  more = arena_alloc(a, (size_t)*capacity * size);
  if (more && count) memcpy(more, old, (size_t)count * size);
  return more;
}

static struct replay_race *race_of(struct replay *out, const struct db_row *row)
{
  struct replay_race *last = out->count ? &out->races[out->count - 1] : NULL;

  if (last && last->id == row->race) return last;
  out->races = grow(&out->arena, out->races, out->count, &out->capacity,
                    sizeof *out->races);
  if (!out->races) return NULL;
  last = &out->races[out->count++];
  *last = (struct replay_race){.id = row->race,
                               .problem = keep(&out->arena, row->problem),
                               .policy = keep(&out->arena, row->policy)};
  return last->problem && last->policy ? last : NULL;
}

static dd_status read_candidate(struct loading *l, const struct db_row *row,
                                struct replay_candidate *c)
{
  struct summary s;
  size_t count;

  *c = (struct replay_candidate){
      .label = keep(&l->out->arena, row->label), .split = row->split,
      .final = strcmp(row->stopped, "final") == 0,
      .step_count = row->step_count, .registers = row->registers,
      .id = row->candidate};
  TRY(db_ratios(l->db, row->measurement, &l->out->arena, &c->ratio, &count));
  if (!c->label) return fail(DD_NO_MEMORY, "out of memory");
  c->count = count > SAMPLES_MAX ? SAMPLES_MAX : (int)count;
  summarise(c->ratio, c->count, &s);
  c->truth = s.median;
  return DD_OK;
}

static dd_status visit(void *user, const struct db_row *row)
{
  struct loading *l = user;
  struct replay_race *r;

  if (!row->race) return DD_OK;
  r = race_of(l->out, row);
  if (r)
    r->candidates = grow(&l->out->arena, r->candidates, r->count, &r->capacity,
                         sizeof *r->candidates);
  if (!r || !r->candidates) return fail(DD_NO_MEMORY, "out of memory");
  return read_candidate(l, row, &r->candidates[r->count++]);
}

static int by_preference(const void *left, const void *right)
{
  const struct replay_candidate *a = *(struct replay_candidate *const *)left;
  const struct replay_candidate *b = *(struct replay_candidate *const *)right;

  if (a->step_count != b->step_count)
    return a->step_count < b->step_count ? -1 : 1;
  if (a->registers != b->registers) return a->registers < b->registers ? -1 : 1;
  return (a->id > b->id) - (a->id < b->id);
}

/* The race's own rule, but for the hash: any fixed order does in its place. */
static dd_status finish(struct replay *out, struct replay_race *r)
{
  struct replay_candidate **sorted =
      ARENA_ARRAY(&out->arena, struct replay_candidate *, (size_t)r->count);

  if (!sorted) return fail(DD_NO_MEMORY, "out of memory");
  for (int i = 0; i < r->count; ++i) {
    struct replay_candidate *c = sorted[i] = &r->candidates[i];
    if (c->final && (r->best <= 0 || c->truth < r->best)) r->best = c->truth;
  }
  qsort(sorted, (size_t)r->count, sizeof *sorted, by_preference);
  for (int i = 0; i < r->count; ++i) sorted[i]->preferred = i;
  if (r->count > out->most) out->most = r->count;
  return DD_OK;
}

dd_status replay_load(struct db *db, struct replay *out)
{
  struct loading l = {db, out};
  dd_status status;

  memset(out, 0, sizeof *out);
  arena_init(&out->arena, NULL);
  status = db_each(db, NULL, visit, &l);
  for (int i = 0; i < out->count && !status; ++i)
    status = finish(out, &out->races[i]);
  if (status) replay_release(out);
  return status;
}

void replay_release(struct replay *r)
{
  arena_release(&r->arena);
  memset(r, 0, sizeof *r);
}

/* ---- Running ------------------------------------------------------------- */

enum { ROUNDS_OF_BLOCK = 4, BLOCKS = 64 };

struct run {
  const struct replay_race *from;
  struct race race;
  struct race_verdict verdict;
  int *order;
  int round;
  uint32_t start[BLOCKS]; /* where each block of rounds is read from */
  uint64_t random;
  long timings;
};

static uint32_t next_random(struct run *r)
{
  r->random = r->random * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(r->random >> 33);
}

/* The twin reads its original's samples somewhere else: it is timed by itself,
 * as everybody is. */
static double draw(const struct run *r, int entry)
{
  const struct replay_candidate *c =
      &r->from->candidates[entry == r->race.twin ? r->race.twin_of : entry];
  uint32_t at = r->start[r->round / ROUNDS_OF_BLOCK % BLOCKS] +
                (uint32_t)(r->round % ROUNDS_OF_BLOCK);

  if (entry == r->race.twin) at += (uint32_t)c->count / 2;
  return c->ratio[at % (uint32_t)c->count];
}

static dd_status run_rounds(struct run *r)
{
  int live;

  while ((live = race_round(&r->race, r->order)) > 0) {
    for (int i = 0; i < live; ++i)
      TRY(race_sample(&r->race, r->order[i], draw(r, r->order[i]), 1));
    race_round_end(&r->race);
    r->timings += live;
    r->round++;
    if (r->race.phase == RACE_FINAL && r->race.twin_of < 0)
      race_enter_twin(&r->race, race_original(&r->race));
  }
  return DD_OK;
}

static dd_status run_once(struct run *r, const struct race_rule *rule)
{
  r->round = 0;
  r->timings = 0;
  for (int i = 0; i < BLOCKS; ++i) r->start[i] = next_random(r);
  TRY(race_make(&r->race, rule, r->from->count + 1, next_random(r)));
  race_twin(&r->race, r->from->count);
  for (int i = 0; i < r->from->count; ++i) {
    race_prefer(&r->race, i, r->from->candidates[i].preferred);
    if (r->from->candidates[i].split) race_keep(&r->race, i);
  }
  TRY(run_rounds(r));
  race_judge(&r->race, &r->verdict);
  return DD_OK;
}

static void read_result(const struct run *r, struct replay_result *out)
{
  const struct replay_race *from = r->from;

  *out = (struct replay_result){.winner = r->verdict.winner,
                                .timings = r->timings,
                                .recorded = r->verdict.winner == 0,
                                .false_twin = r->verdict.apart > r->race.rule.floor};
  out->regret = from->candidates[out->winner].truth / from->best - 1;
  if (out->regret < 0) out->regret = 0;
}

dd_status replay_run(const struct replay_race *from,
                     const struct race_rule *rule, uint64_t seed, int times,
                     struct replay_result *out)
{
  size_t size = sizeof(int) * ((size_t)from->count + 1);
  struct run r = {.from = from, .random = seed};
  dd_status status = DD_OK;

  r.order = mem_resize(NULL, NULL, 0, size);
  if (!r.order) return fail(DD_NO_MEMORY, "out of memory");
  for (int i = 0; i < times && !status; ++i) {
    status = run_once(&r, rule);
    if (!status) read_result(&r, &out[i]);
    if (!status)
      out[i].tied = !i || r.race.entries[out[i - 1].winner].tied;
    race_release(&r.race);
  }
  mem_resize(NULL, r.order, size, 0);
  return status;
}
