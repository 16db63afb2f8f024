/*
 * cmd_emit.c - a device's dispatch table, from the best rows of a database.
 *
 * The same rows give the same bytes: no date, no path, no order of discovery.
 * A problem gets its first row, in the order of the view `ranked`, that can be
 * used.  A variant's identity is the hash of its text; a row whose variant the
 * specs at hand would now write differently cannot be used, because the library
 * fills its arguments by the specs that go into the table.  Nor can one whose
 * code is not in the database: a sweep stores that of winners only.  What else
 * raced says which winners serve other sizes, too (interval.h).
 *
 * With --same-bits the rows are walked twice: first to choose the bits of each
 * group of problems (same_bits.h), then for the best rows that have them.  Code
 * that is missing is compiled, if the compiler at hand is the one that made what
 * was measured.
 */
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "compiler.h"
#include "corpus.h"
#include "db.h"
#include "emit.h"
#include "interval.h"
#include "match.h"
#include "origin.h"
#include "output.h"
#include "same_bits.h"
#include "specs.h"
#include "stored.h"
#include "table_write.h"

static const char other_specs[] = "measured with other specs";
static const char no_code[] = "its code is not in the database";
static const char other_bits[] = "it makes other bits";

/* A stored variant that was looked at. */
struct known {
  int64_t row, toolchain;
  uint32_t at;     /* its place in the table; UINT32_MAX: it has none */
  const char *why; /* then: what is against it */
};

/* The problem whose rows are being walked, best first. */
struct problem_rows {
  char *problem, *label; /* label: of its first row */
  const char *why;       /* what was against its first row */
  bool taken, gained;    /* gained: the plan's gain is known */
  int64_t candidate, sweep; /* of the row that was taken */
  double high_us;           /* its upper bound */
  double lost_us;           /* of the best row whose code was missing */
  int64_t lost_sweep;
};

struct emit {
  const char *variants, *db_path, *device, *policy, *out, *loss_text;
  double loss; /* what an interval may lose to others: 0.005 is 0.5 % */
  struct texts without;
  bool json, agree; /* agree: --same-bits */
  struct same_bits same_bits;
  struct bytes identity; /* of the compiler at hand; empty: none */
  struct origin from;
  struct specs specs;
  struct build texts; /* of schemes, each folded once; it compiles nothing */
  struct db *db;
  struct arena arena;
  /* the table to be, and the rows that it comes from */
  struct table_variant *variant;
  uint32_t variant_count, variant_room;
  struct known *known;
  uint32_t known_count, known_room;
  struct table_plan *plan;
  uint32_t plan_count, plan_room;
  /* and what raced for them */
  int64_t *candidate;   /* that each plan has */
  double *split_low_us; /* of its split form; 0: unknown */
  uint32_t candidate_room, split_room;
  struct raced *race;
  uint32_t race_count, race_room, interval_count;
  struct problem_rows rows;
  int64_t left_out;
};

/* Makes room for one more in an array of the arena, by doubling; what it held
 * before stays in the arena. */
static dd_status grow(struct arena *a, void **array, uint32_t count,
                      uint32_t *room, size_t size)
{
  uint32_t more = *room ? *room * 2 : 32;
  void *block;

  if (count < *room) return DD_OK;
  block = arena_alloc(a, more * size);
  if (!block) return fail(DD_NO_MEMORY, "out of memory");
  if (count) memcpy(block, *array, count * size);
  *array = block;
  *room = more;
  return DD_OK;
}

#define GROW(e, array, count, room)                                            \
  do {                                                                         \
    void *block_ = (e)->array;                                                 \
    TRY(grow(&(e)->arena, &block_, (e)->count, &(e)->room,                     \
             sizeof *(e)->array));                                             \
    (e)->array = block_;                                                       \
  } while (0)

static dd_status keep(struct emit *e, const char *text, char **out)
{
  *out = arena_text(&e->arena, text, strlen(text));
  return *out ? DD_OK : fail(DD_NO_MEMORY, "out of memory");
}

