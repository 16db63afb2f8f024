/*
 * cuda.c - the CUDA device: contexts, modules, launches, memory.
 *
 * Handles of the driver are our handles: a `struct module` is a CUmodule, a
 * kernel's handle a CUfunction, and nothing here allocates but open() and
 * attach().  Every call works in the device's context whatever the calling
 * thread has current, and puts the thread's own back.
 */
#include "device.h"

#ifdef DIFFTUNE_CUDA
#include <string.h>

#include "cubin.h"
#include "cuda_driver.h"

/* Static and dynamic shared memory above this must be asked for. */
enum { SHARED_FREE = 48 * 1024 };

dd_status cuda_enter(const struct device *d)
{
  return CUDA(cuCtxPushCurrent, ((const struct cuda_device *)d)->context);
}

dd_status cuda_leave(dd_status status)
{
  CUcontext ours;

  cuda.cuCtxPopCurrent_(&ours);
  return status;
}

/* ---- Devices and contexts -------------------------------------------- */

static dd_status cuda_list(struct device_info *infos, size_t capacity,
                           size_t *count)
{
  int found = 0;

  *count = 0;
  TRY(cuda_driver_open());
  TRY(CUDA(cuDeviceGetCount, &found));
  for (int i = 0; i < found && (size_t)i < capacity; i++) {
    CUdevice device;

    TRY(CUDA(cuDeviceGet, &device, i));
    TRY(cuda_info_get(device, &infos[i]));
  }
  *count = (size_t)found;
  return DD_OK;
}

static dd_status device_make(CUdevice ordinal, struct cuda_device **out)
{
  struct cuda_device *c = mem_resize(NULL, NULL, 0, sizeof *c);
  dd_status status;

  if (!c) return fail(DD_NO_MEMORY, "out of memory");
  memset(c, 0, sizeof *c);
  c->base.api = &cuda_device;
  c->ordinal = ordinal;
  status = cuda_info_get(ordinal, &c->base.info);
  if (status) {
    mem_resize(NULL, c, sizeof *c, 0);
    return status;
  }
  *out = c;
  return DD_OK;
}

static dd_status ordinal_find(int index, CUdevice *out)
{
  int count = 0;

  TRY(cuda_driver_open());
  TRY(CUDA(cuDeviceGetCount, &count));
  if (index < 0 || index >= count)
    return fail(DD_NO_DEVICE, "no CUDA device has the index %d; %d visible",
                index, count);
  return CUDA(cuDeviceGet, out, index);
}

/* The context of an opened device is not the thread's any more. */
static void context_release(struct cuda_device *c)
{
  CUcontext current = NULL;

  if (!cuda.cuCtxGetCurrent_(&current) && current == c->context)
    cuda.cuCtxSetCurrent_(NULL);
  cuda.cuDevicePrimaryCtxRelease_(c->ordinal);
}

static void cuda_close(struct device *d)
{
  struct cuda_device *c = (struct cuda_device *)d;

  if (!c) return;
  if (c->stream || c->stage) {
    dd_status outside = cuda_enter(d); /* then the driver refuses to destroy */
    cuda_stage_close(c);
    cuda_record_close(c);
    if (!outside) cuda_leave(DD_OK);
  }
  if (c->retained) context_release(c);
  mem_resize(NULL, c, sizeof *c, 0);
}

static dd_status context_retain(struct cuda_device *c)
{
  TRY(CUDA(cuDevicePrimaryCtxRetain, &c->context, c->ordinal));
  c->retained = true;
  return CUDA(cuCtxSetCurrent, c->context);
}

static dd_status cuda_open(int index, struct device **out)
{
  struct cuda_device *c;
  CUdevice ordinal;
  dd_status status;

  *out = NULL;
  TRY(ordinal_find(index, &ordinal));
  TRY(device_make(ordinal, &c));
  status = context_retain(c);
  if (status)
    cuda_close(&c->base);
  else
    *out = &c->base;
  return status;
}

