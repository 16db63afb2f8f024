/*
 * db_row.c - rows that know their own hash.
 *
 * All tables have the same shape: id, columns, the hash of a large last column
 * if there is one, row_hash, the large column.  So one insert, one find and one
 * check serve them all; schema.sql is compared with the file when it is opened,
 * which is why columns can be taken by position here.
 *
 * A row's hash is SHA-256 of, in wire.h's types: the table's name as text;
 * then for each column before row_hash u32 its SQLite type (1 integer, 2 real,
 * 3 text, 4 blob) and i64, f64 or bytes.
 */
#include <string.h>

#include "db_inner.h"
#include "wire.h"

static const struct {
  const char *name;
  const char *key; /* ?N is the Nth column after id; NULL: never looked up */
  bool payload;
} tables[TABLE_COUNT] = {
  [TABLE_DEVICE] = {"device", "kind = ?1 AND name = ?2 AND arch = ?3 AND "
                              "sms = ?4 AND driver = ?5", false},
  [TABLE_TOOLCHAIN] = {"toolchain", "identity = ?1", false},
  [TABLE_PROBLEM] = {"problem", "spelling = ?1", false},
  [TABLE_SOURCE] = {"source", "hash = ?1", true},
  [TABLE_VARIANT] = {"variant", "hash = ?1", false},
  [TABLE_CODE] = {"code", "variant = ?1 AND toolchain = ?2 AND target = ?3 AND "
                          "bytes_hash = ?7", true},
  [TABLE_CANDIDATE] = {"candidate", "hash = ?1", false},
  [TABLE_CANDIDATE_STEP] = {"candidate_step",
                            "candidate = ?1 AND position = ?2", false},
  [TABLE_SWEEP] = {"sweep", "uid = ?1", false},
  [TABLE_PROOF] = {"proof", NULL, false},
  [TABLE_MEASUREMENT] = {"measurement", NULL, true},
  [TABLE_FAILURE] = {"failure", NULL, false},
  [TABLE_RACE] = {"race", NULL, false},
  [TABLE_STANDING] = {"standing", NULL, true},
  [TABLE_ANCHOR] = {"anchor", NULL, false},
  [TABLE_BITS] = {"bits", "candidate = ?1 AND device = ?2 AND toolchain = ?3 "
                          "AND corpus = ?4 AND digest = ?5", false},
  [TABLE_TWIN] = {"twin", NULL, false},
};

const char *db_table_name(enum db_table table)
{
  return tables[table].name;
}

/* ---- Values -------------------------------------------------------------- */

struct value value_int(int64_t number)
{
  return (struct value){SQLITE_INTEGER, number, 0, NULL, 0};
}

/* SQLite stores -0.0 as 0, so the hash must not see the difference. */
struct value value_real(double number)
{
  return (struct value){SQLITE_FLOAT, 0, number + 0.0, NULL, 0};
}

struct value value_text(const char *text)
{
  if (!text) text = "";
  return (struct value){SQLITE_TEXT, 0, 0, text, strlen(text)};
}

/* Never NULL: SQLite binds a null pointer as NULL, not as an empty blob. */
struct value value_blob(const void *data, size_t size)
{
  return (struct value){SQLITE_BLOB, 0, 0, data ? data : "", data ? size : 0};
}

static struct value value_column(sqlite3_stmt *s, int i)
{
  switch (sqlite3_column_type(s, i)) {
  case SQLITE_INTEGER: return value_int(sqlite3_column_int64(s, i));
  case SQLITE_FLOAT: return value_real(sqlite3_column_double(s, i));
  case SQLITE_TEXT: {
    const unsigned char *text = sqlite3_column_text(s, i);
    return (struct value){SQLITE_TEXT, 0, 0, text,
                          (size_t)sqlite3_column_bytes(s, i)};
  }
  case SQLITE_BLOB: {
    const void *blob = sqlite3_column_blob(s, i);
    return value_blob(blob, (size_t)sqlite3_column_bytes(s, i));
  }
  default: return (struct value){SQLITE_NULL, 0, 0, NULL, 0};
  }
}

static int bind(sqlite3_stmt *s, int i, const struct value *v)
{
  switch (v->type) {
  case SQLITE_INTEGER: return sqlite3_bind_int64(s, i, v->number);
  case SQLITE_FLOAT: return sqlite3_bind_double(s, i, v->real);
  case SQLITE_TEXT:
    return sqlite3_bind_text64(s, i, v->data, v->size, SQLITE_STATIC,
                               SQLITE_UTF8);
  default: return sqlite3_bind_blob64(s, i, v->data, v->size, SQLITE_STATIC);
  }
}

