/*
 * memory.h - device memory for the example, on the host or on a GPU.
 *
 * A real host has its own; this one finds the CUDA driver with dlopen so that
 * it builds without CUDA's headers.
 */
#ifndef HOST_MEMORY_H
#define HOST_MEMORY_H

#include <stddef.h>

struct memory {
  void *(*allocate)(size_t size);
  void (*release)(void *block);
  int (*copy_in)(void *to, const void *from, size_t size);  /* 0: done */
  int (*copy_out)(void *to, const void *from, size_t size); /* waits first */
};

/* "cpu" or "cuda"; for cuda the first GPU's context is made current.  NULL,
 * and a line on stderr, where that is not possible. */
const struct memory *memory_find(const char *device);

#endif
