/*
 * db.h - the tuning database: what was proven, measured and refused.
 *
 * One SQLite file, rows only ever appended, by one process at a time: the
 * boards of a sweep wait for each other.  db/schema.sql is the reference for
 * tables and columns.  Every write outside a batch is its own BEGIN IMMEDIATE
 * transaction: once a call returns DD_OK its row survives kill -9.  A handle is
 * for one thread and for the process that opened it; a forked child must not
 * touch it.  Each row carries a hash of its content, checked when it is read,
 * because SQLite does not notice a flipped bit.
 *
 * Identifiers are SQLite rowids.  All calls fail with DD_BAD_DATABASE (not
 * ours, damaged, read-only, newer), DD_IO or DD_NO_MEMORY.
 */
#ifndef DIFFTUNE_DB_H
#define DIFFTUNE_DB_H

#include "base.h"
#include "device.h"
#include "variant.h"

struct db;

enum db_mode { DB_READ, DB_WRITE }; /* DB_WRITE creates the file if missing */

/* Refuses a file whose application_id is not ours, whose user_version is newer
 * than this program's, or that quick_check finds damaged; says which.  Writes
 * the schema into a new file. */
dd_status db_open(const char *path, enum db_mode mode, struct db **out);
void db_close(struct db *db); /* NULL is fine */

/* Writes between begin and commit become one transaction, with one sync of the
 * disk instead of one each; they are acknowledged by the commit, and a crash
 * before it loses them all.  A write that fails takes back itself alone, unless
 * the disk failed: then the batch is lost and the commit says so. */
dd_status db_batch_begin(struct db *db);
dd_status db_batch_commit(struct db *db);
void db_batch_cancel(struct db *db); /* takes all of it back */

/* ---- Things that rows are about: found, or inserted ---------------------- */

dd_status db_device(struct db *db, const struct device_info *info,
                    int64_t *id);
/* The compiler: "nvrtc 13.0.88 -std=c++20 ..." */
dd_status db_toolchain(struct db *db, const char *identity, int64_t *id);
dd_status db_problem(struct db *db, const struct problem *p, int64_t *id);
/* `source` is what its scheme's variants share and is stored once; its text is
 * `source`, then `entry`: emit_source() and variant_text(). */
dd_status db_variant(struct db *db, const struct variant *v, const char *source,
                     const char *entry, int64_t *id);
/* What a variant became for a target; usage may be NULL (CPU device). */
struct db_code {
  int64_t variant, toolchain;
  const char *target;
  const void *bytes;
  size_t size;
  int registers, local_bytes, shared_bytes;
};
dd_status db_code(struct db *db, const struct db_code *code, int64_t *id);

/* What races: a fused variant (one step) or the split form (several). */
dd_status db_candidate(struct db *db, bool split, uint32_t step_count,
                       const int64_t *variants, const char *label,
                       int64_t *id);

/* ---- A sweep, its proofs, its measurements ------------------------------- */

struct db_sweep {
  const char *command; /* as typed */
  const char *version; /* of difftune */
  const char *host;
  int64_t device, seed;
  const char *specs_hash;
};
dd_status db_sweep_begin(struct db *db, const struct db_sweep *s, int64_t *id);
dd_status db_sweep_end(struct db *db, int64_t id, const char *outcome);

/* The newest sweep with the same command (" --resume" aside), version, device,
 * seed and specs; 0: there is none.  `complete`: it has nothing left to do. */
dd_status db_sweep_find(struct db *db, const struct db_sweep *s, int64_t *id,
                        bool *complete);
/* It goes on: its end is taken back. */
dd_status db_sweep_again(struct db *db, int64_t id);
/* How many candidates of a problem it has stored: proven (and not refused
 * while they were timed), and refused. */
dd_status db_sweep_counts(struct db *db, int64_t sweep, int64_t problem,
                          uint32_t *proven, uint32_t *refused);

/* A proof says that a candidate was compared with the reference on every
 * element and was inside the tolerance. */