static void put_value(struct bytes *out, const struct value *v)
{
  wire_put_u32(out, (uint32_t)v->type);
  if (v->type == SQLITE_INTEGER) wire_put_i64(out, v->number);
  else if (v->type == SQLITE_FLOAT) wire_put_f64(out, v->real);
  else wire_put_bytes(out, v->data, v->size);
}

static void payload_digest(const struct value *payload, char text[HASH_HEX])
{
  struct hash h = hash_of(payload->data, payload->size);

  hash_hex(&h, text);
}

dd_status row_digest(struct db *db, enum db_table table, int64_t id,
                     const struct value *value, int count, char text[HASH_HEX])
{
  struct bytes *b = &db->scratch;
  struct value id_value = value_int(id);
  struct hash h;

  bytes_release(b); /* a failure is sticky, and must not outlive its row */
  wire_put_text(b, tables[table].name);
  put_value(b, &id_value);
  for (int i = 0; i < count; ++i) put_value(b, &value[i]);
  TRY(bytes_status(b));
  h = hash_of(b->data, b->size);
  hash_hex(&h, text);
  return DD_OK;
}

/* ---- Statements, made when first needed ---------------------------------- */

static dd_status statement(struct db *db, sqlite3_stmt **cached,
                           struct bytes *text)
{
  dd_status status = bytes_status(text);

  if (!status && !*cached)
    status = db_prepare(db, bytes_string(text), cached);
  bytes_release(text);
  if (!status) sqlite3_reset(*cached);
  return status;
}

static dd_status select_row(struct db *db, enum db_table table,
                            const char *where, sqlite3_stmt **cached)
{
  struct bytes text = BYTES_INIT;

  bytes_printf(&text, "SELECT * FROM %s WHERE %s", tables[table].name, where);
  return statement(db, cached, &text);
}

static dd_status insert_statement(struct db *db, enum db_table table,
                                  int columns)
{
  struct bytes text = BYTES_INIT;

  bytes_printf(&text, "INSERT INTO %s VALUES (?", tables[table].name);
  for (int i = 1; i < columns; ++i) bytes_text(&text, ", ?");
  bytes_text(&text, ")");
  return statement(db, &db->insert[table], &text);
}

/* ---- Verifying ----------------------------------------------------------- */

static dd_status damaged_row(struct db *db, enum db_table table, int64_t id,
                             const char *how)
{
  return fail(DD_BAD_DATABASE, "'%s' is damaged: row %lld of table %s %s",
              bytes_string(&db->path), (long long)id, tables[table].name, how);
}

static bool holds_hash(sqlite3_stmt *s, int column, const char *hex)
{
  const unsigned char *text = sqlite3_column_text(s, column);

  return text && strcmp((const char *)text, hex) == 0;
}

static dd_status check_payload(struct db *db, enum db_table table,
                               sqlite3_stmt *s)
{
  int last = sqlite3_column_count(s) - 1;
  struct value payload = value_column(s, last);
  char hex[HASH_HEX];

  if (payload.size && !payload.data) return db_fail(db, SQLITE_NOMEM);
  payload_digest(&payload, hex);
  if (!holds_hash(s, last - 2, hex))
    return damaged_row(db, table, sqlite3_column_int64(s, 0),
                       "holds bytes that do not match their hash");
  return DD_OK;
}

/* The row that `s` (SELECT *) stands on. */
static dd_status check_row(struct db *db, enum db_table table, sqlite3_stmt *s)
{
  struct value value[24];
  int hash = sqlite3_column_count(s) - 1 - tables[table].payload;
  int64_t id = sqlite3_column_int64(s, 0);
  char hex[HASH_HEX];

  for (int i = 1; i < hash; ++i) {
    value[i - 1] = value_column(s, i);
    if (value[i - 1].type >= SQLITE_TEXT && !value[i - 1].data)
      return sqlite3_errcode(db->sql) == SQLITE_NOMEM
               ? db_fail(db, SQLITE_NOMEM)
               : damaged_row(db, table, id, "lacks a value");
  }
  TRY(row_digest(db, table, id, value, hash - 1, hex));
  if (!holds_hash(s, hash, hex))
    return damaged_row(db, table, id, "does not match its hash");
  return DD_OK;
}

