/* sweep_device.c - what a sweep asks of its device worker. */
#include "sweep_inner.h"

#include <string.h>

/* A problem that the device cannot hold, or that breaks it before a candidate
 * ran, costs its own candidates and no other problem's. */
bool sweep_is_problems(dd_status status)
{
  return status == DD_DEVICE || status == DD_NO_MEMORY;
}

bool sweep_is_candidates(dd_status status)
{
  return sweep_is_problems(status) || status == DD_UNSUPPORTED;
}

/* The end of the budget ended the call: nobody has failed. */
bool sweep_was_cut(const struct sweep *s, dd_status status)
{
  return budget_is_over(&s->budget) &&
         (sweep_is_candidates(status) || status == DD_NO_DEVICE);
}

dd_status sweep_call_at_length(struct sweep *s, const struct bytes *request,
                               double seconds, struct bytes *reply)
{
  dd_status status;

  s->may_record = true;
  status = client_call(s->client, request, seconds, reply);
  s->may_record = false;
  return status;
}

/* ---- The problem --------------------------------------------------------- */

static void put_problem(const struct sweep *s, const struct outcome *o,
                        enum request what, struct bytes *request)
{
  wire_put_u32(request, what);
  wire_put_text(request, o->spelling);
  wire_put_i64(request, (int64_t)s->options.seed);
}

/* NULL: none that anybody knows of yet. */
static const struct outcome *next_outcome(const struct sweep *s)
{
  for (uint32_t i = s->current + 1; i < s->turn_count; ++i)
    if (!s->outcomes[s->order[i]].restored) return &s->outcomes[s->order[i]];
  return NULL;
}

/* While this problem is proven and raced the worker's host makes the next one's
 * inputs and references.  What fails is made when its turn comes; not even that
 * is tried again where the worker died of it. */
static void prepare_next(struct sweep *s)
{
  struct bytes request = BYTES_INIT, reply = BYTES_INIT;
  const struct outcome *next = next_outcome(s);

  if (!next || s->no_ahead) return;
  put_problem(s, next, REQUEST_PREPARE, &request);
  s->no_ahead = client_call(s->client, &request, 60, &reply) != DD_OK;
  bytes_release(&request);
  bytes_release(&reply);
}

static dd_status set_problem(struct sweep *s, struct outcome *o)
{
  double began = seconds_now();
  struct bytes request = BYTES_INIT, reply = BYTES_INIT;
  struct wire_reader r;
  dd_status status;

  put_problem(s, o, REQUEST_PROBLEM, &request);
  status = sweep_call_at_length(s, &request, 600, &reply);
  if (!status) {
    wire_reader_init(&r, reply.data, reply.size);
    o->traffic = wire_i64(&r, "a problem's traffic");
    o->effort = wire_f64(&r, "seconds");
    status = wire_status(&r, true, DD_BUG);
  }
  bytes_release(&request);
  bytes_release(&reply);
  return sweep_spent(o, PHASE_SET_UP, began, status);
}

/* ---- A candidate --------------------------------------------------------- */

dd_status sweep_load_steps(struct sweep *s, struct outcome *o,
                           const struct entry *e)
{
  double began = seconds_now();
  dd_status status = DD_OK;

  for (uint32_t i = 0; i < e->candidate.step_count && !status; ++i)
    status = build_load(s->build, e->part[i], s->client);
  return sweep_spent(o, PHASE_LOAD, began, status);
}

/* How long the device may take for a candidate: a hundred times as long as for
 * those before it, or, for the first, as for making what it is compared with.
 * The least is for a host that is busy, and that gets the inputs and references
 * of the first candidate that is wrong, at 100 MB of the problem's traffic a
 * second if it is slow; without a GPU the kernel itself runs there. */
double sweep_patience(const struct sweep *s, const struct outcome *o)
{
  bool cpu = strcmp(s->client->info.kind, "cpu") == 0;
  double least = cpu ? 10 : 2 + (double)o->traffic / 1e8, most = 120;
  double known = o->longest > 0 ? o->longest : o->effort;

  if (least > most) least = most;
  return 100 * known < least ? least : 100 * known < most ? 100 * known : most;
}

dd_status sweep_ask_check(struct sweep *s, struct outcome *o,
                          const struct entry *e, struct proof *proof)
{
  double began = seconds_now();
  struct bytes request = BYTES_INIT, reply = BYTES_INIT;
  struct wire_reader r;
  struct arena a;
  dd_status status;

  arena_init(&a, NULL);
  wire_put_u32(&request, REQUEST_CHECK);
  put_candidate(&request, &e->candidate);
  status = client_call(s->client, &request, sweep_patience(s, o), &reply);
  if (!status) {
    wire_reader_init(&r, reply.data, reply.size);
    get_proof(&r, &a, proof);
    status = wire_status(&r, true, DD_BUG);
  }
  arena_release(&a);
  bytes_release(&request);
  bytes_release(&reply);
  if (!status && seconds_now() - began > o->longest)
    o->longest = seconds_now() - began;
  return sweep_spent(o, PHASE_PROVE, began, status);
}

dd_status sweep_ask_vouch(struct sweep *s, struct outcome *o)
{
  double began = seconds_now();
  struct bytes request = BYTES_INIT, reply = BYTES_INIT;
  dd_status status;

  wire_put_u32(&request, REQUEST_VOUCH);
  status = client_call(s->client, &request, sweep_patience(s, o), &reply);
  bytes_release(&request);
  bytes_release(&reply);
  return sweep_spent(o, PHASE_PROVE, began, status);
}

/* ---- After a new worker -------------------------------------------------- */

static struct entry *first_proven(const struct outcome *o)
{
  for (uint32_t i = 0; i < o->count; ++i)
    if (o->entries[i].proven && !o->entries[i].twin) return &o->entries[i];
  return NULL;
}

/* A new worker first shows that what was right is still right: otherwise a
 * device that is broken would be held against every candidate to come. */
static dd_status try_canary(struct sweep *s, struct outcome *o)
{
  struct entry *canary = first_proven(o);
  struct proof proof;
  dd_status status;

  if (!canary) return DD_OK;
  status = sweep_load_steps(s, o, canary);
  if (!status) status = sweep_ask_check(s, o, canary, &proof);
  if (!status && !proof.right)
    status = fail(DD_DEVICE, "%s", proof.reason);
  if (!sweep_is_candidates(status)) return status;
  return fail_in(status, "the device no longer runs '%s'", canary->label);
}

/* From when the last worker was given up until this one is as far. */
static void count_replaced(struct sweep *s)
{
  double took = seconds_now() - s->client->lost;

  if (s->client->lost <= s->replaced.lost) return;
  s->replaced.lost = s->client->lost;
  s->replaced.count++;
  if (took > s->replaced.longest) s->replaced.longest = took;
}

/* A worker may be ended from outside: once is not held against the problem. */
static dd_status set_problem_twice(struct sweep *s, struct outcome *o)
{
  int generation = s->client->generation;
  dd_status status = set_problem(s, o);

  return status == DD_DEVICE && s->client->generation != generation
             ? set_problem(s, o) : status;
}

dd_status sweep_keep_problem(struct sweep *s, struct outcome *o,
                             int *generation)
{
  while (*generation != s->client->generation) {
    sweep_doubt(s, o);
    TRY(set_problem_twice(s, o));
    TRY(try_canary(s, o));
    *generation = s->client->generation;
    count_replaced(s);
    prepare_next(s);
  }
  return DD_OK;
}
