/* cmd_show.c - print what the database knows: the best of each problem. */
#include <math.h>
#include <string.h>

#include "command.h"
#include "coverage.h"
#include "db.h"
#include "options.h"
#include "output.h"
#include "specs.h"

struct show {
  const char *db_path, *device, *policy;
  struct texts ops, spellings;
  bool all, why, coverage, by_op, failures, json;
  const char *table, *variants;
  struct db *db;
  struct json out;
  struct columns columns;
  bool open;        /* columns has rows of the group below */
  char group[256];  /* device and policy of the rows at hand */
  char problem[512]; /* of the last row, for --why */
  double best_us;       /* of the row of rank 1, and its other columns */
  int64_t best_sweep;
  uint32_t best_launches;
  int64_t best_registers;
  int64_t rows;
};

/* Every row of a problem is wanted, not only the best. */
static bool wants_all(const struct show *s)
{
  return s->all || s->why;
}

/* db_filter has room for one op and one problem, so more are looked at here. */
static bool wanted_problem(const struct show *s, const char *problem)
{
  size_t op = strcspn(problem, ":");
  bool known = !s->ops.count;

  for (size_t i = 0; i < s->ops.count; ++i)
    known |= strlen(s->ops.item[i]) == op &&
             !memcmp(s->ops.item[i], problem, op);
  if (!known || !s->spellings.count) return known;
  return texts_have(&s->spellings, problem);
}

static bool wanted(const struct show *s, const struct db_row *row)
{
  return wanted_problem(s, row->problem) &&
         (!s->policy || !strcmp(s->policy, row->policy));
}

/* ---- JSON ------------------------------------------------------------ */

static void real_or_null(struct json *j, const char *key, double value)
{
  json_real(j, key, value > 0 ? value : NAN);
}

static void print_json_row(struct json *j, const struct db_row *row)
{
  json_object(j, NULL);
  json_text(j, "problem", row->problem);
  json_text(j, "device", row->device);
  json_text(j, "kind", row->device_kind);
  json_int(j, "arch", row->arch);
  json_int(j, "sms", row->sms);
  json_text(j, "policy", row->policy);
  json_int(j, "rank", row->rank);
  json_bool(j, "tied", row->tied);
  json_int(j, "sweep", row->sweep);
  json_text(j, "variant", row->label);
  json_bool(j, "split", row->split);
  json_int(j, "launches", row->step_count);
  json_real(j, "median_us", row->median_us);
  json_real(j, "low_us", row->low_us);
  json_real(j, "high_us", row->high_us);
  real_or_null(j, "split_us", row->split_us);
  real_or_null(j, "copy_us", row->copy_us);
  json_real(j, "noise", row->noise);
  json_real(j, "floor", row->floor);
  json_int(j, "registers", row->registers);
  json_int(j, "dropped", row->dropped);
  json_int(j, "again", row->again);
  json_int(j, "sm_mhz", row->sm_mhz);
  json_text(j, "throttle", row->throttle);
  json_real(j, "apart", row->apart);
  json_text(j, "board", row->board);
  json_real(j, "error", row->error);
  json_int(j, "samples", row->samples);
  json_text(j, "stopped", row->stopped);
  json_int(j, "measurement", row->measurement);
  json_end(j, '}');
}

/* ---- Text ------------------------------------------------------------ */

static void close_group(struct show *s)
{
  if (!s->open) return;
  columns_print(&s->columns, stdout, "  ");
  columns_release(&s->columns);
  s->open = false;
}

