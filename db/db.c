/*
 * db.c - what is put into the database: things found or inserted, sweeps,
 * proofs, measurements and failures.
 *
 * A sweep stores one problem's results per batch: tens to hundreds of rows, one
 * sync.  The schema's own checks decide what may be stored, so that a mistake
 * here cannot get past them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "db_inner.h"
#include "wire.h"

/* ---- Transactions -------------------------------------------------------- */

static dd_status refuse_write(struct db *db)
{
  if (db->pid != getpid())
    return fail(DD_BUG, "'%s' was opened by another process",
                bytes_string(&db->path));
  if (db->mode == DB_READ)
    return fail(DD_BAD_DATABASE, "'%s' was opened for reading only",
                bytes_string(&db->path));
  return DD_OK;
}

/* SQLite takes back the whole transaction when the disk fails. */
static dd_status batch_lost(struct db *db)
{
  if (db->batch && sqlite3_get_autocommit(db->sql))
    return fail(DD_IO, "the rows since the last commit to '%s' were lost",
                bytes_string(&db->path));
  return DD_OK;
}

dd_status db_write_begin(struct db *db)
{
  TRY(refuse_write(db));
  TRY(batch_lost(db));
  return db_exec(db, db->batch ? "SAVEPOINT one" : "BEGIN IMMEDIATE");
}

dd_status db_write_end(struct db *db, dd_status status)
{
  if (!status)
    status = db_exec(db, db->batch ? "RELEASE one" : "COMMIT");
  if (status) db->source_id = 0;
  if (status && !sqlite3_get_autocommit(db->sql))
    sqlite3_exec(db->sql, db->batch ? "ROLLBACK TO one; RELEASE one"
                                    : "ROLLBACK", NULL, NULL, NULL);
  return status;
}

dd_status db_batch_begin(struct db *db)
{
  TRY(refuse_write(db));
  if (db->batch)
    return fail(DD_BUG, "a batch of '%s' is already open",
                bytes_string(&db->path));
  TRY(db_exec(db, "BEGIN IMMEDIATE"));
  db->batch = true;
  return DD_OK;
}

dd_status db_batch_commit(struct db *db)
{
  dd_status status;

  if (!db->batch)
    return fail(DD_BUG, "no batch of '%s' is open", bytes_string(&db->path));
  status = batch_lost(db);
  if (!status) status = db_exec(db, "COMMIT");
  if (status) db_batch_cancel(db);
  db->batch = false;
  return status;
}

void db_batch_cancel(struct db *db)
{
  db->source_id = 0;
  if (db->batch && !sqlite3_get_autocommit(db->sql))
    sqlite3_exec(db->sql, "ROLLBACK", NULL, NULL, NULL);
  db->batch = false;
}

/* A row of an append-only table: a write of its own. */
static dd_status append(struct db *db, enum db_table table,
                        const struct row *row, int64_t *id)
{
  dd_status status;

  *id = 0;
  TRY(db_write_begin(db));
  status = db_write_end(db, row_insert(db, table, row, id));
  if (status) *id = 0;
  return status;
}

/* ---- Things that rows are about ------------------------------------------ */

dd_status db_device(struct db *db, const struct device_info *info, int64_t *id)
{
  struct row row = {
    .value = {value_text(info->kind), value_text(info->name),
              value_int(info->arch), value_int(info->sms),
              value_text(info->driver), value_int(info->l2_bytes),
              value_int(info->memory_bytes)},
    .count = 7,
  };

  return row_find_or_insert(db, TABLE_DEVICE, &row, id);
}

dd_status db_toolchain(struct db *db, const char *identity, int64_t *id)
{
  struct row row = {.value = {value_text(identity)}, .count = 1};

  return row_find_or_insert(db, TABLE_TOOLCHAIN, &row, id);
}

