/*
 * dispatch.c - what the library costs a host: opening, and each launch.
 *
 *     cmake --build build/release --target bench_dispatch
 *     build/release/tests/bench_dispatch [PLANS [KB_OF_MEMORY KB_OF_CODE]]
 *     valgrind --tool=callgrind --toggle-collect=time_batch \
 *       build/release/tests/bench_dispatch 0     # instructions per call
 *
 * Opening: a table of PLANS (10000; 0: no table) qknorm_rope problems and some
 * hundred variants with 20 kB of code each, as a file; open it, choose for one
 * problem, read the code: all but handing it to the driver.  Each time in a
 * process of its own, as time on the CPU.
 * Launching: dd_plan_launch(), dd_qknorm_rope() and dd_launch() of one small
 * problem, and dd_norm(), each against the driver's bare cuLaunchKernelEx of
 * the same kernel with the same grid: the median of the differences round by
 * round and its 95 % interval, and the 99th percentile over the bare call's.
 * The library's own share, which a driver's noise is not in: what passes until
 * the driver is called and after it has returned, over the bare call's.
 * Without $DIFFTUNE_LIBCUDA this is the tests' driver without a GPU, whose
 * launch is a few nanoseconds: it is timed as it is, and walking through memory
 * and code in each launch, which leaves the caches as cold as a driver does
 * that has something to do.  With DIFFTUNE_LIBCUDA=libcuda.so.1 it is the
 * machine's GPU.
 */
#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __x86_64__
#include <x86intrin.h>
#endif

#include "cuda_driver.h"
#include "emit.h"
#include "internal.h"
#include "space.h"
#include "specs.h"
#include "table_write.h"

enum { OPENS = 21, CODE = 20000, A_GROUP = 20 };

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

  must(specs_load(&l->specs, NULL), "specs");
  make_large(l);
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

/* Every column is timed in every round, in an order that changes, and a call is
 * compared with the bare one of its round.  A batch is far shorter than the
 * queue of a stream (1024), which would else have the host wait for kernels,
 * and the kernels are done before the next. */
enum { ROUNDS = 4000, COLD_ROUNDS = 1000, SHARE_ROUNDS = 1000, BATCH = 32,
       STREAMS = 2 };

/* The kernel of a problem as the driver takes it, for one stream: nothing is
 * left to do but the call. */
struct bare {
  PFN_cuLaunchKernelEx_v11060 call;
  CUfunction kernel;
  CUlaunchConfig config;
  void *extra[5];
  size_t size;
  _Alignas(16) uint8_t args[OP_MAX_ARGS_SIZE];
};

struct launching {
  struct device *gpu;
  dd_context *ctx;
  dd_plan *plan;
  dd_qknorm_rope_args args;
  dd_tensor tensors[6]; /* as dd_launch() takes them */
  dd_tensor x, y;
  dd_norm_args norm;
  void *buffers[6];
  struct bare bare_rope, bare_norm;
};

typedef dd_status one_call(const struct launching *l, CUstream stream);

/* Its copy has a place and a stream of its own. */
static void bare_take(struct bare *b, CUstream stream)
{
  void *const extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, b->args,
                         CU_LAUNCH_PARAM_BUFFER_SIZE, &b->size,
                         CU_LAUNCH_PARAM_END};

  memcpy(b->extra, extra, sizeof extra);
  b->config.hStream = stream;
}

static dd_status bare_call(const struct bare *b)
{
  return b->call(&b->config, b->kernel, NULL, (void **)b->extra) ? DD_DEVICE
                                                                 : DD_OK;
}

static dd_status via_bare(const struct launching *l, CUstream stream)
{
  (void)stream; /* it has it */
  return bare_call(&l->bare_rope);
}

static dd_status via_bare_norm(const struct launching *l, CUstream stream)
{
  (void)stream;
  return bare_call(&l->bare_norm);
}

static dd_status via_plan(const struct launching *l, CUstream stream)
{
  return dd_plan_launch(l->plan, l->buffers, NULL, stream);
}

static dd_status via_typed(const struct launching *l, CUstream stream)
{
  return dd_qknorm_rope(l->ctx, &l->args, stream);
}

static dd_status via_tensors(const struct launching *l, CUstream stream)
{
  static const dd_attr eps = {"eps", 1e-5};
  const dd_tensor *t = l->tensors;
  const dd_tensor *list[] = {t,     t + 1, NULL, NULL, t + 2,
                             t + 3, t + 4, NULL, t + 5};

  return dd_launch(l->ctx, "qknorm_rope:bf16", list, COUNT_OF(list), &eps, 1,
                   stream);
}

static dd_status via_norm(const struct launching *l, CUstream stream)
{
  return dd_norm(l->ctx, &l->norm, stream);
}

