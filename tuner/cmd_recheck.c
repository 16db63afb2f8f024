/*
 * cmd_recheck.c - which winners a new driver, compiler or source leaves valid.
 *
 * A winner whose text is still written and whose machine code is still the same
 * is as fast as it was, unless the driver has changed what it does with it; so
 * the candidates that were as fast as it, and a few of the others, race again.
 * Only where it is no longer among the fastest is the problem swept as a whole.
 * Both are sweeps of their own in the database.
 */
#include <stdlib.h>
#include <string.h>

#include "choose.h"
#include "command.h"
#include "incumbent.h"
#include "rerun.h"
#include "stored.h"

/* What has become of a problem's winner. */
#define CLASS_MAP(X)                                                           \
  X(VALID, "valid")      /* driver, compiler and source are the same */        \
  X(SAME, "same code")   /* they are not, and the machine code is */           \
  X(CHANGED, "changed")  /* another machine code, or none to compare with */   \
  X(GONE, "gone")        /* the specs no longer write it */
enum class {
#define CLASS_NAME(name, word) CLASS_##name,
  CLASS_MAP(CLASS_NAME) CLASS_COUNT
#undef CLASS_NAME
};
#define CLASS_WORD(name, word) word,
static const char *const class_words[] = {CLASS_MAP(CLASS_WORD)};
#undef CLASS_WORD

/* A measurement of the winner's race. */
struct row {
  struct row *next;
  int64_t measurement, toolchain;
  bool split, tied;
  uint32_t step_count;
  int64_t steps[OP_MAX_STEPS];
};

struct checked { /* a problem */
  struct checked *next;
  char *spelling, *label; /* label: the winner's */
  struct problem problem;
  struct row *rows, **end; /* the winner first */
  uint32_t others;         /* rows that need not race again */
  int64_t sweep;
  double us; /* the winner's then */
  enum class class;
  struct outcome *raced, *swept; /* again; NULL: not */
};

struct recheck {
  const char *variants, *db_path, *gpu, *policy, *command;
  bool cpu, all, json;
  int64_t sample, seed;
  struct texts ops;
  struct db *db;
  struct specs specs;
  struct arena arena;
  struct rerun rerun;
  struct sweep wide; /* of the problems whose winner has moved */
  struct checked *problems, *last;
};

/* ---- What the database has ----------------------------------------------- */

static bool is_wanted(const struct recheck *r, const struct db_row *row)
{
  char op[64];

  snprintf(op, sizeof op, "%.*s", (int)strcspn(row->problem, ":"),
           row->problem);
  return db_row_is_of(row, &r->rerun.info, r->policy) &&
         (!r->ops.count || texts_have(&r->ops, op));
}

/* The winner and its ties, and the split form, whose time goes into tables. */
static bool must_race(const struct checked *c, const struct row *row)
{
  return row == c->rows || row->tied || row->split;
}

static dd_status add_row(struct recheck *r, struct checked *c,
                         const struct db_row *from)
{
  struct row *row = ARENA_NEW(&r->arena, struct row);

  if (!row) return fail(DD_NO_MEMORY, "out of memory");
  row->measurement = from->measurement;
  row->toolchain = from->toolchain;
  row->split = from->split;
  row->tied = from->tied;
  row->step_count = from->step_count;
  memcpy(row->steps, from->steps, sizeof row->steps);
  *c->end = row;
  c->end = &row->next;
  c->others += !must_race(c, row);
  return DD_OK;
}

static dd_status add_problem(struct recheck *r, const struct db_row *row)
{
  struct checked *c = ARENA_NEW(&r->arena, struct checked);

  if (!c) return fail(DD_NO_MEMORY, "out of memory");
  c->spelling = arena_text(&r->arena, row->problem, strlen(row->problem));
  c->label = arena_text(&r->arena, row->label, strlen(row->label));
  if (!c->spelling || !c->label) return fail(DD_NO_MEMORY, "out of memory");
  c->end = &c->rows;
  c->sweep = row->sweep;
  c->us = row->median_us;
  *(r->last ? &r->last->next : &r->problems) = c;
  r->last = c;
  return add_row(r, c, row);
}

/* Rows of a problem come together, the winner first. */
static dd_status visit_row(void *user, const struct db_row *row)
{
  struct recheck *r = user;
  struct checked *c = r->last;

  if (!is_wanted(r, row)) return DD_OK;
  if (row->rank == 1) return add_problem(r, row);
  if (!c || strcmp(c->spelling, row->problem) || c->sweep != row->sweep)
    return DD_OK;
  return add_row(r, c, row);
}

