/*
 * test_emit.c - from rows of a database to a table that the library reads.
 *
 * The rows are made up; the specs and the program are the real ones.
 */
#include "test.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "compiler.h"
#include "corpus.h"
#include "db.h"
#include "device.h"
#include "emit.h"
#include "specs.h"
#include "output.h"
#include "space.h"
#include "table.h"
#include "variant_text.h"

static struct specs specs;
static char folder[64], db_path[128];

/* One race at a time: the same device, policy and sweep for all its rows. */
struct race {
  struct db *db;
  int64_t device, toolchain, sweep;
  const char *policy, *target;
  const char *code; /* of its variants; NULL: not stored */
  double noise;
};

static struct race race_begin(struct db *db, const struct device_info *info,
                              const char *policy)
{
  struct db_sweep sweep = {"test", "0", "host", 0, 1, "specs"};
  struct race r = {db, 0, 0, 0, policy, info->arch ? "sm_90" : "cpu", "code",
                   0};

  assert_ok(db_device(db, info, &r.device));
  assert_ok(db_toolchain(db, "a compiler", &r.toolchain));
  sweep.device = r.device;
  assert_ok(db_sweep_begin(db, &sweep, &r.sweep));
  return r;
}

static int64_t store_point(const struct race *r, struct variant v, bool stale)
{
  struct bytes text = BYTES_INIT, source = BYTES_INIT, entry = BYTES_INIT;
  struct db_code code = {0, r->toolchain, r->target, r->code, 4, 9, 0, 0};
  int64_t row, code_row;

  assert_ok(emit_variant(&specs.tree, &v, &text));
  assert_ok(emit_source(&specs.tree, &v, &source));
  assert_ok(variant_text(&v, &entry));
  if (stale) v.hash = hash_of("another text", 12);
  assert_ok(db_variant(r->db, &v, source.data, entry.data, &row));
  code.variant = row;
  if (r->code) assert_ok(db_code(r->db, &code, &code_row));
  bytes_release(&text);
  bytes_release(&source);
  bytes_release(&entry);
  return row;
}

static int64_t store_variant(const struct race *r, const char *op,
                             const struct problem *p, bool stale)
{
  const struct op *o = op_find(&specs.ops, op);
  struct variant v;

  variant_of(&o->schemes[0], p, NULL, &v);
  return store_point(r, v, stale);
}

static void store_time(const struct race *r, const struct problem *p,
                       bool split, uint32_t steps, const int64_t *variants,
                       double us)
{
  struct db_proof proof = {.sweep = r->sweep, .device = r->device,
                           .toolchain = r->toolchain, .error = 0.5,
                           .bit_equal = 1, .elements = 1, .cases = 1,
                           .method = "reference"};
  struct db_measurement m = {.sweep = r->sweep, .device = r->device,
                             .policy = r->policy, .median_us = us, .q1_us = us,
                             .q3_us = us, .low_us = us, .high_us = us,
                             .samples = &us, .sample_count = 1,
                             .stopped = "final", .copy_us = us / 2,
                             .noise = r->noise};
  int64_t problem, candidate, id;

  assert_ok(db_problem(r->db, p, &problem));
  assert_ok(db_candidate(r->db, split, steps, variants,
                         split ? "split" : "fused", &candidate));
  proof.problem = m.problem = problem;
  proof.candidate = m.candidate = candidate;
  assert_ok(db_proof(r->db, &proof, &m.proof));
  assert_ok(db_measurement(r->db, &m, &id));
}

/* The fused default in `fused` us and the split form in `split` us. */
static void store_problem(const struct race *r, const char *spelling,
                          double fused, double split, bool stale)
{
  struct problem p, step;
  int bind[OP_MAX_TENSORS];
  int64_t variant[OP_MAX_STEPS];

  assert_ok(problem_parse(&specs.ops, spelling, &p));
  variant[0] = store_variant(r, p.op->name, &p, stale);
  store_time(r, &p, false, 1, variant, fused);
  for (uint32_t i = 0; i < p.op->step_count; ++i) {
    assert_ok(problem_step(&specs.ops, &p, i, &step, bind));
    variant[i] = store_variant(r, step.op->name, &step, false);
  }
  if (p.op->step_count)
    store_time(r, &p, true, p.op->step_count, variant, split);
}

