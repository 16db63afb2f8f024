/*
 * cmd_emit.c - a device's dispatch table, from the best rows of a database.
 *
 * The same rows give the same bytes: no date, no path, no order of discovery.
 * A variant's identity is the hash of its text; a row whose variant the specs
 * at hand would now write differently is left out, because the library fills
 * its arguments by the specs that go into the table.
 */
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "db.h"
#include "emit.h"
#include "output.h"
#include "specs.h"
#include "table.h"

/* The row that a plan is made from. */
struct chosen {
  const char *problem, *label;
  int64_t measurement, steps[OP_MAX_STEPS];
  uint32_t step_count;
  bool split;
  double us, split_us, copy_us;
};

struct emit {
  const char *variants, *db_path, *device, *policy, *out;
  bool json;
  struct texts policies, devices; /* what the database has */
  char target[TARGET_TEXT];
  struct specs specs;
  struct db *db;
  struct arena arena;
  /* the table to be, and the rows that it comes from */
  char device_name[128], device_kind[16], policy_name[64];
  int arch, sms;
  struct table_variant *variant;
  int64_t *variant_row;
  uint32_t variant_count, variant_room;
  struct chosen *chosen;
  uint32_t chosen_count, chosen_room;
  struct table_plan *plan;
  uint32_t plan_count;
  int64_t stale;
};

/* Doubles an array of the arena; what it held before stays in the arena. */
static void *grow(struct arena *a, const void *old, uint32_t *room, size_t size)
{
  uint32_t more = *room ? *room * 2 : 32;
  void *block = arena_alloc(a, more * size);

  if (block && *room) memcpy(block, old, *room * size);
  if (block) *room = more;
  return block;
}

/* ---- A stored variant as a struct ------------------------------------ */

/* A fact's value as variant_print_facts() writes it: a word or a number. */
static bool fact_value(const struct symbol *s, const char *text, int64_t *value)
{
  char *end;

  for (uint32_t i = 0; i < s->choice_count; ++i)
    if (!strcmp(s->choices[i].word, text)) {
      *value = s->choices[i].value;
      return true;
    }
  *value = strtoll(text, &end, 10);
  return *text && !*end;
}

static bool set_fact(struct variant *v, const char *name, const char *text)
{
  for (uint32_t i = 0; i < v->scheme->fact_count; ++i) {
    const struct symbol *s = &v->op->symbols[v->scheme->facts[i]];
    if (!strcmp(s->name, name)) return fact_value(s, text, &v->fact[i]);
  }
  return false;
}

static bool set_tunable(struct variant *v, const char *name, const char *text)
{
  int at = scheme_tunable_find(v->scheme, name);
  char *end;

  if (at < 0) return false;
  v->tunable[at] = strtoll(text, &end, 10);
  if (*text && !*end) return true;
  v->tunable[at] = !strcmp(text, "true");
  return v->tunable[at] || !strcmp(text, "false");
}

typedef bool set_value(struct variant *v, const char *name, const char *text);

/* "lanes=16 heads=4": each word to `set`; *count of them. */
static bool read_words(struct variant *v, const char *text, set_value *set,
                       uint32_t *count)
{
  char word[128], *equals;

  for (*count = 0; *text; ++*count) {
    size_t n = strcspn(text, " ");
    if (n >= sizeof word) return false;
    memcpy(word, text, n);
    word[n] = 0;
    equals = strchr(word, '=');
    if (!equals) return false;
    *equals = 0;
    if (!set(v, word, equals + 1)) return false;
    text += n + (text[n] == ' ');
  }
  return true;
}

/* False: the specs at hand would not write this variant. */
static bool rebuild(struct emit *e, const struct db_variant_row *row,
                    struct variant *v)
{
  struct bytes text = BYTES_INIT;
  uint32_t tunables, facts;
  bool same;

  memset(v, 0, sizeof *v);
  v->op = op_find(&e->specs.ops, row->op);
  v->scheme = v->op ? op_scheme_find(v->op, row->scheme) : NULL;
  if (!v->scheme) return false;
  if (!read_words(v, row->tunables, set_tunable, &tunables) ||
      !read_words(v, row->facts, set_fact, &facts))
    return false;
  if (tunables != v->scheme->tunable_count || facts != v->scheme->fact_count)
    return false;
  same = !emit_variant(&e->specs.tree, v, &text) &&
         hash_equal(&v->hash, &row->hash);
  bytes_release(&text);
  return same;
}

