/* worker_check.c - the trials of the worker's problem, and proofs on them. */
#include "worker_check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"

enum {
  SMALL = 32 << 20,  /* bytes of tensors up to which a trial is kept */
  KEPT = 512 << 20,  /* of all that are kept */
  KEPT_COUNT = 1024,
};

struct pass { /* a variant was right */
  struct hash variant;
  struct judgement judgement;
};

/* ---- Trials -------------------------------------------------------------- */

static void free_exam(struct exam *e)
{
  if (!e) return;
  trial_free(e->trial);
  hash_table_release(&e->passed);
  arena_release(&e->arena);
  mem_resize(NULL, e, sizeof *e, 0);
}

/* Frees those behind the last that there is room for. */
static void trim_kept(struct checker *c)
{
  struct exam **at = &c->kept;
  size_t bytes = 0;

  for (int n = 0; *at && n < KEPT_COUNT; ++n) {
    bytes += (*at)->bytes;
    if (bytes > KEPT) break;
    at = &(*at)->next;
  }
  while (*at) {
    struct exam *e = *at;
    *at = e->next;
    free_exam(e);
  }
}

static void forget_trials(struct checker *c)
{
  jury_release(&c->jury);
  for (int i = 0; i < c->count; ++i) {
    struct exam *e = c->exams[i];
    if (e->bytes > SMALL) {
      free_exam(e);
      continue;
    }
    e->next = c->kept;
    c->kept = e;
  }
  c->count = 0;
  trim_kept(c);
}

static struct exam *take_kept(struct checker *c, const char *key)
{
  for (struct exam **at = &c->kept; *at; at = &(*at)->next) {
    struct exam *e = *at;
    if (strcmp(e->key, key)) continue;
    *at = e->next;
    return e;
  }
  return NULL;
}

/* The key ends with the spelling. */
static dd_status make_key(const struct problem *p, enum fill_class class,
                          uint64_t seed, bool attrs, struct bytes *key,
                          size_t *spelling)
{
  bytes_printf(key, "%d %llu %d ", (int)class, (unsigned long long)seed, attrs);
  *spelling = key->size;
  problem_print(p, key);
  return bytes_status(key);
}

static dd_status fill_exam(struct checker *c, const struct problem *p,
                           enum fill_class class, uint64_t seed, bool attrs,
                           struct exam *e)
{
  TRY(trial_make(c->device, c->tools, p, class, seed, attrs, &e->trial));
  for (uint32_t i = 0; i < p->op->tensor_count; ++i)
    e->bytes += e->trial->tensor[i].size;
  trial_phases_add(&c->phases.set_up, &e->trial->phases);
  return DD_OK;
}

static dd_status make_exam(struct checker *c, const struct problem *p,
                           enum fill_class class, uint64_t seed, bool attrs,
                           const struct bytes *key, struct exam **out)
{
  struct exam *e = mem_resize(NULL, NULL, 0, sizeof *e);
  dd_status status = DD_OK;

  *out = NULL;
  if (!e) return fail(DD_NO_MEMORY, "out of memory");
  memset(e, 0, sizeof *e);
  arena_init(&e->arena, NULL);
  e->key = arena_text(&e->arena, bytes_string(key), key->size);
  if (!e->key) status = fail(DD_NO_MEMORY, "out of memory");
  if (!status) status = fill_exam(c, p, class, seed, attrs, e);
  if (status) free_exam(e);
  else *out = e;
  return status;
}

static dd_status add_trial(struct checker *c, const struct problem *p,
                           enum fill_class class, uint64_t seed, bool attrs)
{
  struct bytes key = BYTES_INIT;
  size_t spelling = 0;
  struct exam *e = NULL;
  dd_status status;

  if (c->count == MAX_TRIALS)
    return fail(DD_BUG, "'%s' has too many awkward problems", p->op->name);
  status = make_key(p, class, seed, attrs, &key, &spelling);
  if (!status) e = take_kept(c, bytes_string(&key));
  if (!status && !e) status = make_exam(c, p, class, seed, attrs, &key, &e);
  if (!status) {
    e->spelling = e->key + spelling;
    c->exams[c->count++] = e;
  }
  bytes_release(&key);
  return status;
}

/* The op's awkward list on top of the problem; what is not legal there (a
 * stride that does not go with more heads) is left out. */
static dd_status add_awkward(struct checker *c, const struct problem *p,
                             uint64_t seed)
{
  for (uint32_t i = 0; i < p->op->awkward_count; ++i) {
    struct problem q;
    if (problem_override(p, p->op->awkward[i], &q)) continue;
    TRY(add_trial(c, &q, i % 2 ? FILL_SPECIAL : FILL_HARD, seed + i, true));
  }
  return DD_OK;
}

static dd_status gather_jury(struct checker *c)
{
  struct trial *trials[MAX_TRIALS];
  double begun = seconds_now();
  dd_status status;

  if (!c->tools->on_device) return DD_OK;
  for (int i = 0; i < c->count; ++i) trials[i] = c->exams[i]->trial;
  status = jury_make(trials, c->count, &c->jury);
  c->phases.jury = seconds_now() - begun;
  return status;
}

