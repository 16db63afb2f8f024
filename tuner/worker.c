/*
 * worker.c - the process that holds a device: loads, proves, serves.
 *
 * It dies with its parent, and its death costs the parent one candidate.  It
 * keeps every variant it was given, and the trials of one problem at a time.
 */
#include "worker.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "worker_inner.h"

enum { MAX_DEVICES = 64 };

/* ---- Variants by hash -------------------------------------------------------- */

dd_status find_variant(const struct worker *w, const struct hash *h,
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
  TRY(tools_load(w->device, &w->tools));
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

/* ---- Trials ----------------------------------------------------------------------- */

static void forget_trials(struct worker *w)
{
  for (int i = 0; i < w->trial_count; ++i) trial_free(w->trials[i]);
  w->trial_count = 0;
  arena_release(&w->trial_arena);
}

static dd_status add_trial(struct worker *w, const struct problem *p,
                           enum fill_class class, uint64_t seed, bool attrs)
{
  struct bytes name = BYTES_INIT;
  struct trial *t;

  if (w->trial_count == MAX_TRIALS)
    return fail(DD_BUG, "'%s' has too many awkward problems", p->op->name);
  TRY(trial_make(w->device, &w->tools, p, class, seed, attrs, &t));
  problem_print(p, &name);
  w->trials[w->trial_count] = t;
  w->trial_name[w->trial_count++] =
      arena_text(&w->trial_arena, bytes_string(&name), name.size);
  bytes_release(&name);
  return w->trial_name[w->trial_count - 1] ? DD_OK
                                           : fail(DD_NO_MEMORY, "out of memory");
}

/* The op's awkward list on top of the problem; what is not legal there (a
 * stride that does not go with more heads) is left out. */
static dd_status add_awkward(struct worker *w, const struct problem *p,
                             uint64_t seed)
{
  for (uint32_t i = 0; i < p->op->awkward_count; ++i) {
    struct problem q;
    if (problem_override(p, p->op->awkward[i], &q)) continue;
    TRY(add_trial(w, &q, i % 2 ? FILL_SPECIAL : FILL_HARD, seed + i, true));
  }
  return DD_OK;
}

static dd_status answer_problem(struct worker *w, struct wire_reader *r,
                                struct bytes *out)
{
  const char *spelling = wire_text(r, &w->arena, "a problem");
  uint64_t seed = (uint64_t)wire_i64(r, "a seed");
  struct problem p;
  int64_t reads, writes;

  TRY(wire_status(r, true, DD_BUG));
  if (!w->device) return fail(DD_BUG, "no device is open");
  forget_trials(w);
  TRY(problem_parse(&w->ops, spelling, &p));
  TRY(problem_traffic(&p, &reads, &writes));
  TRY(add_awkward(w, &p, seed));
  TRY(add_trial(w, &p, FILL_PLAIN, seed, false));
  wire_put_i64(out, reads + writes);
  return DD_OK;
}

/* ---- Checking ----------------------------------------------------------------------- */

dd_status find_steps(const struct worker *w, const struct candidate *c,
                     const struct loaded **steps)
{
  for (uint32_t i = 0; i < c->step_count; ++i) {
    const struct held *l;
    TRY(find_variant(w, &c->steps[i], &l));
    steps[i] = &l->loaded;
  }
  return DD_OK;
}

static dd_status launch_once(struct worker *w, struct trial *t,
                             const struct run *run)
{
  uint8_t args[OP_MAX_STEPS * OP_MAX_ARGS_SIZE];
  struct launch launches[OP_MAX_STEPS];

  TRY(run_launches(run, t->buffer, args, launches));
  for (uint32_t i = 0; i < run->step_count; ++i)
    TRY(w->device->api->launch(w->device, &launches[i], NULL));
  return w->device->api->wait(w->device);
}

/* One trial; a candidate that does not fit an awkward problem is not tried on
 * it (*tried stays false), but it must fit the problem itself. */
static dd_status try_once(struct worker *w, int i, const struct candidate *c,
                          const struct loaded *const *steps,
                          struct verdict *verdict, bool *tried)
{
  struct trial *t = w->trials[i];
  struct run run;
  dd_status status = run_make(w->device, &w->ops, &t->problem, c->split,
                              c->step_count, steps, t->attr, &run);

  *tried = false;
  if (status == DD_UNSUPPORTED && i + 1 < w->trial_count) return DD_OK;
  TRY(status);
  TRY(trial_reset(t));
  TRY(launch_once(w, t, &run));
  TRY(trial_judge(t, c->split, verdict));
  *tried = true;
  return DD_OK;
}

/* Where intermediate values are rounded, a kernel must round where the
 * reference does: on the problem's own, plain inputs all but one element in a
 * thousand (and three, for small problems) come out with the same bits.  Rows
 * that lie 1000 deviations from zero magnify what fp32 cannot hold; they are
 * held against the bound of one flipped rounding alone. */
static void check_bits(const struct trial *t, const struct candidate *c,
                       const struct judgement *plain, struct proof *proof)
{
  int64_t differ = plain->elements - plain->bit_equal;

  if (problem_get(&t->problem, "rounding") == 0 || c->split) return;
  if (!proof->right || differ <= 3 + plain->elements / 1000) return;
  proof->right = false;
  snprintf(proof->reason, sizeof proof->reason,
           "%lld of %lld elements have other bits than the rounding reference",
           (long long)differ, (long long)plain->elements);
}

static dd_status check(struct worker *w, const struct candidate *c,
                       struct proof *proof)
{
  const struct loaded *steps[OP_MAX_STEPS];
  struct judgement plain = JUDGEMENT_INIT; /* of the problem itself, the last */
  int64_t equal = 0;

  memset(proof, 0, sizeof *proof);
  proof->right = true;
  TRY(find_steps(w, c, steps));
  for (int i = 0; i < w->trial_count && proof->right; ++i) {
    struct verdict v;
    bool tried;
    TRY(try_once(w, i, c, steps, &v, &tried));
    if (!tried) continue;
    proof->cases++;
    proof->elements += v.judgement.elements;
    equal += v.judgement.bit_equal;
    plain = v.judgement;
    if (v.judgement.error > proof->error) proof->error = v.judgement.error;
    if (v.reason[0] || !(v.judgement.error <= 1)) {
      proof->right = false;
      snprintf(proof->reason, sizeof proof->reason, "on %.180s: %s",
               w->trial_name[i], v.reason);
    }
  }
  proof->bit_equal =
      proof->elements ? (double)equal / (double)proof->elements : 1;
  check_bits(w->trials[w->trial_count - 1], c, &plain, proof);
  return DD_OK;
}

static dd_status answer_check(struct worker *w, struct wire_reader *r,
                              struct bytes *out)
{
  struct candidate c;
  struct proof proof;

  get_candidate(r, &c);
  TRY(wire_status(r, true, DD_BUG));
  if (!w->trial_count) return fail(DD_BUG, "no problem is set");
  TRY(check(w, &c, &proof));
  put_proof(out, &proof);
  return DD_OK;
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
    forget_trials(w);
    clocks_close(&w->clocks);
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

int worker_device_main(int in_fd, int out_fd)
{
  struct worker w;
  struct bytes request = BYTES_INIT;

  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGINT, SIG_IGN); /* the parent decides */
  memset(&w, 0, sizeof w);
  w.out_fd = out_fd;
  arena_init(&w.arena, NULL);
  arena_init(&w.trial_arena, NULL);
  while (serve_one(&w, in_fd, out_fd, &request) == DD_OK) continue;
  bytes_release(&request);
  close_worker(&w);
  return 0;
}
