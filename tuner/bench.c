/* bench.c - buffers and recordings for timing one problem. */
#include "bench.h"

#include <string.h>

enum { MAX_LAUNCHES = 512, LEAD_BYTES = 16 << 20 };
enum { SINGLE_SLOT = BENCH_MOST, UNTIMED_SLOT };
static const double cold_bytes = 300e6;
static const double long_us = 100; /* a launch that is a replay of its own */
static const double turn_us = 60; /* a turn over the sets has two halves */
static const double lead_us = 30; /* of copying, ahead of a block */

static bool is_cpu(const struct device *d)
{
  return strcmp(d->info.kind, "cpu") == 0;
}

/* ---- Sets ---------------------------------------------------------------- */

struct bench_policy bench_policy_of(const char *name)
{
  return (struct bench_policy){strncmp(name, "warm", 4) == 0,
                               strstr(name, "eager") != NULL};
}

static uint32_t count_sets(const struct bench *b, struct bench_policy policy)
{
  double wanted = 5.0 * (double)b->device->info.l2_bytes, bytes = 1;
  uint32_t n;

  if (policy.warm) return 1;
  if (wanted < cold_bytes && !is_cpu(b->device)) wanted = cold_bytes;
  for (int i = 0; i < OP_MAX_TENSORS; ++i) bytes += (double)b->size[i];
  if (wanted / bytes > BENCH_MAX_SETS) return BENCH_MAX_SETS;
  n = (uint32_t)(wanted / bytes) + 1;
  return n > 1 ? n + n % 2 : n; /* two halves */
}

enum { SET_ALIGN = 4096 };

static size_t padded(size_t size)
{
  return (size + SET_ALIGN - 1) / SET_ALIGN * SET_ALIGN;
}

static size_t set_bytes(const struct bench *b)
{
  size_t bytes = padded(b->copy_bytes);

  for (uint32_t i = 0; i < b->op->tensor_count; ++i)
    bytes += padded(b->size[i]);
  return bytes;
}

static dd_status make_set(struct bench *b, const struct trial *t, uint32_t s)
{
  const struct device_api *api = b->device->api;
  char *at = (char *)b->memory + s * set_bytes(b);

  for (uint32_t i = 0; i < b->op->tensor_count; ++i) {
    if (!b->size[i]) continue;
    b->set[s].buffer[i] = at + t->tensor[i].offset;
    TRY(api->copy(b->device, at, t->tensor[i].pristine, b->size[i]));
    at += padded(b->size[i]);
  }
  b->set[s].copy = at;
  return api->fill(b->device, at, (uint8_t)(37 * s + 91), b->copy_bytes);
}

dd_status bench_make(const struct trial *t, struct bench_policy policy,
                     struct bench *out)
{
  int64_t reads, writes;
  dd_status status;

  memset(out, 0, sizeof *out);
  out->device = t->device;
  out->tools = t->tools;
  out->op = t->problem.op;
  out->eager = policy.eager;
  TRY(problem_traffic(&t->problem, &reads, &writes));
  out->copy_bytes = ((size_t)(reads + writes) / 2 + 15) / 16 * 16;
  if (!out->copy_bytes) out->copy_bytes = 16;
  for (int i = 0; i < OP_MAX_TENSORS; ++i) out->size[i] = t->tensor[i].size;
  out->sets = count_sets(out, policy);
  status = out->device->api->allocate(out->device, out->sets * set_bytes(out),
                                      &out->memory);
  for (uint32_t s = 0; s < out->sets && !status; ++s)
    status = make_set(out, t, s);
  if (status) bench_release(out);
  return status;
}

void bench_release(struct bench *b)
{
  bench_forget(b, &b->lead);
  if (b->memory)
    b->device->api->deallocate(b->device, b->memory, b->sets * set_bytes(b));
  b->memory = NULL;
  b->sets = 0;
}

/* ---- Recordings ---------------------------------------------------------- */

struct copy_args { /* of tuner/kernels/copy.cuh */
  void *data;
  int64_t vectors;
};

static uint32_t steps_of(const struct run *run)
{
  return run ? run->step_count : 1;
}

