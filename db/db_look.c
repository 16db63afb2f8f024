/*
 * db_look.c - what is asked of the database.
 *
 * The views of schema.sql do the thinking; this file verifies the rows they
 * stand on, once per state of the file, and hands them over.  The best of each
 * race are few in a large file: they are found by its races, and what is
 * verified are the races and those few.
 */
#include <stdlib.h>
#include <string.h>

#include "db_inner.h"
#include "table.h"
#include "wire.h"

/* ---- Columns ------------------------------------------------------------- */

static const char *text_at(sqlite3_stmt *s, int column)
{
  const char *text = (const char *)sqlite3_column_text(s, column);

  return text ? text : "";
}

/* The filter's texts are ?1 to ?4; a NULL text is bound as NULL. */
#define FILTER                                                                 \
  "(?1 IS NULL OR op = ?1) AND (?2 IS NULL OR problem = ?2) AND "              \
  "(?3 IS NULL OR device_kind = ?3) AND "                                      \
  "(?4 IS NULL OR instr(lower(device), lower(?4)) > 0)"

static dd_status prepare_filtered(struct db *db, const struct db_filter *f,
                                  const char *text, sqlite3_stmt **out)
{
  static const struct db_filter everything;
  const char *value[4];
  int rc = SQLITE_OK;

  if (!f) f = &everything;
  value[0] = f->op;
  value[1] = f->problem;
  value[2] = f->device_kind;
  value[3] = f->device;
  TRY(db_prepare(db, text, out));
  for (int i = 0; i < 4 && !rc; ++i)
    rc = sqlite3_bind_text(*out, i + 1, value[i], -1, SQLITE_STATIC);
  return rc ? db_fail(db, rc) : DD_OK;
}

/* ---- Measurements -------------------------------------------------------- */

static dd_status read_steps(struct db *db, sqlite3_stmt *steps,
                            struct db_row *row)
{
  uint32_t count = 0;
  int rc;

  sqlite3_reset(steps);
  rc = sqlite3_bind_int64(steps, 1, row->candidate);
  while (!rc || rc == SQLITE_ROW) {
    rc = sqlite3_step(steps);
    if (rc != SQLITE_ROW) break;
    if (count == OP_MAX_STEPS) return db_damaged(db, "too many steps");
    row->steps[count++] = sqlite3_column_int64(steps, 0);
  }
  if (rc != SQLITE_DONE) return db_fail(db, rc);
  if (count == row->step_count) return DD_OK;
  return fail(DD_BAD_DATABASE, "'%s' is damaged: candidate %lld has %u steps, "
              "not %u", bytes_string(&db->path), (long long)row->candidate,
              count, row->step_count);
}

#define ROW_COLUMNS                                                            \
  "measurement, candidate, problem, device, device_kind, policy, label, "      \
  "stopped, arch, sms, split, step_count, median_us, low_us, high_us, "        \
  "copy_us, split_us, noise, error, sample_count, rank, sweep, toolchain, "    \
  "tied, dropped, race, registers, again, sm_mhz, floor, throttle, board, "    \
  "apart"

static void read_row(sqlite3_stmt *s, struct db_row *row)
{
  *row = (struct db_row){
    .measurement = sqlite3_column_int64(s, 0),
    .candidate = sqlite3_column_int64(s, 1),
    .problem = text_at(s, 2),
    .device = text_at(s, 3),
    .device_kind = text_at(s, 4),
    .policy = text_at(s, 5),
    .label = text_at(s, 6),
    .stopped = text_at(s, 7),
    .arch = sqlite3_column_int(s, 8),
    .sms = sqlite3_column_int(s, 9),
    .split = sqlite3_column_int(s, 10) != 0,
    .step_count = (uint32_t)sqlite3_column_int(s, 11),
    .median_us = sqlite3_column_double(s, 12),
    .low_us = sqlite3_column_double(s, 13),
    .high_us = sqlite3_column_double(s, 14),
    .copy_us = sqlite3_column_double(s, 15),
    .split_us = sqlite3_column_double(s, 16),
    .noise = sqlite3_column_double(s, 17),
    .error = sqlite3_column_double(s, 18),
    .samples = sqlite3_column_int64(s, 19),
    .rank = sqlite3_column_int64(s, 20),
    .sweep = sqlite3_column_int64(s, 21),
    .toolchain = sqlite3_column_int64(s, 22),
    .tied = sqlite3_column_int(s, 23) != 0,
    .dropped = sqlite3_column_int64(s, 24),
    .race = sqlite3_column_int64(s, 25),
    .registers = sqlite3_column_int64(s, 26),
    .again = sqlite3_column_int64(s, 27),
    .sm_mhz = sqlite3_column_int64(s, 28),
    .floor = sqlite3_column_double(s, 29),
    .throttle = text_at(s, 30),
    .board = text_at(s, 31),
    .apart = sqlite3_column_double(s, 32),
  };
}

