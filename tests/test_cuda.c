/*
 * test_cuda.c - the CUDA device on the fake driver (tests/fake_cuda).
 *
 * The driver is loaded once per process, so what depends on which one there is
 * runs in a child: this program again, with "list" as its argument.
 */
#include "test.h"

#include <dlfcn.h>
#include <elf.h>
#include <math.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device.h"
#include "fake_cuda/fake_cuda.h"

static const struct device_api *const api = &cuda_device;

#ifndef DIFFTUNE_CUDA

static void test_absent(void **state)
{
  struct device *d;
  size_t count;
  (void)state;

  assert_fails(DD_NO_DEVICE, "without the CUDA headers",
               api->list(NULL, 0, &count));
  assert_fails(DD_NO_DEVICE, "without the CUDA headers", api->open(0, &d));
  assert_fails(DD_NO_DEVICE, "without the CUDA headers", api->attach(&d));
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_absent)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

/* ---- The fake driver's other side ------------------------------------ */

static struct {
  void (*reset)(long fail_at, int error);
  long (*calls)(void);
  const char *(*failed)(void);
  long (*live)(void);
  long (*depth)(void);
  size_t (*launch_count)(void);
  const struct fake_launch *(*launch)(size_t index);
  const char *(*log)(void);
  void (*narrow)(int device, int sms);
} fake;

static void fake_find(void)
{
  void *library = dlopen(DIFFTUNE_FAKE_CUDA, RTLD_NOW | RTLD_LOCAL);

  assert_non_null(library);
#define FIND(name)                                                             \
  *(void **)&fake.name = dlsym(library, "fake_cuda_" #name);                   \
  assert_non_null(fake.name)
  FIND(reset);
  FIND(calls);
  FIND(failed);
  FIND(live);
  FIND(depth);
  FIND(launch_count);
  FIND(launch);
  FIND(log);
  FIND(narrow);
#undef FIND
}

/* The least that passes for a cubin: a header and one empty section. */
struct image {
  Elf64_Ehdr head;
  Elf64_Shdr sections[2];
};
static const struct image image = {
    .head = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
                         ELFDATA2LSB, EV_CURRENT},
             .e_machine = 190,
             .e_shoff = offsetof(struct image, sections),
             .e_shentsize = sizeof(Elf64_Shdr),
             .e_shnum = 2,
             .e_shstrndx = 1},
    .sections = {{.sh_type = SHT_NULL}, {.sh_type = SHT_STRTAB}},
};

/* ---- Which driver there is ------------------------------------------- */

/* What this program prints as a child: each device, or the sentence. */
static int print_list(void)
{
  struct device_info infos[8];
  size_t count;
  dd_status status = api->list(infos, COUNT_OF(infos), &count);

  if (status) printf("%s: %s\n", dd_status_name(status), dd_last_error());
  for (size_t i = 0; i < count; i++)
    printf("%d %s sm_%d %d\n", infos[i].index, infos[i].name, infos[i].arch,
           infos[i].sms);
  return 0;
}

static void child_list(const char *environment, char *out, size_t size)
{
  char self[2048] = "", command[4096];
  FILE *f;
  size_t n;

  assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
  snprintf(command, sizeof command,
           "env -u DIFFTUNE_LIBCUDA -u FAKE_CUDA_DEVICES %s '%s' list",
           environment, self);
  f = popen(command, "r");
  assert_non_null(f);
  n = fread(out, 1, size - 1, f);
  out[n] = 0;
  assert_int_equal(pclose(f), 0);
}

static void expect_list(const char *environment, const char *expected)
{
  char out[2048];

  child_list(environment, out, sizeof out);
  assert_string_equal(out, expected);
}

static void test_no_driver(void **state)
{
  (void)state;
  expect_list("DIFFTUNE_LIBCUDA=/nonexistent",
              "DD_NO_DEVICE: no NVIDIA driver: /nonexistent cannot be "
              "loaded\n");
}

