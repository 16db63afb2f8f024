/*
 * device.c - the kinds of device there are.
 */
#include "device.h"

#include <string.h>

const struct device_api *const device_kinds[] = {&cuda_device, &cpu_device,
                                                 NULL};

const struct device_api *device_kind_find(const char *kind)
{
  for (size_t i = 0; device_kinds[i]; i++)
    if (!strcmp(device_kinds[i]->kind, kind)) return device_kinds[i];
  return NULL;
}