dd_status db_problem(struct db *db, const struct problem *p, int64_t *id)
{
  struct bytes spelling = BYTES_INIT, fixed = BYTES_INIT;
  int64_t reads, writes;
  struct row row;
  dd_status status;

  *id = 0;
  TRY(problem_traffic(p, &reads, &writes));
  problem_print(p, &spelling);
  problem_print_static(p, &fixed);
  status = bytes_status(&spelling);
  if (!status) status = bytes_status(&fixed);
  if (!status) {
    row = (struct row){
      .value = {value_text(bytes_string(&spelling)), value_text(p->op->name),
                value_text(bytes_string(&fixed)), value_int(reads),
                value_int(writes)},
      .count = 5,
    };
    status = row_find_or_insert(db, TABLE_PROBLEM, &row, id);
  }
  bytes_release(&spelling);
  bytes_release(&fixed);
  return status;
}

/* "lanes=16 heads=4": what variant_print writes after the scheme's name. */
static const char *tunables_of(const struct bytes *printed)
{
  const char *space = strchr(bytes_string(printed), ' ');

  return space ? space + 1 : "";
}

/* Variants come scheme by scheme, and to hash a source is most of the work. */
static bool is_last_source(const struct db *db, const struct value *text)
{
  return db->source_id && db->source.size == text->size &&
         !memcmp(bytes_string(&db->source), text->data, text->size);
}

static dd_status find_or_insert_source(struct db *db, const char *source,
                                       int64_t *id)
{
  struct row row = {.payload = value_text(source)};

  *id = db->source_id;
  if (is_last_source(db, &row.payload)) return DD_OK;
  db->source_id = 0;
  TRY(row_find(db, TABLE_SOURCE, &row, id));
  if (!*id) TRY(row_insert(db, TABLE_SOURCE, &row, id));
  bytes_clear(&db->source);
  bytes_text(&db->source, source);
  if (!db->source.failed) db->source_id = *id;
  return DD_OK;
}

/* A variant that is there already has its source: only a new one needs it. */
static dd_status find_or_insert_variant(struct db *db, struct row *row,
                                        const char *source, int64_t *id)
{
  int64_t source_id;

  TRY(row_find(db, TABLE_VARIANT, row, id));
  if (*id) return DD_OK;
  TRY(find_or_insert_source(db, source, &source_id));
  row->value[1] = value_int(source_id);
  return row_insert(db, TABLE_VARIANT, row, id);
}

static dd_status store_variant(struct db *db, struct row *row,
                               const char *source, int64_t *id)
{
  dd_status status;

  TRY(db_write_begin(db));
  status = find_or_insert_variant(db, row, source, id);
  status = db_write_end(db, status);
  if (status) *id = 0;
  return status;
}

dd_status db_variant(struct db *db, const struct variant *v, const char *source,
                     const char *entry, int64_t *id)
{
  struct bytes printed = BYTES_INIT, facts = BYTES_INIT;
  char hex[HASH_HEX];
  struct row row;
  dd_status status;

  *id = 0;
  hash_hex(&v->hash, hex);
  variant_print(v, &printed);
  variant_print_facts(v, &facts);
  status = bytes_status(&printed);
  if (!status) status = bytes_status(&facts);
  if (!status) {
    row = (struct row){
      .value = {value_text(hex), value_int(0), value_text(v->op->name),
                value_text(v->scheme->name), value_text(tunables_of(&printed)),
                value_text(bytes_string(&facts)), value_text(entry)},
      .count = 7,
    };
    status = store_variant(db, &row, source, id);
  }
  bytes_release(&printed);
  bytes_release(&facts);
  return status;
}

dd_status db_code(struct db *db, const struct db_code *code, int64_t *id)
{
  struct row row = {
    .value = {value_int(code->variant), value_int(code->toolchain),
              value_text(code->target), value_int(code->registers),
              value_int(code->local_bytes), value_int(code->shared_bytes)},
    .count = 6,
    .payload = value_blob(code->bytes, code->size),
  };

  return row_find_or_insert(db, TABLE_CODE, &row, id);
}

/* ---- Candidates ---------------------------------------------------------- */