static dd_status visit_rows(struct db *db, sqlite3_stmt *rows,
                            sqlite3_stmt *steps, db_visit *visit, void *user)
{
  struct db_row row;
  int rc;

  while ((rc = sqlite3_step(rows)) == SQLITE_ROW) {
    read_row(rows, &row);
    TRY(read_steps(db, steps, &row));
    TRY(visit(user, &row));
  }
  return rc == SQLITE_DONE ? DD_OK : db_fail(db, rc);
}

#define STEPS                                                                  \
  "SELECT variant FROM candidate_step WHERE candidate = ?1 ORDER BY position"

#define ROW_ORDER                                                              \
  " ORDER BY device, device_kind, arch, sms, problem, policy, rank"
#define ROWS_OF(view)                                                          \
  "SELECT " ROW_COLUMNS " FROM " view " WHERE " FILTER ROW_ORDER

static dd_status each_of(struct db *db, const char *text,
                         const struct db_filter *f, db_visit *visit, void *user)
{
  sqlite3_stmt *rows = NULL, *steps = NULL;
  dd_status status = prepare_filtered(db, f, text, &rows);

  if (!status) status = db_prepare(db, STEPS, &steps);
  if (!status) status = visit_rows(db, rows, steps, visit, user);
  sqlite3_finalize(rows);
  sqlite3_finalize(steps);
  return status;
}

/* ---- The best of each race ----------------------------------------------- */

/* A row that another points at. */
static dd_status verified(struct db *db, enum db_table table, int64_t id,
                          sqlite3_stmt **out)
{
  dd_status status = row_read(db, table, id, out);

  return status == DD_BUG ? fail_in(DD_BAD_DATABASE, "the file is damaged")
                          : status;
}

static dd_status verify(struct db *db, enum db_table table, int64_t id)
{
  sqlite3_stmt *s;

  TRY(verified(db, table, id, &s));
  row_done(s);
  return DD_OK;
}

/* An index that is damaged may lead to another row than it says. */
static dd_status not_of_index(struct db *db)
{
  return db_damaged(db, "an index does not fit its table");
}

enum { STEP_CANDIDATE = 1, MEASUREMENT_PROOF = 2, STANDING_RACE = 1,
       STANDING_MEASUREMENT, STANDING_POSITION };

static dd_status verify_step(struct db *db, int64_t candidate, int64_t id)
{
  sqlite3_stmt *s;
  bool same;

  TRY(verified(db, TABLE_CANDIDATE_STEP, id, &s));
  same = sqlite3_column_int64(s, STEP_CANDIDATE) == candidate;
  row_done(s);
  return same ? DD_OK : not_of_index(db);
}

static dd_status verify_steps(struct db *db, int64_t candidate)
{
  sqlite3_stmt *s = NULL;
  dd_status status;
  int rc;

  TRY(db_prepare(db, "SELECT id FROM candidate_step WHERE candidate = ?1", &s));
  rc = sqlite3_bind_int64(s, 1, candidate);
  status = rc ? db_fail(db, rc) : DD_OK;
  while (!status && (rc = sqlite3_step(s)) == SQLITE_ROW)
    status = verify_step(db, candidate, sqlite3_column_int64(s, 0));
  if (!status && rc != SQLITE_DONE) status = db_fail(db, rc);
  sqlite3_finalize(s);
  return status;
}

