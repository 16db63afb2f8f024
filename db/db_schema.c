/*
 * db_schema.c - the tables that a file must have, and how it gets them.
 *
 * schema.sql is built into the program and run in memory at each opening, about
 * a millisecond; files are compared with the result, so that the id, the
 * version and the tables are said in one place.
 */
#include <string.h>

#include "db_inner.h"
#include "embedded.h"

extern const struct embedded_file embedded_schema[];

/* How a file of version `from` becomes one of version `to`, but for its views
 * and for tables and indexes that it lacks; sql NULL stands for schema.sql,
 * whole.  An empty file is version 0.  Add a row per version; the recipe is in
 * schema.sql. */
static const struct migration {
  int64_t from, to;
  const char *sql;
} migrations[] = {
  {0, 5, NULL},
  {1, 2, "PRAGMA user_version = 2"},
  {2, 3, "PRAGMA user_version = 3"},
  {3, 4, "PRAGMA user_version = 4"},
  {4, 5, "DROP TABLE IF EXISTS spread; PRAGMA user_version = 5"},
};

/* ---- The pattern --------------------------------------------------------- */

dd_status db_pattern_open(struct db *db, struct db_pattern *p)
{
  int rc = sqlite3_open(":memory:", &p->sql);

  if (!rc)
    rc = sqlite3_exec(p->sql, embedded_schema[0].text, NULL, NULL, NULL);
  if (rc) return db_fail(db, rc);
  TRY(db_number_of(db, p->sql, "PRAGMA application_id", &p->application_id));
  return db_number_of(db, p->sql, "PRAGMA user_version", &p->version);
}

/* ---- Comparing ----------------------------------------------------------- */

/* Skips what SQL does not see: white space and comments. */
static const char *skip_blank(const char *at)
{
  for (;;) {
    at += strspn(at, " \t\r\n");
    if (at[0] != '-' || at[1] != '-') return at;
    at += strcspn(at, "\n");
  }
}

/* Whether two statements are the same but for comments and white space. */
static bool same_sql(const char *a, const char *b)
{
  bool quoted = false;

  for (;; ++a, ++b) {
    if (!quoted) {
      const char *a_word = skip_blank(a), *b_word = skip_blank(b);
      if ((a_word == a) != (b_word == b)) return false;
      a = a_word;
      b = b_word;
    }
    if (*a != *b) return false;
    if (*a == 0) return true;
    if (*a == '\'') quoted = !quoted;
  }
}

static dd_status check_object(struct db *db, const char *type, const char *name,
                              const char *want, sqlite3_stmt *s)
{
  const char *sql;
  int rc;
  bool same;

  sqlite3_reset(s);
  rc = sqlite3_bind_text(s, 1, type, -1, SQLITE_STATIC);
  if (!rc) rc = sqlite3_bind_text(s, 2, name, -1, SQLITE_STATIC);
  if (!rc) rc = sqlite3_step(s);
  if (rc != SQLITE_ROW && rc != SQLITE_DONE) return db_fail(db, rc);
  sql = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(s, 0) : NULL;
  same = sql && same_sql(sql, want);
  if (same) return DD_OK;
  return fail(DD_BAD_DATABASE, "'%s' is damaged: its %s %s is not the one that "
              "difftune makes", bytes_string(&db->path), type, name);
}

static dd_status check_objects(struct db *db, sqlite3_stmt *want,
                               sqlite3_stmt *have)
{
  int rc;

  while ((rc = sqlite3_step(want)) == SQLITE_ROW)
    TRY(check_object(db, (const char *)sqlite3_column_text(want, 0),
                     (const char *)sqlite3_column_text(want, 1),
                     (const char *)sqlite3_column_text(want, 2), have));
  return rc == SQLITE_DONE ? DD_OK : db_fail(db, rc);
}

/* Every table, index and view of ours is there, unchanged.  A flipped bit in a
 * view would change what is best without touching a row.  More than ours is
 * fine: people add views. */
