/* test_db.c - the tuning database: what it keeps, and what it refuses. */
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "db_fixture.h"
#include "table.h"
#include "db_inner.h"

static struct db *open_ok(const char *path, enum db_mode mode)
{
  struct db *db;

  assert_ok(db_open(path, mode, &db));
  return db;
}

/* A database with `count` of everything, closed. */
static void make(struct world *w, int count)
{
  struct db *db;

  world_init(w);
  db = open_ok(w->path, DB_WRITE);
  store(db, w, count);
  db_close(db);
}

/* Runs SQL on the file as anybody with the sqlite3 shell could. */
static int raw(const char *path, const char *sql)
{
  sqlite3 *s;
  int rc;

  assert_int_equal(sqlite3_open(path, &s), SQLITE_OK);
  rc = sqlite3_exec(s, sql, NULL, NULL, NULL);
  sqlite3_close(s);
  return rc;
}

static int64_t raw_number(const char *path, const char *sql)
{
  sqlite3 *s;
  sqlite3_stmt *q;
  int64_t n;

  assert_int_equal(sqlite3_open(path, &s), SQLITE_OK);
  assert_int_equal(sqlite3_prepare_v2(s, sql, -1, &q, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_step(q), SQLITE_ROW);
  n = sqlite3_column_int64(q, 0);
  sqlite3_finalize(q);
  sqlite3_close(s);
  return n;
}

/* The first column of the row that `query` finds for ?1. */
static void raw_text(const char *path, const char *query, const char *key,
                     char out[HASH_HEX])
{
  sqlite3 *s;
  sqlite3_stmt *q;

  assert_int_equal(sqlite3_open(path, &s), SQLITE_OK);
  assert_int_equal(sqlite3_prepare_v2(s, query, -1, &q, NULL), SQLITE_OK);
  sqlite3_bind_text(q, 1, key, -1, SQLITE_STATIC);
  assert_int_equal(sqlite3_step(q), SQLITE_ROW);
  snprintf(out, HASH_HEX, "%s", (const char *)sqlite3_column_text(q, 0));
  sqlite3_finalize(q);
  sqlite3_close(s);
}

/* ---- What is stored comes back ------------------------------------------- */

static void test_ids(void **state)
{
  struct world w;
  struct db *db;
  struct ids a = {0}, b = {0};

  (void)state;
  world_init(&w);
  db = open_ok(w.path, DB_WRITE);
  assert_ok(try_ids(db, &w, 3, &a));
  b.sweep = a.sweep;
  assert_ok(try_ids(db, &w, 3, &b));
  assert_memory_equal(&a, &b, sizeof a);
  assert_ok(try_ids(db, &w, 4, &b));
  assert_int_equal(a.device, b.device);
  assert_int_not_equal(a.problem, b.problem);
  assert_int_not_equal(a.variant, b.variant);
  assert_int_not_equal(a.candidate, b.candidate);
  db_close(db);
  world_release(&w);
}

/* Another board of the same model is the same device; another driver is not. */
static void test_device_identity(void **state)
{
  struct device_info one = demo_device(), two = demo_device();
  struct world w;
  struct db *db;
  int64_t a, b;

  (void)state;
  world_init(&w);
  db = open_ok(w.path, DB_WRITE);
  strcpy(two.uuid, "GPU-2");
  assert_ok(db_device(db, &one, &a));
  assert_ok(db_device(db, &two, &b));
  assert_int_equal(a, b);
  strcpy(two.driver, "590.1");
  assert_ok(db_device(db, &two, &b));
  assert_int_not_equal(a, b);
  strcpy(two.kind, "abacus");
  assert_fails(DD_BUG, "CHECK constraint failed", db_device(db, &two, &b));
  assert_int_equal(b, 0);
  db_close(db);
  world_release(&w);
}

static dd_status check_first(void *user, const struct db_row *r)
{
  int *rows = user;

  if ((*rows)++) return DD_OK;
  assert_string_equal(r->problem, "demo:bf16 tokens=1 width=128");
  assert_string_equal(r->device, "NVIDIA H200");
  assert_string_equal(r->device_kind, "cuda");
  assert_string_equal(r->policy, "cold graph");
  assert_string_equal(r->label, "demo.plain heads=0");
  assert_string_equal(r->stopped, "final");
  assert_int_equal(r->arch, 90);
  assert_int_equal(r->sms, 132);
  assert_int_equal(r->split, 0);
  assert_int_equal(r->step_count, 1);
  assert_int_equal(r->steps[0], 1);
  assert_true(r->median_us == 3.0 && r->low_us == 3.0 * 0.95);
  assert_true(r->high_us == 3.0 * 1.05 && r->copy_us == 2.5);
  assert_true(r->split_us == 30.0 && r->noise == 0.004 && r->error == 0.25);
  assert_int_equal(r->samples, 5);
  assert_int_equal(r->rank, 1);
  return DD_OK;
}

static void test_rows_come_back(void **state)
{
  struct world w;
  struct db *db;
  int rows = 0;

  (void)state;
  make(&w, 1);
  db = open_ok(w.path, DB_READ);
  assert_ok(db_each(db, NULL, check_first, &rows));
  assert_int_equal(rows, 2);
  assert_ok(db_verify(db));
  db_close(db);
  world_release(&w);
}

static void test_variant_and_samples(void **state)
{
  struct world w;
  struct db *db;
  struct arena arena;
  struct db_variant_row v;
  struct variant want;
  const double *samples;
  size_t count;

  (void)state;
  make(&w, 3);
  arena_init(&arena, NULL);
  db = open_ok(w.path, DB_READ);
  assert_ok(db_variant_read(db, 3, "sm_90", 1, &arena, &v));
  want = demo_variant(&w, 2);
  assert_true(hash_equal(&v.hash, &want.hash));
  assert_string_equal(v.op, "demo");
  assert_string_equal(v.scheme, "plain");
  assert_string_equal(v.tunables, "lanes=4 heads=2");
  assert_string_equal(v.facts, "io=bf16 width=128");
  assert_string_equal(v.text, demo_text(2));
  assert_int_equal(v.code_size, demo_code_size(2));
  assert_memory_equal(v.code, demo_code(2), demo_code_size(2));
  assert_ok(db_variant_point(db, 3, &arena, &v));
  assert_true(hash_equal(&v.hash, &want.hash));
  assert_string_equal(v.op, "demo");
  assert_string_equal(v.scheme, "plain");
  assert_string_equal(v.tunables, "lanes=4 heads=2");
  assert_string_equal(v.facts, "io=bf16 width=128");
  assert_null(v.text);
  assert_null(v.code);
  assert_fails(DD_BUG, "no row 9 in table variant",
               db_variant_point(db, 9, &arena, &v));
  assert_ok(db_variant_read(db, 3, "cpu", 1, &arena, &v));
  assert_string_equal((const char *)v.code, demo_text(2));
  assert_int_equal(v.code_size, strlen(demo_text(2)));
  assert_ok(db_variant_read(db, 3, "sm_80", 1, &arena, &v));
  assert_null(v.code);
  assert_ok(db_variant_read(db, 3, "sm_90", 2, &arena, &v));
  assert_null(v.code); /* of another compiler */
  assert_fails(DD_BUG, "no row 9 in table variant",
               db_variant_read(db, 9, "cpu", 1, &arena, &v));
  assert_ok(db_samples(db, 1, &arena, &samples, &count));
  assert_int_equal(count, 5);
  assert_memory_equal(samples, demo_samples, sizeof demo_samples);
  db_close(db);
  arena_release(&arena);
  world_release(&w);
}

/* ---- What variants share ------------------------------------------------- */

/* As large as the ones that are generated. */
static const char *large_source(char letter)
{
  static char text[17001];

  memset(text, letter, sizeof text - 1);
  return text;
}

static int64_t put_variant(struct db *db, struct world *w, int number,
                           const char *source)
{
  struct variant v = demo_variant(w, number);
  int64_t id;

  assert_ok(db_variant(db, &v, source, demo_entry(number), &id));
  return id;
}

static void check_text(struct db *db, int64_t id, const char *source,
                       const char *entry)
{
  struct db_variant_row v;
  struct arena arena;
  size_t n = strlen(source);

  arena_init(&arena, NULL);
  assert_ok(db_variant_read(db, id, "cpu", 1, &arena, &v));
  assert_int_equal(v.code_size, n + strlen(entry));
  assert_memory_equal(v.text, source, n);
  assert_string_equal(v.text + n, entry);
  arena_release(&arena);
}

static int64_t file_size(const char *path)
{
  struct stat st;

  assert_int_equal(stat(path, &st), 0);
  return st.st_size;
}

static void test_source_is_stored_once(void **state)
{
  struct world w;
  struct db *db;
  int64_t size;

  (void)state;
  world_init(&w);
  db = open_ok(w.path, DB_WRITE);
  assert_ok(db_batch_begin(db));
  for (int i = 0; i < 1000; ++i)
    assert_int_equal(put_variant(db, &w, i, large_source('s')), i + 1);
  assert_ok(db_batch_commit(db));
  size = file_size(w.path);
  assert_in_range(size, 400 * 1024, 1280 * 1024); /* 17 MB if not shared */
  assert_int_equal(raw_number(w.path, "SELECT count(*) FROM source"), 1);
  assert_int_equal(put_variant(db, &w, 7, large_source('s')), 8);
  assert_int_equal(file_size(w.path), size);
  assert_int_equal(put_variant(db, &w, 1000, large_source('t')), 1001);
  assert_int_equal(raw_number(w.path, "SELECT count(*) FROM source"), 2);
  assert_in_range(file_size(w.path) - size, 16 * 1024, 32 * 1024);
  for (int i = 0; i < 1000; ++i)
    check_text(db, i + 1, large_source('s'), demo_entry(i));
  check_text(db, 1001, large_source('t'), demo_entry(1000));
  assert_ok(db_verify(db));
  db_close(db);
  world_release(&w);
}

/* Whoever reads one variant learns of a text that was changed, too: without
 * asking for the whole file to be verified. */
static void test_changed_text(void **state)
{
  static const struct {
    const char *sql, *why;
  } cases[] = {
    {"UPDATE source SET text = replace(text, 'b', 'c')",
     "row 2 of table source holds bytes that do not match"},
    {"UPDATE source SET text = replace(text, 'b', 'c'), hash = 'x' || id",
     "row 2 of table source does not match its hash"},
    {"UPDATE source SET id = -id; UPDATE source SET id = 3 + id",
     "row 2 of table source does not match its hash"},
    {"DELETE FROM source WHERE id = 2",
     "row 2 of table variant points at a row of table source"},
    {"UPDATE variant SET source = 1",
     "row 2 of table variant does not match its hash"},
    {"UPDATE variant SET entry = ''",
     "row 2 of table variant does not match its hash"},
  };
  struct db_variant_row v;
  struct arena arena;

  (void)state;
  arena_init(&arena, NULL);
  for (size_t i = 0; i < COUNT_OF(cases); ++i) {
    struct world w;
    struct db *db;
    make(&w, 3);
    db = open_ok(w.path, DB_READ);
    check_text(db, 2, demo_source(1), demo_entry(1));
    db_close(db);
    assert_int_equal(raw(w.path, cases[i].sql), SQLITE_OK);
    db = open_ok(w.path, DB_READ);
    assert_fails(DD_BAD_DATABASE, cases[i].why,
                 db_variant_read(db, 2, "cpu", 1, &arena, &v));
    assert_int_equal(db_verify(db), DD_BAD_DATABASE);
    db_close(db);
    world_release(&w);
  }
  arena_release(&arena);
}

/* ---- Sweeps -------------------------------------------------------------- */

static void test_sweep_ends_once(void **state)
{
  struct world w;
  struct db *db;
  struct ids ids = {0};

  (void)state;
  world_init(&w);
  db = open_ok(w.path, DB_WRITE);
  assert_ok(try_ids(db, &w, 0, &ids));
  assert_fails(DD_BUG, "CHECK constraint failed",
               db_sweep_end(db, ids.sweep, ""));
  assert_ok(db_sweep_end(db, ids.sweep, "done"));
  assert_fails(DD_BUG, "sweep 1 has already ended",
               db_sweep_end(db, ids.sweep, "done"));
  assert_fails(DD_BUG, "no row 2 in table sweep", db_sweep_end(db, 2, "done"));
  assert_ok(db_verify(db));
  db_close(db);
  assert_int_equal(raw_number(w.path, "SELECT count(*) FROM sweep WHERE "
                                      "outcome = 'done' AND ended >= started"),
                   1);
  world_release(&w);
}

/* ---- Ranks, filters, views ----------------------------------------------- */

struct seen {
  int rows;
  char labels[400];
};

static dd_status note_label(void *user, const struct db_row *r)
{
  struct seen *s = user;
  size_t n = strlen(s->labels);

  s->rows++;
  snprintf(s->labels + n, sizeof s->labels - n, "%s:%lld ", r->label,
           (long long)r->rank);
  return DD_OK;
}

static void add_run(struct db *db, const struct ids *ids, bool split,
                    const int64_t *variants, const char *label, double median,
                    const char *stopped)
{
  struct db_proof proof;
  struct db_measurement m;
  int64_t candidate, id;

  assert_ok(db_candidate(db, split, split ? 2 : 1, variants, label,
                         &candidate));
  proof = demo_proof(ids, candidate);
  assert_ok(db_proof(db, &proof, &id));
  m = demo_measurement(ids, candidate, id, median);
  m.stopped = stopped;
  assert_ok(db_measurement(db, &m, &id));
}

/* ---- The rule, against a model ------------------------------------------- */

enum { RUNS = 24, CHOICES = 5 };

/* What is known of a measurement; the last choice is the split form. */
struct run {
  int64_t id, sweep;
  const char *hash;
  double median, noise, half;
  bool final, fresh, tied;
  int steps;
};

static uint64_t below(uint64_t *seed, uint64_t limit)
{
  *seed = *seed * 6364136223846793005u + 1442695040888963407u;
  return (*seed >> 33) % limit;
}

static double slack(const struct run *r)
{
  double width = r->half / r->median;

  return r->median * (1 + (width > r->noise ? width : r->noise));
}

/* The fastest with fresh rounds of the same sweep; the hash between equals. */
static const struct run *fastest(const struct run *runs, int64_t sweep)
{
  const struct run *best = NULL;

  for (int i = 0; i < RUNS; ++i) {
    const struct run *r = &runs[i];
    if (r->sweep != sweep || !r->final) continue;
    if (!best || r->median < best->median ||
        (r->median == best->median && strcmp(r->hash, best->hash) < 0))
      best = r;
  }
  return best;
}

#define BY(a, b)                                                               \
  do {                                                                         \
    if ((a) != (b)) return (a) < (b) ? -1 : 1;                                 \
  } while (0)

static int by_rule(const void *left, const void *right)
{
  const struct run *a = left, *b = right;
  int hash = strcmp(a->hash, b->hash);

  BY(b->fresh, a->fresh);
  BY(b->sweep, a->sweep);
  BY(b->final, a->final);
  BY(b->tied, a->tied);
  if (a->tied) BY(a->steps, b->steps);
  if (a->tied && hash) return hash;
  BY(a->median, b->median);
  BY(a->steps, b->steps);
  if (hash) return hash;
  BY(a->id, b->id);
  return 0;
}

static void judge(struct run *runs)
{
  for (int i = 0; i < RUNS; ++i) {
    const struct run *best = fastest(runs, runs[i].sweep);
    runs[i].fresh = best != NULL;
    runs[i].tied = best && runs[i].final && runs[i].median <= slack(best);
  }
  qsort(runs, RUNS, sizeof *runs, by_rule);
}

struct walk {
  const struct run *runs;
  int at;
};

static dd_status follow(void *user, const struct db_row *row)
{
  struct walk *w = user;
  const struct run *r = &w->runs[w->at++];

  assert_int_equal(row->measurement, r->id);
  assert_int_equal(row->sweep, r->sweep);
  assert_int_equal(row->tied, r->tied);
  assert_int_equal(row->rank, w->at + !w->runs[0].fresh);
  return DD_OK;
}

/* Times from a few values a percent apart, so that many are tied. */
static struct run random_run(struct db *db, uint64_t *random,
                             struct ids *ids, const int64_t *candidates,
                             char (*hashes)[HASH_HEX])
{
  int choice = (int)below(random, CHOICES);
  struct run r = {.sweep = ids->sweep, .hash = hashes[choice],
                  .median = 10 + 0.1 * (double)below(random, 8),
                  .noise = 0.004 * (double)below(random, 4),
                  .half = 0.05 * (double)below(random, 5),
                  .final = below(random, 3) > 0,
                  .steps = choice == CHOICES - 1 ? 2 : 1};
  struct db_proof proof = demo_proof(ids, candidates[choice]);
  struct db_measurement m;
  int64_t id;

  assert_ok(db_proof(db, &proof, &id));
  m = demo_measurement(ids, candidates[choice], id, r.median);
  m.noise = r.noise;
  m.low_us = r.median - r.half;
  m.high_us = r.median + r.half;
  m.stopped = r.final ? "final" : "eliminated";
  r.half = (m.high_us - m.low_us) / 2;
  assert_ok(db_measurement(db, &m, &r.id));
  return r;
}

static void make_choices(struct db *db, struct world *w, struct ids *ids,
                         int64_t *candidates, char (*hashes)[HASH_HEX])
{
  int64_t variant[CHOICES];
  char label[8];

  for (int i = 0; i < CHOICES; ++i) {
    uint32_t steps = i == CHOICES - 1 ? 2 : 1;
    assert_ok(try_variant(db, w, 10 + i, 30 + i, ids));
    variant[i] = ids->variant;
    snprintf(label, sizeof label, "c%d", i);
    assert_ok(db_candidate(db, steps == 2, steps, &variant[i + 1 - steps],
                           label, &candidates[i]));
    raw_text(w->path, "SELECT hash FROM candidate WHERE label = ?1", label,
             hashes[i]);
  }
}

/* db_winner() is the view's first row of the newest sweep. */
static void check_winner(struct db *db, const struct ids *ids,
                         const struct run *runs, const int64_t *candidates,
                         char (*hashes)[HASH_HEX], bool fused)
{
  int64_t winner, want = 0;

  for (int i = 0; i < RUNS && !want; ++i) {
    if (runs[i].sweep != ids->sweep || !runs[i].final) continue;
    if (fused && runs[i].steps > 1) continue;
    for (int c = 0; c < CHOICES; ++c)
      if (runs[i].hash == hashes[c]) want = candidates[c];
  }
  assert_ok(db_winner(db, ids->sweep, ids->problem, "cold graph", fused,
                      &winner));
  assert_int_equal(winner, want);
}

/* Four sweeps, of some runs each; the newest is the shortest. */
static void check_rule(struct db *db, struct world *w, uint64_t *random)
{
  char hashes[CHOICES][HASH_HEX];
  int64_t candidates[CHOICES], none;
  struct run runs[RUNS];
  struct walk walk = {runs, 0};
  struct ids ids = {0};

  assert_ok(try_ids(db, w, 0, &ids));
  make_choices(db, w, &ids, candidates, hashes);
  assert_ok(db_batch_begin(db));
  for (int i = 0; i < RUNS; ++i) {
    if (i % 7 == 6) ids.sweep = 0;
    if (!ids.sweep) assert_ok(try_ids(db, w, 0, &ids));
    runs[i] = random_run(db, random, &ids, candidates, hashes);
  }
  judge(runs);
  check_winner(db, &ids, runs, candidates, hashes, false);
  check_winner(db, &ids, runs, candidates, hashes, true);
  assert_ok(db_winner(db, ids.sweep, ids.problem, "warm graph", false, &none));
  assert_int_equal(none, 0);
  assert_ok(db_batch_commit(db));
  assert_ok(db_each(db, NULL, follow, &walk));
  assert_int_equal(walk.at, RUNS);
}

static void test_rule_is_the_model(void **state)
{
  uint64_t random = 1;

  (void)state;
  for (int round = 0; round < 40; ++round) {
    struct world w;
    struct db *db;
    world_init(&w);
    db = open_ok(w.path, DB_WRITE);
    check_rule(db, &w, &random);
    db_close(db);
    world_release(&w);
  }
}

/* Two launches are slower to queue than one: of equals the one is taken, also
 * where the other's median is smaller. */
static void test_a_tie_takes_fewer_launches(void **state)
{
  struct world w;
  struct db *db;
  struct ids ids = {0};
  int64_t pair[2];
  struct seen s = {0, ""};

  (void)state;
  world_init(&w);
  db = open_ok(w.path, DB_WRITE);
  assert_ok(try_ids(db, &w, 0, &ids));
  pair[0] = pair[1] = ids.variant;
  assert_ok(try_variant(db, &w, 1, 32, &ids));
  add_run(db, &ids, true, pair, "", 10.0, "final"); /* +- 5 % */
  add_run(db, &ids, false, &ids.variant, "tied", 10.49, "final");
  assert_ok(try_variant(db, &w, 2, 32, &ids));
  add_run(db, &ids, false, &ids.variant, "slower", 10.51, "final");
  add_run(db, &ids, false, &pair[0], "", 1.0, "eliminated");
  assert_ok(db_each(db, NULL, note_label, &s));
  assert_string_equal(s.labels,
                      "tied:1 split:2 slower:3 demo.plain heads=0:4 ");
  db_close(db);
  world_release(&w);
}

/* An older sweep's faster time is of other rounds: another clock, another
 * temperature. */
static void test_the_newest_sweep_counts(void **state)
{
  struct world w;
  struct db *db;
  struct ids ids = {0};
  int64_t first;
  struct seen s = {0, ""};
  struct db_filter best = {.best_only = true};

  (void)state;
  world_init(&w);
  db = open_ok(w.path, DB_WRITE);
  assert_ok(try_ids(db, &w, 0, &ids));
  first = ids.variant;
  add_run(db, &ids, false, &first, "", 3.0, "final");
  ids.sweep = 0;
  assert_ok(try_ids(db, &w, 0, &ids));
  assert_ok(try_variant(db, &w, 1, 32, &ids));
  add_run(db, &ids, false, &ids.variant, "young", 5.0, "final");
  ids.sweep = 0; /* was broken off: it chooses nothing */
  assert_ok(try_ids(db, &w, 0, &ids));
  add_run(db, &ids, false, &first, "", 1.0, "eliminated");
  assert_ok(db_each(db, &best, note_label, &s));
  assert_string_equal(s.labels, "young:1 ");
  s = (struct seen){0, ""};
  assert_ok(db_each(db, NULL, note_label, &s));
  assert_string_equal(s.labels, "young:1 demo.plain heads=0:2 "
                                "demo.plain heads=0:3 ");
  db_close(db);
  world_release(&w);
}

static void test_no_best_without_fresh_rounds(void **state)
{
  struct world w;
  struct db *db;
  struct ids ids = {0};
  struct seen s = {0, ""};
  struct db_filter best = {.best_only = true};

  (void)state;
  world_init(&w);
  db = open_ok(w.path, DB_WRITE);
  assert_ok(try_ids(db, &w, 0, &ids));
  add_run(db, &ids, false, &ids.variant, "screened", 1.0, "eliminated");
  assert_ok(db_each(db, NULL, note_label, &s));
  assert_string_equal(s.labels, "demo.plain heads=0:2 ");
  s = (struct seen){0, ""};
  assert_ok(db_each(db, &best, note_label, &s));
  assert_int_equal(s.rows, 0);
  db_close(db);
  world_release(&w);
}

static int count_rows(struct db *db, struct db_filter f)
{
  struct seen s = {0, ""};

  assert_ok(db_each(db, &f, note_label, &s));
  return s.rows;
}

/* Rows of either view that the other lacks. */
static int64_t different(struct db *db, const char *columns)
{
  char text[1600];
  int64_t n;

  snprintf(text, sizeof text,
           "SELECT count(*) FROM (SELECT * FROM (SELECT %s FROM best EXCEPT "
           "SELECT %s FROM newest) UNION ALL SELECT * FROM (SELECT %s FROM "
           "newest EXCEPT SELECT %s FROM best))",
           columns, columns, columns, columns);
  assert_ok(db_number(db, text, &n));
  return n;
}

/* What is found by races is what the view that decides says. */
static void test_newest_is_best(void **state)
{
  struct world w;
  struct db *db;
  int64_t n;

  (void)state;
  make(&w, 7); /* a race of each problem */
  db = open_ok(w.path, DB_WRITE);
  store(db, &w, 7); /* another sweep */
  assert_ok(db_number(db, "SELECT count(*) FROM newest", &n));
  assert_int_equal(n, 7);
  assert_int_equal(different(db, "measurement, race, position, tied, median_us"),
                   0);
  assert_int_equal(different(db, "device_id, device, device_kind, arch, sms, "
                                 "driver, op, problem, policy, label, stopped, "
                                 "split, step_count, candidate_hash, split_us, "
                                 "q1_us, q3_us, low_us, high_us, copy_us, noise, "
                                 "error, sample_count, dropped, registers, "
                                 "floor, again, sm_mhz, throttle, apart, rank"),
                   0);
  db_close(db);
  world_release(&w);
}

enum { FUSED_WINS = 1, SPLIT_WINS = 2 }; /* two sweeps */
struct one_sweep {
  int64_t sweep;
  bool all;
  struct bytes text;
};

/* All but the rank, which db_each() has among all sweeps' rows. */
static dd_status dump_of_sweep(void *user, const struct db_row *row)
{
  struct one_sweep *one = user;
  struct db_row copy = *row;

  if (row->sweep != one->sweep) return DD_OK;
  if (!one->all && !strcmp(row->label, "third")) return DD_OK;
  copy.rank = 0;
  return dump_row(&one->text, &copy);
}

static void check_sweep(struct db *db, int64_t sweep, const char *spelling,
                        bool all)
{
  struct one_sweep expected = {sweep, all, BYTES_INIT}, found = expected;
  struct db_filter f = {.problem = spelling};

  found.all = true;
  assert_ok(db_each(db, &f, dump_of_sweep, &expected));
  assert_ok(db_each_of_sweep(db, sweep, spelling, all, dump_of_sweep, &found));
  assert_true(expected.text.size > 0);
  assert_string_equal(bytes_string(&found.text), bytes_string(&expected.text));
  bytes_release(&expected.text);
  bytes_release(&found.text);
}

static void store_split_wins(struct db *db, struct world *w, int count)
{
  struct ids ids = {0};
  int64_t measurement[3], third;

  for (int i = 0; i < count; ++i) {
    assert_ok(try_ids(db, w, i, &ids));
    assert_ok(try_variant(db, w, 20 + i, 32, &ids));
    assert_ok(db_candidate(db, false, 1, &ids.variant, "third", &third));
    assert_ok(try_race(db, &ids, ids.split, 3.0, &measurement[0]));
    assert_ok(try_race(db, &ids, ids.candidate, 30.0, &measurement[1]));
    assert_ok(try_race(db, &ids, third, 40.0, &measurement[2]));
    assert_ok(try_standings(db, &ids, measurement, 3, 3.0));
  }
}

static void test_one_sweep_is_as_each_says(void **state)
{
  struct world w;
  struct db *db;
  struct one_sweep none = {.all = true};

  (void)state;
  make(&w, 7);
  db = open_ok(w.path, DB_WRITE);
  store_split_wins(db, &w, 7);
  for (int64_t sweep = FUSED_WINS; sweep <= SPLIT_WINS; ++sweep)
    for (int all = 0; all < 2; ++all) {
      check_sweep(db, sweep, NULL, all);
      check_sweep(db, sweep, "demo:bf16 tokens=2 width=128", all);
    }
  assert_ok(db_each_of_sweep(db, 3, NULL, true, dump_of_sweep, &none));
  assert_int_equal(none.text.size, 0);
  db_close(db);
  bytes_release(&none.text);
  world_release(&w);
}

static void one_sweep_damaged(const char *sql)
{
  struct world w;
  struct one_sweep one = {.sweep = 1, .all = true};
  struct db *db;

  make(&w, 7);
  assert_int_equal(raw(w.path, sql), SQLITE_OK);
  for (int all = 0; all < 2; ++all) {
    db = open_ok(w.path, DB_READ);
    assert_fails(DD_BAD_DATABASE, "damaged",
                 db_each_of_sweep(db, 1, NULL, all, dump_of_sweep, &one));
    db_close(db);
  }
  bytes_release(&one.text);
  world_release(&w);
}

/* What is only joined would otherwise be silently less. */
static void test_one_sweep_is_verified(void **state)
{
  (void)state;
  one_sweep_damaged("UPDATE standing SET position = 9 WHERE race = 1 AND "
                    "position = 1");
  one_sweep_damaged("UPDATE standing SET tied = 0 WHERE race = 1");
  one_sweep_damaged("DELETE FROM measurement WHERE id = 1");
  one_sweep_damaged("DELETE FROM measurement WHERE id = 2"); /* a split form's */
  one_sweep_damaged("DELETE FROM candidate WHERE id = 1");
  one_sweep_damaged("DELETE FROM proof WHERE id = 1");
}

static dd_status count_failure(void *user, const struct db_failure_row *row)
{
  assert_string_equal(row->stage, "check");
  assert_string_equal(row->reason, "element 7 is off");
  ++*(int *)user;
  return DD_OK;
}

static void test_filters(void **state)
{
  struct world w;
  struct db *db;
  struct db_filter one = {.problem = "demo:bf16 tokens=2 width=128"};
  int failures = 0;

  (void)state;
  make(&w, 10); /* over 7 problems */
  db = open_ok(w.path, DB_READ);
  assert_int_equal(count_rows(db, (struct db_filter){0}), 20);
  assert_int_equal(count_rows(db, (struct db_filter){.best_only = true}), 7);
  assert_int_equal(count_rows(db, (struct db_filter){.op = "demo"}), 20);
  assert_int_equal(count_rows(db, (struct db_filter){.op = "dem"}), 0);
  assert_int_equal(count_rows(db, one), 4);
  assert_int_equal(count_rows(db, (struct db_filter){.device = "h200"}), 20);
  assert_int_equal(count_rows(db, (struct db_filter){.device = "B200"}), 0);
  assert_int_equal(count_rows(db, (struct db_filter){.device_kind = "cpu"}),
                   0);
  assert_ok(db_each_failure(db, NULL, count_failure, &failures));
  assert_int_equal(failures, 10);
  failures = 0;
  assert_ok(db_each_failure(db, &one, count_failure, &failures));
  assert_int_equal(failures, 2);
  db_close(db);
  world_release(&w);
}

static dd_status stop(void *user, const struct db_row *row)
{
  (void)row;
  ++*(int *)user;
  return fail(DD_UNTUNED, "enough");
}

/* A visitor may stop the walk, and may use the database itself. */
static struct db *inner;
static dd_status look_again(void *user, const struct db_row *row)
{
  struct arena arena;
  struct db_variant_row v;

  arena_init(&arena, NULL);
  assert_ok(db_variant_read(inner, row->steps[0], "sm_90", 1, &arena, &v));
  arena_release(&arena);
  *(int *)user += count_rows(inner, (struct db_filter){.best_only = true});
  return DD_OK;
}

static void test_visitors(void **state)
{
  struct world w;
  int calls = 0;

  (void)state;
  make(&w, 3);
  inner = open_ok(w.path, DB_READ);
  assert_fails(DD_UNTUNED, "enough", db_each(inner, NULL, stop, &calls));
  assert_int_equal(calls, 1);
  calls = 0;
  assert_ok(db_each(inner, NULL, look_again, &calls));
  assert_int_equal(calls, 6 * 3);
  db_close(inner);
  world_release(&w);
}

static void test_coverage(void **state)
{
  struct world w;

  (void)state;
  make(&w, 7);
  assert_int_equal(
    raw_number(w.path, "SELECT count(*) FROM coverage WHERE proven = 2 AND "
                       "measured = 2 AND failed = 1 AND has_split = 1"), 7);
  assert_int_equal(
    raw_number(w.path, "SELECT count(*) FROM coverage JOIN best USING (problem)"
                       " WHERE best_us = median_us AND "
                       "abs(copy_fraction - 2.5 / median_us) < 1e-9"), 7);
  world_release(&w);
}

/* ---- No measurement without its proof ------------------------------------ */

static void refuse_measurement(struct db *db, struct db_measurement m,
                               const char *why)
{
  int64_t id = 99;

  assert_fails(DD_BUG, why, db_measurement(db, &m, &id));
  assert_int_equal(id, 0);
}

static void test_measurement_needs_its_proof(void **state)
{
  struct world w;
  struct db *db;
  struct ids ids = {0};
  struct db_proof proof;
  struct db_measurement m;
  int64_t id;

  (void)state;
  world_init(&w);
  db = open_ok(w.path, DB_WRITE);
  assert_ok(try_ids(db, &w, 0, &ids));
  proof = demo_proof(&ids, ids.split);
  assert_ok(db_proof(db, &proof, &id));
  m = demo_measurement(&ids, ids.candidate, 0, 3.0);
  refuse_measurement(db, m, "FOREIGN KEY");
  m.proof = id; /* the split form's */
  refuse_measurement(db, m, "under proof 1: ");
  m = demo_measurement(&ids, ids.split, id, 3.0);
  m.problem++;
  refuse_measurement(db, m, "FOREIGN KEY");
  m = demo_measurement(&ids, ids.split, id, 3.0);
  m.device++;
  refuse_measurement(db, m, "FOREIGN KEY");
  m = demo_measurement(&ids, ids.split, id, 3.0);
  assert_ok(db_measurement(db, &m, &id));
  db_close(db);
  world_release(&w);
}

static void test_measurement_limits(void **state)
{
  struct world w;
  struct db *db;
  struct ids ids = {0};
  struct db_proof proof;
  struct db_measurement good, m;
  int64_t id;

  (void)state;
  world_init(&w);
  db = open_ok(w.path, DB_WRITE);
  assert_ok(try_ids(db, &w, 0, &ids));
  proof = demo_proof(&ids, ids.candidate);
  assert_ok(db_proof(db, &proof, &id));
  good = demo_measurement(&ids, ids.candidate, id, 3.0);
#define REFUSED(field, bad, why)                                               \
  do {                                                                         \
    m = good;                                                                  \
    m.field = bad;                                                             \
    refuse_measurement(db, m, why);                                            \
  } while (0)
  REFUSED(median_us, 0.0 / 0.0, "NOT NULL");
  REFUSED(median_us, 0, "CHECK");
  REFUSED(q1_us, 3.5, "CHECK");
  REFUSED(q3_us, 2.5, "CHECK");
  REFUSED(low_us, 9, "CHECK");
  REFUSED(high_us, 1.0 / 0.0, "CHECK");
  REFUSED(sample_count, 0, "CHECK");
  REFUSED(dropped, -1, "CHECK");
  REFUSED(stopped, "tired", "CHECK");
  REFUSED(policy, "tepid graph", "CHECK");
  REFUSED(copy_us, -1, "CHECK");
  REFUSED(noise, -0.5, "CHECK");
  REFUSED(sweep, 7, "FOREIGN KEY");
#undef REFUSED
  assert_ok(db_measurement(db, &good, &id));
  assert_ok(db_verify(db));
  db_close(db);
  world_release(&w);
}

static void test_proof_limits(void **state)
{
  struct world w;
  struct db *db;
  struct ids ids = {0};
  struct db_proof good, p;
  int64_t id;

  (void)state;
  world_init(&w);
  db = open_ok(w.path, DB_WRITE);
  assert_ok(try_ids(db, &w, 0, &ids));
  good = demo_proof(&ids, ids.candidate);
#define REFUSED(field, bad)                                                    \
  do {                                                                         \
    p = good;                                                                  \
    p.field = bad;                                                             \
    assert_fails(DD_BUG, "constraint failed", db_proof(db, &p, &id));          \
  } while (0)
  REFUSED(error, 1.5);
  REFUSED(error, 1.0000001);
  REFUSED(error, -1e-9);
  REFUSED(error, 0.0 / 0.0);
  REFUSED(bit_equal, 1.1);
  REFUSED(elements, 0);
  REFUSED(cases, 0);
  REFUSED(method, "hope");
  REFUSED(candidate, 77);
  REFUSED(toolchain, 77);
#undef REFUSED
  good.error = -0.0; /* SQLite stores it as 0: the row's hash must agree */
  good.bit_equal = 1;
  assert_ok(db_proof(db, &good, &id));
  assert_int_equal(id, 1); /* what was refused used up no id */
  assert_ok(db_verify(db));
  db_close(db);
  world_release(&w);
}

/* The schema itself refuses, whoever asks. */
static void test_raw_sql_is_refused(void **state)
{
  static const char *const bad[] = {
    "INSERT INTO measurement SELECT 1000, sweep, proof + 1, candidate, problem,"
    " device, policy, median_us, q1_us, q3_us, low_us, high_us, sample_count,"
    " dropped, stopped, copy_us, noise, samples_hash, row_hash, samples"
    " FROM measurement WHERE id = 1",
    "UPDATE measurement SET proof = NULL WHERE id = 1",
    "UPDATE measurement SET candidate = candidate + 1 WHERE id = 1",
    "UPDATE measurement SET samples = zeroblob(8) WHERE id = 1",
    "UPDATE measurement SET median_us = 'fast' WHERE id = 1",
    "UPDATE proof SET error = 1.5 WHERE id = 1",
    "UPDATE proof SET error = NULL WHERE id = 1",
    "DELETE FROM proof WHERE id = 1",
    "UPDATE candidate SET step_count = 0 WHERE id = 1",
    "UPDATE variant SET source = 99 WHERE id = 1",
    "UPDATE variant SET source = NULL WHERE id = 1",
    "UPDATE variant SET entry = NULL WHERE id = 1",
    "UPDATE source SET text = NULL WHERE id = 1",
    "INSERT INTO source SELECT 9, hash, row_hash, text FROM source LIMIT 1",
    "DELETE FROM source WHERE id = 1",
    "UPDATE race SET policy = 'tepid graph' WHERE id = 1",
    "UPDATE standing SET position = 0 WHERE id = 1",
    "UPDATE standing SET position = 2 WHERE id = 1", /* the other's */
    "UPDATE standing SET tied = 2 WHERE id = 1",
    "UPDATE standing SET measurement = 99 WHERE id = 1",
    "UPDATE standing SET ratios = zeroblob(7) WHERE id = 1",
    "DELETE FROM race WHERE id = 1",
  };
  struct world w;
  struct db *db;

  (void)state;
  make(&w, 2);
  for (size_t i = 0; i < COUNT_OF(bad); ++i) {
    char sql[1000];
    snprintf(sql, sizeof sql, "PRAGMA foreign_keys = ON; %s", bad[i]);
    assert_int_equal(raw(w.path, sql), SQLITE_CONSTRAINT);
  }
  db = open_ok(w.path, DB_READ);
  assert_ok(db_verify(db));
  db_close(db);
  world_release(&w);
}

/* ---- Files that are refused, and stay as they are ------------------------ */

static void refuse_file(const char *path, enum db_mode mode, dd_status status,
                        const char *why)
{
  struct bytes before = BYTES_INIT, after = BYTES_INIT;
  struct db *db = NULL;

  assert_ok(file_read(path, 1 << 24, &before));
  assert_fails(status, why, db_open(path, mode, &db));
  assert_null(db);
  assert_ok(file_read(path, 1 << 24, &after));
  assert_int_equal(before.size, after.size);
  if (before.size) assert_memory_equal(before.data, after.data, before.size);
  bytes_release(&before);
  bytes_release(&after);
}

static void refuse_both(const char *path, const char *why)
{
  refuse_file(path, DB_READ, DD_BAD_DATABASE, why);
  refuse_file(path, DB_WRITE, DD_BAD_DATABASE, why);
}

static void test_foreign_files(void **state)
{
  struct world w;
  char text[300];

  (void)state;
  world_init(&w);
  memset(text, 'x', sizeof text);
  assert_ok(file_write(w.path, text, sizeof text));
  refuse_both(w.path, "is not a SQLite database");
  assert_ok(file_write(w.path, text, 10));
  refuse_both(w.path, "is not a SQLite database");
  unlink(w.path);
  assert_int_equal(raw(w.path, "CREATE TABLE t (x)"), SQLITE_OK);
  refuse_both(w.path, "not a tuning database of difftune");
  world_release(&w);
}

static void test_versions(void **state)
{
  struct world w;
  char want[400];

  (void)state;
  make(&w, 1);
  assert_int_equal(raw(w.path, "PRAGMA user_version = 7"), SQLITE_OK);
  snprintf(want, sizeof want, "'%s' was written by a newer difftune: its "
           "version is 7, this program knows 5", w.path);
  refuse_both(w.path, want);
  assert_int_equal(raw(w.path, "PRAGMA user_version = 0"), SQLITE_OK);
  refuse_both(w.path, "its version is not a whole number");
  world_release(&w);
}

/* A race's order stands, whatever the times say; ties of the screened too. */
static void test_a_race_decides(void **state)
{
  struct world w;
  struct ids ids = {0};
  struct bytes text = BYTES_INIT;
  struct arena arena;
  const double *ratios;
  int64_t measurement[2];
  size_t count;
  struct db *db;

  (void)state;
  world_init(&w);
  db = open_ok(w.path, DB_WRITE);
  assert_ok(try_ids(db, &w, 0, &ids));
  assert_ok(try_race(db, &ids, ids.candidate, 3.0, &measurement[1]));
  assert_ok(try_race(db, &ids, ids.split, 30.0, &measurement[0]));
  arena_init(&arena, NULL);
  assert_ok(db_ratios(db, measurement[0], &arena, &ratios, &count));
  assert_int_equal(count, 0); /* no race has said anything yet */
  assert_ok(try_standings(db, &ids, measurement, 2, 0));
  assert_ok(db_ratios(db, measurement[0], &arena, &ratios, &count));
  assert_int_equal(count, 5);
  assert_true(ratios[0] == 1.5 && ratios[4] == 2.0);
  assert_ok(db_each(db, NULL, dump_row, &text));
  assert_non_null(strstr(bytes_string(&text), "split final 90 132 1 2"));
  assert_true(strstr(bytes_string(&text), "split final") <
              strstr(bytes_string(&text), "demo.plain heads=0 final"));
  bytes_release(&text);
  arena_release(&arena);
  assert_int_equal(raw_number(w.path, "SELECT rank FROM ranked WHERE split"),
                   1);
  assert_int_equal(raw_number(w.path, "SELECT sum(tied) FROM ranked"), 1);
  assert_int_equal(raw_number(w.path, "SELECT sum(apart = 0.0625) FROM ranked"), 2);
  db_close(db);
  world_release(&w);
}

/* A file as an older version made it, with rows: the columns are the same. */
static void make_version(struct world *w, int version)
{
  static const char *const names[] = {
    "device", "toolchain", "problem", "source", "variant", "code", "candidate",
    "candidate_step", "sweep", "proof", "measurement", "failure", /* from 1 on */
    "race", "standing", "anchor",                                 /* from 3 on */
    "bits"};                                                      /* from 4 on */
  size_t count = version < 3 ? 12 : version < 4 ? 15 : 16;
  struct bytes sql = BYTES_INIT;
  char young[160], path[200];

  make(w, 3);
  snprintf(path, sizeof path, "%s/tests/golden/schema_%d.sql",
           DIFFTUNE_SOURCE_DIR, version);
  snprintf(young, sizeof young, "%s-2", w->path);
  assert_int_equal(rename(w->path, young), 0);
  assert_ok(file_read(path, 1 << 20, &sql));
  assert_int_equal(raw(w->path, bytes_string(&sql)), SQLITE_OK);
  bytes_clear(&sql);
  bytes_printf(&sql, "ATTACH '%s' AS young;", young);
  for (size_t i = 0; i < count; ++i)
    bytes_printf(&sql, "INSERT INTO main.%s SELECT * FROM young.%s;", names[i],
                 names[i]);
  assert_int_equal(raw(w->path, bytes_string(&sql)), SQLITE_OK);
  bytes_release(&sql);
}

static void bring_up(int version)
{
  struct world w;
  struct db *db;

  make_version(&w, version);
  assert_int_equal(raw(w.path, "CREATE VIEW mine AS SELECT * FROM best"),
                   SQLITE_OK);
  refuse_file(w.path, DB_READ, DD_BAD_DATABASE, "open it once for writing");
  db = open_ok(w.path, DB_WRITE);
  assert_ok(db_verify(db));
  db_close(db);
  db = open_ok(w.path, DB_READ);
  assert_int_equal(count_rows(db, (struct db_filter){.best_only = true}), 3);
  db_close(db);
  assert_int_equal(raw_number(w.path, "SELECT count(*) FROM mine"), 3);
  assert_int_equal(raw_number(w.path, "PRAGMA user_version"), 5);
  assert_int_equal(raw_number(w.path, "SELECT count(*) FROM standing"),
                   version < 3 ? 0 : 6);
  assert_int_equal(raw_number(w.path, "SELECT sum(apart <> 0) FROM ranked"),
                   0);
  assert_int_equal(raw_number(w.path, "SELECT sum(tied) FROM ranked"), 3);
  world_release(&w);
}

static void test_older_versions_are_brought_up(void **state)
{
  (void)state;
  for (int version = 1; version <= 4; ++version) bring_up(version);
}

/* What a candidate makes of a corpus is known while only one thing was stored
 * of it, on that device and by that compiler. */
static void test_bits(void **state)
{
  struct world w;
  struct ids ids = {0}, other = {0};
  struct db_bits b = {.corpus = "demo:bf16 width=64 tokens=16", .digest = 7};
  int64_t measurement, id, again;
  uint64_t digest;
  struct db *db;

  (void)state;
  world_init(&w);
  db = open_ok(w.path, DB_WRITE);
  assert_ok(try_ids(db, &w, 0, &ids));
  assert_ok(try_ids(db, &w, 1, &other));
  assert_ok(try_race(db, &ids, ids.candidate, 3.0, &measurement));
  b.candidate = other.candidate;
  b.device = ids.device;
  b.toolchain = ids.toolchain;
  assert_ok(db_bits(db, &b, &id)); /* of another candidate */
  b.candidate = ids.candidate;
  assert_ok(db_toolchain(db, "another", &b.toolchain));
  assert_ok(db_bits(db, &b, &id)); /* by another compiler */
  assert_ok(db_bits_of(db, measurement, b.corpus, &digest));
  assert_int_equal(digest, 0);
  b.toolchain = ids.toolchain;
  b.digest = 0x8000000000000001u;
  assert_ok(db_bits(db, &b, &id));
  assert_ok(db_bits(db, &b, &again));
  assert_int_equal(id, again);
  assert_ok(db_bits_of(db, measurement, b.corpus, &digest));
  assert_true(digest == b.digest);
  assert_ok(db_bits_of(db, measurement, "demo:bf16 width=64 tokens=5", &digest));
  assert_int_equal(digest, 0);
  b.digest = 9;
  assert_ok(db_bits(db, &b, &id));
  assert_ok(db_bits_of(db, measurement, b.corpus, &digest));
  assert_true(digest == BITS_DIFFER); /* not always the same */
  db_close(db);
  world_release(&w);
}

static void test_wal_is_refused(void **state)
{
  struct world w;

  (void)state;
  make(&w, 1);
  assert_int_equal(raw(w.path, "PRAGMA journal_mode = WAL"), SQLITE_OK);
  refuse_both(w.path, "was put into WAL mode");
  assert_int_equal(raw(w.path, "PRAGMA journal_mode = DELETE"), SQLITE_OK);
  db_close(open_ok(w.path, DB_READ));
  world_release(&w);
}

/* Every length that a cut-off copy could have. */
static void test_truncated(void **state)
{
  struct world w;
  struct bytes whole = BYTES_INIT;

  (void)state;
  make(&w, 2);
  assert_ok(file_read(w.path, 1 << 24, &whole));
  for (size_t size = 512; size < whole.size; size += 512) {
    assert_ok(file_write(w.path, whole.data, size));
    refuse_file(w.path, size / 512 % 2 ? DB_READ : DB_WRITE, DD_BAD_DATABASE,
                "damaged");
  }
  bytes_release(&whole);
  world_release(&w);
}

static void test_empty_file(void **state)
{
  struct world w;
  struct db *db;

  (void)state;
  world_init(&w);
  assert_ok(file_write(w.path, "", 0));
  refuse_file(w.path, DB_READ, DD_BAD_DATABASE, "is empty");
  db = open_ok(w.path, DB_WRITE);
  store(db, &w, 1);
  assert_ok(db_verify(db));
  db_close(db);
  world_release(&w);
}

static void test_missing_file(void **state)
{
  struct world w;
  struct db *db;
  char path[200];

  (void)state;
  world_init(&w);
  assert_fails(DD_IO, "there is no such file", db_open(w.path, DB_READ, &db));
  assert_int_equal(access(w.path, F_OK), -1);
  snprintf(path, sizeof path, "%s/no/x.db", w.folder);
  assert_fails(DD_IO, "cannot find the folder", db_open(path, DB_WRITE, &db));
  assert_fails(DD_IO, "is not the name of a file",
               db_open("/tmp/", DB_WRITE, &db));
  assert_fails(DD_BAD_ARGUMENT, "no name", db_open(NULL, DB_WRITE, &db));
  world_release(&w);
}

static void test_not_a_file(void **state)
{
  struct world w;
  struct db *db;
  char path[200];

  (void)state;
  make(&w, 1);
  assert_fails(DD_BAD_DATABASE, "is not a regular file",
               db_open(w.folder, DB_WRITE, &db));
  snprintf(path, sizeof path, "%s/fifo", w.folder);
  assert_int_equal(mkfifo(path, 0600), 0);
  assert_fails(DD_BAD_DATABASE, "is not a regular file",
               db_open(path, DB_READ, &db));
  snprintf(path, sizeof path, "%s/link", w.folder);
  assert_int_equal(symlink(w.path, path), 0);
  assert_fails(DD_BAD_DATABASE, "is a symbolic link",
               db_open(path, DB_WRITE, &db));
  world_release(&w);
}

/* A symbolic link on the way to the folder is fine. */
static void test_linked_folder(void **state)
{
  struct world w;
  char link[100], path[200];

  (void)state;
  make(&w, 1);
  snprintf(link, sizeof link, "%s/link", w.folder);
  snprintf(path, sizeof path, "%s/x.db", link);
  assert_int_equal(symlink(w.folder, link), 0);
  db_close(open_ok(path, DB_WRITE));
  world_release(&w);
}

static void test_read_only_file(void **state)
{
  struct world w;
  struct db *db;
  struct ids ids = {0};

  (void)state;
  make(&w, 1);
  assert_int_equal(chmod(w.path, 0444), 0);
  refuse_file(w.path, DB_WRITE, DD_BAD_DATABASE, "is read-only");
  db = open_ok(w.path, DB_READ);
  assert_ok(db_verify(db));
  assert_fails(DD_BAD_DATABASE, "opened for reading only",
               try_ids(db, &w, 0, &ids));
  assert_fails(DD_BAD_DATABASE, "opened for reading only", db_batch_begin(db));
  db_close(db);
  world_release(&w);
}

/* ---- Changed by hand ----------------------------------------------------- */

static void test_changed_schema(void **state)
{
  struct world w;

  (void)state;
  make(&w, 1);
  assert_int_equal(raw(w.path, "CREATE VIEW mine AS SELECT * FROM best"),
                   SQLITE_OK);
  db_close(open_ok(w.path, DB_WRITE)); /* more than ours is fine */
  assert_int_equal(raw(w.path, "DROP VIEW best; CREATE VIEW best AS "
                               "SELECT * FROM ranked WHERE rank = 2"),
                   SQLITE_OK);
  refuse_both(w.path, "its view best is not the one that difftune makes");
  assert_int_equal(raw(w.path, "DROP VIEW best"), SQLITE_OK);
  refuse_both(w.path, "its view best is not");
  assert_int_equal(raw(w.path, "CREATE VIEW best AS -- as it was\n"
                               "SELECT  * FROM ranked WHERE rank = 1"),
                   SQLITE_OK);
  db_close(open_ok(w.path, DB_READ)); /* comments and spaces do not count */
  world_release(&w);
}

/* Whoever changes a row by hand is found out, and told which row. */
static void test_changed_rows(void **state)
{
  static const struct {
    const char *sql, *why;
  } cases[] = {
    {"UPDATE measurement SET median_us = 4.1 WHERE id = 3",
     "row 3 of table measurement does not match its hash"},
    {"UPDATE device SET name = 'NVIDIA B200'",
     "row 1 of table device does not match"},
    {"UPDATE source SET text = 'x' WHERE id = 2",
     "row 2 of table source holds bytes that do not match"},
    {"UPDATE source SET hash = 'x' WHERE id = 3",
     "row 3 of table source does not match its hash"},
    {"UPDATE variant SET entry = 'x' WHERE id = 2",
     "row 2 of table variant does not match its hash"},
    {"UPDATE variant SET source = 3 WHERE id = 2",
     "row 2 of table variant does not match its hash"},
    {"DELETE FROM source WHERE id = 1", "row 1 of table source is missing"},
    {"DELETE FROM source WHERE id = 3",
     "row 3 of table variant points at a row of table source"},
    {"UPDATE code SET bytes = x'00' WHERE id = 2",
     "row 2 of table code holds bytes that do not match"},
    {"UPDATE measurement SET samples = zeroblob(40) WHERE id = 1",
     "row 1 of table measurement holds bytes that do not match"},
    {"DELETE FROM failure WHERE id = 1", "row 1 of table failure is missing"},
    {"DELETE FROM candidate_step WHERE id = 2",
     "row 2 of table candidate_step is missing"},
    {"DELETE FROM proof WHERE id = 6",
     "row 6 of table measurement points at a row of table proof"},
  };

  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); ++i) {
    struct world w;
    struct db *db;
    make(&w, 3);
    assert_int_equal(raw(w.path, cases[i].sql), SQLITE_OK);
    db = open_ok(w.path, DB_READ);
    assert_fails(DD_BAD_DATABASE, cases[i].why, db_verify(db));
    db_close(db);
    world_release(&w);
  }
}