static dd_status verify_proof(struct db *db, int64_t measurement)
{
  sqlite3_stmt *s;
  int64_t proof;

  TRY(verified(db, TABLE_MEASUREMENT, measurement, &s));
  proof = sqlite3_column_int64(s, MEASUREMENT_PROOF);
  row_done(s);
  return verify(db, TABLE_PROOF, proof);
}

static dd_status verify_standing(struct db *db, const struct db_row *row,
                                 int64_t id)
{
  sqlite3_stmt *s;
  bool same;

  TRY(verified(db, TABLE_STANDING, id, &s));
  same = sqlite3_column_int64(s, STANDING_RACE) == row->race &&
         sqlite3_column_int64(s, STANDING_MEASUREMENT) == row->measurement &&
         sqlite3_column_int64(s, STANDING_POSITION) == row->rank;
  row_done(s);
  return same ? DD_OK : not_of_index(db);
}

static dd_status find_standing(struct db *db, const struct db_row *row,
                               int64_t *id)
{
  sqlite3_stmt *s = NULL;
  int rc;

  *id = 0;
  TRY(db_prepare(db, "SELECT id FROM standing WHERE race = ?1 AND "
                     "position = ?2", &s));
  rc = sqlite3_bind_int64(s, 1, row->race);
  if (!rc) rc = sqlite3_bind_int64(s, 2, row->rank);
  if (!rc) rc = sqlite3_step(s);
  if (rc == SQLITE_ROW) *id = sqlite3_column_int64(s, 0);
  sqlite3_finalize(s);
  return rc == SQLITE_ROW || rc == SQLITE_DONE ? DD_OK : db_fail(db, rc);
}

struct checked {
  struct db *db;
  db_visit *visit;
  void *user;
};

static dd_status visit_checked(void *user, const struct db_row *row)
{
  struct checked *c = user;
  int64_t standing;

  TRY(find_standing(c->db, row, &standing));
  TRY(verify_standing(c->db, row, standing));
  TRY(verify_proof(c->db, row->measurement));
  TRY(verify(c->db, TABLE_CANDIDATE, row->candidate));
  TRY(verify_steps(c->db, row->candidate));
  return c->visit(c->user, row);
}

static dd_status each_newest(struct db *db, const struct db_filter *f,
                             db_visit *visit, void *user)
{
  struct checked c = {db, visit, user};

  TRY(db_check_races(db));
  return each_of(db, ROWS_OF("newest"), f, visit_checked, &c);
}

/* A file that versions before 3 wrote to has measurements of no race. */
static dd_status all_raced(struct db *db, bool *raced)
{
  int64_t alone;

  TRY(db_number(db, "SELECT (SELECT count(*) FROM measurement) - "
                    "(SELECT count(*) FROM standing)", &alone));
  *raced = alone == 0;
  return DD_OK;
}

/* ---- One sweep ----------------------------------------------------------- */

/* The first two, because the second is the best fused one where the split form
 * has won.  A standing that points nowhere is a row too, and refused. */
#define SWEEP_ROWS                                                             \
  "SELECT m.id AS measurement, m.candidate, p.spelling AS problem, "           \
  "d.name AS device, d.kind AS device_kind, r.policy, c.label, m.stopped, "    \
  "d.arch, d.sms, c.split, c.step_count, m.median_us, m.low_us, m.high_us, "   \
  "m.copy_us, nullif(r.split_us, 0) AS split_us, m.noise, f.error, "           \
  "m.sample_count, s.position AS rank, m.sweep, f.toolchain, s.tied, "         \
  "m.dropped, r.id AS race, s.registers, r.again, r.sm_mhz, r.floor, "         \
  "r.throttle, r.board, coalesce(w.apart, 0) AS apart "                        \
  "FROM race AS r "                                                            \
  "JOIN problem AS p ON p.id = r.problem "                                     \
  "JOIN device AS d ON d.id = r.device "                                       \
  "JOIN standing AS s ON s.race = r.id "                                       \
  "LEFT JOIN measurement AS m ON m.id = s.measurement "                        \
  "LEFT JOIN proof AS f ON f.id = m.proof "                                    \
  "LEFT JOIN candidate AS c ON c.id = m.candidate "                            \
  "LEFT JOIN twin AS w ON w.race = r.id "                                      \
  "WHERE r.sweep = ?1 AND (?2 IS NULL OR p.spelling = ?2) AND "                \
  "(?3 OR s.position <= 2 OR coalesce(c.split, 1)) "                           \
  "ORDER BY problem, r.policy, race, rank"

