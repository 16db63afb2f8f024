/*
 * fake_cuda.h - what a test may ask of, and do to, the fake driver.
 *
 * The fake driver is a libcuda.so.1 with the entry points that difftune uses.
 * Device memory is host memory, kernels do nothing and take 10 us of a clock
 * of its own, launches are logged with a copy of their arguments.  Asynchronous
 * copies run as late as they may: when something waits for them.  Load it
 * with DIFFTUNE_LIBCUDA=.../libcuda.so.1, or by LD_LIBRARY_PATH.
 *
 *   FAKE_CUDA_DEVICES="NVIDIA H200:90:132,NVIDIA A100:80:108"
 *       name, arch and SMs of each device; the default is one H200.  Empty:
 *       cuInit says that there is none.
 *   FAKE_CUDA_FAIL="17:700"
 *       the 17th call fails with 700.  An error that breaks a context (700 to
 *       719) fails every call after it, too.
 *   FAKE_CUDA_COUNT_ONLY=1
 *       calls and launches are counted, and nothing else: no log, no clock,
 *       no failing call; launches take no lock.
 *       fake_cuda_cold() has each launch leave the caches cold.
 *   FAKE_CUDA_OLD=1
 *       cuGetProcAddress finds nothing: the symbols themselves must do.
 */
#ifndef DIFFTUNE_FAKE_CUDA_H
#define DIFFTUNE_FAKE_CUDA_H

#include <stddef.h>

struct fake_launch {
  char name[64];
  unsigned grid[3], block, shared;
  void *stream;
  size_t args_size;
  unsigned char args[4096];
};

/* Forgets the log, the count of calls and everything made; then the
 * `fail_at`th call fails with `error` (0: none does). */
void fake_cuda_reset(long fail_at, int error);
/* The context of this device is a green one, with so many SMs; until a reset. */
void fake_cuda_narrow(int device, int sms);
long fake_cuda_calls(void);            /* since the reset */
const char *fake_cuda_failed(void);    /* the call that was failed, or "" */
long fake_cuda_live(void);             /* things made and not yet destroyed */
long fake_cuda_depth(void);            /* contexts pushed and not popped */
size_t fake_cuda_launch_count(void);   /* that ran, also in a graph */
long fake_cuda_counted(void);          /* launches with COUNT_ONLY */
/* From now on a launch with COUNT_ONLY reads so much memory and runs so much
 * code (x86-64 only), by a byte per line of the cache, as a driver does that
 * has something to do; at most 1024 kB of each. */
void fake_cuda_cold(size_t data_kb, size_t code_kb);
const struct fake_launch *fake_cuda_launch(size_t index);
const char *fake_cuda_log(void); /* every call's name, a space behind each */

#endif