static void test_stub(void **state)
{
  const char *stub = "/usr/local/cuda/lib64/stubs/libcuda.so";
  char environment[256], out[2048];
  (void)state;

  if (access(stub, R_OK)) {
    print_message("skipped: no %s\n", stub);
    skip();
  }
  snprintf(environment, sizeof environment, "DIFFTUNE_LIBCUDA=%s", stub);
  child_list(environment, out, sizeof out);
  if (!strstr(out, "is the CUDA toolkit's stub")) fail_msg("%s", out);
}

#define FAKE "DIFFTUNE_LIBCUDA='" DIFFTUNE_FAKE_CUDA "' "

static void test_devices_of_the_machine(void **state)
{
  (void)state;
  expect_list(FAKE "FAKE_CUDA_DEVICES='NVIDIA H200:90:132,NVIDIA A100:80:108'",
              "0 NVIDIA H200 sm_90 132\n1 NVIDIA A100 sm_80 108\n");
  expect_list(FAKE "FAKE_CUDA_DEVICES=",
              "DD_NO_DEVICE: cuInit: CUDA_ERROR_NO_DEVICE (no CUDA-capable "
              "device is detected)\n");
  expect_list(FAKE "FAKE_CUDA_FAIL=1:803",
              "DD_NO_DEVICE: cuInit: CUDA error 803\n");
}

/* By its soname, as the real one is found. */
static void test_found_by_soname(void **state)
{
  char folder[2048], environment[4096];
  (void)state;

  snprintf(folder, sizeof folder, "%s", DIFFTUNE_FAKE_CUDA);
  *strrchr(folder, '/') = 0;
  snprintf(environment, sizeof environment, "LD_LIBRARY_PATH='%s'", folder);
  expect_list(environment, "0 NVIDIA H200 sm_90 132\n");
}

/* By the names of its symbols, where cuGetProcAddress knows nothing. */
static void test_found_by_symbols(void **state)
{
  (void)state;
  expect_list(FAKE "FAKE_CUDA_OLD=1", "0 NVIDIA H200 sm_90 132\n");
}

/* A context does not survive fork(): say so instead of failing oddly. */
static void test_forked_child(void **state)
{
  struct device_info info;
  size_t count;
  int status;
  pid_t child;
  (void)state;

  assert_ok(api->list(&info, 1, &count));
  child = fork();
  if (!child)
    _exit(api->list(&info, 1, &count) == DD_NO_DEVICE &&
                  strstr(dd_last_error(), "before this process was forked")
              ? 0
              : 1);
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
}

/* ---- Devices --------------------------------------------------------- */

static void test_list_and_info(void **state)
{
  struct device_info infos[2];
  struct device *d;
  size_t count;
  (void)state;

  memset(infos, 0x7f, sizeof infos);
  assert_ok(api->list(infos, 1, &count));
  assert_int_equal(count, 2);
  assert_int_equal(infos[1].arch, 0x7f7f7f7f); /* past the capacity */
  assert_ok(api->open(1, &d));
  assert_ptr_equal(d->api, api);
  assert_string_equal(d->info.kind, "cuda");
  assert_string_equal(d->info.name, "NVIDIA A100");
  assert_string_equal(d->info.uuid, "GPU-a0a1a2a3-a4a5-a6a7-a8a9-aaabacadae01");
  assert_int_equal(strncmp(d->info.driver, "13.0", 4), 0);
  assert_int_equal(d->info.index, 1);
  assert_int_equal(d->info.arch, 80);
  assert_int_equal(d->info.sms, 108);
  assert_int_equal(d->info.l2_bytes, 60 << 20);
  assert_int_equal(d->info.memory_bytes, (int64_t)2 << 30);
  api->close(d);
  assert_int_equal(fake.live(), 0);
}

