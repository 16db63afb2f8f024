/* special.c - see special.h. */
#include "special.h"

#include <stdio.h>
#include <string.h>

#include "cache.h"
#include "compiler.h"
#include "space.h"
#include "variant_text.h"

/* ---- Which --------------------------------------------------------------- */

static bool first_point(const struct scheme *scheme, const struct problem *p,
                        const struct device_info *d, struct variant *out)
{
  struct space space;
  struct geometry g;

  space_init(&space, scheme, p, d->arch, d->sms);
  return space_next(&space, out) &&
         !variant_geometry(out, p, d->arch, d->sms, 1, &g);
}

static void take(const struct device_info *d, struct match *m,
                 struct special *s)
{
  if (strcmp(d->kind, "cpu"))
    snprintf(s->target, sizeof s->target, "sm_%d", d->arch);
  else
    strcpy(s->target, "cpu");
  s->code.target = s->target;
  s->variant.code_count = 1;
  s->variant.codes = &s->code;
  m->step[0].variant = &s->variant;
  m->compiled = true;
}

bool special_find(const struct dd_context *ctx, struct match *m,
                  struct special *s)
{
  const struct device_info *d = &ctx->device->info;
  const struct op *op = m->problem.op;

  memset(s, 0, sizeof *s);
  if (!ctx->compiles || m->how != DD_MATCH_DEFAULT || m->table != &ctx->floor)
    return false;
  for (uint32_t i = 1; i < op->scheme_count; ++i)
    if (first_point(&op->schemes[i], &m->problem, d, &s->variant.variant)) {
      take(d, m, s);
      return true;
    }
  return false;
}

/* ---- Its text ------------------------------------------------------------ */

dd_status special_text(struct dd_context *ctx, struct special *s)
{
  struct variant *v = &s->variant.variant;
  struct hasher hasher;

  TRY(table_source_read(&ctx->floor, v->op->name, v->scheme->name, &s->text));
  hasher_begin(&hasher);
  hasher_add(&hasher, s->text.data, s->text.size);
  TRY(variant_text_hash(v, &hasher));
  TRY(variant_text(v, &s->text));
  s->code.bytes = bytes_string(&s->text);
  s->code.size = s->text.size;
  return DD_OK;
}

void special_end(struct special *s)
{
  bytes_release(&s->text);
}

/* ---- Its code ------------------------------------------------------------ */

bool special_compiler(const struct special *s)
{
  struct bytes identity = BYTES_INIT;
  bool there = !compiler_identity(s->target, &identity);

  bytes_release(&identity);
  return there;
}

static dd_status compile(const struct table_code *unit, struct bytes *code)
{
  struct bytes log = BYTES_INIT;
  dd_status status = compile_unit(unit->target, unit->bytes, code, &log);

  bytes_release(&log);
  return status;
}

dd_status special_compile(const struct table_code *unit, struct bytes *code)
{
  struct bytes identity = BYTES_INIT;
  struct cache cache;
  struct hash key;
  dd_status status = compiler_identity(unit->target, &identity);

  if (!status) {
    cache_open(&cache); /* with the usual limit, where it is no number */
    key = cache_key(bytes_string(&identity), unit->target, unit->bytes);
    if (!cache_find(&cache, &key, code)) {
      status = compile(unit, code);
      if (!status) cache_store(&cache, &key, code);
    }
  }
  bytes_release(&identity);
  return status;
}
