/*
 * db_inner.h - what the files of db/ share and nobody else sees.
 *
 * db_file.c  opens a file, or refuses it       db_schema.c  what it must hold
 * db_row.c   rows and their hashes
 * db.c       the writes of db.h                db_look.c    the reads of db.h
 */
#ifndef DIFFTUNE_DB_INNER_H
#define DIFFTUNE_DB_INNER_H

#include <sqlite3.h>
#include <sys/types.h>

#include "db.h"

/* In the order in which rows point at each other: a table only refers to those
 * before it. */
enum db_table {
  TABLE_DEVICE,
  TABLE_TOOLCHAIN,
  TABLE_PROBLEM,
  TABLE_SOURCE,
  TABLE_VARIANT,
  TABLE_CODE,
  TABLE_CANDIDATE,
  TABLE_CANDIDATE_STEP,
  TABLE_SWEEP,
  TABLE_PROOF,
  TABLE_MEASUREMENT,
  TABLE_FAILURE,
  TABLE_RACE,
  TABLE_STANDING,
  TABLE_ANCHOR,
  TABLE_BITS,
  TABLE_TWIN,
  TABLE_COUNT
};

struct db {
  sqlite3 *sql;
  enum db_mode mode;
  bool batch;   /* between db_batch_begin and db_batch_commit */
  pid_t pid;    /* of the process that opened it */
  bool checked; /* every row was verified when data_version was this */
  int64_t data_version;
  struct bytes path, scratch;
  struct bytes source; /* the text of the source stored or found last */
  int64_t source_id;   /* its row; 0: none, or it was taken back */
  sqlite3_stmt *find[TABLE_COUNT], *insert[TABLE_COUNT], *next[TABLE_COUNT],
      *by_id[TABLE_COUNT];
};

/* How long a call waits for another writer, in milliseconds; tests shorten
 * it. */
extern int db_busy_ms;

/* ---- Failure (db_file.c) ------------------------------------------------- */

/* The status and sentence for what SQLite said last. */
dd_status db_fail(struct db *db, int rc);
dd_status db_damaged(struct db *db, const char *what);
dd_status db_prepare(struct db *db, const char *text, sqlite3_stmt **out);
dd_status db_exec(struct db *db, const char *text);
/* One whole number. */
dd_status db_number(struct db *db, const char *text, int64_t *out);

dd_status db_number_of(struct db *db, sqlite3 *sql, const char *text,
                       int64_t *out);

/* ---- The schema (db_schema.c) -------------------------------------------- */

/* A database in memory made by schema.sql: what files are compared with.
 * Close `sql` when done, also after a failure. */
struct db_pattern {
  sqlite3 *sql;
  int64_t application_id, version;
};
dd_status db_pattern_open(struct db *db, struct db_pattern *p);
dd_status db_check_schema(struct db *db, const struct db_pattern *want);
/* Makes an empty file, or one of an older version, one of ours. */
dd_status db_bring_up(struct db *db, const struct db_pattern *want);

/* ---- Transactions (db.c) ------------------------------------------------- */

/* Every write stands between these two.  `status` is what became of it: the
 * end commits or takes it back, and returns the first failure. */
dd_status db_write_begin(struct db *db);
dd_status db_write_end(struct db *db, dd_status status);

/* ---- Rows (db_row.c) ----------------------------------------------------- */

struct value {
  int type; /* SQLITE_INTEGER, SQLITE_FLOAT, SQLITE_TEXT, SQLITE_BLOB */
  int64_t number;
  double real;
  const void *data;
  size_t size;
};
struct value value_int(int64_t number);
struct value value_real(double number);
struct value value_text(const char *text); /* NULL as "" */
struct value value_blob(const void *data, size_t size);

/* A row without its id and hashes; `payload` is the column after row_hash. */
struct row {
  struct value value[20];
  int count;
  struct value payload;
};

const char *db_table_name(enum db_table table);

/* The row with the same key: its id, verified; 0 if there is none. */
dd_status row_find(struct db *db, enum db_table table, const struct row *row,
                   int64_t *id);
/* Inserts inside a write; the id is the next whole number. */
dd_status row_insert(struct db *db, enum db_table table, const struct row *row,
                     int64_t *id);
/* row_find, then row_insert if there is none; a write of its own. */
dd_status row_find_or_insert(struct db *db, enum db_table table,
                             const struct row *row, int64_t *id);
/* The verified row with this id, in a statement that row_done() gives back. */
dd_status row_read(struct db *db, enum db_table table, int64_t id,
                   sqlite3_stmt **out);
void row_done(sqlite3_stmt *row);
/* The hash that a row must carry. */
dd_status row_digest(struct db *db, enum db_table table, int64_t id,
                     const struct value *value, int count,
                     char text[HASH_HEX]);

/* Verifies every row of every table, and with `payloads` the large columns
 * too; without them the work is done once for one state of the file. */
dd_status db_check_rows(struct db *db, bool payloads);
/* The few by which the newest races are found, and that each has a winner. */
dd_status db_check_races(struct db *db);

#endif
