/*
 * cubin.h - the gate in front of everything that hands a cubin to others.
 *
 * The driver takes a pointer with no size, so a short file would be read past
 * its end; what passes here is an ELF file of CUDA whose every table and
 * section lies inside its bytes.  See compiler.h for cubin_usage().
 */
#ifndef DIFFTUNE_CUBIN_H
#define DIFFTUNE_CUBIN_H

#include "base.h"

/* Fails with DD_COMPILE and a sentence if the bytes are no whole cubin. */
dd_status cubin_check(const void *code, size_t size);

/* The machine code of one entry: a view into the cubin.  Two entries with the
 * same bytes run the same, whatever else their files hold. */
dd_status cubin_entry_code(const void *code, size_t size, const char *entry,
                           const void **out, size_t *out_size);

#endif