static void test_open_refuses(void **state)
{
  struct device *d = (void *)1;
  (void)state;

  assert_fails(DD_NO_DEVICE, "index 7; 2 visible", api->open(7, &d));
  assert_null(d);
  assert_fails(DD_NO_DEVICE, "index -1", api->open(-1, &d));
}

static void test_attach(void **state)
{
  struct device *ours, *d = (void *)1;
  (void)state;

  assert_fails(DD_NO_DEVICE, "cudaFree(0)", api->attach(&d));
  assert_null(d);
  assert_ok(api->open(1, &ours));
  assert_ok(api->attach(&d));
  assert_int_equal(d->info.index, 1);
  assert_int_equal(d->info.sms, 108);
  assert_int_equal(fake.live(), 1); /* the context that open() retained */
  api->close(d);
  fake.narrow(1, 36); /* a host that made its context of some of the SMs */
  assert_ok(api->attach(&d));
  assert_int_equal(d->info.sms, 36);
  api->close(d);
  assert_int_equal(fake.live(), 1);
  api->close(ours);
  assert_int_equal(fake.live(), 0);
  assert_fails(DD_NO_DEVICE, "no current CUDA context", api->attach(&d));
}

/* ---- Code and launches ----------------------------------------------- */

struct opened {
  struct device *d;
  struct module *m;
  struct kernel k;
};

static void open_kernel(struct opened *o)
{
  assert_ok(api->open(0, &o->d));
  assert_ok(api->load(o->d, &image, sizeof image, &o->m));
  assert_ok(api->kernel(o->d, o->m, "k0", &o->k));
}

static void close_kernel(struct opened *o)
{
  api->unload(o->d, o->m);
  api->close(o->d);
  assert_int_equal(fake.live(), 0);
  assert_int_equal(fake.depth(), 0);
}

static void test_kernel(void **state)
{
  struct opened o;
  int blocks;
  (void)state;

  open_kernel(&o);
  assert_int_equal(o.k.registers, 32);
  assert_int_equal(o.k.local_bytes, 16);
  assert_int_equal(o.k.shared_bytes, 128);
  if (!strstr(fake.log(), "cuFuncLoad ")) fail_msg("%s", fake.log());
  assert_ok(api->occupancy(o.d, &o.k, 256, 0, &blocks));
  assert_int_equal(blocks, 8);
  assert_ok(api->occupancy(o.d, &o.k, 256, 100 * 1024, &blocks));
  assert_fails(DD_DEVICE, "no block of 2048 threads",
               api->occupancy(o.d, &o.k, 2048, 0, &blocks));
  assert_fails(DD_DEVICE, "cuFuncSetAttribute: CUDA_ERROR_INVALID_VALUE",
               api->occupancy(o.d, &o.k, 256, 300 * 1024, &blocks));
  close_kernel(&o);
}

static void test_bad_code(void **state)
{
  struct opened o;
  struct module *m = (void *)1;
  struct kernel k;
  (void)state;

  open_kernel(&o);
  assert_fails(DD_COMPILE, "0 bytes", api->load(o.d, "", 0, &m));
  assert_null(m);
  assert_fails(DD_COMPILE, "not a whole cubin",
               api->load(o.d, &image, sizeof image - 1, &m));
  assert_fails(DD_DEVICE, "entry 'missing': cuModuleGetFunction: "
               "CUDA_ERROR_NOT_FOUND (named symbol not found)",
               api->kernel(o.d, o.m, "missing", &k));
  assert_null(k.handle);
  close_kernel(&o);
}

