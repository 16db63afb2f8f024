/*
 * table_write.c - write .ddt files.
 *
 * For `difftune emit` and for the build, which makes the library's floor.
 */
#include "table.h"

#include <stdlib.h>
#include <string.h>

/* Orders to write in, and where each variant given comes to stand. */
struct order {
  uint32_t *variants, variant_count; /* without those that came twice */
  uint32_t *plans;
  uint32_t *place;
};

static int by_variant(const void *a, const void *b, void *writer)
{
  const struct table_writer *w = writer;

  return table_variant_order(&w->variants[*(const uint32_t *)a].variant,
                       &w->variants[*(const uint32_t *)b].variant);
}

static int by_spelling(const void *a, const void *b, void *writer)
{
  const struct table_writer *w = writer;

  return strcmp(w->plans[*(const uint32_t *)a].spelling,
                w->plans[*(const uint32_t *)b].spelling);
}

static int by_target(const void *a, const void *b)
{
  return strcmp(((const struct table_code *)a)->target,
                ((const struct table_code *)b)->target);
}

static uint32_t *numbers(struct arena *a, uint32_t n)
{
  uint32_t *list = ARENA_ARRAY(a, uint32_t, n);

  for (uint32_t i = 0; list && i < n; ++i) list[i] = i;
  return list;
}

static dd_status order_init(struct order *o, struct table_writer *w,
                            struct arena *a)
{
  o->variants = numbers(a, w->variant_count);
  o->plans = numbers(a, w->plan_count);
  o->place = numbers(a, w->variant_count);
  o->variant_count = 0;
  if (!o->variants || !o->plans || !o->place)
    return fail(DD_NO_MEMORY, "out of memory");
  qsort_r(o->variants, w->variant_count, sizeof(uint32_t), by_variant, w);
  qsort_r(o->plans, w->plan_count, sizeof(uint32_t), by_spelling, w);
  for (uint32_t i = 0; i < w->variant_count; ++i) {
    uint32_t at = o->variants[i], n = o->variant_count;
    if (!n || by_variant(&o->variants[n - 1], &at, w))
      o->variants[o->variant_count++] = at;
    o->place[at] = o->variant_count - 1;
  }
  return DD_OK;
}

static dd_status put_codes(const struct table_variant *v, struct arena *a,
                           struct bytes *out)
{
  struct table_code *codes = ARENA_ARRAY(a, struct table_code, v->code_count);

  if (!codes) return fail(DD_NO_MEMORY, "out of memory");
  if (v->code_count)
    memcpy(codes, v->codes, v->code_count * sizeof *codes);
  qsort(codes, v->code_count, sizeof *codes, by_target);
  wire_put_u32(out, v->code_count);
  for (uint32_t i = 0; i < v->code_count; ++i) {
    wire_put_text(out, codes[i].target);
    wire_put_bytes(out, codes[i].bytes, codes[i].size);
  }
  return DD_OK;
}

static dd_status put_variant(const struct table_variant *tv, struct arena *a,
                             struct bytes *out)
{
  const struct variant *v = &tv->variant;

  wire_put_text(out, v->op->name);
  wire_put_text(out, v->scheme->name);
  wire_put_u32(out, v->scheme->tunable_count);
  for (uint32_t i = 0; i < v->scheme->tunable_count; ++i)
    wire_put_i64(out, v->tunable[i]);
  wire_put_u32(out, v->scheme->fact_count);
  for (uint32_t i = 0; i < v->scheme->fact_count; ++i)
    wire_put_i64(out, v->fact[i]);
  wire_put_hash(out, &v->hash);
  return put_codes(tv, a, out);
}

static dd_status put_plan(const struct table_writer *w, const struct order *o,
                          const struct table_plan *p, struct bytes *out)
{
  wire_put_text(out, p->spelling);
  wire_put_u32(out, p->step_count);
  for (uint32_t i = 0; i < p->step_count && i < OP_MAX_STEPS; ++i) {
    if (p->steps[i] >= w->variant_count)
      return fail(DD_BUG, "'%s' names variant %u of %u", p->spelling,
                  p->steps[i], w->variant_count);
    wire_put_u32(out, o->place[p->steps[i]]);
  }
  wire_put_f64(out, p->us);
  wire_put_f64(out, p->split_us);
  wire_put_f64(out, p->copy_us);
  return DD_OK;
}

static dd_status put_body(struct table_writer *w, struct arena *a,
                          struct bytes *out)
{
  struct order o;

  TRY(order_init(&o, w, a));
  wire_put_bytes(out, w->specs->data, w->specs->size);
  wire_put_text(out, w->device_name);
  wire_put_text(out, w->device_kind);
  wire_put_i64(out, w->arch);
  wire_put_i64(out, w->sms);
  wire_put_text(out, w->policy);
  wire_put_text(out, w->provenance);
  wire_put_u32(out, o.variant_count);
  for (uint32_t i = 0; i < o.variant_count; ++i)
    TRY(put_variant(&w->variants[o.variants[i]], a, out));
  wire_put_u32(out, w->plan_count);
  for (uint32_t i = 0; i < w->plan_count; ++i)
    TRY(put_plan(w, &o, &w->plans[o.plans[i]], out));
  return bytes_status(out);
}

static dd_status put_sealed(const struct bytes *body, struct bytes *out)
{
  struct hash seal = hash_of(body->data, body->size);

  bytes_clear(out);
  bytes_add(out, TABLE_MAGIC, 8);
  wire_put_u32(out, TABLE_VERSION);
  wire_put_u32(out, 0);
  wire_put_i64(out, (int64_t)body->size);
  wire_put_hash(out, &seal);
  bytes_add(out, body->data, body->size);
  return bytes_status(out);
}

/* What the reader would refuse must not get into a file. */
static dd_status read_back(const struct bytes *out)
{
  struct table t;
  dd_status status = table_open_memory(&t, out->data, out->size, NULL);

  if (status) return fail_in(status, "the table just written");
  table_close(&t);
  return DD_OK;
}

dd_status table_write(const struct table_writer *writer, struct bytes *out)
{
  struct table_writer w = *writer;
  struct bytes body = BYTES_INIT;
  struct arena arena;
  dd_status status;

  arena_init(&arena, NULL);
  status = put_body(&w, &arena, &body);
  if (!status) status = put_sealed(&body, out);
  arena_release(&arena);
  bytes_release(&body);
  return status ? status : read_back(out);
}
