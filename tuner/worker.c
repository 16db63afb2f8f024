/*
 * worker.c - the process that holds a device: loads, proves, times.
 *
 * It dies with its parent, and its death costs the parent one candidate.  It
 * keeps every variant it was given, and the trials of one problem at a time.
 */
#include "worker.h"

#include <malloc.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "bench.h"
#include "hash_table.h"
#include "message.h"
#include "race.h"
#include "worker_check.h"

enum { MAX_DEVICES = 64 };

struct code { /* a loaded unit; the bytes are kept for the A/A twin */
  struct code *next;
  struct module *module;
  struct bytes bytes;
};

struct held { /* a loaded variant, and the unit it came in */
  struct loaded loaded;
  const struct code *origin;
};

struct worker {
  int out_fd; /* for notes */
  struct device *device;
  struct op_set ops;
  struct tools tools;
  struct code *codes;
  struct arena arena;       /* of the loaded variants */
  struct hash_table variants; /* struct held, by hash */
  struct checker checker; /* the trials of one problem at a time */
};

/* ---- Variants by hash -------------------------------------------------------- */

static dd_status find_variant(const struct worker *w, const struct hash *h,
                              const struct held **out)
{
  *out = hash_table_find(&w->variants, h);
  if (*out) return DD_OK;
  return fail(DD_BUG, "a candidate was not loaded before its check");
}

/* ---- Opening ------------------------------------------------------------------ */

static dd_status answer_list(struct wire_reader *r, struct bytes *out)
{
  struct device_info info[MAX_DEVICES];
  struct arena a;
  const struct device_api *api;
  size_t count = 0;
  dd_status status;

  arena_init(&a, NULL);
  api = device_kind_find(wire_text(r, &a, "a kind"));
  status = wire_status(r, true, DD_BUG);
  if (!status && !api) status = fail(DD_BUG, "there is no such kind of device");
  if (!status) status = api->list(info, MAX_DEVICES, &count);
  arena_release(&a);
  if (status) return status;
  if (count > MAX_DEVICES) count = MAX_DEVICES;
  wire_put_u32(out, (uint32_t)count);
  for (size_t i = 0; i < count; ++i) put_device_info(out, &info[i]);
  return DD_OK;
}

static dd_status answer_open(struct worker *w, struct wire_reader *r,
                             struct bytes *out)
{
  const struct device_api *api =
      device_kind_find(wire_text(r, &w->arena, "a kind"));
  uint32_t index = wire_u32(r, "an index");
  size_t size;
  const void *specs = wire_bytes(r, &size, "specs");

  TRY(wire_status(r, true, DD_BUG));
  if (!api || w->device) return fail(DD_BUG, "a worker opens one device, once");
  TRY(op_set_read(&w->ops, specs, size, NULL));
  TRY(api->open((int)index, &w->device));
  /* On the CPU device the host judges: faster than fibers would. */
  TRY(tools_load(w->device, strcmp(api->kind, "cuda") == 0, &w->tools));
  w->checker = (struct checker){
      .device = w->device, .ops = &w->ops, .tools = &w->tools};
  put_device_info(out, &w->device->info);
  return DD_OK;
}

/* ---- Loading -------------------------------------------------------------------- */

static dd_status keep_code(struct worker *w, const void *bytes, size_t size,
                           struct code **out)
{
  struct code *c = mem_resize(NULL, NULL, 0, sizeof *c);

  if (!c) return fail(DD_NO_MEMORY, "out of memory");
  *c = (struct code){.next = w->codes, .bytes = BYTES_INIT};
  bytes_add(&c->bytes, bytes, size);
  w->codes = c;
  *out = c;
  TRY(bytes_status(&c->bytes));
  return w->device->api->load(w->device, bytes, size, &c->module);
}

static dd_status load_variant(struct worker *w, const struct variant *v,
                              const struct code *c)
{
  char entry[VARIANT_ENTRY];
  struct held *l;

  if (hash_table_find(&w->variants, &v->hash)) return DD_OK;
  l = ARENA_NEW(&w->arena, struct held);
  if (!l) return fail(DD_NO_MEMORY, "out of memory");
  l->loaded.variant = *v;
  l->origin = c;
  variant_entry(v, entry);
  TRY(w->device->api->kernel(w->device, c->module, entry, &l->loaded.kernel));
  return hash_table_add(&w->variants, &l->loaded.variant.hash, l);
}

static dd_status answer_load(struct worker *w, struct wire_reader *r,
                             struct bytes *out)
{
  size_t size;
  const void *bytes = wire_bytes(r, &size, "code");
  uint32_t count = wire_count(r, CANDIDATES_MAX, "variants");
  struct code *c;

  if (!w->device) return fail(DD_BUG, "no device is open");
  TRY(keep_code(w, bytes, size, &c));
  wire_put_u32(out, count);
  for (uint32_t i = 0; i < count; ++i) {
    struct variant v;
    const struct held *l;
    get_variant(r, &w->ops, &w->arena, &v);
    TRY(wire_status(r, false, DD_BUG));
    TRY(load_variant(w, &v, c));
    TRY(find_variant(w, &v.hash, &l));
    wire_put_u32(out, (uint32_t)l->loaded.kernel.registers);
    wire_put_u32(out, (uint32_t)l->loaded.kernel.local_bytes);
    wire_put_u32(out, (uint32_t)l->loaded.kernel.shared_bytes);
  }
  return wire_status(r, true, DD_BUG);
}