static dd_status rows_of_sweep(struct db *db, int64_t sweep,
                               const char *spelling, bool all, db_visit *visit,
                               void *user)
{
  sqlite3_stmt *rows = NULL, *steps = NULL;
  dd_status status = db_prepare(db, SWEEP_ROWS, &rows);
  int rc = SQLITE_OK;

  if (!status) status = db_prepare(db, STEPS, &steps);
  if (!status) rc = sqlite3_bind_int64(rows, 1, sweep);
  if (!status && !rc)
    rc = sqlite3_bind_text(rows, 2, spelling, -1, SQLITE_STATIC);
  if (!status && !rc) rc = sqlite3_bind_int(rows, 3, all);
  if (rc) status = db_fail(db, rc);
  if (!status) status = visit_rows(db, rows, steps, visit, user);
  sqlite3_finalize(rows);
  sqlite3_finalize(steps);
  return status;
}

dd_status db_each_of_sweep(struct db *db, int64_t sweep, const char *spelling,
                           bool all, db_visit *visit, void *user)
{
  struct checked c = {db, visit, user};

  if (all) {
    TRY(db_check_rows(db, false));
    return rows_of_sweep(db, sweep, spelling, true, visit, user);
  }
  TRY(db_check_races(db));
  return rows_of_sweep(db, sweep, spelling, false, visit_checked, &c);
}

bool db_row_is_of(const struct db_row *row, const struct device_info *info,
                  const char *policy)
{
  return !strcmp(row->device, info->name) && row->arch == info->arch &&
         row->sms == info->sms && !strcmp(row->policy, policy);
}

dd_status db_each(struct db *db, const struct db_filter *f, db_visit *visit,
                  void *user)
{
  bool raced = false;

  if (f && f->best_only) TRY(all_raced(db, &raced));
  if (raced) return each_newest(db, f, visit, user);
  TRY(db_check_rows(db, false));
  return each_of(db, f && f->best_only ? ROWS_OF("best") : ROWS_OF("ranked"), f,
                 visit, user);
}

/* ---- One measurement ----------------------------------------------------- */

/* The view ranks all of a problem's rows to know one's rank. */
static dd_status visit_one(struct db *db, sqlite3_stmt *rows,
                           sqlite3_stmt *steps, int64_t measurement,
                           bool *found, db_visit *visit, void *user)
{
  struct db_row row;
  int rc = sqlite3_bind_int64(rows, 1, measurement);

  if (!rc) rc = sqlite3_step(rows);
  if (rc == SQLITE_DONE) return DD_OK;
  if (rc != SQLITE_ROW) return db_fail(db, rc);
  *found = true;
  read_row(rows, &row);
  TRY(read_steps(db, steps, &row));
  return visit(user, &row);
}

dd_status db_row_of(struct db *db, int64_t measurement, bool *found,
                    db_visit *visit, void *user)
{
  sqlite3_stmt *rows = NULL, *steps = NULL;
  dd_status status = db_check_rows(db, false);

  *found = false;
  if (!status)
    status = db_prepare(db, "SELECT " ROW_COLUMNS " FROM ranked "
                            "WHERE measurement = ?1", &rows);
  if (!status) status = db_prepare(db, STEPS, &steps);
  if (!status)
    status = visit_one(db, rows, steps, measurement, found, visit, user);
  sqlite3_finalize(rows);
  sqlite3_finalize(steps);
  return status;
}

static dd_status keep_provenance(sqlite3_stmt *s, struct arena *arena,
                                 struct db_provenance *out)
{
  const char **text[] = {&out->driver, &out->toolchain, &out->specs_hash,
                         &out->host, &out->ended};

