/* sweep_race.c - races what was proven, and finds the best. */
#include "sweep_inner.h"

#include <string.h>

static bool races(const struct entry *e)
{
  return e->proven && !e->stage && !e->twin;
}

static uint32_t count_racers(const struct outcome *o)
{
  uint32_t n = 0;

  for (uint32_t i = 0; i < sweep_entry_count(o); ++i)
    n += races(&o->entries[i]);
  return n;
}

static void put_racers(const struct outcome *o, struct bytes *request)
{
  wire_put_u32(request, count_racers(o));
  for (uint32_t i = 0; i < sweep_entry_count(o); ++i)
    if (races(&o->entries[i])) put_candidate(request, &o->entries[i].candidate);
}

static bool same_candidate(const struct candidate *a, const struct candidate *b)
{
  return a->split == b->split && a->step_count == b->step_count &&
         !memcmp(a->steps, b->steps, a->step_count * sizeof a->steps[0]);
}

/* Which of the racers has won before, or whose machine code has. */
static uint32_t find_incumbent(const struct outcome *o)
{
  uint32_t n = 0, found = NO_CANDIDATE;
  const struct entry *e = NULL;

  if (!o->incumbent.step_count) return NO_CANDIDATE;
  for (uint32_t i = 0; i < sweep_entry_count(o) && !e; ++i)
    if (same_candidate(&o->entries[i].candidate, &o->incumbent))
      e = &o->entries[i];
  if (e && e->twin) e = e->twin;
  for (uint32_t i = 0; i < sweep_entry_count(o); ++i) {
    if (e == &o->entries[i] && races(e)) found = n;
    n += races(&o->entries[i]);
  }
  return found;
}

/* The nth of those that race; NULL: nobody's. */
static struct entry *racer(const struct outcome *o, uint32_t n)
{
  for (uint32_t i = 0; i < sweep_entry_count(o); ++i)
    if (races(&o->entries[i]) && n-- == 0) return &o->entries[i];
  return NULL;
}

static dd_status read_results(struct sweep *s, struct outcome *o,
                              const struct bytes *reply)
{
  struct wire_reader r;
  uint32_t n;

  wire_reader_init(&r, reply->data, reply->size);
  get_race_summary(&r, &o->race);
  n = wire_count(&r, CANDIDATES_MAX, "standings");
  for (uint32_t i = 0; i < sweep_entry_count(o) && n; ++i) {
    struct entry *e = &o->entries[i];
    if (!races(e)) continue;
    get_standing(&r, &s->arena, &e->standing);
    e->raced = !r.failed;
    n--;
  }
  return wire_status(&r, true, DD_BUG);
}

static void find_best(struct outcome *o)
{
  for (uint32_t i = 0; i < sweep_entry_count(o); ++i) {
    const struct entry *e = &o->entries[i];
    int *best[] = {&o->best, &o->best_fused};
    if (!e->raced || !e->standing.final) continue;
    for (int k = 0; k < (e->candidate.split ? 1 : 2); ++k)
      if (*best[k] < 0 ||
          e->standing.position < o->entries[*best[k]].standing.position)
        *best[k] = (int)i;
  }
}

void sweep_take_first(struct outcome *o)
{
  for (uint32_t i = 0; i < o->count && o->best_fused < 0; ++i)
    if (o->entries[i].proven) o->best_fused = (int)i;
}

static dd_status ask_race(struct sweep *s, struct outcome *o, bool careful)
{
  double began = seconds_now();
  struct bytes request = BYTES_INIT, reply = BYTES_INIT;
  dd_status status;

  wire_put_u32(&request, REQUEST_RACE);
  wire_put_text(&request, s->options.policy);
  wire_put_i64(&request, (int64_t)s->options.seed);
  wire_put_u32(&request, find_incumbent(o));
  wire_put_u32(&request, careful);
  put_racers(o, &request);
  s->client->between = sweep_patience(s, o);
  status = sweep_call_at_length(s, &request, 120, &reply);
  s->client->between = 0;
  if (!status) status = read_results(s, o, &reply);
  bytes_release(&request);
  bytes_release(&reply);
  return sweep_spent(o, PHASE_RACE, began, status);
}

/* ---- The same bits ------------------------------------------------------- */