/* Rows come ordered by device; a new device or policy begins a new block. */
static void open_group(struct show *s, const struct db_row *row)
{
  char group[sizeof s->group], arch[16] = "";

  if (row->arch) snprintf(arch, sizeof arch, " sm_%d", row->arch);
  snprintf(group, sizeof group, "%s (%s%s, %d SMs), %s", row->device,
           row->device_kind, arch, row->sms, row->policy);
  if (s->open && !strcmp(group, s->group)) return;
  close_group(s);
  printf("%s%s%s%s\n", s->rows ? "\n" : "", colour(stdout, BOLD), group,
         colour(stdout, PLAIN));
  memcpy(s->group, group, sizeof group);
  if (s->why)
    columns_init(&s->columns, "problem", ">row", ">rank", ">us", "95 %",
                 ">split", ">x", ">copy", ">of copy", "why", "variant", NULL);
  else if (s->all)
    columns_init(&s->columns, "problem", ">row", ">rank", ">us", "95 %",
                 ">split", ">x", ">copy", ">of copy", "variant", NULL);
  else
    columns_init(&s->columns, "problem", ">us", "95 %", ">split",
                 ">x", ">copy", ">of copy", "variant", NULL);
  s->open = true;
  s->problem[0] = 0;
}

/* `value`, or "-" where it is not known. */
static void cell(struct columns *c, const char *format, double value)
{
  char text[32];

  snprintf(text, sizeof text, format, value);
  columns_cell(c, "%s", value > 0 ? text : "-");
}

static void numbers(struct columns *c, const struct db_row *row)
{
  cell(c, "%.2f", row->median_us);
  columns_cell(c, "%.2f..%.2f", row->low_us, row->high_us);
  cell(c, "%.2f", row->split_us);
  cell(c, "%.2f", row->split_us / row->median_us);
  cell(c, "%.2f", row->copy_us);
  cell(c, "%.2f", row->copy_us / row->median_us);
}

/* Of candidates that are as fast up to noise: the rule that decided. */
static void tie_reason(struct show *s, const struct db_row *row, double slower)
{
  struct columns *c = &s->columns;

  if (row->step_count > s->best_launches)
    columns_cell(c, "a tie (%+.1f %%): %u launches, not %u", slower,
                 row->step_count, s->best_launches);
  else if (row->step_count == s->best_launches &&
           row->registers > s->best_registers)
    columns_cell(c, "a tie (%+.1f %%): %lld registers, not %lld", slower,
                 (long long)row->registers, (long long)s->best_registers);
  else if (row->step_count == s->best_launches &&
           row->registers == s->best_registers)
    columns_cell(c, "a tie (%+.1f %%): the smaller hash was taken", slower);
  else
    columns_cell(c, "%+.1f %%, which noise alone may be", slower);
}

/* Why a candidate is where it is in the list. */
static void reason(struct show *s, const struct db_row *row)
{
  struct columns *c = &s->columns;
  double slower = 100 * (row->median_us / s->best_us - 1);

  if (row->rank == 1)
    columns_cell(c, "%s", "chosen");
  else if (row->sweep != s->best_sweep)
    columns_cell(c, "%s", "of another sweep: not to be compared");
  else if (strcmp(row->stopped, "final"))
    columns_cell(c, "%.1f %% slower when screened, %s", slower, row->stopped);
  else if (row->tied)
    tie_reason(s, row, slower);
  else
    columns_cell(c, "%.1f %% slower", slower);
}

static void print_row(struct show *s, const struct db_row *row)
{
  struct columns *c = &s->columns;
  bool same;

  open_group(s, row);
  same = s->rows && !strcmp(s->problem, row->problem) && row->rank > 1;
  snprintf(s->problem, sizeof s->problem, "%s", row->problem);
  if (row->rank == 1 || !same) {
    s->best_us = row->median_us;
    s->best_sweep = row->sweep;
    s->best_launches = row->step_count;
    s->best_registers = row->registers;
  }
  columns_cell(c, "%s", same ? "" : row->problem);
  if (wants_all(s)) {
    columns_cell(c, "%lld", (long long)row->measurement);
    columns_cell(c, "%lld", (long long)row->rank);
  }
  numbers(c, row);
  if (s->why) reason(s, row);
  columns_cell(c, "%s", row->label); /* last: it is long */
}

static dd_status visit_row(void *user, const struct db_row *row)
{
  struct show *s = user;

  if (!wanted(s, row)) return DD_OK;
  if (s->json)
    print_json_row(&s->out, row);
  else
    print_row(s, row);
  s->rows++;
  return DD_OK;
}

