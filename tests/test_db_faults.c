/*
 * test_db_faults.c - the database when memory, disks and processes fail.
 *
 * The promise: a row that was acknowledged is there, a row that is there is
 * right, and what is wrong is said.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "db_fixture.h"
#include "db_inner.h"

static uint64_t random_state = 0x9e3779b97f4a7c15u;

static uint64_t random_next(void)
{
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

/* ---- Flipped bits -------------------------------------------------------- */

enum { ITEMS = 12, FLIPS = 500 };

/* What one kind of read says of the original file. */
typedef dd_status reading(struct db *db, struct bytes *out);

static dd_status read_rows(struct db *db, struct bytes *out)
{
  return db_each(db, NULL, dump_row, out);
}

/* Before the others: what verifies few rows must do without those that verify
 * all. */
static dd_status read_best(struct db *db, struct bytes *out)
{
  struct db_filter best = {.best_only = true};

  return db_each(db, &best, dump_row, out);
}

static dd_status read_failures(struct db *db, struct bytes *out)
{
  return db_each_failure(db, NULL, dump_failure, out);
}

static dd_status read_variants(struct db *db, struct bytes *out)
{
  return dump_variants(db, ITEMS, out);
}

static dd_status read_samples(struct db *db, struct bytes *out)
{
  return dump_samples(db, 2 * ITEMS, out);
}

static reading *const readings[] = {read_best, read_rows, read_failures,
                                    read_variants, read_samples};
enum { READINGS = COUNT_OF(readings) };

/* Every column of every table, straight from SQLite. */
static dd_status read_tables(struct db *db, struct bytes *out)
{
  for (int t = 0; t < TABLE_COUNT; ++t) {
    char sql[80];
    sqlite3_stmt *s;
    snprintf(sql, sizeof sql, "SELECT * FROM %s ORDER BY id",
             db_table_name((enum db_table)t));
    TRY(db_prepare(db, sql, &s));
    while (sqlite3_step(s) == SQLITE_ROW)
      for (int i = 0; i < sqlite3_column_count(s); ++i)
        bytes_add(out, sqlite3_column_blob(s, i),
                  (size_t)sqlite3_column_bytes(s, i));
    sqlite3_finalize(s);
  }
  return bytes_status(out);
}

struct truth {
  struct bytes file, tables, said[READINGS];
};

static void learn_truth(struct world *w, struct truth *t)
{
  struct db *db;

  memset(t, 0, sizeof *t);
  assert_ok(db_open(w->path, DB_WRITE, &db));
  store(db, w, ITEMS);
  assert_ok(read_tables(db, &t->tables));
  for (size_t i = 0; i < READINGS; ++i)
    assert_ok(readings[i](db, &t->said[i]));
  db_close(db);
  assert_ok(file_read(w->path, 1 << 24, &t->file));
  assert_true(t->tables.size > 20000);
  for (size_t i = 0; i < READINGS; ++i) assert_true(t->said[i].size > 100);
}

static void forget_truth(struct truth *t)
{
  bytes_release(&t->file);
  bytes_release(&t->tables);
  for (size_t i = 0; i < READINGS; ++i) bytes_release(&t->said[i]);
}

static bool same_bytes(const struct bytes *a, const struct bytes *b)
{
  return a->size == b->size && memcmp(a->data, b->data, a->size) == 0;
}

/* SILENT: it returned DD_OK and something else than the truth. */
enum outcome { TRUE_ANSWER, REFUSED, SILENT };

static enum outcome ask(struct db *db, reading *r, const struct bytes *truth)
{
  struct bytes said = BYTES_INIT;
  dd_status status = r(db, &said);
  bool same = !status && same_bytes(&said, truth);

  bytes_release(&said);
  if (status) {
    assert_int_equal(status, DD_BAD_DATABASE);
    return REFUSED;
  }
  return same ? TRUE_ANSWER : SILENT;
}

struct tally {
  int refused, unchanged, blind;
};

/* One flipped bit: every answer is the truth or a refusal, and a file that
 * db_verify accepts holds the truth in every column. */
static void try_flip(struct world *w, const struct truth *t, size_t bit,
                     struct tally *tally)
{
  struct db *db;
  struct bytes tables = BYTES_INIT;
  bool refused;

