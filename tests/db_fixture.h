/*
 * db_fixture.h - a tiny op and a way to fill a database with it, for
 * test_db.c and test_db_faults.c.
 *
 * The op is built as a message, so that these tests need neither Lua nor the
 * real specs.
 */
#ifndef DIFFTUNE_DB_FIXTURE_H
#define DIFFTUNE_DB_FIXTURE_H

#include "test.h"
#include "db.h"
#include "wire.h"

/* ---- Disks --------------------------------------------------------------- */

/* These take the C library's place.  A killed process loses nothing that it has
 * written, so what is tested here needs no sync, and thousands of them take
 * minutes on a busy disk; but they are counted. */
static long sync_count;

__attribute__((visibility("default"))) int fsync(int fd);
int fsync(int fd)
{
  (void)fd;
  sync_count++;
  return 0;
}

__attribute__((visibility("default"))) int fdatasync(int fd);
int fdatasync(int fd)
{
  return fsync(fd);
}

/* ---- The op: no tensor, one field, one scheme with two tunables ---------- */

static inline void demo_symbol(struct bytes *b, const char *name,
                               enum symbol_kind kind, bool dynamic,
                               uint32_t choices)
{
  wire_put_text(b, name);
  wire_put_u32(b, kind);
  wire_put_u32(b, dynamic);
  wire_put_i64(b, 0);
  wire_put_i64(b, 1 << 20);
  wire_put_text(b, "");
  wire_put_text(b, "");
  wire_put_u32(b, 0);
  wire_put_u32(b, 0);
  wire_put_u32(b, choices);
  if (choices) wire_put_text(b, "bf16");
  if (choices) wire_put_i64(b, DD_BF16);
}

static inline void demo_tunable(struct bytes *b, const char *name)
{
  wire_put_text(b, name);
  wire_put_u32(b, 0);
  wire_put_u32(b, 2);
  wire_put_i64(b, 4);
  wire_put_i64(b, 8);
}

static inline void demo_scheme(struct bytes *b)
{
  wire_put_text(b, "plain");
  wire_put_text(b, "variants/demo/plain.cuh");
  wire_put_text(b, "demo_plain");
  wire_put_text(b, "DemoPlain");
  wire_put_u32(b, 1);
  wire_put_u32(b, 2);
  wire_put_text(b, "io");
  wire_put_text(b, "width");
  wire_put_u32(b, 2);
  demo_tunable(b, "lanes");
  demo_tunable(b, "heads");
  wire_put_u32(b, 0);
  wire_put_text(b, "tokens");
  for (int i = 0; i < 2; ++i) wire_put_text(b, "");
  wire_put_text(b, "lanes * 32");
  for (int i = 0; i < 2; ++i) wire_put_text(b, "");
}

static inline void demo_message(struct bytes *b)
{
  wire_put_u32(b, OP_WIRE_MAGIC);
  wire_put_u32(b, OP_WIRE_VERSION);
  wire_put_u32(b, 1);
  wire_put_text(b, "demo");
  wire_put_text(b, "DemoFacts");
  wire_put_text(b, "DemoArgs");
  wire_put_u32(b, 3);
  demo_symbol(b, "io", SYMBOL_IO, false, 1);
  demo_symbol(b, "tokens", SYMBOL_INT, true, 0);
  demo_symbol(b, "width", SYMBOL_INT, false, 0);
  for (int i = 0; i < 5; ++i) wire_put_u32(b, 0); /* tensors ... steps */
  wire_put_text(b, ""); /* items */
  wire_put_text(b, "tokens * width");
  wire_put_text(b, "tokens");
  wire_put_u32(b, 0); /* awkward */
  wire_put_u32(b, 0); /* corpus */
  wire_put_u32(b, 1);
  demo_scheme(b);
}

/* ---- A world ------------------------------------------------------------- */

struct world {
  struct op_set ops;
  char folder[64], path[128];
};