static dd_status cuda_attach(struct device **out)
{
  struct cuda_device *c;
  CUcontext context = NULL;
  CUdevice ordinal;

  *out = NULL;
  TRY(cuda_driver_open());
  TRY(CUDA(cuCtxGetCurrent, &context));
  if (!context)
    return fail(DD_NO_DEVICE,
                "this thread has no current CUDA context; call cudaFree(0) or "
                "cuCtxSetCurrent() before");
  TRY(CUDA(cuCtxGetDevice, &ordinal));
  TRY(device_make(ordinal, &c));
  c->context = context;
  cuda_info_narrow(context, &c->base.info);
  *out = &c->base;
  return DD_OK;
}

static dd_status cuda_wait(struct device *d)
{
  TRY(cuda_enter(d));
  return cuda_leave(CUDA(cuCtxSynchronize));
}

/* ---- Code ------------------------------------------------------------ */

/* While some thread captures, loading is an error to it, and breaks its
 * capture, unless this thread says that it knows what it does. */
static dd_status load_relaxed(CUmodule *out, const void *code)
{
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
  dd_status status;

  TRY(CUDA(cuThreadExchangeStreamCaptureMode, &mode));
  status = CUDA(cuModuleLoadData, out, code);
  if (status) {
    cuda.cuThreadExchangeStreamCaptureMode_(&mode); /* the thread's own again */
    return status;
  }
  status = CUDA(cuThreadExchangeStreamCaptureMode, &mode);
  if (status) cuda.cuModuleUnload_(*out);
  return status;
}

static dd_status cuda_load(struct device *d, const void *code, size_t size,
                           struct module **out)
{
  CUmodule module = NULL;
  dd_status status;

  *out = NULL;
  TRY(cubin_check(code, size));
  TRY(cuda_enter(d));
  status = cuda_leave(load_relaxed(&module, code));
  if (!status) *out = (struct module *)module;
  return status;
}

static void cuda_unload(struct device *d, struct module *m)
{
  if (!m || cuda_enter(d)) return;
  cuda.cuModuleUnload_((CUmodule)m);
  cuda_leave(DD_OK);
}

/* Modules load lazily by default, which would be at the first launch, and
 * perhaps within a capture: cuFuncLoad does it now. */
static dd_status kernel_get(CUmodule module, const char *entry,
                            struct kernel *out)
{
  CUfunction f = NULL;

  TRY(CUDA(cuModuleGetFunction, &f, module, entry));
  if (cuda.cuFuncLoad_) TRY(CUDA(cuFuncLoad, f));
  TRY(CUDA(cuFuncGetAttribute, &out->registers, CU_FUNC_ATTRIBUTE_NUM_REGS,
           f));
  TRY(CUDA(cuFuncGetAttribute, &out->local_bytes,
           CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES, f));
  TRY(CUDA(cuFuncGetAttribute, &out->shared_bytes,
           CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, f));
  out->handle = f;
  return DD_OK;
}

static dd_status cuda_kernel(struct device *d, struct module *m,
                             const char *entry, struct kernel *out)
{
  dd_status status;

  memset(out, 0, sizeof *out);
  TRY(cuda_enter(d));
  status = cuda_leave(kernel_get((CUmodule)m, entry, out));
  return status ? fail_in(status, "entry '%s'", entry) : DD_OK;
}

/* ---- Launches -------------------------------------------------------- */

/* Once, so that a launch is one call; never less, for a problem of another size
 * may have launched the same kernel with more. */
static dd_status shared_allow(CUfunction f, uint32_t bytes)
{
  int allowed = 0;

  TRY(CUDA(cuFuncGetAttribute, &allowed,
           CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, f));
  if (allowed < (int)bytes) allowed = (int)bytes;
  return CUDA(cuFuncSetAttribute, f,
              CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, allowed);
}

