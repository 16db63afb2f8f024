/*
 * lock.h - one sweep per GPU: two would spoil each other's times.
 *
 * A file per GPU in $XDG_RUNTIME_DIR, else in the cache's folder, holds the pid
 * of whoever has it.  The kernel lets go of it however that process ends.
 */
#ifndef DIFFTUNE_LOCK_H
#define DIFFTUNE_LOCK_H

#include "device.h"

struct device_lock { /* all zero: none */
  int fd;
};

/* A GPU only: the CPU device may be shared.  Where there is no folder for the
 * file it is not locked.  DD_NO_DEVICE says which process has it. */
dd_status device_lock(struct device_lock *l, const struct device_info *info);
void device_unlock(struct device_lock *l);

#endif
