/*
 * fake_cuda.c - a CUDA driver with no GPU behind it; see fake_cuda.h.
 *
 * cuda.h's own prototypes and macros name the symbols (cuMemAlloc is defined
 * as cuMemAlloc_v2), and the table at the end proves against cudaTypedefs.h
 * that each has the ABI of the version it is handed out for.
 */
#include "fake_cuda.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cuda.h>
#include <cudaTypedefs.h>

enum { MAX_DEVICES = 8, MAX_LAUNCHES = 4096, MAX_DEPTH = 64, LOG_SIZE = 65536 };
enum { MAX_THINGS = 65536, MAX_NODES = 1024 };
enum { LAUNCH_US = 10, POLLS = 3, MAX_COPIES = 64 };

/* ---- State ----------------------------------------------------------- */

struct CUctx_st {
  int device, retained;
  int sms; /* of a green context; 0: it has all */
};
struct CUmod_st {
  int unused;
};
struct CUfunc_st { /* interned by name; never freed, as a module's are not */
  char name[64];
  int max_dynamic, loaded;
  struct CUfunc_st *next;
};
struct CUgraph_st {
  size_t count;
  struct fake_launch nodes[MAX_NODES];
};
struct CUgraphExec_st {
  struct CUgraph_st graph;
  bool uploaded;
};
struct CUstream_st {
  struct CUgraph_st *capture;
};
struct CUevent_st {
  long recorded_us;
  int polls_left;
  bool recorded;
};

static struct device {
  char name[96];
  int arch, sms;
} devices[MAX_DEVICES];
static int device_count;
static struct CUctx_st contexts[MAX_DEVICES];
static struct CUfunc_st *functions;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local CUcontext stack[MAX_DEPTH];
static _Thread_local int depth;

static bool started, count_only;
static _Thread_local long counted;
static _Atomic long calls, pushed; /* by any thread */
static long fail_at, live, retained, clock_us;
static void *things[MAX_THINGS]; /* the first `live` are there */
static int error, sticky;
static char failed[64], names[LOG_SIZE];
static size_t names_size;
static struct fake_launch launches[MAX_LAUNCHES];
static struct copy {
  void *to;
  const void *from;
  size_t size;
} copies[MAX_COPIES]; /* asynchronous ones that nothing has waited for */
static int copy_count;
static size_t launch_count;

void fake_cuda_reset(long at, int code)
{
  calls = pushed = retained = 0;
  fail_at = at;
  error = code;
  sticky = depth = 0;
  failed[0] = names[0] = 0;
  names_size = launch_count = 0;
  copy_count = 0;
  while (live) free(things[--live]);
  for (int i = 0; i < MAX_DEVICES; i++)
    contexts[i].retained = contexts[i].sms = 0;
}

void fake_cuda_narrow(int device, int sms) { contexts[device].sms = sms; }

long fake_cuda_calls(void) { return calls; }
long fake_cuda_counted(void) { return counted; }
const char *fake_cuda_failed(void) { return failed; }
long fake_cuda_live(void) { return live + retained; }
long fake_cuda_depth(void) { return pushed; }
size_t fake_cuda_launch_count(void) { return launch_count; }
const char *fake_cuda_log(void) { return names; }
const struct fake_launch *fake_cuda_launch(size_t i) { return &launches[i]; }

/* Counts a call; what it must answer if it is the one to fail. */
static CUresult count_call(const char *name)
{
  size_t size = strlen(name);

  calls++;
  if (count_only) return CUDA_SUCCESS;
  if (names_size + size + 2 < sizeof names)
    names_size += (size_t)sprintf(names + names_size, "%s ", name);
  if (sticky) return sticky;
  if (calls != fail_at) return CUDA_SUCCESS;
  snprintf(failed, sizeof failed, "%s", name);
  if (error >= 700 && error < 720) sticky = error;
  return error;
}

#define CALL                                                                   \
  do {                                                                         \
    CUresult call_;                                                            \
    pthread_mutex_lock(&lock);                                                 \
    call_ = count_call(__func__);                                              \
    pthread_mutex_unlock(&lock);                                               \
    if (call_) return call_;                                                   \
    if (!started) return CUDA_ERROR_NOT_INITIALIZED;                           \
  } while (0)