/* Runs difftune there; its exit code, and both its streams in `said`. */
static int run(struct bytes *said, const char *arguments)
{
  char command[1024], part[1024];
  FILE *pipe;
  size_t n;

  snprintf(command, sizeof command,
           "cd '%s' && unset DIFFTUNE_VARIANTS DIFFTUNE_DB; '%s' %s 2>&1",
           folder, DIFFTUNE_PROGRAM, arguments);
  bytes_clear(said);
  pipe = popen(command, "r");
  assert_non_null(pipe);
  while ((n = fread(part, 1, sizeof part, pipe))) bytes_add(said, part, n);
  return WEXITSTATUS(pclose(pipe));
}

static void check_run(int code, const char *part, const char *arguments)
{
  struct bytes said = BYTES_INIT;
  int got = run(&said, arguments);

  if (got != code || !strstr(bytes_string(&said), part))
    fail_msg("%s: exit code %d, not %d: %s", arguments, got, code,
             bytes_string(&said));
  bytes_release(&said);
}

static struct table open_table(const char *name)
{
  char path[128];
  struct table t;

  snprintf(path, sizeof path, "%s/%s", folder, name);
  assert_ok(table_open(&t, path, NULL, NULL, false));
  assert_ok(table_read_all(&t));
  return t;
}

static void check_code(struct table *t, const struct table_code *code,
                       const void *expected, size_t size)
{
  struct bytes got = BYTES_INIT;

  assert_ok(table_code_read(t, code, &got));
  assert_int_equal(got.size, size);
  assert_memory_equal(got.data, expected, size);
  bytes_release(&got);
}

static const struct table_plan *find_plan(const struct table *t,
                                          const char *spelling)
{
  for (uint32_t i = 0; i < t->plan_count; ++i)
    if (!strcmp(t->plans[i].spelling, spelling)) return &t->plans[i];
  fail_msg("no plan for %s", spelling);
  return NULL;
}

/* ---- The database ---------------------------------------------------- */

#define SPLIT_WINS "qknorm_rope:bf16 tokens=8 q_heads=2 head_dim=64"
#define FUSED_WINS "qknorm_rope:fp16 tokens=8 q_heads=2 head_dim=64"
#define ONE_STEP "rope:bf16 tokens=8 q_heads=2 head_dim=64"
#define STALE "rope:fp16 tokens=8 q_heads=2 head_dim=64"

static struct device_info a_gpu(const char *name, const char *driver)
{
  struct device_info info = {.kind = "cuda", .arch = 90, .sms = 132};

  snprintf(info.name, sizeof info.name, "%s", name);
  snprintf(info.driver, sizeof info.driver, "%s", driver);
  snprintf(info.uuid, sizeof info.uuid, "GPU-%s", name);
  return info;
}

static int setup(void **state)
{
  struct device_info cpu, old = a_gpu("GPU X", "1"), new = a_gpu("GPU X", "2");
  struct device_info longer = a_gpu("GPU X NVL", "1");
  struct db *db;
  struct race r;
  size_t count;

  (void)state;
  test_folder(folder, sizeof folder);
  snprintf(db_path, sizeof db_path, "%s/difftune.db", folder);
  assert_ok(specs_load(&specs, NULL));
  assert_ok(db_open(db_path, DB_WRITE, &db));
  assert_ok(cpu_device.list(&cpu, 1, &count));
  r = race_begin(db, &cpu, "cold graph");
  store_problem(&r, SPLIT_WINS, 20, 10, false);
  store_problem(&r, FUSED_WINS, 10, 20, false);
  store_problem(&r, ONE_STEP, 5, 0, false);
  store_problem(&r, STALE, 5, 0, true);
  r = race_begin(db, &old, "cold graph");
  store_problem(&r, FUSED_WINS, 10, 20, false);
  r = race_begin(db, &new, "cold graph");
  store_problem(&r, FUSED_WINS, 30, 25, false);
  r = race_begin(db, &longer, "cold graph");
  store_problem(&r, ONE_STEP, 7, 0, false);
  r = race_begin(db, &longer, "warm graph");
  store_problem(&r, ONE_STEP, 3, 0, false);
  db_close(db);
  return 0;
}

static int teardown(void **state)
{
  (void)state;
  specs_release(&specs);
  test_folder_remove(folder);
  return 0;
}

/* ---- Tests ----------------------------------------------------------- */

