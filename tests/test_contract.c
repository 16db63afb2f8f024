/*
 * test_contract.c - what a launch may do: nothing but call the driver.
 *
 * The driver is the tests' own, which counts launches and nothing else.  A
 * child process prepares, forbids itself every system call but exit, counts
 * what it allocates and locks, and launches a million times.
 */
#include "test.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device.h"

#ifdef DIFFTUNE_CUDA
#include "cuda_driver.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

enum { LAUNCHES = 1000000, THREADS = 64, ROUNDS = 50 };

/* The driver is loaded by its path, so that the tests ask it by name. */
static struct {
  long (*counted)(void), (*calls)(void);
  const char *(*log)(void);
} fake;

static void find_fake(void)
{
  void *library = dlopen(DIFFTUNE_FAKE_CUDA, RTLD_NOW | RTLD_LOCAL);

  if (!library) fail_msg("%s", dlerror());
  *(void **)&fake.counted = dlsym(library, "fake_cuda_counted");
  *(void **)&fake.calls = dlsym(library, "fake_cuda_calls");
  *(void **)&fake.log = dlsym(library, "fake_cuda_log");
}

/* ---- Counting --------------------------------------------------------- */

static atomic_long allocations, locks;

#ifndef SANITIZED
extern void *__libc_malloc(size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_calloc(size_t count, size_t size);
void *malloc(size_t size);
void *realloc(void *block, size_t size);
void *calloc(size_t count, size_t size);

void *malloc(size_t size)
{
  allocations++;
  return __libc_malloc(size);
}

void *realloc(void *block, size_t size)
{
  allocations++;
  return __libc_realloc(block, size);
}

void *calloc(size_t count, size_t size)
{
  allocations++;
  return __libc_calloc(count, size);
}

int pthread_mutex_lock(pthread_mutex_t *mutex)
{
  static int (*real)(pthread_mutex_t *);

  locks++;
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "pthread_mutex_lock");
  return real(mutex);
}
#endif

/* From here on, this process may only end. */
static int forbid_system_calls(void)
{
  struct sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)};
  struct sock_fprog program = {COUNT_OF(rules), rules};

  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

/* ---- A host ------------------------------------------------------------ */

#define SPELLING "qknorm_rope:bf16 tokens=37 q_heads=4 kv_heads=4 head_dim=128"

struct host {
  struct device *gpu;
  dd_context *ctx;
  dd_plan *plan;
  void *buffers[6];
  dd_qknorm_rope_args args;
};

static _Alignas(64) char memory[6][64]; /* no kernel runs: nobody looks */

static void host_open(struct host *h)
{
  dd_problem p = DD_PROBLEM_INIT;

  memset(h, 0, sizeof *h);
  assert_ok(cuda_device.open(0, &h->gpu));
  assert_ok(dd_open(NULL, &h->ctx));
  p.spelling = SPELLING;
  assert_ok(dd_plan_make(h->ctx, &p, &h->plan));
  for (int i = 0; i < 6; ++i) h->buffers[i] = memory[i];
  h->args = (dd_qknorm_rope_args){
      .struct_size = sizeof h->args, .io = DD_BF16, .tokens = 37,
      .q_heads = 4, .kv_heads = 4, .head_dim = 128, .q = memory[0],
      .k = memory[1], .q_weight = memory[2], .k_weight = memory[3],
      .cos = memory[4], .positions = memory[5]};
}

static void host_close(struct host *h)
{
  dd_plan_free(h->plan);
  dd_close(h->ctx);
  h->gpu->api->close(h->gpu);
}

/* The same problem, as a framework's tensors. */
static dd_status launch_tensors(struct host *h)
{
  static const int64_t rows[] = {37, 4, 128}, width[] = {128};
  static const int64_t table[] = {37, 128}, tokens[] = {37};
  static const dd_attr eps = {"eps", 1e-5};
  dd_tensor q = {h->buffers[0], 2, 0, 3, 4, 16, 1, rows, NULL, 0}, k = q;
  dd_tensor q_weight = {h->buffers[2], 2, 0, 1, 4, 16, 1, width, NULL, 0};
  dd_tensor k_weight = q_weight;
  dd_tensor cos = {h->buffers[4], 2, 0, 2, 2, 32, 1, table, NULL, 0};
  dd_tensor positions = {h->buffers[5], 2, 0, 1, 0, 64, 1, tokens, NULL, 0};
  const dd_tensor *list[] = {&q,        &k,   NULL, NULL,      &q_weight,
                             &k_weight, &cos, NULL, &positions};

  k.data = h->buffers[1];
  k_weight.data = h->buffers[3];
  return dd_launch(h->ctx, "qknorm_rope:bf16", list, COUNT_OF(list), &eps, 1,
                   NULL);
}