/* ---- Code ------------------------------------------------------------ */

static dd_status add_code(struct emit *e, struct table_variant *t,
                          const struct db_variant_row *row)
{
  const char *cpu = e->from.arch ? NULL : row->text;
  struct table_code *code = ARENA_NEW(&e->arena, struct table_code);

  if (!code) return fail(DD_NO_MEMORY, "out of memory");
  code->target = e->from.target;
  code->bytes = cpu ? (const void *)cpu : row->code;
  code->size = cpu ? strlen(cpu) : row->code_size;
  t->code_count = 1;
  t->codes = code;
  return DD_OK;
}

/* ---- Places in the table --------------------------------------------- */

/* The table has one code per variant and target: that of another compiler must
 * be the same. */
static dd_status share_place(struct emit *e, struct known *k,
                             const struct db_variant_row *row)
{
  const struct table_code *code = e->variant[k->at].codes;

  if (!e->from.arch || (code->size == row->code_size &&
                   !memcmp(code->bytes, row->code, code->size)))
    return DD_OK;
  k->at = UINT32_MAX;
  k->why = "its code differs between compilers";
  return DD_OK;
}

static dd_status new_place(struct emit *e, struct known *k,
                           const struct db_variant_row *row,
                           const struct variant *v)
{
  GROW(e, variant, variant_count, variant_room);
  memset(&e->variant[e->variant_count], 0, sizeof *e->variant);
  e->variant[e->variant_count].variant = *v;
  TRY(add_code(e, &e->variant[e->variant_count], row));
  k->at = e->variant_count++;
  return DD_OK;
}

static uint32_t same_variant(const struct emit *e, const struct hash *hash)
{
  uint32_t i = 0;

  while (i < e->variant_count &&
         !hash_equal(&e->variant[i].variant.hash, hash))
    ++i;
  return i;
}

/* Its text alone, as a winner's was. */
static dd_status compile_text(struct emit *e, struct db_variant_row *row)
{
  struct bytes code = BYTES_INIT, log = BYTES_INIT;
  dd_status status = compile_unit(e->from.target, row->text, &code, &log);

  if (!status) {
    row->code = arena_text(&e->arena, code.data, code.size);
    row->code_size = code.size;
    if (!row->code) status = fail(DD_NO_MEMORY, "out of memory");
  }
  bytes_release(&code);
  bytes_release(&log);
  return status == DD_COMPILE ? DD_OK : status; /* then it stays missing */
}

/* Another compiler's code was not measured. */
static dd_status has_compiler(struct emit *e, int64_t toolchain, bool *has)
{
  const char *identity;

  TRY(db_toolchain_read(e->db, toolchain, &e->arena, &identity));
  *has = !strcmp(identity, bytes_string(&e->identity));
  return DD_OK;
}

static dd_status compile_missing(struct emit *e, const struct known *k,
                                 struct db_variant_row *row)
{
  bool has;

  TRY(has_compiler(e, k->toolchain, &has));
  return has ? compile_text(e, row) : DD_OK;
}

static dd_status find_place(struct emit *e, struct known *k)
{
  struct db_variant_row row;
  struct variant v;

  k->at = UINT32_MAX;
  TRY(db_variant_read(e->db, k->row, e->from.target, k->toolchain, &e->arena,
                      &row));
  k->why = other_specs;
  if (!stored_is_current_in(&e->texts, &row, &v)) return DD_OK;
  k->why = no_code;
  if (!row.code && e->agree) TRY(compile_missing(e, k, &row));
  if (!row.code) return DD_OK;
  k->at = same_variant(e, &row.hash);
  if (k->at < e->variant_count) return share_place(e, k, &row);
  return new_place(e, k, &row, &v);
}

static dd_status look_up(struct emit *e, int64_t row, int64_t toolchain,
                         const struct known **out)
{
  struct known *k;

  for (uint32_t i = 0; i < e->known_count; ++i) {
    *out = k = &e->known[i];
    if (k->row == row && k->toolchain == toolchain) return DD_OK;
  }
  GROW(e, known, known_count, known_room);
  *out = k = &e->known[e->known_count++];
  *k = (struct known){.row = row, .toolchain = toolchain};
  return find_place(e, k);
}