  t->file.data[bit / 8] ^= (char)(1 << bit % 8);
  assert_ok(file_write(w->path, t->file.data, t->file.size));
  t->file.data[bit / 8] ^= (char)(1 << bit % 8);
  if (db_open(w->path, DB_READ, &db)) {
    tally->refused++;
    return;
  }
  for (size_t i = 0; i < READINGS; ++i)
    if (ask(db, readings[i], &t->said[i]) == SILENT)
      fail_msg("bit %zu changed reading %zu unnoticed", bit, i);
  refused = db_verify(db) != DD_OK;
  if (!refused) {
    assert_ok(read_tables(db, &tables));
    if (!same_bytes(&tables, &t->tables))
      fail_msg("bit %zu changed a row and db_verify passed", bit);
  }
  refused ? tally->refused++ : tally->unchanged++;
  bytes_release(&tables);
  /* With the checks switched off the same flips do change what is said. */
  db->checked = true;
  assert_ok(db_number(db, "PRAGMA data_version", &db->data_version));
  if (refused && ask(db, read_rows, &t->said[1]) == SILENT) tally->blind++;
  db_close(db);
}

static void test_flipped_bits(void **state)
{
  struct world w;
  struct truth t;
  struct tally tally = {0, 0, 0};

  (void)state;
  world_init(&w);
  learn_truth(&w, &t);
  for (int i = 0; i < FLIPS; ++i)
    try_flip(&w, &t, random_next() % (t.file.size * 8), &tally);
  print_message("%d flips: %d refused, %d changed nothing\n", FLIPS,
                tally.refused, tally.unchanged);
  assert_true(tally.refused > FLIPS / 4);
  forget_truth(&t);
  world_release(&w);
}

/* A flip in the middle of a number, which SQLite cannot notice: refused with
 * the checks, and a wrong answer without them, so these tests can fail. */
static void test_flipped_number(void **state)
{
  static const uint8_t noise[8] = {0x3f, 0x70, 0x62, 0x4d, /* 0.004, as */
                                   0xd2, 0xf1, 0xa9, 0xfc}; /* stored */
  struct world w;
  struct truth t;
  struct tally tally = {0, 0, 0};
  char *at;

  (void)state;
  world_init(&w);
  learn_truth(&w, &t);
  at = memmem(t.file.data, t.file.size, noise, sizeof noise);
  assert_non_null(at);
  try_flip(&w, &t, (size_t)(at - t.file.data) * 8 + 8 + 3, &tally);
  assert_int_equal(tally.refused, 1);
  assert_int_equal(tally.blind, 1);
  forget_truth(&t);
  world_release(&w);
}

/* The first 100 bytes say what the file is: every bit of them. */
static void test_flipped_header(void **state)
{
  struct world w;
  struct truth t;
  struct tally tally = {0, 0, 0};

  (void)state;
  world_init(&w);
  learn_truth(&w, &t);
  for (size_t bit = 0; bit < 800; ++bit) try_flip(&w, &t, bit, &tally);
  assert_true(tally.refused > 300);
  forget_truth(&t);
  world_release(&w);
}

/* ---- kill -9 ------------------------------------------------------------- */

/* Writes for ever; after each acknowledged measurement its id goes down the
 * pipe. */
static void write_until_killed(struct world *w, int pipe_end, bool batches)
{
  struct ids ids = {0};
  struct db *db;

  if (db_open(w->path, DB_WRITE, &db)) _exit(1);
  for (int i = 0;; ++i) {
    int64_t id;
    if (batches && db_batch_begin(db)) _exit(2);
    if (try_ids(db, w, i, &ids)) _exit(3);
    if (try_race(db, &ids, ids.candidate, 3.0 + i, &id)) _exit(4);
    if (try_race(db, &ids, ids.split, 3.0 + i, &id)) _exit(5);
    if (batches && db_batch_commit(db)) _exit(6);
    if (write(pipe_end, &id, sizeof id) != sizeof id) _exit(7);
  }
}