/* Adds the hash, in hex, of a stored variant. */
static dd_status add_variant_hash(struct db *db, int64_t variant,
                                  struct bytes *out)
{
  sqlite3_stmt *s;

  TRY(row_read(db, TABLE_VARIANT, variant, &s));
  wire_put_text(out, (const char *)sqlite3_column_text(s, 1));
  row_done(s);
  return DD_OK;
}

static dd_status candidate_hash(struct db *db, bool split, uint32_t count,
                                const int64_t *variants, char hex[HASH_HEX])
{
  struct bytes b = BYTES_INIT;
  struct hash h;
  dd_status status = DD_OK;

  wire_put_u32(&b, split);
  for (uint32_t i = 0; i < count && !status; ++i)
    status = add_variant_hash(db, variants[i], &b);
  if (!status) status = bytes_status(&b);
  if (!status) {
    h = hash_of(b.data, b.size);
    hash_hex(&h, hex);
  }
  bytes_release(&b);
  return status;
}

static dd_status insert_steps(struct db *db, int64_t candidate, uint32_t count,
                              const int64_t *variants)
{
  for (uint32_t i = 0; i < count; ++i) {
    struct row row = {
      .value = {value_int(candidate), value_int(i), value_int(variants[i])},
      .count = 3,
    };
    int64_t id;
    TRY(row_insert(db, TABLE_CANDIDATE_STEP, &row, &id));
  }
  return DD_OK;
}

static dd_status find_or_insert_candidate(struct db *db, bool split,
                                          uint32_t count,
                                          const int64_t *variants,
                                          const char *label, int64_t *id)
{
  char hex[HASH_HEX];
  struct row row;

  TRY(candidate_hash(db, split, count, variants, hex));
  row = (struct row){
    .value = {value_text(hex), value_int(split), value_int(count),
              value_text(label)},
    .count = 4,
  };
  TRY(row_find(db, TABLE_CANDIDATE, &row, id));
  if (*id) return DD_OK;
  TRY(row_insert(db, TABLE_CANDIDATE, &row, id));
  return insert_steps(db, *id, count, variants);
}

dd_status db_candidate(struct db *db, bool split, uint32_t step_count,
                       const int64_t *variants, const char *label, int64_t *id)
{
  dd_status status;

  *id = 0;
  if (step_count < 1 || step_count > OP_MAX_STEPS)
    return fail(DD_BUG, "a candidate has 1 to %d steps, not %u", OP_MAX_STEPS,
                step_count);
  TRY(db_write_begin(db));
  status = find_or_insert_candidate(db, split, step_count, variants, label, id);
  status = db_write_end(db, status);
  if (status) *id = 0;
  return status;
}

/* ---- Sweeps -------------------------------------------------------------- */

#define TIME_SIZE 32

