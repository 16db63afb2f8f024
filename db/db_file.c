/*
 * db_file.c - open a database file, or refuse it and leave it as it is.
 *
 * Files come from other machines, older programs and broken disks.  So the
 * header is read as bytes before SQLite sees the file, everything is checked
 * before anything is written, and what is refused is never modified.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "db_inner.h"

int db_busy_ms = 10000;

/* ---- Failure ------------------------------------------------------------- */

dd_status db_damaged(struct db *db, const char *what)
{
  return fail(DD_BAD_DATABASE, "'%s' is damaged: %s", bytes_string(&db->path),
              what);
}

dd_status db_fail(struct db *db, int rc)
{
  const char *path = bytes_string(&db->path);
  const char *words = db->sql ? sqlite3_errmsg(db->sql) : sqlite3_errstr(rc);
  int extended = db->sql ? sqlite3_extended_errcode(db->sql) : rc;

  switch (rc & 0xff) {
  case SQLITE_NOMEM:
    return fail(DD_NO_MEMORY, "out of memory for '%s'", path);
  case SQLITE_BUSY:
  case SQLITE_LOCKED:
    return fail(DD_IO, "'%s' is in use by another program (waited %g s)", path,
                db_busy_ms / 1e3);
  case SQLITE_FULL:
    return fail(DD_IO, "cannot write '%s': the disk is full", path);
  case SQLITE_IOERR:
  case SQLITE_CANTOPEN:
    return fail(DD_IO, "cannot read or write '%s': %s (code %d)", path, words,
                extended);
  case SQLITE_READONLY:
    if (extended == SQLITE_READONLY_ROLLBACK)
      return fail(DD_BAD_DATABASE, "'%s' holds the unfinished write of a "
                  "program that was killed; open it once where it can be "
                  "written", path);
    return fail(DD_BAD_DATABASE, "'%s' cannot be written: %s", path, words);
  case SQLITE_CORRUPT:
  case SQLITE_NOTADB:
    return db_damaged(db, words);
  case SQLITE_CONSTRAINT:
    return fail(DD_BUG, "'%s' refuses the row: %s", path, words);
  default:
    return fail(DD_BAD_DATABASE, "cannot use '%s': %s (code %d)", path, words,
                extended);
  }
}

dd_status db_prepare(struct db *db, const char *text, sqlite3_stmt **out)
{
  int rc = sqlite3_prepare_v3(db->sql, text, -1, SQLITE_PREPARE_PERSISTENT, out,
                              NULL);

  return rc ? db_fail(db, rc) : DD_OK;
}

dd_status db_exec(struct db *db, const char *text)
{
  int rc = sqlite3_exec(db->sql, text, NULL, NULL, NULL);

  return rc ? db_fail(db, rc) : DD_OK;
}

dd_status db_number_of(struct db *db, sqlite3 *sql, const char *text,
                           int64_t *out)
{
  sqlite3_stmt *s = NULL;
  int rc = sqlite3_prepare_v2(sql, text, -1, &s, NULL);

  if (!rc) rc = sqlite3_step(s);
  if (rc == SQLITE_ROW) *out = sqlite3_column_int64(s, 0);
  sqlite3_finalize(s);
  return rc == SQLITE_ROW ? DD_OK : db_fail(db, rc);
}

dd_status db_number(struct db *db, const char *text, int64_t *out)
{
  return db_number_of(db, db->sql, text, out);
}

/* ---- Where a file may be ------------------------------------------------- */

/* File systems whose locks or syncs SQLite cannot rely on. */
static const struct {
  uint32_t magic;
  const char *name;
} network[] = {
  {NFS_SUPER_MAGIC, "NFS"},   {SMB_SUPER_MAGIC, "SMB"},
  {0xff534d42, "CIFS"},       {0xfe534d42, "SMB"},
  {V9FS_MAGIC, "9p"},         {0x65735546, "FUSE"},
  {0x0bd00bd0, "Lustre"},     {0x47504653, "GPFS"},
  {0x00c36400, "Ceph"},       {0x19830326, "BeeGFS"},
  {AFS_SUPER_MAGIC, "AFS"},   {CODA_SUPER_MAGIC, "Coda"},
  {NCP_SUPER_MAGIC, "NCP"},   {OCFS2_SUPER_MAGIC, "OCFS2"},
};