static inline void world_init(struct world *w)
{
  struct bytes b = BYTES_INIT;

  demo_message(&b);
  assert_ok(op_set_read(&w->ops, b.data, b.size, NULL));
  bytes_release(&b);
  test_folder(w->folder, sizeof w->folder);
  snprintf(w->path, sizeof w->path, "%s/x.db", w->folder);
}

static inline void world_release(struct world *w)
{
  op_set_release(&w->ops);
  test_folder_remove(w->folder);
}

/* ---- Rows, by number ----------------------------------------------------- */

/* The ids of what most rows are about. */
struct ids {
  int64_t device, toolchain, problem, variant, code, candidate, split, sweep;
};

static inline struct device_info demo_device(void)
{
  struct device_info d = {.kind = "cuda", .name = "NVIDIA H200",
                          .uuid = "GPU-1", .driver = "580.1", .arch = 90,
                          .sms = 132, .l2_bytes = 60 << 20,
                          .memory_bytes = INT64_C(150) << 30};
  return d;
}

static inline struct problem demo_problem(struct world *w, int tokens)
{
  struct problem p;
  char text[80];

  snprintf(text, sizeof text, "demo:bf16 tokens=%d width=128", tokens);
  assert_ok(problem_parse(&w->ops, text, &p));
  return p;
}

static inline struct variant demo_variant(struct world *w, int number)
{
  struct problem p = demo_problem(w, 1);
  int64_t tunable[2] = {4, number};
  struct variant v;

  variant_of(&w->ops.ops[0].schemes[0], &p, tunable, &v);
  v.hash = hash_of(&number, sizeof number);
  return v;
}

/* ---- What variant `number` is made of ------------------------------------ */

enum { DEMO_SOURCES = 3 }; /* as if its scheme's file was edited twice */

/* `number` and a newline, then one letter again and again; `size` in all. */
static inline const char *demo_fill(char *text, const char *what, int number,
                                    size_t size)
{
  memset(text, 'a' + number % 26, size);
  text[sprintf(text, "// %s %d\n", what, number)] = ' ';
  text[size] = 0;
  return text;
}

/* Longer than a page of the file. */
static inline const char *demo_source(int number)
{
  static char text[6000];

  number %= DEMO_SOURCES;
  return demo_fill(text, "source", number, 5000 + (size_t)number);
}

static inline const char *demo_entry(int number)
{
  static char text[600];

  return demo_fill(text, "entry", number, 300 + (size_t)number % 200);
}

static inline const char *demo_text(int number)
{
  static char text[6600];

  snprintf(text, sizeof text, "%s%s", demo_source(number), demo_entry(number));
  return text;
}

static inline size_t demo_code_size(int number)
{
  return 900 + (size_t)number % 50;
}

static inline const char *demo_code(int number)
{
  static char code[1000];

  return demo_fill(code, "code", number, demo_code_size(number));
}

static inline dd_status try_variant(struct db *db, struct world *w, int number,
                                    int registers, struct ids *ids)
{
  struct variant v = demo_variant(w, number);
  struct db_code code = {.target = "sm_90", .bytes = demo_code(number),
                         .size = demo_code_size(number),
                         .registers = registers};

  TRY(db_variant(db, &v, demo_source(number), demo_entry(number),
                 &ids->variant));
  code.variant = ids->variant;
  code.toolchain = ids->toolchain;
  return db_code(db, &code, &ids->code);
}

static inline dd_status try_ids(struct db *db, struct world *w, int number,
                                struct ids *ids)
{
  struct device_info device = demo_device();
  struct problem p = demo_problem(w, number % 7 + 1);
  struct db_sweep sweep = {.command = "difftune sweep", .version = "0.1.0",
                           .host = "host", .seed = 7, .specs_hash = "abc"};
  int64_t steps[2];
  char label[40];

