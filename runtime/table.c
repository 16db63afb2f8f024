/*
 * table.c - read .ddt files; table_write.c writes them.
 *
 * A table has some hundred variants (4 to 40 kB of code each) and up to 10,000
 * plans, of which a process uses a few.  The file is read, never mapped: a
 * mapped file that somebody cuts short would take the host down with SIGBUS.
 * Its descriptor stays open, so that a file that is replaced while the host
 * runs stays the one that was opened.
 */
#include "table.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

enum {
  HEAD_SIZE = 8 + 4 + 4 + 8 + 32,
  FILE_LIMIT = 1 << 30,
  SECTION_LIMIT = 64 << 20, /* as it is in memory */
  THINGS_LIMIT = 1 << 20,   /* plans, or variants */
  /* The fewest bytes each takes, so that a count is bounded by what is left. */
  CODE_BYTES = 4 + 3 * 4,
  VARIANT_BYTES = 4 + 4 + 4 + 4 + 32 + 4,
  PLAN_BYTES = 4 + 4 + 4 * 8,
  SECTION_BYTES = 4 + 4 + 32,
  MAX_ARCH = 9999,
};

/* ---- Sections --------------------------------------------------------- */

static dd_status no_memory(void)
{
  return fail(DD_NO_MEMORY, "out of memory");
}