static struct db_filter filter_of(const struct show *s)
{
  struct db_filter f = {0};

  f.device = s->device;
  if (s->ops.count == 1) f.op = s->ops.item[0];
  if (s->spellings.count == 1) f.problem = s->spellings.item[0];
  f.best_only = !wants_all(s);
  return f;
}

static dd_status visit_policy(void *user, const struct db_row *row)
{
  struct texts *policies = user;

  if (!texts_have(policies, row->policy))
    texts_add(policies, keep_text(row->policy));
  return DD_OK;
}

/* One policy after the other: times under two are not to be compared. */
static dd_status show_rows(struct show *s)
{
  struct db_filter f = filter_of(s);
  struct texts policies = {0};
  dd_status status = DD_OK;

  if (s->policy)
    texts_add(&policies, s->policy);
  else
    status = db_each(s->db, &f, visit_policy, &policies);
  for (size_t i = 0; i < policies.count && !status; ++i) {
    s->policy = policies.item[i];
    status = db_each(s->db, &f, visit_row, s);
    close_group(s);
  }
  return status;
}

/* ---- Coverage -------------------------------------------------------- */

struct covered {
  char device[128], op[64];
  char last[512]; /* rows of a problem stand together */
  int64_t problems, chosen, measured, failed;
};

struct by_op {
  struct show *show;
  struct covered row[256];
  size_t count;
};

static struct covered *covered_of(struct by_op *c, const char *device,
                                  const char *problem)
{
  int op = (int)strcspn(problem, ":");
  struct covered *row;

  for (size_t i = 0; i < c->count; ++i) {
    row = &c->row[i];
    if (!strcmp(row->device, device) && (int)strlen(row->op) == op &&
        !memcmp(row->op, problem, (size_t)op))
      return row;
  }
  if (c->count == COUNT_OF(c->row)) return NULL;
  row = &c->row[c->count++];
  memset(row, 0, sizeof *row);
  snprintf(row->device, sizeof row->device, "%s", device);
  snprintf(row->op, sizeof row->op, "%.*s", op, problem);
  return row;
}

static dd_status cover_row(void *user, const struct db_row *row)
{
  struct by_op *c = user;
  struct covered *at;

  if (!wanted(c->show, row)) return DD_OK;
  at = covered_of(c, row->device, row->problem);
  if (!at) return fail(DD_UNSUPPORTED, "too many devices and ops to show");
  if (strcmp(at->last, row->problem)) at->problems++;
  snprintf(at->last, sizeof at->last, "%s", row->problem);
  at->chosen += row->rank == 1;
  at->measured++;
  return DD_OK;
}

static dd_status cover_failure(void *user, const struct db_failure_row *row)
{
  struct by_op *c = user;
  struct covered *at;

  if (!wanted_problem(c->show, row->problem)) return DD_OK;
  at = covered_of(c, row->device, row->problem);
  if (!at) return fail(DD_UNSUPPORTED, "too many devices and ops to show");
  at->failed++;
  return DD_OK;
}

static void by_op_json(struct show *s, const struct covered *row)
{
  json_object(&s->out, NULL);
  json_text(&s->out, "device", row->device);
  json_text(&s->out, "op", row->op);
  json_int(&s->out, "problems", row->problems);
  json_int(&s->out, "chosen", row->chosen);
  json_int(&s->out, "measured", row->measured);
  json_int(&s->out, "failed", row->failed);
  json_end(&s->out, '}');
}

static void print_by_op(struct by_op *c)
{
  struct show *s = c->show;

  if (!s->json)
    columns_init(&s->columns, "device", "op", ">problems", ">chosen",
                 ">measured", ">failed", NULL);
  for (size_t i = 0; i < c->count; ++i) {
    struct covered *row = &c->row[i];
    if (s->json) {
      by_op_json(s, row);
      continue;
    }
    columns_cell(&s->columns, "%s", row->device);
    columns_cell(&s->columns, "%s", row->op);
    columns_cell(&s->columns, "%lld", (long long)row->problems);
    columns_cell(&s->columns, "%lld", (long long)row->chosen);
    columns_cell(&s->columns, "%lld", (long long)row->measured);
    columns_cell(&s->columns, "%lld", (long long)row->failed);
  }
  if (s->json) return;
  columns_print(&s->columns, stdout, "");
  columns_release(&s->columns);
}

