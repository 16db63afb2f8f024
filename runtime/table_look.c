/* table_look.c - what is asked of a table that is open. */
#include "table_inner.h"

#include <string.h>

/* By name: the problem may be of another table's ops. */
static bool facts_hold(const struct variant *v, const struct problem *p)
{
  for (uint32_t i = 0; i < v->scheme->fact_count; ++i) {
    const char *name = v->op->symbols[v->scheme->facts[i]].name;
    int symbol = op_symbol_find(p->op, name);
    if (symbol < 0 || p->value[symbol] != v->fact[i]) return false;
  }
  return true;
}

static dd_status read_variants(struct table *t)
{
  for (uint32_t i = 0; i < t->variant_page_count; ++i)
    TRY(table_use_variants(t, &t->variant_pages[i]));
  return DD_OK;
}

dd_status table_default(struct table *t, const struct problem *p,
                        const struct table_variant **out)
{
  *out = NULL;
  TRY(read_variants(t));
  for (uint32_t i = 0; i < t->variant_count && !*out; ++i) {
    const struct variant *v = &t->variants[i].variant;
    if (v->scheme->fits_all && !strcmp(v->op->name, p->op->name) &&
        facts_hold(v, p))
      *out = &t->variants[i];
  }
  return DD_OK;
}

/* The last page that begins at or before this plan; 0 where none does. */
static uint32_t plan_page(const struct table *t, const char *fixed,
                          const char *spelling)
{
  uint32_t low = 0, high = t->plan_page_count;

  while (high - low > 1) {
    uint32_t middle = low + (high - low) / 2;
    const struct table_page *p = &t->plan_pages[middle];
    if (table_plan_order(p->fixed, p->spelling, fixed, spelling) <= 0)
      low = middle;
    else
      high = middle;
  }
  return low;
}

dd_status table_plan_find(struct table *t, const char *fixed,
                          const char *spelling, const struct table_plan **out)
{
  struct table_page *page;

  *out = NULL;
  if (!t->plan_count) return DD_OK;
  page = &t->plan_pages[plan_page(t, fixed, spelling)];
  TRY(table_use_plans(t, page));
  for (uint32_t i = page->first; i < page->first + page->count; ++i)
    if (!strcmp(t->plans[i].spelling, spelling)) *out = &t->plans[i];
  return DD_OK;
}

/* Whether the static fields of a plan read like this. */
static dd_status is_like(const struct table_plan *p, const char *fixed,
                         struct bytes *text, bool *out)
{
  bytes_clear(text);
  problem_print_static(&p->problem, text);
  *out = !strcmp(bytes_string(text), fixed);
  return bytes_status(text);
}

/* The plans are together, but they may begin and end within pages. */
static dd_status trim(const struct table *t, const char *fixed,
                      uint32_t *first, uint32_t *end)
{
  struct bytes text = BYTES_INIT;
  dd_status status = DD_OK;
  bool like = false;

  while (!status && *first < *end && !like) {
    status = is_like(&t->plans[*first], fixed, &text, &like);
    *first += !status && !like;
  }
  like = false;
  while (!status && *first < *end && !like) {
    status = is_like(&t->plans[*end - 1], fixed, &text, &like);
    *end -= !status && !like;
  }
  bytes_release(&text);
  return status;
}

dd_status table_plans_like(struct table *t, const char *fixed, uint32_t *first,
                           uint32_t *count)
{
  uint32_t page, end;

  *first = *count = 0;
  if (!t->plan_count) return DD_OK;
  page = plan_page(t, fixed, "");
  *first = end = t->plan_pages[page].first;
  for (; page < t->plan_page_count; ++page) {
    struct table_page *p = &t->plan_pages[page];
    if (strcmp(p->fixed, fixed) > 0) break;
    TRY(table_use_plans(t, p));
    end = p->first + p->count;
  }
  TRY(trim(t, fixed, first, &end));
  *count = end - *first;
  return DD_OK;
}

static dd_status check_packs(struct table *t)
{
  struct bytes pack = BYTES_INIT;
  dd_status status = DD_OK;

  for (uint32_t i = 0; i < t->pack_count && !status; ++i)
    status = table_section_read(t, &t->packs[i], &pack);
  bytes_release(&pack);
  return status;
}

/* The next of them: whether it is this scheme's. */
static bool read_source(struct wire_reader *r, const char *op,
                        const char *scheme, const char **text, size_t *size)
{
  size_t op_size, scheme_size;
  const char *o = wire_bytes(r, &op_size, "the op of a source");
  const char *s = wire_bytes(r, &scheme_size, "the scheme of a source");

  *text = wire_bytes(r, size, "a source");
  return *text && op_size == strlen(op) && !memcmp(o, op, op_size) &&
         scheme_size == strlen(scheme) && !memcmp(s, scheme, scheme_size);
}

/* All are looked at: a damaged list has nothing that is believed. */
static dd_status find_source(const struct bytes *list, const char *op,
                             const char *scheme, const char **found,
                             size_t *found_size)
{
  struct wire_reader r;
  uint32_t count;

  *found = NULL;
  wire_reader_init(&r, list->data, list->size);
  count = table_count_of(&r, TABLE_SOURCE_BYTES, "the list of sources");
  for (uint32_t i = 0; i < count; ++i) {
    const char *text;
    size_t size;
    if (!read_source(&r, op, scheme, &text, &size)) continue;
    *found = text;
    *found_size = size;
  }
  return wire_status(&r, true, DD_BAD_TABLE);
}

static dd_status check_sources(struct table *t)
{
  struct bytes list = BYTES_INIT;
  const char *text;
  size_t size;
  dd_status status = table_section_read(t, &t->sources, &list);

  if (!status) status = find_source(&list, "", "", &text, &size);
  bytes_release(&list);
  return status;
}

dd_status table_source_read(struct table *t, const char *op, const char *scheme,
                            struct bytes *out)
{
  struct bytes list = BYTES_INIT;
  const char *text = NULL;
  size_t size = 0;
  dd_status status = table_section_read(t, &t->sources, &list);

  if (!status) status = find_source(&list, op, scheme, &text, &size);
  if (!status && !text)
    status = fail(DD_UNSUPPORTED, "no source of '%s.%s' is here", op, scheme);
  if (!status) bytes_add(out, text, size);
  if (!status) status = bytes_status(out);
  bytes_release(&list);
  return status;
}

dd_status table_read_plans(struct table *t)
{
  TRY(read_variants(t));
  for (uint32_t i = 0; i < t->plan_page_count; ++i)
    TRY(table_use_plans(t, &t->plan_pages[i]));
  return DD_OK;
}

dd_status table_read_all(struct table *t)
{
  TRY(table_read_plans(t));
  TRY(check_packs(t));
  return check_sources(t);
}

const struct table_code *table_code_find(const struct table_variant *v,
                                         const char *target)
{
  for (uint32_t i = 0; i < v->code_count; ++i)
    if (!strcmp(v->codes[i].target, target)) return &v->codes[i];
  return NULL;
}

dd_status table_code_read(struct table *t, const struct table_code *code,
                          struct bytes *out)
{
  struct bytes pack = BYTES_INIT;
  dd_status status = table_section_read(t, &t->packs[code->pack], &pack);

  if (!status) bytes_add(out, pack.data + code->offset, code->size);
  if (!status) status = bytes_status(out);
  bytes_release(&pack);
  return status;
}
