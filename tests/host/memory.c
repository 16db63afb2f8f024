/* memory.c - see memory.h. */
#define _GNU_SOURCE
#include "memory.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The host's own -------------------------------------------------- */

static void *cpu_allocate(size_t size)
{
  return aligned_alloc(256, (size + 255) / 256 * 256);
}

static int cpu_copy(void *to, const void *from, size_t size)
{
  memcpy(to, from, size);
  return 0;
}

static const struct memory cpu_memory = {cpu_allocate, free, cpu_copy,
                                         cpu_copy};

/* ---- A GPU's --------------------------------------------------------- */

static struct {
  int (*cuInit)(unsigned flags);
  int (*cuDeviceGet)(int *device, int index);
  int (*cuDevicePrimaryCtxRetain)(void **context, int device);
  int (*cuCtxSetCurrent)(void *context);
  int (*cuCtxSynchronize)(void);
  int (*cuMemAlloc_v2)(uint64_t *address, size_t size);
  int (*cuMemFree_v2)(uint64_t address);
  int (*cuMemcpyHtoD_v2)(uint64_t to, const void *from, size_t size);
  int (*cuMemcpyDtoH_v2)(void *to, uint64_t from, size_t size);
} cu;

static void *cuda_allocate(size_t size)
{
  uint64_t address;

  return cu.cuMemAlloc_v2(&address, size) ? NULL : (void *)(uintptr_t)address;
}

static void cuda_release(void *block)
{
  cu.cuMemFree_v2((uintptr_t)block);
}

static int cuda_copy_in(void *to, const void *from, size_t size)
{
  return cu.cuMemcpyHtoD_v2((uintptr_t)to, from, size);
}

static int cuda_copy_out(void *to, const void *from, size_t size)
{
  int failed = cu.cuCtxSynchronize();

  return failed ? failed : cu.cuMemcpyDtoH_v2(to, (uintptr_t)from, size);
}

static const struct memory cuda_memory = {cuda_allocate, cuda_release,
                                          cuda_copy_in, cuda_copy_out};

#define FIND(name) (*(void **)&cu.name = dlsym(driver, #name))

static int find_driver(void)
{
  void *driver = dlopen("libcuda.so.1", RTLD_NOW);

  return driver && FIND(cuInit) && FIND(cuDeviceGet) &&
         FIND(cuDevicePrimaryCtxRetain) && FIND(cuCtxSetCurrent) &&
         FIND(cuCtxSynchronize) && FIND(cuMemAlloc_v2) &&
         FIND(cuMemFree_v2) && FIND(cuMemcpyHtoD_v2) && FIND(cuMemcpyDtoH_v2);
}

static int make_current(void)
{
  void *context;
  int device;

  return cu.cuInit(0) || cu.cuDeviceGet(&device, 0) ||
         cu.cuDevicePrimaryCtxRetain(&context, device) ||
         cu.cuCtxSetCurrent(context);
}

const struct memory *memory_find(const char *device)
{
  if (!strcmp(device, "cpu")) return &cpu_memory;
  if (!find_driver())
    fprintf(stderr, "host: no CUDA driver\n");
  else if (make_current())
    fprintf(stderr, "host: the first GPU cannot be used\n");
  else
    return &cuda_memory;
  return NULL;
}