static void prepare(struct host *h)
{
  const char *spelling = SPELLING;
  size_t ready;

  assert_ok(dd_prepare(h->ctx, &spelling, 1, &ready));
  assert_int_equal(ready, 1);
}

/* ---- Nothing but the driver -------------------------------------------- */

enum { TOO_FEW = 1, ALLOCATED, LOCKED, FAILED, NO_FILTER, NOT_COUNTED, ASKED };

static int launch_all(struct host *h)
{
  long before_allocations, before_locks, before = fake.counted();
  long asked = fake.calls(); /* of anything but a launch */

  before_allocations = allocations;
  before_locks = locks;
  if (!before_allocations || !before_locks) return NOT_COUNTED;
  if (forbid_system_calls()) return NO_FILTER;
  for (int i = 0; i < LAUNCHES / 2; ++i)
    if (i % 2 ? dd_plan_launch(h->plan, h->buffers, NULL, NULL)
              : launch_tensors(h))
      return FAILED;
  for (int i = 0; i < LAUNCHES / 2; ++i)
    if (dd_qknorm_rope(h->ctx, &h->args, NULL)) return FAILED;
  if (fake.counted() - before != LAUNCHES) return TOO_FEW;
  if (fake.calls() != asked) return ASKED;
  if (allocations != before_allocations) return ALLOCATED;
  return locks != before_locks ? LOCKED : 0;
}

static int in_child(int (*body)(struct host *h), bool prepared)
{
  pid_t child = fork();
  int how;

  if (!child) {
    struct host h;
    setenv("FAKE_CUDA_COUNT_ONLY", "1", 1);
    host_open(&h);
    if (prepared) prepare(&h);
    if (prepared && (launch_tensors(&h) ||
                     dd_qknorm_rope(h.ctx, &h.args, NULL)))
      _exit(FAILED);
    _exit(body(&h)); /* where the thread sanitizer says what it found */
  }
  assert_int_equal(waitpid(child, &how, 0), child);
  return WIFEXITED(how) ? WEXITSTATUS(how) : 1000 + WTERMSIG(how);
}

static int write_something(struct host *h)
{
  (void)h;
  if (forbid_system_calls()) return NO_FILTER;
  return write(2, "", 0) != 0;
}

static void test_a_million_launches(void **state)
{
  (void)state;
#ifdef SANITIZED
  skip(); /* its own calls would be counted */
#endif
  assert_int_equal(in_child(write_something, true), 1000 + 31); /* SIGSYS */
  assert_int_equal(in_child(launch_all, true), 0);
}

static dd_status launch_plan(struct host *h)
{
  return dd_plan_launch(h->plan, h->buffers, NULL, NULL);
}

static dd_status launch_typed(struct host *h)
{
  return dd_qknorm_rope(h->ctx, &h->args, NULL);
}

static dd_status launch_op(struct host *h)
{
  static const int64_t rows[] = {1, 8, 64};
  dd_tensor x = {h->buffers[0], 2, 0, 3, 4, 16, 1, rows, NULL, 0}, y = x;
  dd_norm_args args = {.struct_size = sizeof args, .x = &x, .y = &y};

  y.data = h->buffers[1];
  return dd_norm(h->ctx, &args, NULL);
}

/* By every door: whatever else a launch asked of the driver, such as which
 * context is current, would cost as much again. */
static void test_one_call_each(void **state)
{
  static dd_status (*const doors[])(struct host *h) = {
      launch_plan, launch_typed, launch_tensors, launch_op};
  struct host h;

  (void)state;
  host_open(&h);
  for (size_t i = 0; i < COUNT_OF(doors); ++i) {
    size_t before;
    assert_ok(doors[i](&h));
    before = strlen(fake.log());
    for (int again = 0; again < 2; ++again) assert_ok(doors[i](&h));
    assert_string_equal(fake.log() + before,
                        "cuLaunchKernelEx cuLaunchKernelEx ");
  }
  host_close(&h);
}