/* ---- Rows to plans --------------------------------------------------- */

/* Ends the rows of a problem. */
static void end_problem(struct emit *e)
{
  struct problem_rows *r = &e->rows;

  if (r->problem && !r->taken) {
    e->left_out++;
    say("left out, %s: %s  %s", r->why, r->problem, r->label);
  }
  memset(r, 0, sizeof *r);
}

static dd_status find_bits(struct emit *e, const struct db_row *row,
                           const struct problem *p, uint64_t *bits)
{
  struct bytes corpus = BYTES_INIT;
  dd_status status = corpus_spell(p, corpus_rows(e->from.kind), &corpus);

  *bits = 0;
  if (!status && corpus.size)
    status = db_bits_of(e->db, row->measurement, bytes_string(&corpus), bits);
  bytes_release(&corpus);
  return status;
}

static dd_status wanted_bits(struct emit *e, const struct problem *p,
                             uint64_t *bits)
{
  struct bytes fixed = BYTES_INIT;
  dd_status status;

  problem_print_static(p, &fixed);
  status = bytes_status(&fixed);
  if (!status) *bits = same_bits_of(&e->same_bits, bytes_string(&fixed));
  bytes_release(&fixed);
  return status;
}

/* Whether the row has the bits of its group. */
static dd_status has_wanted_bits(struct emit *e, const struct table_plan *p,
                                 bool *has)
{
  uint64_t bits = 0;

  *has = true;
  if (!e->agree) return DD_OK;
  TRY(wanted_bits(e, &p->problem, &bits));
  *has = bits && bits == p->bits;
  return DD_OK;
}

/* Fills the plan; *why stays NULL where it can be used. */
static dd_status make_plan(struct emit *e, const struct db_row *row,
                           struct table_plan *p, const char **why)
{
  bool wanted;

  memset(p, 0, sizeof *p);
  if (problem_parse(&e->specs.ops, row->problem, &p->problem)) {
    *why = other_specs;
    return DD_OK;
  }
  TRY(find_bits(e, row, &p->problem, &p->bits));
  TRY(has_wanted_bits(e, p, &wanted));
  if (!wanted) {
    *why = other_bits;
    return DD_OK;
  }
  for (uint32_t i = 0; i < row->step_count; ++i) {
    const struct known *k;
    TRY(look_up(e, row->steps[i], row->toolchain, &k));
    p->steps[i] = k->at;
    if (k->at != UINT32_MAX) continue;
    *why = k->why;
    return DD_OK;
  }
  p->spelling = e->rows.problem;
  p->split = row->split;
  p->step_count = row->step_count;
  p->us = row->median_us;
  p->split_us = row->split_us;
  p->copy_us = row->copy_us;
  return DD_OK;
}

/* What other specs have written is no more; what only lacks its code was there
 * to be had, and is what the row to come loses to. */
static void pass_over(struct emit *e, const struct db_row *row, const char *why)
{
  struct problem_rows *r = &e->rows;

  if (!r->why) r->why = why;
  if (why == other_specs || r->lost_us > 0) return;
  r->lost_us = row->median_us;
  r->lost_sweep = row->sweep;
}

static dd_status begin_problem(struct emit *e, const struct db_row *row)
{
  end_problem(e);
  TRY(keep(e, row->problem, &e->rows.problem));
  return keep(e, row->label, &e->rows.label);
}

/* What a fused plan gains at least: both bounds are of 95 % intervals.  The
 * first split row is the best of them; one that was given up has no bounds that
 * mean anything, and its median must do. */
static void note_gain(struct emit *e, const struct db_row *row)
{
  uint32_t i = e->plan_count - 1;
  struct problem_rows *r = &e->rows;
  bool final = !strcmp(row->stopped, "final");

  if (!row->split || r->gained || !(r->high_us > 0)) return;
  e->split_low_us[i] = final ? row->low_us : row->median_us;
  if (!e->plan[i].split) e->plan[i].gain = e->split_low_us[i] / r->high_us - 1;
  r->gained = true;
}