static dd_status occupancy(const struct kernel *k, uint32_t block,
                           uint32_t shared_bytes, int *out)
{
  CUfunction f = k->handle;

  if (shared_bytes + (uint32_t)k->shared_bytes > SHARED_FREE)
    TRY(shared_allow(f, shared_bytes));
  TRY(CUDA(cuOccupancyMaxActiveBlocksPerMultiprocessor, out, f, (int)block,
           shared_bytes));
  if (*out < 1)
    return fail(DD_DEVICE,
                "no block of %u threads with %u bytes of shared memory fits "
                "on an SM",
                block, shared_bytes);
  return DD_OK;
}

static dd_status cuda_occupancy(struct device *d, const struct kernel *k,
                                uint32_t block, uint32_t shared_bytes, int *out)
{
  *out = 0;
  TRY(cuda_enter(d));
  return cuda_leave(occupancy(k, block, shared_bytes, out));
}

static bool cuda_capturing(struct device *d, void *stream)
{
  CUstreamCaptureStatus how = CU_STREAM_CAPTURE_STATUS_NONE;
  CUresult result;

  if (cuda_enter(d)) return true;
  result = cuda.cuStreamIsCapturing_(stream, &how);
  cuda_leave(DD_OK);
  return result || how != CU_STREAM_CAPTURE_STATUS_NONE;
}

/* The driver only reads what it is given. */
static inline void *readable(const void *from)
{
  union {
    const void *from;
    void *to;
  } both = {.from = from};

  return both.to;
}

/* A thread that never touched CUDA has no context: lend it the device's. */
static NOINLINE dd_status launch_again(const struct device *d, CUresult result,
                                       const CUlaunchConfig *config,
                                       CUfunction f, void **extra)
{
  if (d && result == CUDA_ERROR_INVALID_CONTEXT) {
    TRY(cuda_enter(d));
    result = cuda.cuLaunchKernelEx_(config, f, NULL, extra);
    cuda_leave(DD_OK);
  }
  return cuda_check("cuLaunchKernelEx", result);
}

/* `d` NULL: the thread is in the device's context. */
static ALWAYS_INLINE dd_status enqueue(const struct device *d,
                                       const struct launch *l,
                                       const void *args, CUstream stream)
{
  void *params[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, readable(args),
                    CU_LAUNCH_PARAM_BUFFER_SIZE, readable(&l->args_size),
                    CU_LAUNCH_PARAM_END};
  void **extra = l->args_size ? params : NULL;
  CUlaunchConfig config;
  CUresult result;

  _Static_assert(offsetof(struct launch, block) ==
                     offsetof(struct launch, grid) +
                         offsetof(CUlaunchConfig, blockDimX),
                 "the grid and the block's first stand together in both");
  memcpy(&config, l->grid, sizeof l->grid + sizeof l->block);
  config.blockDimY = config.blockDimZ = 1;
  config.sharedMemBytes = l->shared_bytes;
  config.hStream = stream;
  config.attrs = NULL;
  config.numAttrs = 0;
  result = cuda.cuLaunchKernelEx_(&config, l->kernel.handle, NULL, extra);
  if (LIKELY(!result)) return DD_OK;
  return launch_again(d, result, &config, l->kernel.handle,
                      l->args_size ? params : NULL); /* `extra` is not kept */
}

static bool launches_nothing(const struct launch *l)
{
  return !l->grid[0] || !l->grid[1] || !l->grid[2];
}

dd_status cuda_enqueue(const struct launch *l, CUstream stream)
{
  return launches_nothing(l) ? DD_OK : enqueue(NULL, l, l->args, stream);
}

static HOT dd_status cuda_start(struct device *d, const struct launch *l,
                                const void *args, void *stream)
{
  return enqueue(d, l, args, stream);
}

static dd_status cuda_launch(struct device *d, const struct launch *l,
                             void *stream)
{
  return launches_nothing(l) ? DD_OK : cuda_start(d, l, l->args, stream);
}

