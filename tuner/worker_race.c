/* worker_race.c - the race on a device: what is timed, and in which order. */
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "output.h"
#include "race.h"
#include "worker_inner.h"

/* The reference is timed every so many candidates of a round: a block, which is
 * timed again where the reference says that something happened meanwhile. */
enum { BLOCK = 28, BLOCK_TRIES = 3 };
_Static_assert(BLOCK + 2 <= BENCH_MOST && BLOCK % 2 == 0, "and both halves");

/* A replay takes about so long: short while many are screened, long where the
 * time is reported. */
static const double screen_us = 100, final_us = 300;

struct race_phases { /* seconds of a race; none is in two */
  double buffers, record, screen, record_final, final;
  int screened, rounds; /* timings while screening; rounds of it */
};

struct race_job {
  struct worker *w;
  struct race_phases phases;
  struct bench bench;
  struct race race;
  struct timing reference[2]; /* on the first half of the sets, the second */
  struct timing *timing; /* one per candidate and the twin, last */
  struct candidate *candidates;
  int *registers; /* of each: its hungriest step's */
  int *live;      /* who is in a round */
  int *order;     /* those and BENCH_NOBODY, as they are timed */
  int *half;      /* of the sets that each candidate's short replays take */
  uint32_t launches; /* of each while screening */
  int count; /* without the twin */
  uint32_t incumbent; /* which has won before, or NO_CANDIDATE */
  bool is_cpu, careful;
  double copy_us[SAMPLES_MAX]; /* the reference's, of the final */
  int copy_count;
  double *us, *reference_us; /* a round's, in its order */
  double mhz[SAMPLES_MAX];
  int mhz_count;
  struct clock_reading clock; /* at the end of the last round */
  bool clock_is_fresh;        /* nothing was recorded since */
  uint32_t throttle, again;
  struct module *twin;
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

/* Which candidate is timed next, should the worker die of it. */
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

/* Unless it has been.  It was proven, so its code is loaded: a first replay
 * takes no longer than a second. */
static dd_status record_candidate(struct race_job *job, int i)
{
  struct timing *t = &job->timing[i];
  struct run run;

  if (t->launches) return DD_OK;
  TRY(note(job->w, (uint32_t)i));
  TRY(make_run(job, &job->candidates[i], &run));
  return bench_record(&job->bench, &run, job->launches, job->half[i], false, t);
}

static dd_status record_references(struct race_job *job)
{
  double us;

  TRY(bench_choose_copy(&job->bench, &us));
  job->launches = bench_short_launches(&job->bench, screen_us);
  for (int half = 0; half <= job->bench.halved; ++half)
    TRY(bench_record_copy(&job->bench, job->launches, half,
                          &job->reference[half]));
  return DD_OK;
}

static dd_status find_registers(struct race_job *job)
{
  const struct loaded *steps[OP_MAX_STEPS];

  for (int i = 0; i < job->count; ++i) {
    const struct candidate *c = &job->candidates[i];
    TRY(find_steps(job->w, c, steps));
    for (uint32_t k = 0; k < c->step_count; ++k)
      if (steps[k]->kernel.registers > job->registers[i])
        job->registers[i] = steps[k]->kernel.registers;
  }
  return DD_OK;
}

/* Fewest launches, then fewest registers, then the smallest hash: a rule that
 * no time enters, so that two races that find the same tie agree. */
static int by_preference(const void *left, const void *right, void *user)
{
  const struct race_job *job = user;
  int i = *(const int *)left, j = *(const int *)right;
  const struct candidate *a = &job->candidates[i], *b = &job->candidates[j];

  if (a->step_count != b->step_count)
    return a->step_count < b->step_count ? -1 : 1;
  if (job->registers[i] != job->registers[j])
    return job->registers[i] < job->registers[j] ? -1 : 1;
  return memcmp(a->steps, b->steps, a->step_count * sizeof a->steps[0]);
}

static void prefer_all(struct race_job *job)
{
  for (int i = 0; i < job->count; ++i) {
    job->live[i] = i;
    if (job->candidates[i].split) race_keep(&job->race, i);
  }
  race_twin(&job->race, job->count);
  qsort_r(job->live, (size_t)job->count, sizeof *job->live, by_preference, job);
  for (int i = 0; i < job->count; ++i)
    race_prefer(&job->race, job->live[i], i);
  if (job->incumbent < (uint32_t)job->count)
    race_favour(&job->race, (int)job->incumbent);
}

/* ---- The final ----------------------------------------------------------- */

static dd_status record_longer(struct race_job *job, int i, uint32_t launches)
{
  struct timing *t = &job->timing[i];
  struct run run;

  if (launches == t->launches) return DD_OK;
  TRY(note(job->w, (uint32_t)i));
  TRY(make_run(job, &job->candidates[i], &run));
  bench_forget(&job->bench, t);
  return bench_record(&job->bench, &run, launches, 0, true, t);
}

/* As many launches for each as for the fastest: what a replay costs beside them
 * must be the same part of everybody's time. */
static dd_status record_finalists(struct race_job *job)
{
  int best = race_best(&job->race);
  double copy_us = job->reference[0].us;
  double us = best < 0 ? copy_us : job->timing[best].us;
  uint32_t launches = bench_launches(&job->bench, copy_us, final_us);

  job->bench.halved = false;
  TRY(note(job->w, NO_CANDIDATE));
  bench_forget(&job->bench, &job->reference[0]);
  TRY(bench_record_copy(&job->bench, launches, 0, &job->reference[0]));
  for (int i = 0; i < job->count; ++i)
    if (job->race.entries[i].alive)
      TRY(record_longer(job, i, bench_launches(&job->bench, us, final_us)));
  return DD_OK;
}

/* To ask for the occupancy is also to be allowed the shared memory. */
static dd_status load_twin(struct race_job *job, const struct candidate *c,
                           struct run_step *step)
{
  struct device *d = job->w->device;
  char entry[VARIANT_ENTRY];
  const struct held *l;
  int occupancy;

