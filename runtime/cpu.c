/*
 * cpu.c - the CPU device: kernels as shared objects, memory from the heap.
 *
 * It exists so that every variant's index arithmetic, guards, tails and
 * reductions run where there is no GPU, under sanitizers too.  Its times are
 * real times of an emulation and say nothing about a GPU.
 *
 * A launch runs to completion before it returns, on the caller's thread, and
 * reports what the kernel did wrong itself.  Launches of a process take turns:
 * fibers, __shared__ variables and the api struct are one set.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "cpu_fiber.h"
#include "device.h"

enum {
  CPU_SMS = 4,
  CPU_L2_BYTES = 1 << 20,
  CPU_OCCUPANCY = 2,
  CPU_MAX_SHARED = 232448, /* what a block may have on sm_90 */
  CPU_MAX_GRID_YZ = 65535,
  CPU_ALIGNMENT = 256,
  CPU_MAX_DEVICES = 16,
};

static pthread_mutex_t launch_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- The device ------------------------------------------------------- */

struct cpu_device {
  struct device base;
  double us[RUN_SLOTS]; /* what the last run in each took */
};

/* Several where a test of many devices asks for them: they differ in nothing
 * but index and uuid. */
static int device_count(void)
{
  const char *text = getenv("DIFFTUNE_CPU_DEVICES");
  long count = text ? strtol(text, NULL, 10) : 1;

  return count < 1 ? 1 : count > CPU_MAX_DEVICES ? CPU_MAX_DEVICES : (int)count;
}

static void fill_info(int index, struct device_info *info)
{
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);

  memset(info, 0, sizeof *info);
  strcpy(info->kind, "cpu");
  strcpy(info->name, "cpu");
  strcpy(info->uuid, "cpu");
  if (index) snprintf(info->uuid, sizeof info->uuid, "cpu-%d", index);
  info->index = index;
  info->sms = CPU_SMS;
  info->l2_bytes = CPU_L2_BYTES;
  info->memory_bytes = (int64_t)pages * page;
}

static dd_status cpu_list(struct device_info *infos, size_t capacity,
                          size_t *count)
{
  *count = (size_t)device_count();
  for (size_t i = 0; i < *count && i < capacity; ++i)
    fill_info((int)i, &infos[i]);
  return DD_OK;
}

static dd_status cpu_open(int index, struct device **out)
{
  struct cpu_device *c;

  *out = NULL;
  if (index < 0 || index >= device_count())
    return fail(DD_NO_DEVICE, "there is no cpu device %d; %d visible", index,
                device_count());
  c = mem_resize(NULL, NULL, 0, sizeof *c);
  if (!c) return fail(DD_NO_MEMORY, "no memory for a device");
  memset(c, 0, sizeof *c);
  c->base.api = &cpu_device;
  fill_info(index, &c->base.info);
  *out = &c->base;
  return DD_OK;
}

static dd_status cpu_attach(struct device **out)
{
  return cpu_open(0, out);
}

static void cpu_close(struct device *d)
{
  if (d) mem_resize(NULL, d, sizeof(struct cpu_device), 0);
}

/* ---- Modules ---------------------------------------------------------- */

/* The file stays open as long as the module: dlopen() knows a library by its
 * path, and the next module must not get the same /proc/.../fd/N. */
struct module {
  int fd;
  void *library;
};

static dd_status write_all(int fd, const char *data, size_t size)
{
  while (size) {
    const ssize_t n = write(fd, data, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0)
      return fail(DD_DEVICE, "cannot keep a kernel's code in memory: %s",
                  strerror(errno));
    data += n;
    size -= (size_t)n;
  }
  return DD_OK;
}

/* Under a sanitizer another process reads the symbols, so it is not "self". */
static void library_path(int fd, char *path, size_t size)
{
#ifdef DIFFTUNE_CPU_FLAGS
  snprintf(path, size, "/proc/%ld/fd/%d", (long)getpid(), fd);
#else
  snprintf(path, size, "/proc/self/fd/%d", fd);
#endif
}

static dd_status library_open(struct module *m, const void *code, size_t size)
{
  char path[64];
  void (*bind)(const struct dt_cpu_api *);

  m->fd = memfd_create("difftune-kernel", MFD_CLOEXEC);
  if (m->fd < 0)
    return fail(DD_DEVICE, "cannot make a file in memory: %s", strerror(errno));
  TRY(write_all(m->fd, code, size));
  library_path(m->fd, path, sizeof path);
  m->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!m->library)
    return fail(DD_DEVICE, "cannot load a kernel's code: %s", dlerror());
  *(void **)&bind = dlsym(m->library, "dt_cpu_bind");
  if (!bind)
    return fail(DD_DEVICE, "the code was not compiled for the cpu device");
  bind(cpu_fiber_api());
  return DD_OK;
}