/* ---- Proving ------------------------------------------------------------------------- */

static dd_status answer_problem(struct worker *w, struct wire_reader *r,
                                struct bytes *out)
{
  const char *spelling = wire_text(r, &w->arena, "a problem");
  uint64_t seed = (uint64_t)wire_i64(r, "a seed");
  struct problem p;
  int64_t reads, writes;

  TRY(wire_status(r, true, DD_BUG));
  if (!w->device) return fail(DD_BUG, "no device is open");
  TRY(problem_parse(&w->ops, spelling, &p));
  TRY(problem_traffic(&p, &reads, &writes));
  TRY(checker_set(&w->checker, &p, seed));
  wire_put_i64(out, reads + writes);
  return DD_OK;
}

static dd_status find_steps(const struct worker *w, const struct candidate *c,
                            const struct loaded **steps)
{
  for (uint32_t i = 0; i < c->step_count; ++i) {
    const struct held *l;
    TRY(find_variant(w, &c->steps[i], &l));
    steps[i] = &l->loaded;
  }
  return DD_OK;
}

static dd_status answer_check(struct worker *w, struct wire_reader *r,
                              struct bytes *out)
{
  const struct loaded *steps[OP_MAX_STEPS];
  struct candidate c;
  struct proof proof;

  get_candidate(r, &c);
  TRY(wire_status(r, true, DD_BUG));
  if (!w->checker.count) return fail(DD_BUG, "no problem is set");
  TRY(find_steps(w, &c, steps));
  TRY(checker_prove(&w->checker, &c, steps, &proof));
  put_proof(out, &proof);
  return DD_OK;
}

/* ---- Racing ------------------------------------------------------------------------- */

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
  const struct trial *t = checker_own(&w->checker);
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

  TRY(bench_make(checker_own(&w->checker), p, &job->bench));
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

static dd_status answer_race(struct worker *w, struct wire_reader *r,
                             struct bytes *out)
{
  const char *policy = wire_text(r, &w->arena, "a policy");
  uint64_t seed = (uint64_t)wire_i64(r, "a seed");
  int count = (int)wire_count(r, CANDIDATES_MAX, "candidates");
  struct race_job job = {.w = w, .count = count, .twin_of = -1};
  struct race_rule rule;
  struct arena a;
  dd_status status;

  if (!w->checker.count || !count) return fail(DD_BUG, "there is nothing to race");
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

/* ---- Serving ---------------------------------------------------------------------------- */

static dd_status answer(struct worker *w, const struct bytes *request,
                        struct bytes *out)
{
  struct wire_reader r;

  wire_reader_init(&r, request->data, request->size);
  switch ((enum request)wire_u32(&r, "a request")) {
  case REQUEST_LIST: return answer_list(&r, out);
  case REQUEST_OPEN: return answer_open(w, &r, out);
  case REQUEST_LOAD: return answer_load(w, &r, out);
  case REQUEST_PROBLEM: return answer_problem(w, &r, out);
  case REQUEST_CHECK: return answer_check(w, &r, out);
  case REQUEST_RACE: return answer_race(w, &r, out);
  }
  return fail(DD_BUG, "a worker does not know this request");
}

static dd_status serve_one(struct worker *w, int in_fd, int out_fd,
                           struct bytes *request)
{
  struct bytes body = BYTES_INIT, reply = BYTES_INIT;
  dd_status status, sent;

  TRY(wire_receive(in_fd, MESSAGE_MAX, request));
  status = answer(w, request, &body);
  if (!status) status = bytes_status(&body);
  wire_put_u32(&reply, status);
  wire_put_text(&reply, status ? dd_last_error() : "");
  if (!status) bytes_add(&reply, body.data, body.size);
  sent = wire_send(out_fd, &reply);
  bytes_release(&body);
  bytes_release(&reply);
  return sent;
}

static void close_worker(struct worker *w)
{
  if (w->device) {
    checker_release(&w->checker);
    tools_release(w->device, &w->tools);
  }
  while (w->codes) {
    struct code *c = w->codes;
    w->codes = c->next;
    if (c->module) w->device->api->unload(w->device, c->module);
    bytes_release(&c->bytes);
    mem_resize(NULL, c, sizeof *c, 0);
  }
  if (w->device) w->device->api->close(w->device);
  hash_table_release(&w->variants);
  op_set_release(&w->ops);
  arena_release(&w->arena);
}

/* Trials come and go by the hundred MB.  A page that went back to the kernel
 * would have to be cleared when it comes again, which takes longer than filling
 * it does. */
static void keep_pages(void)
{
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, -1);
}

int worker_device_main(int in_fd, int out_fd)
{
  struct worker w;
  struct bytes request = BYTES_INIT;

  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGINT, SIG_IGN); /* the parent decides */
  keep_pages();
  memset(&w, 0, sizeof w);
  w.out_fd = out_fd;
  arena_init(&w.arena, NULL);
  while (serve_one(&w, in_fd, out_fd, &request) == DD_OK) continue;
  bytes_release(&request);
  close_worker(&w);
  return 0;
}