/* Arguments of every size arrive as they were, with one call each. */
static void test_launch(void **state)
{
  struct opened o;
  uint8_t args[1024];
  (void)state;

  open_kernel(&o);
  for (size_t i = 0; i < sizeof args; i++) args[i] = (uint8_t)(i * 7 + i / 256);
  for (size_t size = 0; size <= sizeof args; size++) {
    struct launch l = {o.k, {3, 2, 1}, 96, 64, args, size};
    const struct fake_launch *got = fake.launch(size);
    long calls = fake.calls();

    assert_ok(api->launch(o.d, &l, NULL));
    assert_int_equal(fake.calls(), calls + 1);
    assert_int_equal(fake.launch_count(), size + 1);
    assert_string_equal(got->name, "k0");
    assert_int_equal(got->args_size, size);
    assert_memory_equal(got->args, args, size);
    assert_int_equal(got->grid[0] * 100 + got->grid[1] * 10 + got->grid[2],
                     321);
    assert_int_equal(got->block, 96);
    assert_int_equal(got->shared, 64);
    assert_null(got->stream);
  }
  close_kernel(&o);
}

static void test_zero_grid_launches_nothing(void **state)
{
  struct opened o;
  struct recording *r;
  double us = -1;
  (void)state;

  open_kernel(&o);
  for (int axis = 0; axis < 3; axis++) {
    struct launch l = {o.k, {1, 1, 1}, 32, 0, NULL, 0};
    long calls = fake.calls();

    l.grid[axis] = 0;
    assert_ok(api->launch(o.d, &l, NULL));
    assert_int_equal(fake.calls(), calls);
    assert_ok(api->record(o.d, &l, 1, &r));
    assert_ok(api->record_start(o.d, r, 0));
    assert_ok(api->record_wait(o.d, 0, &us));
    assert_true(us == 0);
    api->record_free(o.d, r);
  }
  assert_int_equal(fake.launch_count(), 0);
  close_kernel(&o);
}

/* Asking how many blocks fit allows it, for all launches after. */
static void test_much_shared_memory(void **state)
{
  struct opened o;
  struct launch l;
  size_t before;
  int blocks;
  (void)state;

  open_kernel(&o);
  l = (struct launch){o.k, {1, 1, 1}, 32, 200 * 1024, NULL, 0};
  assert_fails(DD_DEVICE, "cuLaunchKernelEx", api->launch(o.d, &l, NULL));
  assert_ok(api->occupancy(o.d, &o.k, 32, 200 * 1024, &blocks));
  assert_ok(api->occupancy(o.d, &o.k, 32, 100 * 1024, &blocks));
  before = strlen(fake.log());
  assert_ok(api->launch(o.d, &l, NULL));
  assert_string_equal(fake.log() + before, "cuLaunchKernelEx ");
  assert_int_equal(fake.launch(0)->shared, 200 * 1024);
  assert_fails(DD_DEVICE, "cuFuncSetAttribute",
               api->occupancy(o.d, &o.k, 32, 300 * 1024, &blocks));
  close_kernel(&o);
}

struct thread_launch {
  struct opened *o;
  dd_status status;
};

static void *launch_on_thread(void *argument)
{
  struct thread_launch *t = argument;
  struct launch l = {t->o->k, {5, 1, 1}, 32, 0, "abcd", 4};

  t->status = api->launch(t->o->d, &l, NULL);
  return NULL;
}

/* A thread that never touched CUDA has no current context. */
static void test_launch_on_a_fresh_thread(void **state)
{
  struct opened o;
  struct thread_launch t = {&o, DD_BUG};
  pthread_t thread;
  (void)state;

  open_kernel(&o);
  assert_int_equal(pthread_create(&thread, NULL, launch_on_thread, &t), 0);
  pthread_join(thread, NULL);
  assert_int_equal(t.status, DD_OK);
  assert_int_equal(fake.launch_count(), 1);
  assert_int_equal(fake.launch(0)->grid[0], 5);
  close_kernel(&o);
}

/* ---- Memory ---------------------------------------------------------- */

