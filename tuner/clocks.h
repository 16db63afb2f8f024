/*
 * clocks.h - how fast a GPU's clock runs, and why it is held back.
 *
 * NVML says both (libnvidia-ml.so.1, or what $DIFFTUNE_LIBNVML names).  Where
 * it is missing a kernel of 50 us counts cycles, and nothing says why.  The CPU
 * device has neither: its readings are all 0.
 */
#ifndef DIFFTUNE_CLOCKS_H
#define DIFFTUNE_CLOCKS_H

#include "device.h"

struct clocks {
  struct device *device;
  const struct nvml *nvml; /* NULL: not there */
  void *handle;            /* NVML's, of the device */
  struct module *module;   /* of the kernel; NULL: not used */
  struct kernel kernel;
  void *result;
};

struct clock_reading {
  double mhz;        /* of the SMs; 0: unknown */
  uint32_t throttle; /* bits; clocks_throttle() has their names */
};

/* Never fails: what cannot be read reads as unknown. */
void clocks_open(struct clocks *c, struct device *d);
void clocks_close(struct clocks *c);
struct clock_reading clocks_read(struct clocks *c);

/* Whether what was timed between two readings is to be thrown away: the clock
 * moved by more than 2 %, or something held it back. */
bool clocks_disturbed(struct clock_reading before, struct clock_reading after);

/* "power cap, heat"; "" for 0. */
void clocks_throttle(uint32_t bits, char *out, size_t size);

#endif