static dd_status show_ops(struct show *s)
{
  static struct by_op c;
  struct db_filter f = filter_of(s);

  c.show = s;
  f.best_only = false;
  TRY(db_each(s->db, &f, cover_row, &c));
  TRY(db_each_failure(s->db, &f, cover_failure, &c));
  s->rows = (int64_t)c.count;
  if (c.count || s->json) print_by_op(&c);
  return DD_OK;
}

/* ---- Failures -------------------------------------------------------- */

static void failure_json(struct json *j, const struct db_failure_row *row)
{
  json_object(j, NULL);
  json_text(j, "problem", row->problem);
  json_text(j, "device", row->device);
  json_text(j, "variant", row->label);
  json_text(j, "stage", row->stage);
  json_text(j, "reason", row->reason);
  json_text(j, "reproducer", row->reproducer);
  json_end(j, '}');
}

static dd_status visit_failure(void *user, const struct db_failure_row *row)
{
  struct show *s = user;

  if (!wanted_problem(s, row->problem)) return DD_OK;
  s->rows++;
  if (s->json) {
    failure_json(&s->out, row);
    return DD_OK;
  }
  printf("%s%s%s  %s\n", colour(stdout, BOLD), row->label,
         colour(stdout, PLAIN), row->problem);
  printf("  %s, %s: %s\n", row->device, row->stage, row->reason);
  if (row->reproducer && *row->reproducer) printf("  %s\n", row->reproducer);
  return DD_OK;
}

static dd_status show_failures(struct show *s)
{
  struct db_filter f = filter_of(s);

  return db_each_failure(s->db, &f, visit_failure, s);
}

/* ---- What there is ---------------------------------------------------- */

struct present {
  struct texts ops, devices;
};

static void note(struct texts *t, const char *text, size_t size)
{
  struct bytes word = BYTES_INIT;

  bytes_add(&word, text, size);
  if (!texts_have(t, bytes_string(&word)))
    texts_add(t, keep_text(bytes_string(&word)));
  bytes_release(&word);
}

static dd_status note_row(void *user, const struct db_row *row)
{
  struct present *p = user;

  note(&p->ops, row->problem, strcspn(row->problem, ":"));
  note(&p->devices, row->device, strlen(row->device));
  return DD_OK;
}

static dd_status note_failure(void *user, const struct db_failure_row *row)
{
  struct present *p = user;

  note(&p->ops, row->problem, strcspn(row->problem, ":"));
  note(&p->devices, row->device, strlen(row->device));
  return DD_OK;
}

static dd_status refuse(const char *what, const char *word,
                        const char *where, const struct texts *known)
{
  struct bytes list = BYTES_INIT;

  for (size_t i = 0; i < known->count; ++i)
    bytes_printf(&list, "%s '%s'", i ? "," : "", known->item[i]);
  fail(DD_BAD_ARGUMENT, "no %s is named '%s'; %s:%s", what, word, where,
       bytes_string(&list));
  bytes_release(&list);
  return DD_BAD_ARGUMENT;
}

static dd_status check_policy(const char *policy)
{
  static const char *words[] = {"cold graph", "cold eager", "warm graph",
                                "warm eager"};
  const struct texts known = {words, COUNT_OF(words)};

  if (!policy || texts_have(&known, policy)) return DD_OK;
  return refuse("policy", policy, "known are", &known);
}

static dd_status check_device(const char *device, const struct texts *known)
{
  if (!device || !known->count) return DD_OK;
  for (size_t i = 0; i < known->count; ++i)
    if (strcasestr(known->item[i], device)) return DD_OK;
  return refuse("device", device, "the database has", known);
}

/* An op that the database has may be of other specs; one that it lacks must be
 * of these. */
