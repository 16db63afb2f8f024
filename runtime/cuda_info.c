/*
 * cuda_info.c - what a CUDA device is: name, UUID, driver, size.
 */
#ifdef DIFFTUNE_CUDA
#include "cuda_driver.h"

#include <stdio.h>
#include <string.h>

static dd_status attribute_get(CUdevice device, CUdevice_attribute which,
                               int *out)
{
  return CUDA(cuDeviceGetAttribute, out, which, device);
}

/* "GPU-8-4-4-4-12" as nvidia-smi prints it; a slice of a GPU is a MIG. */
static void uuid_print(const CUuuid *uuid, struct device_info *out)
{
  const uint8_t *b = (const uint8_t *)uuid->bytes;

  snprintf(out->uuid, sizeof out->uuid,
           "%s-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-"
           "%02x%02x%02x%02x%02x%02x",
           strstr(out->name, " MIG ") ? "MIG" : "GPU", b[0], b[1], b[2], b[3],
           b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
           b[14], b[15]);
}

static bool is_build(const char *word)
{
  return strchr(word, '.') && strspn(word, "0123456789.") == strlen(word);
}

/* The driver's build, "580.159.04", out of the kernel module's first line:
 * "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04 ...".
 * Empty where that file is missing. */
static void build_read(char *out, size_t size)
{
  char line[256] = "", *rest = NULL;
  FILE *f = fopen("/proc/driver/nvidia/version", "re");

  *out = 0;
  if (!f) return;
  if (!fgets(line, sizeof line, f)) *line = 0;
  fclose(f);
  for (char *word = strtok_r(line, " \t\n", &rest); word;
       word = strtok_r(NULL, " \t\n", &rest))
    if (is_build(word)) {
      snprintf(out, size, "%s", word);
      return;
    }
}

/* "13.0 580.159.04": the newest CUDA the driver knows, then its build. */
static dd_status driver_get(struct device_info *out)
{
  char build[20];
  int version = 0;

  TRY(CUDA(cuDriverGetVersion, &version));
  build_read(build, sizeof build);
  snprintf(out->driver, sizeof out->driver, "%d.%d%s%s", version / 1000,
           version % 1000 / 10, *build ? " " : "", build);
  return DD_OK;
}

static dd_status sizes_get(CUdevice device, struct device_info *out)
{
  int major = 0, minor = 0, l2 = 0;
  size_t memory = 0;

  TRY(attribute_get(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                    &major));
  TRY(attribute_get(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
                    &minor));
  TRY(attribute_get(device, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT,
                    &out->sms));
  TRY(attribute_get(device, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, &l2));
  TRY(CUDA(cuDeviceTotalMem, &memory, device));
  out->arch = major * 10 + minor;
  out->l2_bytes = l2;
  out->memory_bytes = (int64_t)memory;
  return DD_OK;
}

dd_status cuda_info_get(CUdevice device, struct device_info *out)
{
  CUuuid uuid;

  memset(out, 0, sizeof *out);
  snprintf(out->kind, sizeof out->kind, "cuda");
  out->index = device;
  TRY(CUDA(cuDeviceGetName, out->name, (int)sizeof out->name, device));
  TRY(CUDA(cuDeviceGetUuid, &uuid, device));
  uuid_print(&uuid, out);
  TRY(driver_get(out));
  return sizes_get(device, out);
}

void cuda_info_narrow(CUcontext context, struct device_info *info)
{
  CUdevResource r;

  memset(&r, 0, sizeof r);
  if (!cuda.cuCtxGetDevResource_ ||
      cuda.cuCtxGetDevResource_(context, &r, CU_DEV_RESOURCE_TYPE_SM))
    return;
  if (r.sm.smCount && r.sm.smCount < (unsigned)info->sms)
    info->sms = (int)r.sm.smCount;
}
#else
typedef int cuda_info_is_empty;
#endif