/* ---- Finding, inserting, reading ----------------------------------------- */

/* The values of a row with the hash of its payload at the end. */
static int columns_of(const struct row *row, bool payload, char hex[HASH_HEX],
                      struct value out[24])
{
  int count = row->count;

  memcpy(out, row->value, sizeof *out * (size_t)count);
  if (payload) {
    payload_digest(&row->payload, hex);
    out[count++] = value_text(hex);
  }
  return count;
}

dd_status row_find(struct db *db, enum db_table table, const struct row *row,
                   int64_t *id)
{
  struct value value[24];
  char hex[HASH_HEX];
  sqlite3_stmt *s;
  int count, rc = SQLITE_OK;
  dd_status status = DD_OK;

  *id = 0;
  TRY(select_row(db, table, tables[table].key, &db->find[table]));
  s = db->find[table];
  count = columns_of(row, tables[table].payload, hex, value);
  for (int i = 0; i < count && i < sqlite3_bind_parameter_count(s) && !rc; ++i)
    rc = bind(s, i + 1, &value[i]);
  if (!rc) rc = sqlite3_step(s);
  if (rc == SQLITE_ROW) {
    status = check_row(db, table, s);
    if (!status) *id = sqlite3_column_int64(s, 0);
  } else if (rc != SQLITE_DONE) {
    status = db_fail(db, rc);
  }
  row_done(s);
  return status;
}

static dd_status next_id(struct db *db, enum db_table table, int64_t *id)
{
  struct bytes text = BYTES_INIT;
  sqlite3_stmt *s;
  int rc;

  bytes_printf(&text, "SELECT coalesce(max(id), 0) + 1 FROM %s",
               tables[table].name);
  TRY(statement(db, &db->next[table], &text));
  s = db->next[table];
  rc = sqlite3_step(s);
  *id = rc == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
  row_done(s);
  return rc == SQLITE_ROW ? DD_OK : db_fail(db, rc);
}

dd_status row_insert(struct db *db, enum db_table table, const struct row *row,
                     int64_t *id)
{
  struct value value[24], id_value, hash_value;
  char payload_hex[HASH_HEX], hex[HASH_HEX];
  bool payload = tables[table].payload;
  int count = columns_of(row, payload, payload_hex, value), rc;
  sqlite3_stmt *s;
  dd_status status = DD_OK;

  TRY(next_id(db, table, id));
  TRY(row_digest(db, table, *id, value, count, hex));
  TRY(insert_statement(db, table, count + 2 + payload));
  s = db->insert[table];
  id_value = value_int(*id);
  hash_value = value_text(hex);
  rc = bind(s, 1, &id_value);
  for (int i = 0; i < count && !rc; ++i) rc = bind(s, i + 2, &value[i]);
  if (!rc) rc = bind(s, count + 2, &hash_value);
  if (!rc && payload) rc = bind(s, count + 3, &row->payload);
  if (!rc) rc = sqlite3_step(s);
  if (rc != SQLITE_DONE) {
    status = db_fail(db, rc);
    *id = 0;
  }
  row_done(s);
  return status;
}

dd_status row_find_or_insert(struct db *db, enum db_table table,
                             const struct row *row, int64_t *id)
{
  dd_status status;

  *id = 0;
  TRY(db_write_begin(db));
  status = row_find(db, table, row, id);
  if (!status && *id == 0) status = row_insert(db, table, row, id);
  status = db_write_end(db, status);
  if (status) *id = 0;
  return status;
}

dd_status row_read(struct db *db, enum db_table table, int64_t id,
                   sqlite3_stmt **out)
{
  sqlite3_stmt *s;
  dd_status status;
  int rc;

  *out = NULL;
  TRY(select_row(db, table, "id = ?1", &db->by_id[table]));
  s = db->by_id[table];
  rc = sqlite3_bind_int64(s, 1, id);
  if (!rc) rc = sqlite3_step(s);
  if (rc == SQLITE_ROW) status = check_row(db, table, s);
  else if (rc == SQLITE_DONE)
    status = fail(DD_BUG, "'%s' has no row %lld in table %s",
                  bytes_string(&db->path), (long long)id, tables[table].name);
  else status = db_fail(db, rc);
  if (!status && tables[table].payload) status = check_payload(db, table, s);
  if (status) row_done(s);
  else *out = s;
  return status;
}

