/*
 * compiler_kinds.h - the two compilers behind compiler.h.
 *
 * cpu   compiler_cpu.c: the system's C++ compiler and cpu_shim.h
 * cuda  nvrtc.c: NVRTC
 *
 * The contracts are those of compiler_identity(), compile_unit() and, where
 * `exact` is set, compile_exact(); the first compiler is always that.
 */
#ifndef DIFFTUNE_COMPILER_KINDS_H
#define DIFFTUNE_COMPILER_KINDS_H

#include "base.h"

dd_status cpu_compiler_identity(const char *target, struct bytes *out);
dd_status cpu_compile(const char *target, const char *text, struct bytes *code,
                      struct bytes *log);

dd_status cuda_compiler_identity(const char *target, struct bytes *out);
dd_status cuda_compile(const char *target, const char *text, bool exact,
                       struct bytes *code, struct bytes *log);

#endif