  for (int i = 0; i < (int)COUNT_OF(text); ++i) {
    const char *at = text_at(s, i);
    *text[i] = arena_text(arena, at, strlen(at));
    if (!*text[i]) return fail(DD_NO_MEMORY, "out of memory");
  }
  out->seed = sqlite3_column_int64(s, 5);
  return DD_OK;
}

dd_status db_provenance(struct db *db, int64_t measurement,
                        struct arena *arena, struct db_provenance *out)
{
  sqlite3_stmt *s = NULL;
  dd_status status;
  int rc;

  memset(out, 0, sizeof *out);
  TRY(db_prepare(db, "SELECT d.driver, t.identity, s.specs_hash, s.host, "
                     "s.ended, s.seed FROM measurement AS m "
                     "JOIN proof AS f ON f.id = m.proof "
                     "JOIN toolchain AS t ON t.id = f.toolchain "
                     "JOIN device AS d ON d.id = m.device "
                     "JOIN sweep AS s ON s.id = m.sweep WHERE m.id = ?1", &s));
  rc = sqlite3_bind_int64(s, 1, measurement);
  if (!rc) rc = sqlite3_step(s);
  if (rc == SQLITE_ROW) status = keep_provenance(s, arena, out);
  else if (rc == SQLITE_DONE)
    status = fail(DD_BUG, "there is no measurement %lld",
                  (long long)measurement);
  else status = db_fail(db, rc);
  sqlite3_finalize(s);
  return status;
}

/* ---- Who has won --------------------------------------------------------- */

/* The spelling is bound, not asked for within: SQLite looks at one problem's
 * rows for a value, and at all of the file's for a query. */
static int bind_winner(sqlite3_stmt *s, int64_t sweep, const char *spelling,
                       const char *policy, bool fused)
{
  int rc = sqlite3_bind_int64(s, 1, sweep);

  if (!rc) rc = sqlite3_bind_text(s, 2, spelling, -1, SQLITE_STATIC);
  if (!rc) rc = sqlite3_bind_text(s, 3, policy, -1, SQLITE_STATIC);
  return rc ? rc : sqlite3_bind_int(s, 4, fused);
}

static dd_status find_winner(struct db *db, int64_t sweep,
                             const char *spelling, const char *policy,
                             bool fused, int64_t *candidate)
{
  sqlite3_stmt *s = NULL;
  dd_status status = DD_OK;
  int rc;

  TRY(db_prepare(db, "SELECT candidate FROM ranked WHERE sweep = ?1 AND "
                     "problem = ?2 AND policy = ?3 AND stopped = 'final' "
                     "AND NOT (?4 AND split) ORDER BY rank LIMIT 1", &s));
  rc = bind_winner(s, sweep, spelling, policy, fused);
  if (!rc) rc = sqlite3_step(s);
  if (rc == SQLITE_ROW) *candidate = sqlite3_column_int64(s, 0);
  else if (rc != SQLITE_DONE) status = db_fail(db, rc);
  sqlite3_finalize(s);
  return status;
}

enum { PROBLEM_SPELLING = 1 };

dd_status db_winner(struct db *db, int64_t sweep, int64_t problem,
                    const char *policy, bool fused, int64_t *candidate)
{
  sqlite3_stmt *row;
  dd_status status;

  *candidate = 0;
  TRY(row_read(db, TABLE_PROBLEM, problem, &row));
  status = find_winner(db, sweep, text_at(row, PROBLEM_SPELLING), policy, fused,
                       candidate);
  row_done(row);
  return status;
}

static bool decode_samples(const uint8_t *at, size_t count, double *out)
{
  struct wire_reader r;

  wire_reader_init(&r, at, 8 * count);
  for (size_t i = 0; i < count; ++i) out[i] = wire_f64(&r, "a sample");
  return !r.failed;
}