/* DIFFTUNE_PHASES=1: for whoever asks where the time goes.  Launching does not
 * wait; judging waits for the candidate too. */
static void tell_phases(struct checker *c)
{
  const struct check_phases *p = &c->phases;

  if (c->count && getenv("DIFFTUNE_PHASES"))
    say("phases of %s: fill %.3f s, reference %.3f (sending %.3f), upload "
        "%.3f, jury %.3f; of %lld candidates: launch %.3f s, judge %.3f, again "
        "%.3f; %lld launches, %lld known", c->exams[c->count - 1]->spelling,
        p->set_up.fill, p->set_up.reference, p->set_up.sending,
        p->set_up.upload, p->jury, (long long)p->candidates, p->launch,
        p->judge, p->again, (long long)p->launches, (long long)p->known);
  memset(&c->phases, 0, sizeof c->phases);
}

dd_status checker_set(struct checker *c, const struct problem *p,
                      uint64_t seed)
{
  dd_status status;

  tell_phases(c);
  forget_trials(c);
  status = add_awkward(c, p, seed);
  if (!status) status = add_trial(c, p, FILL_PLAIN, seed, false);
  if (!status) status = gather_jury(c);
  if (status) forget_trials(c);
  return status;
}

void checker_release(struct checker *c)
{
  tell_phases(c);
  forget_trials(c);
  while (c->kept) {
    struct exam *e = c->kept;
    c->kept = e->next;
    free_exam(e);
  }
}

const struct trial *checker_own(const struct checker *c)
{
  return c->exams[c->count - 1]->trial;
}

/* ---- One candidate on one trial ------------------------------------------ */

struct result {
  enum { UNFIT, KNOWN, LAUNCHED } how;
  struct judgement judgement;
  char reason[320];
};

struct proving {
  struct checker *c;
  const struct candidate *candidate;
  const struct loaded *const *steps;
  struct result results[MAX_TRIALS];
};

static bool is_right(const struct result *r)
{
  return r->how == UNFIT || (!r->reason[0] && r->judgement.error <= 1);
}

/* A candidate that does not fit an awkward problem is not tried on it, but it
 * must fit the problem itself. */
static dd_status make_run(const struct proving *p, int i, struct run *run,
                          bool *fits)
{
  const struct checker *c = p->c;
  const struct trial *t = c->exams[i]->trial;
  dd_status status =
      run_make(c->device, c->ops, &t->problem, p->candidate->split,
               p->candidate->step_count, p->steps, t->attr, run);

  *fits = !status;
  return status == DD_UNSUPPORTED && i + 1 < c->count ? DD_OK : status;
}

/* The launches are enqueued; the host waits for none. */
static dd_status launch_on(const struct proving *p, int i,
                           const struct run *run)
{
  const struct device *d = p->c->device;
  uint8_t args[OP_MAX_STEPS * OP_MAX_ARGS_SIZE];
  struct launch launches[OP_MAX_STEPS];

  TRY(run_launches(run, p->c->exams[i]->trial->buffer, args, launches));
  for (uint32_t s = 0; s < run->step_count; ++s)
    TRY(d->api->launch(p->c->device, &launches[s], NULL));
  p->c->phases.launches++;
  return DD_OK;
}

/* Once, and judged on the host, which finds words for what is wrong. */
static dd_status try_on_host(struct proving *p, int i)
{
  struct trial *t = p->c->exams[i]->trial;
  struct result *r = &p->results[i];
  struct verdict v;
  struct run run;
  bool fits;

  TRY(make_run(p, i, &run, &fits));
  if (!fits) return DD_OK;
  TRY(trial_reset(t));
  TRY(launch_on(p, i, &run));
  TRY(trial_judge(t, p->candidate->split, &v));
  r->how = LAUNCHED;
  r->judgement = v.judgement;
  memcpy(r->reason, v.reason, sizeof r->reason);
  return DD_OK;
}

/* ---- What is known ------------------------------------------------------- */

static bool is_kept(const struct exam *e)
{
  return e->bytes <= SMALL;
}

static bool look_up(struct proving *p, int i)
{
  const struct candidate *c = p->candidate;
  const struct pass *pass =
      c->split ? NULL : hash_table_find(&p->c->exams[i]->passed, &c->steps[0]);

  if (!pass) return false;
  p->results[i] = (struct result){KNOWN, pass->judgement, ""};
  p->c->phases.known++;
  return true;
}

/* What there is no memory for is proven again. */
static void keep_pass(struct proving *p, int i)
{
  const struct candidate *c = p->candidate;
  struct exam *e = p->c->exams[i];
  struct result *r = &p->results[i];
  struct pass *pass;

  if (c->split || !is_kept(e) || r->how != LAUNCHED || !is_right(r)) return;
  pass = ARENA_NEW(&e->arena, struct pass);
  if (!pass) return;
  *pass = (struct pass){c->steps[0], r->judgement};
  if (hash_table_add(&e->passed, &pass->variant, pass)) return;
}