struct db_proof {
  int64_t sweep, candidate, problem, device, toolchain;
  double error;       /* the worst element's, in tolerances: <= 1 */
  double bit_equal;   /* fraction of elements equal to the rounded reference */
  int64_t elements;   /* compared in all */
  int64_t cases;      /* inputs tried, the adversarial ones included */
  const char *method; /* "reference", "baseline" */
};
dd_status db_proof(struct db *db, const struct db_proof *p, int64_t *id);

struct db_measurement {
  int64_t sweep, proof, candidate, problem, device;
  const char *policy; /* "cold graph" */
  double median_us, q1_us, q3_us, low_us, high_us; /* low, high: 95 % */
  const double *samples; /* raw, in the order taken, microseconds */
  size_t sample_count;
  int dropped;         /* outliers among the samples */
  const char *stopped; /* "final": fresh rounds; "eliminated": screening only */
  double copy_us;      /* the copy kernel of the same traffic, same rounds */
  double noise;        /* the A/A ratio's distance from 1 in this race */
};
/* Fails (DD_BUG) unless the proof is of this candidate, problem and device. */
dd_status db_measurement(struct db *db, const struct db_measurement *m,
                         int64_t *id);

/* What the measurements of one race share, and where each came out. */
struct db_race {
  int64_t sweep, problem, device;
  const char *board;    /* its UUID */
  const char *policy;
  double floor;         /* gaps below were not claimed: 0.005 is 0.5 % */
  int64_t again;        /* blocks timed again */
  int64_t sm_mhz;       /* 0: unknown */
  const char *throttle; /* "": none */
  double split_us;      /* the split plan's median; 0: it was not in */
  double apart; /* what two times of the same code differ at least; or 0 */
};
struct db_standing {
  int64_t race, measurement;
  int64_t position; /* 1: has won */
  bool tied;
  int64_t registers;    /* per thread; 0: unknown */
  const double *ratios; /* one per sample of the measurement */
  size_t ratio_count;
};
dd_status db_race(struct db *db, const struct db_race *r, int64_t *id);
dd_status db_standing(struct db *db, const struct db_standing *s, int64_t *id);

/* One candidate that every board of a sweep has timed. */
struct db_anchor {
  int64_t sweep, problem, device, candidate;
  const char *board, *policy;
  double median_us, low_us, high_us, copy_us, floor;
};
dd_status db_anchor(struct db *db, const struct db_anchor *a, int64_t *id);

/* The compiler again; text goes to the arena. */
dd_status db_toolchain_read(struct db *db, int64_t toolchain,
                            struct arena *arena, const char **identity);

/* What a candidate makes of a corpus, spelled as a problem: a digest that is
 * not 0.  Found, or inserted. */
struct db_bits {
  int64_t candidate, device, toolchain;
  const char *corpus;
  uint64_t digest;
};
dd_status db_bits(struct db *db, const struct db_bits *b, int64_t *id);

struct db_failure {
  int64_t sweep, candidate, problem, device;
  const char *stage; /* "compile", "load", "check", "time" */
  const char *reason;
  const char *reproducer; /* a command line */
};
dd_status db_failure(struct db *db, const struct db_failure *f, int64_t *id);

/* ---- Looking ------------------------------------------------------------- */

/* One row of the view `best`, or of all measurements; text is the db's and
 * holds during the callback.  `rank` is 1 for the best of its problem, device
 * and policy; the rows of older sweeps stand behind those of the newest. */
struct db_row {
  int64_t measurement, candidate, sweep, toolchain;
  const char *problem, *device, *device_kind, *policy, *label, *stopped;
  int arch, sms;
  bool split, tied; /* tied: as fast as the best of its sweep, up to noise */
  uint32_t step_count;
  int64_t steps[OP_MAX_STEPS]; /* variants */
  double median_us, low_us, high_us, copy_us, split_us, noise, error;
  int64_t samples, dropped, rank;
  int64_t race, registers, again, sm_mhz; /* 0: not known */
  double floor, apart;
  const char *throttle, *board; /* board: its UUID; "": not known */
};
/* Of this model of device, whatever its driver and board, under this policy. */
bool db_row_is_of(const struct db_row *row, const struct device_info *info,
                  const char *policy);