/* The large column of a row, which holds numbers. */
static dd_status read_numbers(struct db *db, enum db_table table, int64_t id,
                              struct arena *arena, const double **out,
                              size_t *count)
{
  sqlite3_stmt *s;
  dd_status status = DD_OK;
  double *copy;
  int last;

  TRY(row_read(db, table, id, &s));
  last = sqlite3_column_count(s) - 1;
  *count = (size_t)sqlite3_column_bytes(s, last) / 8;
  copy = ARENA_ARRAY(arena, double, *count);
  if (!copy || !decode_samples(sqlite3_column_blob(s, last), *count, copy))
    status = fail(DD_NO_MEMORY, "out of memory for %zu samples", *count);
  row_done(s);
  if (status) *count = 0;
  else *out = copy;
  return status;
}

dd_status db_samples(struct db *db, int64_t measurement, struct arena *arena,
                     const double **samples, size_t *count)
{
  *samples = NULL;
  *count = 0;
  return read_numbers(db, TABLE_MEASUREMENT, measurement, arena, samples,
                      count);
}

dd_status db_ratios(struct db *db, int64_t measurement, struct arena *arena,
                    const double **ratios, size_t *count)
{
  sqlite3_stmt *s = NULL;
  int64_t id = 0;
  int rc;

  *ratios = NULL;
  *count = 0;
  TRY(db_prepare(db, "SELECT id FROM standing WHERE measurement = ?1", &s));
  rc = sqlite3_bind_int64(s, 1, measurement);
  if (!rc) rc = sqlite3_step(s);
  if (rc == SQLITE_ROW) id = sqlite3_column_int64(s, 0);
  sqlite3_finalize(s);
  if (rc != SQLITE_ROW && rc != SQLITE_DONE) return db_fail(db, rc);
  return id ? read_numbers(db, TABLE_STANDING, id, arena, ratios, count)
            : DD_OK;
}

/* ---- Failures ------------------------------------------------------------ */

dd_status db_each_failure(struct db *db, const struct db_filter *f,
                          db_visit_failure *visit, void *user)
{
  sqlite3_stmt *s = NULL;
  dd_status status = db_check_rows(db, false);
  int rc = SQLITE_DONE;

  if (!status)
    status = prepare_filtered(
      db, f, "SELECT problem, device, label, stage, reason, reproducer "
             "FROM failures WHERE " FILTER
             " ORDER BY device, device_id, problem, failure", &s);
  while (!status && (rc = sqlite3_step(s)) == SQLITE_ROW) {
    struct db_failure_row row = {text_at(s, 0), text_at(s, 1), text_at(s, 2),
                                 text_at(s, 3), text_at(s, 4), text_at(s, 5)};
    status = visit(user, &row);
  }
  if (!status && rc != SQLITE_DONE) status = db_fail(db, rc);
  sqlite3_finalize(s);
  return status;
}

/* ---- Variants and code --------------------------------------------------- */

/* Columns of `variant`, `source` and `code` in SELECT *. */
enum { VARIANT_HASH = 1, VARIANT_SOURCE, VARIANT_OP, VARIANT_SCHEME,
       VARIANT_TUNABLES, VARIANT_FACTS, VARIANT_LINES };
enum { SOURCE_TEXT = 3 };
enum { CODE_BYTES = 9 };

static const char *keep_text(struct arena *arena, sqlite3_stmt *s, int column)
{
  const char *text = (const char *)sqlite3_column_text(s, column);

  return text ? arena_text(arena, text, (size_t)sqlite3_column_bytes(s, column))
              : NULL;
}

/* The source's row.  That it is missing is the file's fault here, not the
 * caller's. */
static dd_status find_source(struct db *db, int64_t variant, int64_t source,
                             sqlite3_stmt **out)
{
  dd_status status = row_read(db, TABLE_SOURCE, source, out);

  if (status != DD_BUG) return status;
  return fail(DD_BAD_DATABASE, "'%s' is damaged: row %lld of table variant "
              "points at a row of table source that is not there",
              bytes_string(&db->path), (long long)variant);
}

/* Source and entry in one; `variant` stands on its row. */
static dd_status join_text(struct db *db, sqlite3_stmt *variant,
                           struct arena *arena, const char **out)
{
  const char *entry = text_at(variant, VARIANT_LINES);
  size_t tail = (size_t)sqlite3_column_bytes(variant, VARIANT_LINES), head;
  sqlite3_stmt *s;
  char *text;