static void test_memory(void **state)
{
  char text[] = "0123456789", back[sizeof text] = "";
  struct device *d;
  void *a, *b;
  (void)state;

  assert_ok(api->open(0, &d));
  assert_ok(api->allocate(d, sizeof text, &a));
  assert_ok(api->allocate(d, sizeof text, &b));
  assert_int_equal((uintptr_t)a % 256, 0);
  assert_ok(api->copy_in(d, a, text, sizeof text));
  assert_ok(api->copy(d, b, a, sizeof text));
  assert_ok(api->fill(d, b, 'x', 3));
  assert_ok(api->copy_out(d, back, b, sizeof text));
  assert_string_equal(back, "xxx3456789");
  assert_ok(api->copy_in(d, a, NULL, 0));
  assert_ok(api->fill(d, a, 0, 0));
  api->deallocate(d, a, sizeof text);
  api->deallocate(d, b, sizeof text);
  api->deallocate(d, NULL, 0);
  assert_ok(api->allocate(d, 0, &a));
  assert_non_null(a);
  api->deallocate(d, a, 0);
  assert_fails(DD_DEVICE, "bytes: cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY",
               api->allocate(d, (size_t)1 << 40, &a));
  assert_null(a);
  api->close(d);
  assert_int_equal(fake.live(), 0);
}

/* More than all slots hold, from several threads at once; each piece is what it
 * was when it was handed over. */
enum { LARGE = 100 << 20, SENDERS = 3 };

struct sender {
  struct device *d;
  char *to, *from;
  dd_status status;
};

static void *send_large(void *arg)
{
  struct sender *s = arg;

  s->status = api->copy_in(s->d, s->to, s->from, LARGE);
  memset(s->from, 0, LARGE);
  return NULL;
}

static char *any_bytes(size_t n)
{
  uint32_t *words = malloc(n);

  assert_non_null(words);
  for (uint32_t i = 0; i < n / 4; i++) words[i] = i * 2654435761u;
  return (char *)words;
}

static void test_large_copies(void **state)
{
  struct sender s[SENDERS];
  pthread_t thread[SENDERS];
  char *want = any_bytes(LARGE), *back = malloc(LARGE);
  struct device *d;
  void *to;
  (void)state;

  assert_ok(api->open(0, &d));
  for (int i = 0; i < SENDERS; i++) {
    assert_ok(api->allocate(d, LARGE, &to));
    s[i] = (struct sender){d, to, any_bytes(LARGE), DD_BUG};
    assert_int_equal(pthread_create(&thread[i], NULL, send_large, &s[i]), 0);
  }
  for (int i = 0; i < SENDERS; i++) pthread_join(thread[i], NULL);
  assert_non_null(strstr(fake.log(), "cuMemcpyHtoDAsync_v2 "));
  assert_null(strstr(fake.log(), "cuMemcpyHtoD_v2 "));
  for (int i = 0; i < SENDERS; i++) {
    assert_ok(s[i].status);
    assert_ok(api->copy_out(d, back, s[i].to, LARGE));
    assert_memory_equal(back, want, LARGE);
    api->deallocate(d, s[i].to, LARGE);
    free(s[i].from);
  }
  free(want);
  free(back);
  api->close(d);
  assert_int_equal(fake.live(), 0);
}

enum { SEVERAL = 9 << 20 }; /* bytes: three pieces */

static dd_status copy_and_back(struct device *d, void **to, const char *want,
                               char *back)
{
  TRY(api->allocate(d, SEVERAL, to));
  TRY(api->copy_in(d, *to, want, SEVERAL));
  TRY(api->copy_in(d, *to, want, SEVERAL));
  return api->copy_out(d, back, *to, SEVERAL);
}

/* Where there is no page-locked memory, copies go the slower way and it is not
 * asked for again; whatever else fails is told. */
