/*
 * cmd_reproduce.c - one stored measurement, measured again.
 *
 * What is run is the text that the database has, not what the specs would write
 * today, compiled by today's compiler, with the inputs of its sweep.
 */
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "rerun.h"
#include "stored.h"

enum { EXIT_OUTSIDE = 1 };

struct reproduce {
  const char *variants, *db_path, *gpu;
  bool json;
  int64_t measurement;
  struct db *db;
  struct specs specs;
  struct arena arena;
  struct db_row row; /* its texts are the arena's */
  struct db_provenance from;
  struct problem problem;
  struct rerun rerun;
  bool same_source;
};

/* ---- What the database has ----------------------------------------------- */

static dd_status keep(struct reproduce *r, const char **text)
{
  *text = arena_text(&r->arena, *text, strlen(*text));
  return *text ? DD_OK : fail(DD_NO_MEMORY, "out of memory");
}

static dd_status keep_row(void *user, const struct db_row *row)
{
  struct reproduce *r = user;
  const char **texts[] = {&r->row.problem, &r->row.device,
                          &r->row.device_kind, &r->row.policy, &r->row.label,
                          &r->row.stopped, &r->row.throttle, &r->row.board};

  r->row = *row;
  for (size_t i = 0; i < COUNT_OF(texts); ++i) TRY(keep(r, texts[i]));
  return DD_OK;
}

static dd_status read_measurement(struct reproduce *r)
{
  bool found;

  TRY(db_open(r->db_path, DB_READ, &r->db));
  TRY(db_row_of(r->db, r->measurement, &found, keep_row, r));
  if (!found)
    return fail(DD_BAD_ARGUMENT, "'%s' has no measurement %lld; 'difftune show "
                "--all' lists them", r->db_path, (long long)r->measurement);
  TRY(db_provenance(r->db, r->measurement, &r->arena, &r->from));
  return problem_parse(&r->specs.ops, r->row.problem, &r->problem);
}

/* ---- Running it ---------------------------------------------------------- */

static dd_status read_step(struct reproduce *r, int64_t variant,
                           struct variant *v, const char **text)
{
  struct db_variant_row row;

  TRY(db_variant_read(r->db, variant, NULL, 0, &r->arena, &row));
  *text = row.text;
  r->same_source = r->same_source && stored_is_current(&r->specs, &row, v);
  if (!stored_parse(&r->specs, &row, v))
    return fail(DD_UNSUPPORTED, "the specs at hand have no %s.%s %s any more; "
                "name those of its sweep with --variants", row.op, row.scheme,
                row.tunables);
  return DD_OK;
}

static dd_status add_candidate(struct reproduce *r)
{
  struct fixed *f = ARENA_NEW(&r->arena, struct fixed);

  if (!f) return fail(DD_NO_MEMORY, "out of memory");
  f->split = r->row.split;
  f->step_count = r->row.step_count;
  r->same_source = true;
  for (uint32_t i = 0; i < f->step_count; ++i)
    TRY(read_step(r, r->row.steps[i], &f->step[i], &f->text[i]));
  return sweep_add_fixed(&r->rerun.sweep, &r->problem, f, 1);
}

static dd_status run(struct reproduce *r)
{
  const struct rerun_device device = {
      .kind = r->row.device_kind, .name = r->row.device, .arch = r->row.arch,
      .sms = r->row.sms, .gpu = r->gpu, .board = r->row.board};
  const struct entry *e;

  TRY(rerun_open(&r->rerun, &r->specs, &device, (uint64_t)r->from.seed,
                 r->row.policy));
  TRY(add_candidate(r));
  TRY(client_wait(&r->rerun.client));
  TRY(sweep_run(&r->rerun.sweep));
  e = r->rerun.sweep.outcomes[0].entries;
  if (interrupted() || e->raced) return DD_OK;
  return fail(DD_UNSUPPORTED, "refused (%s): %s: %s",
              e->stage ? e->stage : "time", r->row.label,
              e->reason ? e->reason : "it was not timed");
}

/* ---- Saying it ----------------------------------------------------------- */

static bool same_driver(const struct reproduce *r)
{
  return !strcmp(r->from.driver, r->rerun.info.driver);
}

static bool same_compiler(const struct reproduce *r)
{
  return !strcmp(r->from.toolchain, bytes_string(&r->rerun.build.identity));
}