static void the_best_becomes_the_plan(void **state)
{
  const struct table_plan *p;
  struct table t;

  (void)state;
  check_run(0, "a.ddt: 3 plans, 3 variants",
            "emit --device cpu -o a.ddt");
  t = open_table("a.ddt");
  assert_int_equal(t.plan_count, 3);
  assert_string_equal(t.device_name, "cpu");
  assert_string_equal(t.device_kind, "cpu");
  assert_string_equal(t.policy, "cold graph");
  assert_non_null(strstr(t.provenance, ", a compiler"));
  assert_int_equal(t.arch, 0);
  p = find_plan(&t, SPLIT_WINS);
  assert_true(p->split);
  assert_int_equal(p->step_count, 2);
  assert_string_equal(t.variants[p->steps[0]].variant.op->name, "qk_norm");
  assert_string_equal(t.variants[p->steps[1]].variant.op->name, "rope");
  assert_true(p->us == 10 && p->split_us == 10 && p->copy_us == 5);
  assert_true(p->gain == 0);
  p = find_plan(&t, FUSED_WINS);
  assert_false(p->split);
  assert_int_equal(p->step_count, 1);
  assert_true(p->us == 10 && p->split_us == 20);
  assert_true(p->gain == 1); /* the split form took twice the time */
  table_close(&t);
}

/* What the CPU device compiles is the folded text of that very variant. */
static void cpu_code_is_the_text(void **state)
{
  const struct table_code *code;
  struct bytes text = BYTES_INIT;
  struct variant v;
  struct table t;

  (void)state;
  check_run(0, "plans", "emit --device cpu -o text.ddt");
  t = open_table("text.ddt");
  for (uint32_t i = 0; i < t.variant_count; ++i) {
    code = table_code_find(&t.variants[i], "cpu");
    assert_non_null(code);
    v = t.variants[i].variant;
    bytes_clear(&text);
    assert_ok(emit_unit(&specs.tree, &v, 1, &text));
    check_code(&t, code, text.data, text.size);
  }
  bytes_release(&text);
  table_close(&t);
}

static void gpu_code_is_the_cubin(void **state)
{
  struct table t;

  (void)state;
  check_run(0, "for GPU X NVL (sm_90), warm graph",
            "emit --device nvl --policy 'warm graph' -o gpu.ddt");
  t = open_table("gpu.ddt");
  assert_int_equal(t.arch, 90);
  assert_int_equal(t.sms, 132);
  assert_int_equal(t.plan_count, 1);
  assert_true(t.plans[0].us == 3);
  assert_null(table_code_find(&t.variants[0], "cpu"));
  assert_int_equal(table_code_find(&t.variants[0], "sm_90")->size, 4);
  table_close(&t);
}

/* The whole name of a device wins over a longer one; its younger row counts,
 * also where the older is faster. */
static void the_younger_of_two_drivers_counts(void **state)
{
  struct table t;

  (void)state;
  check_run(0, "1 plans, 2 variants", "emit --device 'GPU X' -o young.ddt");
  t = open_table("young.ddt");
  assert_true(t.plans[0].split && t.plans[0].us == 25);
  table_close(&t);
}

static void a_choice_is_never_guessed(void **state)
{
  (void)state;
  check_run(EX_USAGE, "more than one device", "emit -o x.ddt");
  check_run(EX_USAGE, "--policy", "emit --device nvl -o x.ddt");
  check_run(EX_USAGE, "'hot'", "emit --device nvl --policy hot -o x.ddt");
  check_run(EX_DATAERR, "no measurement on H100",
            "emit --device H100 -o x.ddt");
  check_run(EX_IOERR, "nowhere", "emit --device cpu -o nowhere/x.ddt");
}

static void rows_of_other_specs_are_left_out(void **state)
{
  (void)state;
  check_run(0, "left out, measured with other specs: " STALE,
            "emit --device cpu -o stale.ddt");
}

/* ---- Databases of one test -------------------------------------------- */

static struct db *new_db(const char *name)
{
  char path[160];
  struct db *db;

  snprintf(path, sizeof path, "%s/%s", folder, name);
  assert_ok(db_open(path, DB_WRITE, &db));
  return db;
}

static double only_us(const char *name)
{
  struct table t = open_table(name);
  double us = t.plans[0].us;

  assert_int_equal(t.plan_count, 1);
  table_close(&t);
  return us;
}

