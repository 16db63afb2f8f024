/*
 * dispatch.c - what the library costs a host: opening, and each launch.
 *
 *     cmake --build build/release --target bench_dispatch
 *     build/release/tests/bench_dispatch [PLANS]
 *
 * Opening: a table of PLANS (10000) qknorm_rope problems and some hundred
 * variants with 20 kB of code each, as a file; open it, choose for one problem,
 * read the code: all but handing it to the driver.  Each time in a process of
 * its own, as time on the CPU.
 * Launching: dd_plan_launch(), dd_qknorm_rope(), dd_launch() of the same tensors
 * and dd_norm() against the driver's bare cuLaunchKernelEx.  Without $DIFFTUNE_LIBCUDA this is the
 * tests' driver without a GPU, whose launch is a few nanoseconds; with
 * DIFFTUNE_LIBCUDA=libcuda.so.1 it is the machine's GPU.
 */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "emit.h"
#include "internal.h"
#include "space.h"
#include "specs.h"
#include "table_write.h"

enum { OPENS = 21, CODE = 20000, A_GROUP = 20, CALLS = 1 << 20, BATCH = 16 };

static void must(dd_status status, const char *what)
{
  if (!status) return;
  fprintf(stderr, "bench: %s: %s\n", what, dd_last_error());
  exit(1);
}