static dd_status read_at(int fd, void *to, size_t size, uint64_t offset)
{
  for (size_t done = 0; done < size;) {
    ssize_t n = pread(fd, (char *)to + done, size - done,
                      (off_t)(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(DD_BAD_TABLE, "%s", strerror(errno));
    if (n == 0) return fail(DD_BAD_TABLE, "the table became shorter");
    done += (size_t)n;
  }
  return DD_OK;
}

/* The bytes as they are in the file: a view where the table is in memory, else
 * they go into `buffer`. */
static dd_status stored_bytes(const struct table *t, uint64_t offset,
                              size_t size, struct bytes *buffer,
                              const void **out)
{
  void *room;

  if (t->data) {
    *out = t->data + offset;
    return DD_OK;
  }
  room = bytes_room(buffer, size);
  if (!room) return no_memory();
  *out = room;
  return read_at(t->fd, room, size, offset);
}

static dd_status check_seal(const struct table *t, const void *data,
                            size_t size, const struct hash *seal)
{
  struct hash found;

  if (t->own) return DD_OK;
  found = hash_of(data, size);
  return hash_equal(&found, seal)
             ? DD_OK
             : fail(DD_BAD_TABLE, "the table is damaged: a seal does not "
                    "match");
}

static dd_status unpack(const struct table_section *s, const void *stored,
                        struct bytes *out)
{
  void *room;

  if (s->stored == s->size) {
    bytes_add(out, stored, s->size);
    return bytes_status(out);
  }
  room = bytes_room(out, s->size);
  if (!room) return no_memory();
  if (ZSTD_decompress(room, s->size, stored, s->stored) == s->size)
    return DD_OK;
  return fail(DD_BAD_TABLE, "the table is damaged: a section cannot be "
              "decompressed");
}

/* The section, verified, in place of what was in `out`. */
static dd_status section_read(const struct table *t,
                              const struct table_section *s, struct bytes *out)
{
  struct bytes buffer = BYTES_INIT;
  const void *stored;
  dd_status status = stored_bytes(t, s->offset, s->stored, &buffer, &stored);

  bytes_clear(out);
  if (!status) status = check_seal(t, stored, s->stored, &s->seal);
  if (!status) status = unpack(s, stored, out);
  bytes_release(&buffer);
  return status;
}

/* ---- Variants ---------------------------------------------------------- */

static uint32_t count_of(struct wire_reader *r, size_t least, const char *what)
{
  size_t left = (size_t)(r->end - r->at) / least;

  return wire_count(r, left < UINT32_MAX ? (uint32_t)left : UINT32_MAX, what);
}

/* wire_text(), but a lack of memory is told apart from a damaged text. */
static dd_status read_text(struct wire_reader *r, struct arena *a,
                           const char *what, const char **out)
{
  size_t size;
  const char *at = wire_bytes(r, &size, what);

  *out = "";
  if (!at) return wire_status(r, false, DD_BAD_TABLE);
  if (memchr(at, 0, size)) return fail(DD_BAD_TABLE, "a NUL inside %s", what);
  *out = arena_text(a, at, size);
  return *out ? DD_OK : no_memory();
}

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
  TRY(read_text(r, &t->arena, "a target", &c->target));
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
  v->code_count = count_of(r, CODE_BYTES, "a list of codes");
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

  TRY(read_text(r, &t->arena, "a variant's op", &op));
  TRY(read_text(r, &t->arena, "a variant's scheme", &scheme));
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

  TRY(section_read(t, &page->section, body));
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

/* One variant of the op itself, or one of each step's op. */
static dd_status check_steps(const struct table *t, struct table_plan *p)
{
  const struct op *op = p->problem.op;

  p->split = p->step_count != 1 || t->variants[p->steps[0]].variant.op != op;
  if (p->split && p->step_count != op->step_count)
    return fail(DD_BAD_TABLE, "'%s' has %u steps, not %u", op->name,
                op->step_count, p->step_count);
  for (uint32_t i = 0; p->split && i < p->step_count; ++i) {
    const char *name = t->variants[p->steps[i]].variant.op->name;
    if (strcmp(name, op->steps[i].op))
      return fail(DD_BAD_TABLE, "step %u of '%s' is %s, not %s", i + 1,
                  op->name, op->steps[i].op, name);
  }
  return DD_OK;
}

static dd_status read_steps(struct wire_reader *r, struct table *t,
                            struct table_plan *p)
{
  p->step_count = wire_count(r, OP_MAX_STEPS, "a list of steps");
  for (uint32_t i = 0; i < p->step_count; ++i) {
    p->steps[i] = wire_u32(r, "a step");
    if (!r->failed && p->steps[i] >= t->variant_count)
      return fail(DD_BAD_TABLE, "there is no variant %u", p->steps[i]);
  }
  TRY(wire_status(r, false, DD_BAD_TABLE));
  if (!p->step_count) return fail(DD_BAD_TABLE, "no variant at all");
  for (uint32_t i = 0; i < p->step_count; ++i)
    TRY(page_ready(t, variant_page(t, p->steps[i]), read_variant_page));
  return check_steps(t, p);
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

static dd_status read_plan(struct wire_reader *r, struct table *t,
                           struct table_plan *p, struct bytes *text)
{
  dd_status status;

  TRY(read_text(r, &t->arena, "a problem", &p->spelling));
  TRY(read_problem(t, p, text));
  status = read_steps(r, t, p);
  if (!status) status = read_time(r, "its time", &p->us);
  if (!status) status = read_time(r, "its split form's time", &p->split_us);
  if (!status) status = read_time(r, "its copy's time", &p->copy_us);
  if (!status) status = read_gain(r, &p->gain);
  if (status) return fail_in(status, "'%.200s'", p->spelling);
  return wire_status(r, false, DD_BAD_TABLE);
}

/* By static fields, then by spelling: plans that may serve each other stand
 * together. */
static int plan_order(const char *fixed, const char *spelling,
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
          ? plan_order(bytes_string(last), p[-1].spelling,
                       bytes_string(fixed), p->spelling) >= 0
          : plan_order(page->fixed, page->spelling, bytes_string(fixed),
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

  TRY(section_read(t, &page->section, body));
  wire_reader_init(&r, body->data, body->size);
  TRY(read_plan_list(t, page, &r));
  return wire_status(&r, true, DD_BAD_TABLE);
}

/* ---- The root ----------------------------------------------------------- */

static dd_status read_device(struct wire_reader *r, struct table *t)
{
  int64_t arch, sms;

  TRY(read_text(r, &t->arena, "the device's name", &t->device_name));
  TRY(read_text(r, &t->arena, "the device's kind", &t->device_kind));
  arch = wire_i64(r, "the device's arch");
  sms = wire_i64(r, "the device's SMs");
  TRY(read_text(r, &t->arena, "the policy", &t->policy));
  TRY(read_text(r, &t->arena, "the provenance", &t->provenance));
  if (arch < 0 || arch > MAX_ARCH || sms < 0 || sms > 1 << 20)
    return fail(DD_BAD_TABLE, "no device has arch %" PRId64 " and %" PRId64
                " SMs", arch, sms);
  t->arch = (int)arch;
  t->sms = (int)sms;
  if (!*t->device_kind || device_kind_find(t->device_kind)) return DD_OK;
  return fail(DD_BAD_TABLE, "no device is of kind '%.20s'", t->device_kind);
}

/* Sections follow one another: *at is where this one begins. */
static dd_status read_section(struct wire_reader *r, const struct table *t,
                              uint64_t *at, struct table_section *s)
{
  s->offset = *at;
  s->stored = wire_u32(r, "a section");
  s->size = wire_u32(r, "a section");
  s->seal = wire_hash(r, "a seal");
  TRY(wire_status(r, false, DD_BAD_TABLE));
  if (s->stored > t->size - *at || s->stored > s->size ||
      s->size > SECTION_LIMIT)
    return fail(DD_BAD_TABLE, "a section has %u bytes, and %u in the file",
                s->size, s->stored);
  *at += s->stored;
  return DD_OK;
}

/* A page, whose first thing is number `first`. */
static dd_status read_page_head(struct wire_reader *r, struct table *t,
                                bool plans, size_t least, uint64_t *at,
                                struct table_page *p)
{
  p->count = wire_u32(r, "a page");
  if (plans) {
    TRY(read_text(r, &t->arena, "static fields", &p->fixed));
    TRY(read_text(r, &t->arena, "a problem", &p->spelling));
  }
  TRY(read_section(r, t, at, &p->section));
  if (p->count && p->count <= p->section.size / least) return DD_OK;
  return fail(DD_BAD_TABLE, "a page of %u bytes has %u things",
              p->section.size, p->count);
}

static dd_status read_pages(struct wire_reader *r, struct table *t, bool plans,
                            uint64_t *at, struct table_page **out,
                            uint32_t *page_count, uint32_t *count)
{
  size_t least = plans ? PLAN_BYTES : VARIANT_BYTES;
  uint32_t n = count_of(r, 4 + SECTION_BYTES, "a list of pages");
  struct table_page *pages = ARENA_ARRAY(&t->arena, struct table_page, n);

  if (!pages) return no_memory();
  for (uint32_t i = 0; i < n; ++i) {
    struct table_page *p = &pages[i];
    p->first = *count;
    TRY(read_page_head(r, t, plans, least, at, p));
    if (p->count > THINGS_LIMIT - *count)
      return fail(DD_BAD_TABLE, "too many plans or variants");
    *count += p->count;
    if (plans && i && plan_order(p[-1].fixed, p[-1].spelling, p->fixed,
                                 p->spelling) >= 0)
      return fail(DD_BAD_TABLE, "plan %u is out of order", p->first);
  }
  *out = pages;
  *page_count = n;
  return wire_status(r, false, DD_BAD_TABLE);
}

static dd_status read_packs(struct wire_reader *r, struct table *t,
                            uint64_t *at)
{
  uint32_t n = count_of(r, SECTION_BYTES, "the list of packs");

  t->packs = ARENA_ARRAY(&t->arena, struct table_section, n);
  if (!t->packs) return no_memory();
  for (uint32_t i = 0; i < n; ++i)
    TRY(read_section(r, t, at, &t->packs[i]));
  t->pack_count = n;
  return wire_status(r, false, DD_BAD_TABLE);
}

/* Decompressing trusts the section's seal, parsing the hash of the specs. */
static dd_status read_own_specs(struct table *t, const struct bytes *specs,
                                const struct hash *hash)
{
  struct hash found = t->own ? *hash : hash_of(specs->data, specs->size);
  dd_status status;

  if (!hash_equal(hash, &found))
    return fail(DD_BAD_TABLE, "its specs are not those that its root names");
  status = (t->later ? op_set_read_later : op_set_read_known)(
      &t->ops, specs->data, specs->size, hash, t->arena.allocator);
  return status && status != DD_NO_MEMORY
             ? fail_in(DD_BAD_TABLE, "its specs")
             : status;
}

static dd_status read_specs(struct table *t, const struct table_section *s,
                            const struct hash *hash, const struct table *like)
{
  struct bytes specs = BYTES_INIT;
  dd_status status;

  if (like && hash_equal(hash, &like->ops.hash)) {
    t->ops = like->ops;
    t->ops_borrowed = true;
    return DD_OK;
  }
  status = section_read(t, s, &specs);
  if (!status) status = read_own_specs(t, &specs, hash);
  bytes_release(&specs);
  return status;
}

/* Room for all, of which only what is used becomes resident. */
static dd_status make_room(struct table *t)
{
  const struct allocator *a = t->arena.allocator;

  if (t->variant_count)
    t->variants = mem_resize(a, NULL, 0,
                             t->variant_count * sizeof *t->variants);
  if (t->plan_count)
    t->plans = mem_resize(a, NULL, 0, t->plan_count * sizeof *t->plans);
  return (t->variant_count && !t->variants) || (t->plan_count && !t->plans)
             ? no_memory()
             : DD_OK;
}

static dd_status read_root(struct table *t, const void *root, size_t size,
                           const struct table *like)
{
  uint64_t at = HEAD_SIZE + size;
  uint32_t variants = 0, plans = 0;
  struct table_section specs;
  struct wire_reader r;
  struct hash hash;

  wire_reader_init(&r, root, size);
  TRY(read_device(&r, t));
  hash = wire_hash(&r, "the hash of the specs");
  TRY(read_section(&r, t, &at, &specs));
  TRY(read_packs(&r, t, &at));
  TRY(read_pages(&r, t, false, &at, &t->variant_pages, &t->variant_page_count,
                 &variants));
  TRY(read_pages(&r, t, true, &at, &t->plan_pages, &t->plan_page_count,
                 &plans));
  TRY(wire_status(&r, true, DD_BAD_TABLE));
  if (at != t->size)
    return fail(DD_BAD_TABLE, "it has %" PRIu64 " bytes, not %" PRIu64,
                t->size, at);
  t->variant_count = variants;
  t->plan_count = plans;
  TRY(make_room(t));
  return read_specs(t, &specs, &hash, like);
}

/* Nothing but these 56 bytes is looked at before the seal is verified. */
static dd_status check_head(struct table *t, const void *head,
                            size_t *root_size)
{
  struct wire_reader r;
  uint32_t version, zero;
  uint64_t size;

  if (memcmp(head, TABLE_MAGIC, 8))
    return fail(DD_BAD_TABLE, "not a dispatch table");
  wire_reader_init(&r, (const char *)head + 8, HEAD_SIZE - 8);
  version = wire_u32(&r, "the version");
  zero = wire_u32(&r, "the head");
  size = (uint64_t)wire_i64(&r, "the size");
  t->seal = wire_hash(&r, "the seal");
  if (version != TABLE_VERSION)
    return fail(DD_BAD_TABLE, "it has version %u, and this library reads "
                "version %d; make it again with difftune emit", version,
                TABLE_VERSION);
  if (zero) return fail(DD_BAD_TABLE, "its head is damaged");
  if (size > t->size - HEAD_SIZE || size > SECTION_LIMIT)
    return fail(DD_BAD_TABLE, "it has %" PRIu64 " bytes after its head, not %"
                PRIu64, t->size - HEAD_SIZE, size);
  *root_size = (size_t)size;
  return DD_OK;
}

static dd_status open_root(struct table *t, const struct table *like,
                           struct bytes *buffer)
{
  const void *root;
  size_t size = 0;

  if (t->size < HEAD_SIZE) return fail(DD_BAD_TABLE, "not a dispatch table");
  TRY(stored_bytes(t, 0, HEAD_SIZE, buffer, &root));
  TRY(check_head(t, root, &size));
  bytes_clear(buffer);
  TRY(stored_bytes(t, HEAD_SIZE, size, buffer, &root));
  TRY(check_seal(t, root, size, &t->seal));
  return read_root(t, root, size, like);
}

/* ---- Opening and closing ------------------------------------------------ */

void table_init(struct table *t, const struct allocator *allocator)
{
  memset(t, 0, sizeof *t);
  t->fd = -1;
  arena_init(&t->arena, allocator);
  arena_init(&t->ops.arena, allocator);
  pthread_mutex_init(&t->lock, NULL); /* glibc's never fails */
}

static dd_status open_bytes(struct table *t, const struct table *like)
{
  struct bytes buffer = BYTES_INIT;
  dd_status status = open_root(t, like, &buffer);

  bytes_release(&buffer);
  return status;
}

static dd_status open_memory(struct table *t, const void *data, size_t size,
                             const struct table *like)
{
  dd_status status;

  if (!data) return fail(DD_BAD_TABLE, "a table in memory without an address");
  t->data = data;
  t->size = size;
  status = open_bytes(t, like);
  if (status) table_close(t);
  return status;
}

dd_status table_open_memory(struct table *t, const void *data, size_t size,
                            const struct allocator *allocator,
                            const struct table *like)
{
  table_init(t, allocator);
  return open_memory(t, data, size, like);
}

dd_status table_open_own(struct table *t, const void *data, size_t size,
                         const struct allocator *allocator, bool later)
{
  table_init(t, allocator);
  t->own = true;
  t->later = later;
  return open_memory(t, data, size, NULL);
}

/* Of the file, or of the folder that names it. */
static dd_status check_owner(const struct stat *st, const char *what)
{
  if (st->st_uid != geteuid() && st->st_uid != 0)
    return fail(DD_BAD_TABLE, "%s belongs to user %u, and its code would run "
                "as you; copy it, or open it with DD_OPEN_SHARED_TABLE", what,
                (unsigned)st->st_uid);
  if (st->st_mode & (S_IWGRP | S_IWOTH) &&
      !(S_ISDIR(st->st_mode) && st->st_mode & S_ISVTX))
    return fail(DD_BAD_TABLE, "others may write %s (mode %03o); chmod go-w, or "
                "open it with DD_OPEN_SHARED_TABLE", what,
                (unsigned)st->st_mode & 0777);
  return DD_OK;
}

static dd_status check_file(struct table *t, bool shared)
{
  struct stat st;

  if (fstat(t->fd, &st)) return fail(DD_BAD_TABLE, "%s", strerror(errno));
  if (!S_ISREG(st.st_mode)) return fail(DD_BAD_TABLE, "not a regular file");
  if (!shared) TRY(check_owner(&st, "it"));
  if (st.st_size > FILE_LIMIT)
    return fail(DD_BAD_TABLE, "more than %d bytes", FILE_LIMIT);
  t->size = (uint64_t)st.st_size;
  return DD_OK;
}

/* Who can write a folder can put another file in its place. */
static dd_status check_folder(int folder)
{
  struct stat st;

  if (fstat(folder, &st)) return fail(DD_BAD_TABLE, "%s", strerror(errno));
  return check_owner(&st, "its folder");
}

/* The folder that is checked is the one that the file is then looked for in,
 * and the file no link to elsewhere.  O_NONBLOCK: a FIFO must be refused, not
 * waited for. */
static dd_status open_checked(struct table *t, const char *path)
{
  const char *slash = strrchr(path, '/');
  const char *name = slash ? slash + 1 : path;
  char parent[4096] = ".";
  dd_status status;
  int folder;

  if (slash && (size_t)(slash - path) >= sizeof parent)
    return fail(DD_BAD_TABLE, "%s", strerror(ENAMETOOLONG));
  if (slash) {
    size_t length = slash == path ? 1 : (size_t)(slash - path);
    memcpy(parent, path, length);
    parent[length] = 0;
  }
  folder = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return fail(DD_BAD_TABLE, "%s", strerror(errno));
  status = check_folder(folder);
  if (!status) {
    t->fd = openat(folder, name,
                   O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (t->fd < 0 && errno == ELOOP)
      status = fail(DD_BAD_TABLE, "a symbolic link; name its target, or open "
                    "it with DD_OPEN_SHARED_TABLE");
    else if (t->fd < 0)
      status = fail(DD_BAD_TABLE, "%s", strerror(errno));
  }
  close(folder);
  return status;
}

static dd_status open_file(struct table *t, const char *path, bool shared)
{
  if (!shared) return open_checked(t, path);
  t->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  return t->fd < 0 ? fail(DD_BAD_TABLE, "%s", strerror(errno)) : DD_OK;
}

dd_status table_open(struct table *t, const char *path,
                     const struct allocator *allocator,
                     const struct table *like, bool shared)
{
  dd_status status;

  table_init(t, allocator);
  status = open_file(t, path, shared);
  if (!status) status = check_file(t, shared);
  if (!status) status = open_bytes(t, like);
  if (status) table_close(t);
  return status ? fail_in(status, "'%s'", path) : DD_OK;
}

void table_close(struct table *t)
{
  const struct allocator *a = t->arena.allocator;

  if (!t->ops_borrowed) op_set_release(&t->ops);
  arena_release(&t->arena);
  mem_resize(a, t->variants, t->variant_count * sizeof *t->variants, 0);
  mem_resize(a, t->plans, t->plan_count * sizeof *t->plans, 0);
  if (t->fd >= 0) close(t->fd);
  pthread_mutex_destroy(&t->lock);
  table_init(t, a);
}

/* ---- Looking ---------------------------------------------------------- */

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
    TRY(page_use(t, &t->variant_pages[i], read_variant_page));
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
    if (plan_order(p->fixed, p->spelling, fixed, spelling) <= 0) low = middle;
    else high = middle;
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
  TRY(page_use(t, page, read_plan_page));
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
    TRY(page_use(t, p, read_plan_page));
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
    status = section_read(t, &t->packs[i], &pack);
  bytes_release(&pack);
  return status;
}

dd_status table_read_plans(struct table *t)
{
  TRY(read_variants(t));
  for (uint32_t i = 0; i < t->plan_page_count; ++i)
    TRY(page_use(t, &t->plan_pages[i], read_plan_page));
  return DD_OK;
}

dd_status table_read_all(struct table *t)
{
  TRY(table_read_plans(t));
  return check_packs(t);
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
  dd_status status = section_read(t, &t->packs[code->pack], &pack);

  if (!status) bytes_add(out, pack.data + code->offset, code->size);
  if (!status) status = bytes_status(out);
  bytes_release(&pack);
  return status;
}