/* What another program changes after the first look is looked at again. */
static void test_changes_are_seen(void **state)
{
  struct world w;
  struct db *db;

  (void)state;
  make(&w, 2);
  db = open_ok(w.path, DB_READ);
  assert_int_equal(count_rows(db, (struct db_filter){0}), 4);
  assert_int_equal(raw(w.path, "UPDATE problem SET op = 'other'"), SQLITE_OK);
  assert_fails(DD_BAD_DATABASE, "of table problem does not match",
               db_each(db, NULL, note_label, &(struct seen){0, ""}));
  db_close(db);
  world_release(&w);
}

/* ---- Batches ------------------------------------------------------------- */

static void test_batch(void **state)
{
  struct world w;
  struct db *db, *other;
  struct ids ids = {0};
  struct db_proof bad;
  int64_t id;

  (void)state;
  world_init(&w);
  db = open_ok(w.path, DB_WRITE);
  other = open_ok(w.path, DB_READ);
  assert_fails(DD_BUG, "no batch", db_batch_commit(db));
  assert_ok(db_batch_begin(db));
  assert_fails(DD_BUG, "already open", db_batch_begin(db));
  assert_ok(try_store(db, &w, 0, &ids));
  assert_int_equal(count_rows(other, (struct db_filter){0}), 0);
  bad = demo_proof(&ids, 99);
  assert_fails(DD_BUG, "FOREIGN KEY", db_proof(db, &bad, &id));
  assert_ok(try_store(db, &w, 1, &ids)); /* the rest of the batch lives on */
  assert_ok(db_batch_commit(db));
  assert_int_equal(count_rows(other, (struct db_filter){0}), 4);
  assert_ok(db_batch_begin(db));
  assert_ok(try_store(db, &w, 2, &ids));
  db_batch_cancel(db);
  assert_int_equal(count_rows(other, (struct db_filter){0}), 4);
  assert_ok(db_verify(db));
  db_close(other);
  db_close(db);
  world_release(&w);
}