static struct launch copy_launch(const struct bench *b, uint32_t set,
                                 uint8_t *args)
{
  struct copy_args a = {b->set[set].copy, (int64_t)(b->copy_bytes / 16)};
  int64_t block;

  memcpy(args, &a, sizeof a);
  block = 256 * copy_each[b->copy_kind];
  return (struct launch){b->tools->copy[b->copy_kind],
                         {(uint32_t)((a.vectors + block - 1) / block), 1, 1},
                         256, 0, args, sizeof a};
}

/* The launches, in turn over the sets; of the copy kernel where run is NULL. */
static dd_status fill_launches(struct bench *b, const struct run *run,
                               struct timing *t)
{
  for (uint32_t i = 0; i < t->launches; ++i) {
    uint8_t *args = t->args + (size_t)i * t->steps * OP_MAX_ARGS_SIZE;
    struct launch *l = t->burst + i * t->steps;
    uint32_t set = (t->first + i) % b->sets;
    if (run) TRY(run_launches(run, b->set[set].buffer, args, l));
    else *l = copy_launch(b, set, args);
  }
  return DD_OK;
}

static size_t launch_count(const struct timing *t)
{
  return (size_t)t->launches * t->steps;
}

static void forget_launches(struct timing *t)
{
  size_t n = launch_count(t);

  mem_resize(NULL, t->burst, n * sizeof *t->burst, 0);
  mem_resize(NULL, t->args, n * OP_MAX_ARGS_SIZE, 0);
  t->burst = NULL;
  t->args = NULL;
}

/* A graph has copies of the launches, so they go at once. */
static dd_status record(struct bench *b, const struct run *run,
                        struct timing *t)
{
  size_t n = launch_count(t);
  dd_status status;

  t->burst = mem_resize(NULL, NULL, 0, n * sizeof *t->burst);
  t->args = mem_resize(NULL, NULL, 0, n * OP_MAX_ARGS_SIZE);
  status = t->burst && t->args ? fill_launches(b, run, t)
                               : fail(DD_NO_MEMORY, "out of memory");
  if (!status && !b->eager)
    status = b->device->api->record(b->device, t->burst, n, &t->recording);
  if (status || !b->eager) forget_launches(t);
  return status;
}

/* Eager launches are not enqueued before they are waited for. */
static dd_status start(struct bench *b, struct timing *t, uint32_t slot)
{
  if (!t->recording) return DD_OK;
  return b->device->api->record_start(b->device, t->recording, slot);
}

static bool one_by_one(const struct bench *b)
{
  return b->careful || b->eager;
}

static dd_status finish(struct bench *b, struct timing *t, uint32_t slot)
{
  const struct device_api *api = b->device->api;
  double us;

  if (t->recording) TRY(api->record_wait(b->device, slot, &us));
  else TRY(api->burst_time(b->device, t->burst, launch_count(t), &us));
  t->us = us / t->launches;
  return DD_OK;
}

uint32_t bench_launches(const struct bench *b, double us, double replay_us)
{
  double wanted = us > 0 ? replay_us / us : MAX_LAUNCHES;
  uint32_t turns;

  if (is_cpu(b->device)) return 1;
  if (us >= long_us) return b->sets;
  if (wanted > MAX_LAUNCHES) wanted = MAX_LAUNCHES;
  turns = (uint32_t)(wanted / b->sets + 0.5);
  return (turns ? turns : 1) * b->sets;
}

uint32_t bench_short_launches(const struct bench *b, double replay_us)
{
  return b->halved ? b->sets / 2 : bench_launches(b, b->copy_us, replay_us);
}

int bench_turns(const struct bench *b, const int *half, const int *live,
                int count, int *order)
{
  int at[2] = {0, 0}, n = 0;

  if (!b->halved) memcpy(order, live, sizeof *order * (size_t)count);
  if (!b->halved) return count;
  for (int left = count; left; ++n) {
    int *i = &at[n % 2];
    while (*i < count && half[live[*i]] != n % 2) ++*i;
    order[n] = *i < count ? live[(*i)++] : BENCH_NOBODY;
    left -= order[n] != BENCH_NOBODY;
  }
  return n;
}

