/* clocks.c - how fast a GPU's clock runs, and why it is held back. */
#include "clocks.h"

#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "embedded.h"
#include "tool_code.h"

extern const struct embedded_file embedded_kernels[];

/* ---- NVML ---------------------------------------------------------------- */

/* The few entries of nvml.h that are used, by its ABI; 0 is success. */
enum { NVML_CLOCK_SM = 1 };
struct nvml {
  int (*init)(void);
  int (*find)(const char *uuid, void **handle);
  int (*clock)(void *handle, int type, unsigned *mhz);
  int (*reasons)(void *handle, unsigned long long *bits);
};

/* NVML's bits.  Idle, and clocks that somebody has set, disturb nothing. */
static const struct {
  uint32_t bit;
  const char *name;
} throttles[] = {
    {0x04, "power cap"}, {0x08, "hardware slowdown"}, {0x20, "heat"},
    {0x40, "heat (hardware)"}, {0x80, "power brake"},
};

static struct nvml nvml;
static bool nvml_works;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Never unloaded, like the driver. */
static void load_once(void)
{
  const char *path = secure_getenv("DIFFTUNE_LIBNVML");
  void *library;

  library = dlopen(path && *path ? path : "libnvidia-ml.so.1",
                   RTLD_NOW | RTLD_LOCAL);
  if (!library) return;
  *(void **)&nvml.init = dlsym(library, "nvmlInit_v2");
  *(void **)&nvml.find = dlsym(library, "nvmlDeviceGetHandleByUUID");
  *(void **)&nvml.clock = dlsym(library, "nvmlDeviceGetClockInfo");
  *(void **)&nvml.reasons =
      dlsym(library, "nvmlDeviceGetCurrentClocksThrottleReasons");
  nvml_works = nvml.init && nvml.find && nvml.clock && nvml.reasons &&
               nvml.init() == 0;
}

static bool open_nvml(struct clocks *c)
{
  pthread_once(&once, load_once);
  if (!nvml_works || nvml.find(c->device->info.uuid, &c->handle)) return false;
  c->nvml = &nvml;
  return true;
}

static struct clock_reading read_nvml(const struct clocks *c)
{
  struct clock_reading r = {0, 0};
  unsigned long long bits = 0;
  unsigned mhz = 0;

  if (c->nvml->clock(c->handle, NVML_CLOCK_SM, &mhz) == 0) r.mhz = mhz;
  if (c->nvml->reasons(c->handle, &bits)) return r;
  for (size_t i = 0; i < COUNT_OF(throttles); ++i)
    r.throttle |= (uint32_t)bits & throttles[i].bit;
  return r;
}

/* ---- The kernel ---------------------------------------------------------- */

enum { TOOL_MHZ = 2 }; /* of tuner/kernels/, in the order of their names */

static dd_status open_kernel(struct clocks *c)
{
  struct bytes code = BYTES_INIT;
  const struct device_api *api = c->device->api;
  dd_status status;

  status = tool_code(c->device, embedded_kernels[TOOL_MHZ].text, TOOL_FUSED,
                     &code);
  if (!status)
    status = api->load(c->device, code.data, code.size, &c->module);
  if (!status) status = api->kernel(c->device, c->module, "dt_mhz", &c->kernel);
  if (!status) status = api->allocate(c->device, 16, &c->result);
  bytes_release(&code);
  return status;
}

static dd_status run_kernel(struct clocks *c, uint64_t result[2])
{
  const struct device_api *api = c->device->api;
  struct launch l = {.kernel = c->kernel, .grid = {1, 1, 1}, .block = 1,
                     .args = &c->result, .args_size = sizeof c->result};

  TRY(api->launch(c->device, &l, NULL));
  TRY(api->wait(c->device));
  return api->copy_out(c->device, result, c->result, 16);
}

static struct clock_reading read_kernel(struct clocks *c)
{
  uint64_t result[2] = {0, 0};

  if (run_kernel(c, result) || !result[1]) return (struct clock_reading){0, 0};
  return (struct clock_reading){1e3 * (double)result[0] / (double)result[1], 0};
}

/* ---- Both ---------------------------------------------------------------- */

void clocks_open(struct clocks *c, struct device *d)
{
  memset(c, 0, sizeof *c);
  c->device = d;
  if (strcmp(d->info.kind, "cuda") || open_nvml(c)) return;
  if (!open_kernel(c)) return;
  clocks_close(c);
  c->device = d; /* do not try again */
}

void clocks_close(struct clocks *c)
{
  if (c->result) c->device->api->deallocate(c->device, c->result, 16);
  if (c->module) c->device->api->unload(c->device, c->module);
  memset(c, 0, sizeof *c);
}

struct clock_reading clocks_read(struct clocks *c)
{
  if (c->nvml) return read_nvml(c);
  if (c->result) return read_kernel(c);
  return (struct clock_reading){0, 0};
}

bool clocks_disturbed(struct clock_reading before, struct clock_reading after)
{
  if (before.throttle || after.throttle) return true;
  if (before.mhz <= 0 || after.mhz <= 0) return false;
  return fabs(after.mhz / before.mhz - 1) > 0.02;
}

void clocks_throttle(uint32_t bits, char *out, size_t size)
{
  size_t used = 0;

  if (size) *out = 0;
  for (size_t i = 0; i < COUNT_OF(throttles); ++i) {
    if (!(bits & throttles[i].bit) || used >= size) continue;
    used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "",
                             throttles[i].name);
  }
}