  TRY(find_source(db, sqlite3_column_int64(variant, 0),
                  sqlite3_column_int64(variant, VARIANT_SOURCE), &s));
  head = (size_t)sqlite3_column_bytes(s, SOURCE_TEXT);
  *out = text = arena_alloc(arena, head + tail + 1);
  if (text) {
    memcpy(text, sqlite3_column_text(s, SOURCE_TEXT), head);
    memcpy(text + head, entry, tail);
    text[head + tail] = 0;
  }
  row_done(s);
  return text ? DD_OK : fail(DD_NO_MEMORY, "out of memory for %zu bytes of "
                             "text", head + tail);
}

static dd_status keep_point(struct db *db, sqlite3_stmt *s,
                            struct arena *arena, struct db_variant_row *out)
{
  out->op = keep_text(arena, s, VARIANT_OP);
  out->scheme = keep_text(arena, s, VARIANT_SCHEME);
  out->tunables = keep_text(arena, s, VARIANT_TUNABLES);
  out->facts = keep_text(arena, s, VARIANT_FACTS);
  if (!out->op || !out->scheme || !out->tunables || !out->facts)
    return fail(DD_NO_MEMORY, "out of memory for variant %lld",
                (long long)sqlite3_column_int64(s, 0));
  if (!hash_parse(text_at(s, VARIANT_HASH), &out->hash))
    return db_damaged(db, "a variant's hash is not one");
  return DD_OK;
}

static dd_status read_variant(struct db *db, int64_t variant,
                              struct arena *arena, struct db_variant_row *out)
{
  sqlite3_stmt *s;
  dd_status status;

  TRY(row_read(db, TABLE_VARIANT, variant, &s));
  status = keep_point(db, s, arena, out);
  if (!status) status = join_text(db, s, arena, &out->text);
  row_done(s);
  return status;
}

dd_status db_variant_point(struct db *db, int64_t variant, struct arena *arena,
                           struct db_variant_row *out)
{
  sqlite3_stmt *s;
  dd_status status;

  memset(out, 0, sizeof *out);
  TRY(row_read(db, TABLE_VARIANT, variant, &s));
  status = keep_point(db, s, arena, out);
  row_done(s);
  return status;
}

dd_status db_variant_hash(struct db *db, int64_t variant, struct hash *out)
{
  sqlite3_stmt *s;
  bool whole;

  TRY(verified(db, TABLE_VARIANT, variant, &s));
  whole = hash_parse(text_at(s, VARIANT_HASH), out);
  row_done(s);
  return whole ? DD_OK : db_damaged(db, "a variant's hash is not one");
}

enum { TOOLCHAIN_IDENTITY = 1 };

dd_status db_toolchain_read(struct db *db, int64_t toolchain,
                            struct arena *arena, const char **identity)
{
  sqlite3_stmt *s;
  const char *text;

  TRY(verified(db, TABLE_TOOLCHAIN, toolchain, &s));
  text = text_at(s, TOOLCHAIN_IDENTITY);
  *identity = arena_text(arena, text, strlen(text));
  row_done(s);
  return *identity ? DD_OK : fail(DD_NO_MEMORY, "out of memory");
}

enum { BITS_CORPUS = 4, BITS_DIGEST };

/* A row of a measurement's candidate for a corpus, and how many there are. */
static dd_status find_bits(struct db *db, int64_t measurement,
                           const char *corpus, int64_t *id, int64_t *count)
{
  sqlite3_stmt *s = NULL;
  dd_status status = DD_OK;
  int rc;

  *id = *count = 0;
  TRY(db_prepare(db, "SELECT min(b.id), count(*) FROM measurement AS m "
                     "JOIN proof AS f ON f.id = m.proof "
                     "JOIN bits AS b ON b.candidate = m.candidate "
                     "AND b.device = m.device AND b.toolchain = f.toolchain "
                     "WHERE m.id = ?1 AND b.corpus = ?2", &s));
  rc = sqlite3_bind_int64(s, 1, measurement);
  if (!rc) rc = sqlite3_bind_text(s, 2, corpus, -1, SQLITE_STATIC);
  if (!rc) rc = sqlite3_step(s);
  if (rc != SQLITE_ROW) status = db_fail(db, rc);
  *id = status ? 0 : sqlite3_column_int64(s, 0);
  *count = status ? 0 : sqlite3_column_int64(s, 1);
  sqlite3_finalize(s);
  return status;
}