static dd_status add_code(struct emit *e, struct table_variant *t,
                          const struct db_variant_row *row)
{
  const char *cpu = e->arch ? NULL : row->text;
  struct table_code *code = ARENA_NEW(&e->arena, struct table_code);

  if (!code) return fail(DD_NO_MEMORY, "out of memory");
  code->target = e->target;
  code->bytes = cpu ? (const void *)cpu : row->code;
  code->size = cpu ? strlen(cpu) : row->code_size;
  t->code_count = 1;
  t->codes = code;
  return DD_OK;
}

/* Its place in the table, read from the database when first asked for;
 * UINT32_MAX where it is stale. */
static dd_status find_variant(struct emit *e, int64_t id, uint32_t *at)
{
  struct db_variant_row row;
  struct table_variant *t;

  for (*at = 0; *at < e->variant_count; ++*at)
    if (e->variant_row[*at] == id) return DD_OK;
  TRY(db_variant_read(e->db, id, e->target, &e->arena, &row));
  if (e->variant_count == e->variant_room) {
    uint32_t room = e->variant_room;
    e->variant_row = grow(&e->arena, e->variant_row, &room, sizeof(int64_t));
    e->variant = grow(&e->arena, e->variant, &e->variant_room,
                      sizeof *e->variant);
    if (!e->variant_row || !e->variant)
      return fail(DD_NO_MEMORY, "out of memory");
  }
  t = &e->variant[e->variant_count];
  if (!rebuild(e, &row, &t->variant)) {
    *at = UINT32_MAX;
    return DD_OK;
  }
  TRY(add_code(e, t, &row));
  e->variant_row[e->variant_count++] = id;
  return DD_OK;
}

/* ---- Rows to plans --------------------------------------------------- */

/* What there is to choose from, before anything is chosen. */
static dd_status visit_device(void *user, const struct db_row *row)
{
  struct emit *e = user;

  if (!texts_have(&e->devices, row->device))
    texts_add(&e->devices, keep_text(row->device));
  return DD_OK;
}

static dd_status visit_policy(void *user, const struct db_row *row)
{
  struct emit *e = user;

  if (!strcmp(row->device, e->device_name) &&
      !texts_have(&e->policies, row->policy))
    texts_add(&e->policies, keep_text(row->policy));
  return DD_OK;
}

/* The one of `names` to use; `wanted` or, without it, the only one. */
static dd_status choose_name(const struct texts *names, const char *wanted,
                             const char *what, const char *option,
                             const char **out)
{
  struct bytes list = BYTES_INIT;

  *out = wanted ? wanted : names->count == 1 ? names->item[0] : NULL;
  if (*out && texts_have(names, *out)) return DD_OK;
  for (size_t i = 0; i < names->count; ++i)
    bytes_printf(&list, "%s '%s'", i ? "," : "", names->item[i]);
  if (wanted)
    fail(DD_BAD_ARGUMENT, "no %s is named '%s'; the database has%s", what,
         wanted, bytes_string(&list));
  else
    fail(DD_BAD_ARGUMENT, "the database has more than one %s; choose with "
         "--%s:%s", what, option, bytes_string(&list));
  bytes_release(&list);
  return DD_BAD_ARGUMENT;
}

/* --device is a part of the name; the whole name wins over longer ones. */
static dd_status choose_device(struct emit *e)
{
  struct db_filter f = {.device = e->device, .best_only = true};
  const char *name;

  TRY(db_each(e->db, &f, visit_device, e));
  if (!e->devices.count)
    return fail(DD_UNTUNED, "'%s' has no measurement%s%s", e->db_path,
                e->device ? " on " : "", e->device ? e->device : "");
  name = e->device && texts_have(&e->devices, e->device) ? e->device : NULL;
  TRY(choose_name(&e->devices, name, "device", "device", &name));
  snprintf(e->device_name, sizeof e->device_name, "%s", name);
  return DD_OK;
}