static dd_status read_rows(struct recheck *r)
{
  struct db_filter f = {.device_kind = r->rerun.info.kind,
                        .device = r->rerun.info.name};

  TRY(db_each(r->db, &f, visit_row, r));
  if (r->problems) return DD_OK;
  return fail(DD_UNTUNED, "'%s' has no winner on %s under '%s'; 'difftune "
              "show' lists what it has", r->db_path, r->rerun.info.name,
              r->policy);
}

/* ---- Classes ------------------------------------------------------------- */

static dd_status read_step(struct recheck *r, int64_t variant,
                           struct variant *v, bool *gone)
{
  struct db_variant_row stored;
  struct arena a;
  dd_status status;

  arena_init(&a, NULL);
  status = db_variant_point(r->db, variant, &a, &stored);
  *gone = !status && !stored_is_current_in(&r->rerun.build, &stored, v);
  arena_release(&a);
  return status;
}

/* The candidate of a row as the specs write it now; *gone: they do not. */
static dd_status make_fixed(struct recheck *r, const struct row *row,
                            struct fixed *f, bool *gone)
{
  *f = (struct fixed){.split = row->split, .step_count = row->step_count};
  *gone = false;
  for (uint32_t i = 0; i < row->step_count && !*gone; ++i)
    TRY(read_step(r, row->steps[i], &f->step[i], gone));
  return DD_OK;
}

static dd_status find_gone(struct recheck *r, struct checked *c)
{
  struct fixed winner;
  bool gone = problem_parse(&r->specs.ops, c->spelling, &c->problem) != DD_OK;

  c->problem.op = gone ? NULL : c->problem.op;
  if (!gone) TRY(make_fixed(r, c->rows, &winner, &gone));
  if (gone) c->class = CLASS_GONE;
  return DD_OK;
}

/* Of another compiler's code nothing is known until it is compiled for the
 * race: see compare_code(). */
static dd_status classify(struct recheck *r, struct checked *c)
{
  struct db_provenance from;

  TRY(find_gone(r, c));
  if (c->class == CLASS_GONE) return DD_OK;
  TRY(db_provenance(r->db, c->rows->measurement, &r->arena, &from));
  if (strcmp(from.toolchain, bytes_string(&r->rerun.build.identity)))
    c->class = CLASS_CHANGED;
  else if (strcmp(from.driver, r->rerun.info.driver))
    c->class = CLASS_SAME;
  return DD_OK;
}

static dd_status classify_all(struct recheck *r)
{
  for (struct checked *c = r->problems; c; c = c->next) TRY(classify(r, c));
  return DD_OK;
}

static dd_status step_has_same_code(struct recheck *r, const struct checked *c,
                                    uint32_t step, bool *same)
{
  struct db_variant_row stored;
  struct arena a;
  dd_status status;

  arena_init(&a, NULL);
  status = db_variant_read(r->db, c->rows->steps[step], r->rerun.build.target,
                           c->rows->toolchain, &a, &stored);
  *same = !status && stored.code &&
          build_has_code(&r->rerun.build, c->raced->entries->part[step],
                         stored.code, stored.code_size);
  arena_release(&a);
  return status;
}

/* The winner is its race's first entry. */
static dd_status compare_code(struct recheck *r, struct checked *c)
{
  bool same = c->raced && c->raced->opened;

  if (c->class != CLASS_CHANGED) return DD_OK;
  for (uint32_t i = 0; i < c->rows->step_count && same; ++i)
    TRY(step_has_same_code(r, c, i, &same));
  if (same) c->class = CLASS_SAME;
  return DD_OK;
}

/* ---- Racing again -------------------------------------------------------- */

/* All that must, and of the others each with the same chance. */
static dd_status choose_rows(struct recheck *r, const struct checked *c,
                             struct fixed *out, uint32_t *count)
{
  unsigned short random[3] = {(unsigned short)r->seed, 0x5eed, 1};
  int64_t wanted = r->sample, left = c->others;

  *count = 0;
  for (const struct row *row = c->rows; row; row = row->next) {
    bool gone;
    if (!must_race(c, row)) {
      if (nrand48(random) % left-- >= wanted) continue;
      wanted--;
    }
    TRY(make_fixed(r, row, &out[*count], &gone));
    *count += !gone;
  }
  return DD_OK;
}