static dd_status refuse_network(const char *path, const char *folder)
{
  struct statfs fs;

  if (statfs(folder, &fs))
    return fail(DD_IO, "cannot look at '%s': %s", folder, strerror(errno));
  for (size_t i = 0; i < COUNT_OF(network); ++i)
    if ((uint32_t)fs.f_type == network[i].magic)
      return fail(DD_BAD_DATABASE, "'%s' is on %s, where two writers can "
                  "damage a database; write it on a local disk and copy it",
                  path, network[i].name);
  return DD_OK;
}

/* Makes the path absolute: the folder resolved, the last part as it is, so
 * that a symbolic link in the way to a home folder is fine and one in place of
 * the file is not. */
static dd_status resolve_path(struct db *db, const char *path,
                              enum db_mode mode)
{
  const char *slash = strrchr(path, '/');
  const char *name = slash ? slash + 1 : path;
  char folder[PATH_MAX], real[PATH_MAX];
  size_t size = slash ? (size_t)(slash - path) + 1 : 0;

  if (size >= sizeof folder || strlen(name) > NAME_MAX || !*name)
    return fail(DD_IO, "'%s' is not the name of a file", path);
  memcpy(folder, path, size);
  folder[size] = 0;
  if (!realpath(size ? folder : ".", real))
    return fail(DD_IO, "cannot find the folder of '%s': %s", path,
                strerror(errno));
  if (mode == DB_WRITE) TRY(refuse_network(path, real));
  bytes_printf(&db->path, "%s/%s", strcmp(real, "/") ? real : "", name);
  return bytes_status(&db->path);
}

/* ---- The header, as bytes ------------------------------------------------ */

enum { HEADER_SIZE = 100 };

static int64_t header_u32(const uint8_t *at)
{
  return (int64_t)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
}

static dd_status refuse_version(struct db *db, const struct db_pattern *want,
                                int64_t version)
{
  if (version > want->version)
    return fail(DD_BAD_DATABASE, "'%s' was written by a newer difftune: its "
                "version is %lld, this program knows %lld",
                bytes_string(&db->path), (long long)version,
                (long long)want->version);
  if (version < 1) return db_damaged(db, "its version is not a whole number");
  return DD_OK;
}

static dd_status check_header(struct db *db, const struct db_pattern *want,
                              const uint8_t *header)
{
  const char *path = bytes_string(&db->path);

  if (memcmp(header, "SQLite format 3", 16))
    return fail(DD_BAD_DATABASE, "'%s' is not a SQLite database", path);
  if (header_u32(header + 68) != want->application_id)
    return fail(DD_BAD_DATABASE, "'%s' is a SQLite database, but not a tuning "
                "database of difftune", path);
  TRY(refuse_version(db, want, (int32_t)header_u32(header + 60)));
  if (header[18] == 2 || header[19] == 2)
    return fail(DD_BAD_DATABASE, "'%s' was put into WAL mode; put it back with "
                "sqlite3 '%s' 'PRAGMA journal_mode=DELETE'", path, path);
  return DD_OK;
}

/* A file that SQLite has finished with is a whole number of pages; what is left
 * of a cut page could hold nothing and pass its own check. */
static dd_status check_size(struct db *db, const uint8_t *header, int64_t size)
{
  int64_t page = header[16] << 8 | header[17];
  char journal[PATH_MAX];

  if (page == 1) page = 65536;
  if (page >= 512 && size % page == 0) return DD_OK;
  if ((size_t)snprintf(journal, sizeof journal, "%s-journal",
                       bytes_string(&db->path)) < sizeof journal &&
      access(journal, F_OK) == 0)
    return DD_OK; /* SQLite will put it right */
  return db_damaged(db, "it has been cut short");
}