/* Calls that differ only in what no hash looks at: a weight, strides, a pointer
 * that is not aligned. */
static dd_status launch_alike(struct host *h, int which)
{
  static const int64_t rows[] = {1, 8, 64}, far[] = {1024, 128, 1};
  static const int64_t width[] = {64};
  dd_tensor x = {h->buffers[0], 2, 0, 3, 4, 16, 1, rows, NULL, 0}, y = x;
  dd_tensor weight = {h->buffers[2], 2, 0, 1, 4, 16, 1, width, NULL, 0};
  dd_norm_args args = {.struct_size = sizeof args, .x = &x, .y = &y};

  y.data = h->buffers[1];
  if (which == 1) args.weight = &weight;
  if (which == 2) x.strides = far;
  if (which == 3) x.byte_offset = 8;
  return dd_norm(h->ctx, &args, NULL);
}

static void test_alike(void **state)
{
  static const char *const lines[] = {
      "hidden=64 # 3 launches", "weight=bf16 # 3 launches",
      "x_stride=1024,128 # 3 launches", "align=8 # 3 launches"};
  struct host h;
  char text[4096];

  (void)state;
  host_open(&h);
  for (int i = 0; i < 12; ++i) assert_ok(launch_alike(&h, i % 4));
  assert_ok(dd_trace(h.ctx, text, sizeof text, NULL));
  for (size_t i = 0; i < COUNT_OF(lines); ++i)
    if (!strstr(text, lines[i])) fail_msg("no '%s' in:\n%s", lines[i], text);
  host_close(&h);
}

/* A rank is checked before a size is read, also where the key is known and the
 * bits of a wrong rank are those that the key has for other things. */
static void test_ranks(void **state)
{
  static const int64_t rows[] = {1, 8, 64};
  static const int32_t ranks[] = {3 | 1 << 27, 3 | 1 << 28, 3 | 1 << 29,
                                  3 | 1 << 30, -1, 5, 1 << 28};
  struct host h;

  (void)state;
  host_open(&h);
  assert_ok(launch_op(&h));
  for (size_t i = 0; i < 2 * COUNT_OF(ranks); ++i) {
    dd_tensor x = {h.buffers[0], 2, 0, 3, 4, 16, 1, rows, NULL, 0}, y = x;
    dd_norm_args args = {.struct_size = sizeof args, .x = &x, .y = &y};
    y.data = h.buffers[1];
    (i % 2 ? &x : &y)->rank = ranks[i / 2];
    assert_fails(DD_BAD_ARGUMENT, "rank", dd_norm(h.ctx, &args, NULL));
  }
  host_close(&h);
}

static CUresult refuse_launch(const CUlaunchConfig *config, CUfunction kernel,
                              void **params, void **extra)
{
  (void)config;
  (void)kernel;
  (void)params;
  (void)extra;
  return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
}

/* A launch is counted before it is tried. */
static void test_only_what_was_launched_counts(void **state)
{
  static dd_status (*const doors[])(struct host *h) = {launch_typed, launch_op};
  const PFN_cuLaunchKernelEx_v11060 real = cuda.cuLaunchKernelEx_;
  dd_counters counters = DD_COUNTERS_INIT;
  struct host h;
  char text[1024];

  (void)state;
  host_open(&h);
  for (size_t i = 0; i < COUNT_OF(doors); ++i) {
    assert_ok(doors[i](&h));
    cuda.cuLaunchKernelEx_ = refuse_launch;
    for (int k = 0; k < 3; ++k)
      assert_fails(DD_DEVICE, "cuLaunchKernelEx", doors[i](&h));
    cuda.cuLaunchKernelEx_ = real;
    assert_ok(doors[i](&h));
  }
  assert_ok(dd_trace(h.ctx, text, sizeof text, NULL));
  assert_non_null(strstr(text, "head_dim=128 # 2 launches, "));
  assert_non_null(strstr(text, "hidden=64 # 2 launches, "));
  assert_ok(dd_count(h.ctx, &counters, 1));
  assert_ok(dd_trace(h.ctx, text, sizeof text, NULL));
  assert_non_null(strstr(text, "head_dim=128 # 0 launches, "));
  host_close(&h);
}

/* ---- Captures ----------------------------------------------------------- */