/* At most; the others are ten times as many. */
static uint32_t count_racers(const struct recheck *r, const struct checked *c)
{
  uint32_t count = c->others < r->sample ? c->others : (uint32_t)r->sample;

  for (const struct row *row = c->rows; row; row = row->next)
    count += must_race(c, row);
  return count;
}

static dd_status add_race(struct recheck *r, struct checked *c)
{
  struct fixed *candidates;
  uint32_t count = count_racers(r, c);

  candidates = ARENA_ARRAY(&r->arena, struct fixed, count);
  if (!candidates) return fail(DD_NO_MEMORY, "out of memory");
  TRY(choose_rows(r, c, candidates, &count));
  return sweep_add_fixed(&r->rerun.sweep, &c->problem, candidates, count);
}

static dd_status run_recorded(struct recheck *r, struct sweep *s)
{
  struct recorder recorder = {0};
  dd_status status;

  if (!s->count) return DD_OK;
  TRY(client_wait(s->client));
  status = record_begin(&recorder, r->db_path, s->build, &r->rerun.info,
                        r->command, s->options.seed, s->options.policy, false);
  s->recorder = &recorder;
  if (!status) status = incumbent_load(s);
  if (!status) status = sweep_run(s);
  s->recorder = NULL;
  return record_end(&recorder, status);
}

static bool wants_race(const struct recheck *r, const struct checked *c)
{
  return c->class != CLASS_GONE && (r->all || c->class != CLASS_VALID);
}

static dd_status race_again(struct recheck *r)
{
  struct sweep *s = &r->rerun.sweep;

  for (struct checked *c = r->problems; c; c = c->next)
    if (wants_race(r, c)) TRY(add_race(r, c));
  TRY(run_recorded(r, s));
  for (struct checked *c = r->problems; c; c = c->next) {
    if (!wants_race(r, c)) continue;
    c->raced = sweep_find(s, &c->problem);
    TRY(compare_code(r, c));
  }
  return DD_OK;
}

/* The winner is its race's first entry, and nobody's twin. */
static bool is_confirmed(const struct checked *c)
{
  const struct entry *e = c->raced && c->raced->begun ? c->raced->entries
                                                      : NULL;

  return e && e->raced && e->standing.final && e->standing.tied;
}

/* It has been refuted, or cannot race at all. */
static bool has_moved(const struct checked *c)
{
  if (c->class == CLASS_GONE) return c->problem.op != NULL;
  return c->raced && !is_confirmed(c);
}

static dd_status sweep_moved(struct recheck *r)
{
  struct sweep *s = &r->wide;

  for (struct checked *c = r->problems; c; c = c->next)
    if (has_moved(c)) TRY(sweep_add(s, &c->problem, false, 1));
  TRY(run_recorded(r, s));
  for (struct checked *c = r->problems; c; c = c->next)
    if (has_moved(c)) c->swept = sweep_find(s, &c->problem);
  return DD_OK;
}

/* ---- Saying it ----------------------------------------------------------- */

static const struct outcome *last_look(const struct checked *c)
{
  return c->swept ? c->swept : c->raced;
}

static const struct entry *winner_now(const struct checked *c)
{
  const struct outcome *o = last_look(c);

  return o && o->best >= 0 ? &o->entries[o->best] : NULL;
}

static const char *verdict(const struct checked *c)
{
  if (c->swept) return winner_now(c) ? "swept again" : "lost";
  if (c->class == CLASS_GONE) return "lost";
  return !c->raced ? "kept" : is_confirmed(c) ? "confirmed" : "moved";
}

static void print_json(const struct recheck *r)
{
  struct json j;

  json_init(&j, stdout);
  json_array(&j, NULL);
  for (const struct checked *c = r->problems; c; c = c->next) {
    const struct entry *now = winner_now(c);
    json_object(&j, NULL);
    json_text(&j, "problem", c->spelling);
    json_text(&j, "class", class_words[c->class]);
    json_text(&j, "verdict", verdict(c));
    json_text(&j, "winner", c->label);
    json_real(&j, "median_us", c->us);
    json_int(&j, "raced", c->raced ? c->raced->count : 0);
    json_text(&j, "winner_now", now ? now->label : NULL);
    if (now) json_real(&j, "median_us_now", now->standing.median_us);
    json_end(&j, '}');
  }
  json_end(&j, ']');
  json_finish(&j);
}

