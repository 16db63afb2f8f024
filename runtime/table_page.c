/*
 * table_page.c - pages of variants and of plans to structs.
 *
 * A table has some hundred variants (4 to 40 kB of code each) and up to 10,000
 * plans, of which a process uses a few: a page is read by the first who needs
 * something of it, under the table's lock.
 */
#include "table_inner.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- Variants ---------------------------------------------------------- */

static bool target_known(const char *target)
{
  size_t digits = strspn(target + (strncmp(target, "sm_", 3) ? 0 : 3),
                         "0123456789");

  if (!strcmp(target, "cpu")) return true;
  return !strncmp(target, "sm_", 3) && digits >= 2 && digits <= 4 &&
         target[3 + digits] == 0;
}

static dd_status read_code(struct wire_reader *r, struct table *t,
                           struct table_code *c)
{
  TRY(table_read_text(r, &t->arena, "a target", &c->target));
  if (!target_known(c->target))
    return fail(DD_BAD_TABLE, "no target is named '%.40s'", c->target);
  c->pack = wire_u32(r, "a pack");
  c->offset = wire_u32(r, "the place of code");
  c->size = wire_u32(r, "the size of code");
  TRY(wire_status(r, false, DD_BAD_TABLE));
  if (!c->size)
    return fail(DD_BAD_TABLE, "the code for %s is empty", c->target);
  if (c->pack < t->pack_count && c->offset <= t->packs[c->pack].size &&
      c->size <= t->packs[c->pack].size - c->offset)
    return DD_OK;
  return fail(DD_BAD_TABLE, "the code for %s is not in a pack", c->target);
}

static dd_status read_codes(struct wire_reader *r, struct table *t,
                            struct table_variant *v)
{
  v->code_count = table_count_of(r, TABLE_CODE_BYTES, "a list of codes");
  v->codes = ARENA_ARRAY(&t->arena, struct table_code, v->code_count);
  if (!v->codes) return no_memory();
  for (uint32_t i = 0; i < v->code_count; ++i) {
    TRY(read_code(r, t, &v->codes[i]));
    if (i && strcmp(v->codes[i - 1].target, v->codes[i].target) >= 0)
      return fail(DD_BAD_TABLE, "the code for %s is out of order",
                  v->codes[i].target);
  }
  return wire_status(r, false, DD_BAD_TABLE);
}

static bool tunable_has(const struct tunable *t, int64_t value)
{
  for (uint32_t i = 0; i < t->value_count; ++i)
    if (t->values[i] == value) return true;
  return false;
}

static dd_status read_tunables(struct wire_reader *r, struct variant *v)
{
  const struct scheme *s = v->scheme;
  uint32_t n = wire_count(r, OP_MAX_TUNABLES, "a list of tunables");

  if (!r->failed && n != s->tunable_count)
    return fail(DD_BAD_TABLE, "%s.%s has %u tunables, not %u", v->op->name,
                s->name, s->tunable_count, n);
  for (uint32_t i = 0; i < n; ++i) {
    v->tunable[i] = wire_i64(r, "a tunable");
    if (!r->failed && !tunable_has(&s->tunables[i], v->tunable[i]))
      return fail(DD_BAD_TABLE, "%s.%s never has %s=%" PRId64, v->op->name,
                  s->name, s->tunables[i].name, v->tunable[i]);
  }
  return wire_status(r, false, DD_BAD_TABLE);
}

static bool fact_legal(const struct symbol *s, int64_t value)
{
  if (s->kind == SYMBOL_INT) return value >= s->min && value <= s->max;
  if (s->kind != SYMBOL_CHOICE && s->kind != SYMBOL_IO) return true;
  for (uint32_t i = 0; i < s->choice_count; ++i)
    if (s->choices[i].value == value) return true;
  return false;
}

static dd_status read_facts(struct wire_reader *r, struct variant *v)
{
  const struct scheme *s = v->scheme;
  uint32_t n = wire_count(r, OP_MAX_SYMBOLS, "a list of facts");

  if (!r->failed && n != s->fact_count)
    return fail(DD_BAD_TABLE, "%s.%s has %u facts, not %u", v->op->name,
                s->name, s->fact_count, n);
  for (uint32_t i = 0; i < n; ++i) {
    const struct symbol *symbol = &v->op->symbols[s->facts[i]];
    v->fact[i] = wire_i64(r, "a fact");
    if (!r->failed && !fact_legal(symbol, v->fact[i]))
      return fail(DD_BAD_TABLE, "%s.%s cannot be made for %s=%" PRId64,
                  v->op->name, s->name, symbol->name, v->fact[i]);
  }
  return wire_status(r, false, DD_BAD_TABLE);
}

