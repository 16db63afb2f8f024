/* choose.c - which device a command was asked to use. */
#include "choose.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "output.h"

enum { MAX_GPUS = 64 };

static bool matches(const struct device_info *info, const char *gpu)
{
  char *end;
  long index = strtol(gpu, &end, 10);

  if (*gpu && !*end) return index == info->index;
  return strcasecmp(info->uuid, gpu) == 0 || strcasestr(info->name, gpu);
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

dd_status choose_device(const char *gpu, bool cpu, struct device_info *out)
{
  struct device_info infos[MAX_GPUS];
  size_t count = 0;
  dd_status status;

  if (gpu && cpu)
    return fail(DD_BAD_ARGUMENT, "--gpu and --cpu exclude each other");
  if (cpu) return client_list("cpu", out, 1, &count);
  status = client_list("cuda", infos, MAX_GPUS, &count);
  if (status && gpu)
    return fail_in(DD_NO_DEVICE, "no GPU matches '%s' (the CPU device is --cpu); "
                   "visible: none", gpu);
  if (!status && count && !gpu) {
    *out = infos[0];
    return DD_OK;
  }
  if (!gpu) {
    say("no GPU here; using the CPU device, whose times say nothing of a GPU");
    return client_list("cpu", out, 1, &count);
  }
  for (size_t i = 0; i < count; ++i)
    if (matches(&infos[i], gpu)) {
      *out = infos[i];
      return DD_OK;
    }
  return no_match(infos, count, gpu);
}

void device_target(const struct device_info *info, char target[16])
{
  if (strcmp(info->kind, "cuda") == 0)
    snprintf(target, 16, "sm_%d", info->arch);
  else
    snprintf(target, 16, "cpu");
}
