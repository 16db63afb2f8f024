/*
 * rerun.h - a device, set up to run again what a database has.
 */
#ifndef DIFFTUNE_RERUN_H
#define DIFFTUNE_RERUN_H

#include "lock.h"
#include "sweep.h"

/* What it must be run on, and what was asked for. */
struct rerun_device {
  const char *kind, *name; /* of the rows */
  int arch, sms;
  const char *gpu;   /* which board was asked for; NULL: */
  const char *board; /* this one if it is here, else the first of that name */
};

struct rerun {
  struct device_info info;
  struct device_lock lock;
  struct build build;
  struct client client;
  struct sweep sweep; /* of no problem yet; race, seed and policy are set */
};

/* DD_UNSUPPORTED where the device is not of the rows' model.  The device opens
 * until client_wait().  Close it also after a failure. */
dd_status rerun_open(struct rerun *r, struct specs *specs,
                     const struct rerun_device *d, uint64_t seed,
                     const char *policy);
void rerun_close(struct rerun *r);

#endif