static void cpu_unload(struct device *d, struct module *m)
{
  (void)d;
  if (!m) return;
  if (m->library) dlclose(m->library);
  if (m->fd >= 0) close(m->fd);
  mem_resize(NULL, m, sizeof *m, 0);
}

static dd_status cpu_load(struct device *d, const void *code, size_t size,
                          struct module **out)
{
  struct module *m = mem_resize(NULL, NULL, 0, sizeof *m);
  dd_status status;

  *out = NULL;
  if (!m) return fail(DD_NO_MEMORY, "no memory for a module");
  m->fd = -1;
  m->library = NULL;
  status = library_open(m, code, size);
  if (status)
    cpu_unload(d, m);
  else
    *out = m;
  return status;
}

static dd_status cpu_kernel(struct device *d, struct module *m,
                            const char *entry, struct kernel *out)
{
  char symbol[256];

  (void)d;
  memset(out, 0, sizeof *out);
  if ((size_t)snprintf(symbol, sizeof symbol, "%s_cpu", entry) < sizeof symbol)
    out->handle = dlsym(m->library, symbol);
  if (!out->handle)
    return fail(DD_DEVICE, "the code has no kernel '%s'", entry);
  return DD_OK;
}

static dd_status cpu_occupancy(struct device *d, const struct kernel *k,
                               uint32_t block, uint32_t shared_bytes, int *out)
{
  (void)d, (void)k, (void)block, (void)shared_bytes;
  *out = CPU_OCCUPANCY;
  return DD_OK;
}

/* ---- Launches --------------------------------------------------------- */

/* DIFFTUNE_CPU_ORDER=asc, desc or a number: for whoever hunts a race. */
static dd_status read_order(struct cpu_launch *run)
{
  const char *text = getenv("DIFFTUNE_CPU_ORDER");
  char *end;

  run->order = CPU_ORDER_TURNS;
  run->seed = 0;
  if (!text || !*text) return DD_OK;
  if (!strcmp(text, "asc") || !strcmp(text, "desc")) {
    run->order = *text == 'a' ? CPU_ORDER_ASC : CPU_ORDER_DESC;
    return DD_OK;
  }
  run->order = CPU_ORDER_RANDOM;
  run->seed = strtoull(text, &end, 10);
  if (*end)
    return fail(DD_DEVICE,
                "DIFFTUNE_CPU_ORDER is '%s', not asc, desc or a "
                "number",
                text);
  return DD_OK;
}

static dd_status check_launch(const struct launch *l)
{
  const struct dt_cpu_kernel *kernel = l->kernel.handle;

  if (l->block == 0 || l->block > CPU_MAX_BLOCK)
    return fail(DD_DEVICE, "a block of %u threads is not within 1 to %d",
                l->block, CPU_MAX_BLOCK);
  if (l->grid[1] > CPU_MAX_GRID_YZ || l->grid[2] > CPU_MAX_GRID_YZ)
    return fail(DD_DEVICE,
                "a grid of %u x %u x %u blocks has more than %d in "
                "y or z",
                l->grid[0], l->grid[1], l->grid[2], CPU_MAX_GRID_YZ);
  if (l->shared_bytes > CPU_MAX_SHARED)
    return fail(DD_DEVICE, "%u bytes of shared memory are more than %d",
                l->shared_bytes, CPU_MAX_SHARED);
  if (l->args_size < kernel->args_size)
    return fail(DD_DEVICE, "the kernel takes %lu bytes of arguments, not %zu",
                kernel->args_size, l->args_size);
  return DD_OK;
}

static dd_status run_locked(const struct cpu_launch *run)
{
  char why[512] = "";
  bool done;

  pthread_mutex_lock(&launch_lock);
  done = cpu_fiber_run(run, why, sizeof why);
  pthread_mutex_unlock(&launch_lock);
  return done ? DD_OK : fail(DD_DEVICE, "%s", why);
}

/* An exact-size block, so that AddressSanitizer sees the byte past its end. */
static void *aligned(size_t size)
{
  void *memory;

  return posix_memalign(&memory, CPU_ALIGNMENT, size ? size : 1) ? NULL
                                                                 : memory;
}

static dd_status cpu_launch(struct device *d, const struct launch *l,
                            void *stream)
{
  struct cpu_launch run = {.kernel = l->kernel.handle,
                           .block = l->block,
                           .grid = {l->grid[0], l->grid[1], l->grid[2]},
                           .dynamic_shared_size = l->shared_bytes};
  void *args, *shared;
  dd_status status;

  (void)d, (void)stream;
  if (!l->grid[0] || !l->grid[1] || !l->grid[2]) return DD_OK;
  TRY(check_launch(l));
  TRY(read_order(&run));
  args = aligned(run.kernel->args_size);
  shared = aligned(l->shared_bytes);
  if (args && shared) {
    memcpy(args, l->args, run.kernel->args_size);
    run.args = args;
    run.dynamic_shared = shared;
    status = run_locked(&run);
  } else {
    status = fail(DD_NO_MEMORY, "no memory for a launch");
  }
  free(args);
  free(shared);
  return status;
}

