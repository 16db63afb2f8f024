/* resume.c - what an earlier run of this sweep has done already. */
#include "resume.h"

#include <string.h>

struct resume {
  struct sweep *sweep;
  struct entry *split; /* one per outcome, until its fused ones are counted */
  struct outcome *last; /* rows of a problem come together */
};

static struct outcome *outcome_named(struct resume *r, const char *spelling)
{
  struct sweep *s = r->sweep;

  if (r->last && !strcmp(r->last->spelling, spelling)) return r->last;
  for (uint32_t i = 0; i < s->count; ++i)
    if (!strcmp(s->outcomes[i].spelling, spelling))
      return r->last = &s->outcomes[i];
  return NULL;
}

static dd_status fill_entry(struct sweep *s, const struct db_row *row,
                            struct entry *e)
{
  e->label = arena_text(&s->arena, row->label, strlen(row->label));
  e->row = row->candidate;
  e->done = e->proven = e->raced = true;
  e->proof.error = row->error;
  e->candidate.split = row->split;
  e->standing.median_us = row->median_us;
  e->standing.low_us = row->low_us;
  e->standing.high_us = row->high_us;
  e->standing.final = !strcmp(row->stopped, "final");
  return e->label ? DD_OK : fail(DD_NO_MEMORY, "out of memory");
}

/* Rows come in the order of their rank, so that the first is the best. */
static dd_status take_row(void *user, const struct db_row *row)
{
  struct resume *r = user;
  struct sweep *s = r->sweep;
  struct outcome *o = outcome_named(r, row->problem);
  struct entry *e;

  if (!o || !o->restored) return DD_OK;
  e = row->split ? &r->split[o - s->outcomes] : &o->entries[o->count];
  TRY(fill_entry(s, row, e));
  o->race.copy_us = row->copy_us;
  o->race.noise = row->noise;
  o->best_is_split |= e->standing.final && row->split && o->best_fused < 0;
  if (e->standing.final && !row->split && o->best_fused < 0)
    o->best_fused = (int)o->count;
  o->count += !row->split;
  return DD_OK;
}

/* The split plan stands after the fused ones. */
static void place_split(struct resume *r, struct outcome *o)
{
  const struct entry *split = &r->split[o - r->sweep->outcomes];

  o->has_split = split->done;
  o->best = o->best_is_split ? (int)o->count : o->best_fused;
  if (split->done) o->entries[o->count] = *split;
}

static dd_status count_stored(const struct recorder *r, const struct outcome *o,
                              uint32_t *proven, uint32_t *refused)
{
  int64_t problem;

  TRY(db_problem(r->db, &o->problem, &problem));
  return db_sweep_counts(r->db, r->sweep, problem, proven, refused);
}

dd_status resume_is_stored(struct sweep *s, const struct outcome *o,
                           bool *stored)
{
  uint32_t proven, refused;

  TRY(count_stored(s->recorder, o, &proven, &refused));
  *stored = proven + refused > 0;
  return DD_OK;
}

static dd_status find_stored(struct sweep *s, struct outcome *o)
{
  const struct recorder *r = s->recorder;
  uint32_t stored;

  TRY(count_stored(r, o, &o->proven, &o->refused));
  stored = o->proven + o->refused;
  if (!stored && !r->complete) return DD_OK;
  o->restored = o->begun = true;
  o->built = o->entries; /* if it was opened, for whoever has swept it */
  o->built_count = o->count;
  o->count = 0;
  o->has_split = false;
  s->total -= o->point_count + (o->problem.op->step_count > 0);
  o->entries = ARENA_ARRAY(&s->arena, struct entry, stored + 1);
  return o->entries ? DD_OK : fail(DD_NO_MEMORY, "out of memory");
}

static dd_status find_all_stored(struct sweep *s)
{
  dd_status status = db_batch_begin(s->recorder->db);

  for (uint32_t i = 0; i < s->count && !status; ++i)
    status = find_stored(s, &s->outcomes[i]);
  if (!status) return db_batch_commit(s->recorder->db);
  db_batch_cancel(s->recorder->db);
  return status;
}

/* `only` NULL: all that are restored. */
static dd_status read_rows(struct sweep *s, struct outcome *only, bool all)
{
  const struct recorder *recorder = s->recorder;
  struct resume r = {.sweep = s};

  r.split = ARENA_ARRAY(&s->arena, struct entry, s->count + 1);
  if (!r.split) return fail(DD_NO_MEMORY, "out of memory");
  TRY(db_each_of_sweep(recorder->db, recorder->sweep,
                       only ? only->spelling : NULL, all, take_row, &r));
  for (uint32_t i = 0; i < s->count; ++i)
    if (s->outcomes[i].restored && (!only || only == &s->outcomes[i]))
      place_split(&r, &s->outcomes[i]);
  return DD_OK;
}

dd_status resume_load(struct sweep *s, bool all)
{
  TRY(find_all_stored(s));
  return read_rows(s, NULL, all);
}

dd_status resume_outcome(struct sweep *s, struct outcome *o)
{
  TRY(find_stored(s, o));
  return o->restored ? read_rows(s, o, false) : DD_OK;
}
