/* sweep.c - prove and race every candidate of a list of problems. */
#include "sweep_inner.h"

#include <string.h>

bool sweep_is_stopped(const struct sweep *s)
{
  return interrupted() || budget_is_over(&s->budget);
}

uint32_t sweep_entry_count(const struct outcome *o)
{
  return o->count + (o->has_split ? 1 : 0);
}

const char *sweep_keep_text(struct sweep *s, const char *text)
{
  const char *kept = arena_text(&s->arena, text, strlen(text));

  return kept ? kept : "out of memory";
}

/* ---- While the device is at work ----------------------------------------- */

/* The compile workers are not to wait for it. */
static void turn_farm(void *user)
{
  struct sweep *s = user;

  farm_turn(s->build->farm);
  if (s->turns.take) s->turns.take(s->turns.user, false);
  sweep_open_ahead(s);
  sweep_record_beside(s);
}

static size_t farm_rows(void *user, struct pollfd *fds, size_t capacity)
{
  return farm_poll(((struct sweep *)user)->build->farm, fds, capacity);
}

/* ---- Where the time goes ------------------------------------------------- */

#define PHASE_WORD(name, word) [PHASE_##name] = word,
const char *const phase_words[PHASE_COUNT] = {PHASE_MAP(PHASE_WORD)};
#undef PHASE_WORD

dd_status sweep_spent(struct outcome *o, enum phase phase, double began,
                      dd_status status)
{
  o->seconds[phase] += seconds_now() - began;
  return status;
}

double sweep_seconds(const struct sweep *s, double seconds[PHASE_COUNT])
{
  static const enum phase busy[] = {PHASE_LOAD, PHASE_PROVE, PHASE_RACE};
  double sum = 0;

  memset(seconds, 0, PHASE_COUNT * sizeof *seconds);
  for (uint32_t i = 0; i < s->count; ++i)
    for (int k = 0; k < PHASE_COUNT; ++k)
      seconds[k] += s->outcomes[i].seconds[k];
  for (size_t i = 0; i < COUNT_OF(busy); ++i) sum += seconds[busy[i]];
  return s->seconds > 0 ? sum / s->seconds : 0;
}

void sweep_tell(struct sweep *s, const struct outcome *o, const char *doing)
{
  budget_predict(&s->budget, s->total - s->done, &s->progress.low,
                 &s->progress.high);
  progress_at(&s->progress, s->done, s->total, "%s %s", doing, o->spelling);
}

/* ---- A problem, from top to bottom --------------------------------------- */

/* What the end of the budget cut short is as if it had not begun: that its
 * device worker was killed is no verdict on a candidate. */
static dd_status abandon(struct outcome *o)
{
  if (interrupted()) return DD_OK;
  o->begun = o->has_split = false;
  o->count = 0;
  return DD_OK;
}

static dd_status sweep_problem(struct sweep *s, struct outcome *o)
{
  int generation = 0;

  if (o->restored) return DD_OK;
  TRY(sweep_open_now(s, o));
  o->begun = true;
  o->began = seconds_now();
  o->end = budget_begin(&s->budget, o->weight);
  TRY(sweep_prove_all(s, o, &generation));
  TRY(sweep_prove_split(s, o, &generation));
  if (sweep_is_stopped(s)) return abandon(o);
  if (s->options.time) {
    sweep_tell(s, o, "racing");
    TRY(sweep_race(s, o, &generation));
  } else {
    sweep_take_first(o);
  }
  if (sweep_is_stopped(s) && s->options.time && o->best < 0) return abandon(o);
  for (uint32_t i = 0; i < o->count; ++i) s->left_out += !o->entries[i].done;
  budget_end(&s->budget, seconds_now() - o->began, o->proven + o->refused);
  sweep_audit(o);
  if (!s->recorder) return DD_OK;
  o->unstored = true;
  TRY(record_prepare(s->recorder, o));
  return sweep_record_trouble(s);
}

/* ---- Whose turn it is ---------------------------------------------------- */

static dd_status make_order(struct sweep *s)
{
  s->order = ARENA_ARRAY(&s->arena, uint32_t, s->count + 1);
  return s->order ? DD_OK : fail(DD_NO_MEMORY, "out of memory");
}

dd_status sweep_turn(struct sweep *s, uint32_t outcome)
{
  if (!s->order) TRY(make_order(s));
  if (outcome >= s->count || s->turn_count == s->count)
    return fail(DD_BUG, "outcome %u of %u has no turn", outcome, s->count);
  s->order[s->turn_count++] = outcome;
  return DD_OK;
}

static dd_status give_all_turns(struct sweep *s)
{
  for (uint32_t i = 0; i < s->count; ++i) TRY(sweep_turn(s, i));
  return DD_OK;
}

bool sweep_idle(struct sweep *s, int fd)
{
  const int tick = 1000; /* ms: for the compilers' deadline */
  struct farm *farm = s->build->farm;
  size_t capacity = 1 + 2 * (size_t)farm_workers(farm);
  struct pollfd *fds = mem_resize(NULL, NULL, 0, capacity * sizeof *fds);
  int ready = -1;

  sweep_open_ahead(s);
  if (fds) {
    fds[0] = (struct pollfd){fd, POLLIN, 0};
    ready = poll(fds, 1 + farm_poll(farm, fds + 1, capacity - 1), tick);
  } else if (!s->ahead_status) {
    s->ahead_status = fail(DD_NO_MEMORY, "out of memory");
  }
  mem_resize(NULL, fds, capacity * sizeof *fds, 0);
  if (!s->ahead_status) s->ahead_status = build_pump(s->build, false);
  return ready >= 0 && !s->ahead_status && !sweep_is_stopped(s);
}

/* There may be nothing more until all is told that there is to tell. */
static bool wait_for_turn(struct sweep *s)
{
  if (s->turns.take(s->turns.user, false)) return true;
  sweep_record_more(s, true);
  return !s->record_status && s->turns.take(s->turns.user, true);
}

static bool has_turn(struct sweep *s)
{
  if (sweep_is_stopped(s)) return false;
  while (s->turns.take && s->current == s->turn_count)
    if (!wait_for_turn(s)) return false;
  return s->current < s->turn_count;
}

dd_status sweep_run(struct sweep *s)
{
  dd_status status = s->turns.take ? DD_OK : give_all_turns(s);

  s->started = seconds_now();
  progress_begin(&s->progress, s->options.time ? "sweep" : "check",
                 s->options.quiet);
  s->client->beside = (struct client_beside){farm_rows, turn_farm, s};
  s->client->end = s->budget.stop;
  farm_set_end(s->build->farm, s->budget.end);
  for (; !status && has_turn(s); ++s->current)
    status = sweep_problem(s, &s->outcomes[s->order[s->current]]);
  status = sweep_record_rest(s, status);
  s->client->beside = (struct client_beside){NULL, NULL, NULL};
  s->client->end = 0;
  progress_end(&s->progress);
  s->seconds = seconds_now() - s->started;
  return status;
}
