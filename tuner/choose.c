/* choose.c - which device a command was asked to use. */
#include "choose.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "output.h"

enum { MAX_GPUS = 64 };

static bool has_uuid(const struct device_info *info, const char *gpu)
{
  return strcasecmp(info->uuid, gpu) == 0;
}

static bool has_index(const struct device_info *info, const char *gpu)
{
  char *end;
  long index = strtol(gpu, &end, 10);

  return *gpu && !*end && index == info->index;
}

static bool has_name(const struct device_info *info, const char *gpu)
{
  return *gpu && strcasestr(info->name, gpu);
}

const struct device_info *choose_among(const struct device_info *infos,
                                       size_t count, const char *gpu)
{
  static bool (*const means[])(const struct device_info *, const char *) = {
      has_uuid, has_index, has_name};

  for (size_t k = 0; k < COUNT_OF(means); ++k)
    for (size_t i = 0; i < count; ++i)
      if (means[k](&infos[i], gpu)) return &infos[i];
  return NULL;
}

static dd_status no_match(const struct device_info *infos, size_t count,
                          const char *gpu)
{
  char visible[700] = "";
  size_t n = 0;

  for (size_t i = 0; i < count && n < sizeof visible; ++i)
    n += (size_t)snprintf(visible + n, sizeof visible - n, "\n  %d: %s %s",
                          infos[i].index, infos[i].name, infos[i].uuid);
  return fail(DD_NO_DEVICE, "no GPU matches '%s'; visible:%s\n  the CPU device "
              "is --cpu", gpu, count ? visible : " none");
}

static dd_status choose_gpu(const struct device_info *infos, size_t count,
                            const char *gpu, struct device_info *out)
{
  const struct device_info *chosen = choose_among(infos, count, gpu);

  if (!chosen) return no_match(infos, count, gpu);
  *out = *chosen;
  return DD_OK;
}

dd_status choose_device(const char *gpu, bool cpu, struct device_info *out)
{
  struct device_info infos[MAX_GPUS];
  size_t count = 0;
  dd_status status;

  if (gpu && cpu)
    return fail(DD_BAD_ARGUMENT, "--gpu and --cpu exclude each other");
  if (gpu && !*gpu)
    return fail(DD_BAD_ARGUMENT, "--gpu wants a part of a name, an index or a "
                "UUID, not ''");
  if (cpu) return client_list("cpu", out, 1, &count);
  status = client_list("cuda", infos, MAX_GPUS, &count);
  if (status && gpu)
    return fail_in(DD_NO_DEVICE, "no GPU matches '%s' (the CPU device is --cpu); "
                   "visible: none", gpu);
  if (gpu) return choose_gpu(infos, count, gpu, out);
  if (!status && count) {
    *out = infos[0];
    return DD_OK;
  }
  say("no GPU here (%s); using the CPU device, whose times say nothing of a GPU",
      status ? dd_last_error() : "the driver lists none");
  return client_list("cpu", out, 1, &count);
}

void device_target(const struct device_info *info, char target[16])
{
  if (strcmp(info->kind, "cuda") == 0)
    snprintf(target, 16, "sm_%d", info->arch);
  else
    snprintf(target, 16, "cpu");
}
