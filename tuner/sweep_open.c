/* sweep_open.c - makes the entries of problems whose turn is near. */
#include "sweep_inner.h"

/* ---- Candidates that are given ------------------------------------------- */

static dd_status add_step(struct sweep *s, struct entry *e,
                          const struct fixed *f, uint32_t i)
{
  struct variant v = f->step[i];

  if (f->text[i])
    TRY(build_add_text(s->build, &v, f->text[i], &e->part[i]));
  else
    TRY(build_add(s->build, &v, &e->part[i]));
  e->candidate.steps[i] = v.hash;
  return DD_OK;
}

static dd_status fix_entry(struct sweep *s, struct entry *e,
                           const struct fixed *f)
{
  struct bytes label = BYTES_INIT;

  if (f->split) bytes_text(&label, "split:");
  e->candidate.split = f->split;
  e->candidate.step_count = f->step_count;
  for (uint32_t i = 0; i < f->step_count; ++i) {
    TRY(add_step(s, e, f, i));
    bytes_printf(&label, "%s%s%s", i ? "," : "", f->split ? " " : "",
                 s->build->parts[e->part[i]]->label);
  }
  e->label = arena_text(&s->arena, bytes_string(&label), label.size);
  bytes_release(&label);
  return e->label ? DD_OK : fail(DD_NO_MEMORY, "out of memory");
}

static dd_status open_fixed(struct sweep *s, struct outcome *o)
{
  o->opened = true;
  o->entries = ARENA_ARRAY(&s->arena, struct entry, o->fixed_count + 1);
  if (!o->entries) return fail(DD_NO_MEMORY, "out of memory");
  for (uint32_t i = 0; i < o->fixed_count; ++i)
    TRY(fix_entry(s, &o->entries[o->count++], &o->fixed[i]));
  return build_submit(s->build);
}

/* ---- All that fit -------------------------------------------------------- */

dd_status sweep_add_entry(struct sweep *s, struct entry *e, struct variant *v)
{
  TRY(build_add(s->build, v, &e->part[0]));
  e->candidate.step_count = 1;
  e->candidate.steps[0] = v->hash;
  e->label = s->build->parts[e->part[0]]->label;
  return DD_OK;
}

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
  uint64_t x = *state += 0x9e3779b97f4a7c15u;

  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

/* Where the budget is too short for all: the default, then random ones. */
static void fit_points(struct sweep *s, struct outcome *o)
{
  uint32_t fits = budget_fits(&s->budget, o->weight, o->point_count);
  uint64_t random = s->options.seed;

  if (fits >= o->point_count) return;
  for (uint32_t i = 1; i < fits; ++i) {
    uint32_t j = i + (uint32_t)(next_random(&random) % (o->point_count - i));
    struct variant v = o->points[i];
    o->points[i] = o->points[j];
    o->points[j] = v;
  }
  s->total -= o->point_count - fits;
  s->left_out += o->point_count - fits;
  o->point_count = fits;
}

static dd_status open_outcome(struct sweep *s, struct outcome *o)
{
  dd_status status = DD_OK;

  if (o->restored || o->opened) return DD_OK;
  if (o->fixed) return open_fixed(s, o);
  o->opened = true;
  o->entries = ARENA_ARRAY(&s->arena, struct entry, o->point_count + 1);
  if (!o->entries) return fail(DD_NO_MEMORY, "out of memory");
  o->has_split = sweep_may_split(o);
  fit_points(s, o);
  for (uint32_t i = 0; i < o->point_count && !status; ++i)
    status = sweep_add_entry(s, &o->entries[o->count++], &o->points[i]);
  arena_release(&o->arena);
  o->points = NULL;
  return status ? status : build_submit(s->build);
}

/* Units wait for each worker, however long the device takes; but not those of
 * the whole sweep, whose text would be hundreds of megabytes. */
enum { UNITS_AHEAD = 4, PROBLEMS_AHEAD = 64 };

static bool is_hungry(const struct sweep *s)
{
  const struct farm *farm = s->build->farm;

  return farm_queued(farm) < UNITS_AHEAD * (size_t)farm_workers(farm);
}

static bool next_coming(struct sweep *s, uint32_t end, struct outcome **o)
{
  const struct sweep_turns *t = &s->turns;

  if (s->coming_ahead == t->coming_count || s->coming_ahead >= end)
    return false;
  *o = &s->outcomes[t->coming[s->coming_ahead++]];
  return true;
}

static bool next_turn(struct sweep *s, uint32_t end, struct outcome **o)
{
  if (s->ahead == s->turn_count || s->ahead >= end) return false;
  *o = &s->outcomes[s->order[s->ahead++]];
  return true;
}

void sweep_open_ahead(struct sweep *s)
{
  uint32_t coming = s->turns.coming_at + PROBLEMS_AHEAD;
  struct outcome *o;

  while (!s->ahead_status && is_hungry(s) &&
         (next_coming(s, coming, &o) ||
          next_turn(s, s->current + PROBLEMS_AHEAD, &o)))
    s->ahead_status = open_outcome(s, o);
}

dd_status sweep_open_now(struct sweep *s, struct outcome *this)
{
  struct outcome *o;

  while (!this->opened && next_coming(s, s->turns.coming_at, &o))
    TRY(open_outcome(s, o));
  if (s->ahead <= s->current) s->ahead = s->current + 1;
  return open_outcome(s, this);
}

dd_status sweep_wait_for_code(struct sweep *s, struct outcome *o)
{
  double began = seconds_now();
  dd_status status;

  sweep_tell(s, o, "compiling");
  farm_set_end(s->build->farm, o->end > 0 && o->proven ? o->end
                                                       : s->budget.stop);
  status = build_pump(s->build, true);
  farm_set_end(s->build->farm, s->budget.end);
  return sweep_spent(o, PHASE_COMPILE, began, status);
}