/* *size: how much there is, -1 for no file. */
static dd_status read_header(struct db *db, uint8_t header[HEADER_SIZE],
                             int64_t *size, bool *writable)
{
  const char *path = bytes_string(&db->path);
  struct stat st;
  ssize_t n;
  int file;

  *size = -1;
  *writable = true;
  if (lstat(path, &st))
    return errno == ENOENT ? DD_OK
                           : fail(DD_IO, "cannot look at '%s': %s", path,
                                  strerror(errno));
  if (S_ISLNK(st.st_mode))
    return fail(DD_BAD_DATABASE, "'%s' is a symbolic link; name the file "
                "itself", path);
  if (!S_ISREG(st.st_mode))
    return fail(DD_BAD_DATABASE, "'%s' is not a regular file", path);
  *writable = (st.st_mode & 0222) && access(path, W_OK) == 0;
  file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (file < 0)
    return fail(DD_IO, "cannot open '%s': %s", path, strerror(errno));
  n = pread(file, header, HEADER_SIZE, 0);
  close(file);
  if (n < 0) return fail(DD_IO, "cannot read '%s': %s", path, strerror(errno));
  if (st.st_size > 0 && n < HEADER_SIZE)
    return fail(DD_BAD_DATABASE, "'%s' is not a SQLite database", path);
  *size = st.st_size;
  return DD_OK;
}

static dd_status check_file(struct db *db, const struct db_pattern *want,
                            bool *writable)
{
  const char *path = bytes_string(&db->path);
  uint8_t header[HEADER_SIZE];
  int64_t size;

  TRY(read_header(db, header, &size, writable));
  if (size < 0 && db->mode == DB_READ)
    return fail(DD_IO, "cannot open '%s': there is no such file", path);
  if (size > 0) TRY(check_header(db, want, header));
  if (size > 0) TRY(check_size(db, header, size));
  if (db->mode == DB_WRITE && !*writable)
    return fail(DD_BAD_DATABASE, "'%s' is read-only", path);
  return DD_OK;
}

/* ---- A careful connection ------------------------------------------------ */

/* Far above what we write, far below what a made-up file could ask for. */
static const struct {
  int id, value;
} limits[] = {
  {SQLITE_LIMIT_LENGTH, 64 << 20},     {SQLITE_LIMIT_SQL_LENGTH, 100000},
  {SQLITE_LIMIT_COLUMN, 100},          {SQLITE_LIMIT_EXPR_DEPTH, 50},
  {SQLITE_LIMIT_COMPOUND_SELECT, 3},   {SQLITE_LIMIT_VDBE_OP, 25000},
  {SQLITE_LIMIT_FUNCTION_ARG, 8},      {SQLITE_LIMIT_ATTACHED, 0},
  {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 50},
  {SQLITE_LIMIT_VARIABLE_NUMBER, 50},  {SQLITE_LIMIT_TRIGGER_DEPTH, 10},
  {SQLITE_LIMIT_WORKER_THREADS, 0},
};

