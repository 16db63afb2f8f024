/*
 * pin.c - problems whose variants the host has named.
 *
 * A pin is asked before any rule, and only while a plan is made.  A process has
 * a handful.
 */
#include "internal.h"

#include <string.h>

struct pin {
  struct pin *next;
  size_t size; /* of this block */
  const char *variants;
  char spelling[];
};

void pins_free(struct dd_context *ctx)
{
  while (ctx->pins) {
    struct pin *p = ctx->pins;
    ctx->pins = p->next;
    mem_resize(&ctx->allocator, p, p->size, 0);
  }
}

/* The link that leads to the pin, or the last one.  Under the lock. */
static struct pin **find(struct dd_context *ctx, const char *spelling)
{
  struct pin **at = &ctx->pins;

  while (*at && strcmp((*at)->spelling, spelling)) at = &(*at)->next;
  return at;
}

static struct pin *new_pin(struct dd_context *ctx, const char *spelling,
                           const char *variants)
{
  size_t first = strlen(spelling) + 1, second = strlen(variants) + 1;
  struct pin *p = mem_resize(&ctx->allocator, NULL, 0,
                             sizeof *p + first + second);

  if (!p) return NULL;
  p->next = NULL;
  p->size = sizeof *p + first + second;
  memcpy(p->spelling, spelling, first);
  p->variants = memcpy(p->spelling + first, variants, second);
  return p;
}

/* `p` NULL: no pin any more. */
static void put(struct dd_context *ctx, const char *spelling, struct pin *p)
{
  struct pin **at, *old;

  pthread_mutex_lock(&ctx->lock);
  at = find(ctx, spelling);
  old = *at;
  if (old) *at = old->next;
  if (p) {
    p->next = ctx->pins;
    ctx->pins = p;
  }
  pthread_mutex_unlock(&ctx->lock);
  if (old) mem_resize(&ctx->allocator, old, old->size, 0);
}

static dd_status pin(struct dd_context *ctx, const char *spelling,
                     const char *variants)
{
  struct match m;
  struct pin *p;
  bool found = false;

  TRY(match_named(&ctx->matcher, spelling, variants, &m, &found));
  if (!found)
    return fail(DD_BAD_ARGUMENT, "no table has '%.200s' for '%.200s'; "
                "dd_explain() says what there is", variants, spelling);
  p = new_pin(ctx, spelling, variants);
  if (!p) return fail(DD_NO_MEMORY, "out of memory");
  put(ctx, spelling, p);
  return DD_OK;
}

dd_status dd_pin(dd_context *ctx, const char *spelling, const char *variants)
{
  struct bytes text = BYTES_INIT;
  dd_status status;

  TRY(context_check(ctx));
  if (!spelling) return fail(DD_BAD_ARGUMENT, "no spelling was given");
  status = context_spell(ctx, spelling, &text);
  if (!status && variants) status = pin(ctx, bytes_string(&text), variants);
  else if (!status) put(ctx, bytes_string(&text), NULL);
  bytes_release(&text);
  return status;
}

/* A copy of what the problem is pinned to; empty: it is not. */
static dd_status pinned(struct dd_context *ctx, const char *spelling,
                        struct bytes *variants)
{
  struct bytes text = BYTES_INIT;
  dd_status status = context_spell(ctx, spelling, &text);

  pthread_mutex_lock(&ctx->lock);
  if (!status) {
    const struct pin *p = *find(ctx, bytes_string(&text));
    if (p) bytes_text(variants, p->variants);
  }
  pthread_mutex_unlock(&ctx->lock);
  bytes_release(&text);
  return status ? status : bytes_status(variants);
}

static bool any_pins(struct dd_context *ctx)
{
  bool any;

  pthread_mutex_lock(&ctx->lock);
  any = ctx->pins != NULL;
  pthread_mutex_unlock(&ctx->lock);
  return any;
}

dd_status choose(struct dd_context *ctx, const struct matcher *m,
                 const char *spelling, struct match *out)
{
  struct bytes variants = BYTES_INIT;
  bool found = false;
  dd_status status = DD_OK;

  if (any_pins(ctx)) status = pinned(ctx, spelling, &variants);
  if (!status && variants.size)
    status = match_named(m, spelling, bytes_string(&variants), out, &found);
  bytes_release(&variants);
  return status || found ? status : match_find(m, spelling, out);
}
