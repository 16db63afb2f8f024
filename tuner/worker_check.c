/* worker_check.c - the trials of the worker's problem, and proofs on them. */
#include "worker_check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "output.h"

enum {
  SMALL = 32 << 20,  /* bytes of tensors up to which a trial is kept */
  KEPT = 512 << 20,  /* of all that are kept */
  KEPT_COUNT = 1024,
};

/* Bytes on the host up to which trials are made ahead. */
static const double ahead_bytes = 8e9;

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

/* A trial that has no sum is not kept: it was being made when another failed,
 * and what becomes of it until the next problem nobody would notice. */
static void forget_trials(struct checker *c)
{
  seal_release(&c->seal);
  jury_release(&c->jury);
  for (int i = 0; i < c->count; ++i) {
    struct exam *e = c->exams[i];
    if (e->bytes > SMALL || !e->sealed) {
      free_exam(e);
      continue;
    }
    e->next = c->kept;
    c->kept = e;
  }
  c->count = 0;
  trim_kept(c);
}

static struct exam *take(struct exam **list, const char *key)
{
  for (struct exam **at = list; *at; at = &(*at)->next) {
    struct exam *e = *at;
    if (strcmp(e->key, key)) continue;
    *at = e->next;
    return e;
  }
  return NULL;
}

/* The key ends with the spelling. */
static dd_status make_key(const struct paper *p, struct bytes *key,
                          size_t *spelling)
{
  bytes_printf(key, "%d %llu %d ", (int)p->class, (unsigned long long)p->seed,
               p->attrs);
  *spelling = key->size;
  problem_print(&p->problem, key);
  return bytes_status(key);
}

static dd_status make_exam(const struct paper *p, const struct bytes *key,
                           size_t spelling, struct exam **out)
{
  struct exam *e = mem_resize(NULL, NULL, 0, sizeof *e);

  *out = e;
  if (!e) return fail(DD_NO_MEMORY, "out of memory");
  memset(e, 0, sizeof *e);
  arena_init(&e->arena, NULL);
  e->paper = *p;
  e->key = arena_text(&e->arena, bytes_string(key), key->size);
  if (e->key) {
    e->spelling = e->key + spelling;
    return DD_OK;
  }
  free_exam(e);
  *out = NULL;
  return fail(DD_NO_MEMORY, "out of memory");
}

static dd_status prepare_exam(struct checker *c, struct exam *e)
{
  const struct paper *p = &e->paper;

  TRY(trial_prepare(c->device, c->tools, &p->problem, p->class, p->seed,
                    p->attrs, &e->trial));
  for (uint32_t i = 0; i < p->problem.op->tensor_count; ++i)
    e->bytes += e->trial->tensor[i].size;
  return DD_OK;
}

/* One that was kept is put back: others than its own candidates ran since. */
static dd_status upload_exam(struct checker *c, struct exam *e)
{
  if (e->trial->uploaded) return trial_reset(e->trial);
  TRY(trial_upload(e->trial));
  trial_phases_add(&c->phases.set_up, &e->trial->phases);
  return DD_OK;
}

static dd_status find_exam(struct checker *c, const struct paper *p,
                           struct exam **out)
{
  struct bytes key = BYTES_INIT;
  size_t spelling = 0;
  dd_status status = make_key(p, &key, &spelling);

  *out = NULL;
  if (!status) *out = take(&c->kept, bytes_string(&key));
  if (!status && !*out) *out = take(&c->ahead.exams, bytes_string(&key));
  if (*out && (*out)->trial && !(*out)->trial->uploaded)
    c->phases.ahead +=
        (*out)->trial->phases.fill + (*out)->trial->phases.reference;
  if (!status && !*out) status = make_exam(p, &key, spelling, out);
  bytes_release(&key);
  return status;
}

static dd_status add_trial(struct checker *c, const struct paper *p)
{
  struct exam *e;
  dd_status status = DD_OK;

  if (c->count == MAX_TRIALS)
    return fail(DD_BUG, "'%s' has too many awkward problems",
                p->problem.op->name);
  TRY(find_exam(c, p, &e));
  if (!e->trial) status = prepare_exam(c, e);
  if (!status) status = upload_exam(c, e);
  if (status) free_exam(e);
  else c->exams[c->count++] = e;
  return status;
}

/* The op's awkward list on top of the problem; what is not legal there (a
 * stride that does not go with more heads) is left out.  The problem itself
 * comes last. */