/* The first row after the one that was taken. */
static dd_status note_rival(struct emit *e, const struct db_row *row)
{
  struct table_plan *p = &e->plan[e->plan_count - 1];
  char *label;

  if (p->rival || row->candidate == e->rows.candidate) return DD_OK;
  TRY(keep(e, row->label, &label));
  p->rival = label;
  p->rival_us = row->median_us;
  p->rival_low_us = row->low_us;
  p->rival_high_us = row->high_us;
  return DD_OK;
}

static dd_status note_race(struct emit *e, const struct db_row *row)
{
  GROW(e, race, race_count, race_room);
  e->race[e->race_count++] = (struct raced){e->plan_count - 1, row->candidate,
                                            row->median_us, row->high_us};
  return DD_OK;
}

/* A row of the problem whose plan is made; only those of one sweep compare. */
static dd_status note_row(struct emit *e, const struct db_row *row)
{
  if (row->sweep != e->rows.sweep) return DD_OK;
  note_gain(e, row);
  TRY(note_rival(e, row));
  return note_race(e, row);
}

/* A plan that is not the best there is should not come as a surprise. */
static dd_status take_plan(struct emit *e, const struct db_row *row)
{
  struct problem_rows *r = &e->rows;

  GROW(e, candidate, plan_count, candidate_room);
  GROW(e, split_low_us, plan_count, split_room);
  e->candidate[e->plan_count] = r->candidate = row->candidate;
  e->split_low_us[e->plan_count] = 0;
  if (r->lost_sweep == row->sweep && row->median_us > r->lost_us)
    e->plan[e->plan_count].loss = row->median_us / r->lost_us - 1;
  e->plan_count++;
  r->taken = true;
  r->sweep = row->sweep;
  r->high_us = row->high_us;
  if (r->why)
    say("not the best, %s: %s  %s; taken: %s", r->why, r->problem, r->label,
        row->label);
  TRY(origin_note(e->db, row, &e->from));
  return note_row(e, row);
}

/* Rows of a problem come together, best first. */
static dd_status visit_row(void *user, const struct db_row *row)
{
  struct emit *e = user;
  const char *why = NULL;

  if (!origin_has(&e->from, row)) return DD_OK;
  if (texts_have(&e->without, row->problem)) return DD_OK;
  if (e->rows.taken && !strcmp(e->rows.problem, row->problem))
    return note_row(e, row);
  if (strcmp(row->stopped, "final")) return DD_OK;
  if (!e->rows.problem || strcmp(e->rows.problem, row->problem))
    TRY(begin_problem(e, row));
  GROW(e, plan, plan_count, plan_room);
  TRY(make_plan(e, row, &e->plan[e->plan_count], &why));
  if (!why) return take_plan(e, row);
  pass_over(e, row, why);
  return DD_OK;
}

/* A variant that only rows which were passed over wanted is left out again. */
static dd_status drop_unused(struct emit *e)
{
  uint32_t *place = ARENA_ARRAY(&e->arena, uint32_t, e->variant_count + 1);
  uint32_t n = 0;

  if (!place) return fail(DD_NO_MEMORY, "out of memory");
  memset(place, 0, sizeof *place * (e->variant_count + 1));
  for (uint32_t i = 0; i < e->plan_count; ++i)
    for (uint32_t j = 0; j < e->plan[i].step_count; ++j)
      place[e->plan[i].steps[j]] = 1;
  for (uint32_t i = 0; i < e->variant_count; ++i) {
    if (!place[i]) continue;
    e->variant[n] = e->variant[i];
    place[i] = n++;
  }
  e->variant_count = n;
  for (uint32_t i = 0; i < e->plan_count; ++i)
    for (uint32_t j = 0; j < e->plan[i].step_count; ++j)
      e->plan[i].steps[j] = place[e->plan[i].steps[j]];
  return DD_OK;
}