static dd_status harden(struct db *db)
{
  sqlite3 *sql = db->sql;

  sqlite3_busy_timeout(sql, db_busy_ms); /* first: all that follows may wait */
  sqlite3_extended_result_codes(sql, 1);
  for (size_t i = 0; i < COUNT_OF(limits); ++i)
    sqlite3_limit(sql, limits[i].id, limits[i].value);
  sqlite3_db_config(sql, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
  sqlite3_db_config(sql, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
  sqlite3_db_config(sql, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
  sqlite3_db_config(sql, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
  TRY(db_exec(db, "PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0;"
                  "PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL;"
                  "PRAGMA temp_store = MEMORY;"));
  return db->mode == DB_READ ? db_exec(db, "PRAGMA query_only = ON") : DD_OK;
}

/* A reader opens for writing too where it may: SQLite must be able to take
 * back the unfinished write of a program that was killed. */
static dd_status connect(struct db *db, bool writable)
{
  int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW, rc;

  flags |= writable ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY;
  if (db->mode == DB_WRITE) flags |= SQLITE_OPEN_CREATE;
  rc = sqlite3_open_v2(bytes_string(&db->path), &db->sql, flags, NULL);
  if (rc) return db_fail(db, rc);
  TRY(harden(db));
  if (db->mode == DB_WRITE && sqlite3_db_readonly(db->sql, "main"))
    return fail(DD_BAD_DATABASE, "'%s' is read-only", bytes_string(&db->path));
  return DD_OK;
}

/* ---- Accepting a file ---------------------------------------------------- */

static dd_status quick_check(struct db *db)
{
  sqlite3_stmt *s = NULL;
  dd_status status = DD_OK;
  const char *text;
  int rc;

  TRY(db_prepare(db, "PRAGMA quick_check(1)", &s));
  rc = sqlite3_step(s);
  text = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(s, 0) : NULL;
  if (!text) status = db_fail(db, rc == SQLITE_ROW ? SQLITE_NOMEM : rc);
  else if (strcmp(text, "ok")) status = db_damaged(db, text);
  sqlite3_finalize(s);
  return status;
}

/* The header is read again through SQLite: taking back an unfinished write may
 * have changed it. */
static dd_status accept_file(struct db *db, const struct db_pattern *want)
{
  int64_t pages, application_id, version;

  TRY(quick_check(db));
  TRY(db_number(db, "PRAGMA page_count", &pages));
  TRY(db_number(db, "PRAGMA application_id", &application_id));
  TRY(db_number(db, "PRAGMA user_version", &version));
  if (pages == 0 && db->mode == DB_READ)
    return fail(DD_BAD_DATABASE, "'%s' is empty", bytes_string(&db->path));
  if (pages == 0) return db_bring_up(db, want);
  if (application_id != want->application_id)
    return db_damaged(db, "its application_id has changed");
  TRY(refuse_version(db, want, version));
  if (version == want->version) return db_check_schema(db, want);
  if (db->mode == DB_WRITE) return db_bring_up(db, want);
  return fail(DD_BAD_DATABASE, "'%s' was written by an older difftune (version "
              "%lld); open it once for writing to bring it to version %lld",
              bytes_string(&db->path), (long long)version,
              (long long)want->version);
}

/* ---- Opening and closing ------------------------------------------------- */

static dd_status open_file(struct db *db, const char *path, enum db_mode mode)
{
  struct db_pattern want = {NULL, 0, 0};
  bool writable;
  dd_status status = resolve_path(db, path, mode);

  if (!status) status = db_pattern_open(db, &want);
  if (!status) status = check_file(db, &want, &writable);
  if (!status) status = connect(db, writable);
  if (!status) status = accept_file(db, &want);
  if (!status && mode == DB_WRITE)
    status = db_exec(db, "PRAGMA journal_mode = DELETE");
  sqlite3_close(want.sql);
  return status;
}

dd_status db_open(const char *path, enum db_mode mode, struct db **out)
{
  struct db *db;
  dd_status status;

  *out = NULL;
  if (!path) return fail(DD_BAD_ARGUMENT, "the database has no name");
  db = mem_resize(NULL, NULL, 0, sizeof *db);
  if (!db) return fail(DD_NO_MEMORY, "out of memory for '%s'", path);
  memset(db, 0, sizeof *db);
  db->mode = mode;
  db->pid = getpid();
  status = open_file(db, path, mode);
  if (status) db_close(db);
  else *out = db;
  return status;
}

/* A forked child leaves SQLite alone: closing would take the parent's locks
 * away, or take back what the parent is writing. */
void db_close(struct db *db)
{
  if (!db) return;
  if (db->pid == getpid()) {
    for (int t = 0; t < TABLE_COUNT; ++t) {
      sqlite3_finalize(db->find[t]);
      sqlite3_finalize(db->insert[t]);
      sqlite3_finalize(db->next[t]);
      sqlite3_finalize(db->by_id[t]);
    }
    sqlite3_close(db->sql);
  }
  bytes_release(&db->path);
  bytes_release(&db->scratch);
  bytes_release(&db->source);
  mem_resize(NULL, db, sizeof *db, 0);
}
