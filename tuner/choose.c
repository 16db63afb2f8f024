/* choose.c - which device a command was asked to use. */
#include "choose.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "output.h"

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
  struct device_info infos[DEVICES_MAX];
  size_t count = 0;
  dd_status status;

  if (gpu && cpu)
    return fail(DD_BAD_ARGUMENT, "--gpu and --cpu exclude each other");
  if (gpu && !*gpu)
    return fail(DD_BAD_ARGUMENT, "--gpu wants a part of a name, an index or a "
                "UUID, not ''");
  if (cpu) return client_list("cpu", out, 1, &count);
  status = client_list("cuda", infos, DEVICES_MAX, &count);
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

/* ---- Several ----------------------------------------------------------- */

static bool same_model(const struct device_info *a, const struct device_info *b)
{
  return !strcmp(a->name, b->name) && !strcmp(a->driver, b->driver) &&
         a->arch == b->arch && a->sms == b->sms;
}

/* Times of two models are not of one table. */
static dd_status add_device(const struct device_info *info,
                            struct device_info *out, size_t *chosen)
{
  for (size_t i = 0; i < *chosen; ++i)
    if (!strcmp(out[i].uuid, info->uuid))
      return fail(DD_BAD_ARGUMENT, "--gpu names %s (%s) twice", info->name,
                  info->uuid);
  if (*chosen && !same_model(out, info))
    return fail(DD_BAD_ARGUMENT, "%s (%s) and %s (%s) are not of one model; "
                "name those of one with --gpu 0,1", out->name, out->uuid,
                info->name, info->uuid);
  out[(*chosen)++] = *info;
  return DD_OK;
}

static dd_status add_named(const struct device_info *infos, size_t count,
                           const char *word, size_t size,
                           struct device_info *out, size_t *chosen)
{
  char name[128];
  const struct device_info *info;

  snprintf(name, sizeof name, "%.*s", (int)size, word);
  info = choose_among(infos, count, name);
  return info ? add_device(info, out, chosen) : no_match(infos, count, name);
}

dd_status choose_several(const struct device_info *infos, size_t count,
                         const char *gpus, struct device_info *out,
                         size_t *chosen)
{
  *chosen = 0;
  if (!strcmp(gpus, "all")) {
    for (size_t i = 0; i < count; ++i) TRY(add_device(&infos[i], out, chosen));
    return *chosen ? DD_OK : no_match(infos, 0, gpus);
  }
  for (;;) {
    size_t size = strcspn(gpus, ",");
    TRY(add_named(infos, count, gpus, size, out, chosen));
    if (!gpus[size]) return DD_OK;
    gpus += size + 1;
  }
}

dd_status choose_devices(const char *gpu, bool cpu, struct device_info *out,
                         size_t *count)
{
  struct device_info infos[DEVICES_MAX];
  size_t visible;
  dd_status status;

  *count = 1;
  if (cpu && !gpu) return client_list("cpu", out, DEVICES_MAX, count);
  if (cpu || !gpu || (strcmp(gpu, "all") && !strchr(gpu, ',')))
    return choose_device(gpu, cpu, out);
  status = client_list("cuda", infos, DEVICES_MAX, &visible);
  if (status)
    return fail_in(DD_NO_DEVICE, "no GPU matches '%s' (the CPU device is "
                   "--cpu); visible: none", gpu);
  return choose_several(infos, visible, gpu, out, count);
}

void device_target(const struct device_info *info, char target[16])
{
  if (strcmp(info->kind, "cuda") == 0)
    snprintf(target, 16, "sm_%d", info->arch);
  else
    snprintf(target, 16, "cpu");
}