static dd_status read_variant(struct wire_reader *r, struct table *t,
                              struct table_variant *v)
{
  const char *op, *scheme;

  TRY(table_read_text(r, &t->arena, "a variant's op", &op));
  TRY(table_read_text(r, &t->arena, "a variant's scheme", &scheme));
  TRY(op_need(&t->ops, op, &v->variant.op));
  if (!v->variant.op)
    return fail(DD_BAD_TABLE, "its specs have no op '%.60s'", op);
  v->variant.scheme = op_scheme_find(v->variant.op, scheme);
  if (!v->variant.scheme)
    return fail(DD_BAD_TABLE, "'%s' has no scheme '%.60s'", op, scheme);
  TRY(read_tunables(r, &v->variant));
  TRY(read_facts(r, &v->variant));
  v->variant.hash = wire_hash(r, "a variant's hash");
  return read_codes(r, t, v);
}

int table_variant_order(const struct variant *a, const struct variant *b)
{
  int order = strcmp(a->op->name, b->op->name);

  if (!order) order = strcmp(a->scheme->name, b->scheme->name);
  if (!order) order = memcmp(a->hash.byte, b->hash.byte, sizeof a->hash.byte);
  return order;
}

/* The variants of a page.  Within it the order is checked; between pages it
 * matters to nobody who reads. */
static dd_status read_variant_page(struct table *t,
                                   const struct table_page *page,
                                   struct bytes *body)
{
  struct wire_reader r;

  TRY(table_section_read(t, &page->section, body));
  wire_reader_init(&r, body->data, body->size);
  for (uint32_t i = page->first; i < page->first + page->count; ++i) {
    struct table_variant *v = &t->variants[i];
    dd_status status;
    memset(v, 0, sizeof *v);
    status = read_variant(&r, t, v);
    if (status) return fail_in(status, "variant %u", i);
    if (i > page->first &&
        table_variant_order(&v[-1].variant, &v->variant) >= 0)
      return fail(DD_BAD_TABLE, "variant %u is out of order", i);
  }
  return wire_status(&r, true, DD_BAD_TABLE);
}

/* ---- Pages -------------------------------------------------------------- */

typedef dd_status read_page(struct table *t, const struct table_page *page,
                            struct bytes *body);

/* Under the lock. */
static dd_status page_ready(struct table *t, struct table_page *page,
                            read_page *read)
{
  struct bytes body = BYTES_INIT;
  dd_status status;

  if (atomic_load_explicit(&page->ready, memory_order_relaxed)) return DD_OK;
  status = read(t, page, &body);
  bytes_release(&body);
  if (!status)
    atomic_store_explicit(&page->ready, true, memory_order_release);
  return status;
}

static dd_status page_use(struct table *t, struct table_page *page,
                          read_page *read)
{
  dd_status status;

  if (atomic_load_explicit(&page->ready, memory_order_acquire)) return DD_OK;
  pthread_mutex_lock(&t->lock);
  status = page_ready(t, page, read);
  pthread_mutex_unlock(&t->lock);
  return status;
}

/* The page that holds variant i, by halving. */
static struct table_page *variant_page(struct table *t, uint32_t i)
{
  uint32_t low = 0, high = t->variant_page_count;

  while (high - low > 1) {
    uint32_t middle = low + (high - low) / 2;
    if (t->variant_pages[middle].first <= i) low = middle;
    else high = middle;
  }
  return &t->variant_pages[low];
}

/* ---- Plans -------------------------------------------------------------- */

/* What is chosen for a problem, while it is read. */
struct steps {
  uint32_t count, at[OP_MAX_STEPS];
  bool split;
};

/* One variant of the op itself, or one of each step's op. */
static dd_status check_steps(const struct table *t, const struct op *op,
                             struct steps *s)
{
  s->split = s->count != 1 || t->variants[s->at[0]].variant.op != op;
  if (s->split && s->count != op->step_count)
    return fail(DD_BAD_TABLE, "'%s' has %u steps, not %u", op->name,
                op->step_count, s->count);
  for (uint32_t i = 0; s->split && i < s->count; ++i) {
    const char *name = t->variants[s->at[i]].variant.op->name;
    if (strcmp(name, op->steps[i].op))
      return fail(DD_BAD_TABLE, "step %u of '%s' is %s, not %s", i + 1,
                  op->name, op->steps[i].op, name);
  }
  return DD_OK;
}

