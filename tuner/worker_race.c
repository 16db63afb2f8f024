/* worker_race.c - the race on a device: what is timed, and in which order. */
#include <math.h>
#include <string.h>

#include "bench.h"
#include "race.h"
#include "worker_inner.h"

/* The reference is timed every so many candidates of a round. */
enum { REFERENCE_EVERY = 16 };

struct race_job {
  struct worker *w;
  struct bench bench;
  struct race race;
  struct timing reference;
  struct timing *timing; /* one per candidate and the twin, last */
  struct candidate *candidates;
  int *order;
  int count; /* without the twin */
  double *copy_us;
  int copy_count;
  struct module *twin;
  int twin_of;
};

static dd_status make_run(struct race_job *job, const struct candidate *c,
                          struct run *run)
{
  struct worker *w = job->w;
  const struct trial *t = w->trials[w->trial_count - 1];
  const struct loaded *steps[OP_MAX_STEPS];

  TRY(find_steps(w, c, steps));
  return run_make(w->device, &w->ops, &t->problem, c->split, c->step_count,
                  steps, t->attr, run);
}

/* Which candidate is timed next, should the worker die of it.  The A/A twin is
 * that of a candidate. */
static dd_status note(const struct worker *w, uint32_t candidate)
{
  struct bytes text = BYTES_INIT;
  dd_status status;

  wire_put_u32(&text, ANSWER_NOTE);
  wire_put_u32(&text, candidate);
  status = wire_send(w->out_fd, &text);
  bytes_release(&text);
  return status;
}

static dd_status time_candidate(struct race_job *job, int i)
{
  TRY(note(job->w, (uint32_t)(i == job->count ? job->twin_of : i)));
  return bench_time(&job->bench, &job->timing[i]);
}

static dd_status record_all(struct race_job *job)
{
  TRY(bench_record_copy(&job->bench, &job->reference));
  for (int i = 0; i < job->count; ++i) {
    struct run run;
    TRY(note(job->w, (uint32_t)i));
    TRY(make_run(job, &job->candidates[i], &run));
    TRY(bench_record(&job->bench, &run, &job->timing[i]));
    if (job->candidates[i].split) race_keep(&job->race, i);
  }
  race_wait(&job->race, job->count);
  return DD_OK;
}

/* The best fused candidate's code again, loaded a second time at another
 * address: whatever differs between the two is noise. */
static dd_status enter_twin(struct race_job *job)
{
  struct worker *w = job->w;
  const struct candidate *c;
  const struct held *l;
  struct run run;
  char entry[VARIANT_ENTRY];
  int best = race_best(&job->race);

  if (best < 0 || job->candidates[best].split) return DD_OK;
  c = &job->candidates[best];
  TRY(find_variant(w, &c->steps[0], &l));
  TRY(note(w, (uint32_t)best));
  TRY(w->device->api->load(w->device, l->origin->bytes.data,
                           l->origin->bytes.size, &job->twin));
  TRY(make_run(job, c, &run));
  variant_entry(&l->loaded.variant, entry);
  TRY(w->device->api->kernel(w->device, job->twin, entry, &run.steps[0].kernel));
  TRY(bench_record(&job->bench, &run, &job->timing[job->count]));
  job->twin_of = best;
  race_enter(&job->race, job->count);
  return DD_OK;
}

static dd_status time_reference(struct race_job *job)
{
  TRY(note(job->w, NO_CANDIDATE));
  TRY(bench_time(&job->bench, &job->reference));
  if (job->race.phase == RACE_FINAL && job->copy_count < 4096)
    job->copy_us[job->copy_count++] = job->reference.us;
  return DD_OK;
}

static dd_status run_round(struct race_job *job, int live)
{
  double before;

  for (int from = 0; from < live; from += REFERENCE_EVERY) {
    int to = from + REFERENCE_EVERY < live ? from + REFERENCE_EVERY : live;
    TRY(time_reference(job));
    before = job->reference.us;
    for (int i = from; i < to; ++i)
      TRY(time_candidate(job, job->order[i]));
    TRY(time_reference(job));
    for (int i = from; i < to; ++i)
      TRY(race_sample(&job->race, job->order[i], job->timing[job->order[i]].us,
                      (before + job->reference.us) / 2));
  }
  return DD_OK;
}