/* ---- All trials ---------------------------------------------------------- */

static dd_status prove_on_host(struct proving *p)
{
  for (int i = 0; i < p->c->count; ++i) {
    if (look_up(p, i)) continue;
    TRY(try_on_host(p, i));
    if (!is_right(&p->results[i])) break;
  }
  return DD_OK;
}

static dd_status launch_all(struct proving *p, bool *any)
{
  for (int i = 0; i < p->c->count; ++i) {
    struct run run;
    bool fits;
    if (look_up(p, i)) continue;
    TRY(make_run(p, i, &run, &fits));
    if (!fits) continue;
    TRY(launch_on(p, i, &run));
    p->results[i].how = LAUNCHED;
    *any = true;
  }
  return DD_OK;
}

/* It was wrong once.  If it is right the second time, that is what is wrong. */
static dd_status find_words(struct proving *p, int i, const struct finding *f)
{
  struct result *r = &p->results[i];
  double begun = seconds_now();

  TRY(try_on_host(p, i));
  TRY(trial_reset(p->c->exams[i]->trial));
  p->c->phases.again += seconds_now() - begun;
  if (!is_right(r)) return DD_OK;
  snprintf(r->reason, sizeof r->reason,
           "two runs differ: the first had %lld of %lld elements wrong%s, the "
           "second was right", (long long)f->judgement.wrong,
           (long long)f->judgement.elements,
           f->stray ? " and wrote to what is not an output" : "");
  r->judgement = f->judgement;
  return DD_OK;
}

static dd_status judge_all(struct proving *p)
{
  struct finding findings[MAX_TRIALS];
  bool right = true;

  TRY(jury_judge(&p->c->jury, p->candidate->split, findings));
  for (int i = 0; i < p->c->count && right; ++i) {
    struct result *r = &p->results[i];
    if (r->how != LAUNCHED) continue;
    r->judgement = findings[i].judgement;
    right = !findings[i].judgement.wrong && !findings[i].stray;
    if (!right) TRY(find_words(p, i, &findings[i]));
  }
  return DD_OK;
}

static void put_all_back(struct checker *c)
{
  for (int i = 0; i < c->count; ++i)
    if (trial_reset(c->exams[i]->trial)) return;
}

static dd_status prove_on_device(struct proving *p)
{
  struct check_phases *phases = &p->c->phases;
  double begun = seconds_now(), launched;
  bool any = false;
  dd_status status = launch_all(p, &any);

  launched = seconds_now();
  phases->launch += launched - begun;
  if (!status && any) status = judge_all(p);
  phases->judge += seconds_now() - launched;
  if (status) put_all_back(p->c);
  return status;
}

/* ---- The proof ----------------------------------------------------------- */

/* Where intermediate values are rounded, a kernel must round where the
 * reference does: on the problem's own, plain inputs all but one element in a
 * thousand (and three, for small problems) come out with the same bits.  Rows
 * that lie 1000 deviations from zero magnify what fp32 cannot hold; they are
 * held against the bound of one flipped rounding alone. */
static void check_bits(const struct proving *p, struct proof *proof)
{
  const struct judgement *plain = &p->results[p->c->count - 1].judgement;
  int64_t differ = plain->elements - plain->bit_equal;

  if (problem_get(&checker_own(p->c)->problem, "rounding") == 0) return;
  if (p->candidate->split || !proof->right) return;
  if (differ <= 3 + plain->elements / 1000) return;
  proof->right = false;
  snprintf(proof->reason, sizeof proof->reason,
           "%lld of %lld elements have other bits than the rounding reference",
           (long long)differ, (long long)plain->elements);
}

/* Up to the first trial that it is wrong on. */
static void sum_up(const struct proving *p, struct proof *proof)
{
  int64_t equal = 0;

  memset(proof, 0, sizeof *proof);
  proof->right = true;
  for (int i = 0; i < p->c->count && proof->right; ++i) {
    const struct result *r = &p->results[i];
    if (r->how == UNFIT) continue;
    proof->cases++;
    proof->elements += r->judgement.elements;
    equal += r->judgement.bit_equal;
    if (r->judgement.error > proof->error) proof->error = r->judgement.error;
    if (is_right(r)) continue;
    proof->right = false;
    snprintf(proof->reason, sizeof proof->reason, "on %.180s: %s",
             p->c->exams[i]->spelling, r->reason);
  }
  proof->bit_equal =
      proof->elements ? (double)equal / (double)proof->elements : 1;
  check_bits(p, proof);
}

dd_status checker_prove(struct checker *c, const struct candidate *candidate,
                        const struct loaded *const *steps, struct proof *proof)
{
  struct proving p = {.c = c, .candidate = candidate, .steps = steps};

  c->phases.candidates++;
  TRY(c->tools->on_device ? prove_on_device(&p) : prove_on_host(&p));
  for (int i = 0; i < c->count; ++i) keep_pass(&p, i);
  sum_up(&p, proof);
  return DD_OK;
}