#define INSIDE                                                                 \
  do {                                                                         \
    CALL;                                                                      \
    if (!depth || !stack[depth - 1]) return CUDA_ERROR_INVALID_CONTEXT;        \
  } while (0)

static void copies_run(void)
{
  pthread_mutex_lock(&lock);
  for (int i = 0; i < copy_count; i++)
    memcpy(copies[i].to, copies[i].from, copies[i].size);
  copy_count = 0;
  pthread_mutex_unlock(&lock);
}

/* ---- Start and devices ----------------------------------------------- */

static void devices_read(const char *text)
{
  char copy[1024], *rest = NULL;

  snprintf(copy, sizeof copy, "%s", text);
  device_count = 0;
  for (char *one = strtok_r(copy, ",", &rest);
       one && device_count < MAX_DEVICES; one = strtok_r(NULL, ",", &rest)) {
    struct device *d = &devices[device_count];

    if (sscanf(one, "%95[^:]:%d:%d", d->name, &d->arch, &d->sms) == 3)
      contexts[device_count].device = device_count, device_count++;
  }
}

CUresult cuInit(unsigned int flags)
{
  const char *list = getenv("FAKE_CUDA_DEVICES");
  const char *fail = getenv("FAKE_CUDA_FAIL");
  CUresult result;

  if (fail) sscanf(fail, "%ld:%d", &fail_at, &error);
  if ((result = count_call(__func__))) return result;
  if (flags) return CUDA_ERROR_INVALID_VALUE;
  devices_read(list ? list : "NVIDIA H200:90:132");
  if (!device_count) return CUDA_ERROR_NO_DEVICE;
  started = true;
  count_only = getenv("FAKE_CUDA_COUNT_ONLY") != NULL;
  return CUDA_SUCCESS;
}

CUresult cuDriverGetVersion(int *version)
{
  CALL;
  *version = 13000;
  return CUDA_SUCCESS;
}

static const struct {
  CUresult code;
  const char *name, *text;
} errors[] = {
    {CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE",
     "no CUDA-capable device is detected"},
    {CUDA_ERROR_INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE",
     "device kernel image is invalid"},
    {CUDA_ERROR_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT",
     "invalid device context"},
    {CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS",
     "an illegal memory access was encountered"},
};