/* `over`: the column that it is compared with; its own: a bare one.  The bare
 * call against itself says what the clock and the machine add. */
static const struct column {
  const char *name;
  one_call *call;
  int over;
} columns[] = {{"bare qknorm_rope", via_bare, 0},
               {"the same again", via_bare, 0},
               {"dd_plan_launch", via_plan, 0},
               {"dd_qknorm_rope", via_typed, 0},
               {"dd_launch", via_tensors, 0},
               {"bare norm", via_bare_norm, 5},
               {"dd_norm", via_norm, 5}};
enum { COLUMNS = COUNT_OF(columns) };

/* ---- Rounds ------------------------------------------------------------- */

/* Threads wait for each other before a batch and behind it, so that all that
 * is timed meets the same call of the other thread, and no wait for kernels. */
struct meeting {
  _Atomic unsigned arrived;
  unsigned count;
};

struct timer {
  struct launching l;
  struct meeting *meeting;
  bool first; /* waits for the kernels */
  int rounds;
  CUstream stream;
  double ns[COLUMNS][ROUNDS];
  double share[COLUMNS][SHARE_ROUNDS];
};

static void meet(struct meeting *m)
{
  unsigned all = (atomic_fetch_add(&m->arrived, 1) / m->count + 1) * m->count;

  while (atomic_load(&m->arrived) < all) sched_yield();
}

/* A batch is timed at once: a clock costs as much as a call. */
static double time_batch(struct timer *t, one_call *call)
{
  dd_status status = DD_OK;
  double ns;

  meet(t->meeting);
  ns = now();
  for (int i = 0; i < BATCH; ++i) status |= call(&t->l, t->stream);
  ns = now() - ns;
  must(status, "a launch");
  meet(t->meeting);
  if (t->first) must(t->l.gpu->api->wait(t->l.gpu), "the kernels");
  return ns / BATCH;
}

/* The same order on all threads. */
static void shuffle(int order[COLUMNS], uint64_t *seed)
{
  for (int i = COLUMNS - 1; i > 0; --i) {
    int j, kept = order[i];
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    j = (int)((*seed >> 33) % (uint64_t)(i + 1));
    order[i] = order[j];
    order[j] = kept;
  }
}

/* ---- The library's share ------------------------------------------------- */

#ifdef __x86_64__
/* Waits for what was begun before it: nothing of a call is hidden behind what
 * comes next, as some of it is where nobody looks. */
static uint64_t read_ticks(void)
{
  unsigned core;
  uint64_t ticks;

  _mm_lfence();
  ticks = __rdtscp(&core);
  _mm_lfence();
  return ticks;
}

static struct {
  PFN_cuLaunchKernelEx_v11060 call;
  uint64_t entered, left;
} watch;

/* In the driver's place, for the library and the bare calls. */
static CUresult watched(const CUlaunchConfig *config, CUfunction kernel,
                        void **params, void **extra)
{
  CUresult result;

  watch.entered = read_ticks();
  result = watch.call(config, kernel, params, extra);
  watch.left = read_ticks();
  return result;
}

/* The mean of the middle half of a batch. */
static double share_of_batch(struct timer *t, one_call *call)
{
  double ticks[BATCH], sum = 0;
  dd_status status = DD_OK;

  for (int i = 0; i < BATCH; ++i) {
    uint64_t before = read_ticks(), after;
    status |= call(&t->l, t->stream);
    after = read_ticks();
    ticks[i] = (double)(watch.entered - before + after - watch.left);
  }
  must(status, "a launch");
  must(t->l.gpu->api->wait(t->l.gpu), "the kernels");
  qsort(ticks, BATCH, sizeof *ticks, by_value);
  for (int i = BATCH / 4; i < BATCH * 3 / 4; ++i) sum += ticks[i];
  return sum / (BATCH / 2);
}

static double find_ticks_per_ns(void)
{
  double began = now(), end = began + 5e7;
  uint64_t ticks = read_ticks();

  while (now() < end) continue;
  return (double)(read_ticks() - ticks) / (now() - began);
}

static void time_shares(struct timer *t)
{
  double ticks_per_ns = find_ticks_per_ns();
  int order[COLUMNS];
  uint64_t seed = 1;

  watch.call = cuda.cuLaunchKernelEx_;
  cuda.cuLaunchKernelEx_ = t->l.bare_rope.call = t->l.bare_norm.call = watched;
  for (int c = 0; c < COLUMNS; ++c) order[c] = c;
  for (int r = 0; r < SHARE_ROUNDS; ++r) {
    shuffle(order, &seed);
    for (int i = 0; i < COLUMNS; ++i)
      t->share[order[i]][r] =
          share_of_batch(t, columns[order[i]].call) / ticks_per_ns;
  }
  cuda.cuLaunchKernelEx_ = t->l.bare_rope.call = t->l.bare_norm.call =
      watch.call;
}