static dd_status read_steps(struct wire_reader *r, struct table *t,
                            const struct op *op, struct steps *s)
{
  s->count = wire_count(r, OP_MAX_STEPS, "a list of steps");
  for (uint32_t i = 0; i < s->count; ++i) {
    s->at[i] = wire_u32(r, "a step");
    if (!r->failed && s->at[i] >= t->variant_count)
      return fail(DD_BAD_TABLE, "there is no variant %u", s->at[i]);
  }
  TRY(wire_status(r, false, DD_BAD_TABLE));
  if (!s->count) return fail(DD_BAD_TABLE, "no variant at all");
  for (uint32_t i = 0; i < s->count; ++i)
    TRY(page_ready(t, variant_page(t, s->at[i]), read_variant_page));
  return check_steps(t, op, s);
}

static dd_status read_time(struct wire_reader *r, const char *what, double *us)
{
  *us = wire_f64(r, what);
  if (isfinite(*us) && *us >= 0) return DD_OK;
  return fail(DD_BAD_TABLE, "%s is %g us", what, *us);
}

static dd_status read_gain(struct wire_reader *r, double *gain)
{
  *gain = wire_f64(r, "its gain");
  if (isfinite(*gain) && *gain >= -1) return DD_OK;
  return fail(DD_BAD_TABLE, "its gain over the split form is %g", *gain);
}

/* The spelling must be the one that problem_print() gives: look-ups compare
 * text. */
static dd_status read_problem(const struct table *t, struct table_plan *p,
                              struct bytes *text)
{
  dd_status status = problem_parse(&t->ops, p->spelling, &p->problem);

  if (status)
    return status == DD_NO_MEMORY ? status
                                  : fail_in(DD_BAD_TABLE, "'%.200s'",
                                            p->spelling);
  bytes_clear(text);
  problem_print(&p->problem, text);
  TRY(bytes_status(text));
  if (!strcmp(bytes_string(text), p->spelling)) return DD_OK;
  return fail(DD_BAD_TABLE, "'%.200s' is spelled '%.200s'", p->spelling,
              bytes_string(text));
}

enum { MOST_LOSS = 1000000 };

static dd_status read_fraction(struct wire_reader *r, const char *what,
                               double most, double *out)
{
  *out = wire_f64(r, what);
  if (*out >= 0 && *out <= most) return DD_OK; /* no NaN is */
  return fail(DD_BAD_TABLE, "%s is %g", what, *out);
}

static dd_status check_field(const struct table_plan *p,
                             const struct table_interval *v)
{
  const struct op *op = p->problem.op;
  const struct symbol *s;

  if (v->field >= op->symbol_count)
    return fail(DD_BAD_TABLE, "'%s' has no field %u", op->name, v->field);
  s = &op->symbols[v->field];
  if (!s->dynamic || s->kind != SYMBOL_INT)
    return fail(DD_BAD_TABLE, "an interval of %s, which is no size", s->name);
  if (v->sizes && v->first >= s->min && v->first < v->last &&
      v->last <= s->max && v->first <= p->problem.value[v->field] &&
      v->last >= p->problem.value[v->field])
    return DD_OK;
  return fail(DD_BAD_TABLE, "an interval of %u sizes, %s %" PRId64 " to %"
              PRId64, v->sizes, s->name, v->first, v->last);
}

static dd_status read_interval(struct wire_reader *r, struct table *t,
                               const struct table_plan *p,
                               struct table_interval *v)
{
  struct steps steps;

  v->field = wire_u32(r, "an interval's field");
  v->first = wire_i64(r, "an interval's beginning");
  v->last = wire_i64(r, "an interval's end");
  v->sizes = wire_u32(r, "an interval's sizes");
  TRY(wire_status(r, false, DD_BAD_TABLE));
  TRY(check_field(p, v));
  TRY(read_steps(r, t, p->problem.op, &steps));
  v->split = steps.split;
  v->step_count = steps.count;
  memcpy(v->steps, steps.at, sizeof v->steps);
  TRY(read_fraction(r, "an interval's loss", MOST_LOSS, &v->loss));
  TRY(read_gain(r, &v->gain));
  v->bits = (uint64_t)wire_i64(r, "an interval's bits");
  return wire_status(r, false, DD_BAD_TABLE);
}

static dd_status read_intervals(struct wire_reader *r, struct table *t,
                                struct table_plan *p)
{
  p->interval_count = table_count_of(r, TABLE_INTERVAL_BYTES,
                                     "a list of intervals");
  p->intervals = ARENA_ARRAY(&t->arena, struct table_interval,
                             p->interval_count);
  if (!p->intervals) return no_memory();
  for (uint32_t i = 0; i < p->interval_count; ++i) {
    TRY(read_interval(r, t, p, &p->intervals[i]));
    if (i && table_interval_order(&p->intervals[i - 1], &p->intervals[i]) >= 0)
      return fail(DD_BAD_TABLE, "interval %u is out of order", i);
  }
  return wire_status(r, false, DD_BAD_TABLE);
}

