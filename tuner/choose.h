/*
 * choose.h - which device a command was asked to use.
 */
#ifndef DIFFTUNE_CHOOSE_H
#define DIFFTUNE_CHOOSE_H

#include "client.h"

/* `gpu`: a part of a name (any case), an index or a UUID; or `cpu`; or neither:
 * the first GPU where there is one, else the CPU device, and says why no GPU.
 * Asks a worker, so that this process loads no driver.  DD_NO_DEVICE lists what
 * is visible. */
dd_status choose_device(const char *gpu, bool cpu, struct device_info *out);

/* The one that `gpu` means: that UUID, else that index, else the first whose
 * name has it ("4090" is hardly an index).  NULL: none. */
const struct device_info *choose_among(const struct device_info *infos,
                                       size_t count, const char *gpu);

/* The same for a sweep, which may take several: `gpu` "all", or a list with
 * commas, of one model; `cpu`: all there are.  Fills at most DEVICES_MAX. */
enum { DEVICES_MAX = 64 };
dd_status choose_devices(const char *gpu, bool cpu, struct device_info *out,
                         size_t *count);

/* Those that a list means, in its order.  DD_BAD_ARGUMENT where one is named
 * twice, or where they are not of one model. */
dd_status choose_several(const struct device_info *infos, size_t count,
                         const char *gpus, struct device_info *out,
                         size_t *chosen);

/* "sm_90" or "cpu": what its code is compiled for. */
void device_target(const struct device_info *info, char target[16]);

#endif