dd_status db_bits_of(struct db *db, int64_t measurement, const char *corpus,
                     uint64_t *digest)
{
  sqlite3_stmt *s;
  int64_t id, count;
  bool same;

  *digest = 0;
  TRY(db_check_rows(db, false)); /* or a lost index entry hides a second one */
  TRY(find_bits(db, measurement, corpus, &id, &count));
  if (!id) return DD_OK;
  TRY(verified(db, TABLE_BITS, id, &s));
  same = !strcmp(text_at(s, BITS_CORPUS), corpus);
  *digest = count > 1 ? BITS_DIFFER
                      : strtoull(text_at(s, BITS_DIGEST), NULL, 16);
  row_done(s);
  return same ? DD_OK : not_of_index(db);
}

/* The newest code of a variant for a target by a toolchain; 0: none. */
static dd_status find_code(struct db *db, int64_t variant, const char *target,
                           int64_t toolchain, int64_t *id)
{
  sqlite3_stmt *s = NULL;
  dd_status status = DD_OK;
  int rc;

  *id = 0;
  TRY(db_prepare(db, "SELECT max(id) FROM code WHERE variant = ?1 "
                     "AND target = ?2 AND toolchain = ?3", &s));
  rc = sqlite3_bind_int64(s, 1, variant);
  if (!rc) rc = sqlite3_bind_text(s, 2, target, -1, SQLITE_STATIC);
  if (!rc) rc = sqlite3_bind_int64(s, 3, toolchain);
  if (!rc) rc = sqlite3_step(s);
  if (rc == SQLITE_ROW) *id = sqlite3_column_int64(s, 0);
  else status = db_fail(db, rc);
  sqlite3_finalize(s);
  return status;
}

static dd_status read_code(struct db *db, int64_t id, struct arena *arena,
                           struct db_variant_row *out)
{
  sqlite3_stmt *s;
  void *copy;
  size_t size;

  TRY(row_read(db, TABLE_CODE, id, &s));
  size = (size_t)sqlite3_column_bytes(s, CODE_BYTES);
  copy = arena_alloc(arena, size + 1);
  if (copy && size) memcpy(copy, sqlite3_column_blob(s, CODE_BYTES), size);
  row_done(s);
  if (!copy)
    return fail(DD_NO_MEMORY, "out of memory for %zu bytes of code", size);
  out->code = copy;
  out->code_size = size;
  return DD_OK;
}

dd_status db_variant_read(struct db *db, int64_t variant, const char *target,
                          int64_t toolchain, struct arena *arena,
                          struct db_variant_row *out)
{
  int64_t code;

  memset(out, 0, sizeof *out);
  TRY(read_variant(db, variant, arena, out));
  if (!target) return DD_OK;
  if (strcmp(target, "cpu") == 0) {
    out->code = out->text;
    out->code_size = strlen(out->text);
    return DD_OK;
  }
  TRY(db_check_rows(db, false)); /* or a lost index entry hides the code */
  TRY(find_code(db, variant, target, toolchain, &code));
  return code ? read_code(db, code, arena, out) : DD_OK;
}

dd_status db_variant_has_code(struct db *db, int64_t variant,
                              const char *target, int64_t toolchain, bool *has)
{
  int64_t code;

  *has = !strcmp(target, "cpu");
  if (*has) return DD_OK;
  TRY(db_check_rows(db, false));
  TRY(find_code(db, variant, target, toolchain, &code));
  *has = code != 0;
  return DD_OK;
}

/* ---- Verifying ----------------------------------------------------------- */

dd_status db_verify(struct db *db)
{
  return db_check_rows(db, true);
}
