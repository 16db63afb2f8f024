/*
 * tool_code.h - code of the tuner's own kernels, compiled once per machine.
 *
 * A device worker needs a dozen of them, which take NVRTC seconds, and a worker
 * that replaces another should begin where that one was.  So they are in the
 * cache too (cache.h), also where a sweep keeps its candidates out of it.
 */
#ifndef DIFFTUNE_TOOL_CODE_H
#define DIFFTUNE_TOOL_CODE_H

#include "device.h"

enum tool_rounding {
  TOOL_FUSED, /* as candidates are compiled */
  TOOL_EXACT, /* every rounding that the text asks for */
};

/* Appends the code for the device.  Threads: any.  Fails with DD_COMPILE. */
dd_status tool_code(const struct device *d, const char *text,
                    enum tool_rounding rounding, struct bytes *code);

#endif