/* Every write alone reaches the disk; a batch reaches it once. */
static void test_batch_syncs_once(void **state)
{
  struct world w;
  struct db *db;
  struct ids ids = {0};
  long before, one;

  (void)state;
  world_init(&w);
  db = open_ok(w.path, DB_WRITE);
  assert_ok(try_store(db, &w, 0, &ids));
  before = sync_count;
  assert_ok(db_toolchain(db, "another", &ids.toolchain));
  one = sync_count - before;
  assert_true(one >= 2); /* the journal, the file */
  before = sync_count;
  assert_ok(db_toolchain(db, "another", &ids.toolchain));
  assert_int_equal(sync_count, before); /* found, not written */
  assert_ok(db_batch_begin(db));
  for (int i = 1; i < 30; ++i) assert_ok(try_store(db, &w, i, &ids));
  assert_ok(db_batch_commit(db));
  assert_true(sync_count - before <= one + 1);
  db_close(db);
  world_release(&w);
}

/* ---- Two programs at once ------------------------------------------------ */

static void test_two_writers(void **state)
{
  struct world w;
  struct db *a, *b;
  struct ids ids = {0};
  int64_t id;

  (void)state;
  db_busy_ms = 20;
  world_init(&w);
  a = open_ok(w.path, DB_WRITE);
  b = open_ok(w.path, DB_WRITE);
  assert_ok(db_batch_begin(a));
  assert_ok(try_ids(a, &w, 0, &ids));
  assert_fails(DD_IO, "is in use by another program (waited 0.02 s)",
               db_toolchain(b, "gcc", &id));
  assert_fails(DD_IO, "is in use", db_batch_begin(b));
  assert_ok(db_batch_commit(a));
  assert_ok(db_toolchain(b, "gcc", &id));
  assert_ok(db_toolchain(a, "gcc", &id));
  assert_int_equal(id, 2);
  db_close(a);
  db_close(b);
  world_release(&w);
  db_busy_ms = 10000;
}

