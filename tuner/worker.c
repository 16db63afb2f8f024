/*
 * worker.c - the process that holds a device: loads, proves, serves.
 *
 * It dies with its parent, and its death costs the parent one candidate.  It
 * keeps every variant it was given, the trials of the problem at hand, and
 * small ones of those before.
 */
#include "worker.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "hash_table.h"
#include "message.h"
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
  /* On the CPU device the host judges: faster than fibers would. */
  TRY(tools_load(w->device, strcmp(api->kind, "cuda") == 0, &w->tools));
  w->checker = (struct checker){
      .device = w->device, .ops = &w->ops, .tools = &w->tools};
  w->corpora.rows = corpus_rows(api->kind);
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

static dd_status get_problem(struct worker *w, struct wire_reader *r,
                             struct problem *p, uint64_t *seed)
{
  const char *spelling = wire_text(r, &w->arena, "a problem");

  *seed = (uint64_t)wire_i64(r, "a seed");
  TRY(wire_status(r, true, DD_BUG));
  if (!w->device) return fail(DD_BUG, "no device is open");
  return problem_parse(&w->ops, spelling, p);
}

static dd_status answer_problem(struct worker *w, struct wire_reader *r,
                                struct bytes *out)
{
  uint64_t seed;
  struct problem p;
  int64_t reads, writes;

  TRY(get_problem(w, r, &p, &seed));
  TRY(problem_traffic(&p, &reads, &writes));
  TRY(checker_set(&w->checker, &p, seed));
  wire_put_i64(out, reads + writes);
  wire_put_f64(out, checker_effort(&w->checker));
  return DD_OK;
}

static dd_status answer_prepare(struct worker *w, struct wire_reader *r)
{
  uint64_t seed;
  struct problem p;

  TRY(get_problem(w, r, &p, &seed));
  checker_prepare(&w->checker, &p, seed);
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

static dd_status answer_vouch(struct worker *w, struct wire_reader *r)
{
  TRY(wire_status(r, true, DD_BUG));
  if (!w->checker.count) return fail(DD_BUG, "no problem is set");
  return checker_vouch(&w->checker);
}

static dd_status answer_bits(struct worker *w, struct wire_reader *r,
                             struct bytes *out)
{
  uint32_t count = wire_count(r, CANDIDATES_MAX, "candidates");

  if (!w->checker.count) return fail(DD_BUG, "no problem is set");
  wire_put_u32(out, count);
  for (uint32_t i = 0; i < count; ++i) {
    const struct loaded *steps[OP_MAX_STEPS];
    struct candidate c;
    uint64_t bits;
    get_candidate(r, &c);
    TRY(wire_status(r, false, DD_BUG));
    TRY(find_steps(w, &c, steps));
    TRY(corpora_bits(&w->corpora, w->device, &w->ops, &w->tools,
                     &checker_own(&w->checker)->problem, &c, steps, &bits));
    wire_put_i64(out, (int64_t)bits);
  }
  return wire_status(r, true, DD_BUG);
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
  case REQUEST_PREPARE: return answer_prepare(w, &r);
  case REQUEST_CHECK: return answer_check(w, &r, out);
  case REQUEST_VOUCH: return answer_vouch(w, &r);
  case REQUEST_BITS: return answer_bits(w, &r, out);
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
    corpora_release(&w->corpora);
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

/* Trials come and go by the hundred MB.  A page that went back to the kernel
 * would have to be cleared when it comes again, which takes longer than filling
 * it does. */
static void keep_pages(void)
{
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_ARENA_MAX, 1); /* for whichever thread */
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