static double read_clock(clockid_t clock)
{
  struct timespec t;

  clock_gettime(clock, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double now(void)
{
  return read_clock(CLOCK_MONOTONIC);
}

/* The kernel's share too, but not that of other processes on this machine. */
static double cpu_time(void)
{
  return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

static int by_value(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;

  return (x > y) - (x < y);
}

static double quantile(double *value, size_t n, double q)
{
  qsort(value, n, sizeof *value, by_value);
  return value[(size_t)((double)(n - 1) * q)];
}

/* ---- A large table ------------------------------------------------------ */

struct large {
  struct specs specs;
  struct table_variant *variants;
  struct table_code *codes;
  struct table_plan *plans;
  struct bytes file;
  uint32_t variant_count, plan_count, wanted;
};

/* Bytes that hardly compress. */
static void *noise(uint64_t seed)
{
  uint64_t *block = malloc(CODE);

  for (size_t i = 0; i < CODE / 8; ++i) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    block[i] = seed ^ seed >> 29;
  }
  return block;
}

/* The first variants that fit a problem of the group. */
static uint32_t add_variants(struct large *l, const struct problem *p)
{
  struct space space;
  uint32_t first = l->variant_count;

  space_init(&space, op_scheme_find(p->op, "warp"), p, 90, 132);
  while (l->variant_count < first + A_GROUP) {
    uint32_t n = l->variant_count;
    struct table_variant *v = &l->variants[n];
    if (!space_next(&space, &v->variant)) break;
    v->variant.hash = hash_of(&n, sizeof n);
    l->codes[n] = (struct table_code){
        .target = "sm_90", .bytes = noise(n), .size = CODE};
    v->codes = &l->codes[n];
    v->code_count = 1;
    l->variant_count++;
  }
  return first;
}

static void add_plan(struct large *l, const struct problem *p, uint32_t first)
{
  struct bytes text = BYTES_INIT;
  struct table_plan *plan = &l->plans[l->plan_count];
  uint32_t count = l->variant_count - first;

  problem_print(p, &text);
  *plan = (struct table_plan){.spelling = text.data, .step_count = 1,
                              .us = 10, .split_us = 20, .copy_us = 9};
  for (uint32_t i = 0; i < count; ++i) {
    plan->steps[0] = first + (l->plan_count + i) % count;
    if (!variant_misfit(&l->variants[plan->steps[0]].variant, p, 90, 132)) {
      l->plan_count++;
      return;
    }
  }
}

static void add_group(struct large *l, const char *fixed, uint32_t count)
{
  uint32_t end = l->plan_count + count, first = 0;
  bool begun = false;

  for (int heads = 2; l->plan_count < end && heads <= 128; heads += 2)
    for (int tokens = 16; tokens <= 65536 && l->plan_count < end; tokens *= 2) {
      char spelling[200];
      struct problem p;
      snprintf(spelling, sizeof spelling, "%s tokens=%d q_heads=%d", fixed,
               tokens, heads);
      must(problem_parse(&l->specs.ops, spelling, &p), spelling);
      if (!begun) first = add_variants(l, &p);
      begun = true;
      add_plan(l, &p, first);
    }
}

static void make_large(struct large *l)
{
  static const char *const io[] = {"bf16", "fp16"};
  static const char *const more[] = {"", " layout=neox", " positions=none",
                                     " cache=separate"};
  struct table_writer w = {.device_name = "NVIDIA H200", .device_kind = "cuda",
                           .policy = "cold graph", .provenance = "a bench",
                           .arch = 90, .sms = 132};

  l->variants = calloc(1024, sizeof *l->variants);
  l->codes = calloc(1024, sizeof *l->codes);
  l->plans = calloc(l->wanted + 24, sizeof *l->plans);
  for (int i = 0; i < 2; ++i)
    for (int dim = 64; dim <= 256; dim *= 2)
      for (int m = 0; m < 4; ++m) {
        char fixed[100];
        snprintf(fixed, sizeof fixed, "qknorm_rope:%s head_dim=%d%s", io[i],
                 dim, more[m]);
        add_group(l, fixed, (l->wanted + 23) / 24);
      }
  w.specs = &l->specs.message;
  w.variants = l->variants;
  w.variant_count = l->variant_count;
  w.plans = l->plans;
  w.plan_count = l->plan_count < l->wanted ? l->plan_count : l->wanted;
  must(table_write(&w, &l->file), "the table");
  l->plan_count = w.plan_count;
}

/* ---- Opening ------------------------------------------------------------ */

struct opening {
  double open_us, choose_us, code_us;
  long resident_kb; /* more than before */
};

static long resident_kb(void)
{
  long size = 0, pages = 0;
  FILE *f = fopen("/proc/self/statm", "r");

  if (!f || fscanf(f, "%ld %ld", &size, &pages) != 2) pages = 0;
  if (f) fclose(f);
  return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static struct opening open_once(const char *path, const char *spelling)
{
  dd_open_options o = DD_OPEN_OPTIONS_INIT;
  struct bytes code = BYTES_INIT;
  struct opening out;
  struct device *gpu;
  struct match m;
  dd_context *ctx;
  double t[4];

  must(cuda_device.open(0, &gpu), "the device");
  out.resident_kb = -resident_kb();
  o.table = path;
  t[0] = cpu_time();
  must(dd_open(&o, &ctx), "dd_open");
  t[1] = cpu_time();
  must(match_find(&ctx->matcher, spelling, &m), spelling);
  t[2] = cpu_time();
  must(table_code_read(m.table, match_code(m.step[0].variant,
                                           &ctx->device->info), &code),
       "the code");
  t[3] = cpu_time();
  if (m.how != DD_MATCH_EXACT) must(DD_BUG, "not an exact match");
  out.resident_kb += resident_kb();
  out.open_us = (t[1] - t[0]) / 1e3;
  out.choose_us = (t[2] - t[1]) / 1e3;
  out.code_us = (t[3] - t[2]) / 1e3;
  return out;
}

static struct opening open_apart(const char *path, const char *spelling)
{
  struct opening out = {0};
  int ends[2];
  pid_t child;

  if (pipe(ends)) exit(1);
  child = fork();
  if (!child) {
    out = open_once(path, spelling);
    _exit(write(ends[1], &out, sizeof out) != sizeof out);
  }
  close(ends[1]);
  if (read(ends[0], &out, sizeof out) != sizeof out) exit(1);
  close(ends[0]);
  waitpid(child, NULL, 0);
  return out;
}

static void bench_opening(struct large *l)
{
  char path[] = "/tmp/bench_dispatch_XXXXXX";
  double part[4][OPENS];
  int fd = mkstemp(path);

  close(fd);
  must(file_write(path, l->file.data, l->file.size), path);
  printf("table     %u plans, %u variants, %.1f MB\n", l->plan_count,
         l->variant_count, (double)l->file.size / 1e6);
  for (int i = 0; i < OPENS; ++i) {
    uint32_t at = (uint32_t)i * 997 % l->plan_count;
    struct opening o = open_apart(path, l->plans[at].spelling);
    part[0][i] = o.open_us;
    part[1][i] = o.choose_us;
    part[2][i] = o.code_us;
    part[3][i] = (double)o.resident_kb / 1024;
  }
  remove(path);
  printf("opening   dd_open %.0f us, first choice %.0f us, its code %.0f us, "
         "%.1f MB more resident (medians of %d processes)\n",
         quantile(part[0], OPENS, 0.5), quantile(part[1], OPENS, 0.5),
         quantile(part[2], OPENS, 0.5), quantile(part[3], OPENS, 0.5), OPENS);
}

/* ---- Launching ---------------------------------------------------------- */

struct launching {
  dd_context *ctx;
  dd_plan *plan;
  dd_qknorm_rope_args args;
  dd_tensor tensors[6]; /* as dd_launch() takes them */
  dd_tensor x, y;
  dd_norm_args norm;
  void *buffers[6];
  double bare[2], over[4][2]; /* median, p99 per call */
};

static const char *const calls[] = {"dd_plan_launch", "dd_qknorm_rope",
                                    "dd_launch", "dd_norm"};

typedef void one_call(const struct launching *l);

static void call_typed(const struct launching *l)
{
  dd_qknorm_rope(l->ctx, &l->args, NULL);
}

static void call_plan(const struct launching *l)
{
  dd_plan_launch(l->plan, l->buffers, NULL, NULL);
}

static void call_bare(const struct launching *l)
{
  struct launch launch = l->plan->steps[0].launch;

  launch.args = l->plan->steps[0].args;
  l->plan->device->api->launch(l->plan->device, &launch, NULL);
}

static void call_tensors(const struct launching *l)
{
  static const dd_attr eps = {"eps", 1e-5};
  const dd_tensor *t = l->tensors;
  const dd_tensor *list[] = {t,     t + 1, NULL, NULL, t + 2,
                             t + 3, t + 4, NULL, t + 5};

  dd_launch(l->ctx, "qknorm_rope:bf16", list, COUNT_OF(list), &eps, 1, NULL);
}

static void call_norm(const struct launching *l)
{
  dd_norm(l->ctx, &l->norm, NULL);
}

/* A batch is timed at once: a clock costs as much as a call. */
static void time_calls(const struct launching *l, one_call *call,
                       double out[2])
{
  size_t n = CALLS / BATCH;
  double *ns = malloc(n * sizeof *ns);

  for (size_t i = 0; i < n; ++i) {
    double start = now();
    for (int j = 0; j < BATCH; ++j) call(l);
    ns[i] = (now() - start) / BATCH;
  }
  out[0] = quantile(ns, n, 0.5);
  out[1] = quantile(ns, n, 0.99);
  free(ns);
}

static void *time_all(void *launching)
{
  struct launching *l = launching;

  time_calls(l, call_bare, l->bare);
  time_calls(l, call_plan, l->over[0]);
  time_calls(l, call_typed, l->over[1]);
  time_calls(l, call_tensors, l->over[2]);
  time_calls(l, call_norm, l->over[3]);
  return NULL;
}

static void print_launching(const char *who, const struct launching *l)
{
  printf("%s  bare driver %.1f ns (p99 %.1f); over it:", who, l->bare[0],
         l->bare[1]);
  for (size_t i = 0; i < COUNT_OF(calls); ++i)
    printf("%s %s +%.1f (%.1f)", i ? "," : "", calls[i],
           l->over[i][0] - l->bare[0], l->over[i][1] - l->bare[1]);
  printf("\n");
}

static void make_tensors(struct launching *l)
{
  static const int64_t rows[] = {16, 24, 128}, width[] = {128};
  static const int64_t table[] = {16, 128}, tokens[] = {16};
  static const struct {
    int rank, code, bits;
    const int64_t *shape;
  } like[] = {{3, 4, 16, rows}, {3, 4, 16, rows}, {1, 4, 16, width},
              {1, 4, 16, width}, {2, 2, 32, table}, {1, 0, 64, tokens}};

  for (int i = 0; i < 6; ++i)
    l->tensors[i] = (dd_tensor){
        .data = l->buffers[i], .rank = like[i].rank, .lanes = 1,
        .type_code = (uint8_t)like[i].code, .type_bits = (uint8_t)like[i].bits,
        .shape = like[i].shape};
  l->x = l->y = l->tensors[0];
  l->y.data = l->buffers[1];
  l->norm = (dd_norm_args){.struct_size = sizeof l->norm, .x = &l->x,
                           .y = &l->y};
}

static void bench_launching(void)
{
  struct launching l = {0}, second;
  dd_problem p = DD_PROBLEM_INIT;
  struct device *gpu;
  pthread_t thread;

  must(cuda_device.open(0, &gpu), "the device");
  must(dd_open(NULL, &l.ctx), "dd_open");
  for (int i = 0; i < 6; ++i)
    must(gpu->api->allocate(gpu, 1 << 20, &l.buffers[i]), "memory");
  p.spelling = "qknorm_rope:bf16 tokens=16 q_heads=24 head_dim=128";
  must(dd_plan_make(l.ctx, &p, &l.plan), p.spelling);
  l.args = (dd_qknorm_rope_args){
      .struct_size = sizeof l.args, .io = DD_BF16, .tokens = 16,
      .q_heads = 24, .kv_heads = 24, .head_dim = 128, .q = l.buffers[0],
      .k = l.buffers[1], .q_weight = l.buffers[2], .k_weight = l.buffers[3],
      .cos = l.buffers[4], .positions = l.buffers[5]};
  make_tensors(&l);
  must(dd_qknorm_rope(l.ctx, &l.args, NULL), "dd_qknorm_rope");
  must(dd_norm(l.ctx, &l.norm, NULL), "dd_norm");
  time_all(&l);
  print_launching("1 thread ", &l);
  second = l;
  pthread_create(&thread, NULL, time_all, &second);
  time_all(&l);
  pthread_join(thread, NULL);
  print_launching("2 threads", &l);
}

int main(int argc, char **argv)
{
  struct large l = {.wanted = argc > 1 ? (uint32_t)atoi(argv[1]) : 10000};

  setenv("DIFFTUNE_LIBCUDA", DIFFTUNE_FAKE_CUDA, 0);
  setenv("FAKE_CUDA_COUNT_ONLY", "1", 0);
  must(specs_load(&l.specs, NULL), "specs");
  make_large(&l);
  bench_opening(&l);
  bench_launching();
  return 0;
}