static bool is_final(const struct entry *e)
{
  return e->raced && e->standing.final;
}

static dd_status read_bits(struct outcome *o, const struct bytes *reply)
{
  struct wire_reader r;
  uint32_t n;

  wire_reader_init(&r, reply->data, reply->size);
  n = wire_count(&r, CANDIDATES_MAX, "bits");
  for (uint32_t i = 0; i < sweep_entry_count(o) && n; ++i) {
    if (!is_final(&o->entries[i])) continue;
    o->entries[i].bits = (uint64_t)wire_i64(&r, "bits");
    n--;
  }
  return wire_status(&r, true, DD_BUG);
}

/* Of those that may get into a table. */
static dd_status ask_bits(struct sweep *s, struct outcome *o)
{
  double began = seconds_now();
  struct bytes request = BYTES_INIT, reply = BYTES_INIT;
  uint32_t n = 0;
  dd_status status;

  for (uint32_t i = 0; i < sweep_entry_count(o); ++i)
    n += is_final(&o->entries[i]);
  wire_put_u32(&request, REQUEST_BITS);
  wire_put_u32(&request, n);
  for (uint32_t i = 0; i < sweep_entry_count(o); ++i)
    if (is_final(&o->entries[i]))
      put_candidate(&request, &o->entries[i].candidate);
  status = sweep_call_at_length(s, &request, 60, &reply);
  if (!status) status = read_bits(o, &reply);
  bytes_release(&request);
  bytes_release(&reply);
  return sweep_spent(o, PHASE_PROVE, began, status);
}

/* Nothing else depends on them: where they cannot be had, they are unknown. */
static dd_status find_bits(struct sweep *s, struct outcome *o)
{
  dd_status status;

  if (!o->problem.op->corpus_count || o->best < 0) return DD_OK;
  status = ask_bits(s, o);
  if (sweep_was_cut(s, status)) return DD_OK;
  if (!sweep_is_candidates(status)) return status;
  say("%s: which results have the same bits is unknown: %s", o->spelling,
      dd_last_error());
  return DD_OK;
}

/* ---- The race ------------------------------------------------------------ */

/* Where it fails, *culprit is the candidate that it failed of, or NULL. */
static dd_status race_once(struct sweep *s, struct outcome *o, bool careful,
                           int *generation, struct entry **culprit)
{
  dd_status status;

  TRY(sweep_keep_problem(s, o, generation));
  for (uint32_t i = 0; i < sweep_entry_count(o); ++i) {
    *culprit = &o->entries[i];
    if (races(*culprit)) TRY(sweep_load_steps(s, o, *culprit));
  }
  status = ask_race(s, o, careful);
  *culprit = racer(o, s->client->noted);
  return status;
}

/* Its proof stands; it just cannot be timed. */
static void refuse_timed(struct sweep *s, struct outcome *o, struct entry *e,
                         const char *reason)
{
  e->stage = "time";
  e->reason = sweep_keep_text(s, reason);
  o->proven--;
  o->refused++;
}

static void refuse_race(struct sweep *s, struct outcome *o)
{
  say("%s: the race failed: %s", o->spelling, dd_last_error());
  for (uint32_t i = 0; i < sweep_entry_count(o); ++i)
    if (races(&o->entries[i]))
      refuse_timed(s, o, &o->entries[i], dd_last_error());
}

/* A race that fails is run again, carefully: only that says whom it fails of.
 * A candidate that crashes or hangs while it is timed is out, and the others
 * race again; a device that breaks again and again is not worth the hours. */
enum { RACE_TRIES = 8 };

dd_status sweep_race(struct sweep *s, struct outcome *o, int *generation)
{
  for (int tries = 1; count_racers(o) && !sweep_is_stopped(s); ++tries) {
    struct entry *culprit = NULL;
    bool careful = tries > 1;
    dd_status status = race_once(s, o, careful, generation, &culprit);
    if (sweep_was_cut(s, status)) return DD_OK;
    if (!status) find_best(o);
    if (!status) status = find_bits(s, o);
    if (!sweep_is_candidates(status)) return status;
    if (!careful) continue;
    if (culprit) refuse_timed(s, o, culprit, dd_last_error());
    if (!culprit || tries == RACE_TRIES) refuse_race(s, o);
  }
  return DD_OK;
}