static void check_same(const char *a, const char *b)
{
  char path[2][128];
  struct bytes bytes[2] = {BYTES_INIT, BYTES_INIT};

  snprintf(path[0], sizeof path[0], "%s/%s", folder, a);
  snprintf(path[1], sizeof path[1], "%s/%s", folder, b);
  for (int i = 0; i < 2; ++i) assert_ok(file_read(path[i], 1 << 26, &bytes[i]));
  assert_int_equal(bytes[0].size, bytes[1].size);
  assert_memory_equal(bytes[0].data, bytes[1].data, bytes[0].size);
  for (int i = 0; i < 2; ++i) bytes_release(&bytes[i]);
}

/* Two sweeps of an edited kernel came after the one that these specs can use;
 * one of theirs is the fastest there is. */
static void usable_rows_are_not_hidden(void **state)
{
  struct device_info gpu = a_gpu("GPU Y", "1");
  struct db *db = new_db("hidden.db");
  struct race r;

  (void)state;
  r = race_begin(db, &gpu, "cold graph");
  store_problem(&r, ONE_STEP, 6, 0, false);
  r = race_begin(db, &gpu, "cold graph");
  store_problem(&r, ONE_STEP, 5, 0, true);
  r = race_begin(db, &gpu, "cold graph");
  store_problem(&r, ONE_STEP, 7, 0, true);
  db_close(db);
  check_run(0, "not the best, measured with other specs: " ONE_STEP,
            "emit --db hidden.db -o hidden.ddt");
  assert_true(only_us("hidden.ddt") == 6);
}

/* A row without code is passed over; a problem without any is left out, and the
 * others are not lost with it. */
static void a_row_without_code_is_passed_over(void **state)
{
  struct device_info gpu = a_gpu("GPU Y", "1");
  struct db *db = new_db("code.db");
  struct race r = race_begin(db, &gpu, "cold graph");
  struct table t;

  (void)state;
  store_problem(&r, ONE_STEP, 6, 0, false);
  r.code = NULL;
  store_problem(&r, SPLIT_WINS, 20, 10, false);
  db_close(db);
  check_run(0, "left out, its code is not in the database: " SPLIT_WINS,
            "emit --db code.db -o code.ddt");
  assert_true(only_us("code.ddt") == 6);
  db = new_db("code.db");
  r = race_begin(db, &gpu, "cold graph");
  store_problem(&r, FUSED_WINS, 20, 10, false);
  db_close(db);
  check_run(0, "2 plans", "emit --db code.db -o code.ddt");
  t = open_table("code.ddt");
  assert_true(find_plan(&t, FUSED_WINS)->us == 10);
  table_close(&t);
}

/* The split form is the fastest, but only the fused kernel's code is stored. */
static void the_next_row_with_code_is_taken(void **state)
{
  struct device_info gpu = a_gpu("GPU Y", "1");
  struct db *db = new_db("next.db");
  struct race r = race_begin(db, &gpu, "cold graph");
  struct problem p, step;
  int64_t fused, parts[OP_MAX_STEPS];
  int bind[OP_MAX_TENSORS];
  struct table t;

  (void)state;
  assert_ok(problem_parse(&specs.ops, SPLIT_WINS, &p));
  fused = store_variant(&r, p.op->name, &p, false);
  r.code = NULL;
  for (uint32_t i = 0; i < p.op->step_count; ++i) {
    assert_ok(problem_step(&specs.ops, &p, i, &step, bind));
    parts[i] = store_variant(&r, step.op->name, &step, false);
  }
  store_time(&r, &p, false, 1, &fused, 20);
  store_time(&r, &p, true, p.op->step_count, parts, 10);
  db_close(db);
  check_run(0, "not the best, its code is not in the database: " SPLIT_WINS
               "  split; taken: fused", "emit --db next.db -o next.ddt");
  t = open_table("next.ddt");
  assert_int_equal(t.variant_count, 1);
  assert_true(!t.plans[0].split && t.plans[0].us == 20);
  assert_true(t.plans[0].loss == 1); /* the best took half as long */
  table_close(&t);
}

