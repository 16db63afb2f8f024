/*
 * sandbox.h - take rights away from this process, for good.
 */
#ifndef DIFFTUNE_SANDBOX_H
#define DIFFTUNE_SANDBOX_H

#include "base.h"

/* Restricts the file system to these folders and files (NULL-terminated lists;
 * NULL for none) with Landlock, and sets no_new_privs.  Paths that do not exist
 * are skipped.  *enforced is false where the kernel has no Landlock: the caller
 * goes on, and `difftune doctor` says so. */
dd_status sandbox_files(const char *const *readable, const char *const *writable,
                        bool *enforced);

/* RLIMIT_CPU, RLIMIT_AS (0: as it is), RLIMIT_FSIZE, RLIMIT_NOFILE, no core. */
dd_status sandbox_limits(int cpu_seconds, size_t address_bytes,
                         size_t file_bytes, int files);

#endif