static void test_capture(void **state)
{
  size_t before;
  struct host h;
  CUstream stream;
  CUgraph graph;

  (void)state;
  host_open(&h);
  assert_int_equal(cuda.cuStreamCreate_(&stream, 0), 0);
  assert_int_equal(cuda.cuStreamBeginCapture_(stream,
                                              CU_STREAM_CAPTURE_MODE_GLOBAL),
                   0);
  h.args.q_weight = memory[2] + 16; /* other pointers, the same problem */
  h.args.tokens = 36;
  before = strlen(fake.log());
  assert_fails(DD_NOT_PREPARED, "tokens=36",
               dd_qknorm_rope(h.ctx, &h.args, stream));
  assert_null(strstr(fake.log() + before, "cuModuleLoadData"));
  assert_null(strstr(fake.log() + before, "cuLaunchKernelEx"));
  h.args.tokens = 37;
  prepare(&h); /* as another thread might: what dd_plan_make() did not keep */
  assert_ok(dd_qknorm_rope(h.ctx, &h.args, stream));
  assert_int_equal(cuda.cuStreamEndCapture_(stream, &graph), 0);
  assert_int_equal(cuda.cuGraphDestroy_(graph), 0);
  assert_int_equal(cuda.cuStreamDestroy_(stream), 0);
  h.args.tokens = 36;
  assert_ok(dd_qknorm_rope(h.ctx, &h.args, NULL));
  host_close(&h);
}

/* Launches that a graph took are told from those that ran. */
static void test_trace_of_captures(void **state)
{
  dd_open_options o = DD_OPEN_OPTIONS_INIT;
  struct host h;
  CUstream stream;
  CUgraph graph;
  char text[512];

  (void)state;
  host_open(&h);
  dd_plan_free(h.plan);
  h.plan = NULL;
  dd_close(h.ctx);
  o.flags = DD_OPEN_TRACE;
  assert_ok(dd_open(&o, &h.ctx));
  assert_int_equal(cuda.cuStreamCreate_(&stream, 0), 0);
  for (int i = 0; i < 2; ++i) assert_ok(dd_qknorm_rope(h.ctx, &h.args, stream));
  assert_int_equal(cuda.cuStreamBeginCapture_(stream,
                                              CU_STREAM_CAPTURE_MODE_GLOBAL),
                   0);
  for (int i = 0; i < 3; ++i) assert_ok(dd_qknorm_rope(h.ctx, &h.args, stream));
  h.args.tokens = 36;
  assert_fails(DD_NOT_PREPARED, "tokens=36",
               dd_qknorm_rope(h.ctx, &h.args, stream));
  assert_int_equal(cuda.cuStreamEndCapture_(stream, &graph), 0);
  assert_int_equal(cuda.cuGraphDestroy_(graph), 0);
  assert_int_equal(cuda.cuStreamDestroy_(stream), 0);
  assert_ok(dd_trace(h.ctx, text, sizeof text, NULL));
  assert_non_null(strstr(text, "tokens=37 q_heads=4 head_dim=128 # 5 launches, "
                               "3 captured, default\n"));
  assert_non_null(strstr(text, "tokens=36 q_heads=4 head_dim=128 # 0 launches, "
                               "0 captured, 1 refused, no plan\n"));
  host_close(&h);
}

static void test_prepare_refusals(void **state)
{
  const char *list[] = {SPELLING, "qknorm_rope:bf16 tokens=1", NULL};
  size_t ready = 9;
  struct host h;

  (void)state;
  host_open(&h);
  assert_fails(DD_BAD_ARGUMENT, "no context",
               dd_prepare(NULL, list, 1, &ready));
  assert_int_equal(ready, 0);
  assert_fails(DD_BAD_ARGUMENT, "no list", dd_prepare(h.ctx, NULL, 1, NULL));
  assert_fails(DD_BAD_ARGUMENT, "needs q_heads",
               dd_prepare(h.ctx, list, 3, &ready));
  assert_int_equal(ready, 1);
  assert_fails(DD_BAD_ARGUMENT, "spelling 0 is NULL",
               dd_prepare(h.ctx, list + 2, 1, &ready));
  assert_ok(dd_prepare(h.ctx, list, 0, &ready));
  host_close(&h);
}

/* ---- Forks -------------------------------------------------------------- */