/* A forked child must not write, and closing there does the parent no harm. */
static void test_forked_child(void **state)
{
  struct world w;
  struct db *db;
  struct ids ids = {0};
  int status;
  pid_t pid;

  (void)state;
  world_init(&w);
  db = open_ok(w.path, DB_WRITE);
  assert_ok(db_batch_begin(db));
  assert_ok(try_ids(db, &w, 0, &ids));
  pid = fork();
  if (pid == 0) {
    bool refused = db_toolchain(db, "x", &ids.toolchain) == DD_BUG &&
                   strstr(dd_last_error(), "by another process");
    db_close(db);
    _exit(refused ? 0 : 1);
  }
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 0);
  assert_ok(db_batch_commit(db));
  assert_ok(db_verify(db));
  db_close(db);
  world_release(&w);
}

/* ---- Network file systems ------------------------------------------------ */

static uint32_t pretend_fs;

/* Takes the C library's place. */
__attribute__((visibility("default"))) int statfs(const char *path,
                                                  struct statfs *out)
{
  int rc = (int)syscall(SYS_statfs, path, out);

  if (pretend_fs) out->f_type = pretend_fs;
  return rc;
}

static void test_network_file_system(void **state)
{
  static const struct {
    uint32_t magic;
    const char *name;
  } cases[] = {{0x6969, "NFS"},       {0xff534d42, "CIFS"},
               {0xfe534d42, "SMB"},   {0x01021997, "9p"},
               {0x65735546, "FUSE"},  {0x0bd00bd0, "Lustre"}};
  struct world w;
  struct db *db;

  (void)state;
  world_init(&w);
  for (size_t i = 0; i < COUNT_OF(cases); ++i) {
    char want[300];
    pretend_fs = cases[i].magic;
    snprintf(want, sizeof want, "'%s' is on %s, where", w.path, cases[i].name);
    assert_fails(DD_BAD_DATABASE, want, db_open(w.path, DB_WRITE, &db));
    assert_int_equal(access(w.path, F_OK), -1);
  }
  pretend_fs = 0;
  db_close(open_ok(w.path, DB_WRITE));
  pretend_fs = 0x6969;
  db_close(open_ok(w.path, DB_READ)); /* reading is fine */
  pretend_fs = 0;
  world_release(&w);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_ids),
    cmocka_unit_test(test_device_identity),
    cmocka_unit_test(test_rows_come_back),
    cmocka_unit_test(test_variant_and_samples),
    cmocka_unit_test(test_source_is_stored_once),
    cmocka_unit_test(test_changed_text),
    cmocka_unit_test(test_sweep_ends_once),
    cmocka_unit_test(test_rule_is_the_model),
    cmocka_unit_test(test_a_tie_takes_fewer_launches),
    cmocka_unit_test(test_the_newest_sweep_counts),
    cmocka_unit_test(test_no_best_without_fresh_rounds),
    cmocka_unit_test(test_newest_is_best),
    cmocka_unit_test(test_one_sweep_is_as_each_says),
    cmocka_unit_test(test_one_sweep_is_verified),
    cmocka_unit_test(test_filters),
    cmocka_unit_test(test_visitors),
    cmocka_unit_test(test_coverage),
    cmocka_unit_test(test_measurement_needs_its_proof),
    cmocka_unit_test(test_measurement_limits),
    cmocka_unit_test(test_proof_limits),
    cmocka_unit_test(test_raw_sql_is_refused),
    cmocka_unit_test(test_foreign_files),
    cmocka_unit_test(test_versions),
    cmocka_unit_test(test_a_race_decides),
    cmocka_unit_test(test_older_versions_are_brought_up),
    cmocka_unit_test(test_bits), cmocka_unit_test(test_wal_is_refused),
    cmocka_unit_test(test_truncated),
    cmocka_unit_test(test_empty_file),
    cmocka_unit_test(test_missing_file),
    cmocka_unit_test(test_not_a_file),
    cmocka_unit_test(test_linked_folder),
    cmocka_unit_test(test_read_only_file),
    cmocka_unit_test(test_changed_schema),
    cmocka_unit_test(test_changed_rows),
    cmocka_unit_test(test_changes_are_seen),
    cmocka_unit_test(test_batch),
    cmocka_unit_test(test_batch_syncs_once),
    cmocka_unit_test(test_two_writers),
    cmocka_unit_test(test_forked_child),
    cmocka_unit_test(test_network_file_system),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