  TRY(db_device(db, &device, &ids->device));
  TRY(db_toolchain(db, "nvrtc 13.0.88 -std=c++20", &ids->toolchain));
  TRY(db_problem(db, &p, &ids->problem));
  TRY(try_variant(db, w, number, 32, ids));
  snprintf(label, sizeof label, "demo.plain heads=%d", number);
  TRY(db_candidate(db, false, 1, &ids->variant, label, &ids->candidate));
  steps[0] = steps[1] = ids->variant;
  TRY(db_candidate(db, true, 2, steps, "split", &ids->split));
  if (ids->sweep) return DD_OK;
  sweep.device = ids->device;
  return db_sweep_begin(db, &sweep, &ids->sweep);
}

static inline struct db_proof demo_proof(const struct ids *ids,
                                         int64_t candidate)
{
  return (struct db_proof){
    .sweep = ids->sweep, .candidate = candidate, .problem = ids->problem,
    .device = ids->device, .toolchain = ids->toolchain, .error = 0.25,
    .bit_equal = 0.999, .elements = 12345, .cases = 6, .method = "reference"};
}

static const double demo_samples[5] = {3.5, 3.25, 3.0, 3.75, 4.0};

static inline struct db_measurement demo_measurement(const struct ids *ids,
                                                     int64_t candidate,
                                                     int64_t proof,
                                                     double median)
{
  return (struct db_measurement){
    .sweep = ids->sweep, .proof = proof, .candidate = candidate,
    .problem = ids->problem, .device = ids->device, .policy = "cold graph",
    .median_us = median, .q1_us = median * 0.9, .q3_us = median * 1.1,
    .low_us = median * 0.95, .high_us = median * 1.05,
    .samples = demo_samples, .sample_count = 5, .dropped = 1,
    .stopped = "final", .copy_us = 2.5, .noise = 0.004};
}

static inline dd_status try_race(struct db *db, const struct ids *ids,
                                 int64_t candidate, double median, int64_t *id)
{
  struct db_proof proof = demo_proof(ids, candidate);
  struct db_measurement m;
  int64_t proof_id;

  *id = 0;
  TRY(db_proof(db, &proof, &proof_id));
  m = demo_measurement(ids, candidate, proof_id, median);
  return db_measurement(db, &m, id);
}

/* The race of measurements that came out in this order. */
static inline dd_status try_standings(struct db *db, const struct ids *ids,
                                      const int64_t *measurement, int count,
                                      double split_us)
{
  static const double ratios[5] = {1.5, 1.25, 1.0, 1.75, 2.0};
  struct db_race race = {
    .sweep = ids->sweep, .problem = ids->problem, .device = ids->device,
    .board = "GPU-aa-1", .policy = "cold graph", .floor = 0.005, .again = 2,
    .sm_mhz = 1980, .throttle = "power cap", .split_us = split_us,
    .apart = 0.0625};
  struct db_standing s = {.registers = 32, .ratios = ratios, .ratio_count = 5};
  int64_t id;

  TRY(db_race(db, &race, &s.race));
  for (int i = 0; i < count; ++i) {
    s.measurement = measurement[i];
    s.position = i + 1;
    s.tied = i == 0;
    TRY(db_standing(db, &s, &id));
  }
  return DD_OK;
}

/* One of everything, for `number`: a fused candidate, the split form, a
 * failure. */
static inline dd_status try_store(struct db *db, struct world *w, int number,
                                  struct ids *ids)
{
  struct db_failure f = {.stage = "check", .reason = "element 7 is off",
                         .reproducer = "difftune check --seed 7"};
  struct db_anchor a = {.board = "GPU-aa-1", .policy = "cold graph",
                        .median_us = 3.5, .low_us = 3.25, .high_us = 3.75,
                        .copy_us = 2.5, .floor = 0.005};
  struct db_bits b = {.corpus = "demo:bf16 tokens=9 width=64",
                      .digest = 0xfeed0000u + (uint64_t)number};
  int64_t id, measurement[2];

