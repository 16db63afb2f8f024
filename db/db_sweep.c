/*
 * db_sweep.c - what an earlier run of a sweep has stored.
 *
 * A sweep stores a problem as a whole: where it has a row, it has all of them.
 */
#include "db_inner.h"

static int bind_sweep(sqlite3_stmt *s, const struct db_sweep *sweep)
{
  const char *text[] = {sweep->command, sweep->version, sweep->specs_hash};
  int rc = SQLITE_OK;

  for (int i = 0; i < 3 && !rc; ++i)
    rc = sqlite3_bind_text(s, i + 1, text[i], -1, SQLITE_STATIC);
  if (!rc) rc = sqlite3_bind_int64(s, 4, sweep->device);
  return rc ? rc : sqlite3_bind_int64(s, 5, sweep->seed);
}

/* The row's hash is looked at before anything is made of it. */
static dd_status verify_sweep(struct db *db, int64_t id)
{
  sqlite3_stmt *s;

  TRY(row_read(db, TABLE_SWEEP, id, &s));
  row_done(s);
  return DD_OK;
}

dd_status db_sweep_find(struct db *db, const struct db_sweep *sweep,
                        int64_t *id, bool *complete)
{
  sqlite3_stmt *s = NULL;
  int rc;

  *id = 0;
  *complete = false;
  TRY(db_prepare(db, "SELECT id, outcome = 'complete' FROM sweep "
                     "WHERE replace(command, ' --resume', '') = "
                     "replace(?1, ' --resume', '') AND version = ?2 "
                     "AND specs_hash = ?3 AND device = ?4 AND seed = ?5 "
                     "ORDER BY id DESC LIMIT 1", &s));
  rc = bind_sweep(s, sweep);
  if (!rc) rc = sqlite3_step(s);
  if (rc == SQLITE_ROW) {
    *id = sqlite3_column_int64(s, 0);
    *complete = sqlite3_column_int(s, 1) != 0;
  }
  sqlite3_finalize(s);
  if (rc != SQLITE_ROW && rc != SQLITE_DONE) return db_fail(db, rc);
  return *id ? verify_sweep(db, *id) : DD_OK;
}

dd_status db_sweep_counts(struct db *db, int64_t sweep, int64_t problem,
                          uint32_t *proven, uint32_t *refused)
{
  sqlite3_stmt *s = NULL;
  int rc;

  *proven = *refused = 0;
  TRY(db_prepare(db, "SELECT (SELECT count(*) FROM proof "
                     "WHERE sweep = ?1 AND problem = ?2), "
                     "count(*), total(stage = 'time') FROM failure "
                     "WHERE sweep = ?1 AND problem = ?2", &s));
  rc = sqlite3_bind_int64(s, 1, sweep);
  if (!rc) rc = sqlite3_bind_int64(s, 2, problem);
  if (!rc) rc = sqlite3_step(s);
  if (rc == SQLITE_ROW) {
    *proven = (uint32_t)(sqlite3_column_int(s, 0) - sqlite3_column_int(s, 2));
    *refused = (uint32_t)sqlite3_column_int(s, 1);
  }
  sqlite3_finalize(s);
  return rc == SQLITE_ROW ? DD_OK : db_fail(db, rc);
}