static void print_share(struct timer *t, int c)
{
  double *bare = t->share[columns[c].over], away[SHARE_ROUNDS];

  if (columns[c].over == c) return;
  for (int r = 0; r < SHARE_ROUNDS; ++r) away[r] = t->share[c][r] - bare[r];
  printf("  %-17s %+7.1f ns\n", columns[c].name,
         quantile(away, SHARE_ROUNDS, 0.5));
}
#else
static void time_shares(struct timer *t)
{
  (void)t;
}
static void print_share(struct timer *t, int c)
{
  (void)t;
  (void)c;
}
#endif

/* ---- Threads ------------------------------------------------------------- */

/* As a host's thread: it has the context, and a stream of its own. */
static void *time_rounds(void *timer)
{
  struct timer *t = timer;
  int order[COLUMNS];
  uint64_t seed = 1;

  must(cuda_enter(t->l.gpu), "the context");
  must(CUDA(cuStreamCreate, &t->stream, CU_STREAM_DEFAULT), "a stream");
  bare_take(&t->l.bare_rope, t->stream);
  bare_take(&t->l.bare_norm, t->stream);
  for (int c = 0; c < COLUMNS; ++c) order[c] = c;
  for (int c = 0; c < COLUMNS; ++c) time_batch(t, columns[c].call);
  for (int r = 0; r < t->rounds; ++r) {
    shuffle(order, &seed);
    for (int i = 0; i < COLUMNS; ++i)
      t->ns[order[i]][r] = time_batch(t, columns[order[i]].call);
  }
  if (t->meeting->count == 1) time_shares(t);
  must(CUDA(cuStreamDestroy, t->stream), "a stream");
  return cuda_leave(DD_OK) ? NULL : timer;
}

/* Of copies, because quantile() sorts. */
static void print_column(struct timer *t, int c)
{
  double *ns = t->ns[c], *bare = t->ns[columns[c].over];
  double away[ROUNDS], tail[2][ROUNDS];
  size_t n = (size_t)t->rounds;
  double rank = 0.98 / sqrt((double)n); /* 95 %: 1.96 sqrt(n) / 2 */

  for (size_t r = 0; r < n; ++r) away[r] = ns[r] - bare[r];
  memcpy(tail[0], ns, sizeof tail[0]);
  memcpy(tail[1], bare, sizeof tail[1]);
  if (columns[c].over == c)
    printf("  %-17s %7.1f ns %20s p99 %8.1f\n", columns[c].name,
           quantile(tail[0], n, 0.5), "", quantile(tail[0], n, 0.99));
  else
    printf("  %-17s %+7.1f ns [%+7.1f, %+7.1f]  p99 %+8.1f\n",
           columns[c].name, quantile(away, n, 0.5),
           quantile(away, n, 0.5 - rank), quantile(away, n, 0.5 + rank),
           quantile(tail[0], n, 0.99) - quantile(tail[1], n, 0.99));
}

static void time_threads(const struct launching *l, unsigned count, int rounds)
{
  struct meeting meeting = {.count = count};
  struct timer *timers = calloc(count, sizeof *timers);
  pthread_t threads[STREAMS];

  for (unsigned i = 0; i < count; ++i) {
    timers[i].l = *l;
    timers[i].meeting = &meeting;
    timers[i].first = !i;
    timers[i].rounds = rounds;
    pthread_create(&threads[i], NULL, time_rounds, &timers[i]);
  }
  for (unsigned i = 0; i < count; ++i) pthread_join(threads[i], NULL);
  printf("launching, %u thread%s: %d rounds of %d calls, medians\n", count,
         count > 1 ? "s" : "", rounds, BATCH);
  for (int c = 0; c < COLUMNS; ++c) print_column(&timers[0], c);
  if (count == 1) printf("of that the library's own share\n");
  for (int c = 0; c < COLUMNS && count == 1; ++c) print_share(&timers[0], c);
  free(timers);
}

/* ---- One problem, by every door ----------------------------------------- */