static dd_status choose_policy(struct emit *e)
{
  struct db_filter f = {.device = e->device_name, .best_only = true};
  const char *name;

  TRY(db_each(e->db, &f, visit_policy, e));
  TRY(choose_name(&e->policies, e->policy, "policy", "policy", &name));
  snprintf(e->policy_name, sizeof e->policy_name, "%s", name);
  return DD_OK;
}

/* The place of a problem's row, found or new. */
static dd_status find_chosen(struct emit *e, const char *problem,
                             struct chosen **out)
{
  struct chosen *c;

  for (uint32_t i = 0; i < e->chosen_count; ++i) {
    *out = &e->chosen[i];
    if (!strcmp((*out)->problem, problem)) return DD_OK;
  }
  if (e->chosen_count == e->chosen_room)
    e->chosen = grow(&e->arena, e->chosen, &e->chosen_room, sizeof *c);
  if (!e->chosen) return fail(DD_NO_MEMORY, "out of memory");
  c = *out = &e->chosen[e->chosen_count++];
  memset(c, 0, sizeof *c);
  c->problem = arena_text(&e->arena, problem, strlen(problem));
  return c->problem ? DD_OK : fail(DD_NO_MEMORY, "out of memory");
}

/* A device that was measured under two drivers has two best rows for a
 * problem; the younger one counts. */
static dd_status visit_best(void *user, const struct db_row *row)
{
  struct emit *e = user;
  struct chosen *c;

  if (strcmp(row->device, e->device_name) ||
      strcmp(row->policy, e->policy_name))
    return DD_OK;
  snprintf(e->device_kind, sizeof e->device_kind, "%s", row->device_kind);
  e->arch = row->arch;
  e->sms = row->sms;
  target_print(e->arch, e->target);
  TRY(find_chosen(e, row->problem, &c));
  if (c->measurement > row->measurement) return DD_OK;
  c->label = arena_text(&e->arena, row->label, strlen(row->label));
  if (!c->label) return fail(DD_NO_MEMORY, "out of memory");
  c->measurement = row->measurement;
  c->step_count = row->step_count;
  memcpy(c->steps, row->steps, sizeof c->steps);
  c->split = row->split;
  c->us = row->median_us;
  c->split_us = row->split_us;
  c->copy_us = row->copy_us;
  return DD_OK;
}

static dd_status left_out(struct emit *e, const struct chosen *c)
{
  e->stale++;
  say("left out, measured with other specs: %s  %s", c->problem, c->label);
  return DD_OK;
}

static dd_status add_plan(struct emit *e, const struct chosen *c)
{
  struct table_plan *p = &e->plan[e->plan_count];

  if (problem_parse(&e->specs.ops, c->problem, &p->problem))
    return left_out(e, c);
  for (uint32_t i = 0; i < c->step_count; ++i) {
    TRY(find_variant(e, c->steps[i], &p->steps[i]));
    if (p->steps[i] == UINT32_MAX) return left_out(e, c);
  }
  p->spelling = c->problem;
  p->split = c->split;
  p->step_count = c->step_count;
  p->us = c->us;
  p->split_us = c->split_us;
  p->copy_us = c->copy_us;
  e->plan_count++;
  return DD_OK;
}

static dd_status collect(struct emit *e)
{
  struct db_filter f = {.best_only = true};

  TRY(choose_device(e));
  TRY(choose_policy(e));
  f.device = e->device_name;
  TRY(db_each(e->db, &f, visit_best, e));
  e->plan = ARENA_ARRAY(&e->arena, struct table_plan, e->chosen_count + 1);
  if (!e->plan) return fail(DD_NO_MEMORY, "out of memory");
  for (uint32_t i = 0; i < e->chosen_count; ++i)
    TRY(add_plan(e, &e->chosen[i]));
  if (e->plan_count) return DD_OK;
  return fail(DD_UNTUNED, "'%s' has no row that these specs can use",
              e->db_path);
}

/* ---- Writing --------------------------------------------------------- */