/* The last id that was acknowledged before the child was killed. */
static int64_t run_and_kill(struct world *w, int acknowledged, bool batches)
{
  int ends[2], status;
  int64_t id, last = 0;
  pid_t pid;

  assert_int_equal(pipe(ends), 0);
  pid = fork();
  if (pid == 0) {
    close(ends[0]);
    write_until_killed(w, ends[1], batches);
  }
  close(ends[1]);
  for (int i = 0; i < acknowledged; ++i) {
    if (read(ends[0], &id, sizeof id) != sizeof id) break;
    last = id;
  }
  kill(pid, SIGKILL);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  while (read(ends[0], &id, sizeof id) == sizeof id) last = id;
  close(ends[0]);
  return last;
}

static dd_status count_row(void *user, const struct db_row *row)
{
  (void)row;
  ++*(int64_t *)user;
  return DD_OK;
}

/* Ids are 1, 2, 3, ..., which db_each checks: a count says which are there. */
static int64_t rows_of(const char *path)
{
  struct db *db;
  int64_t rows = 0;

  assert_ok(db_open(path, DB_READ, &db));
  assert_ok(db_verify(db));
  assert_ok(db_each(db, NULL, count_row, &rows));
  db_close(db);
  return rows;
}

static void kill_often(bool batches)
{
  struct world w;
  struct db *db;
  int64_t before = 0;

  world_init(&w);
  assert_ok(db_open(w.path, DB_WRITE, &db));
  db_close(db);
  for (int round = 0; round < 20; ++round) {
    int64_t last = run_and_kill(&w, (int)(random_next() % 12), batches);
    int64_t rows = rows_of(w.path);
    assert_true(rows >= before);
    if (last) assert_true(rows >= last);
    if (batches) assert_int_equal(rows % 2, 0); /* all of a batch or nothing */
    before = rows;
  }
  assert_true(before > 20);
  world_release(&w);
}

static void test_kill_between_writes(void **state)
{
  (void)state;
  kill_often(false);
}

static void test_kill_in_batches(void **state)
{
  (void)state;
  kill_often(true);
}

/* Killed while it made the file. */
static void test_kill_at_birth(void **state)
{
  (void)state;
  for (int round = 0; round < 20; ++round) {
    struct world w;
    struct db *db;
    world_init(&w);
    run_and_kill(&w, round % 2, false);
    assert_ok(db_open(w.path, DB_WRITE, &db));
    assert_ok(db_verify(db));
    db_close(db);
    world_release(&w);
  }
}

/* ---- Memory that runs out ------------------------------------------------ */

/* All that a sweep does, on a database that may or may not exist. */
static dd_status whole_session(struct world *w)
{
  struct db *db;
  struct ids ids = {0};
  struct bytes out = BYTES_INIT;
  dd_status status = db_open(w->path, DB_WRITE, &db);

  if (!status) status = try_store(db, w, 1, &ids);
  if (!status) status = db_sweep_end(db, ids.sweep, "done");
  if (!status) status = db_each(db, NULL, dump_row, &out);
  if (!status) status = db_each_failure(db, NULL, dump_failure, &out);
  if (!status) status = dump_variants(db, 1, &out);
  if (!status) status = dump_samples(db, 2, &out);
  if (!status) status = db_verify(db);
  db_close(db);
  bytes_release(&out);
  return status;
}

static void test_own_memory_runs_out(void **state)
{
  struct allocator before = default_allocator;
  long n;

  (void)state;
  for (n = 1;; ++n) {
    struct world w;
    struct test_memory memory;
    dd_status status;
    world_init(&w);
    test_memory_init(&memory);
    memory.fail_at = n;
    memory.fail_on = n % 2;
    default_allocator = memory.allocator;
    default_allocator.user = &memory;
    status = whole_session(&w);
    default_allocator = before;
    assert_int_equal(memory.live, 0);
    if (memory.calls >= n) assert_int_equal(status, DD_NO_MEMORY);
    else assert_int_equal(status, DD_OK);
    if (access(w.path, F_OK) == 0) assert_ok(whole_session(&w));
    world_release(&w);
    if (memory.calls < n) break;
  }
  assert_true(n > 30);
}

/* A write of several rows. */
typedef dd_status several(struct db *db, struct world *w, int64_t variant);

/* Four rows: the split form and its steps. */
static dd_status write_candidate(struct db *db, struct world *w,
                                 int64_t variant)
{
  const int64_t steps[3] = {variant, variant, variant};
  int64_t id;

  (void)w;
  return db_candidate(db, true, 3, steps, "split", &id);
}