static void test_large_copies_failing(void **state)
{
  char *want = any_bytes(SEVERAL), *back = malloc(SEVERAL);
  bool slower = false;
  (void)state;

  assert_non_null(back);
  for (long n = 1; n == 1 || *fake.failed(); n++) {
    struct device *d = NULL;
    void *to = NULL;
    dd_status status;
    fake.reset(n, 2); /* out of memory */
    memset(back, 0, SEVERAL);
    status = api->open(0, &d);
    if (!status) status = copy_and_back(d, &to, want, back);
    if (!status) assert_memory_equal(back, want, SEVERAL);
    if (!strcmp(fake.failed(), "cuMemHostAlloc")) {
      const char *asked = strstr(fake.log(), "cuMemHostAlloc ");
      slower = !status && !strstr(asked + 1, "cuMemHostAlloc ") &&
               strstr(asked, "cuMemcpyHtoD_v2 ");
    }
    if (strstr(fake.failed(), "cuMemcpy")) assert_int_equal(status, DD_DEVICE);
    if (d) api->deallocate(d, to, SEVERAL);
    api->close(d);
    if (!strstr(fake.failed(), "Free") && !strstr(fake.failed(), "Destroy") &&
        !strstr(fake.failed(), "PushCurrent") &&
        !strstr(fake.failed(), "Release"))
      assert_int_equal(fake.live(), 0);
  }
  assert_true(slower);
  free(want);
  free(back);
}

/* ---- Recordings ------------------------------------------------------ */

enum { NODES = 7 };

/* Each with its own arguments, which are gone before the first run. */
static struct recording *record_nodes(struct opened *o)
{
  struct launch l[NODES];
  uint32_t args[NODES][2];
  struct recording *r;

  for (uint32_t i = 0; i < NODES; i++) {
    args[i][0] = i;
    args[i][1] = ~i;
    l[i] = (struct launch){o->k, {i + 1, 1, 1}, 32, 0, args[i], sizeof args[i]};
  }
  assert_ok(api->record(o->d, l, NODES, &r));
  memset(args, 0xee, sizeof args);
  memset(l, 0xee, sizeof l);
  return r;
}

static void expect_nodes(size_t from)
{
  assert_int_equal(fake.launch_count(), from + NODES);
  for (uint32_t i = 0; i < NODES; i++) {
    uint32_t expected[] = {i, ~i};

    assert_int_equal(fake.launch(from + i)->grid[0], i + 1);
    assert_int_equal(fake.launch(from + i)->args_size, sizeof expected);
    assert_memory_equal(fake.launch(from + i)->args, expected,
                        sizeof expected);
  }
}

static void test_record(void **state)
{
  struct opened o;
  struct recording *r;
  double us;
  (void)state;

  open_kernel(&o);
  r = record_nodes(&o);
  assert_int_equal(fake.launch_count(), 0);
  if (!strstr(fake.log(), "cuGraphUpload")) fail_msg("%s", fake.log());
  for (size_t run = 0; run < 3; run++) {
    size_t before = strlen(fake.log());

    assert_ok(api->record_start(o.d, r, 3));
    assert_ok(api->record_wait(o.d, 3, &us));
    expect_nodes(run * NODES);
    assert_true(us > NODES * 10 - 1e-3 && us < NODES * 10 + 1e-3);
    if (!strstr(fake.log() + before,
                "cuEventRecord cuGraphLaunch cuEventRecord cuCtxPopCurrent_v2 "
                "cuCtxPushCurrent_v2 cuEventQuery cuEventQuery cuEventQuery "
                "cuEventQuery cuEventElapsedTime"))
      fail_msg("%s", fake.log() + before);
  }
  api->record_free(o.d, r);
  api->record_free(o.d, NULL);
  close_kernel(&o);
}

/* Each between events of its own, whoever is waited for first. */
static void test_record_several(void **state)
{
  struct opened o;
  struct launch l[NODES];
  struct recording *r[NODES];
  double us;
  (void)state;

  open_kernel(&o);
  for (uint32_t i = 0; i < NODES; i++) {
    l[i] = (struct launch){o.k, {1, 1, 1}, 32, 0, NULL, 0};
    assert_ok(api->record(o.d, l, i + 1, &r[i]));
  }
  for (uint32_t i = 0; i < NODES; i++)
    assert_ok(api->record_start(o.d, r[i], RUN_SLOTS - 1 - i));
  assert_null(strstr(fake.log(), "cuEventQuery"));
  for (uint32_t i = NODES; i-- > 0;) {
    assert_ok(api->record_wait(o.d, RUN_SLOTS - 1 - i, &us));
    assert_true(fabs(us - 10 * (i + 1)) < 1e-3);
    api->record_free(o.d, r[i]);
  }
  close_kernel(&o);
}

