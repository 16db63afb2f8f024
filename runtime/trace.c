/*
 * trace.c - which problems a context met, how it chose, and what would be
 * better.
 *
 * Launches are counted without a lock; what counts them is written to a file
 * at the end, or when it is asked for.  The library itself says nothing: the
 * host's own function takes its warnings.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- Counting ----------------------------------------------------------- */

_Thread_local uint32_t launch_thread
    __attribute__((tls_model("initial-exec")));

/* Of a thread that has no number yet, or none of the first. */
void launches_add_shared(struct launches *l, enum launch_kind kind)
{
  static _Atomic uint32_t threads;

  if (!launch_thread) {
    launch_thread = 1 + atomic_fetch_add_explicit(&threads, 1,
                                                  memory_order_relaxed);
    if (launch_thread < LAUNCH_SHARDS) {
      launches_add(l, kind);
      return;
    }
  }
  atomic_fetch_add_explicit(&l->shard[LAUNCH_SHARDS - 1].count[kind], 1,
                            memory_order_relaxed);
}

/* This thread has a number: it has counted. */
dd_status not_launched(struct launches *l, dd_status status)
{
  uint32_t shard = launch_thread - 1;

  if (!l) return status;
  if (shard > LAUNCH_SHARDS - 1) shard = LAUNCH_SHARDS - 1;
  atomic_fetch_sub_explicit(&l->shard[shard].count[LAUNCH_EAGER], 1,
                            memory_order_relaxed);
  return status;
}

/* One that was taken back behind a reset is below what was there before, and
 * the next is not seen for it. */
static uint64_t launches_sum(const struct launches *l, enum launch_kind kind)
{
  uint64_t sum = 0;

  for (int i = 0; i < LAUNCH_SHARDS; ++i)
    sum += atomic_load_explicit(&l->shard[i].count[kind], memory_order_relaxed);
  return sum > l->before[kind] ? sum - l->before[kind] : 0;
}

/* What others add meanwhile is not lost: nobody but they writes their counts.
 * Under the lock. */
static void launches_reset(struct launches *l)
{
  for (int kind = 0; kind < LAUNCH_KINDS; ++kind)
    l->before[kind] += launches_sum(l, kind);
}

/* ---- The trace ---------------------------------------------------------- */

static void trace_one(const struct dd_context *ctx, const struct prepared *p,
                      struct bytes *out)
{
  unsigned long long eager = launches_sum(&p->launches, LAUNCH_EAGER);
  unsigned long long captured = launches_sum(&p->launches, LAUNCH_CAPTURED);

  bytes_printf(out, "%s # %llu launches, ", p->spelling, eager + captured);
  if (ctx->traced) bytes_printf(out, "%llu captured, ", captured);
  if (p->refused)
    bytes_printf(out, "%llu refused, ", (unsigned long long)p->refused);
  bytes_printf(out, "%s\n", p->plan ? match_word(p->plan->how) : "no plan");
}

/* Lines that `difftune sweep --shapes FILE` takes. */
static dd_status trace(struct dd_context *ctx, struct bytes *out)
{
  pthread_mutex_lock(&ctx->lock);
  for (struct prepared *p = ctx->prepared; p; p = p->next)
    trace_one(ctx, p, out);
  pthread_mutex_unlock(&ctx->lock);
  return bytes_status(out);
}

dd_status dd_trace(dd_context *ctx, char *text, size_t size, size_t *length)
{
  struct bytes out = BYTES_INIT;
  dd_status status;

  if (length) *length = 0;
  if (text && size) *text = 0;
  TRY(context_check(ctx));
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

/* ---- Counters ----------------------------------------------------------- */

static void reset_problems(struct dd_context *ctx)
{
  pthread_mutex_lock(&ctx->lock);
  for (struct prepared *p = ctx->prepared; p; p = p->next) {
    launches_reset(&p->launches);
    p->refused = 0;
  }
  pthread_mutex_unlock(&ctx->lock);
}

static uint64_t take(_Atomic uint64_t *count, int reset)
{
  return reset ? atomic_exchange_explicit(count, 0, memory_order_relaxed)
               : atomic_load_explicit(count, memory_order_relaxed);
}

dd_status dd_count(dd_context *ctx, dd_counters *out, int reset)
{
  dd_counters c = {0};

  TRY(context_check(ctx));
  if (!out)
    return fail(DD_BAD_ARGUMENT, "no place for the counters was given");
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
  if (reset) reset_problems(ctx);
  return DD_OK;
}

dd_status dd_digest(dd_context *ctx, char digest[65])
{
  struct hash seals[2];

  TRY(context_check(ctx));
  if (!digest)
    return fail(DD_BAD_ARGUMENT, "no place for the digest was given");
  seals[0] = ctx->matcher.table ? ctx->host.seal : ctx->floor.seal;
  if (ctx->matcher.under) {
    seals[1] = ctx->system.seal;
    seals[0] = hash_of(seals, sizeof seals);
  }
  hash_hex(&seals[0], digest);
  return DD_OK;
}

/* ---- Advice ------------------------------------------------------------- */

static bool is_missed(dd_status status, const struct dd_plan *plan)
{
  if (status) return status == DD_UNTUNED;
  if (plan->ctx->matcher.same_bits) return false; /* measured or not */
  return plan->how != DD_MATCH_EXACT && plan->how != DD_MATCH_INTERVAL &&
         plan->how != DD_MATCH_PINNED;
}

void print_sweep(const struct device_info *device, const char *spelling,
                 struct bytes *out)
{
  bytes_text(out, "difftune sweep ");
  if (!strcmp(device->kind, "cpu")) bytes_text(out, "--cpu");
  else bytes_printf(out, "--gpu '%s'", device->name);
  bytes_printf(out, " --shapes '%s'", spelling);
}

void advise(struct dd_context *ctx, const char *spelling, dd_status status,
            const struct dd_plan *plan)
{
  struct bytes text = BYTES_INIT;

  if (!ctx->warn || !is_missed(status, plan)) return;
  bytes_printf(&text, "'%s' was not measured on this device: %s; `",
               spelling, plan ? plan->text : "refused");
  print_sweep(&ctx->device->info, spelling, &text);
  bytes_text(&text, "` measures it, and `difftune emit` makes the table");
  if (!text.failed) ctx->warn(ctx->user, bytes_string(&text));
  bytes_release(&text);
}