static dd_status read_rival(struct wire_reader *r, struct table *t,
                            struct table_plan *p)
{
  TRY(table_read_text(r, &t->arena, "the second best", &p->rival));
  TRY(read_time(r, "the second best's time", &p->rival_us));
  TRY(read_time(r, "the second best's lower bound", &p->rival_low_us));
  return read_time(r, "the second best's upper bound", &p->rival_high_us);
}

static dd_status read_choice(struct wire_reader *r, struct table *t,
                             struct table_plan *p)
{
  struct steps steps;

  TRY(read_steps(r, t, p->problem.op, &steps));
  p->split = steps.split;
  p->step_count = steps.count;
  memcpy(p->steps, steps.at, sizeof p->steps);
  TRY(read_time(r, "its time", &p->us));
  TRY(read_time(r, "its split form's time", &p->split_us));
  TRY(read_time(r, "its copy's time", &p->copy_us));
  TRY(read_gain(r, &p->gain));
  TRY(read_fraction(r, "its loss", MOST_LOSS, &p->loss));
  TRY(read_fraction(r, "its speed on the problems next to it", 1, &p->away));
  p->bits = (uint64_t)wire_i64(r, "its bits");
  TRY(read_rival(r, t, p));
  return read_intervals(r, t, p);
}

static dd_status read_plan(struct wire_reader *r, struct table *t,
                           struct table_plan *p, struct bytes *text)
{
  dd_status status;

  TRY(table_read_text(r, &t->arena, "a problem", &p->spelling));
  TRY(read_problem(t, p, text));
  status = read_choice(r, t, p);
  if (status) return fail_in(status, "'%.200s'", p->spelling);
  return wire_status(r, false, DD_BAD_TABLE);
}

int table_interval_order(const struct table_interval *a,
                         const struct table_interval *b)
{
  if (a->field != b->field) return a->field < b->field ? -1 : 1;
  if (a->first != b->first) return a->first < b->first ? -1 : 1;
  return (a->last > b->last) - (a->last < b->last);
}

int table_plan_order(const char *fixed, const char *spelling,
                     const char *other_fixed, const char *other_spelling)
{
  int order = strcmp(fixed, other_fixed);

  return order ? order : strcmp(spelling, other_spelling);
}

/* `last` and `fixed` hold the static fields of this plan and the one before. */
static dd_status check_order(const struct table_page *page, uint32_t i,
                             const struct table_plan *p, struct bytes *last,
                             struct bytes *fixed)
{
  struct bytes swap = *last;

  *last = *fixed;
  *fixed = swap;
  bytes_clear(fixed);
  problem_print_static(&p->problem, fixed);
  TRY(bytes_status(fixed));
  if (i > page->first
          ? table_plan_order(bytes_string(last), p[-1].spelling,
                       bytes_string(fixed), p->spelling) >= 0
          : table_plan_order(page->fixed, page->spelling, bytes_string(fixed),
                       p->spelling) != 0)
    return fail(DD_BAD_TABLE, "plan %u is out of order", i);
  return DD_OK;
}

static dd_status read_plan_list(struct table *t, const struct table_page *page,
                                struct wire_reader *r)
{
  struct bytes text = BYTES_INIT, last = BYTES_INIT, fixed = BYTES_INIT;
  dd_status status = DD_OK;

  for (uint32_t i = page->first; i < page->first + page->count && !status;
       ++i) {
    struct table_plan *p = &t->plans[i];
    memset(p, 0, sizeof *p);
    status = read_plan(r, t, p, &text);
    if (status) status = fail_in(status, "plan %u", i);
    else status = check_order(page, i, p, &last, &fixed);
  }
  bytes_release(&text);
  bytes_release(&last);
  bytes_release(&fixed);
  return status;
}

static dd_status read_plan_page(struct table *t, const struct table_page *page,
                                struct bytes *body)
{
  struct wire_reader r;

  TRY(table_section_read(t, &page->section, body));
  wire_reader_init(&r, body->data, body->size);
  TRY(read_plan_list(t, page, &r));
  return wire_status(&r, true, DD_BAD_TABLE);
}

/* ---- What others ask for ------------------------------------------------ */

dd_status table_use_variants(struct table *t, struct table_page *page)
{
  return page_use(t, page, read_variant_page);
}

dd_status table_use_plans(struct table *t, struct table_page *page)
{
  return page_use(t, page, read_plan_page);
}
