/* sha256.h - SHA-256 by the processor's own instructions. */
#ifndef DIFFTUNE_SHA256_H
#define DIFFTUNE_SHA256_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* False: this processor has none, and nothing was done. */
bool sha256_fast(const void *data, size_t size, uint8_t hash[32]);

#endif