static dd_status find_intervals(struct emit *e)
{
  struct interval_job job = {.arena = &e->arena,
                             .loss = e->loss,
                             .margin = MATCH_MARGIN,
                             .plan_count = e->plan_count,
                             .plans = e->plan,
                             .candidates = e->candidate,
                             .split_low_us = e->split_low_us,
                             .race_count = e->race_count,
                             .races = e->race};

  TRY(intervals_find(&job));
  e->interval_count = job.interval_count;
  return DD_OK;
}

/* ---- The same bits --------------------------------------------------- */

/* Whether the specs at hand would write a step's variant.  The default gives a
 * row more threads where rows are few, so that the library takes it for none
 * that agrees. */
static dd_status is_written(struct emit *e, int64_t variant, bool *out)
{
  struct db_variant_row stored;
  struct variant v;
  struct arena a;
  dd_status status;

  arena_init(&a, NULL);
  status = db_variant_point(e->db, variant, &a, &stored);
  *out = !status && stored_is_current_in(&e->texts, &stored, &v) &&
         !v.scheme->fits_all;
  arena_release(&a);
  return status;
}

/* Whether a row could be a plan, as far as that is known before anything is
 * compiled. */
static dd_status is_usable(struct emit *e, const struct db_row *row, bool *out)
{
  *out = true;
  for (uint32_t i = 0; i < row->step_count && *out; ++i) {
    TRY(is_written(e, row->steps[i], out));
    if (!*out) return DD_OK;
    TRY(db_variant_has_code(e->db, row->steps[i], e->from.target,
                            row->toolchain, out));
    if (!*out) TRY(has_compiler(e, row->toolchain, out));
  }
  return DD_OK;
}

static dd_status note_bits(struct emit *e, const struct db_row *row,
                           const struct problem *p)
{
  struct bytes fixed = BYTES_INIT;
  uint64_t bits;
  bool usable;
  dd_status status;

  TRY(find_bits(e, row, p, &bits));
  if (bits) {
    TRY(is_usable(e, row, &usable));
    if (!usable) bits = 0;
  }
  problem_print_static(p, &fixed);
  status = bytes_status(&fixed);
  if (!status)
    status = same_bits_note(&e->same_bits, bytes_string(&fixed), row->problem,
                            bits, row->median_us);
  bytes_release(&fixed);
  return status;
}

/* Those of the sweep of the problem's first row. */
static dd_status visit_bits(void *user, const struct db_row *row)
{
  struct emit *e = user;
  struct problem p;

  if (!origin_has(&e->from, row) || strcmp(row->stopped, "final") ||
      texts_have(&e->without, row->problem))
    return DD_OK;
  if (!e->rows.problem || strcmp(e->rows.problem, row->problem)) {
    TRY(keep(e, row->problem, &e->rows.problem));
    e->rows.sweep = row->sweep;
  }
  if (row->sweep != e->rows.sweep ||
      problem_parse(&e->specs.ops, row->problem, &p))
    return DD_OK;
  return note_bits(e, row, &p);
}

static dd_status choose_bits(struct emit *e)
{
  struct db_filter f = {.device = e->from.device};

  if (!e->agree) return DD_OK;
  if (compiler_identity(e->from.target, &e->identity)) bytes_clear(&e->identity);
  TRY(db_each(e->db, &f, visit_bits, e));
  memset(&e->rows, 0, sizeof e->rows);
  return DD_OK;
}

/* ---- All of it ------------------------------------------------------- */

static dd_status collect(struct emit *e)
{
  struct db_filter f = {0};

  TRY(problems_spell(&e->specs, &e->without));
  TRY(origin_choose(e->db, e->db_path, e->device, e->policy, &e->from));
  f.device = e->from.device;
  TRY(choose_bits(e));
  TRY(db_each(e->db, &f, visit_row, e));
  end_problem(e);
  if (!e->plan_count)
    return fail(DD_UNTUNED, "'%s' has no row that can be used", e->db_path);
  TRY(drop_unused(e));
  return find_intervals(e);
}