static void time_now(char text[TIME_SIZE])
{
  time_t now = time(NULL);
  struct tm tm;

  gmtime_r(&now, &tm);
  strftime(text, TIME_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static dd_status random_uid(char hex[HASH_HEX])
{
  uint8_t seed[32];
  struct hash h;

  if (getrandom(seed, sizeof seed, 0) != (ssize_t)sizeof seed)
    return fail(DD_IO, "the system gives no random numbers");
  h = hash_of(seed, sizeof seed);
  hash_hex(&h, hex);
  hex[32] = 0;
  return DD_OK;
}

/* The columns of a sweep, in order. */
enum { SWEEP_ENDED = 8, SWEEP_OUTCOME = 9, SWEEP_COLUMNS = 10 };

dd_status db_sweep_begin(struct db *db, const struct db_sweep *s, int64_t *id)
{
  char started[TIME_SIZE], uid[HASH_HEX];
  struct row row;

  *id = 0;
  TRY(random_uid(uid));
  time_now(started);
  row = (struct row){
    .value = {value_text(uid), value_text(s->command), value_text(s->version),
              value_text(s->host), value_int(s->device), value_int(s->seed),
              value_text(s->specs_hash), value_text(started), value_text(""),
              value_text("")},
    .count = SWEEP_COLUMNS,
  };
  return append(db, TABLE_SWEEP, &row, id);
}

/* The hash of a stored sweep once it has ended, or goes on. */
static dd_status ended_digest(struct db *db, int64_t id, const char *ended,
                              const char *outcome, bool again,
                              char hex[HASH_HEX])
{
  struct value value[SWEEP_COLUMNS];
  sqlite3_stmt *s;
  dd_status status;

  TRY(row_read(db, TABLE_SWEEP, id, &s));
  for (int i = 0; i < SWEEP_COLUMNS; ++i)
    value[i] = sqlite3_column_type(s, i + 1) == SQLITE_INTEGER
                 ? value_int(sqlite3_column_int64(s, i + 1))
                 : value_text((const char *)sqlite3_column_text(s, i + 1));
  if (value[SWEEP_ENDED].size && !again) {
    status = fail(DD_BUG, "sweep %lld has already ended", (long long)id);
  } else {
    value[SWEEP_ENDED] = value_text(ended);
    value[SWEEP_OUTCOME] = value_text(outcome);
    status = row_digest(db, TABLE_SWEEP, id, value, SWEEP_COLUMNS, hex);
  }
  row_done(s);
  return status;
}

static dd_status update_sweep(struct db *db, int64_t id, const char *ended,
                              const char *outcome, const char *hex)
{
  sqlite3_stmt *s = NULL;
  int rc;
  dd_status status;

  TRY(db_prepare(db, "UPDATE sweep SET ended = ?1, outcome = ?2, row_hash = ?3 "
                     "WHERE id = ?4", &s));
  rc = sqlite3_bind_text(s, 1, ended, -1, SQLITE_STATIC);
  if (!rc) rc = sqlite3_bind_text(s, 2, outcome, -1, SQLITE_STATIC);
  if (!rc) rc = sqlite3_bind_text(s, 3, hex, -1, SQLITE_STATIC);
  if (!rc) rc = sqlite3_bind_int64(s, 4, id);
  if (!rc) rc = sqlite3_step(s);
  status = rc == SQLITE_DONE ? DD_OK : db_fail(db, rc);
  sqlite3_finalize(s);
  return status;
}

static dd_status set_end(struct db *db, int64_t id, const char *ended,
                         const char *outcome, bool again)
{
  char hex[HASH_HEX];
  dd_status status;

  TRY(db_write_begin(db));
  status = ended_digest(db, id, ended, outcome, again, hex);
  if (!status) status = update_sweep(db, id, ended, outcome, hex);
  return db_write_end(db, status);
}

dd_status db_sweep_end(struct db *db, int64_t id, const char *outcome)
{
  char ended[TIME_SIZE];

  time_now(ended);
  return set_end(db, id, ended, outcome ? outcome : "", false);
}

dd_status db_sweep_again(struct db *db, int64_t id)
{
  return set_end(db, id, "", "", true);
}

/* ---- Proofs, measurements, failures -------------------------------------- */

dd_status db_proof(struct db *db, const struct db_proof *p, int64_t *id)
{
  struct row row = {
    .value = {value_int(p->sweep), value_int(p->candidate),
              value_int(p->problem), value_int(p->device),
              value_int(p->toolchain), value_real(p->error),
              value_real(p->bit_equal), value_int(p->elements),
              value_int(p->cases), value_text(p->method)},
    .count = 10,
  };

  return append(db, TABLE_PROOF, &row, id);
}

/* Samples as little-endian binary64, whatever the host. */
static dd_status encode_samples(const double *samples, size_t count,
                                struct bytes *out)
{
  for (size_t i = 0; i < count; ++i) wire_put_f64(out, samples[i]);
  return bytes_status(out);
}

static dd_status append_measurement(struct db *db,
                                    const struct db_measurement *m,
                                    const struct bytes *samples, int64_t *id)
{
  struct row row = {
    .value = {value_int(m->sweep), value_int(m->proof),
              value_int(m->candidate), value_int(m->problem),
              value_int(m->device), value_text(m->policy),
              value_real(m->median_us), value_real(m->q1_us),
              value_real(m->q3_us), value_real(m->low_us),
              value_real(m->high_us), value_int((int64_t)m->sample_count),
              value_int(m->dropped), value_text(m->stopped),
              value_real(m->copy_us), value_real(m->noise)},
    .count = 16,
    .payload = value_blob(samples->data, samples->size),
  };

  return append(db, TABLE_MEASUREMENT, &row, id);
}

dd_status db_measurement(struct db *db, const struct db_measurement *m,
                         int64_t *id)
{
  struct bytes samples = BYTES_INIT;
  dd_status status = encode_samples(m->samples, m->sample_count, &samples);

  *id = 0;
  if (!status) status = append_measurement(db, m, &samples, id);
  bytes_release(&samples);
  if (status == DD_BUG)
    fail_in(status, "a measurement of candidate %lld on problem %lld and "
            "device %lld under proof %lld", (long long)m->candidate,
            (long long)m->problem, (long long)m->device, (long long)m->proof);
  return status;
}

static dd_status append_twin(struct db *db, int64_t race, double apart)
{
  struct row row = {.value = {value_int(race), value_real(apart)}, .count = 2};
  int64_t id;

  return append(db, TABLE_TWIN, &row, &id);
}

dd_status db_race(struct db *db, const struct db_race *r, int64_t *id)
{
  struct row row = {
    .value = {value_int(r->sweep), value_int(r->problem), value_int(r->device),
              value_text(r->board), value_text(r->policy),
              value_real(r->floor), value_int(r->again), value_int(r->sm_mhz),
              value_text(r->throttle), value_real(r->split_us)},
    .count = 10,
  };

  TRY(append(db, TABLE_RACE, &row, id));
  return r->apart > 0 ? append_twin(db, *id, r->apart) : DD_OK;
}

dd_status db_standing(struct db *db, const struct db_standing *s, int64_t *id)
{
  struct bytes ratios = BYTES_INIT;
  dd_status status = encode_samples(s->ratios, s->ratio_count, &ratios);
  struct row row = {
    .value = {value_int(s->race), value_int(s->measurement),
              value_int(s->position), value_int(s->tied),
              value_int(s->registers)},
    .count = 5,
    .payload = value_blob(ratios.data, ratios.size),
  };

  *id = 0;
  if (!status) status = append(db, TABLE_STANDING, &row, id);
  bytes_release(&ratios);
  return status;
}

dd_status db_anchor(struct db *db, const struct db_anchor *a, int64_t *id)
{
  struct row row = {
    .value = {value_int(a->sweep), value_int(a->problem), value_int(a->device),
              value_text(a->board), value_int(a->candidate),
              value_text(a->policy), value_real(a->median_us),
              value_real(a->low_us), value_real(a->high_us),
              value_real(a->copy_us), value_real(a->floor)},
    .count = 11,
  };

  return append(db, TABLE_ANCHOR, &row, id);
}

dd_status db_bits(struct db *db, const struct db_bits *b, int64_t *id)
{
  char digest[17];
  struct row row = {
    .value = {value_int(b->candidate), value_int(b->device),
              value_int(b->toolchain), value_text(b->corpus),
              value_text(digest)},
    .count = 5,
  };

  snprintf(digest, sizeof digest, "%016llx", (unsigned long long)b->digest);
  row.value[4] = value_text(digest);
  return row_find_or_insert(db, TABLE_BITS, &row, id);
}

dd_status db_failure(struct db *db, const struct db_failure *f, int64_t *id)
{
  struct row row = {
    .value = {value_int(f->sweep), value_int(f->candidate),
              value_int(f->problem), value_int(f->device),
              value_text(f->stage), value_text(f->reason),
              value_text(f->reproducer)},
    .count = 7,
  };

  return append(db, TABLE_FAILURE, &row, id);
}
