/*
 * device.h - one small interface, two kinds of device.
 *
 * cuda  the driver API, found with dlopen          (cuda.c)
 * cpu   the same kernels, one fiber per CUDA thread (cpu.c, cpu_fiber.cpp)
 *
 * The tuner uses nearly all of it; the library attach, close, load, unload,
 * kernel, occupancy, capturing and launch.  Device memory is addressed by
 * void *, as CUDA does on a 64-bit host; on the CPU device it is host memory.
 */
#ifndef DIFFTUNE_DEVICE_H
#define DIFFTUNE_DEVICE_H

#include "base.h"

struct device_info {
  char kind[8];  /* "cuda", "cpu" */
  char name[96]; /* "NVIDIA H200"; "cpu" */
  char uuid[48]; /* "GPU-...", or "cpu" */
  char driver[32];
  int index;
  int arch; /* 90; 0 on the CPU device */
  int sms;
  int64_t l2_bytes, memory_bytes;
};

struct module;  /* loaded code */
struct kernel { /* one entry of a module; fill with device_kernel() */
  void *handle;
  int registers;   /* per thread; 0 where unknown */
  int local_bytes; /* per thread: spills and arrays */
  int shared_bytes;
};

/* Everything one launch needs.  The argument struct is copied by launch(). */
struct launch {
  struct kernel kernel;
  uint32_t grid[3], block, shared_bytes;
  const void *args;
  size_t args_size;
};

struct device {
  const struct device_api *api;
  struct device_info info;
};

struct recording; /* launches that are timed together (a CUDA graph) */
enum { RUN_SLOTS = 32 }; /* runs of recordings that may be enqueued at once */

/* All functions return DD_DEVICE with the driver's words on failure unless they
 * say otherwise.  A device is used by one thread at a time, but for launch()
 * and copy_in(). */
struct device_api {
  const char *kind;

  /* What is visible: fills at most `capacity` infos, sets *count to how many
   * there are.  DD_NO_DEVICE and a sentence where there is no driver. */
  dd_status (*list)(struct device_info *infos, size_t capacity, size_t *count);

  /* A context of our own on device `index` (the tuner's worker). */
  dd_status (*open)(int index, struct device **out);
  /* The calling thread's current context, never a new one (the library). */
  dd_status (*attach)(struct device **out);
  void (*close)(struct device *d);

  /* Code as compile() made it: a cubin, or a shared object. */
  dd_status (*load)(struct device *d, const void *code, size_t size,
                    struct module **out);
  void (*unload)(struct device *d, struct module *m);
  dd_status (*kernel)(struct device *d, struct module *m, const char *entry,
                      struct kernel *out);
  /* Blocks of this size that fit on one SM at once; at least 1.  A kernel that
   * takes more than 48 KB of shared memory can be launched only after it. */
  dd_status (*occupancy)(struct device *d, const struct kernel *k,
                         uint32_t block, uint32_t shared_bytes, int *out);

  /* Whether `stream` is being captured, or cannot be asked because another is. */
  bool (*capturing)(struct device *d, void *stream);
  /* Enqueues on `stream` (NULL: the legacy default stream).  A grid with a
   * zero extent launches nothing.  Safe on any thread. */
  dd_status (*launch)(struct device *d, const struct launch *l, void *stream);
  /* The same with `args` in place of the struct's own, where the grid is known
   * to have a block. */
  dd_status (*start)(struct device *d, const struct launch *l, const void *args,
                     void *stream);
  /* Waits for all work; reports what a kernel did wrong. */
  dd_status (*wait)(struct device *d);

  /* Memory of the tuner's: at least 256-byte aligned. */
  dd_status (*allocate)(struct device *d, size_t size, void **out);
  void (*deallocate)(struct device *d, void *memory, size_t size);
  /* `from` may change at once; what is enqueued afterwards, or copied, finds
   * the bytes.  A failure of the device may be told by a later call. */
  dd_status (*copy_in)(struct device *d, void *to, const void *from, size_t n);
  dd_status (*copy_out)(struct device *d, void *to, const void *from, size_t n);
  dd_status (*copy)(struct device *d, void *to, const void *from, size_t n);
  dd_status (*fill)(struct device *d, void *to, uint8_t byte, size_t n);

  /* Records the launches in this order (the argument structs are copied), to
   * be run again and again.  record_start() enqueues one run of them all;
   * several may be enqueued, each in a slot of its own.  record_wait() gives
   * the microseconds that the last run in a slot took, for all launches
   * together: without what the host was late, if the device was busy when the
   * run was enqueued. */
  dd_status (*record)(struct device *d, const struct launch *l, size_t count,
                      struct recording **out);
  dd_status (*record_start)(struct device *d, struct recording *r,
                            uint32_t slot);
  dd_status (*record_wait)(struct device *d, uint32_t slot, double *us);
  void (*record_free)(struct device *d, struct recording *r);
  /* The same time of launches that are enqueued one by one, as a host without
   * graphs does. */
  dd_status (*burst_time)(struct device *d, const struct launch *l,
                          size_t count, double *us);
};

extern const struct device_api cuda_device, cpu_device;

/* Both kinds, cuda first, NULL at the end. */
extern const struct device_api *const device_kinds[];
const struct device_api *device_kind_find(const char *kind); /* or NULL */

#endif