static void make_tensors(struct launching *l)
{
  static const int64_t rows[] = {2, 4, 128}, width[] = {128};
  static const int64_t table[] = {2, 128}, tokens[] = {2};
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

static void make_problem(struct launching *l)
{
  dd_problem p = DD_PROBLEM_INIT;

  for (int i = 0; i < 6; ++i) {
    must(l->gpu->api->allocate(l->gpu, 1 << 16, &l->buffers[i]), "memory");
    must(l->gpu->api->fill(l->gpu, l->buffers[i], 0, 1 << 16), "memory");
  }
  p.spelling = "qknorm_rope:bf16 tokens=2 q_heads=4 head_dim=128";
  must(dd_plan_make(l->ctx, &p, &l->plan), p.spelling);
  l->args = (dd_qknorm_rope_args){
      .struct_size = sizeof l->args, .io = DD_BF16, .tokens = 2,
      .q_heads = 4, .kv_heads = 4, .head_dim = 128, .q = l->buffers[0],
      .k = l->buffers[1], .q_weight = l->buffers[2], .k_weight = l->buffers[3],
      .cos = l->buffers[4], .positions = l->buffers[5]};
  make_tensors(l);
}

/* The only kernel of the plan that the context keeps for this op. */
static const struct dd_plan *kept_plan(const struct launching *l,
                                       const char *op)
{
  const struct dd_plan *found = NULL;

  for (struct prepared *p = l->ctx->prepared; p; p = p->next) {
    if (strcmp(p->plan->op->name, op)) continue;
    if (found || p->plan->step_count != 1) must(DD_BUG, op);
    found = p->plan;
  }
  return found;
}

static void make_bare(const struct dd_plan *plan, void *const *buffers,
                      struct bare *out)
{
  const struct plan_step *s = &plan->steps[0];

  memcpy(out->args, s->args, sizeof s->args);
  for (uint32_t i = 0; i < s->pointer_count; ++i)
    memcpy(out->args + s->pointers[i].offset,
           &buffers[s->pointers[i].buffer - 1], sizeof *buffers);
  out->call = cuda.cuLaunchKernelEx_;
  out->kernel = s->launch.kernel.handle;
  out->size = s->launch.args_size;
  out->config = (CUlaunchConfig){
      .gridDimX = s->launch.grid[0], .gridDimY = s->launch.grid[1],
      .gridDimZ = s->launch.grid[2], .blockDimX = s->launch.block,
      .blockDimY = 1, .blockDimZ = 1,
      .sharedMemBytes = s->launch.shared_bytes};
}

static void make_bares(struct launching *l)
{
  const struct dd_plan *rope, *norm;

  must(via_typed(l, NULL), "dd_qknorm_rope");
  must(via_tensors(l, NULL), "dd_launch");
  must(via_norm(l, NULL), "dd_norm");
  must(l->gpu->api->wait(l->gpu), "the kernels");
  rope = kept_plan(l, "qknorm_rope");
  norm = kept_plan(l, "norm");
  if (rope->steps[0].launch.kernel.handle !=
      l->plan->steps[0].launch.kernel.handle)
    must(DD_BUG, "another kernel");
  make_bare(rope, l->buffers, &l->bare_rope);
  make_bare(norm, l->buffers, &l->bare_norm);
}

/* The tests' driver: kB of memory and of code that a launch walks through. */
static void time_cold(const struct launching *l, size_t data_kb, size_t code_kb)
{
  void *driver = dlopen(getenv("DIFFTUNE_LIBCUDA"), RTLD_NOW | RTLD_NOLOAD);
  void (*set)(size_t data_kb, size_t code_kb);

  *(void **)&set = driver ? dlsym(driver, "fake_cuda_cold") : NULL;
  if (!set) return;
  printf("cold      %zu kB of memory and %zu kB of code in each launch\n",
         data_kb, code_kb);
  set(data_kb, code_kb);
  time_threads(l, 1, COLD_ROUNDS);
}

/* Cold: what the first caches do not hold, some times as much, or what is asked
 * for. */
static void bench_launching(const char *data_kb, const char *code_kb)
{
  struct launching l = {0};

  must(cuda_device.open(0, &l.gpu), "the device");
  must(dd_open(NULL, &l.ctx), "dd_open");
  make_problem(&l);
  make_bares(&l);
  for (unsigned count = 1; count <= STREAMS; ++count)
    time_threads(&l, count, ROUNDS);
  if (data_kb && code_kb) {
    time_cold(&l, (size_t)atoi(data_kb), (size_t)atoi(code_kb));
  } else {
    time_cold(&l, 64, 64);
    time_cold(&l, 256, 256);
  }
}

int main(int argc, char **argv)
{
  struct large l = {.wanted = argc > 1 ? (uint32_t)atoi(argv[1]) : 10000};

  setenv("DIFFTUNE_LIBCUDA", DIFFTUNE_FAKE_CUDA, 0);
  setenv("FAKE_CUDA_COUNT_ONLY", "1", 0);
  if (l.wanted) bench_opening(&l);
  bench_launching(argc > 2 ? argv[2] : NULL, argc > 3 ? argv[3] : NULL);
  return 0;
}