void row_done(sqlite3_stmt *row)
{
  if (!row) return;
  sqlite3_reset(row);
  sqlite3_clear_bindings(row);
}

/* ---- The whole file ------------------------------------------------------ */

static dd_status check_table(struct db *db, enum db_table table, bool payloads)
{
  struct bytes text = BYTES_INIT;
  sqlite3_stmt *s = NULL;
  dd_status status;
  int rc = SQLITE_DONE;
  int64_t id = 0;

  bytes_printf(&text, "SELECT * FROM %s ORDER BY id", tables[table].name);
  status = statement(db, &s, &text);
  while (!status && (rc = sqlite3_step(s)) == SQLITE_ROW) {
    if (sqlite3_column_int64(s, 0) != ++id)
      status = damaged_row(db, table, id, "is missing");
    else status = check_row(db, table, s);
    if (!status && payloads && tables[table].payload)
      status = check_payload(db, table, s);
  }
  if (!status && rc != SQLITE_DONE) status = db_fail(db, rc);
  sqlite3_finalize(s);
  return status;
}

/* PRAGMA integrity_check and foreign_key_check: no rows, or one "ok". */
static dd_status check_pragma(struct db *db, const char *pragma)
{
  sqlite3_stmt *s = NULL;
  dd_status status = DD_OK;
  int rc;

  TRY(db_prepare(db, pragma, &s));
  rc = sqlite3_step(s);
  if (rc == SQLITE_ROW && sqlite3_column_count(s) == 1) {
    const char *text = (const char *)sqlite3_column_text(s, 0);
    if (!text) status = db_fail(db, SQLITE_NOMEM);
    else if (strcmp(text, "ok")) status = db_damaged(db, text);
  } else if (rc == SQLITE_ROW) {
    status = fail(DD_BAD_DATABASE, "'%s' is damaged: row %lld of table %s "
                  "points at a row of table %s that is not there",
                  bytes_string(&db->path),
                  (long long)sqlite3_column_int64(s, 1),
                  sqlite3_column_text(s, 0), sqlite3_column_text(s, 2));
  } else if (rc != SQLITE_DONE) {
    status = db_fail(db, rc);
  }
  sqlite3_finalize(s);
  return status;
}

/* Half a candidate would be run as another one. */
static dd_status check_steps(struct db *db)
{
  int64_t torn;

  TRY(db_number(db, "SELECT coalesce(min(id), 0) FROM candidate AS c "
                    "WHERE step_count <> (SELECT count(*) FROM candidate_step "
                    "AS s WHERE s.candidate = c.id)", &torn));
  if (!torn) return DD_OK;
  return damaged_row(db, TABLE_CANDIDATE, torn, "has not all of its steps");
}

/* integrity_check also compares each index with its table: a lost index entry
 * would hide a row from a query without changing any row. */
static dd_status check_all(struct db *db, bool payloads)
{
  dd_status status = check_pragma(db, "PRAGMA integrity_check(1)");

  for (int t = 0; t < TABLE_COUNT && !status; ++t)
    status = check_table(db, (enum db_table)t, payloads);
  if (!status) status = check_pragma(db, "PRAGMA foreign_key_check");
  if (!status) status = check_steps(db);
  return status;
}

dd_status db_check_races(struct db *db)
{
  static const enum db_table few[] = {TABLE_DEVICE, TABLE_TOOLCHAIN,
                                      TABLE_PROBLEM, TABLE_SWEEP, TABLE_RACE,
                                      TABLE_TWIN};
  int64_t lost;

  for (size_t i = 0; i < COUNT_OF(few); ++i)
    TRY(check_table(db, few[i], false));
  TRY(db_number(db, "SELECT coalesce(min(id), 0) FROM race AS r WHERE NOT "
                    "EXISTS (SELECT 1 FROM standing AS s "
                    "WHERE s.race = r.id AND s.position = 1)", &lost));
  return lost ? damaged_row(db, TABLE_RACE, lost, "has no winner") : DD_OK;
}

dd_status db_check_rows(struct db *db, bool payloads)
{
  int64_t version;

  TRY(db_number(db, "PRAGMA data_version", &version));
  if (!payloads && db->checked && db->data_version == version) return DD_OK;
  TRY(check_all(db, payloads));
  db->checked = true;
  db->data_version = version;
  return DD_OK;
}
