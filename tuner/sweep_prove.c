/* sweep_prove.c - proves the candidates of a problem as their code arrives. */
#include "sweep_inner.h"

#include "prune.h"
#include "twin.h"

static void refuse(struct sweep *s, struct outcome *o, struct entry *e,
                   const char *stage, const char *reason)
{
  e->done = true;
  e->stage = stage;
  e->reason = sweep_keep_text(s, reason);
  o->refused++;
  s->done++;
}

static void refuse_problem(struct sweep *s, struct outcome *o)
{
  o->broken = sweep_keep_text(s, dd_last_error());
  say("%s: it cannot be set up: %s", o->spelling, o->broken);
  for (uint32_t i = 0; i < o->count; ++i)
    if (!o->entries[i].done)
      refuse(s, o, &o->entries[i], "check", o->broken);
}

/* A failure of the device is the candidate's; everything else is ours. */
dd_status sweep_prove(struct sweep *s, struct outcome *o, struct entry *e,
                      int *generation)
{
  const char *stage = "load";
  dd_status status;

  status = sweep_keep_problem(s, o, generation);
  if (sweep_was_cut(s, status)) return DD_OK;
  if (sweep_is_problems(status)) {
    refuse_problem(s, o);
    if (!e->done) refuse(s, o, e, "check", o->broken);
    return DD_OK;
  }
  TRY(status);
  status = sweep_load_steps(s, o, e);
  if (!status) {
    stage = "check";
    status = sweep_ask_check(s, o, e, &e->proof);
  }
  if (sweep_was_cut(s, status)) return DD_OK;
  if (sweep_is_candidates(status)) {
    refuse(s, o, e, stage, dd_last_error());
    return DD_OK;
  }
  TRY(status);
  if (!e->proof.right) {
    refuse(s, o, e, "check", e->proof.reason);
    return DD_OK;
  }
  e->done = e->proven = true;
  o->proven++;
  s->done++;
  return DD_OK;
}

/* One that a device would run in the very same way costs nothing; what is wrong
 * or refused is so for both. */
static void follow_twin(struct sweep *s, struct outcome *o, struct entry *e,
                        struct entry *twin)
{
  e->done = true;
  e->twin = twin;
  e->proven = twin->proven;
  e->proof = twin->proof;
  e->stage = twin->stage;
  e->reason = twin->reason;
  *(e->proven ? &o->proven : &o->refused) += 1;
  s->done++;
}

/* ---- Pruning ------------------------------------------------------------- */

/* Which pruning compares with: the choice must not depend on who compiles
 * first. */
static bool waits_for_default(const struct sweep *s, const struct outcome *o)
{
  return s->options.prune &&
         s->build->parts[o->entries[0].part[0]]->state == PART_WAITING;
}

static bool read_need(const struct sweep *s, const struct outcome *o,
                      const struct entry *e, struct need *n)
{
  const struct part *p = s->build->parts[e->part[0]];
  const struct device_info *info = &s->client->info;

  *n = (struct need){.registers = p->registers, .local_bytes = p->local_bytes,
                     .shared_bytes = p->shared_bytes};
  return p->has_machine && !variant_geometry(&p->variant, &o->problem,
                                             info->arch, info->sms, 1,
                                             &n->geometry);
}

/* The default variant comes first and is never pruned. */
static bool prune(struct sweep *s, struct outcome *o, struct entry *e)
{
  struct need need, usual;

  if (!s->options.prune || e == o->entries || e->audited) return false;
  if (!read_need(s, o, e, &need) || !read_need(s, o, o->entries, &usual))
    return false;
  e->rule = prune_rule(&need, &usual, &s->client->info);
  if (!e->rule) return false;
  e->audited = prune_is_audited(&e->candidate.steps[0], s->options.seed);
  if (e->audited) return false;
  e->done = true;
  o->pruned++;
  s->done++;
  return true;
}

/* A rule was wrong where what it refuses is as fast as the best. */
void sweep_audit(const struct outcome *o)
{
  double best = o->best < 0 ? 0 : o->entries[o->best].standing.median_us;

  for (uint32_t i = 0; i < o->count; ++i) {
    const struct entry *e = &o->entries[i];
    if (e->audited && e->raced &&
        e->standing.median_us <= best * (1 + o->race.noise))
      say("%s: the rule '%s' would have left out '%s', %.2f us of %.2f; "
          "--no-prune races all", o->spelling, e->rule, e->label,
          e->standing.median_us, best);
  }
}

/* ---- All of them --------------------------------------------------------- */

/* Its share is spent, as far as proving goes: as long again is for the race.
 * One candidate must be proven, or the time was spent on nothing. */
static bool is_spent(const struct sweep *s, const struct outcome *o)
{
  double now = seconds_now();

  return sweep_is_stopped(s) ||
         (o->end > 0 && o->proven && now >= o->began + (o->end - o->began) / 2);
}

/* The part that decides: the first that is not there, else the first. */
static const struct part *slowest_part(const struct sweep *s,
                                       const struct entry *e)
{
  for (uint32_t i = 0; i < e->candidate.step_count; ++i) {
    const struct part *p = s->build->parts[e->part[i]];
    if (p->state != PART_COMPILED) return p;
  }
  return s->build->parts[e->part[0]];
}

/* Proves what is compiled; false in *waiting when no entry is left. */
static dd_status prove_ready(struct sweep *s, struct outcome *o,
                             int *generation, bool *waiting)
{
  *waiting = false;
  for (uint32_t i = 0; i < o->count && !is_spent(s, o); ++i) {
    struct entry *e = &o->entries[i], *twin;
    const struct part *p = slowest_part(s, e);
    if (e->done) continue;
    if (p->state == PART_WAITING || waits_for_default(s, o)) {
      *waiting = true;
      continue;
    }
    if (p->state == PART_FAILED)
      refuse(s, o, e, "compile", p->reason ? p->reason : "out of memory");
    else if (prune(s, o, e))
      continue;
    else if (!e->candidate.split &&
             (twin = twin_find(s->build, &s->client->info, o, e)))
      follow_twin(s, o, e, twin);
    else
      TRY(sweep_prove(s, o, e, generation));
    sweep_tell(s, o, "proving");
  }
  return DD_OK;
}

dd_status sweep_prove_all(struct sweep *s, struct outcome *o, int *generation)
{
  bool waiting = true;

  while (waiting && !is_spent(s, o)) {
    sweep_open_ahead(s);
    TRY(s->ahead_status);
    TRY(build_pump(s->build, false));
    TRY(prove_ready(s, o, generation, &waiting));
    if (waiting) TRY(sweep_wait_for_code(s, o));
  }
  twin_settle(o);
  return DD_OK;
}
