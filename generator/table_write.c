/*
 * table_write.c - write .ddt files.
 *
 * For `difftune emit` and for the build, which makes the library's floor.  Not
 * in the library: a host that only reads needs no compressor.
 */
#include "table_write.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

enum {
  /* A process uses some dozens of 10,000 plans: pages are small enough to be
   * read for one of them, and few enough for their list to be hashed by
   * everybody who opens the table. */
  VARIANTS_A_PAGE = 16,
  PLANS_A_PAGE = 32,
  PACK_BYTES = 96 << 10, /* one cubin is 4 to 40 kB; alike ones compress well */
  LEVEL = 19,
};

/* Orders to write in, and where each variant given comes to stand. */
struct order {
  uint32_t *variants, variant_count; /* without those that came twice */
  uint32_t *plans;
  uint32_t *place;
};

/* What follows the head, while it is being made. */
struct making {
  const struct table_writer *w;
  struct arena arena;
  struct op_set ops;
  struct order order;
  const char **fixed; /* the static fields of each plan given */
  struct table_code **codes; /* of each variant in order, sorted by target */
  struct bytes root, pack_list, sections, scratch;
  uint32_t pack_count;
};

/* ---- Orders ------------------------------------------------------------- */

static dd_status no_memory(void)
{
  return fail(DD_NO_MEMORY, "out of memory");
}

static int by_variant(const void *a, const void *b, void *making)
{
  const struct table_writer *w = ((struct making *)making)->w;

  return table_variant_order(&w->variants[*(const uint32_t *)a].variant,
                       &w->variants[*(const uint32_t *)b].variant);
}

