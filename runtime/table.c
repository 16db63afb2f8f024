/*
 * table.c - read .ddt files; table_write.c writes them.
 *
 * A table has some hundred variants (4 to 40 kB of code each) and up to 10,000
 * plans.  It is opened once per process.  The whole file is taken into memory
 * of its own: a mapped file that somebody cuts short would take the host down
 * with SIGBUS, long after the seal was checked.
 */
#include "table.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  HEAD_SIZE = 8 + 4 + 4 + 8 + 32,
  FILE_LIMIT = 1 << 30,
  /* The fewest bytes each takes, so that a count is bounded by what is left. */
  VARIANT_BYTES = 4 + 4 + 4 + 4 + 32 + 4,
  CODE_BYTES = 4 + 4,
  PLAN_BYTES = 4 + 4 + 3 * 8,
  MAX_ARCH = 9999,
};

/* ---- Reading --------------------------------------------------------- */

static uint32_t count_of(struct wire_reader *r, size_t least, const char *what)
{
  size_t left = (size_t)(r->end - r->at) / least;

  return wire_count(r, left < UINT32_MAX ? (uint32_t)left : UINT32_MAX, what);
}

static dd_status no_memory(void)
{
  return fail(DD_NO_MEMORY, "out of memory");
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
  c->bytes = wire_bytes(r, &c->size, "code");
  TRY(wire_status(r, false, DD_BAD_TABLE));
  if (c->size) return DD_OK;
  return fail(DD_BAD_TABLE, "the code for %s is empty", c->target);
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
  v->variant.op = op_find(&t->ops, op);
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

static dd_status read_variants(struct wire_reader *r, struct table *t)
{
  uint32_t n = count_of(r, VARIANT_BYTES, "the list of variants");

  t->variants = ARENA_ARRAY(&t->arena, struct table_variant, n);
  if (!t->variants) return no_memory();
  for (uint32_t i = 0; i < n; ++i) {
    dd_status status = read_variant(r, t, &t->variants[i]);
    if (status) return fail_in(status, "variant %u", i);
    if (i && table_variant_order(&t->variants[i - 1].variant,
                                 &t->variants[i].variant) >= 0)
      return fail(DD_BAD_TABLE, "variant %u is out of order", i);
  }
  t->variant_count = n;
  return wire_status(r, false, DD_BAD_TABLE);
}

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

static dd_status read_steps(struct wire_reader *r, const struct table *t,
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
  return check_steps(t, p);
}

static dd_status read_time(struct wire_reader *r, const char *what, double *us)
{
  *us = wire_f64(r, what);
  if (isfinite(*us) && *us >= 0) return DD_OK;
  return fail(DD_BAD_TABLE, "%s is %g us", what, *us);
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
  if (status) return fail_in(status, "'%.200s'", p->spelling);
  return wire_status(r, false, DD_BAD_TABLE);
}

static dd_status read_plans(struct wire_reader *r, struct table *t)
{
  uint32_t n = count_of(r, PLAN_BYTES, "the list of plans");
  struct bytes text = BYTES_INIT;
  dd_status status = DD_OK;

  t->plans = ARENA_ARRAY(&t->arena, struct table_plan, n);
  if (!t->plans) return no_memory();
  for (uint32_t i = 0; i < n && !status; ++i) {
    status = read_plan(r, t, &t->plans[i], &text);
    if (status)
      status = fail_in(status, "plan %u", i);
    else if (i && strcmp(t->plans[i - 1].spelling, t->plans[i].spelling) >= 0)
      status = fail(DD_BAD_TABLE, "plan %u is out of order", i);
  }
  bytes_release(&text);
  t->plan_count = n;
  return status ? status : wire_status(r, false, DD_BAD_TABLE);
}

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

static dd_status read_body(struct table *t, const void *body, size_t size,
                           const struct allocator *allocator)
{
  struct wire_reader r;
  const void *specs;
  size_t specs_size;
  dd_status status;

  wire_reader_init(&r, body, size);
  specs = wire_bytes(&r, &specs_size, "the specs");
  TRY(wire_status(&r, false, DD_BAD_TABLE));
  status = op_set_read(&t->ops, specs, specs_size, allocator);
  if (status)
    return status == DD_NO_MEMORY ? status : fail_in(DD_BAD_TABLE, "its specs");
  TRY(read_device(&r, t));
  TRY(read_variants(&r, t));
  TRY(read_plans(&r, t));
  return wire_status(&r, true, DD_BAD_TABLE);
}

/* Nothing but these 56 bytes is looked at before the seal is verified. */
static dd_status check_head(struct table *t, const void *data, size_t size,
                            size_t *body_size)
{
  struct wire_reader r;
  uint32_t version, zero;
  uint64_t left;

  if (size < HEAD_SIZE || memcmp(data, TABLE_MAGIC, 8))
    return fail(DD_BAD_TABLE, "not a dispatch table");
  wire_reader_init(&r, (const char *)data + 8, HEAD_SIZE - 8);
  version = wire_u32(&r, "the version");
  zero = wire_u32(&r, "the head");
  left = (uint64_t)wire_i64(&r, "the size");
  t->seal = wire_hash(&r, "the seal");
  if (version != TABLE_VERSION)
    return fail(DD_BAD_TABLE, "it has version %u, and this library reads "
                "version %d", version, TABLE_VERSION);
  if (zero) return fail(DD_BAD_TABLE, "its head is damaged");
  if (left != size - HEAD_SIZE)
    return fail(DD_BAD_TABLE, "it has %zu bytes after its head, not %" PRIu64,
                size - HEAD_SIZE, left);
  *body_size = size - HEAD_SIZE;
  return DD_OK;
}

static dd_status open_bytes(struct table *t, const void *data, size_t size,
                            bool own)
{
  const char *body = (const char *)data + HEAD_SIZE;
  size_t body_size = 0;
  struct hash seal;

  TRY(check_head(t, data, size, &body_size));
  seal = own ? t->seal : hash_of(body, body_size);
  if (!hash_equal(&seal, &t->seal))
    return fail(DD_BAD_TABLE, "it is damaged: its seal does not match");
  return read_body(t, body, body_size, t->arena.allocator);
}

static void table_init(struct table *t, const struct allocator *allocator)
{
  memset(t, 0, sizeof *t);
  arena_init(&t->arena, allocator);
  arena_init(&t->ops.arena, allocator);
}

static dd_status open_memory(struct table *t, const void *data, size_t size,
                             const struct allocator *allocator, bool own)
{
  dd_status status;

  table_init(t, allocator);
  if (!data) return fail(DD_BAD_TABLE, "a table in memory without an address");
  status = open_bytes(t, data, size, own);
  if (status) table_close(t);
  return status;
}

dd_status table_open_memory(struct table *t, const void *data, size_t size,
                            const struct allocator *allocator)
{
  return open_memory(t, data, size, allocator, false);
}

dd_status table_open_own(struct table *t, const void *data, size_t size,
                         const struct allocator *allocator)
{
  return open_memory(t, data, size, allocator, true);
}

static dd_status read_whole(int fd, struct table *t)
{
  size_t done = 0;

  while (done < t->map_size) {
    ssize_t n = read(fd, (char *)t->map + done, t->map_size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(DD_BAD_TABLE, "%s", strerror(errno));
    if (n == 0) return fail(DD_BAD_TABLE, "it became shorter while being read");
    done += (size_t)n;
  }
  return DD_OK;
}

static dd_status read_file(int fd, struct table *t)
{
  struct stat st;

  if (fstat(fd, &st)) return fail(DD_BAD_TABLE, "%s", strerror(errno));
  if (!S_ISREG(st.st_mode)) return fail(DD_BAD_TABLE, "not a regular file");
  if (st.st_size < HEAD_SIZE) return fail(DD_BAD_TABLE, "not a dispatch table");
  if (st.st_size > FILE_LIMIT)
    return fail(DD_BAD_TABLE, "more than %d bytes", FILE_LIMIT);
  t->map = mem_resize(t->arena.allocator, NULL, 0, (size_t)st.st_size);
  if (!t->map) return no_memory();
  t->map_size = (size_t)st.st_size;
  TRY(read_whole(fd, t));
  return open_bytes(t, t->map, t->map_size, false);
}

dd_status table_open(struct table *t, const char *path,
                     const struct allocator *allocator)
{
  /* O_NONBLOCK: a FIFO must be refused, not waited for. */
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  dd_status status;

  table_init(t, allocator);
  if (fd < 0)
    return fail(DD_BAD_TABLE, "cannot open '%s': %s", path, strerror(errno));
  status = read_file(fd, t);
  close(fd);
  if (status) table_close(t);
  return status ? fail_in(status, "'%s'", path) : DD_OK;
}

void table_close(struct table *t)
{
  const struct allocator *allocator = t->arena.allocator;

  op_set_release(&t->ops);
  arena_release(&t->arena);
  mem_resize(allocator, t->map, t->map_size, 0);
  table_init(t, allocator);
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

const struct table_variant *table_default(const struct table *t,
                                          const struct problem *p)
{
  for (uint32_t i = 0; i < t->variant_count; ++i) {
    const struct variant *v = &t->variants[i].variant;
    if (v->scheme->fits_all && !strcmp(v->op->name, p->op->name) &&
        facts_hold(v, p))
      return &t->variants[i];
  }
  return NULL;
}

const struct table_code *table_code_find(const struct table_variant *v,
                                         const char *target)
{
  for (uint32_t i = 0; i < v->code_count; ++i)
    if (!strcmp(v->codes[i].target, target)) return &v->codes[i];
  return NULL;
}