static dd_status run_race(struct race_job *job)
{
  enum race_phase phase = job->race.phase;
  int live;

  while ((live = race_round(&job->race, job->order)) > 0) {
    TRY(run_round(job, live));
    race_round_end(&job->race);
    if (job->race.phase != phase && job->race.phase == RACE_FINAL)
      TRY(enter_twin(job));
    phase = job->race.phase;
  }
  return DD_OK;
}

static dd_status put_results(struct race_job *job, struct bytes *out)
{
  struct summary copy = {0}, best, twin;
  double noise = 0;
  int n;
  bool final;
  const double *samples;

  if (job->copy_count) TRY(summarise(job->copy_us, job->copy_count, &copy));
  if (job->twin_of >= 0) {
    samples = race_samples(&job->race, job->twin_of, &n, &final);
    TRY(summarise(samples, n, &best));
    samples = race_samples(&job->race, job->count, &n, &final);
    TRY(summarise(samples, n, &twin));
    noise = fabs(twin.median / best.median - 1);
  }
  wire_put_f64(out, copy.median);
  wire_put_f64(out, noise);
  wire_put_u32(out, (uint32_t)job->count);
  for (int i = 0; i < job->count; ++i) {
    struct summary s;
    struct standing standing;
    samples = race_samples(&job->race, i, &n, &final);
    TRY(summarise(samples, n, &s));
    standing = (struct standing){s.median, s.q1, s.q3, s.low, s.high, final,
                                 (uint32_t)n, 0, samples};
    put_standing(out, &standing);
  }
  return DD_OK;
}

static dd_status race_problem(struct race_job *job, const char *policy,
                              struct bytes *out)
{
  struct worker *w = job->w;
  enum bench_policy p =
      strncmp(policy, "warm", 4) == 0 ? BENCH_WARM : BENCH_COLD;

  TRY(bench_make(w->trials[w->trial_count - 1], p, &job->bench));
  TRY(record_all(job));
  TRY(run_race(job));
  return put_results(job, out);
}

/* Fewer rounds on the CPU device, whose times say nothing about a GPU. */
static struct race_rule rule_for(const struct worker *w)
{
  struct race_rule rule = race_rule_default;

  if (strcmp(w->device->info.kind, "cpu") == 0) {
    rule.screen_rounds = 2;
    rule.narrow_rounds = 2;
    rule.final_rounds = 5;
  }
  return rule;
}

dd_status answer_race(struct worker *w, struct wire_reader *r,
                      struct bytes *out)
{
  const char *policy = wire_text(r, &w->arena, "a policy");
  uint64_t seed = (uint64_t)wire_i64(r, "a seed");
  int count = (int)wire_count(r, CANDIDATES_MAX, "candidates");
  struct race_job job = {.w = w, .count = count, .twin_of = -1};
  struct race_rule rule;
  struct arena a;
  dd_status status;

  if (!w->trial_count || !count) return fail(DD_BUG, "there is nothing to race");
  rule = rule_for(w);
  arena_init(&a, NULL);
  job.candidates = ARENA_ARRAY(&a, struct candidate, (size_t)count);
  job.timing = ARENA_ARRAY(&a, struct timing, (size_t)count + 1);
  job.order = ARENA_ARRAY(&a, int, (size_t)count + 1);
  job.copy_us = ARENA_ARRAY(&a, double, 4096);
  status = job.candidates && job.timing && job.order && job.copy_us
               ? race_make(&job.race, &rule, count + 1, seed)
               : fail(DD_NO_MEMORY, "out of memory");
  for (int i = 0; i < count && !status; ++i) get_candidate(r, &job.candidates[i]);
  if (!status) status = wire_status(r, true, DD_BUG);
  if (!status) status = race_problem(&job, policy, out);
  for (int i = 0; i <= count && job.timing; ++i)
    bench_forget(&job.bench, &job.timing[i]);
  if (job.bench.device) {
    bench_forget(&job.bench, &job.reference);
    bench_release(&job.bench);
  }
  if (job.twin) w->device->api->unload(w->device, job.twin);
  race_release(&job.race);
  arena_release(&a);
  return status;
}