static int by_plan(const void *a, const void *b, void *making)
{
  const struct making *m = making;
  uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
  int order = strcmp(m->fixed[i], m->fixed[j]);

  return order ? order
               : strcmp(m->w->plans[i].spelling, m->w->plans[j].spelling);
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

static dd_status fix_plan(struct making *m, uint32_t i)
{
  const char *spelling = m->w->plans[i].spelling;
  struct problem p;
  dd_status status = problem_parse(&m->ops, spelling, &p);

  if (status) return fail_in(DD_BAD_TABLE, "'%.200s'", spelling);
  bytes_clear(&m->scratch);
  problem_print_static(&p, &m->scratch);
  TRY(bytes_status(&m->scratch));
  m->fixed[i] = arena_text(&m->arena, m->scratch.data, m->scratch.size);
  return m->fixed[i] ? DD_OK : no_memory();
}

static dd_status order_plans(struct making *m)
{
  uint32_t n = m->w->plan_count;

  m->fixed = ARENA_ARRAY(&m->arena, const char *, n);
  m->order.plans = numbers(&m->arena, n);
  if (!m->fixed || !m->order.plans) return no_memory();
  for (uint32_t i = 0; i < n; ++i) TRY(fix_plan(m, i));
  qsort_r(m->order.plans, n, sizeof(uint32_t), by_plan, m);
  return DD_OK;
}

static dd_status order_variants(struct making *m)
{
  struct order *o = &m->order;
  uint32_t count = m->w->variant_count;

  o->variants = numbers(&m->arena, count);
  o->place = numbers(&m->arena, count);
  if (!o->variants || !o->place) return no_memory();
  qsort_r(o->variants, count, sizeof(uint32_t), by_variant, m);
  for (uint32_t i = 0; i < count; ++i) {
    uint32_t at = o->variants[i], n = o->variant_count;
    if (!n || by_variant(&o->variants[n - 1], &at, m))
      o->variants[o->variant_count++] = at;
    o->place[at] = o->variant_count - 1;
  }
  return DD_OK;
}

/* ---- Sections ----------------------------------------------------------- */

/* Appends the section to the file, and what is said of it to `out`. */
static dd_status put_section(struct making *m, const struct bytes *raw,
                             struct bytes *out)
{
  size_t start = m->sections.size, stored = raw->size;
  size_t bound = ZSTD_compressBound(raw->size), packed;
  struct hash seal;
  void *room;

  TRY(bytes_status(raw));
  room = bytes_room(&m->sections, bound);
  if (!room) return no_memory();
  packed = ZSTD_compress(room, bound, raw->data, raw->size, LEVEL);
  if (!ZSTD_isError(packed) && packed < raw->size) stored = packed;
  m->sections.size = start; /* what was written stays in the buffer */
  if (stored < raw->size) m->sections.size += stored;
  else bytes_add(&m->sections, raw->data, raw->size);
  TRY(bytes_status(&m->sections));
  seal = hash_of(m->sections.data + start, stored);
  wire_put_u32(out, (uint32_t)stored);
  wire_put_u32(out, (uint32_t)raw->size);
  wire_put_hash(out, &seal);
  return bytes_status(out);
}

/* ---- Packs -------------------------------------------------------------- */

static const struct variant *ordered(const struct making *m, uint32_t i)
{
  return &m->w->variants[m->order.variants[i]].variant;
}

static dd_status sort_codes(struct making *m)
{
  m->codes = ARENA_ARRAY(&m->arena, struct table_code *,
                         m->order.variant_count);
  if (!m->codes) return no_memory();
  for (uint32_t i = 0; i < m->order.variant_count; ++i) {
    const struct table_variant *v = &m->w->variants[m->order.variants[i]];
    m->codes[i] = ARENA_ARRAY(&m->arena, struct table_code, v->code_count);
    if (!m->codes[i]) return no_memory();
    if (v->code_count)
      memcpy(m->codes[i], v->codes, v->code_count * sizeof **m->codes);
    qsort(m->codes[i], v->code_count, sizeof **m->codes, by_target);
  }
  return DD_OK;
}

static uint32_t code_count(const struct making *m, uint32_t i)
{
  return m->w->variants[m->order.variants[i]].code_count;
}

static dd_status end_pack(struct making *m, struct bytes *pack)
{
  if (!pack->size) return DD_OK;
  TRY(put_section(m, pack, &m->pack_list));
  m->pack_count++;
  bytes_clear(pack);
  return DD_OK;
}

/* The codes for a target of the variants from first to end, one op's. */
static dd_status pack_target(struct making *m, uint32_t first, uint32_t end,
                             const char *target, struct bytes *pack)
{
  for (uint32_t i = first; i < end; ++i)
    for (uint32_t j = 0; j < code_count(m, i); ++j) {
      struct table_code *c = &m->codes[i][j];
      if (strcmp(c->target, target)) continue;
      if (pack->size + c->size > PACK_BYTES) TRY(end_pack(m, pack));
      c->pack = m->pack_count;
      c->offset = (uint32_t)pack->size;
      bytes_add(pack, c->bytes, c->size);
    }
  return end_pack(m, pack);
}

/* Whether a variant before this one, of the same op, has the target. */
static bool seen(const struct making *m, uint32_t first, uint32_t i,
                 const char *target)
{
  for (uint32_t k = first; k < i; ++k)
    for (uint32_t j = 0; j < code_count(m, k); ++j)
      if (!strcmp(m->codes[k][j].target, target)) return true;
  return false;
}

static dd_status pack_op(struct making *m, uint32_t first, uint32_t end,
                         struct bytes *pack)
{
  for (uint32_t i = first; i < end; ++i)
    for (uint32_t j = 0; j < code_count(m, i); ++j) {
      const char *target = m->codes[i][j].target;
      if (!seen(m, first, i, target))
        TRY(pack_target(m, first, end, target, pack));
    }
  return DD_OK;
}

/* Right behind the specs in the file; in the root they are listed so too. */
static dd_status put_packs(struct making *m)
{
  uint32_t n = m->order.variant_count, end;
  struct bytes pack = BYTES_INIT;
  dd_status status = sort_codes(m);

  for (uint32_t i = 0; i < n && !status; i = end) {
    for (end = i + 1; end < n; ++end)
      if (strcmp(ordered(m, end)->op->name, ordered(m, i)->op->name)) break;
    status = pack_op(m, i, end, &pack);
  }
  bytes_release(&pack);
  wire_put_u32(&m->root, m->pack_count);
  bytes_add(&m->root, m->pack_list.data, m->pack_list.size);
  return status;
}

/* ---- Pages -------------------------------------------------------------- */

static void put_variant(const struct making *m, uint32_t i, struct bytes *out)
{
  const struct variant *v = ordered(m, i);

  wire_put_text(out, v->op->name);
  wire_put_text(out, v->scheme->name);
  wire_put_u32(out, v->scheme->tunable_count);
  for (uint32_t j = 0; j < v->scheme->tunable_count; ++j)
    wire_put_i64(out, v->tunable[j]);
  wire_put_u32(out, v->scheme->fact_count);
  for (uint32_t j = 0; j < v->scheme->fact_count; ++j)
    wire_put_i64(out, v->fact[j]);
  wire_put_hash(out, &v->hash);
  wire_put_u32(out, code_count(m, i));
  for (uint32_t j = 0; j < code_count(m, i); ++j) {
    wire_put_text(out, m->codes[i][j].target);
    wire_put_u32(out, m->codes[i][j].pack);
    wire_put_u32(out, m->codes[i][j].offset);
    wire_put_u32(out, (uint32_t)m->codes[i][j].size);
  }
}

static dd_status put_steps(const struct making *m, const char *spelling,
                           const uint32_t *steps, uint32_t count,
                           struct bytes *out)
{
  wire_put_u32(out, count);
  for (uint32_t j = 0; j < count && j < OP_MAX_STEPS; ++j) {
    if (steps[j] >= m->w->variant_count)
      return fail(DD_BUG, "'%s' names variant %u of %u", spelling, steps[j],
                  m->w->variant_count);
    wire_put_u32(out, m->order.place[steps[j]]);
  }
  return DD_OK;
}

static int by_interval(const void *a, const void *b)
{
  return table_interval_order(a, b);
}

static dd_status put_intervals(struct making *m, const struct table_plan *p,
                               struct bytes *out)
{
  uint32_t n = p->interval_count;
  struct table_interval *v = ARENA_ARRAY(&m->arena, struct table_interval, n);

  if (!v) return no_memory();
  if (n) memcpy(v, p->intervals, n * sizeof *v);
  qsort(v, n, sizeof *v, by_interval);
  wire_put_u32(out, n);
  for (uint32_t i = 0; i < n; ++i) {
    wire_put_u32(out, v[i].field);
    wire_put_i64(out, v[i].first);
    wire_put_i64(out, v[i].last);
    wire_put_u32(out, v[i].sizes);
    TRY(put_steps(m, p->spelling, v[i].steps, v[i].step_count, out));
    wire_put_f64(out, v[i].loss);
    wire_put_f64(out, v[i].gain);
    wire_put_i64(out, (int64_t)v[i].bits);
  }
  return DD_OK;
}

static dd_status put_plan(struct making *m, uint32_t i, struct bytes *out)
{
  const struct table_plan *p = &m->w->plans[m->order.plans[i]];

  wire_put_text(out, p->spelling);
  TRY(put_steps(m, p->spelling, p->steps, p->step_count, out));
  wire_put_f64(out, p->us);
  wire_put_f64(out, p->split_us);
  wire_put_f64(out, p->copy_us);
  wire_put_f64(out, p->gain);
  wire_put_f64(out, p->loss);
  wire_put_f64(out, p->away);
  wire_put_i64(out, (int64_t)p->bits);
  wire_put_text(out, p->rival ? p->rival : "");
  wire_put_f64(out, p->rival_us);
  wire_put_f64(out, p->rival_low_us);
  wire_put_f64(out, p->rival_high_us);
  return put_intervals(m, p, out);
}

static uint32_t pages(uint32_t count, uint32_t a_page)
{
  return (count + a_page - 1) / a_page;
}

static uint32_t least(uint32_t a, uint32_t b)
{
  return a < b ? a : b;
}

static dd_status put_variant_pages(struct making *m)
{
  uint32_t n = m->order.variant_count;

  wire_put_u32(&m->root, pages(n, VARIANTS_A_PAGE));
  for (uint32_t i = 0; i < n; i += VARIANTS_A_PAGE) {
    uint32_t end = least(i + VARIANTS_A_PAGE, n);
    bytes_clear(&m->scratch);
    for (uint32_t j = i; j < end; ++j) put_variant(m, j, &m->scratch);
    wire_put_u32(&m->root, end - i);
    TRY(put_section(m, &m->scratch, &m->root));
  }
  return DD_OK;
}

static dd_status put_plan_pages(struct making *m)
{
  uint32_t n = m->w->plan_count;

  wire_put_u32(&m->root, pages(n, PLANS_A_PAGE));
  for (uint32_t i = 0; i < n; i += PLANS_A_PAGE) {
    uint32_t end = least(i + PLANS_A_PAGE, n), first = m->order.plans[i];
    bytes_clear(&m->scratch);
    for (uint32_t j = i; j < end; ++j) TRY(put_plan(m, j, &m->scratch));
    wire_put_u32(&m->root, end - i);
    wire_put_text(&m->root, m->fixed[first]);
    wire_put_text(&m->root, m->w->plans[first].spelling);
    TRY(put_section(m, &m->scratch, &m->root));
  }
  return DD_OK;
}

static dd_status put_sources(struct making *m)
{
  bytes_clear(&m->scratch);
  wire_put_u32(&m->scratch, m->w->source_count);
  for (uint32_t i = 0; i < m->w->source_count; ++i) {
    const struct table_source *s = &m->w->sources[i];
    wire_put_text(&m->scratch, s->op);
    wire_put_text(&m->scratch, s->scheme);
    wire_put_bytes(&m->scratch, s->text, s->size);
  }
  return put_section(m, &m->scratch, &m->root);
}

/* ---- The whole ---------------------------------------------------------- */

static void put_device(const struct table_writer *w, struct bytes *out)
{
  wire_put_text(out, w->device_name);
  wire_put_text(out, w->device_kind);
  wire_put_i64(out, w->arch);
  wire_put_i64(out, w->sms);
  wire_put_text(out, w->policy);
  wire_put_text(out, w->provenance);
}

static dd_status put_root(struct making *m)
{
  const struct bytes *specs = m->w->specs;

  TRY(op_set_read(&m->ops, specs->data, specs->size, NULL));
  TRY(order_variants(m));
  TRY(order_plans(m));
  put_device(m->w, &m->root);
  wire_put_hash(&m->root, &m->ops.hash);
  TRY(put_section(m, specs, &m->root));
  TRY(put_packs(m));
  TRY(put_variant_pages(m));
  TRY(put_plan_pages(m));
  return put_sources(m);
}

static dd_status put_file(struct making *m, struct bytes *out)
{
  struct hash seal = hash_of(m->root.data, m->root.size);

  bytes_clear(out);
  bytes_add(out, TABLE_MAGIC, 8);
  wire_put_u32(out, TABLE_VERSION);
  wire_put_u32(out, 0);
  wire_put_i64(out, (int64_t)m->root.size);
  wire_put_hash(out, &seal);
  bytes_add(out, m->root.data, m->root.size);
  bytes_add(out, m->sections.data, m->sections.size);
  return bytes_status(out);
}

/* What the reader would refuse must not get into a file. */
static dd_status read_back(const struct bytes *out)
{
  struct table t;
  dd_status status = table_open_memory(&t, out->data, out->size, NULL, NULL);

  if (!status) status = table_read_all(&t);
  if (status) status = fail_in(status, "the table just written");
  table_close(&t);
  return status;
}

dd_status table_write(const struct table_writer *writer, struct bytes *out)
{
  struct making m = {.w = writer};
  dd_status status;

  arena_init(&m.arena, NULL);
  arena_init(&m.ops.arena, NULL);
  status = put_root(&m);
  if (!status) status = bytes_status(&m.root);
  if (!status) status = put_file(&m, out);
  bytes_release(&m.root);
  bytes_release(&m.pack_list);
  bytes_release(&m.sections);
  bytes_release(&m.scratch);
  op_set_release(&m.ops);
  arena_release(&m.arena);
  return status ? status : read_back(out);
}
