/*
 * cuda_driver.h - the CUDA driver's entry points, found at run time.
 *
 * Nothing links libcuda: cuda_driver_open() loads libcuda.so.1, or what
 * $DIFFTUNE_LIBCUDA names (the tests' fake driver), and fills the table `cuda`.
 * Each entry is asked for at the version whose ABI cudaTypedefs.h spells in
 * its PFN_name_vVERSION, so what we call does not change with the headers we
 * were compiled against.  The third column is the suffix of the symbol that
 * has this ABI, for drivers without cuGetProcAddress.
 */
#ifndef DIFFTUNE_CUDA_DRIVER_H
#define DIFFTUNE_CUDA_DRIVER_H

#include <cuda.h>
#include <cudaTypedefs.h>

#include "device.h"

#define CUDA_ENTRIES(X)                                                        \
  X(cuInit, 2000, "")                                                          \
  X(cuDriverGetVersion, 2020, "")                                              \
  X(cuGetErrorName, 6000, "")                                                  \
  X(cuGetErrorString, 6000, "")                                                \
  X(cuDeviceGetCount, 2000, "")                                                \
  X(cuDeviceGet, 2000, "")                                                     \
  X(cuDeviceGetName, 2000, "")                                                 \
  X(cuDeviceGetUuid, 11040, "_v2")                                             \
  X(cuDeviceTotalMem, 3020, "_v2")                                             \
  X(cuDeviceGetAttribute, 2000, "")                                            \
  X(cuDevicePrimaryCtxRetain, 7000, "")                                        \
  X(cuDevicePrimaryCtxRelease, 11000, "_v2")                                   \
  X(cuCtxGetCurrent, 4000, "")                                                 \
  X(cuCtxSetCurrent, 4000, "")                                                 \
  X(cuCtxPushCurrent, 4000, "_v2")                                             \
  X(cuCtxPopCurrent, 4000, "_v2")                                              \
  X(cuCtxGetDevice, 2000, "")                                                  \
  X(cuCtxSynchronize, 2000, "")                                                \
  X(cuModuleLoadData, 2000, "")                                                \
  X(cuModuleUnload, 2000, "")                                                  \
  X(cuModuleGetFunction, 2000, "")                                             \
  X(cuFuncGetAttribute, 2020, "")                                              \
  X(cuFuncSetAttribute, 9000, "")                                              \
  X(cuOccupancyMaxActiveBlocksPerMultiprocessor, 6050, "")                     \
  X(cuLaunchKernelEx, 11060, "")                                               \
  X(cuMemAlloc, 3020, "_v2")                                                   \
  X(cuMemFree, 3020, "_v2")                                                    \
  X(cuMemHostAlloc, 2020, "")                                                  \
  X(cuMemFreeHost, 2000, "")                                                   \
  X(cuMemcpyHtoD, 3020, "_v2")                                                 \
  X(cuMemcpyHtoDAsync, 3020, "_v2")                                            \
  X(cuMemcpyDtoH, 3020, "_v2")                                                 \
  X(cuMemcpyDtoD, 3020, "_v2")                                                 \
  X(cuMemsetD8, 3020, "_v2")                                                   \
  X(cuStreamCreate, 2000, "")                                                  \
  X(cuStreamDestroy, 4000, "_v2")                                              \
  X(cuStreamBeginCapture, 10010, "_v2")                                        \
  X(cuStreamEndCapture, 10000, "")                                             \
  X(cuStreamIsCapturing, 10000, "")                                            \
  X(cuThreadExchangeStreamCaptureMode, 10010, "")                              \
  X(cuGraphInstantiateWithFlags, 11040, "")                                    \
  X(cuGraphUpload, 11010, "")                                                  \
  X(cuGraphLaunch, 10000, "")                                                  \
  X(cuGraphDestroy, 10000, "")                                                 \
  X(cuGraphExecDestroy, 10000, "")                                             \
  X(cuEventCreate, 2000, "")                                                   \
  X(cuEventDestroy, 4000, "_v2")                                               \
  X(cuEventRecord, 2000, "")                                                   \
  X(cuEventQuery, 2000, "")                                                    \
  X(cuEventElapsedTime, 2000, "")

/* Drivers before 550 lack these: NULL there. */
#define CUDA_OPTIONAL_ENTRIES(X)                                               \
  X(cuFuncLoad, 12040, "")                                                     \
  X(cuCtxGetDevResource, 12040, "")

/* cuda.h makes macros of some of these names, so they are pasted, never
 * expanded: the field of cuMemAlloc is `MemAlloc_`, and so on. */
#define CUDA_FIELD(name, version, suffix) PFN_##name##_v##version name##_;

struct cuda_driver {
  CUDA_ENTRIES(CUDA_FIELD)
  CUDA_OPTIONAL_ENTRIES(CUDA_FIELD)
};
extern struct cuda_driver cuda; /* constant once cuda_driver_open() is ok */

/* Loads and starts the driver, once; later calls repeat the answer.
 * Fails   DD_NO_DEVICE */
dd_status cuda_driver_open(void);

/* DD_OK, or DD_DEVICE with "cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY (...)". */
dd_status cuda_check(const char *call, CUresult result);
#define CUDA(name, ...) cuda_check(#name, cuda.name##_(__VA_ARGS__))

/* What list() and open() tell of a device (cuda_info.c). */
dd_status cuda_info_get(CUdevice device, struct device_info *out);
/* The SMs that this context may use: a green context has some of the device's.
 * A driver that cannot say has no such contexts. */
void cuda_info_narrow(CUcontext context, struct device_info *info);

/* The calling thread works in the device's context from enter to leave,
 * which hands its argument on: `return cuda_leave(CUDA(...))`. */
struct cuda_device {
  struct device base;
  CUdevice ordinal;
  CUcontext context;
  bool retained;       /* by open(); attach() borrows the caller's */
  CUstream stream;     /* recordings run here; made by the first of them */
  struct {
    CUevent start, stop; /* around one run of a recording; made by the first */
  } run[RUN_SLOTS];
  struct cuda_stage *stage; /* made by the first large copy to the device */
};
dd_status cuda_enter(const struct device *d);
dd_status cuda_leave(dd_status status);

/* Enqueues on `stream`; the device's context is current. */
dd_status cuda_enqueue(const struct launch *l, CUstream stream);

/* Recordings (cuda_record.c). */
dd_status cuda_record(struct device *d, const struct launch *l, size_t count,
                      struct recording **out);
dd_status cuda_record_start(struct device *d, struct recording *r,
                            uint32_t slot);
dd_status cuda_record_wait(struct device *d, uint32_t slot, double *us);
void cuda_record_free(struct device *d, struct recording *r);
dd_status cuda_burst_time(struct device *d, const struct launch *l,
                          size_t count, double *us);
void cuda_record_close(struct cuda_device *c); /* the stream and the events */
dd_status cuda_event_wait(CUevent event);

/* Large copies to the device (cuda_stage.c); on any thread, inside the context.
 * *staged is false where there is no memory for it: nothing was copied. */
enum { CUDA_STAGED = 1 << 20 }; /* bytes from which it is worth it */
dd_status cuda_stage_copy(struct cuda_device *c, CUdeviceptr to,
                          const char *from, size_t n, bool *staged);
void cuda_stage_close(struct cuda_device *c);

#endif