  TRY(find_variant(job->w, &c->steps[0], &l));
  TRY(d->api->load(d, l->origin->bytes.data, l->origin->bytes.size,
                   &job->twin));
  variant_entry(&l->loaded.variant, entry);
  TRY(d->api->kernel(d, job->twin, entry, &step->kernel));
  return d->api->occupancy(d, &step->kernel, step->geometry.block,
                           step->geometry.shared_bytes, &occupancy);
}

/* A fused candidate's code again, loaded a second time: whatever differs between
 * the two is noise. */
static dd_status enter_twin(struct race_job *job)
{
  int of = race_original(&job->race);
  struct run run;

  if (of < 0 || job->candidates[of].split) return DD_OK;
  TRY(note(job->w, (uint32_t)of));
  TRY(make_run(job, &job->candidates[of], &run));
  TRY(load_twin(job, &job->candidates[of], &run.steps[0]));
  TRY(bench_record(&job->bench, &run, job->timing[of].launches, 0, true,
                   &job->timing[job->count]));
  race_enter_twin(&job->race, of);
  return DD_OK;
}

/* ---- Rounds -------------------------------------------------------------- */

/* Some of a round, and the reference before and after them. */
struct block {
  struct race_job *job;
  const int *order; /* of the round's rest; this block's come first */
  int count, rest;
  struct timing *list[BLOCK + 2];
  double us[BLOCK + 2];
};

static int block_size(int rest)
{
  return rest < BLOCK ? rest : BLOCK;
}

/* The A/A twin is that of a candidate. */
static dd_status note_of_block(void *user, int i)
{
  const struct block *b = user;
  int at = i > 0 && i <= b->count ? b->order[i - 1] : BENCH_NOBODY;

  if (at == b->job->count) at = b->job->race.twin_of;
  return note(b->job->w, at == BENCH_NOBODY ? NO_CANDIDATE : (uint32_t)at);
}

static dd_status record_some(struct race_job *job, const int *order, int count)
{
  double began = seconds_now();

  for (int i = 0; i < count; ++i)
    if (order[i] != BENCH_NOBODY) TRY(record_candidate(job, order[i]));
  job->phases.record += seconds_now() - began;
  return DD_OK;
}

static void read_clock(struct race_job *job)
{
  job->clock = clocks_read(&job->w->clocks);
  job->clock_is_fresh = true;
}

/* To make a graph takes as long as to run it: the first round's are made while
 * the block before runs.  To read the clock takes longer than to time a
 * candidate: it is done during the round's last block. */
static dd_status be_busy(void *user)
{
  const struct block *b = user;

  if (b->count == b->rest) read_clock(b->job);
  return record_some(b->job, b->order + b->count,
                     block_size(b->rest - b->count));
}

static dd_status time_block(struct race_job *job, const int *order, int rest,
                            double *us, double *reference_us)
{
  int count = block_size(rest);
  struct block b = {job, order, count, rest, {NULL}, {0}};
  const struct bench_hooks hooks = {note_of_block, be_busy, &b};
  int tries = job->is_cpu ? 1 : BLOCK_TRIES;
  const double *before = &b.us[0], *after = &b.us[count + 1];

  b.list[0] = &job->reference[0];
  b.list[count + 1] = &job->reference[job->bench.halved];
  for (int i = 0; i < count; ++i)
    b.list[i + 1] = order[i] == BENCH_NOBODY ? &job->reference[i % 2]
                                             : &job->timing[order[i]];
  for (;;) {
    TRY(bench_time_all(&job->bench, b.list, count + 2, &hooks, b.us));
    if (--tries == 0 || race_calm(&job->race, *before, *after)) break;
    job->again++;
  }
  memcpy(us, b.us + 1, sizeof *us * (size_t)count);
  *reference_us = (*before + *after) / 2;
  return DD_OK;
}

static dd_status time_round(struct race_job *job, int count)
{
  for (int from = 0; from < count; from += BLOCK) {
    double us;
    TRY(time_block(job, job->order + from, count - from, job->us + from, &us));
    for (int i = 0; i < block_size(count - from); ++i)
      job->reference_us[from + i] = us;
  }
  return DD_OK;
}

/* Whether the clock spoilt the round. */
static bool was_disturbed(struct race_job *job, struct clock_reading before)
{
  struct clock_reading after = job->clock;

  job->throttle |= before.throttle | after.throttle;
  if (after.mhz > 0 && job->mhz_count < SAMPLES_MAX)
    job->mhz[job->mhz_count++] = after.mhz;
  return clocks_disturbed(before, after);
}

static dd_status keep_round(struct race_job *job, int count)
{
  if (job->race.phase == RACE_FINAL && job->copy_count < SAMPLES_MAX)
    job->copy_us[job->copy_count++] = job->reference_us[0];
  for (int i = 0; i < count; ++i)
    if (job->order[i] != BENCH_NOBODY)
      TRY(race_sample(&job->race, job->order[i], job->us[i],
                      job->reference_us[i]));
  race_round_end(&job->race);
  return DD_OK;
}

static dd_status run_round(struct race_job *job, int live)
{
  int count = bench_turns(&job->bench, job->half, job->live, live, job->order);

  TRY(record_some(job, job->order, block_size(count)));
  for (;;) {
    struct clock_reading before;
    if (!job->clock_is_fresh) read_clock(job);
    before = job->clock;
    TRY(time_round(job, count));
    if (!was_disturbed(job, before) || !race_repeats(&job->race)) break;
    job->again += (uint32_t)((count + BLOCK - 1) / BLOCK);
  }
  return keep_round(job, count);
}

/* Seconds since *from, which becomes now. */
static double lap(double *from)
{
  double now = seconds_now(), took = now - *from;

  *from = now;
  return took;
}

/* By chance: neighbours in the list are alike, and are dropped together. */
static void share_halves(struct race_job *job, int live)
{
  if (!job->bench.halved) return;
  for (int i = 0; i < live; ++i) job->half[job->live[i]] = i % 2;
}

static dd_status screen(struct race_job *job)
{
  int live;

  while (job->race.phase == RACE_SCREEN) {
    live = race_round(&job->race, job->live);
    if (!live) return DD_OK;
    if (job->race.round == 0) share_halves(job, live);
    TRY(run_round(job, live));
    job->phases.screened += live;
    job->phases.rounds++;
  }
  return DD_OK;
}

static dd_status run_final(struct race_job *job)
{
  int live;

  while ((live = race_round(&job->race, job->live)) > 0)
    TRY(run_round(job, live));
  return DD_OK;
}

static dd_status run_race(struct race_job *job, double *from)
{
  double recorded = job->phases.record;

  TRY(screen(job));
  job->phases.screen = lap(from) - (job->phases.record - recorded);
  job->clock_is_fresh = false;
  TRY(record_finalists(job));
  TRY(enter_twin(job));
  job->phases.record_final = lap(from);
  TRY(run_final(job));
  job->phases.final = lap(from);
  return DD_OK;
}

/* DIFFTUNE_PHASES=1, as worker_check.c has it of proofs. */
static void tell_race(const struct race_job *job)
{
  const struct race_phases *p = &job->phases;

  if (!getenv("DIFFTUNE_PHASES")) return;
  say("phases of the race of %d: buffers %.3f s (%u sets), record %.3f, screen "
      "%.3f (%d timings, %d rounds), record the final %.3f, final %.3f; copy "
      "%.2f us, %u launches, %u blocks again", job->count, p->buffers,
      job->bench.sets, p->record, p->screen, p->screened, p->rounds,
      p->record_final, p->final, job->bench.copy_us, job->launches, job->again);
}

/* ---- Results ------------------------------------------------------------- */

/* Everybody's time is its ratio times the same time of the reference, so that
 * the numbers stand in the order that was found. */
static void put_candidate_result(const struct race_job *job, int i,
                                 double copy_us, struct bytes *out)
{
  const struct race_entry *e = &job->race.entries[i];
  struct race_view v = race_samples(&job->race, i);
  struct standing standing;
  struct summary s;

  summarise(v.ratio, v.count, &s);
  standing = (struct standing){
      .median_us = s.median * copy_us, .q1_us = s.q1 * copy_us,
      .q3_us = s.q3 * copy_us, .low_us = s.low * copy_us,
      .high_us = s.high * copy_us, .final = v.final, .tied = e->tied,
      .position = (uint32_t)e->position,
      .registers = (uint32_t)job->registers[i],
      .sample_count = (uint32_t)v.count, .dropped = (uint32_t)s.dropped,
      .samples = v.us, .ratios = v.ratio};
  put_standing(out, &standing);
}

static void put_results(struct race_job *job, struct bytes *out)
{
  struct race_summary race = {.again = job->again};
  struct race_verdict verdict;
  struct summary copy;

  race_judge(&job->race, &verdict);
  summarise(job->copy_us, job->copy_count, &copy);
  race.copy_us = copy.median;
  race.noise = verdict.noise;
  race.apart = verdict.apart;
  race.floor = verdict.floor;
  race.sm_mhz = (uint32_t)(median_of(job->mhz, job->mhz_count) + 0.5);
  clocks_throttle(job->throttle, race.throttle, sizeof race.throttle);
  put_race_summary(out, &race);
  wire_put_u32(out, (uint32_t)job->count);
  for (int i = 0; i < job->count; ++i)
    put_candidate_result(job, i, copy.median, out);
}

static dd_status race_problem(struct race_job *job, const char *policy,
                              struct bytes *out)
{
  struct worker *w = job->w;
  struct bench_policy p = bench_policy_of(policy);
  double from = seconds_now();

