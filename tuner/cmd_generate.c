/* cmd_generate.c - print the CUDA text of a variant, or list the points. */
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "emit.h"
#include "output.h"
#include "space.h"
#include "specs.h"

struct generate {
  const char *variants, *spelling, *target;
  bool count, list, fold, json;
  struct texts rest;
  struct specs specs;
  const struct op *op;
  const struct scheme *scheme; /* NULL: named only the op */
  struct problem problem;
  int arch, sms;
};

static dd_status no_such_scheme(const struct op *op, const char *name)
{
  struct bytes known = BYTES_INIT;

  for (uint32_t i = 0; i < op->scheme_count; ++i)
    bytes_printf(&known, " %s", op->schemes[i].name);
  fail(DD_BAD_ARGUMENT, "'%s' has no scheme named '%s'; known are:%s", op->name,
       name, bytes_string(&known));
  bytes_release(&known);
  return DD_BAD_ARGUMENT;
}

/* "qknorm_rope.warp" to its op and scheme. */
static dd_status find_scheme(struct generate *g, const char *name)
{
  const char *dot = strchr(name, '.');
  size_t size = dot ? (size_t)(dot - name) : strlen(name);
  struct texts names = {0};
  struct bytes op = BYTES_INIT;
  dd_status status;

  bytes_add(&op, name, size);
  texts_add(&names, bytes_string(&op));
  status = specs_know(&g->specs, &names);
  if (!status) g->op = op_find(&g->specs.ops, bytes_string(&op));
  bytes_release(&op);
  if (status || !dot) return status;
  g->scheme = op_scheme_find(g->op, dot + 1);
  if (g->scheme) return DD_OK;
  return no_such_scheme(g->op, dot + 1);
}

/* The problem asked for, or the op's first trial. */
static dd_status find_problem(struct generate *g)
{
  struct texts shapes = {0}, ops = {0};
  struct problems all;

  if (g->spelling) texts_add(&shapes, g->spelling);
  else texts_add(&ops, g->op->name);
  TRY(problems_read(&g->specs, &shapes, &ops, &all));
  for (size_t i = 0; i < all.count && !g->problem.op; ++i)
    if (all.item[i].op == g->op) g->problem = all.item[i];
  problems_release(&all);
  if (g->problem.op) return DD_OK;
  return fail(DD_BAD_ARGUMENT, "--problem is not one of '%s'", g->op->name);
}

static dd_status choose_variant(const struct generate *g, struct variant *out)
{
  const struct scheme *s = g->scheme ? g->scheme : &g->op->schemes[0];
  int64_t value[OP_MAX_TUNABLES] = {0};
  const char *reason;

  for (uint32_t i = 0; i < s->tunable_count; ++i)
    value[i] = s->tunables[i].values[0];
  for (size_t i = 1; i < g->rest.count; ++i)
    TRY(tunable_parse(s, g->rest.item[i], value));
  variant_of(s, &g->problem, value, out);
  reason = variant_misfit(out, &g->problem, g->arch, g->sms);
  if (!reason) return DD_OK;
  return fail(DD_UNSUPPORTED, "'%s.%s' does not fit the problem: %s",
              g->op->name, s->name, reason);
}

static dd_status print_text(const struct generate *g)
{
  struct bytes text = BYTES_INIT;
  struct variant v;
  dd_status status;

  TRY(choose_variant(g, &v));
  status = emit_variant(&g->specs.tree, &v, &text);
  if (!status && g->fold) {
    bytes_clear(&text);
    status = emit_unit(&g->specs.tree, &v, 1, &text);
  }
  if (!status) status = bytes_status(&text);
  if (!status) fwrite(text.data, 1, text.size, stdout);
  bytes_release(&text);
  return status;
}

/* ---- Listing --------------------------------------------------------- */

typedef dd_status visit_point(const struct generate *g, struct variant *v,
                              void *user);

static dd_status each_point(const struct generate *g, visit_point *visit,
                            void *user)
{
  for (uint32_t i = 0; i < g->op->scheme_count; ++i) {
    const struct scheme *s = &g->op->schemes[i];
    struct space space;
    struct variant v;
    if (g->scheme && s != g->scheme) continue;
    space_init(&space, s, &g->problem, g->arch, g->sms);
    while (space_next(&space, &v)) TRY(visit(g, &v, user));
  }
  return DD_OK;
}

static dd_status count_point(const struct generate *g, struct variant *v,
                             void *user)
{
  (void)g, (void)v;
  ++*(int64_t *)user;
  return DD_OK;
}

static dd_status list_point(const struct generate *g, struct variant *v,
                            void *user)
{
  struct bytes text = BYTES_INIT;
  char hex[HASH_HEX] = "";
  dd_status status = emit_variant(&g->specs.tree, v, &text);

  bytes_clear(&text);
  variant_print(v, &text);
  bytes_text(&text, " | ");
  variant_print_facts(v, &text);
  if (!status) status = bytes_status(&text);
  hash_hex(&v->hash, hex);
  if (!status && g->json) {
    json_object(user, NULL);
    json_text(user, "variant", text.data);
    json_text(user, "hash", hex);
    json_end(user, '}');
  } else if (!status)
    printf("%.12s  %s\n", hex, text.data);
  bytes_release(&text);
  return status;
}

static dd_status print_list(const struct generate *g)
{
  struct json j;
  dd_status status;

  json_init(&j, stdout);
  if (g->json) json_array(&j, NULL);
  status = each_point(g, list_point, &j);
  if (g->json) json_end(&j, ']');
  if (g->json) json_finish(&j);
  return status;
}

static dd_status print_count(const struct generate *g)
{
  int64_t n = 0;
  dd_status status = each_point(g, count_point, &n);

  if (status) return status;
  if (g->json)
    printf("{\"points\": %lld}\n", (long long)n);
  else
    printf("%lld\n", (long long)n);
  return DD_OK;
}

static dd_status generate(struct generate *g)
{
  TRY(target_parse(g->target, &g->arch, &g->sms));
  TRY(find_scheme(g, g->rest.item[0]));
  TRY(find_problem(g));
  if (g->count) return print_count(g);
  if (g->list) return print_list(g);
  return print_text(g);
}

int cmd_generate(int argc, char **argv)
{
  struct generate g = {.target = "sm_90"};
  const struct option table[] = {
      OPT_VARIANTS(&g.variants),
      OPT_TEXT("problem", 0, &g.spelling, "SPELLING",
               "the problem it is for (the op's first trial)"),
      OPT_TEXT("arch", 0, &g.target, "TARGET", "sm_80, sm_90, ... (sm_90)"),
      OPT_FLAG("fold", 0, &g.fold, "put the included files in"),
      OPT_FLAG("count", 0, &g.count, "count the points that fit the problem"),
      OPT_FLAG("list", 0, &g.list, "list the points that fit the problem"),
      OPT_JSON(&g.json),
      OPT_END};
  dd_status status;
  int code;

  if (!options_parse(table, argc, argv, &g.rest, &code)) return code;
  if (!g.rest.count)
    return say_usage("generate wants an op: difftune generate OP[.SCHEME]");
  if (g.json && !g.count && !g.list)
    return say_usage("--json goes with --count or --list");
  if ((g.count || g.list) && g.rest.count > 1)
    return say_usage("'%s' goes without --count and --list", g.rest.item[1]);
  status = specs_load(&g.specs, g.variants);
  if (status) return say_failure(status);
  status = generate(&g);
  specs_release(&g.specs);
  return say_failure(status);
}