dd_status db_check_schema(struct db *db, const struct db_pattern *want)
{
  sqlite3_stmt *ours = NULL, *theirs = NULL;
  dd_status status;
  int rc = sqlite3_prepare_v2(want->sql,
                              "SELECT type, name, sql FROM sqlite_schema "
                              "WHERE sql NOTNULL", -1, &ours, NULL);

  status = rc ? db_fail(db, rc) : DD_OK;
  if (!status)
    status = db_prepare(db, "SELECT sql FROM sqlite_schema "
                            "WHERE type = ?1 AND name = ?2", &theirs);
  if (!status) status = check_objects(db, ours, theirs);
  sqlite3_finalize(ours);
  sqlite3_finalize(theirs);
  return status;
}

/* ---- Bringing a file to this version ------------------------------------- */

/* Views hold no data: all of ours are made as schema.sql makes them. */
static dd_status renew_view(struct db *db, const char *name, const char *sql)
{
  struct bytes text = BYTES_INIT;
  dd_status status;

  bytes_printf(&text, "DROP VIEW IF EXISTS %s; %s", name, sql);
  status = bytes_status(&text);
  if (!status) status = db_exec(db, bytes_string(&text));
  bytes_release(&text);
  return status;
}

/* What else is there stays: its statement is compared afterwards. */
static dd_status add_missing(struct db *db, const char *name, const char *sql)
{
  sqlite3_stmt *s = NULL;
  dd_status status;
  int rc;

  TRY(db_prepare(db, "SELECT 1 FROM sqlite_schema WHERE name = ?1", &s));
  rc = sqlite3_bind_text(s, 1, name, -1, SQLITE_STATIC);
  if (!rc) rc = sqlite3_step(s);
  status = rc == SQLITE_ROW || rc == SQLITE_DONE ? DD_OK : db_fail(db, rc);
  sqlite3_finalize(s);
  return status || rc == SQLITE_ROW ? status : db_exec(db, sql);
}

static dd_status renew_object(struct db *db, sqlite3_stmt *s)
{
  const char *name = (const char *)sqlite3_column_text(s, 1);
  const char *sql = (const char *)sqlite3_column_text(s, 2);

  if (strcmp((const char *)sqlite3_column_text(s, 0), "view") == 0)
    return renew_view(db, name, sql);
  return add_missing(db, name, sql);
}

static dd_status renew_objects(struct db *db, const struct db_pattern *want)
{
  sqlite3_stmt *s = NULL;
  dd_status status = DD_OK;
  int rc = sqlite3_prepare_v2(want->sql, "SELECT type, name, sql "
                              "FROM sqlite_schema WHERE sql NOTNULL "
                              "ORDER BY rowid", -1, &s, NULL);

  if (rc) return db_fail(db, rc);
  while (!status && (rc = sqlite3_step(s)) == SQLITE_ROW)
    status = renew_object(db, s);
  if (!status && rc != SQLITE_DONE) status = db_fail(db, rc);
  sqlite3_finalize(s);
  return status;
}

static dd_status migrate(struct db *db, const struct db_pattern *want,
                         int64_t version)
{
  while (version != want->version) {
    const struct migration *step = NULL;
    for (size_t i = 0; i < COUNT_OF(migrations) && !step; ++i)
      if (migrations[i].from == version) step = &migrations[i];
    if (!step) return db_damaged(db, "no difftune wrote its version");
    TRY(db_exec(db, step->sql ? step->sql : embedded_schema[0].text));
    version = step->to;
    if (step->sql) TRY(renew_objects(db, want));
  }
  return db_check_schema(db, want);
}

/* In one transaction, looked at again inside it: another program may have been
 * first. */
dd_status db_bring_up(struct db *db, const struct db_pattern *want)
{
  int64_t version;
  dd_status status;

  TRY(db_exec(db, "BEGIN IMMEDIATE"));
  status = db_number(db, "PRAGMA user_version", &version);
  if (!status) status = migrate(db, want, version);
  if (!status) status = db_exec(db, "COMMIT");
  if (status) sqlite3_exec(db->sql, "ROLLBACK", NULL, NULL, NULL);
  return status;
}
