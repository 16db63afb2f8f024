/*
 * cpu_fiber.h - run a kernel on the host, one fiber per CUDA thread.
 *
 * Used by cpu.c only.  Plain C between the two, and no difftune header, so that
 * the C++ file needs nothing but this and boost.context.
 */
#ifndef DIFFTUNE_CPU_FIBER_H
#define DIFFTUNE_CPU_FIBER_H

#include <stdbool.h>
#include <stddef.h>

#define DT_CPU_INTERFACE_ONLY
#include "cpu_shim.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { CPU_MAX_BLOCK = 1024, CPU_WARP = 32 };

/* How fibers take turns: a missing barrier shows under one order or another.
 * Within a warp and between warps alike; a warp runs as far as it can. */
enum cpu_order {
  CPU_ORDER_TURNS, /* ascending in one block, descending in the next */
  CPU_ORDER_ASC,
  CPU_ORDER_DESC,
  CPU_ORDER_RANDOM /* by the seed, anew in each block */
};

struct cpu_launch {
  const struct dt_cpu_kernel *kernel;
  const void *args;
  unsigned grid[3], block; /* none of them zero; block <= CPU_MAX_BLOCK */
  void *dynamic_shared;
  size_t dynamic_shared_size;
  enum cpu_order order;
  unsigned long long seed;
};

/* Runs all blocks, one after the other.  False and a sentence in `why` when the
 * threads of a block cannot go on, or there is no memory for their stacks; the
 * rest of the grid is not run.  One call at a time: the caller holds a lock. */
bool cpu_fiber_run(const struct cpu_launch *launch, char *why, size_t why_size);

/* What a unit's dt_cpu_bind() is given; the same for all units. */
const struct dt_cpu_api *cpu_fiber_api(void);

#ifdef __cplusplus
}
#endif

#endif