/* The newest code is of a compiler that this row was not proven with. */
static void the_code_is_of_the_proven_compiler(void **state)
{
  struct device_info gpu = a_gpu("GPU Y", "1");
  struct db *db = new_db("compiler.db");
  struct race r = race_begin(db, &gpu, "cold graph");
  struct table t;

  (void)state;
  store_problem(&r, ONE_STEP, 6, 0, false);
  r = race_begin(db, &gpu, "warm graph");
  assert_ok(db_toolchain(db, "another compiler", &r.toolchain));
  r.code = "edoc";
  store_problem(&r, ONE_STEP, 5, 0, false);
  db_close(db);
  check_run(0, "1 plans", "emit --db compiler.db --policy 'cold graph' "
                          "-o compiler.ddt");
  t = open_table("compiler.ddt");
  check_code(&t, table_code_find(&t.variants[0], "sm_90"), "code", 4);
  table_close(&t);
  check_run(0, "1 plans", "emit --db compiler.db --policy 'warm graph' "
                          "-o compiler.ddt");
  t = open_table("compiler.ddt");
  check_code(&t, table_code_find(&t.variants[0], "sm_90"), "edoc", 4);
  table_close(&t);
}

/* ---- The same bits --------------------------------------------------- */

#define SHORT "norm:bf16 seq=8 hidden=512"
#define LONG "norm:bf16 seq=16 hidden=512"

/* The nth of the points that are tuned, with these bits. */
static void store_bits(const struct race *r, const char *spelling, int n,
                       uint64_t bits, double us)
{
  struct db_bits b = {0, r->device, r->toolchain, NULL, bits};
  struct bytes corpus = BYTES_INIT;
  struct variant v;
  struct problem p;
  struct space s;
  int64_t row, id;

  assert_ok(problem_parse(&specs.ops, spelling, &p));
  space_init(&s, &p.op->schemes[1], &p, 90, 132);
  for (int i = 0; i <= n; ++i) assert_true(space_next(&s, &v));
  row = store_point(r, v, false);
  store_time(r, &p, false, 1, &row, us);
  assert_ok(db_candidate(r->db, false, 1, &row, "fused", &b.candidate));
  assert_ok(corpus_spell(&p, corpus_rows("cuda"), &corpus));
  b.corpus = bytes_string(&corpus);
  assert_ok(db_bits(r->db, &b, &id));
  bytes_release(&corpus);
}

/* Of SHORT the second best agrees with the only row of LONG. */
static struct race store_agreeing(const char *name, const char *compiler,
                                  const char *code)
{
  struct device_info gpu = a_gpu("GPU Y", "1");
  struct race r = race_begin(new_db(name), &gpu, "cold graph");

  r.code = code;
  assert_ok(db_toolchain(r.db, compiler, &r.toolchain));
  store_bits(&r, SHORT, 0, 1, 8);
  store_bits(&r, SHORT, 1, 2, 10);
  store_bits(&r, LONG, 1, 2, 20);
  return r;
}

static void plans_agree_on_request(void **state)
{
  struct race r = store_agreeing("bits.db", "a compiler", "code");
  struct problem p;
  struct table t;
  int64_t row;

  (void)state;
  assert_ok(problem_parse(&specs.ops, LONG, &p));
  row = store_variant(&r, "norm", &p, false); /* the default never does */
  store_time(&r, &p, false, 1, &row, 19);
  db_close(r.db);
  check_run(0, "2 plans", "emit --db bits.db -o bits.ddt");
  t = open_table("bits.ddt");
  assert_int_equal(find_plan(&t, SHORT)->bits, 1);
  assert_int_equal(find_plan(&t, LONG)->bits, 0);
  table_close(&t);
  check_run(0, "not the best, it makes other bits: " SHORT,
            "emit --db bits.db --same-bits -o bits.ddt");
  t = open_table("bits.ddt");
  assert_int_equal(find_plan(&t, SHORT)->bits, 2);
  assert_int_equal(find_plan(&t, LONG)->bits, 2);
  assert_true(find_plan(&t, SHORT)->us == 10);
  assert_true(find_plan(&t, SHORT)->loss == 0.25);
  table_close(&t);
}