/* ---- Writing --------------------------------------------------------- */

static dd_status make_table(struct emit *e, struct bytes *out)
{
  struct table_writer w = {0};
  struct bytes provenance = BYTES_INIT;
  dd_status status = origin_print(&e->from, &provenance);

  w.specs = &e->specs.message;
  w.device_name = e->from.device;
  w.device_kind = e->from.kind;
  w.policy = e->from.policy;
  w.provenance = bytes_string(&provenance);
  w.arch = e->from.arch;
  w.sms = e->from.sms;
  w.variant_count = e->variant_count;
  w.variants = e->variant;
  w.plan_count = e->plan_count;
  w.plans = e->plan;
  if (!status) status = table_write(&w, out);
  bytes_release(&provenance);
  return status;
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
    printf("%s: %u plans, %u variants, %u intervals, %zu bytes, for %s (%s), "
           "%s\n", e->out, e->plan_count, e->variant_count, e->interval_count,
           size, e->from.device, e->from.target, e->from.policy);
    return;
  }
  json_init(&j, stdout);
  json_object(&j, NULL);
  json_text(&j, "file", e->out);
  json_text(&j, "device", e->from.device);
  json_text(&j, "target", e->from.target);
  json_text(&j, "policy", e->from.policy);
  json_int(&j, "plans", e->plan_count);
  json_int(&j, "variants", e->variant_count);
  json_int(&j, "intervals", e->interval_count);
  json_int(&j, "left_out", e->left_out);
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

/* "2", "0.5%" */
static bool read_percent(const char *text, double *out)
{
  char *end;
  double percent = strtod(text, &end);

  *out = percent / 100;
  return end != text && (!*end || !strcmp(end, "%")) && percent >= 0 &&
         percent <= 100;
}

int cmd_emit(int argc, char **argv)
{
  struct emit e = {.loss_text = "0.5%"};
  const struct option table[] = {
      OPT_VARIANTS(&e.variants),
      OPT_DB(&e.db_path),
      OPT_TEXT("device", 0, &e.device, "NAME",
               "a part of \"NVIDIA H200 (sm_90, 132 SMs)\", where several"),
      OPT_TEXT("policy", 0, &e.policy, "POLICY",
               "\"cold graph\", ..., where there are several"),
      OPT_TEXT("loss", 0, &e.loss_text, "PERCENT",
               "what one choice for many sizes may lose to another (0.5%)"),
      OPT_FLAG("same-bits", 0, &e.agree,
               "plans that agree bit by bit, for DD_OPEN_SAME_BITS"),
      OPT_TEXTS("without", 0, &e.without, "SPELLING|FILE",
                "as if these problems had not been measured"),
      OPT_TEXT("out", 'o', &e.out, "FILE", "FILE.ddt, or FILE.c to link in"),
      OPT_JSON(&e.json),
      OPT_END};
  dd_status status;
  int code;

  if (!options_parse(table, argc, argv, NULL, &code)) return code;
  if (!e.out || !(ends_in(e.out, ".ddt") || ends_in(e.out, ".c")))
    return say_usage("emit wants -o FILE.ddt or -o FILE.c");
  if (!read_percent(e.loss_text, &e.loss))
    return say_usage("--loss is '%s', and must be a percentage like 2%%",
                     e.loss_text);
  e.db_path = db_path_or_default(e.db_path);
  if ((code = say_missing(e.db_path))) return code;
  status = specs_load(&e.specs, e.variants);
  if (status) return say_failure(status);
  arena_init(&e.arena, NULL);
  arena_init(&e.texts.arena, NULL);
  e.texts.specs = &e.specs;
  same_bits_init(&e.same_bits);
  status = emit(&e);
  db_close(e.db);
  same_bits_release(&e.same_bits);
  bytes_release(&e.identity);
  build_close(&e.texts);
  arena_release(&e.arena);
  specs_release(&e.specs);
  return say_failure(status);
}