dd_status bench_record(struct bench *b, const struct run *run,
                       uint32_t launches, int half, bool warm,
                       struct timing *out)
{
  memset(out, 0, sizeof *out);
  out->launches = launches;
  out->first = half ? b->sets / 2 : 0;
  out->steps = steps_of(run);
  TRY(record(b, run, out));
  if (!warm) return DD_OK;
  return one_by_one(b) ? bench_time(b, out) : start(b, out, UNTIMED_SLOT);
}

dd_status bench_record_copy(struct bench *b, uint32_t launches, int half,
                            struct timing *out)
{
  return bench_record(b, NULL, launches, half, true, out);
}

/* The best of three replays, so that one disturbance does not choose. */
static dd_status best_time(struct bench *b, struct timing *t, double *us)
{
  for (int i = 0; i < 3; ++i) {
    TRY(bench_time(b, t));
    if (i == 0 || t->us < *us) *us = t->us;
  }
  return DD_OK;
}

/* Some, where one is over soon; how long one takes is not known yet. */
static uint32_t copy_launches(const struct bench *b)
{
  bool soon = b->sets < 4 && 2.0 * (double)b->copy_bytes < cold_bytes;

  return is_cpu(b->device) ? 1 : soon ? 4 : b->sets;
}

static dd_status time_copy(struct bench *b, double *us)
{
  struct timing t;
  dd_status status = bench_record_copy(b, copy_launches(b), 0, &t);

  if (!status) status = best_time(b, &t, us);
  bench_forget(b, &t);
  return status;
}

dd_status bench_choose_copy(struct bench *b, double *us)
{
  int kinds = is_cpu(b->device) ? 1 : COPY_KINDS, best = 0;

  for (int kind = 0; kind < kinds; ++kind) {
    double now = 0;
    b->copy_kind = kind;
    TRY(time_copy(b, &now));
    if (kind == 0 || now < *us) *us = now, best = kind;
  }
  b->copy_kind = best;
  b->copy_us = *us;
  b->halved = !one_by_one(b) && !is_cpu(b->device) && b->sets % 2 == 0 &&
              *us * b->sets >= turn_us;
  return DD_OK;
}

/* ---- Replays ------------------------------------------------------------- */

dd_status bench_time(struct bench *b, struct timing *t)
{
  TRY(start(b, t, SINGLE_SLOT));
  return finish(b, t, SINGLE_SLOT);
}

/* Copies of the end of the last set, which everybody else comes to last: what
 * it leaves in the cache is of no use to the reference behind it. */
static dd_status record_lead(struct bench *b)
{
  struct bench end = *b;
  double us;

  if (end.copy_bytes > LEAD_BYTES) end.copy_bytes = LEAD_BYTES;
  us = b->copy_us * (double)end.copy_bytes / (double)b->copy_bytes;
  end.set[0].copy =
      b->set[b->sets - 1].copy + (b->copy_bytes - end.copy_bytes);
  end.sets = 1;
  return bench_record(&end, NULL, (uint32_t)(lead_us / (us > 1 ? us : 1)) + 1,
                      0, false, &b->lead);
}

/* The host needs some microseconds from the first event to the first launch,
 * which an idle device would wait for. */
static dd_status start_lead(struct bench *b)
{
  if (one_by_one(b)) return DD_OK;
  if (!b->lead.recording) TRY(record_lead(b));
  return start(b, &b->lead, UNTIMED_SLOT);
}

dd_status bench_time_all(struct bench *b, struct timing *const *list, int count,
                         const struct bench_hooks *hooks, double *us)
{
  int ahead = one_by_one(b) ? 1 : count, started = 0;

  TRY(start_lead(b));
  for (int i = 0; i < count; ++i) {
    for (; started < count && started < i + ahead; ++started) {
      TRY(hooks->note(hooks->user, started));
      TRY(start(b, list[started], (uint32_t)started));
    }
    if (i == 0) TRY(hooks->beside(hooks->user));
    TRY(hooks->note(hooks->user, i));
    TRY(finish(b, list[i], (uint32_t)i));
    us[i] = list[i]->us;
  }
  return DD_OK;
}

void bench_forget(struct bench *b, struct timing *t)
{
  if (t->recording) b->device->api->record_free(b->device, t->recording);
  t->recording = NULL;
  forget_launches(t);
}