/* Two rows: a source that is not there yet, and the variant. */
static dd_status write_variant(struct db *db, struct world *w, int64_t variant)
{
  struct variant v = demo_variant(w, 9);
  int64_t id;

  (void)variant;
  return db_variant(db, &v, "another source\n", demo_entry(9), &id);
}

static int64_t count_all(struct db *db)
{
  int64_t rows;

  assert_ok(db_number(db, "SELECT (SELECT count(*) FROM source) + "
                          "(SELECT count(*) FROM variant) + "
                          "(SELECT count(*) FROM candidate) + "
                          "(SELECT count(*) FROM candidate_step)", &rows));
  return rows;
}

/* The nth memory request of a write inside a batch fails; true: it needed no
 * more than n - 1. */
static bool fail_several(struct db *db, struct world *w, several *write,
                         int64_t variant, long n)
{
  struct allocator before = default_allocator;
  struct test_memory memory;
  dd_status status;
  int64_t rows = count_all(db);

  assert_ok(db_batch_begin(db));
  test_memory_init(&memory);
  memory.fail_at = n;
  bytes_release(&db->scratch);
  default_allocator = memory.allocator;
  status = write(db, w, variant);
  bytes_release(&db->scratch);
  default_allocator = before;
  assert_int_equal(status, memory.calls < n ? DD_OK : DD_NO_MEMORY);
  assert_ok(db_batch_commit(db));
  assert_ok(db_verify(db));
  if (status) assert_int_equal(count_all(db), rows);
  else assert_true(count_all(db) >= rows + 2);
  return !status;
}

/* A write of several rows that fails inside a batch leaves none of them, and
 * the batch goes on. */
static void test_write_fails_inside_batch(void **state)
{
  several *const writes[] = {write_candidate, write_variant};
  struct world w;
  struct db *db;
  struct ids ids = {0};

  (void)state;
  world_init(&w);
  assert_ok(db_open(w.path, DB_WRITE, &db));
  assert_ok(try_ids(db, &w, 0, &ids));
  for (size_t i = 0; i < COUNT_OF(writes); ++i) {
    long n = 1;
    while (!fail_several(db, &w, writes[i], ids.variant, n)) n++;
    assert_true(n > 5);
  }
  db_close(db);
  world_release(&w);
}

static sqlite3_mem_methods real_memory;
static long sqlite_calls, sqlite_fail_at;

static bool sqlite_fails(void)
{
  return ++sqlite_calls == sqlite_fail_at;
}

static void *failing_malloc(int size)
{
  return sqlite_fails() ? NULL : real_memory.xMalloc(size);
}

static void *failing_realloc(void *block, int size)
{
  return sqlite_fails() ? NULL : real_memory.xRealloc(block, size);
}

/* SQLite may do without some memory; it may never do half a thing. */
static void test_sqlite_memory_runs_out(void **state)
{
  int failed = 0;

  (void)state;
  for (long n = 1;; n += 1 + n / 25) {
    struct world w;
    dd_status status;
    long calls;
    world_init(&w);
    sqlite_calls = 0;
    sqlite_fail_at = n;
    status = whole_session(&w);
    calls = sqlite_calls;
    sqlite_fail_at = 0;
    if (status) assert_int_equal(status, DD_NO_MEMORY);
    failed += status != DD_OK;
    assert_ok(whole_session(&w));
    world_release(&w);
    if (calls < n) break;
  }
  assert_true(failed > 50);
}

/* ---- Disks that fail ----------------------------------------------------- */

static long disk_calls, disk_fail_at;
static int disk_errno;
static bool disk_fail_on;

static bool disk_fails(void)
{
  ++disk_calls;
  if (!disk_fail_at || disk_calls < disk_fail_at) return false;
  if (disk_calls > disk_fail_at && !disk_fail_on) return false;
  errno = disk_errno;
  return true;
}

static ssize_t failing_pwrite(int fd, const void *data, size_t n, off_t at)
{
  return disk_fails() ? -1 : pwrite(fd, data, n, at);
}

static int failing_unlink(const char *path)
{
  return disk_fails() ? -1 : unlink(path);
}

static int failing_ftruncate(int fd, off_t size)
{
  return disk_fails() ? -1 : ftruncate(fd, size);
}

