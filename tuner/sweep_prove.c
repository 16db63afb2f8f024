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

/* ---- Vouching ------------------------------------------------------------ */

/*
 * A kernel that writes far from its tensors may hit what results are held
 * against.  The worker can tell, but not who it was.  It is asked after the
 * first proof, which later workers must repeat, after each refusal, and at the
 * end.  Where it says no, or died before it was asked, whoever ran since it
 * last said yes is proven again, one by one.
 */
static bool is_in_doubt(const struct entry *e)
{
  return e->proven && !e->vouched;
}

static bool any_in_doubt(const struct outcome *o)
{
  for (uint32_t i = 0; i < o->count; ++i)
    if (is_in_doubt(&o->entries[i])) return true;
  return false;
}

static bool any_vouched(const struct outcome *o)
{
  for (uint32_t i = 0; i < o->count; ++i)
    if (o->entries[i].proven && o->entries[i].vouched) return true;
  return false;
}

static void vouch_for_all(struct outcome *o)
{
  for (uint32_t i = 0; i < o->count; ++i) o->entries[i].vouched = true;
}

void sweep_doubt(struct sweep *s, struct outcome *o)
{
  for (uint32_t i = 0; i < o->count; ++i) {
    struct entry *e = &o->entries[i];
    if (!is_in_doubt(e)) continue;
    e->done = e->proven = false;
    e->twin = NULL;
    o->proven--;
    s->done--;
    o->careful = o->doubted = true;
  }
}

static void doubt_aloud(struct sweep *s, struct outcome *o)
{
  say("%s: %s; what was proven meanwhile is proven again, one by one",
      o->spelling, dd_last_error());
  sweep_doubt(s, o);
}

static bool is_due(const struct outcome *o, const struct entry *e)
{
  return o->careful || e->candidate.split || !e->proof.right || !any_vouched(o);
}

/* After a check that the worker survived.  If nobody else has run since it last
 * vouched, the candidate is to blame; else all are in doubt: DD_OK, *again. */
static dd_status vouch_for(struct sweep *s, struct outcome *o, bool *again)
{
  dd_status status = sweep_ask_vouch(s, o);

  if (!status) vouch_for_all(o);
  if (!sweep_is_candidates(status) || sweep_was_cut(s, status) ||
      !any_in_doubt(o))
    return status;
  doubt_aloud(s, o);
  *again = true;
  return DD_OK;
}

static dd_status check(struct sweep *s, struct outcome *o, struct entry *e,
                       int generation, bool *again)
{
  dd_status status;
  const char *reason;

  e->vouched = false;
  status = sweep_ask_check(s, o, e, &e->proof);
  if (generation != s->client->generation) return status;
  if (!status) return is_due(o, e) ? vouch_for(s, o, again) : DD_OK;
  reason = sweep_keep_text(s, dd_last_error());
  TRY(vouch_for(s, o, again));
  return fail(status, "%s", reason);
}

/* All that are still in doubt. */
static dd_status vouch_for_rest(struct sweep *s, struct outcome *o,
                                int generation)
{
  dd_status status;

  if (!any_in_doubt(o)) return DD_OK;
  if (generation != s->client->generation) {
    sweep_doubt(s, o);
    return DD_OK;
  }
  status = sweep_ask_vouch(s, o);
  if (sweep_was_cut(s, status)) return DD_OK;
  if (!status) vouch_for_all(o);
  if (!sweep_is_candidates(status)) return status;
  doubt_aloud(s, o);
  return DD_OK;
}

/* ---- A candidate --------------------------------------------------------- */

/* A failure of the device is the candidate's; everything else is ours. */
dd_status sweep_prove(struct sweep *s, struct outcome *o, struct entry *e,
                      int *generation)
{
  const char *stage = "load";
  bool again = false;
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
    status = check(s, o, e, *generation, &again);
  }
  if (sweep_was_cut(s, status) || again) return DD_OK;
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
  e->vouched = twin->vouched;
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

static dd_status prove_once(struct sweep *s, struct outcome *o, int *generation)
{
  bool waiting = true;

  o->doubted = false;
  while (waiting && !is_spent(s, o)) {
    sweep_open_ahead(s);
    TRY(s->ahead_status);
    TRY(sweep_record_trouble(s)); /* which may be a unit's that is waited for */
    TRY(build_pump(s->build, false));
    TRY(prove_ready(s, o, generation, &waiting));
    if (waiting) TRY(sweep_wait_for_code(s, o));
  }
  return vouch_for_rest(s, o, *generation);
}

/* Once, as a rule; what is in doubt, once more. */
dd_status sweep_prove_all(struct sweep *s, struct outcome *o, int *generation)
{
  do TRY(prove_once(s, o, generation));
  while (o->doubted && !sweep_is_stopped(s));
  twin_settle(o);
  return DD_OK;
}