/* ---- Memory ---------------------------------------------------------- */

static CUdeviceptr address(const void *memory)
{
  return (CUdeviceptr)(uintptr_t)memory;
}

/* The driver aligns to 512 bytes, and refuses a size of zero. */
static dd_status cuda_allocate(struct device *d, size_t size, void **out)
{
  CUdeviceptr memory = 0;
  dd_status status;

  *out = NULL;
  TRY(cuda_enter(d));
  status = cuda_leave(CUDA(cuMemAlloc, &memory, size ? size : 1));
  if (status) return fail_in(status, "%zu bytes", size);
  *out = (void *)(uintptr_t)memory;
  return DD_OK;
}

static void cuda_deallocate(struct device *d, void *memory, size_t size)
{
  (void)size;
  if (!memory || cuda_enter(d)) return;
  cuda.cuMemFree_(address(memory));
  cuda_leave(DD_OK);
}

static dd_status copy_in(struct cuda_device *c, CUdeviceptr to,
                         const void *from, size_t n)
{
  bool staged = false;

  if (n >= CUDA_STAGED) TRY(cuda_stage_copy(c, to, from, n, &staged));
  return staged ? DD_OK : CUDA(cuMemcpyHtoD, to, from, n);
}

static dd_status cuda_copy_in(struct device *d, void *to, const void *from,
                              size_t n)
{
  if (!n) return DD_OK;
  TRY(cuda_enter(d));
  return cuda_leave(copy_in((struct cuda_device *)d, address(to), from, n));
}

static dd_status cuda_copy_out(struct device *d, void *to, const void *from,
                               size_t n)
{
  if (!n) return DD_OK;
  TRY(cuda_enter(d));
  return cuda_leave(CUDA(cuMemcpyDtoH, to, address(from), n));
}

static dd_status cuda_copy(struct device *d, void *to, const void *from,
                           size_t n)
{
  if (!n) return DD_OK;
  TRY(cuda_enter(d));
  return cuda_leave(CUDA(cuMemcpyDtoD, address(to), address(from), n));
}

static dd_status cuda_fill(struct device *d, void *to, uint8_t byte, size_t n)
{
  if (!n) return DD_OK;
  TRY(cuda_enter(d));
  return cuda_leave(CUDA(cuMemsetD8, address(to), byte, n));
}

const struct device_api cuda_device = {
    .kind = "cuda",
    .list = cuda_list,
    .open = cuda_open,
    .attach = cuda_attach,
    .close = cuda_close,
    .load = cuda_load,
    .unload = cuda_unload,
    .kernel = cuda_kernel,
    .occupancy = cuda_occupancy,
    .capturing = cuda_capturing,
    .launch = cuda_launch,
    .start = cuda_start,
    .wait = cuda_wait,
    .allocate = cuda_allocate,
    .deallocate = cuda_deallocate,
    .copy_in = cuda_copy_in,
    .copy_out = cuda_copy_out,
    .copy = cuda_copy,
    .fill = cuda_fill,
    .record = cuda_record,
    .record_start = cuda_record_start,
    .record_wait = cuda_record_wait,
    .record_free = cuda_record_free,
    .burst_time = cuda_burst_time,
};

#else /* no CUDA headers: nothing opens, so nothing else can be called */

static dd_status absent(void)
{
  return fail(DD_NO_DEVICE, "difftune was built without the CUDA headers");
}

static dd_status cuda_list(struct device_info *infos, size_t capacity,
                           size_t *count)
{
  (void)infos;
  (void)capacity;
  *count = 0;
  return absent();
}

static dd_status cuda_open(int index, struct device **out)
{
  (void)index;
  *out = NULL;
  return absent();
}

static dd_status cuda_attach(struct device **out)
{
  *out = NULL;
  return absent();
}

const struct device_api cuda_device = {
    .kind = "cuda",
    .list = cuda_list,
    .open = cuda_open,
    .attach = cuda_attach,
};
#endif