static void set_system_calls(bool failing)
{
  sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
  static const struct {
    const char *name;
    sqlite3_syscall_ptr call;
  } calls[] = {{"pwrite", (sqlite3_syscall_ptr)failing_pwrite},
               {"pwrite64", (sqlite3_syscall_ptr)failing_pwrite},
               {"unlink", (sqlite3_syscall_ptr)failing_unlink},
               {"ftruncate", (sqlite3_syscall_ptr)failing_ftruncate}};

  for (size_t i = 0; i < COUNT_OF(calls); ++i)
    vfs->xSetSystemCall(vfs, calls[i].name, failing ? calls[i].call : NULL);
}

/* Writes with the nth write to the disk failing; then looks what is there. */
static bool fail_disk(long n, int error, bool on, bool batch)
{
  struct world w;
  struct db *db = NULL;
  struct ids ids = {0};
  dd_status status;
  int64_t rows;

  world_init(&w);
  assert_ok(db_open(w.path, DB_WRITE, &db));
  store(db, &w, 3);
  set_system_calls(true);
  disk_calls = 0;
  disk_fail_at = n;
  disk_errno = error;
  disk_fail_on = on;
  status = batch ? db_batch_begin(db) : DD_OK;
  if (!status) status = try_store(db, &w, 5, &ids);
  if (!status && batch) status = db_batch_commit(db);
  if (status && batch) db_batch_cancel(db);
  disk_fail_at = 0;
  set_system_calls(false);
  if (status) assert_int_equal(status, DD_IO);
  if (status && error == ENOSPC && n == 1)
    assert_non_null(strstr(dd_last_error(), "the disk is full"));
  db_close(db);
  rows = rows_of(w.path);
  assert_in_range(rows, status ? 6 : 8, 8);
  if (status && batch) assert_int_equal(rows, 6);
  assert_ok(db_open(w.path, DB_WRITE, &db));
  assert_ok(try_store(db, &w, 6, &(struct ids){0}));
  assert_ok(db_verify(db));
  db_close(db);
  world_release(&w);
  return disk_calls >= n;
}

static void test_disk_fails(void **state)
{
  long n;

  (void)state;
  for (n = 1; fail_disk(n, ENOSPC, true, false); n += 1 + n / 10) continue;
  assert_true(n > 20);
  for (n = 1; fail_disk(n, EIO, false, false); n += 1 + n / 10) continue;
  for (n = 1; fail_disk(n, ENOSPC, true, true); ++n) continue;
  assert_true(n > 5);
  for (n = 1; fail_disk(n, EIO, false, true); ++n) continue;
}

/* A real limit of the system: the file may not grow. */
static void test_file_size_limit(void **state)
{
  struct world w;
  struct db *db;
  struct ids ids = {0};
  struct rlimit limit, small;
  int stored = 0;

  (void)state;
  world_init(&w);
  assert_ok(db_open(w.path, DB_WRITE, &db));
  signal(SIGXFSZ, SIG_IGN);
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
  small = limit;
  small.rlim_cur = 300 * 1024;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
  while (try_store(db, &w, stored, &ids) == DD_OK && stored < 10000) stored++;
  assert_true(stored > 2 && stored < 10000);
  assert_non_null(strstr(dd_last_error(), "cannot read or write"));
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
  assert_ok(try_store(db, &w, 11111, &ids)); /* the same handle goes on */
  db_close(db);
  assert_true(rows_of(w.path) >= 2 * stored + 2);
  world_release(&w);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_flipped_bits),
    cmocka_unit_test(test_flipped_number),
    cmocka_unit_test(test_flipped_header),
    cmocka_unit_test(test_kill_between_writes),
    cmocka_unit_test(test_kill_in_batches),
    cmocka_unit_test(test_kill_at_birth),
    cmocka_unit_test(test_own_memory_runs_out),
    cmocka_unit_test(test_write_fails_inside_batch),
    cmocka_unit_test(test_sqlite_memory_runs_out),
    cmocka_unit_test(test_disk_fails),
    cmocka_unit_test(test_file_size_limit),
  };
  sqlite3_mem_methods methods;

  /* Before anything else touches SQLite. */
  sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory);
  methods = real_memory;
  methods.xMalloc = failing_malloc;
  methods.xRealloc = failing_realloc;
  sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