typedef dd_status db_visit(void *user, const struct db_row *row);
struct db_filter {
  const char *op, *problem, *device_kind, *device; /* NULL: any; device: part */
  bool best_only;
};
/* Ordered by device, problem spelling, policy, rank. */
dd_status db_each(struct db *db, const struct db_filter *f, db_visit *visit,
                  void *user);

/* What one sweep has raced, in the same order but for the devices'; a row's rank
 * is its position in that race.  `spelling` NULL: all problems.  Without `all`
 * only the first two and split forms, of a large file without a look at the
 * rest. */
dd_status db_each_of_sweep(struct db *db, int64_t sweep, const char *spelling,
                           bool all, db_visit *visit, void *user);

/* Who has won a race, by the order of the view `ranked`, which alone decides:
 * the first candidate with fresh rounds in this sweep; with `fused` the first
 * that is not the split form.  0: there is none.  Also inside a batch, of what
 * was written so far. */
dd_status db_winner(struct db *db, int64_t sweep, int64_t problem,
                    const char *policy, bool fused, int64_t *candidate);

struct db_failure_row {
  const char *problem, *device, *label, *stage, *reason, *reproducer;
};
typedef dd_status db_visit_failure(void *user, const struct db_failure_row *);
dd_status db_each_failure(struct db *db, const struct db_filter *f,
                          db_visit_failure *visit, void *user);

/* One measurement as a row of the above; `found` false: it has none. */
dd_status db_row_of(struct db *db, int64_t measurement, bool *found,
                    db_visit *visit, void *user);
/* Where it comes from; text goes to the arena. */
struct db_provenance {
  const char *driver, *toolchain, *specs_hash, *host, *ended;
  int64_t seed;
};
dd_status db_provenance(struct db *db, int64_t measurement,
                        struct arena *arena, struct db_provenance *out);

/* The raw samples of one measurement, in microseconds, in the arena; and their
 * ratios to the reference, none where it has no standing in a race. */
dd_status db_samples(struct db *db, int64_t measurement, struct arena *arena,
                     const double **samples, size_t *count);
dd_status db_ratios(struct db *db, int64_t measurement, struct arena *arena,
                    const double **ratios, size_t *count);

/* What the candidate of a measurement makes of a corpus, on that device and by
 * that compiler; 0: unknown; BITS_DIFFER (table.h): not always the same. */
dd_status db_bits_of(struct db *db, int64_t measurement, const char *corpus,
                     uint64_t *digest);

/* A stored variant and its code for `target` by `toolchain`, the one it was
 * proven with (for "cpu" its text); hashes are verified.  `code` is NULL where
 * the database has none: a sweep stores that of winners only.  Text and bytes
 * go to the arena. */
struct db_variant_row {
  const char *op, *scheme, *tunables; /* "lanes=16 heads=4" */
  const char *facts;                  /* "io=bf16 head_dim=128" */
  const char *text;                   /* source, then entry */
  struct hash hash;
  const void *code;
  size_t code_size;
};
dd_status db_variant_read(struct db *db, int64_t variant, const char *target,
                          int64_t toolchain, struct arena *arena,
                          struct db_variant_row *out);
/* What it is, without text and code, which are not looked at. */
dd_status db_variant_point(struct db *db, int64_t variant, struct arena *arena,
                           struct db_variant_row *out);

/* Whether db_variant_read() would find its code. */
dd_status db_variant_has_code(struct db *db, int64_t variant,
                              const char *target, int64_t toolchain, bool *has);

/* What names a stored variant. */
dd_status db_variant_hash(struct db *db, int64_t variant, struct hash *out);

/* Runs PRAGMA integrity_check and every row hash; the sentence names the first
 * table and row that is damaged. */
dd_status db_verify(struct db *db);

#endif