static dd_status cpu_start(struct device *d, const struct launch *l,
                           const void *args, void *stream)
{
  struct launch own = *l;

  own.args = args;
  return cpu_launch(d, &own, stream);
}

static dd_status cpu_wait(struct device *d)
{
  (void)d;
  return DD_OK;
}

/* ---- Memory ----------------------------------------------------------- */

static dd_status cpu_allocate(struct device *d, size_t size, void **out)
{
  (void)d;
  *out = aligned(size);
  if (!*out)
    return fail(DD_NO_MEMORY, "no %zu bytes of memory on the cpu device", size);
  return DD_OK;
}

static void cpu_deallocate(struct device *d, void *memory, size_t size)
{
  (void)d, (void)size;
  free(memory);
}

static dd_status cpu_copy(struct device *d, void *to, const void *from,
                          size_t n)
{
  (void)d;
  if (n) memmove(to, from, n);
  return DD_OK;
}

static dd_status cpu_fill(struct device *d, void *to, uint8_t byte, size_t n)
{
  (void)d;
  if (n) memset(to, byte, n);
  return DD_OK;
}

/* ---- Recordings ------------------------------------------------------- */

struct recording {
  struct arena arena;
  size_t count;
  struct launch launches[];
};

static void cpu_record_free(struct device *d, struct recording *r)
{
  (void)d;
  if (!r) return;
  arena_release(&r->arena);
  mem_resize(NULL, r, sizeof *r + r->count * sizeof r->launches[0], 0);
}

static dd_status copy_launch(struct recording *r, const struct launch *from,
                             struct launch *to)
{
  void *args = arena_alloc(&r->arena, from->args_size ? from->args_size : 1);

  if (!args) return fail(DD_NO_MEMORY, "no memory for a recording");
  if (from->args_size) memcpy(args, from->args, from->args_size);
  *to = *from;
  to->args = args;
  return DD_OK;
}

static dd_status cpu_record(struct device *d, const struct launch *l,
                            size_t count, struct recording **out)
{
  struct recording *r =
      mem_resize(NULL, NULL, 0, sizeof *r + count * sizeof r->launches[0]);
  dd_status status = DD_OK;

  *out = NULL;
  if (!r) return fail(DD_NO_MEMORY, "no memory for a recording");
  arena_init(&r->arena, NULL);
  r->count = count;
  for (size_t i = 0; i < count && !status; i++)
    status = copy_launch(r, l + i, r->launches + i);
  if (status)
    cpu_record_free(d, r);
  else
    *out = r;
  return status;
}

static double now_us(void)
{
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static dd_status cpu_burst_time(struct device *d, const struct launch *l,
                                size_t count, double *us)
{
  const double start = now_us();

  *us = 0;
  for (size_t i = 0; i < count; i++) TRY(cpu_launch(d, l + i, NULL));
  *us = now_us() - start;
  return DD_OK;
}

static dd_status cpu_record_start(struct device *d, struct recording *r,
                                  uint32_t slot)
{
  return cpu_burst_time(d, r->launches, r->count,
                        &((struct cpu_device *)d)->us[slot]);
}

static dd_status cpu_record_wait(struct device *d, uint32_t slot, double *us)
{
  *us = ((struct cpu_device *)d)->us[slot];
  return DD_OK;
}

static bool cpu_capturing(struct device *d, void *stream)
{
  (void)d, (void)stream;
  return false;
}

const struct device_api cpu_device = {
    .kind = "cpu",
    .list = cpu_list,
    .open = cpu_open,
    .attach = cpu_attach,
    .close = cpu_close,
    .load = cpu_load,
    .unload = cpu_unload,
    .kernel = cpu_kernel,
    .occupancy = cpu_occupancy,
    .capturing = cpu_capturing,
    .launch = cpu_launch,
    .start = cpu_start,
    .wait = cpu_wait,
    .allocate = cpu_allocate,
    .deallocate = cpu_deallocate,
    .copy_in = cpu_copy,
    .copy_out = cpu_copy,
    .copy = cpu_copy,
    .fill = cpu_fill,
    .record = cpu_record,
    .record_start = cpu_record_start,
    .record_wait = cpu_record_wait,
    .record_free = cpu_record_free,
    .burst_time = cpu_burst_time,
};