static dd_status make_table(struct emit *e, struct bytes *out)
{
  struct table_writer w = {0};
  char provenance[64];

  snprintf(provenance, sizeof provenance, "difftune %d.%d.%d",
           DD_VERSION_MAJOR, DD_VERSION_MINOR, DD_VERSION_PATCH);
  w.specs = &e->specs.message;
  w.device_name = e->device_name;
  w.device_kind = e->device_kind;
  w.policy = e->policy_name;
  w.provenance = provenance;
  w.arch = e->arch;
  w.sms = e->sms;
  w.variant_count = e->variant_count;
  w.variants = e->variant;
  w.plan_count = e->plan_count;
  w.plans = e->plan;
  return table_write(&w, out);
}

static void write_c(const struct bytes *table, struct bytes *out)
{
  bytes_text(out, "/* Generated by difftune emit; do not edit.\n"
                  " *     dd_open_options options = DD_OPEN_OPTIONS_INIT;\n"
                  " *     options.table_data = difftune_table;\n"
                  " *     options.table_size = difftune_table_size; */\n"
                  "#include <stddef.h>\n\n"
                  "extern const unsigned char difftune_table[];\n"
                  "extern const size_t difftune_table_size;\n\n"
                  "const unsigned char difftune_table[] = {");
  for (size_t i = 0; i < table->size; ++i)
    bytes_printf(out, "%s%u,", i % 16 ? "" : "\n", (uint8_t)table->data[i]);
  bytes_text(out, "\n};\nconst size_t difftune_table_size = "
                  "sizeof difftune_table;\n");
}

static bool ends_in(const char *text, const char *end)
{
  size_t n = strlen(text), m = strlen(end);

  return n > m && !strcmp(text + n - m, end);
}

static dd_status write_out(struct emit *e, size_t *size)
{
  struct bytes table = BYTES_INIT, text = BYTES_INIT;
  const struct bytes *out = &table;
  dd_status status = make_table(e, &table);

  if (!status && ends_in(e->out, ".c")) {
    write_c(&table, &text);
    status = bytes_status(&text);
    out = &text;
  }
  if (!status) status = file_write(e->out, out->data, out->size);
  *size = out->size;
  bytes_release(&text);
  bytes_release(&table);
  return status;
}

static void report(const struct emit *e, size_t size)
{
  struct json j;

  if (!e->json) {
    printf("%s: %u plans, %u variants, %zu bytes, for %s (%s), %s\n", e->out,
           e->plan_count, e->variant_count, size, e->device_name, e->target,
           e->policy_name);
    return;
  }
  json_init(&j, stdout);
  json_object(&j, NULL);
  json_text(&j, "file", e->out);
  json_text(&j, "device", e->device_name);
  json_text(&j, "target", e->target);
  json_text(&j, "policy", e->policy_name);
  json_int(&j, "plans", e->plan_count);
  json_int(&j, "variants", e->variant_count);
  json_int(&j, "left_out", e->stale);
  json_int(&j, "bytes", (int64_t)size);
  json_end(&j, '}');
  json_finish(&j);
}

static dd_status emit(struct emit *e)
{
  size_t size;

  TRY(db_open(e->db_path, DB_READ, &e->db));
  TRY(collect(e));
  TRY(write_out(e, &size));
  report(e, size);
  return DD_OK;
}

int cmd_emit(int argc, char **argv)
{
  struct emit e = {0};
  const struct option table[] = {
      OPT_VARIANTS(&e.variants),
      OPT_DB(&e.db_path),
      OPT_TEXT("device", 0, &e.device, "NAME",
               "a part of the device's name, where there are several"),
      OPT_TEXT("policy", 0, &e.policy, "POLICY",
               "\"cold graph\", ..., where there are several"),
      OPT_TEXT("out", 'o', &e.out, "FILE", "FILE.ddt, or FILE.c to link in"),
      OPT_JSON(&e.json),
      OPT_END};
  dd_status status;
  int code;

  if (!options_parse(table, argc, argv, NULL, &code)) return code;
  if (!e.out || !(ends_in(e.out, ".ddt") || ends_in(e.out, ".c")))
    return say_usage("emit wants -o FILE.ddt or -o FILE.c");
  e.db_path = db_path_or_default(e.db_path);
  if ((code = say_missing(e.db_path))) return code;
  status = specs_load(&e.specs, e.variants);
  if (status) return say_failure(status);
  arena_init(&e.arena, NULL);
  status = emit(&e);
  db_close(e.db);
  arena_release(&e.arena);
  specs_release(&e.specs);
  return say_failure(status);
}