static dd_status check_ops(const struct show *s, const struct texts *known)
{
  struct texts missing = {0};
  struct specs specs;
  dd_status status;

  for (size_t i = 0; i < s->ops.count; ++i)
    if (!texts_have(known, s->ops.item[i])) texts_add(&missing, s->ops.item[i]);
  if (!missing.count) return DD_OK;
  TRY(specs_load(&specs, s->variants));
  status = specs_know(&specs, &missing);
  specs_release(&specs);
  return status;
}

/* A word that names nothing is a mistake, not an empty answer. */
static dd_status check_words(const struct show *s)
{
  struct present p = {0};

  TRY(check_policy(s->policy));
  if (!s->device && !s->ops.count) return DD_OK;
  TRY(db_each(s->db, NULL, note_row, &p));
  TRY(db_each_failure(s->db, NULL, note_failure, &p));
  TRY(check_device(s->device, &p.devices));
  return check_ops(s, &p.ops);
}

/* ---- The command ----------------------------------------------------- */

/* Spellings as the database writes them: in order, without defaults. */
static dd_status canonical(const char *variants, struct texts *spellings)
{
  struct specs specs;
  dd_status status;

  if (!spellings->count) return DD_OK;
  TRY(specs_load(&specs, variants));
  status = problems_spell(&specs, spellings);
  specs_release(&specs);
  return status;
}

static dd_status print(struct show *s)
{
  dd_status status;

  json_init(&s->out, stdout);
  if (s->json) json_array(&s->out, NULL);
  status = s->by_op      ? show_ops(s)
           : s->failures ? show_failures(s)
                         : show_rows(s);
  if (s->json) json_end(&s->out, ']');
  if (s->json) json_finish(&s->out);
  if (!status && !s->rows && !s->json)
    say("'%s' has no such row", s->db_path);
  return status;
}

static dd_status show(struct show *s)
{
  dd_status status;

  TRY(db_open(s->db_path, DB_READ, &s->db));
  status = check_words(s);
  if (!status) status = print(s);
  db_close(s->db);
  return status;
}

static int show_coverage(struct show *s)
{
  int code = s->table ? say_missing(s->table) : EX_OK;
  uint32_t missing;
  dd_status status;

  if (code) return code;
  status = canonical(s->variants, &s->spellings);
  if (!status)
    status = coverage_print(s->table, s->variants, &s->spellings, s->json,
                            &missing);
  if (status) return say_failure(status);
  if (missing) say("%u problems have no plan", missing);
  return missing ? EX_DATAERR : 0;
}

int cmd_show(int argc, char **argv)
{
  struct show s = {0};
  const struct option table[] = {
      OPT_DB(&s.db_path),
      OPT_OPS(&s.ops),
      OPT_TEXT("device", 0, &s.device, "NAME", "only devices of this name"),
      OPT_TEXT("policy", 0, &s.policy, "POLICY", "only this policy"),
      OPT_FLAG("all", 'a', &s.all, "every candidate, not only the best"),
      OPT_FLAG("why", 0, &s.why, "every candidate, and why it was not chosen"),
      OPT_FLAG("ops", 0, &s.by_op, "how far each op got"),
      OPT_FLAG("coverage", 0, &s.coverage, "what a table has for these problems, or those of the zoo"),
      OPT_TEXT("table", 0, &s.table, "FILE", "with --coverage: a .ddt file (none: the defaults)"),
      OPT_VARIANTS(&s.variants),
      OPT_FLAG("failures", 0, &s.failures, "what was given up, and why"),
      OPT_JSON(&s.json),
      OPT_END};
  dd_status status;
  int code;

  if (!options_parse(table, argc, argv, &s.spellings, &code)) return code;
  if (wants_all(&s) + s.coverage + s.by_op + s.failures > 1)
    return say_usage("of --all (or --why), --coverage, --ops and --failures "
                     "only one goes");
  if (s.coverage) return show_coverage(&s);
  s.db_path = db_path_or_default(s.db_path);
  code = say_missing(s.db_path);
  if (code) return code;
  status = canonical(s.variants, &s.spellings);
  return say_failure(status ? status : show(&s));
}