/* Gaps below the floor of its race were never claimed. */
static bool is_inside(const struct reproduce *r, double median_us)
{
  return median_us >= r->row.low_us * (1 - r->row.floor) &&
         median_us <= r->row.high_us * (1 + r->row.floor);
}

static void print_json(const struct reproduce *r, const struct standing *now,
                       double copy_us, bool inside)
{
  struct json j;

  json_init(&j, stdout);
  json_object(&j, NULL);
  json_int(&j, "measurement", r->measurement);
  json_text(&j, "problem", r->row.problem);
  json_text(&j, "variant", r->row.label);
  json_text(&j, "policy", r->row.policy);
  json_text(&j, "board", r->row.board);
  json_text(&j, "board_now", r->rerun.info.uuid);
  json_real(&j, "median_us", r->row.median_us);
  json_real(&j, "low_us", r->row.low_us);
  json_real(&j, "high_us", r->row.high_us);
  json_real(&j, "floor", r->row.floor);
  json_real(&j, "copy_us", r->row.copy_us);
  json_real(&j, "median_us_now", now->median_us);
  json_real(&j, "low_us_now", now->low_us);
  json_real(&j, "high_us_now", now->high_us);
  json_real(&j, "copy_us_now", copy_us);
  json_bool(&j, "same_driver", same_driver(r));
  json_bool(&j, "same_compiler", same_compiler(r));
  json_bool(&j, "same_source", r->same_source);
  json_bool(&j, "inside", inside);
  json_end(&j, '}');
  json_finish(&j);
}

static void print_difference(const char *what, const char *then,
                             const char *now)
{
  if (!strcmp(then, now)) printf("  the same %s\n", what);
  else printf("  another %s: '%s', then '%s'\n", what, now, then);
}

static void print_text(const struct reproduce *r, const struct standing *now,
                       double copy_us, bool inside)
{
  printf("%s\n  %s\n", r->row.problem, r->row.label);
  printf("  then %.2f us (%.2f..%.2f), copy %.2f us, %s\n", r->row.median_us,
         r->row.low_us, r->row.high_us, r->row.copy_us, r->from.ended);
  printf("  now  %.2f us (%.2f..%.2f), copy %.2f us\n", now->median_us,
         now->low_us, now->high_us, copy_us);
  print_difference("driver", r->from.driver, r->rerun.info.driver);
  print_difference("compiler", r->from.toolchain,
                   bytes_string(&r->rerun.build.identity));
  printf("  %s\n", r->same_source ? "the same source"
                                  : "another source: the specs have changed");
  printf("%s the interval (%+.1f %%)\n", inside ? "inside" : "outside",
         100 * (now->median_us / r->row.median_us - 1));
}

static int report(const struct reproduce *r)
{
  const struct outcome *o = r->rerun.sweep.outcomes;
  const struct standing *now = &o->entries[0].standing;
  bool inside = is_inside(r, now->median_us);

  if (r->json) print_json(r, now, o->race.copy_us, inside);
  else print_text(r, now, o->race.copy_us, inside);
  return inside ? EX_OK : EXIT_OUTSIDE;
}

static int reproduce(struct reproduce *r)
{
  dd_status status = specs_load(&r->specs, r->variants);
  int code;

  if (!status) status = read_measurement(r);
  if (!status) status = run(r);
  code = status ? say_failure(status)
         : interrupted() ? EXIT_INTERRUPTED : report(r);
  rerun_close(&r->rerun);
  db_close(r->db);
  specs_release(&r->specs);
  return code;
}

int cmd_reproduce(int argc, char **argv)
{
  struct reproduce r = {0};
  struct texts rest = {0};
  const struct option table[] = {
      OPT_DB(&r.db_path),
      OPT_TEXT("gpu", 0, &r.gpu, "NAME",
               "another board of the row's model, by index or UUID"),
      OPT_VARIANTS(&r.variants),
      OPT_JSON(&r.json),
      OPT_END};
  char *end;
  int code;

  if (!options_parse(table, argc, argv, &rest, &code)) return code;
  r.measurement = rest.count == 1 ? strtoll(rest.item[0], &end, 10) : 0;
  if (r.measurement < 1 || *end)
    return say_usage("reproduce wants one row, by the number that 'difftune "
                     "show --all' gives it");
  r.db_path = db_path_or_default(r.db_path);
  if ((code = say_missing(r.db_path))) return code;
  interrupt_watch();
  arena_init(&r.arena, NULL);
  code = reproduce(&r);
  arena_release(&r.arena);
  return code;
}
