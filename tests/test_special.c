/*
 * test_special.c - what DD_OPEN_COMPILE makes of a miss, and when it does not.
 *
 * The compilers of the CPU device are stubs here, in front of the real ones on
 * the path: they write down each compilation, and refuse what they are told to.
 */
#include "test.h"

#include <dirent.h>
#include <math.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "compiler.h"
#include "device.h"
#include "special.h"
#include "tiny.h"

#define NORM "norm:fp32 seq=5 hidden=256"
#define SPECIAL "norm.rows vec=16 warps=1 rows=2 "
#define GENERIC "norm.generic warps=8 (default)"
#define HERE "(default, compiled here)"

/* ---- The stubs ----------------------------------------------------------- */

static char folder[64];

static const char *file_in(const char *name)
{
  static char path[128];

  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

static void write_stub(const char *name)
{
  char path[128], text[1024];
  int n = snprintf(text, sizeof text,
                   "#!/bin/sh\n"
                   "for w in \"$@\"; do case $w in\n"
                   "--version) test -z \"$STUB_UNKNOWN\" || exit 1;;\n"
                   "*.cpp) test -z \"$STUB_REFUSES\" ||\n"
                   "  ! grep -q \"// $STUB_REFUSES\" \"$w\" || exit 1\n"
                   "  echo one >>'%s/count';;\n"
                   "esac; done\n"
                   "PATH='%s' exec %s \"$@\"\n",
                   folder, getenv("PATH"), name);

  assert_true(n > 0 && n < (int)sizeof text);
  snprintf(path, sizeof path, "%s/bin/%s", folder, name);
  assert_ok(file_write(path, text, (size_t)n));
  assert_int_equal(chmod(path, 0700), 0);
}

static int make_folder(void **state)
{
  static const char *const names[] = {"c++", "g++", "clang++"};
  char path[4096];

  (void)state;
  test_folder(folder, sizeof folder);
  assert_int_equal(mkdir(file_in("bin"), 0700), 0);
  for (size_t i = 0; i < COUNT_OF(names); ++i) write_stub(names[i]);
  snprintf(path, sizeof path, "%s/bin:%s", folder, getenv("PATH"));
  setenv("PATH", path, 1);
  unsetenv("CXX");
  return 0;
}

static int remove_folder(void **state)
{
  (void)state;
  test_folder_remove(folder);
  return 0;
}

/* How many units were compiled since this was asked. */
static int compilations(void)
{
  struct bytes text = BYTES_INIT;
  int count = 0;

  if (!access(file_in("count"), F_OK)) {
    assert_ok(file_read(file_in("count"), 1 << 20, &text));
    count = (int)text.size / 4;
    unlink(file_in("count"));
  }
  bytes_release(&text);
  return count;
}

/* Each test begins with an empty cache of its own. */
static int begin(void **state)
{
  char path[128];
  static int number;

  (void)state;
  snprintf(path, sizeof path, "%s/cache%d", folder, number++);
  setenv("DIFFTUNE_CACHE", path, 1);
  unsetenv("STUB_REFUSES");
  unsetenv("STUB_UNKNOWN");
  compilations();
  return 0;
}

/* ---- A context ----------------------------------------------------------- */

static dd_context *open_cpu(uint32_t flags)
{
  dd_open_options o = DD_OPEN_OPTIONS_INIT;
  dd_context *ctx;

  o.device = "cpu";
  o.flags = flags | DD_OPEN_NO_SYSTEM_TABLE;
  assert_ok(dd_open(&o, &ctx));
  return ctx;
}

static dd_status make(dd_context *ctx, const char *spelling, dd_plan **out)
{
  dd_problem p = DD_PROBLEM_INIT;

  p.spelling = spelling;
  return dd_plan_make(ctx, &p, out);
}

static void says(dd_context *ctx, const char *spelling, const char *begins,
                 const char *ends)
{
  char text[512];
  dd_plan *p;
  size_t n;

  assert_ok(make(ctx, spelling, &p));
  assert_int_equal(dd_plan_match(p), DD_MATCH_DEFAULT);
  assert_true(dd_plan_loss(p) < 0);
  n = dd_plan_describe(p, text, sizeof text);
  if (strncmp(text, begins, strlen(begins)) || n < strlen(ends) ||
      strcmp(text + n - strlen(ends), ends))
    fail_msg("'%s': '%s', not '%s ... %s'", spelling, text, begins, ends);
  dd_plan_free(p);
}

static void explains(dd_context *ctx, const char *spelling, const char *part)
{
  dd_problem p = DD_PROBLEM_INIT;
  char text[4096];

  p.spelling = spelling;
  assert_ok(dd_explain(ctx, &p, text, sizeof text, NULL));
  if (!strstr(text, part)) fail_msg("no '%s' in:\n%s", part, text);
}

/* ---- On the CPU device --------------------------------------------------- */

enum { BUFFERS = 8, NUMBERS = 4096 };
typedef float numbers[BUFFERS][NUMBERS];

static void run(uint32_t flags, const char *spelling, numbers out)
{
  dd_context *ctx = open_cpu(flags);
  void *buffers[BUFFERS];
  dd_plan *p;

  assert_ok(make(ctx, spelling, &p));
  assert_true(dd_plan_buffer_count(p) <= BUFFERS);
  for (int i = 0; i < BUFFERS; ++i) {
    buffers[i] = out[i];
    for (int j = 0; j < NUMBERS; ++j)
      out[i][j] = (float)((i * 31 + j * 17) % 101) / 16 - 3;
  }
  assert_ok(dd_plan_launch(p, buffers, NULL, NULL));
  dd_plan_free(p);
  dd_close(ctx);
}

static void test_results(void **state)
{
  static const char *const spellings[] = {
      NORM, "qk_norm:fp32 tokens=5 q_heads=2 head_dim=64"};
  static _Alignas(64) numbers before, want, got;

  (void)state;
  for (size_t n = 0; n < COUNT_OF(spellings); ++n) {
    run(0, spellings[n], want);
    run(DD_OPEN_COMPILE, spellings[n], got);
    run(DD_OPEN_COMPILE, spellings[n], before);
    assert_memory_equal(got, before, sizeof got);
    for (int i = 0; i < BUFFERS * NUMBERS; ++i) {
      float w = want[i / NUMBERS][i % NUMBERS];
      float g = got[i / NUMBERS][i % NUMBERS];
      if (!(fabsf(g - w) <= 1e-5f * (1 + fabsf(w))))
        fail_msg("'%s': %d: %g, not %g", spellings[n], i, (double)g, (double)w);
    }
  }
  assert_int_equal(compilations(), 4); /* two units of each */
}

static void test_choice(void **state)
{
  dd_context *ctx = open_cpu(0);

  (void)state;
  says(ctx, NORM, GENERIC, "");
  explains(ctx, NORM, "chosen    " GENERIC "\n");
  dd_close(ctx);
  ctx = open_cpu(DD_OPEN_COMPILE);
  compilations();
  explains(ctx, NORM, "chosen    " SPECIAL);
  explains(ctx, NORM, HERE "\n          compiled for io=fp32 hidden=256 ");
  explains(ctx, NORM, "\n  norm.generic warps=8: the default, for what cannot");
  assert_int_equal(compilations(), 0);
  says(ctx, NORM, SPECIAL, HERE);
  says(ctx, NORM, SPECIAL, HERE);
  says(ctx, "norm:fp32 seq=6 hidden=256", SPECIAL, HERE); /* the same code */
  assert_int_equal(compilations(), 1);
  says(ctx, "norm:fp32 seq=6 hidden=128", SPECIAL, HERE);
  assert_int_equal(compilations(), 1);
  /* Unaligned: the first point that fits has narrower vectors. */
  says(ctx, NORM " align=4", "norm.rows vec=4 ", HERE);
  dd_close(ctx);
}

/* The prefix of a name in the cache's only folder, and its only file. */
static void find_entry(char path[512])
{
  char at[300];

  snprintf(at, sizeof at, "%s", getenv("DIFFTUNE_CACHE"));
  for (int depth = 0; depth < 2; ++depth) {
    DIR *all = opendir(at);
    struct dirent *d;
    char name[80] = "";
    assert_non_null(all);
    while ((d = readdir(all)))
      if (d->d_name[0] != '.') snprintf(name, sizeof name, "%.79s", d->d_name);
    closedir(all);
    assert_string_not_equal(name, "");
    snprintf(at + strlen(at), sizeof at - strlen(at), "/%s", name);
  }
  snprintf(path, 512, "%s", at);
}

static void made_again(int compiled)
{
  dd_context *ctx = open_cpu(DD_OPEN_COMPILE);

  says(ctx, NORM, SPECIAL, HERE);
  assert_int_equal(compilations(), compiled);
  dd_close(ctx);
}

static void test_cache(void **state)
{
  struct bytes entry = BYTES_INIT;
  char path[512];

  (void)state;
  made_again(1);
  made_again(0);
  find_entry(path);
  assert_ok(file_read(path, 1 << 28, &entry));
  entry.data[entry.size / 2] ^= 1;
  assert_ok(file_write(path, entry.data, entry.size));
  made_again(1); /* a damaged entry is as good as none */
  made_again(0);
  setenv("DIFFTUNE_CACHE", "/dev/null/nowhere", 1);
  made_again(1); /* and no folder costs time, and nothing else */
  made_again(1);
  bytes_release(&entry);
}

static void test_no_compiler(void **state)
{
  dd_context *ctx = open_cpu(DD_OPEN_COMPILE);

  (void)state;
  setenv("STUB_UNKNOWN", "1", 1);
  explains(ctx, NORM, "chosen    " GENERIC "\n");
  says(ctx, NORM, GENERIC, "");
  assert_int_equal(compilations(), 1); /* the generic one's */
  unsetenv("STUB_UNKNOWN");
  setenv("STUB_REFUSES", "norm.rows", 1); /* it does not compile */
  says(ctx, "norm:fp32 seq=5 hidden=256", GENERIC, "");
  assert_int_equal(compilations(), 0);
  unsetenv("STUB_REFUSES"); /* nobody remembers that it failed */
  says(ctx, NORM, SPECIAL, HERE);
  dd_close(ctx);
}

/* What is wanted exactly, or with the same bits, never gets that far; nor does
 * what was measured. */
static void test_goes_before(void **state)
{
  static const uint32_t flags[] = {DD_OPEN_EXACT_ONLY, DD_OPEN_SAME_BITS};
  dd_open_options o = DD_OPEN_OPTIONS_INIT;
  struct bytes table = BYTES_INIT;
  char text[512];
  dd_context *ctx;
  dd_plan *p;
  struct tiny t;

  (void)state;
  for (size_t i = 0; i < COUNT_OF(flags); ++i) {
    ctx = open_cpu(DD_OPEN_COMPILE | flags[i]);
    assert_int_equal(make(ctx, NORM, &p), DD_UNTUNED);
    dd_close(ctx);
  }
  tiny_init_in(&t, TEST_ROOT "/variants");
  tiny_point(&t, "generic", NORM, (const int64_t[]){8});
  tiny_plan(&t, NORM, 1, 0, 0);
  assert_ok(table_write(&t.writer, &table));
  o.device = "cpu";
  o.table_data = table.data;
  o.table_size = table.size;
  o.flags = DD_OPEN_COMPILE | DD_OPEN_NO_SYSTEM_TABLE;
  assert_ok(dd_open(&o, &ctx));
  assert_ok(make(ctx, "norm:fp32 seq=6 hidden=256", &p));
  assert_true(dd_plan_match(p) == DD_MATCH_NEAR ||
              dd_plan_match(p) == DD_MATCH_DEVICE);
  dd_plan_describe(p, text, sizeof text);
  assert_non_null(strstr(text, "norm.generic warps=8 ("));
  assert_null(strstr(text, "compiled here"));
  dd_plan_free(p);
  says(ctx, "norm:fp32 seq=5 hidden=128", "norm.rows", HERE);
  dd_close(ctx);
  bytes_release(&table);
  tiny_release(&t);
}

/* ---- Memory -------------------------------------------------------------- */

static dd_status whole_life(void)
{
  const char *spelling = NORM;
  dd_open_options o = DD_OPEN_OPTIONS_INIT;
  dd_problem problem = DD_PROBLEM_INIT;
  dd_context *ctx;
  dd_status status;

  problem.spelling = NORM;
  o.device = "cpu";
  o.flags = DD_OPEN_COMPILE | DD_OPEN_NO_SYSTEM_TABLE;
  TRY(dd_open(&o, &ctx));
  status = dd_prepare(ctx, &spelling, 1, NULL);
  if (!status) status = dd_explain(ctx, &problem, NULL, 0, NULL);
  dd_close(ctx);
  return status;
}

static void test_out_of_memory(void **state)
{
  struct allocator kept = default_allocator;
  struct test_memory m;
  long failures = 0;

  (void)state;
  assert_ok(whole_life()); /* into the cache */
  test_memory_init(&m);
  for (long n = 1;; ++n) {
    dd_status status;
    m.calls = 0;
    m.fail_at = n;
    default_allocator = m.allocator;
    status = whole_life();
    default_allocator = kept;
    if (m.live) fail_msg("call %ld: %zu bytes are left", n, m.live);
    if (m.calls < n) {
      assert_ok(status);
      break;
    }
    if (status && status != DD_NO_MEMORY && status != DD_COMPILE &&
        !strstr(dd_last_error(), "memory"))
      fail_msg("call %ld: %s: %s", n, dd_status_name(status), dd_last_error());
    failures += status != DD_OK;
  }
  assert_true(failures > 10);
}

/* ---- For a GPU ----------------------------------------------------------- */

static bool have_nvrtc(void)
{
  struct bytes identity = BYTES_INIT;
  bool have = !compiler_identity("sm_90", &identity);

  bytes_release(&identity);
  return have;
}

/* One problem of each op. */
static const char *const problems[] = {
    "gate_residual:bf16 seq=37 hidden=3072",
    "norm:bf16 seq=37 hidden=3072",
    "norm_gate_residual:bf16 seq=37 hidden=3072",
    "norm_gate_residual_norm_scale:bf16 seq=37 hidden=3072",
    "norm_scale_shift:bf16 seq=37 hidden=3072",
    "qk_norm:bf16 tokens=37 q_heads=4 head_dim=128",
    "qknorm_rope:bf16 tokens=37 q_heads=4 head_dim=128",
    "qknorm_rope_packed:bf16 tokens=37 q_heads=4 head_dim=128",
    "residual_norm_scale_shift:bf16 seq=37 hidden=3072",
    "rope:bf16 tokens=37 q_heads=4 head_dim=128",
    "rope_table:fp32 tokens=37 rope_dim=128",
    "scale_shift:bf16 seq=37 hidden=3072"};

static struct dd_context *floor_of(struct device *gpu)
{
  struct dd_context *ctx = calloc(1, sizeof *ctx);

  assert_non_null(ctx);
  *gpu = (struct device){
      .info = {.kind = "cuda", .name = "a GPU", .arch = 90, .sms = 132}};
  ctx->compiles = true;
  ctx->device = gpu;
  assert_ok(table_open_own(&ctx->floor, floor_table,
                           (size_t)(floor_table_end - floor_table),
                           &default_allocator, false));
  return ctx;
}

static void compile_one(struct dd_context *ctx, const char *spelling)
{
  struct bytes code = BYTES_INIT, log = BYTES_INIT;
  struct matcher m = {.floor = &ctx->floor, .device = &ctx->device->info};
  char entry[VARIANT_ENTRY];
  struct special s;
  struct match found;
  struct usage u;

  assert_ok(match_find(&m, spelling, &found));
  assert_true(special_find(ctx, &found, &s));
  assert_false(s.variant.variant.scheme->fits_all);
  assert_ok(special_text(ctx, &s));
  if (have_nvrtc()) {
    assert_ok(compile_unit(s.target, s.code.bytes, &code, &log));
    variant_entry(&s.variant.variant, entry);
    assert_ok(cubin_usage(code.data, code.size, entry, &u));
  }
  special_end(&s);
  bytes_release(&code);
  bytes_release(&log);
}

static void test_every_op(void **state)
{
  struct device gpu;
  struct dd_context *ctx = floor_of(&gpu);

  (void)state;
  assert_int_equal(ctx->floor.ops.count, COUNT_OF(problems));
  for (size_t i = 0; i < COUNT_OF(problems); ++i)
    compile_one(ctx, problems[i]);
  table_close(&ctx->floor);
  free(ctx);
}

/* The text, and so the name of its entry, is the generator's. */
static void test_text(void **state)
{
  struct matcher m = {0};
  struct bytes want = BYTES_INIT;
  struct device gpu;
  struct dd_context *ctx = floor_of(&gpu);
  struct special s;
  struct match found;
  struct variant v;
  struct tiny t;

  (void)state;
  m.floor = &ctx->floor;
  m.device = &gpu.info;
  tiny_init_in(&t, TEST_ROOT "/variants");
  for (size_t i = 0; i < COUNT_OF(problems); ++i) {
    assert_ok(match_find(&m, problems[i], &found));
    assert_true(special_find(ctx, &found, &s));
    assert_ok(special_text(ctx, &s));
    v = s.variant.variant;
    assert_ok(emit_variant(&t.tree, &v, &want));
    assert_true(hash_equal(&v.hash, &s.variant.variant.hash));
    bytes_clear(&want);
    assert_ok(emit_unit(&t.tree, &v, 1, &want));
    assert_string_equal(s.code.bytes, bytes_string(&want));
    bytes_clear(&want);
    special_end(&s);
  }
  bytes_release(&want);
  tiny_release(&t);
  table_close(&ctx->floor);
  free(ctx);
}

#ifdef DIFFTUNE_CUDA
#include "cuda_driver.h"

#define BF16 "norm:bf16 seq=8 hidden=64"

static dd_status call_norm(dd_context *ctx, CUstream stream)
{
  static _Alignas(64) char memory[2][64];
  static const int64_t rows[] = {1, 8, 64};
  dd_tensor x = {memory[0], 2, 0, 3, 4, 16, 1, rows, NULL, 0}, y = x;
  dd_norm_args args = {.struct_size = sizeof args, .x = &x, .y = &y};

  y.data = memory[1];
  return dd_norm(ctx, &args, (void *)stream);
}

static dd_context *open_fake(struct device **gpu)
{
  dd_open_options o = DD_OPEN_OPTIONS_INIT;
  dd_context *ctx;

  assert_ok(cuda_device.open(0, gpu));
  o.flags = DD_OPEN_COMPILE | DD_OPEN_NO_SYSTEM_TABLE;
  assert_ok(dd_open(&o, &ctx));
  return ctx;
}

static void close_fake(dd_context *ctx, struct device *gpu)
{
  dd_close(ctx);
  gpu->api->close(gpu);
}

static bool cache_is_empty(void)
{
  return access(getenv("DIFFTUNE_CACHE"), F_OK) != 0;
}

static void test_gpu(void **state)
{
  struct device *gpu;
  dd_context *ctx = open_fake(&gpu);
  CUstream stream;
  CUgraph graph;

  (void)state;
  assert_int_equal(cuda.cuStreamCreate_(&stream, 0), 0);
  assert_int_equal(cuda.cuStreamBeginCapture_(stream,
                                              CU_STREAM_CAPTURE_MODE_GLOBAL),
                   0);
  assert_int_equal(call_norm(ctx, stream), DD_NOT_PREPARED);
  assert_true(cache_is_empty());
  assert_int_equal(cuda.cuStreamEndCapture_(stream, &graph), 0);
  assert_int_equal(cuda.cuGraphDestroy_(graph), 0);
  assert_ok(call_norm(ctx, stream));
  assert_int_equal(cuda.cuStreamDestroy_(stream), 0);
  assert_int_equal(cache_is_empty(), !have_nvrtc());
  if (have_nvrtc()) says(ctx, BF16, "norm.rows ", HERE);
  else says(ctx, BF16, GENERIC, "");
  close_fake(ctx, gpu);
}

/* NVRTC is looked for once in a process. */
static void test_no_nvrtc(void **state)
{
  pid_t child = fork();
  int how;

  (void)state;
  if (!child) {
    struct device *gpu;
    dd_context *ctx;
    setenv("DIFFTUNE_NVRTC", "/nonexistent", 1);
    ctx = open_fake(&gpu);
    says(ctx, BF16, GENERIC, "");
    explains(ctx, BF16, "chosen    " GENERIC "\n");
    close_fake(ctx, gpu);
    _exit(cache_is_empty() ? 0 : 1);
  }
  assert_int_equal(waitpid(child, &how, 0), child);
  assert_int_equal(how, 0);
}
#endif

int main(void)
{
  const struct CMUnitTest tests[] = {
#ifdef DIFFTUNE_CUDA
      cmocka_unit_test_setup(test_no_nvrtc, begin), /* first: it forks */
      cmocka_unit_test_setup(test_gpu, begin),
#endif
      cmocka_unit_test_setup(test_results, begin),
      cmocka_unit_test_setup(test_choice, begin),
      cmocka_unit_test_setup(test_cache, begin),
      cmocka_unit_test_setup(test_no_compiler, begin),
      cmocka_unit_test_setup(test_goes_before, begin),
      cmocka_unit_test_setup(test_out_of_memory, begin),
      cmocka_unit_test_setup(test_every_op, begin),
      cmocka_unit_test_setup(test_text, begin),
  };

#ifdef DIFFTUNE_CUDA
  setenv("DIFFTUNE_LIBCUDA", DIFFTUNE_FAKE_CUDA, 1);
#endif
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