/* The launches themselves, between two events, and no graph. */
static void test_burst(void **state)
{
  uint32_t args[3] = {7, 8, 9};
  struct launch l[3];
  struct opened o;
  double us;
  (void)state;

  open_kernel(&o);
  for (uint32_t i = 0; i < 3; i++)
    l[i] = (struct launch){o.k, {i + 1, 1, 1}, 32, 0, &args[i], sizeof args[i]};
  assert_ok(api->burst_time(o.d, l, 3, &us));
  assert_true(us > 30 - 1e-3 && us < 30 + 1e-3);
  assert_int_equal(fake.launch_count(), 3);
  for (uint32_t i = 0; i < 3; i++) {
    assert_int_equal(fake.launch(i)->grid[0], i + 1);
    assert_memory_equal(fake.launch(i)->args, &args[i], sizeof args[i]);
    assert_ptr_equal(fake.launch(i)->stream, fake.launch(0)->stream);
  }
  assert_null(strstr(fake.log(), "cuGraphLaunch"));
  close_kernel(&o);
}

/* ---- Every call failing in turn -------------------------------------- */

/* All of the interface once; the first failure's status.  Whatever was made
 * is freed. */
struct all {
  struct opened o;
  void *memory, *other;
  struct recording *r;
};

static dd_status use_memory(struct all *a)
{
  char bytes[64] = "";

  TRY(api->allocate(a->o.d, sizeof bytes, &a->memory));
  TRY(api->allocate(a->o.d, sizeof bytes, &a->other));
  TRY(api->copy_in(a->o.d, a->memory, bytes, sizeof bytes));
  TRY(api->fill(a->o.d, a->memory, 1, sizeof bytes));
  TRY(api->copy(a->o.d, a->other, a->memory, sizeof bytes));
  return api->copy_out(a->o.d, bytes, a->other, sizeof bytes);
}

static dd_status use_kernel(struct all *a)
{
  struct launch l = {.grid = {1, 1, 1}, .block = 32};
  double us;
  int blocks;

  TRY(api->load(a->o.d, &image, sizeof image, &a->o.m));
  TRY(api->kernel(a->o.d, a->o.m, "k", &a->o.k));
  TRY(api->occupancy(a->o.d, &a->o.k, 32, 60 * 1024, &blocks));
  l.kernel = a->o.k;
  TRY(api->launch(a->o.d, &l, NULL));
  TRY(api->wait(a->o.d));
  TRY(api->record(a->o.d, &l, 1, &a->r));
  TRY(api->record_start(a->o.d, a->r, 1));
  TRY(api->record_wait(a->o.d, 1, &us));
  return api->burst_time(a->o.d, &l, 1, &us);
}

static dd_status use_device(struct all *a)
{
  struct device_info info;
  struct device *d;
  size_t count;

  TRY(api->list(&info, 1, &count));
  TRY(api->open(0, &a->o.d));
  TRY(api->attach(&d));
  api->close(d);
  TRY(use_memory(a));
  return use_kernel(a);
}

static dd_status use_all(void)
{
  struct all a = {.o.d = NULL};
  dd_status status = use_device(&a);

  if (a.o.d) {
    api->record_free(a.o.d, a.r);
    api->deallocate(a.o.d, a.memory, 64);
    api->deallocate(a.o.d, a.other, 64);
    api->unload(a.o.d, a.o.m);
  }
  api->close(a.o.d);
  return status;
}

/* Nobody hears of a failure to destroy, or to put the context back; nor that
 * the driver knows of no green contexts. */