  if (!w->clocks.device) clocks_open(&w->clocks, w->device);
  TRY(bench_make(checker_own(&w->checker), p, &job->bench));
  job->bench.careful = job->careful;
  job->phases.buffers = lap(&from);
  TRY(record_references(job));
  TRY(find_registers(job));
  prefer_all(job);
  job->phases.record = lap(&from);
  TRY(run_race(job, &from));
  tell_race(job);
  put_results(job, out);
  return DD_OK;
}

/* Fewer rounds on the CPU device, whose times say nothing about a GPU. */
static struct race_rule rule_for(const struct race_job *job)
{
  struct race_rule rule = race_rule_default;

  if (job->is_cpu) {
    rule.screen_rounds = 3;
    rule.finalists = 8;
    rule.final_rounds = rule.final_look = 5;
    rule.final_more = 0;
  }
  return rule;
}

static dd_status job_make(struct race_job *job, struct worker *w, int count,
                          uint64_t seed, struct arena *a)
{
  size_t places = 2 * ((size_t)count + 1); /* of a round, with nobody's */
  struct race_rule rule;

  *job = (struct race_job){.w = w, .count = count};
  job->is_cpu = strcmp(w->device->info.kind, "cpu") == 0;
  job->candidates = ARENA_ARRAY(a, struct candidate, (size_t)count);
  job->timing = ARENA_ARRAY(a, struct timing, (size_t)count + 1);
  job->registers = ARENA_ARRAY(a, int, (size_t)count);
  job->live = ARENA_ARRAY(a, int, (size_t)count + 1);
  job->half = ARENA_ARRAY(a, int, (size_t)count + 1);
  job->order = ARENA_ARRAY(a, int, places);
  job->us = ARENA_ARRAY(a, double, places);
  job->reference_us = ARENA_ARRAY(a, double, places);
  if (!job->candidates || !job->timing || !job->registers || !job->live ||
      !job->half || !job->order || !job->us || !job->reference_us)
    return fail(DD_NO_MEMORY, "out of memory");
  rule = rule_for(job);
  return race_make(&job->race, &rule, count + 1, seed);
}

static void job_release(struct race_job *job)
{
  for (int i = 0; i <= job->count && job->timing; ++i)
    bench_forget(&job->bench, &job->timing[i]);
  if (job->bench.device) {
    for (int half = 0; half < 2; ++half)
      bench_forget(&job->bench, &job->reference[half]);
    bench_release(&job->bench);
  }
  if (job->twin) job->w->device->api->unload(job->w->device, job->twin);
  race_release(&job->race);
}

dd_status answer_race(struct worker *w, struct wire_reader *r,
                      struct bytes *out)
{
  const char *policy = wire_text(r, &w->arena, "a policy");
  uint64_t seed = (uint64_t)wire_i64(r, "a seed");
  uint32_t incumbent = wire_u32(r, "an incumbent");
  bool careful = wire_u32(r, "how careful to be");
  int count = (int)wire_count(r, CANDIDATES_MAX, "candidates");
  struct race_job job;
  struct arena a;
  dd_status status;

  if (!w->checker.count || !count)
    return fail(DD_BUG, "there is nothing to race");
  arena_init(&a, NULL);
  status = job_make(&job, w, count, seed, &a);
  job.incumbent = incumbent;
  job.careful = careful;
  for (int i = 0; i < count && !status; ++i)
    get_candidate(r, &job.candidates[i]);
  if (!status) status = wire_status(r, true, DD_BUG);
  if (!status) status = race_problem(&job, policy, out);
  job_release(&job);
  arena_release(&a);
  return status;
}
