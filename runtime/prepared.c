/*
 * prepared.c - plans that a context keeps, by the spelling of their problem.
 *
 * dd_prepare() fills this list before a capture; an entry point looks here on
 * its first call with a shape, and makes what is missing unless its stream is
 * being captured.  A process meets some dozens of problems.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

/* Threads count apart, a cache line each: a counter that all of them shared
 * would cost more than the launch. */
enum { SHARDS = 8, LINE = 64 };
struct launches {
  union {
    _Atomic uint64_t count;
    char line[LINE];
  } shard[SHARDS];
};

struct prepared {
  struct prepared *next;
  dd_plan *plan;
  struct launches launches;
  size_t size; /* of this block */
  char spelling[];
};

/* ---- After a fork ------------------------------------------------------- */

_Atomic uint32_t fork_count;

static void count_fork(void)
{
  atomic_fetch_add_explicit(&fork_count, 1, memory_order_relaxed);
}

static void watch_forks(void)
{
  pthread_atfork(NULL, NULL, count_fork);
}

void forks_watch(void)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;

  pthread_once(&once, watch_forks);
}

dd_status refuse_forked(void)
{
  return fail(DD_FORKED, "this context is of the process before fork(), and "
              "CUDA does not survive one; open another after exec()");
}

/* ---- The list ----------------------------------------------------------- */

void prepared_free(struct dd_context *ctx)
{
  while (ctx->prepared) {
    struct prepared *p = ctx->prepared;
    ctx->prepared = p->next;
    dd_plan_free(p->plan);
    mem_resize(&ctx->allocator, p, p->size, 0);
  }
}

/* Under the lock. */
static struct prepared *look_up(const struct dd_context *ctx,
                                const char *spelling)
{
  struct prepared *p = ctx->prepared;

  while (p && strcmp(p->spelling, spelling)) p = p->next;
  return p;
}

static dd_plan *find(struct dd_context *ctx, const char *spelling)
{
  struct prepared *p;

  pthread_mutex_lock(&ctx->lock);
  p = look_up(ctx, spelling);
  pthread_mutex_unlock(&ctx->lock);
  return p ? p->plan : NULL;
}

/* Where two threads made the same plan at once, the first stays. */
static dd_status keep(struct dd_context *ctx, const char *spelling,
                      dd_plan **plan)
{
  size_t size = sizeof(struct prepared) + strlen(spelling) + 1;
  struct prepared *p = mem_resize(&ctx->allocator, NULL, 0, size), *there;

  if (!p) return fail(DD_NO_MEMORY, "out of memory");
  memset(&p->launches, 0, sizeof p->launches);
  (*plan)->launches = &p->launches;
  p->plan = *plan;
  p->size = size;
  memcpy(p->spelling, spelling, size - sizeof *p);
  pthread_mutex_lock(&ctx->lock);
  there = look_up(ctx, spelling);
  p->next = ctx->prepared;
  if (!there) ctx->prepared = p;
  pthread_mutex_unlock(&ctx->lock);
  if (!there) return DD_OK;
  dd_plan_free(*plan);
  *plan = there->plan;
  mem_resize(&ctx->allocator, p, size, 0);
  return DD_OK;
}

static dd_status make(struct dd_context *ctx, const char *spelling,
                      dd_plan **out)
{
  dd_problem problem = DD_PROBLEM_INIT;
  dd_status status;

  problem.spelling = spelling;
  TRY(dd_plan_make(ctx, &problem, out));
  status = keep(ctx, spelling, out);
  if (!status) return DD_OK;
  dd_plan_free(*out);
  *out = NULL;
  return status;
}

static dd_status get(struct dd_context *ctx, const char *spelling, bool capture,
                     void *stream, dd_plan **out)
{
  *out = find(ctx, spelling);
  if (*out) return DD_OK;
  if (capture && ctx->device->api->capturing(ctx->device, stream))
    return fail(DD_NOT_PREPARED, "'%.300s' was not prepared, and its stream is "
                "being captured; call dd_prepare() before", spelling);
  return make(ctx, spelling, out);
}

/* ---- Counting ----------------------------------------------------------- */

/* The first threads have a shard each, which nobody else writes: no bus lock.
 * All others share the last. */
void launches_add(struct launches *l)
{
  static _Atomic uint32_t threads;
  static _Thread_local uint32_t self; /* 0: not numbered yet */
  _Atomic uint64_t *count;

  if (!self)
    self = 1 + atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed);
  if (self >= SHARDS) {
    atomic_fetch_add_explicit(&l->shard[SHARDS - 1].count, 1,
                              memory_order_relaxed);
    return;
  }
  count = &l->shard[self - 1].count;
  atomic_store_explicit(
      count, atomic_load_explicit(count, memory_order_relaxed) + 1,
      memory_order_relaxed);
}

static uint64_t launches_sum(const struct launches *l)
{
  uint64_t sum = 0;

  for (int i = 0; i < SHARDS; ++i)
    sum += atomic_load_explicit(&l->shard[i].count, memory_order_relaxed);
  return sum;
}

