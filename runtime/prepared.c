/*
 * prepared.c - plans that a context keeps, by the spelling of their problem.
 *
 * dd_prepare() fills this list before a capture; an entry point looks here on
 * its first call with a shape, and makes what is missing unless its stream is
 * being captured.  A process meets some dozens of problems.
 */
#include "internal.h"

#include <string.h>

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

/* There, or new; NULL: out of memory.  Under the lock. */
static struct prepared *look_up_or_add(struct dd_context *ctx,
                                       const char *spelling)
{
  size_t length = strlen(spelling) + 1, size = sizeof(struct prepared) + length;
  struct prepared *p = look_up(ctx, spelling);

  if (p) return p;
  p = mem_resize(&ctx->allocator, NULL, 0, size);
  if (!p) return NULL;
  memset(p, 0, sizeof *p);
  p->size = size;
  memcpy(p->spelling, spelling, length);
  p->next = ctx->prepared;
  ctx->prepared = p;
  return p;
}

static dd_plan *find(struct dd_context *ctx, const char *spelling)
{
  struct prepared *p;
  dd_plan *plan;

  pthread_mutex_lock(&ctx->lock);
  p = look_up(ctx, spelling);
  plan = p ? p->plan : NULL;
  pthread_mutex_unlock(&ctx->lock);
  return plan;
}

/* Where two threads made the same plan at once, the first stays. */
static dd_status keep(struct dd_context *ctx, const char *spelling,
                      dd_plan **plan)
{
  dd_plan *there = NULL;
  struct prepared *p;

  pthread_mutex_lock(&ctx->lock);
  p = look_up_or_add(ctx, spelling);
  if (p) there = p->plan;
  if (p && !there) {
    (*plan)->launches = &p->launches;
    p->plan = *plan;
  }
  pthread_mutex_unlock(&ctx->lock);
  if (!p) return fail(DD_NO_MEMORY, "out of memory");
  if (there) {
    dd_plan_free(*plan);
    *plan = there;
  } else {
    advise(ctx, spelling, DD_OK, *plan);
  }
  return DD_OK;
}

/* A problem that got no plan is met as well; for want of memory it is not. */
static dd_status note_refusal(struct dd_context *ctx, const char *spelling,
                              dd_status status)
{
  struct prepared *p;
  bool advised = true;

  pthread_mutex_lock(&ctx->lock);
  p = look_up_or_add(ctx, spelling);
  if (p) {
    p->refused++;
    advised = p->advised;
    p->advised |= status == DD_UNTUNED;
  }
  pthread_mutex_unlock(&ctx->lock);
  if (!advised) advise(ctx, spelling, status, NULL);
  return status;
}

static dd_status make(struct dd_context *ctx, const char *spelling,
                      dd_plan **out)
{
  dd_problem problem = DD_PROBLEM_INIT;
  dd_status status;

  problem.spelling = spelling;
  status = plan_make(ctx, &problem, out);
  if (status == DD_UNTUNED || status == DD_UNSUPPORTED)
    return note_refusal(ctx, spelling, status);
  TRY(status);
  status = keep(ctx, spelling, out);
  if (!status) return DD_OK;
  dd_plan_free(*out);
  *out = NULL;
  return status;
}

static dd_status refuse_capture(struct dd_context *ctx, const char *spelling)
{
  dd_status status =
      fail(DD_NOT_PREPARED, "'%.300s' was not prepared, and its stream is "
           "being captured; call dd_prepare() before", spelling);

  return note_refusal(ctx, spelling, status);
}

static dd_status get(struct dd_context *ctx, const char *spelling, bool capture,
                     void *stream, dd_plan **out)
{
  *out = find(ctx, spelling);
  if (*out) return DD_OK;
  if (capture && ctx->device->api->capturing(ctx->device, stream))
    return refuse_capture(ctx, spelling);
  return make(ctx, spelling, out);
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
  TRY(context_check(ctx));
  if (count && !spellings)
    return fail(DD_BAD_ARGUMENT, "%zu spellings, but no list of them", count);
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