static void check_compiled(struct table *t)
{
  struct bytes text = BYTES_INIT, want = BYTES_INIT, log = BYTES_INIT;
  struct variant v = t->variants[0].variant;

  assert_int_equal(t->variant_count, 1);
  assert_ok(emit_variant(&specs.tree, &v, &text));
  bytes_clear(&text);
  assert_ok(emit_unit(&specs.tree, &v, 1, &text));
  assert_ok(compile_unit("sm_90", bytes_string(&text), &want, &log));
  check_code(t, table_code_find(&t->variants[0], "sm_90"), want.data,
             want.size);
  bytes_release(&text);
  bytes_release(&want);
  bytes_release(&log);
}

/* Code that no winner had is compiled, by the compiler that made it alone. */
static void missing_code_is_compiled(void **state)
{
  struct bytes identity = BYTES_INIT;
  struct table t;

  (void)state;
  db_close(store_agreeing("none.db", "another compiler", NULL).db);
  check_run(65, "no row that can be used",
            "emit --db none.db --same-bits -o none.ddt");
  if (compiler_identity("sm_90", &identity)) skip(); /* there is no NVRTC */
  db_close(store_agreeing("own.db", bytes_string(&identity), NULL).db);
  check_run(0, "2 plans, 1 variants",
            "emit --db own.db --same-bits -o own.ddt");
  t = open_table("own.ddt");
  check_compiled(&t);
  table_close(&t);
  bytes_release(&identity);
}

/* A table has one code per variant: two compilers that disagree cannot share
 * it, and the first problem has it. */
static void compilers_that_disagree(void **state)
{
  struct device_info gpu = a_gpu("GPU Y", "1");
  struct db *db = new_db("disagree.db");
  struct race r = race_begin(db, &gpu, "cold graph");
  struct table t;

  (void)state;
  store_problem(&r, ONE_STEP, 6, 0, false);
  r = race_begin(db, &gpu, "cold graph");
  assert_ok(db_toolchain(db, "another compiler", &r.toolchain));
  r.code = "edoc";
  store_problem(&r, "rope:bf16 tokens=9 q_heads=2 head_dim=64", 7, 0, false);
  store_problem(&r, FUSED_WINS, 5, 10, false);
  db_close(db);
  check_run(0, "left out, its code differs between compilers: rope:bf16 "
               "tokens=9", "emit --db disagree.db -o disagree.ddt");
  t = open_table("disagree.ddt");
  assert_int_equal(t.plan_count, 2);
  assert_non_null(strstr(t.provenance, ", driver 1, a compiler and another "
                                       "compiler"));
  table_close(&t);
}

/* A slice of a GPU has the name of its whole. */
static void devices_differ_by_more_than_names(void **state)
{
  struct device_info whole = a_gpu("GPU Z", "1"), slice = whole;
  struct db *db = new_db("slice.db");
  struct race r = race_begin(db, &whole, "cold graph");
  struct table t;

  (void)state;
  store_problem(&r, ONE_STEP, 6, 0, false);
  slice.sms = 60;
  r = race_begin(db, &slice, "cold graph");
  store_problem(&r, ONE_STEP, 12, 0, false);
  db_close(db);
  check_run(EX_USAGE, "choose with --device: 'GPU Z (sm_90, 60 SMs)', "
                      "'GPU Z (sm_90, 132 SMs)'",
            "emit --db slice.db --device 'GPU Z' -o slice.ddt");
  check_run(0, "1 plans", "emit --db slice.db --device 'GPU Z (sm_90, 60 SMs)' "
                          "-o slice.ddt");
  t = open_table("slice.ddt");
  assert_int_equal(t.sms, 60);
  assert_true(t.plans[0].us == 12);
  table_close(&t);
  check_run(0, "1 plans", "emit --db slice.db --device '132 sms' -o slice.ddt");
  assert_true(only_us("slice.ddt") == 6);
}

/* Within the noise one launch is taken, not two, and show says so. */
static void a_tie_takes_fewer_launches(void **state)
{
  struct device_info gpu = a_gpu("GPU Y", "1");
  struct db *db = new_db("tie.db");
  struct race r = race_begin(db, &gpu, "cold graph");
  struct table t;

  (void)state;
  r.noise = 0.02;
  store_problem(&r, SPLIT_WINS, 10.15, 10, false);
  db_close(db);
  check_run(0, "1 plans", "emit --db tie.db -o tie.ddt");
  t = open_table("tie.ddt");
  assert_false(t.plans[0].split);
  table_close(&t);
  check_run(0, "a tie (-1.5 %): 2 launches, not 1", "show --db tie.db --why");
  check_run(0, "\"tied\": true", "show --db tie.db --why --json");
}