/* Lines that `difftune sweep --shapes FILE` takes. */
static dd_status trace(struct dd_context *ctx, struct bytes *out)
{
  pthread_mutex_lock(&ctx->lock);
  for (struct prepared *p = ctx->prepared; p; p = p->next)
    bytes_printf(out, "%s # %llu launches, %s\n", p->spelling,
                 (unsigned long long)launches_sum(&p->launches),
                 match_word(p->plan->how));
  pthread_mutex_unlock(&ctx->lock);
  return bytes_status(out);
}

dd_status dd_trace(dd_context *ctx, char *text, size_t size, size_t *length)
{
  struct bytes out = BYTES_INIT;
  dd_status status;

  if (length) *length = 0;
  if (text && size) *text = 0;
  if (!ctx) return fail(DD_BAD_ARGUMENT, "no context was given");
  status = trace(ctx, &out);
  if (!status && length) *length = out.size;
  if (!status) text_cut(bytes_string(&out), out.size, text, size);
  bytes_release(&out);
  return status;
}

/* Nobody hears of a failure: the host is closing. */
void trace_write(struct dd_context *ctx)
{
  const char *path = secure_getenv("DIFFDISPATCH_TRACE");
  struct bytes out = BYTES_INIT;

  if (!path || !*path || !ctx->prepared || context_forked(ctx)) return;
  if (!trace(ctx, &out)) file_write(path, bytes_string(&out), out.size);
  bytes_release(&out);
}

static uint64_t take(_Atomic uint64_t *count, int reset)
{
  return reset ? atomic_exchange_explicit(count, 0, memory_order_relaxed)
               : atomic_load_explicit(count, memory_order_relaxed);
}

dd_status dd_count(dd_context *ctx, dd_counters *out, int reset)
{
  dd_counters c = {0};

  if (!ctx || !out)
    return fail(DD_BAD_ARGUMENT, "no %s given", ctx ? "place for the counters "
                "was" : "context was");
  if (out->struct_size < offsetof(dd_counters, pinned))
    return fail(DD_BAD_ARGUMENT, "dd_counters.struct_size is %zu, not %zu",
                out->struct_size, sizeof c);
  c.struct_size = out->struct_size;
  c.exact = take(&ctx->made[DD_MATCH_EXACT], reset);
  c.near_sizes = take(&ctx->made[DD_MATCH_NEAR], reset);
  c.other_device = take(&ctx->made[DD_MATCH_DEVICE], reset);
  c.split = take(&ctx->made[DD_MATCH_SPLIT], reset);
  c.by_default = take(&ctx->made[DD_MATCH_DEFAULT], reset);
  c.refused = take(&ctx->refused, reset);
  c.pinned = take(&ctx->made[DD_MATCH_PINNED], reset);
  c.interval = take(&ctx->made[DD_MATCH_INTERVAL], reset);
  memcpy(out, &c, c.struct_size < sizeof c ? c.struct_size : sizeof c);
  return DD_OK;
}

dd_status dd_digest(dd_context *ctx, char digest[65])
{
  struct hash seals[2];

  if (!ctx || !digest)
    return fail(DD_BAD_ARGUMENT, "no context or no place for the digest was "
                "given");
  seals[0] = ctx->matcher.table ? ctx->host.seal : ctx->floor.seal;
  if (ctx->matcher.under) {
    seals[1] = ctx->system.seal;
    seals[0] = hash_of(seals, sizeof seals);
  }
  hash_hex(&seals[0], digest);
  return DD_OK;
}

/* ---- Getting ------------------------------------------------------------ */

dd_status context_spell(struct dd_context *ctx, const char *spelling,
                        struct bytes *out)
{
  struct problem p;
  dd_status status = problem_parse(&ctx->floor.ops, spelling, &p);

  if (status && ctx->matcher.table)
    status = problem_parse(&ctx->matcher.table->ops, spelling, &p);
  TRY(status);
  problem_print(&p, out);
  return bytes_status(out);
}

static dd_status get_spelled(struct dd_context *ctx, const char *spelling,
                             bool capture, void *stream, dd_plan **out)
{
  struct bytes text = BYTES_INIT;
  dd_status status = context_spell(ctx, spelling, &text);

  *out = NULL;
  if (!status) status = get(ctx, bytes_string(&text), capture, stream, out);
  bytes_release(&text);
  return status;
}

dd_status prepared_get(struct dd_context *ctx, const char *spelling,
                       void *stream, dd_plan **out)
{
  return get_spelled(ctx, spelling, true, stream, out);
}

dd_status dd_prepare(dd_context *ctx, const char *const *spellings,
                     size_t count, size_t *ready)
{
  dd_status first = DD_OK;
  size_t done = 0;
  dd_plan *plan;

  if (ready) *ready = 0;
  if (!ctx) return fail(DD_BAD_ARGUMENT, "no context was given");
  if (count && !spellings)
    return fail(DD_BAD_ARGUMENT, "%zu spellings, but no list of them", count);
  if (context_forked(ctx)) return refuse_forked();
  for (size_t i = 0; i < count && !first; ++i) {
    if (!spellings[i])
      first = fail(DD_BAD_ARGUMENT, "spelling %zu is NULL", i);
    else
      first = get_spelled(ctx, spellings[i], false, NULL, &plan);
    done += !first;
  }
  if (ready) *ready = done;
  return first;
}
