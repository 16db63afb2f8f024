/* coverage.c - what a table has for problems, those of the zoo for a start. */
#include "coverage.h"

#include <stdio.h>
#include <string.h>

#include "internal.h"
#include "output.h"
#include "spec.h"

struct coverage {
  struct tree tree;
  struct arena arena;
  struct zoo_site *sites;
  uint32_t count;
  struct table table, floor;
  bool has_table;
  struct device_info device; /* the one that the table was made on */
};

/* Without a table: as on the CPU device, where the defaults serve. */
static void choose_device(struct coverage *c)
{
  const struct table *t = &c->table;

  snprintf(c->device.kind, sizeof c->device.kind, "%s",
           c->has_table ? t->device_kind : "cpu");
  snprintf(c->device.name, sizeof c->device.name, "%s",
           c->has_table ? t->device_name : "cpu");
  c->device.arch = c->has_table ? t->arch : 0;
  c->device.sms = c->has_table ? t->sms : 4;
}

static dd_status list_sites(struct coverage *c, const struct texts *spellings)
{
  if (!spellings->count)
    return spec_zoo(&c->tree, &c->arena, &c->sites, &c->count);
  c->count = (uint32_t)spellings->count;
  c->sites = ARENA_ARRAY(&c->arena, struct zoo_site, c->count);
  if (!c->sites) return fail(DD_NO_MEMORY, "out of memory");
  for (uint32_t i = 0; i < c->count; ++i)
    c->sites[i] = (struct zoo_site){"-", spellings->item[i], 0};
  return DD_OK;
}

static dd_status open_all(struct coverage *c, const char *table,
                          const char *variants, const struct texts *spellings)
{
  arena_init(&c->arena, NULL);
  TRY(tree_load(&c->tree, variants));
  TRY(list_sites(c, spellings));
  TRY(table_open_own(&c->floor, floor_table,
                     (size_t)(floor_table_end - floor_table), NULL, true));
  if (table) {
    TRY(table_open(&c->table, table, NULL, &c->floor, true));
    c->has_table = true;
  }
  choose_device(c);
  return DD_OK;
}

static void close_all(struct coverage *c)
{
  table_close(&c->table);
  table_close(&c->floor);
  tree_release(&c->tree);
  arena_release(&c->arena);
}

/* What is said of a site: the rule and the variants, or why there is none. */
struct answer {
  const char *how;
  struct match match; /* where it is not "none" */
  struct bytes text;
};

static void find(struct coverage *c, const struct zoo_site *site,
                 struct answer *a)
{
  struct matcher matcher = {.table = c->has_table ? &c->table : NULL,
                            .floor = &c->floor, .device = &c->device};

  memset(a, 0, sizeof *a);
  a->how = "none";
  if (match_find(&matcher, site->spelling, &a->match)) {
    memset(&a->match, 0, sizeof a->match);
    bytes_text(&a->text, dd_last_error());
    return;
  }
  a->how = match_word(a->match.how);
  match_print_variants(&a->match, &a->text);
}

static void add_row(struct columns *columns, const struct zoo_site *site,
                    const struct answer *a)
{
  columns_cell(columns, "%s", site->name);
  if (site->calls) columns_cell(columns, "%lld", (long long)site->calls);
  else columns_cell(columns, "-");
  columns_cell(columns, "%s", a->how);
  if (a->match.us > 0) columns_cell(columns, "%.2f", a->match.us);
  else columns_cell(columns, "-");
  columns_cell(columns, "%s", site->spelling);
  columns_cell(columns, "%s", bytes_string(&a->text));
}

/* The dynamic fields, defaults and all. */
static void add_sizes(struct json *j, const struct problem *p)
{
  json_object(j, "sizes");
  for (uint32_t i = 0; i < p->op->symbol_count; ++i)
    if (p->op->symbols[i].dynamic && p->op->symbols[i].kind == SYMBOL_INT)
      json_int(j, p->op->symbols[i].name, p->value[i]);
  json_end(j, '}');
}

/* The problems of the split form's steps. */
static void add_parts(struct json *j, const struct match *m)
{
  json_array(j, "parts");
  for (uint32_t i = 0; i < m->problem.op->step_count; ++i) {
    struct bytes text = BYTES_INIT;
    int bind[OP_MAX_TENSORS];
    struct problem part;
    if (problem_step(&m->table->ops, &m->problem, i, &part, bind)) continue;
    problem_print(&part, &text);
    json_text(j, NULL, bytes_string(&text));
    bytes_release(&text);
  }
  json_end(j, ']');
}

static void add_json(struct json *j, const struct zoo_site *site,
                     const struct answer *a)
{
  json_object(j, NULL);
  json_text(j, "site", site->name);
  json_int(j, "calls", site->calls);
  json_text(j, "problem", site->spelling);
  json_text(j, "match", a->how);
  json_real(j, "us", a->match.us);
  if (a->match.loss >= 0) json_real(j, "loss", a->match.loss);
  json_text(j, "plan", bytes_string(&a->text));
  if (a->match.table) {
    add_sizes(j, &a->match.problem);
    add_parts(j, &a->match);
  }
  json_end(j, '}');
}

static void print_sites(struct coverage *c, bool as_json,
                        uint32_t *missing)
{
  struct columns columns;
  struct json j;

  columns_init(&columns, "site", ">calls", "match", ">us", "problem", "plan",
               NULL);
  json_init(&j, stdout);
  if (as_json) json_array(&j, NULL);
  for (uint32_t i = 0; i < c->count; ++i) {
    struct answer a;
    find(c, &c->sites[i], &a);
    if (strcmp(a.how, "none") == 0) ++*missing;
    if (as_json) add_json(&j, &c->sites[i], &a);
    else add_row(&columns, &c->sites[i], &a);
    bytes_release(&a.text);
  }
  if (as_json) json_end(&j, ']');
  if (as_json) json_finish(&j);
  else columns_print(&columns, stdout, "");
  columns_release(&columns);
}

dd_status coverage_print(const char *table, const char *variants,
                         const struct texts *spellings, bool as_json,
                         uint32_t *missing)
{
  struct coverage c;
  dd_status status;

  memset(&c, 0, sizeof c);
  table_init(&c.table, NULL);
  table_init(&c.floor, NULL);
  *missing = 0;
  status = open_all(&c, table, variants, spellings);
  if (!status) print_sites(&c, as_json, missing);
  close_all(&c);
  return status;
}