/* Every call with a status on a context or a plan, for test_fork_list() each
 * by its name in the header; those of DD_OP_MAP are listed there.  `all`: with
 * all that it needs, or with nothing. */
#define ON_PARENTS(X)                                                          \
  X(dd_plan_make, h->ctx, all ? &p : NULL, &plan)                              \
  X(dd_plan_launch, h->plan, all ? h->buffers : NULL, NULL, NULL)              \
  X(dd_prepare, h->ctx, all ? &spelling : NULL, 1, NULL)                       \
  X(dd_explain, h->ctx, all ? &p : NULL, text, sizeof text, NULL)              \
  X(dd_pin, h->ctx, all ? SPELLING : NULL, NULL)                               \
  X(dd_count, h->ctx, all ? &counters : NULL, 0)                               \
  X(dd_trace, h->ctx, text, sizeof text, NULL)                                 \
  X(dd_digest, h->ctx, all ? text : NULL)                                      \
  X(dd_call_launch, h->ctx, all ? &call : NULL, NULL)                          \
  X(dd_launch, h->ctx, all ? call.op : NULL, NULL, 0, NULL, !all, NULL)        \
  X(dd_qknorm_rope, h->ctx, all ? &h->args : NULL, NULL)

#define MUST_REFUSE(name, ...)                                                 \
  if (name(__VA_ARGS__) != DD_FORKED || !strstr(dd_last_error(), "fork"))      \
    return #name;
#define OP_MUST_REFUSE(op) MUST_REFUSE(dd_##op, h->ctx, NULL, NULL)

/* The first that does not say DD_FORKED; NULL: all do. */
static const char *find_usable(struct host *h, bool all)
{
  const char *spelling = SPELLING;
  dd_counters counters = DD_COUNTERS_INIT;
  dd_problem p = DD_PROBLEM_INIT;
  dd_call call = DD_CALL_INIT;
  dd_plan *plan;
  char text[4096];

  p.spelling = SPELLING;
  call.op = "norm:bf16";
  ON_PARENTS(MUST_REFUSE)
  DD_OP_MAP(OP_MUST_REFUSE)
  return NULL;
}

static int use_all(struct host *h)
{
  const char *usable = find_usable(h, true);

  if (!usable) usable = find_usable(h, false);
  if (usable) fprintf(stderr, "%s does not say DD_FORKED\n", usable);
  dd_plan_free(h->plan);
  dd_close(h->ctx);
  return usable != NULL;
}