#define ROPE(tokens) "rope:bf16 tokens=" tokens " q_heads=2 head_dim=64"
#define BOTH(tokens) "qknorm_rope:bf16 tokens=" tokens " q_heads=2 head_dim=64"

/* One winner at several sizes serves those between; a fused one only where its
 * lower bound says that it gains. */
static void a_run_of_sizes_is_an_interval(void **state)
{
  struct device_info cpu;
  struct db *db = new_db("run.db");
  const struct table_plan *p;
  struct table t;
  struct race r;
  size_t count;

  (void)state;
  assert_ok(cpu_device.list(&cpu, 1, &count));
  r = race_begin(db, &cpu, "cold graph");
  store_problem(&r, ROPE("8"), 5, 0, false);
  store_problem(&r, ROPE("16"), 6, 0, false);
  store_problem(&r, ROPE("64"), 9, 0, false);
  store_problem(&r, BOTH("8"), 10, 20, false);
  store_problem(&r, BOTH("32"), 10, 15, false);
  store_problem(&r, BOTH("128"), 10, 10.05, false);
  db_close(db);
  check_run(0, "2 intervals", "emit --db run.db -o run.ddt");
  check_run(0, "\"intervals\": 2", "emit --db run.db --loss 0 --json -o 2.ddt");
  check_same("run.ddt", "2.ddt");
  t = open_table("run.ddt");
  p = find_plan(&t, ROPE("8"));
  assert_int_equal(p->interval_count, 1);
  assert_true(p->intervals[0].last == 64 && p->intervals[0].sizes == 3);
  assert_true(p->intervals[0].loss == 0 && p->intervals[0].gain == 0);
  assert_true(p->away == 1);
  assert_string_equal(p->rival, ""); /* nothing else raced */
  p = find_plan(&t, BOTH("8"));
  assert_int_equal(p->interval_count, 1);
  assert_true(p->intervals[0].last == 32 && p->intervals[0].gain == 0.5);
  assert_string_equal(p->rival, "split");
  assert_true(p->rival_us == 20 && p->rival_high_us == 20);
  table_close(&t);
  check_run(0, "interval: tokens 8 to 64, measured at 3, the nearest as "
            ROPE("16"), "explain --cpu --table run.ddt '" ROPE("20") "'");
  check_run(0, "\"match\": \"interval\"",
            "show --coverage --json --table run.ddt '" ROPE("20") "'");
  check_run(0, "5 plans", "emit --db run.db --without '" ROPE("16")
            "' -o without.ddt");
  check_run(0, "measured at 2",
            "explain --cpu --table without.ddt '" ROPE("16") "'");
  check_run(EX_USAGE, "--loss is '2x', and must be a percentage",
            "emit --db run.db --loss 2x -o run.ddt");
}

/* What explain says of a table of some size is more than fits its first try. */
static void a_long_explanation_is_whole(void **state)
{
  struct device_info cpu;
  struct db *db = new_db("long.db");
  struct bytes said = BYTES_INIT;
  struct race r;
  size_t count;

  (void)state;
  assert_ok(cpu_device.list(&cpu, 1, &count));
  r = race_begin(db, &cpu, "cold graph");
  for (int i = 1; i <= 60; ++i) {
    char spelling[80];
    snprintf(spelling, sizeof spelling,
             "rope:bf16 tokens=%d q_heads=2 head_dim=64", i);
    store_problem(&r, spelling, 5, 0, false);
  }
  db_close(db);
  check_run(0, "60 plans", "emit --db long.db -o long.ddt");
  assert_int_equal(run(&said, "explain --cpu --table long.ddt '" ONE_STEP "'"),
                   0);
  assert_true(said.size > 4096);
  assert_int_equal(strlen(bytes_string(&said)), said.size);
  assert_non_null(strstr(said.data, "tokens=9 q_heads=2 head_dim=64: "));
  assert_int_equal(said.data[said.size - 1], '\n');
  bytes_release(&said);
}

static const char c_host[] =
    "#include <stdio.h>\n"
    "extern const unsigned char difftune_table[];\n"
    "extern const size_t difftune_table_size;\n"
    "int main(void) { return fwrite(difftune_table, 1, difftune_table_size,\n"
    "                               stdout) != difftune_table_size; }\n";