static dd_status each_paper(struct checker *c, const struct problem *p,
                            uint64_t seed,
                            dd_status (*use)(struct checker *c,
                                             const struct paper *p))
{
  struct paper own = {*p, FILL_PLAIN, seed, false};

  for (uint32_t i = 0; i < p->op->awkward_count; ++i) {
    struct paper q = {.class = i % 2 ? FILL_SPECIAL : FILL_HARD,
                      .seed = seed + i, .attrs = true};
    if (problem_override(p, p->op->awkward[i], &q.problem)) continue;
    TRY(use(c, &q));
  }
  return use(c, &own);
}

/* ---- Ahead --------------------------------------------------------------- */

/* Of the images and of the reference, which has 16 bytes for each element that
 * is written, two bytes or more; none of what the device makes. */
static double host_bytes(const struct checker *c, const struct problem *p)
{
  int64_t reads, writes;

  if (problem_traffic(p, &reads, &writes)) return HUGE_VAL;
  if (c->tools->maker && !maker_has_failed(c->tools->maker) &&
      (size_t)(reads + writes) >= c->tools->make_from)
    return 0;
  return (double)reads + 9 * (double)writes;
}

static double most_ahead(void)
{
  double memory = (double)sysconf(_SC_PHYS_PAGES) *
                  (double)sysconf(_SC_PAGESIZE);

  return memory / 16 < ahead_bytes ? memory / 16 : ahead_bytes;
}

static bool holds(const struct exam *e, const char *key)
{
  while (e && strcmp(e->key, key)) e = e->next;
  return e != NULL;
}

/* Among the trials at hand, of which the small ones will be kept. */
static bool is_at_hand(const struct checker *c, const char *key)
{
  for (int i = 0; i < c->count; ++i)
    if (!strcmp(c->exams[i]->key, key)) return true;
  return holds(c->kept, key) || holds(c->ahead.exams, key);
}

static dd_status plan_trial(struct checker *c, const struct paper *p)
{
  struct bytes key = BYTES_INIT;
  struct exam *e = NULL;
  size_t spelling = 0;
  dd_status status = make_key(p, &key, &spelling);

  if (!status && !is_at_hand(c, bytes_string(&key)) &&
      host_bytes(c, &p->problem) <= most_ahead())
    status = make_exam(p, &key, spelling, &e);
  if (e) {
    e->next = c->ahead.exams;
    c->ahead.exams = e;
  }
  bytes_release(&key);
  return status;
}

/* Whoever has something to do now goes first. */
static void *prepare_all(void *arg)
{
  struct checker *c = arg;

  setpriority(PRIO_PROCESS, 0, 10); /* of this thread, and those it starts */
  for (struct exam *e = c->ahead.exams; e && !c->ahead.enough; e = e->next)
    if (prepare_exam(c, e)) e->trial = NULL;
  return NULL;
}

/* Afterwards the exams are this thread's. */
static void join_ahead(struct checker *c)
{
  double begun = seconds_now();

  if (c->ahead.running) pthread_join(c->ahead.thread, NULL);
  c->ahead.running = false;
  c->phases.waited += seconds_now() - begun;
}

static void drop_ahead(struct checker *c)
{
  while (c->ahead.exams) {
    struct exam *e = c->ahead.exams;
    c->ahead.exams = e->next;
    free_exam(e);
  }
}

void checker_prepare(struct checker *c, const struct problem *p, uint64_t seed)
{
  c->ahead.enough = true;
  join_ahead(c);
  drop_ahead(c);
  c->ahead.enough = false;
  if (each_paper(c, p, seed, plan_trial)) return;
  c->ahead.running =
      c->ahead.exams &&
      pthread_create(&c->ahead.thread, NULL, prepare_all, c) == 0;
}

/* ---- Seals --------------------------------------------------------------- */

static dd_status compare_sums(struct checker *c,
                              const struct seal_sum sums[SEAL_SUMS])
{
  for (int i = 0; i < c->count; ++i)
    if (!seal_equal(&sums[i], &c->exams[i]->sum))
      return fail(DD_DEVICE, "a kernel wrote to what results on %.180s are "
                  "held against", c->exams[i]->spelling);
  if (!seal_equal(&sums[MAX_TRIALS], &c->jury_sum))
    return fail(DD_DEVICE, "a kernel wrote to what the judge kernels go by");
  return DD_OK;
}

