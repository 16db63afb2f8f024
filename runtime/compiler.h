/*
 * compiler.h - from generated text to code a device can load.
 *
 * A target is "cpu" or "sm_NN".  The text is self-contained: the generator has
 * folded every #include of ours into it (generator/emit.h).  NVRTC is found
 * with dlopen; the CPU device uses the system's C++ compiler with
 * runtime/cpu_shim.h in front of the text.
 */
#ifndef DIFFTUNE_COMPILER_H
#define DIFFTUNE_COMPILER_H

#include "base.h"

/* What would compile for `target`: "nvrtc 13.0.88 -std=c++20 ..." or
 * "g++ 12.2.0 -O1 ..."; part of what names a piece of code.  Fails with
 * DD_COMPILE and a sentence where there is no such compiler. */
dd_status compiler_identity(const char *target, struct bytes *out);

/* Compiles one unit.  `log` gets what the compiler said, also on success;
 * on failure the status is DD_COMPILE and the sentence is the log's first
 * error line.  Safe on many threads, but a crash of the compiler takes the
 * process: the tuner calls it in worker processes. */
dd_status compile_unit(const char *target, const char *text,
                       struct bytes *code, struct bytes *log);

/* The same with every rounding that the text asks for: no product and sum become
 * one fused operation.  What the tuner computes itself is compiled so. */
dd_status compile_exact(const char *target, const char *text,
                        struct bytes *code, struct bytes *log);

/* Registers and local memory (stack and spills) per thread of one entry of a
 * cubin, read from the ELF file itself: no GPU, no driver, no cuobjdump.
 * DD_COMPILE if the bytes are not a cubin with that entry. */
struct usage {
  int registers, local_bytes, shared_bytes;
};
dd_status cubin_usage(const void *code, size_t size, const char *entry,
                      struct usage *out);

#endif