static void the_c_file_holds_the_same_bytes(void **state)
{
  char command[512], path[128];

  (void)state;
  check_run(0, "plans", "emit --device cpu -o one.ddt");
  check_run(0, "plans", "emit --device cpu -o two.ddt");
  check_same("one.ddt", "two.ddt");
  check_run(0, "plans", "emit --device cpu -o table.c");
  snprintf(path, sizeof path, "%s/host.c", folder);
  assert_ok(file_write(path, c_host, sizeof c_host - 1));
  snprintf(command, sizeof command,
           "cd '%s' && cc -std=c11 -pedantic -Wall -Wextra -Werror host.c "
           "table.c -o host && ./host > three.ddt", folder);
  assert_int_equal(system(command), 0);
  check_same("one.ddt", "three.ddt");
}

static void show_prints_what_is_there(void **state)
{
  (void)state;
  check_run(0, "rope:bf16", "show --device nvl --policy 'warm graph'");
  check_run(0, "100.0 % slower", "show --why '" SPLIT_WINS "'");
  check_run(0, "\"split_us\": 20", "show --json --device cpu '" FUSED_WINS "'");
  check_run(0, "has no such row", "show --failures");
  check_run(0, "qknorm_rope         2       2         4       0",
            "show --ops --device cpu");
  check_run(EX_USAGE, "nothing", "show nothing:bf16");
}

/* A word that names nothing is refused, with those that name something. */
static void show_refuses_unknown_words(void **state)
{
  (void)state;
  check_run(EX_USAGE, "no op is named 'nope'; known are: gate_residual",
            "show --op rope,nope");
  check_run(0, "has no such row", "show --op qk_norm"); /* it is an op */
  check_run(EX_USAGE, "no policy is named 'hot'; known are: 'cold graph'",
            "show --policy hot");
  check_run(0, "has no such row", "show --policy 'warm eager'");
  check_run(EX_USAGE, "no device is named 'H100'; the database has: 'GPU X'",
            "show --device H100");
  check_run(EX_USAGE, "'H100'", "show --failures --device H100");
}

static bool says(const char *arguments, const char *part)
{
  struct bytes said = BYTES_INIT;
  bool found;

  assert_int_equal(run(&said, arguments), 0);
  found = strstr(bytes_string(&said), part) != NULL;
  bytes_release(&said);
  return found;
}

static void show_all_lists_and_why_explains(void **state)
{
  (void)state;
  assert_true(says("show --all '" SPLIT_WINS "'", "rank"));
  assert_false(says("show --all '" SPLIT_WINS "'", "why"));
  assert_false(says("show --all '" SPLIT_WINS "'", "slower"));
  assert_true(says("show --why '" SPLIT_WINS "'", "why"));
  assert_true(says("show --why --device 'GPU X' '" FUSED_WINS "'",
                   "of another sweep"));
  assert_false(says("show '" SPLIT_WINS "'", "rank"));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_best_becomes_the_plan),
      cmocka_unit_test(cpu_code_is_the_text),
      cmocka_unit_test(gpu_code_is_the_cubin),
      cmocka_unit_test(the_younger_of_two_drivers_counts),
      cmocka_unit_test(a_choice_is_never_guessed),
      cmocka_unit_test(rows_of_other_specs_are_left_out),
      cmocka_unit_test(usable_rows_are_not_hidden),
      cmocka_unit_test(a_row_without_code_is_passed_over),
      cmocka_unit_test(the_next_row_with_code_is_taken),
      cmocka_unit_test(the_code_is_of_the_proven_compiler),
      cmocka_unit_test(plans_agree_on_request),
      cmocka_unit_test(missing_code_is_compiled),
      cmocka_unit_test(compilers_that_disagree),
      cmocka_unit_test(devices_differ_by_more_than_names),
      cmocka_unit_test(a_tie_takes_fewer_launches),
      cmocka_unit_test(a_run_of_sizes_is_an_interval),
      cmocka_unit_test(a_long_explanation_is_whole),
      cmocka_unit_test(the_c_file_holds_the_same_bytes),
      cmocka_unit_test(show_prints_what_is_there),
      cmocka_unit_test(show_refuses_unknown_words),
      cmocka_unit_test(show_all_lists_and_why_explains),
  };

  return cmocka_run_group_tests(tests, setup, teardown);
}