dd_status checker_vouch(struct checker *c)
{
  struct seal_sum sums[SEAL_SUMS];
  double begun = seconds_now();

  TRY(seal_take(&c->seal, sums));
  c->phases.seal += seconds_now() - begun;
  return compare_sums(c, sums);
}

/* A trial that was kept has a sum already: whatever was proven on it counts
 * only as long as it is the same. */
static dd_status seal_trials(struct checker *c, struct trial *const *trials)
{
  struct seal_sum sums[SEAL_SUMS];

  TRY(seal_make(trials, c->count, &c->jury, &c->seal));
  TRY(seal_take(&c->seal, sums));
  c->jury_sum = sums[MAX_TRIALS];
  for (int i = 0; i < c->count; ++i) {
    struct exam *e = c->exams[i];
    if (!e->sealed) e->sum = sums[i];
    e->sealed = true;
  }
  return compare_sums(c, sums);
}

/* ---- Setting a problem --------------------------------------------------- */

static dd_status gather_jury(struct checker *c)
{
  struct trial *trials[MAX_TRIALS];
  double begun = seconds_now();
  dd_status status = DD_OK;

  for (int i = 0; i < c->count; ++i) trials[i] = c->exams[i]->trial;
  if (c->tools->on_device) status = jury_make(trials, c->count, &c->jury);
  if (!status) status = seal_trials(c, trials);
  c->phases.jury = seconds_now() - begun;
  return status;
}

/* DIFFTUNE_PHASES=1: for whoever asks where the time goes.  Launching does not
 * wait; judging waits for the candidate too. */
static void tell_phases(struct checker *c)
{
  const struct check_phases *p = &c->phases;

  if (c->count && getenv("DIFFTUNE_PHASES"))
    say("phases of %s: fill %.3f s, reference %.3f (ahead %.3f of both, waited "
        "%.3f), upload %.3f, jury %.3f; of %lld candidates: launch %.3f s, "
        "judge %.3f, again %.3f, seal %.3f; %lld launches, %lld known",
        c->exams[c->count - 1]->spelling, p->set_up.fill, p->set_up.reference,
        p->ahead, p->waited, p->set_up.upload, p->jury,
        (long long)p->candidates, p->launch, p->judge, p->again, p->seal,
        (long long)p->launches, (long long)p->known);
  memset(&c->phases, 0, sizeof c->phases);
}

dd_status checker_set(struct checker *c, const struct problem *p,
                      uint64_t seed)
{
  dd_status status;

  tell_phases(c);
  forget_trials(c);
  join_ahead(c);
  status = each_paper(c, p, seed, add_trial);
  drop_ahead(c);
  if (!status) status = gather_jury(c);
  if (status) forget_trials(c);
  return status;
}

double checker_effort(const struct checker *c)
{
  const struct trial_phases *p = &c->phases.set_up;

  return p->fill + p->reference + p->upload;
}

void checker_release(struct checker *c)
{
  tell_phases(c);
  c->ahead.enough = true;
  join_ahead(c);
  drop_ahead(c);
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

static void put_all_back(struct checker *c)
{
  for (int i = 0; i < c->count; ++i)
    if (trial_reset(c->exams[i]->trial)) return;
}

/* It was wrong once.  If it is right the second time, that is what is wrong. */
static dd_status find_words(struct proving *p, int i, const struct finding *f)
{
  struct result *r = &p->results[i];
  double begun = seconds_now();

  TRY(try_on_host(p, i));
  put_all_back(p->c); /* also what it strayed into */
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

/* It was launched on others alone, and all trials had been put back before. */
static void find_stray(struct result *r)
{
  *r = (struct result){.how = LAUNCHED};
  snprintf(r->reason, sizeof r->reason,
           "it wrote to tensors of this problem, which it was not given");
}

/* Up to the first that it is wrong on; what was not judged is not known. */
static dd_status judge_all(struct proving *p)
{
  struct finding findings[MAX_TRIALS];
  bool right = true;

  TRY(jury_judge(&p->c->jury, p->candidate->split, findings));
  for (int i = 0; i < p->c->count; ++i) {
    struct result *r = &p->results[i];
    const struct finding *f = &findings[i];
    if (!right) {
      r->how = UNFIT;
    } else if (r->how == LAUNCHED) {
      r->judgement = f->judgement;
      right = !f->judgement.wrong && !f->stray;
      if (!right) TRY(find_words(p, i, f));
    } else if (f->stray) {
      right = false;
      find_stray(r);
    }
  }
  return DD_OK;
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