CUresult cuGetErrorName(CUresult code, const char **out)
{
  *out = NULL;
  for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
    if (errors[i].code == code) *out = errors[i].name;
  return *out ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGetErrorString(CUresult code, const char **out)
{
  *out = NULL;
  for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
    if (errors[i].code == code) *out = errors[i].text;
  return *out ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuDeviceGetCount(int *count)
{
  CALL;
  *count = device_count;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal)
{
  CALL;
  if (ordinal < 0 || ordinal >= device_count) return CUDA_ERROR_INVALID_DEVICE;
  *device = ordinal;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char *name, int size, CUdevice device)
{
  CALL;
  snprintf(name, (size_t)size, "%s", devices[device].name);
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device)
{
  CALL;
  for (int i = 0; i < 16; i++) uuid->bytes[i] = (char)(0xa0 + i);
  uuid->bytes[15] = (char)device;
  return CUDA_SUCCESS;
}

CUresult cuDeviceTotalMem(size_t *bytes, CUdevice device)
{
  CALL;
  *bytes = (size_t)(device + 1) << 30;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *out, CUdevice_attribute which, CUdevice d)
{
  CALL;
  switch (which) {
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
    *out = devices[d].arch / 10;
    break;
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
    *out = devices[d].arch % 10;
    break;
  case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *out = devices[d].sms; break;
  case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE: *out = 60 << 20; break;
  default: return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

/* ---- Contexts -------------------------------------------------------- */

CUresult cuDevicePrimaryCtxRetain(CUcontext *out, CUdevice device)
{
  CALL;
  contexts[device].retained++;
  retained++;
  *out = &contexts[device];
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease(CUdevice device)
{
  CALL;
  if (!contexts[device].retained) return CUDA_ERROR_INVALID_CONTEXT;
  contexts[device].retained--;
  retained--;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext *out)
{
  CALL;
  *out = depth ? stack[depth - 1] : NULL;
  return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext context)
{
  CALL;
  if (!depth) depth = 1;
  stack[depth - 1] = context;
  return CUDA_SUCCESS;
}

CUresult cuCtxPushCurrent(CUcontext context)
{
  CALL;
  if (!context || depth == MAX_DEPTH) return CUDA_ERROR_INVALID_CONTEXT;
  stack[depth++] = context;
  pushed++;
  return CUDA_SUCCESS;
}

CUresult cuCtxPopCurrent(CUcontext *out)
{
  CALL;
  if (!depth) return CUDA_ERROR_INVALID_CONTEXT;
  *out = stack[--depth];
  pushed--;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice *out)
{
  INSIDE;
  *out = stack[depth - 1]->device;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetDevResource(CUcontext context, CUdevResource *out,
                             CUdevResourceType type)
{
  CALL;
  if (type != CU_DEV_RESOURCE_TYPE_SM) return CUDA_ERROR_INVALID_VALUE;
  memset(out, 0, sizeof *out);
  out->type = type;
  out->sm.smCount = (unsigned)(context->sms ? context->sms
                                            : devices[context->device].sms);
  return CUDA_SUCCESS;
}

CUresult cuCtxSynchronize(void)
{
  INSIDE;
  return CUDA_SUCCESS;
}

/* ---- Code ------------------------------------------------------------ */

static void *keep(void *thing)
{
  pthread_mutex_lock(&lock);
  if (!thing || live == MAX_THINGS) abort();
  things[live++] = thing;
  pthread_mutex_unlock(&lock);
  return thing;
}

static void *make(size_t size)
{
  return keep(calloc(1, size));
}

/* Anything that is not there, or no more, is a bug of the caller's. */
static void destroy(void *thing)
{
  long i = live;

  pthread_mutex_lock(&lock);
  while (i > 0 && things[i - 1] != thing) i--;
  if (!i) abort();
  things[i - 1] = things[--live];
  pthread_mutex_unlock(&lock);
  free(thing);
}

CUresult cuModuleLoadData(CUmodule *out, const void *image)
{
  INSIDE;
  if (memcmp(image, "\177ELF", 4)) return CUDA_ERROR_INVALID_IMAGE;
  *out = make(sizeof **out);
  return CUDA_SUCCESS;
}

CUresult cuModuleUnload(CUmodule module)
{
  INSIDE;
  destroy(module);
  return CUDA_SUCCESS;
}

static CUfunction function_find(const char *name)
{
  CUfunction f;

  for (f = functions; f; f = f->next)
    if (!strcmp(f->name, name)) return f;
  f = calloc(1, sizeof *f);
  snprintf(f->name, sizeof f->name, "%s", name);
  f->max_dynamic = 48 * 1024;
  f->next = functions;
  return functions = f;
}

CUresult cuModuleGetFunction(CUfunction *out, CUmodule module, const char *name)
{
  INSIDE;
  if (!module || !strncmp(name, "missing", 7)) return CUDA_ERROR_NOT_FOUND;
  *out = function_find(name);
  return CUDA_SUCCESS;
}

CUresult cuFuncLoad(CUfunction f)
{
  INSIDE;
  f->loaded = 1;
  return CUDA_SUCCESS;
}

CUresult cuFuncGetAttribute(int *out, CUfunction_attribute which, CUfunction f)
{
  INSIDE;
  if (!f->loaded) return CUDA_ERROR_INVALID_HANDLE;
  switch (which) {
  case CU_FUNC_ATTRIBUTE_NUM_REGS: *out = 32; break;
  case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES: *out = 16; break;
  case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES: *out = 128; break;
  case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
    *out = f->max_dynamic;
    break;
  default: return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

CUresult cuFuncSetAttribute(CUfunction f, CUfunction_attribute which, int value)
{
  INSIDE;
  if (which != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES ||
      value > 227 * 1024)
    return CUDA_ERROR_INVALID_VALUE;
  f->max_dynamic = value;
  return CUDA_SUCCESS;
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *out, CUfunction f,
                                                     int block, size_t shared)
{
  INSIDE;
  if (!f || block <= 0) return CUDA_ERROR_INVALID_VALUE;
  *out = block > 1024 || shared > (size_t)f->max_dynamic ? 0 : 2048 / block;
  return CUDA_SUCCESS;
}

/* ---- Launches -------------------------------------------------------- */

/* The pairs of `extra`, as the driver reads them. */
static bool args_read(void **extra, struct fake_launch *out)
{
  const void *from = NULL;
  size_t size = 0;

  for (size_t i = 0; extra && extra[i] != CU_LAUNCH_PARAM_END; i += 2) {
    if (extra[i] == CU_LAUNCH_PARAM_BUFFER_POINTER) from = extra[i + 1];
    if (extra[i] == CU_LAUNCH_PARAM_BUFFER_SIZE) size = *(size_t *)extra[i + 1];
  }
  if (size > sizeof out->args || (size && !from)) return false;
  if (size) memcpy(out->args, from, size);
  out->args_size = size;
  return true;
}

/* A launch runs at once: it is logged and moves the clock. */
static void launch_run(const struct fake_launch *l)
{
  pthread_mutex_lock(&lock);
  if (launch_count < MAX_LAUNCHES) launches[launch_count++] = *l;
  clock_us += LAUNCH_US;
  pthread_mutex_unlock(&lock);
}

static CUresult graph_add(struct CUgraph_st *g, const struct fake_launch *l)
{
  if (g->count == MAX_NODES) return CUDA_ERROR_OUT_OF_MEMORY;
  g->nodes[g->count++] = *l;
  return CUDA_SUCCESS;
}

/* ---- Cold caches ------------------------------------------------------- */

enum { LINE = 64, COLDEST_KB = 1024, COLD_LINES = COLDEST_KB * 1024 / LINE };
static unsigned char cold_data[COLDEST_KB * 1024];
static size_t cold_bytes;
static long cold_lines;

/* One line after another of code: a branch that some bit decides, and a jump to
 * the next, so that they take the places of the caller's branches too. */
#ifdef __x86_64__
void fake_cuda_walk(long lines, unsigned long bits);
__asm__(".text\n"
        ".balign 64\n"
        ".hidden fake_cuda_walk\n"
        ".globl fake_cuda_walk\n"
        ".type fake_cuda_walk, @function\n"
        "fake_cuda_walk:\n"
        ".rept 16384\n"
        ".balign 64\n"
        "3: dec %rdi\n"
        "js .Lwalked\n"
        "ror $1, %rsi\n"
        "jc 1f\n"
        "nop\n"
        "1: jmp 2f\n"
        ".balign 64\n"
        "2:\n"
        ".endr\n"
        ".Lwalked: ret\n"
        ".size fake_cuda_walk, . - fake_cuda_walk\n");
_Static_assert(COLD_LINES == 16384, "the lines of code above");
#else
static void fake_cuda_walk(long lines, unsigned long bits)
{
  (void)lines, (void)bits;
}
#endif

void fake_cuda_cold(size_t data_kb, size_t code_kb)
{
  if (data_kb > COLDEST_KB || code_kb > COLDEST_KB) abort();
  memset(cold_data, 1, sizeof cold_data); /* pages of its own */
  cold_bytes = data_kb * 1024;
  cold_lines = (long)(code_kb * 1024 / LINE);
}

static void leave_cold(void)
{
  const volatile unsigned char *at = cold_data, *end = at + cold_bytes;

  for (; at < end; at += LINE) (void)*at;
  if (cold_lines) fake_cuda_walk(cold_lines, 0x6996a5c396695a3cu);
}

static CUresult count_launch(CUfunction f)
{
  counted++;
  leave_cold();
  return f && f->loaded ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuLaunchKernelEx(const CUlaunchConfig *c, CUfunction f, void **params,
                          void **extra)
{
  struct fake_launch l;

  if (count_only) return count_launch(f);
  INSIDE;
  memset(&l, 0, sizeof l);
  l.stream = c->hStream;
  l.shared = c->sharedMemBytes;
  if (!f || !f->loaded) return CUDA_ERROR_INVALID_HANDLE;
  if (params || !c->gridDimX || !c->gridDimY || !c->gridDimZ ||
      !c->blockDimX || c->blockDimY != 1 || c->blockDimZ != 1 ||
      c->numAttrs || c->sharedMemBytes > (unsigned)f->max_dynamic ||
      !args_read(extra, &l))
    return CUDA_ERROR_INVALID_VALUE;
  snprintf(l.name, sizeof l.name, "%s", f->name);
  l.grid[0] = c->gridDimX;
  l.grid[1] = c->gridDimY;
  l.grid[2] = c->gridDimZ;
  l.block = c->blockDimX;
  if (c->hStream && c->hStream->capture)
    return graph_add(c->hStream->capture, &l);
  launch_run(&l);
  return CUDA_SUCCESS;
}

/* What the library does not call: scripts/bench/dispatch.c does. */
CUresult cuLaunchKernel(CUfunction f, unsigned x, unsigned y, unsigned z,
                        unsigned bx, unsigned by, unsigned bz, unsigned shared,
                        CUstream stream, void **params, void **extra)
{
  CUlaunchConfig c = {
      .gridDimX = x, .gridDimY = y, .gridDimZ = z, .blockDimX = bx,
      .blockDimY = by, .blockDimZ = bz, .sharedMemBytes = shared,
      .hStream = stream};

  return cuLaunchKernelEx(&c, f, params, extra);
}

/* ---- Memory ---------------------------------------------------------- */

CUresult cuMemAlloc(CUdeviceptr *out, size_t size)
{
  INSIDE;
  if (!size) return CUDA_ERROR_INVALID_VALUE;
  if (size > (size_t)1 << 30) return CUDA_ERROR_OUT_OF_MEMORY;
  *out = (CUdeviceptr)keep(aligned_alloc(512, (size + 511) / 512 * 512));
  return CUDA_SUCCESS;
}

CUresult cuMemFree(CUdeviceptr memory)
{
  INSIDE;
  destroy((void *)memory);
  return CUDA_SUCCESS;
}

CUresult cuMemHostAlloc(void **out, size_t size, unsigned int flags)
{
  INSIDE;
  if (!size || flags) return CUDA_ERROR_INVALID_VALUE;
  *out = make(size);
  return CUDA_SUCCESS;
}

CUresult cuMemFreeHost(void *memory)
{
  INSIDE;
  destroy(memory);
  return CUDA_SUCCESS;
}

CUresult cuMemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t size,
                           CUstream stream)
{
  INSIDE;
  if (!stream) return CUDA_ERROR_INVALID_VALUE;
  pthread_mutex_lock(&lock);
  if (copy_count == MAX_COPIES) abort(); /* nobody waits */
  copies[copy_count++] = (struct copy){(void *)to, from, size};
  pthread_mutex_unlock(&lock);
  return CUDA_SUCCESS;
}

CUresult cuMemcpyHtoD(CUdeviceptr to, const void *from, size_t size)
{
  INSIDE;
  copies_run();
  memcpy((void *)to, from, size);
  return CUDA_SUCCESS;
}

CUresult cuMemcpyDtoH(void *to, CUdeviceptr from, size_t size)
{
  INSIDE;
  copies_run();
  memcpy(to, (const void *)from, size);
  return CUDA_SUCCESS;
}

CUresult cuMemcpyDtoD(CUdeviceptr to, CUdeviceptr from, size_t size)
{
  INSIDE;
  copies_run();
  memcpy((void *)to, (const void *)from, size);
  return CUDA_SUCCESS;
}

CUresult cuMemsetD8(CUdeviceptr to, unsigned char byte, size_t size)
{
  INSIDE;
  memset((void *)to, byte, size);
  return CUDA_SUCCESS;
}

/* ---- Streams, graphs, events ----------------------------------------- */

CUresult cuStreamCreate(CUstream *out, unsigned int flags)
{
  INSIDE;
  if (flags != CU_STREAM_DEFAULT) return CUDA_ERROR_INVALID_VALUE;
  *out = make(sizeof **out);
  return CUDA_SUCCESS;
}

CUresult cuStreamDestroy(CUstream stream)
{
  INSIDE;
  destroy(stream);
  return CUDA_SUCCESS;
}

CUresult cuStreamBeginCapture(CUstream stream, CUstreamCaptureMode mode)
{
  INSIDE;
  (void)mode;
  if (!stream || stream->capture) return CUDA_ERROR_ILLEGAL_STATE;
  stream->capture = make(sizeof *stream->capture);
  return CUDA_SUCCESS;
}

/* The stream leaves the capture even if this is the call that fails. */
CUresult cuStreamEndCapture(CUstream stream, CUgraph *out)
{
  struct CUgraph_st *graph = stream->capture;
  CUresult result = count_call(__func__);

  if (!graph) return CUDA_ERROR_ILLEGAL_STATE;
  stream->capture = NULL;
  *out = graph;
  if (!result) return CUDA_SUCCESS;
  destroy(graph);
  *out = NULL;
  return result;
}

CUresult cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus *out)
{
  INSIDE;
  *out = stream && stream->capture ? CU_STREAM_CAPTURE_STATUS_ACTIVE
                                   : CU_STREAM_CAPTURE_STATUS_NONE;
  return CUDA_SUCCESS;
}

CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode)
{
  static _Thread_local CUstreamCaptureMode own;
  CUstreamCaptureMode before = own;

  INSIDE;
  own = *mode;
  *mode = before;
  return CUDA_SUCCESS;
}

CUresult cuGraphDestroy(CUgraph graph)
{
  INSIDE;
  destroy(graph);
  return CUDA_SUCCESS;
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec *out, CUgraph graph,
                                     unsigned long long flags)
{
  INSIDE;
  if (flags) return CUDA_ERROR_INVALID_VALUE;
  *out = make(sizeof **out);
  for (size_t i = 0; i < graph->count; i++)
    (*out)->graph.nodes[(*out)->graph.count++] = graph->nodes[i];
  return CUDA_SUCCESS;
}

CUresult cuGraphUpload(CUgraphExec exec, CUstream stream)
{
  INSIDE;
  if (!stream || stream->capture) return CUDA_ERROR_INVALID_VALUE;
  exec->uploaded = true;
  return CUDA_SUCCESS;
}

CUresult cuGraphLaunch(CUgraphExec exec, CUstream stream)
{
  INSIDE;
  if (!exec->uploaded || !stream) return CUDA_ERROR_INVALID_VALUE;
  for (size_t i = 0; i < exec->graph.count; i++)
    launch_run(&exec->graph.nodes[i]);
  return CUDA_SUCCESS;
}

CUresult cuGraphExecDestroy(CUgraphExec exec)
{
  INSIDE;
  destroy(exec);
  return CUDA_SUCCESS;
}

/* Only an event that keeps its time and does not block can be made. */
CUresult cuEventCreate(CUevent *out, unsigned int flags)
{
  INSIDE;
  if (flags != CU_EVENT_DEFAULT) return CUDA_ERROR_INVALID_VALUE;
  *out = make(sizeof **out);
  return CUDA_SUCCESS;
}

CUresult cuEventDestroy(CUevent event)
{
  INSIDE;
  destroy(event);
  return CUDA_SUCCESS;
}

CUresult cuEventRecord(CUevent event, CUstream stream)
{
  INSIDE;
  if (!stream) return CUDA_ERROR_INVALID_VALUE;
  event->recorded_us = clock_us;
  event->recorded = true;
  event->polls_left = POLLS;
  return CUDA_SUCCESS;
}

CUresult cuEventQuery(CUevent event)
{
  INSIDE;
  if (event->polls_left-- > 0) return CUDA_ERROR_NOT_READY;
  copies_run();
  return CUDA_SUCCESS;
}

static CUresult elapsed(float *ms, CUevent start, CUevent stop)
{
  if (!start->recorded || !stop->recorded || stop->polls_left >= 0)
    return CUDA_ERROR_NOT_READY;
  *ms = (float)(stop->recorded_us - start->recorded_us) / 1000;
  return CUDA_SUCCESS;
}

/* Since 12.8 headers say _v2; the first one is what difftune takes. */
#undef cuEventElapsedTime
CUresult cuEventElapsedTime(float *ms, CUevent start, CUevent stop);
CUresult cuEventElapsedTime(float *ms, CUevent start, CUevent stop)
{
  INSIDE;
  return elapsed(ms, start, stop);
}

/* ---- Handing out ----------------------------------------------------- */

/* The one that older headers do not make a macro of. */
#undef cuDeviceGetUuid
#define cuDeviceGetUuid cuDeviceGetUuid_v2

#define ENTRIES(X)                                                             \
  X(cuInit, 2000) X(cuDriverGetVersion, 2020) X(cuGetErrorName, 6000)          \
  X(cuGetErrorString, 6000) X(cuDeviceGetCount, 2000) X(cuDeviceGet, 2000)     \
  X(cuDeviceGetName, 2000) X(cuDeviceGetUuid, 11040)                           \
  X(cuDeviceTotalMem, 3020) X(cuDeviceGetAttribute, 2000)                      \
  X(cuDevicePrimaryCtxRetain, 7000) X(cuDevicePrimaryCtxRelease, 11000)        \
  X(cuCtxGetCurrent, 4000) X(cuCtxSetCurrent, 4000)                            \
  X(cuCtxPushCurrent, 4000) X(cuCtxPopCurrent, 4000) X(cuCtxGetDevice, 2000)   \
  X(cuCtxSynchronize, 2000) X(cuModuleLoadData, 2000) X(cuModuleUnload, 2000)  \
  X(cuModuleGetFunction, 2000) X(cuFuncLoad, 12040)                            \
  X(cuFuncGetAttribute, 2020) X(cuFuncSetAttribute, 9000)                      \
  X(cuOccupancyMaxActiveBlocksPerMultiprocessor, 6050)                         \
  X(cuLaunchKernelEx, 11060) X(cuMemAlloc, 3020) X(cuMemFree, 3020)            \
  X(cuMemcpyHtoD, 3020) X(cuMemcpyDtoH, 3020) X(cuMemcpyDtoD, 3020)            \
  X(cuMemHostAlloc, 2020) X(cuMemFreeHost, 2000) X(cuMemcpyHtoDAsync, 3020)    \
  X(cuMemsetD8, 3020) X(cuStreamCreate, 2000) X(cuStreamDestroy, 4000)         \
  X(cuStreamBeginCapture, 10010) X(cuStreamEndCapture, 10000)                  \
  X(cuStreamIsCapturing, 10000) X(cuThreadExchangeStreamCaptureMode, 10010)    \
  X(cuGraphInstantiateWithFlags, 11040) X(cuGraphUpload, 11010)                \
  X(cuGraphLaunch, 10000) X(cuGraphDestroy, 10000)                             \
  X(cuGraphExecDestroy, 10000) X(cuEventCreate, 2000) X(cuEventDestroy, 4000)  \
  X(cuEventRecord, 2000) X(cuEventQuery, 2000) X(cuEventElapsedTime, 2000)

/* The assignments do not compile if a signature is another one. */
#define FIELD(name, since) PFN_##name##_v##since name##_;
#define VALUE(name, since) name,
static const struct {
  ENTRIES(FIELD)
} table = {ENTRIES(VALUE)};

#define ROW(name, since) {#name, since, (void *const *)&table.name##_},
static const struct {
  const char *name;
  int version;
  void *const *place;
} rows[] = {ENTRIES(ROW)};

/* As the driver does: nothing for a version before the entry point's.  With
 * FAKE_CUDA_OLD it knows no name at all, as if it were not there. */
CUresult cuGetProcAddress(const char *name, void **out, int version,
                          cuuint64_t flags, CUdriverProcAddressQueryResult *how)
{
  *out = NULL;
  *how = CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
  if (getenv("FAKE_CUDA_OLD")) return CUDA_ERROR_NOT_FOUND;
  if (flags != CU_GET_PROC_ADDRESS_LEGACY_STREAM)
    return CUDA_ERROR_INVALID_VALUE;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    if (strcmp(rows[i].name, name)) continue;
    *how = CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT;
    if (version < rows[i].version) return CUDA_ERROR_NOT_FOUND;
    *out = *rows[i].place;
    *how = CU_GET_PROC_ADDRESS_SUCCESS;
    return CUDA_SUCCESS;
  }
  return CUDA_ERROR_NOT_FOUND;
}