static void print_text(const struct recheck *r)
{
  uint32_t count[CLASS_COUNT] = {0};
  struct columns c;

  columns_init(&c, "problem", "winner's code", "verdict", ">us then",
               ">us now", "winner now", NULL);
  for (const struct checked *p = r->problems; p; p = p->next) {
    const struct entry *now = winner_now(p);
    count[p->class]++;
    columns_cell(&c, "%s", p->spelling);
    columns_cell(&c, "%s", class_words[p->class]);
    columns_cell(&c, "%s", verdict(p));
    columns_cell(&c, "%.2f", p->us);
    columns_cell(&c, now ? "%.2f" : "-", now ? now->standing.median_us : 0);
    columns_cell(&c, "%s", now ? now->label : "-");
  }
  columns_print(&c, stdout, "");
  columns_release(&c);
  for (int i = 0; i < CLASS_COUNT; ++i)
    printf("%s%u %s", i ? ", " : "", count[i], class_words[i]);
  printf("\n");
}

/* ---- From top to bottom -------------------------------------------------- */

static dd_status recheck(struct recheck *r)
{
  struct device_info info;
  struct rerun_device device;

  TRY(specs_load(&r->specs, r->variants));
  TRY(choose_device(r->gpu, r->cpu, &info));
  device = (struct rerun_device){info.kind, info.name, info.arch, info.sms,
                                 r->cpu ? NULL : info.uuid, info.uuid};
  TRY(db_open(r->db_path, DB_READ, &r->db));
  TRY(rerun_open(&r->rerun, &r->specs, &device, (uint64_t)r->seed, r->policy));
  r->wide.specs = r->rerun.sweep.specs;
  r->wide.build = r->rerun.sweep.build;
  r->wide.client = r->rerun.sweep.client;
  r->wide.options = r->rerun.sweep.options;
  r->wide.options.parts = strcmp(info.kind, "cpu") ? 0 : 2;
  TRY(read_rows(r));
  TRY(classify_all(r));
  TRY(race_again(r));
  return interrupted() ? DD_OK : sweep_moved(r);
}

static uint32_t count_lost(const struct recheck *r)
{
  uint32_t lost = 0;

  for (const struct checked *c = r->problems; c; c = c->next)
    lost += !strcmp(verdict(c), "lost");
  return lost;
}

static int run(struct recheck *r)
{
  dd_status status;
  int code;

  arena_init(&r->arena, NULL);
  arena_init(&r->wide.arena, NULL);
  status = recheck(r);
  code = status ? say_failure(status)
         : interrupted() ? EXIT_INTERRUPTED
         : count_lost(r) ? EX_DATAERR : EX_OK;
  if (!status && !interrupted() && r->json) print_json(r);
  else if (!status && !interrupted()) print_text(r);
  sweep_release(&r->wide);
  rerun_close(&r->rerun);
  db_close(r->db);
  specs_release(&r->specs);
  arena_release(&r->arena);
  return code;
}

int cmd_recheck(int argc, char **argv)
{
  struct recheck r = {.sample = 4, .seed = 1, .policy = "cold graph",
                      .command = command_line(argc, argv)};
  const struct option table[] = {
      OPT_TEXT("gpu", 0, &r.gpu, "NAME",
               "a GPU by part of its name, index or UUID"),
      OPT_FLAG("cpu", 0, &r.cpu, "the CPU device"),
      OPT_OPS(&r.ops),
      OPT_TEXT("policy", 0, &r.policy, "POLICY",
               "of which rows (\"cold graph\")"),
      OPT_INT("sample", 0, &r.sample, 0, 65536, "N",
              "race so many that were slower, too (4)"),
      OPT_INT("seed", 0, &r.seed, 0, INT64_MAX, "N",
              "for inputs, the sample and order (1)"),
      OPT_FLAG("all", 0, &r.all, "race also where nothing has changed"),
      OPT_VARIANTS(&r.variants),
      OPT_DB(&r.db_path),
      OPT_JSON(&r.json),
      OPT_END};
  int code;

  if (!options_parse(table, argc, argv, NULL, &code)) return code;
  r.db_path = db_path_or_default(r.db_path);
  if ((code = say_missing(r.db_path))) return code;
  interrupt_watch();
  return run(&r);
}