static bool is_listed(const char *name, size_t length)
{
#define LISTED(listed, ...)                                                    \
  if (strlen(#listed) == length && !strncmp(#listed, name, length)) return true;
  ON_PARENTS(LISTED)
  return length == 7 && !strncmp(name, "dd_##op", length);
}

/* A call that the header declares on a context or a plan is one of them. */
static void test_fork_list(void **state)
{
  static const char result[] = "DD_API dd_status ";
  struct bytes header = BYTES_INIT;
  int found = 0;

  (void)state;
  assert_ok(file_read(DIFFTUNE_SOURCE_DIR "/runtime/include/diffdispatch.h",
                      1 << 20, &header));
  for (const char *at = bytes_string(&header); (at = strstr(at, result));) {
    size_t length = strcspn(at += sizeof result - 1, "(");
    const char *taken = at + length + 1;
    if (strncmp(taken, "dd_context *ctx", 15) &&
        strncmp(taken, "const dd_plan *plan", 19)) continue;
    if (!is_listed(at, length))
      fail_msg("ON_PARENTS() lacks %.*s", (int)length, at);
    found++;
  }
#define COUNT(name, ...) +1
  assert_int_equal(found, 1 ON_PARENTS(COUNT)); /* 1: the ops' */
  bytes_release(&header);
}

static void test_fork(void **state)
{
  struct host h;
  long before;
  pid_t child;
  int how;

  (void)state;
  host_open(&h);
  assert_ok(dd_qknorm_rope(h.ctx, &h.args, NULL));
  before = fake.calls();
  child = fork();
  if (!child) {
    how = use_all(&h);
    _exit(how ? how : fake.calls() != before ? 2 : 0);
  }
  assert_int_equal(waitpid(child, &how, 0), child);
  assert_true(WIFEXITED(how));
  assert_int_equal(WEXITSTATUS(how), 0);
  assert_ok(dd_plan_launch(h.plan, h.buffers, NULL, NULL));
  host_close(&h);
}

/* ---- Many threads at first ---------------------------------------------- */

/* Four shapes of the typed entry point, of which dd_launch() and dd_prepare()
 * share one, and one of an op's own entry point. */
enum { SHAPES = 4, DOORS = 6, LAUNCHED = SHAPES + 2 };

struct many {
  struct host host;
  pthread_barrier_t start;
  atomic_int failures, next;
};

static bool by_type(struct many *m)
{
  dd_qknorm_rope_args args = m->host.args;
  bool failed = false;

  for (int i = 0; i < SHAPES; ++i) {
    args.tokens = 37 + i;
    failed |= dd_qknorm_rope(m->host.ctx, &args, NULL) != DD_OK;
  }
  return failed;
}

static bool by_tensors(struct many *m)
{
  return launch_tensors(&m->host) != DD_OK;
}

static bool by_op(struct many *m)
{
  return launch_op(&m->host) != DD_OK;
}

static bool by_list(struct many *m)
{
  const char *spelling = SPELLING;

  return dd_prepare(m->host.ctx, &spelling, 1, NULL) != DD_OK;
}

static bool by_plan(struct many *m)
{
  dd_problem p = DD_PROBLEM_INIT;
  dd_plan *plan;
  bool failed;

  p.spelling = SPELLING;
  if (dd_plan_make(m->host.ctx, &p, &plan)) return true;
  failed = dd_plan_launch(plan, m->host.buffers, NULL, NULL) != DD_OK;
  dd_plan_free(plan);
  return failed;
}

/* Who watches meets what others are adding. */
static bool by_watching(struct many *m)
{
  dd_counters c = DD_COUNTERS_INIT;
  dd_problem p = DD_PROBLEM_INIT;
  char text[4096];

  p.spelling = SPELLING;
  return dd_trace(m->host.ctx, text, sizeof text, NULL) ||
         dd_count(m->host.ctx, &c, 0) ||
         dd_explain(m->host.ctx, &p, text, sizeof text, NULL);
}

/* Each thread begins at another door. */
static void *first_use(void *many)
{
  static bool (*const doors[DOORS])(struct many *m) = {
      by_type, by_tensors, by_op, by_list, by_plan, by_watching};
  struct many *m = many;
  int first = m->next++;

  pthread_barrier_wait(&m->start);
  for (int i = 0; i < DOORS; ++i) m->failures += doors[(first + i) % DOORS](m);
  return NULL;
}

/* Every problem is kept once, and no launch of it is lost. */
static void check_trace(dd_context *ctx)
{
  char text[4096];
  int lines = 0;
  long launches = 0;

  assert_ok(dd_trace(ctx, text, sizeof text, NULL));
  for (const char *at = text; (at = strstr(at, " # ")); ++lines)
    launches += strtol(at += 3, NULL, 10);
  assert_int_equal(lines, SHAPES + 1);
  assert_int_equal(launches, (long)THREADS * LAUNCHED);
}

static void race_once(void)
{
  pthread_t threads[THREADS];
  struct many m = {.failures = 0};

  host_open(&m.host);
  pthread_barrier_init(&m.start, NULL, THREADS);
  for (int i = 0; i < THREADS; ++i)
    assert_int_equal(pthread_create(&threads[i], NULL, first_use, &m), 0);
  for (int i = 0; i < THREADS; ++i) pthread_join(threads[i], NULL);
  assert_int_equal(m.failures, 0);
  check_trace(m.host.ctx);
  pthread_barrier_destroy(&m.start);
  host_close(&m.host);
}

static int race_child(struct host *h)
{
  (void)h;
  for (int i = 0; i < ROUNDS; ++i) race_once();
  return 0;
}

/* In a child: there the driver counts launches without a lock of its own. */
static void test_first_use_by_many(void **state)
{
  (void)state;
  assert_int_equal(in_child(race_child, false), 0);
}

/* ---- Memory -------------------------------------------------------------- */

static void *by_user(void *user, void *block, size_t old_size, size_t new_size)
{
  return test_resize(user, block, old_size, new_size);
}

/* Every door, made and then found; the second time takes no memory. */
static dd_status use_doors(struct many *m, const struct test_memory *memory_)
{
  dd_context *ctx = m->host.ctx;
  const char *spelling = SPELLING;
  long before;

  TRY(dd_prepare(ctx, &spelling, 1, NULL));
  TRY(dd_qknorm_rope(ctx, &m->host.args, NULL));
  TRY(launch_tensors(&m->host));
  if (by_op(m)) return DD_NO_MEMORY;
  before = memory_->calls;
  TRY(dd_qknorm_rope(ctx, &m->host.args, NULL));
  TRY(launch_tensors(&m->host));
  if (by_op(m)) return DD_NO_MEMORY;
  assert_int_equal(memory_->calls, before);
  return dd_trace(ctx, NULL, 0, NULL);
}

static dd_status whole_life(struct many *m, struct test_memory *memory_)
{
  dd_open_options o = DD_OPEN_OPTIONS_INIT;
  dd_status status;

  o.allocate = by_user;
  o.user = memory_;
  TRY(dd_open(&o, &m->host.ctx));
  status = use_doors(m, memory_);
  dd_close(m->host.ctx);
  return status;
}

enum { MANY_SHAPES = 300 }; /* more than a context has quick places */

static void launch_shapes(dd_context *ctx, dd_qknorm_rope_args args)
{
  for (args.tokens = 1; args.tokens <= MANY_SHAPES; ++args.tokens)
    assert_ok(dd_qknorm_rope(ctx, &args, NULL));
}

/* Each is found again, wherever it is kept. */
static void test_many_shapes(void **state)
{
  dd_open_options o = DD_OPEN_OPTIONS_INIT;
  static char text[MANY_SHAPES * 100];
  struct test_memory memory_;
  struct host h;
  dd_context *ctx;
  int lines = 0;
  long before;

  (void)state;
  host_open(&h);
  test_memory_init(&memory_);
  o.allocate = by_user;
  o.user = &memory_;
  assert_ok(dd_open(&o, &ctx));
  launch_shapes(ctx, h.args);
  before = memory_.calls;
  launch_shapes(ctx, h.args);
  assert_int_equal(memory_.calls, before);
  assert_ok(dd_trace(ctx, text, sizeof text, NULL));
  for (const char *at = text; (at = strstr(at, " # 2 launches")); ++at) ++lines;
  assert_int_equal(lines, MANY_SHAPES);
  dd_close(ctx);
  assert_int_equal(memory_.live, 0);
  host_close(&h);
}

/* Every allocation fails once, without a table: the call fails with a sentence,
 * and nothing is left behind.  (With one: tests/test_runtime.c.) */
static void test_out_of_memory(void **state)
{
  struct allocator kept = default_allocator;
  struct test_memory memory_;
  struct many m = {.failures = 0};
  dd_context *first;
  dd_status status;
  long n = 1, failures = 0;

  (void)state;
  host_open(&m.host);
  first = m.host.ctx;
  test_memory_init(&memory_);
  do {
    memory_.calls = 0;
    memory_.fail_at = n;
    default_allocator = memory_.allocator;
    status = whole_life(&m, &memory_);
    default_allocator = kept;
    if (memory_.live) fail_msg("call %ld: %zu bytes", n, memory_.live);
    if (status && !strstr(dd_last_error(), "memory"))
      fail_msg("call %ld: %s", n, dd_last_error());
    failures += status != DD_OK;
  } while (memory_.calls >= n++);
  assert_ok(status);
  assert_true(failures > 30);
  m.host.ctx = first;
  host_close(&m.host);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_million_launches),
      cmocka_unit_test(test_first_use_by_many),
      cmocka_unit_test(test_one_call_each),
      cmocka_unit_test(test_alike),
      cmocka_unit_test(test_ranks),
      cmocka_unit_test(test_only_what_was_launched_counts),
      cmocka_unit_test(test_capture),
      cmocka_unit_test(test_trace_of_captures),
      cmocka_unit_test(test_prepare_refusals),
      cmocka_unit_test(test_fork),
      cmocka_unit_test(test_fork_list),
      cmocka_unit_test(test_out_of_memory),
      cmocka_unit_test(test_many_shapes),
  };

  setenv("DIFFTUNE_LIBCUDA", DIFFTUNE_FAKE_CUDA, 1);
  find_fake();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
int main(void)
{
  return 0; /* no CUDA headers: nothing to launch on */
}
#endif