  TRY(try_ids(db, w, number, ids));
  b.candidate = ids->candidate;
  b.device = ids->device;
  b.toolchain = ids->toolchain;
  TRY(db_bits(db, &b, &id));
  TRY(try_race(db, ids, ids->candidate, 3.0 + number, &measurement[0]));
  TRY(try_race(db, ids, ids->split, 30.0 + number, &measurement[1]));
  TRY(try_standings(db, ids, measurement, 2, 30.0 + number));
  a.sweep = ids->sweep;
  a.problem = ids->problem;
  a.device = ids->device;
  a.candidate = ids->candidate;
  TRY(db_anchor(db, &a, &id));
  f.sweep = ids->sweep;
  f.candidate = ids->candidate;
  f.problem = ids->problem;
  f.device = ids->device;
  return db_failure(db, &f, &id);
}

static inline void store(struct db *db, struct world *w, int count)
{
  struct ids ids = {0};

  assert_ok(db_batch_begin(db));
  for (int i = 0; i < count; ++i) assert_ok(try_store(db, w, i, &ids));
  assert_ok(db_batch_commit(db));
}

/* ---- All that a database says, as text ----------------------------------- */

static inline dd_status dump_row(void *user, const struct db_row *r)
{
  struct bytes *b = user;

  bytes_printf(b, "%lld %lld %s %s %s %s %s %s %d %d %d %u", //
               (long long)r->measurement, (long long)r->candidate, r->problem,
               r->device, r->device_kind, r->policy, r->label, r->stopped,
               r->arch, r->sms, r->split, r->step_count);
  for (uint32_t i = 0; i < r->step_count; ++i)
    bytes_printf(b, " %lld", (long long)r->steps[i]);
  bytes_printf(b, " %d %lld %lld %lld %lld %a %s %a", r->tied,
               (long long)r->race, (long long)r->registers, (long long)r->again,
               (long long)r->sm_mhz, r->floor, r->throttle, r->apart);
  bytes_printf(b, " %a %a %a %a %a %a %a %lld %lld\n", r->median_us, r->low_us,
               r->high_us, r->copy_us, r->split_us, r->noise, r->error,
               (long long)r->samples, (long long)r->rank);
  return bytes_status(b);
}

static inline dd_status dump_failure(void *user,
                                     const struct db_failure_row *f)
{
  struct bytes *b = user;

  bytes_printf(b, "%s|%s|%s|%s|%s|%s\n", f->problem, f->device, f->label,
               f->stage, f->reason, f->reproducer);
  return bytes_status(b);
}

static inline dd_status dump_variants(struct db *db, int count, struct bytes *b)
{
  struct arena arena;
  dd_status status = DD_OK;

  arena_init(&arena, NULL);
  for (int i = 1; i <= count && !status; ++i) {
    struct db_variant_row v;
    status = db_variant_read(db, i, "sm_90", 1, &arena, &v);
    if (status) break;
    bytes_printf(b, "%s %s %s|%s|%s|", v.op, v.scheme, v.tunables, v.facts,
                 v.text);
    bytes_add(b, v.code, v.code_size);
    bytes_add(b, &v.hash, sizeof v.hash);
  }
  arena_release(&arena);
  return status ? status : bytes_status(b);
}

static inline dd_status dump_samples(struct db *db, int count, struct bytes *b)
{
  struct arena arena;
  dd_status status = DD_OK;

  arena_init(&arena, NULL);
  for (int i = 1; i <= count && !status; ++i) {
    const double *samples;
    size_t n;
    status = db_samples(db, i, &arena, &samples, &n);
    if (!status) bytes_add(b, samples, n * sizeof *samples);
    if (!status) status = db_ratios(db, i, &arena, &samples, &n);
    if (!status) bytes_add(b, samples, n * sizeof *samples);
  }
  arena_release(&arena);
  return status;
}

#endif