static bool is_heard(const char *call)
{
  static const char *const silent[] = {"Free",       "Destroy", "Unload",
                                       "Release",    "PopCurrent",
                                       "DevResource"};

  for (size_t i = 0; i < COUNT_OF(silent); i++)
    if (strstr(call, silent[i])) return false;
  return true;
}

/* Runs with call `n` failing; false once there is no call `n`. */
static bool fail_one(long n, int error, long *heard)
{
  char call[64];
  dd_status status;

  fake.reset(n, error);
  status = use_all();
  if (!*fake.failed()) return false;
  snprintf(call, sizeof call, "%s", fake.failed());
  if (strstr(call, "_v2")) *strstr(call, "_v2") = 0;
  if (!status && is_heard(call)) /* only while closing */
    assert_true(strstr("cuCtxGetCurrent cuCtxSetCurrent cuCtxPushCurrent",
                       call) != NULL);
  if (status) {
    ++*heard;
    assert_int_equal(status, DD_DEVICE);
    if (error < 700 && is_heard(call) && !strstr(dd_last_error(), call))
      fail_msg("'%s' does not name %s", dd_last_error(), call);
    if (!strstr(dd_last_error(), ": CUDA_ERROR_")) fail_msg("%s",
                                                            dd_last_error());
  }
  if (error < 700 && status && is_heard(call)) {
    assert_int_equal(fake.live(), 0);
    assert_int_equal(fake.depth(), 0);
  }
  return true;
}

static void fail_each(int error)
{
  struct allocator real = default_allocator;
  struct test_memory memory;
  long n = 1, heard = 0;

  test_memory_init(&memory);
  default_allocator = memory.allocator;
  while (fail_one(n, error, &heard)) {
    assert_int_equal(memory.live, 0);
    n++;
  }
  default_allocator = real;
  print_message("%ld calls failed with %d, %ld heard\n", n - 1, error, heard);
  assert_true(heard > 50);
}

static void test_each_call_failing(void **state)
{
  (void)state;
  fail_each(2); /* out of memory, which breaks nothing */
  fail_each(700); /* an illegal address: all calls fail from there on */
}

static void test_no_memory(void **state)
{
  struct allocator real = default_allocator;
  struct test_memory memory;
  struct device *d;
  (void)state;

  test_memory_init(&memory);
  memory.fail_at = 1;
  default_allocator = memory.allocator;
  assert_fails(DD_NO_MEMORY, "out of memory", api->open(0, &d));
  default_allocator = real;
  assert_null(d);
  assert_int_equal(fake.live(), 0);
}

/* ---- The program ----------------------------------------------------- */

static int reset(void **state)
{
  (void)state;
  fake.reset(0, 0);
  return 0;
}

#define TEST(name) cmocka_unit_test_setup(test_##name, reset)

int main(int count, char **arguments)
{
  const struct CMUnitTest tests[] = {
      TEST(no_driver),         TEST(stub),
      TEST(devices_of_the_machine), TEST(found_by_soname),
      TEST(found_by_symbols),
      TEST(forked_child),      TEST(list_and_info),
      TEST(open_refuses),      TEST(attach),
      TEST(kernel),            TEST(bad_code),
      TEST(launch),            TEST(zero_grid_launches_nothing),
      TEST(much_shared_memory), TEST(launch_on_a_fresh_thread),
      TEST(memory),            TEST(large_copies),
      TEST(large_copies_failing),
      TEST(record),            TEST(record_several),
      TEST(burst),
      TEST(each_call_failing), TEST(no_memory),
  };

  if (count > 1 && !strcmp(arguments[1], "list")) return print_list();
  setenv("DIFFTUNE_LIBCUDA", DIFFTUNE_FAKE_CUDA, 1);
  setenv("FAKE_CUDA_DEVICES", "NVIDIA H200:90:132,NVIDIA A100:80:108", 1);
  fake_find();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
